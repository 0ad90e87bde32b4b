//! Frames of `murmuring.v1.json`: text, one object each. A frame is read in one pass into the members that any frame
//! may have, since its `op` may stand anywhere; which of them must be there is checked by `op`.

use serde::Deserialize;

use super::server::{ChatListEntry, Content, Event, Invalid, Limits, Role, ServerFrame};
use super::{ClientFrame, Text};

/// Appends the payload of a client's frame.
pub(super) fn encode(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(out, frame)
        .expect("strings and numbers into memory; `meta` is an object by contract");
}

/// Reads the payload of a server's frame.
pub(super) fn decode(payload: &[u8]) -> Result<ServerFrame<'_>, Invalid> {
    serde_json::from_slice::<Members<'_>>(payload).map_err(|_| Invalid::Json)?.frame()
}

/// Every member that a frame or an event of a page may have.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    op: Option<Text<'a>>,
    #[serde(rename = "ref")]
    reference: Option<i64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    conversation: Option<Text<'a>>,
    seq: Option<u64>,
    time: Option<u64>,
    duplicate: Option<bool>,
    lamport: Option<u64>,
    #[serde(borrow, rename = "type")]
    type_name: Option<Text<'a>>,
    #[serde(borrow)]
    sender: Option<Text<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    reply_to: Option<u64>,
    target: Option<u64>,
    #[serde(borrow)]
    emoji: Option<Text<'a>>,
    remove: Option<bool>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    role: Option<Role>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    events: Option<Vec<Members<'a>>>,
    head: Option<u64>,
    more: Option<bool>,
    trimmed: Option<u64>,
    after: Option<u64>,
    #[serde(borrow)]
    session: Option<Text<'a>>,
    #[serde(borrow)]
    resume: Option<Text<'a>>,
    heartbeat_ms: Option<u32>,
    limits: Option<Limits>,
    #[serde(borrow)]
    conversations: Option<Vec<ChatListEntry<'a>>>,
    on: Option<bool>,
    online: Option<bool>,
    #[serde(borrow)]
    next: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    reconnect_after_ms: Option<u32>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    retry_after_ms: Option<u32>,
}

/// A member that the frame must have.
fn need<T>(member: Option<T>, name: &'static str) -> Result<T, Invalid> {
    member.ok_or(Invalid::Missing(name))
}

impl<'a> Members<'a> {
    fn frame(self) -> Result<ServerFrame<'a>, Invalid> {
        match self.op.as_deref().ok_or(Invalid::Missing("op"))? {
            "event" => Ok(ServerFrame::Event(self.event()?)),
            "signal" => Ok(ServerFrame::Signal(self.event()?)),
            "ack" => self.ack(),
            "welcome" => self.welcome(),
            "page" => self.page(),
            "synced" => Ok(ServerFrame::Synced { reference: need(self.reference, "ref")? }),
            "pong" => Ok(ServerFrame::Pong { reference: need(self.reference, "ref")? }),
            "refreshed" => Ok(ServerFrame::Refreshed),
            "receipt" => Ok(ServerFrame::Receipt { conversation: need(self.conversation, "conversation")? }),
            "typing" => Ok(ServerFrame::Typing {
                conversation: need(self.conversation, "conversation")?,
                user: need(self.user, "user")?,
                on: need(self.on, "on")?,
            }),
            "presence" => Ok(ServerFrame::Presence {
                user: need(self.user, "user")?,
                online: need(self.online, "online")?,
            }),
            "conversations" => Ok(ServerFrame::Conversations {
                reference: need(self.reference, "ref")?,
                conversations: need(self.conversations, "conversations")?,
                next: self.next,
            }),
            "lagging" => Ok(ServerFrame::Lagging {
                conversation: need(self.conversation, "conversation")?,
                after: need(self.after, "after")?,
                head: need(self.head, "head")?,
            }),
            "goaway" => Ok(ServerFrame::Goaway {
                reason: need(self.reason, "reason")?,
                reconnect_after_ms: need(self.reconnect_after_ms, "reconnect_after_ms")?,
            }),
            "error" => Ok(ServerFrame::Error {
                reference: self.reference,
                id: self.id,
                code: need(self.code, "code")?,
                message: need(self.message, "message")?,
                retry_after_ms: self.retry_after_ms,
            }),
            _ => Err(Invalid::Name),
        }
    }

    fn welcome(self) -> Result<ServerFrame<'a>, Invalid> {
        Ok(ServerFrame::Welcome {
            user: need(self.user, "user")?,
            session: need(self.session, "session")?,
            resume: need(self.resume, "resume")?,
            heartbeat_ms: need(self.heartbeat_ms, "heartbeat_ms")?,
            limits: need(self.limits, "limits")?,
            conversations: need(self.conversations, "conversations")?,
            more: self.more.unwrap_or(false),
        })
    }

    fn ack(self) -> Result<ServerFrame<'a>, Invalid> {
        Ok(ServerFrame::Ack {
            id: need(self.id, "id")?,
            conversation: need(self.conversation, "conversation")?,
            seq: self.seq,
            time: need(self.time, "time")?,
            duplicate: self.duplicate.unwrap_or(false),
        })
    }

    fn page(self) -> Result<ServerFrame<'a>, Invalid> {
        let events = need(self.events, "events")?;
        Ok(ServerFrame::Page {
            reference: need(self.reference, "ref")?,
            conversation: need(self.conversation, "conversation")?,
            events: events.into_iter().map(Members::event).collect::<Result<_, _>>()?,
            head: need(self.head, "head")?,
            more: need(self.more, "more")?,
            trimmed: self.trimmed,
        })
    }

    fn event(mut self) -> Result<Event<'a>, Invalid> {
        Ok(Event {
            conversation: need(self.conversation.take(), "conversation")?,
            seq: self.seq.unwrap_or(0),
            time: need(self.time, "time")?,
            lamport: need(self.lamport, "lamport")?,
            sender: need(self.sender.take(), "sender")?,
            device: need(self.device.take(), "device")?,
            id: need(self.id.take(), "id")?,
            content: self.content()?,
        })
    }

    fn content(self) -> Result<Content<'a>, Invalid> {
        match self.type_name.as_deref().ok_or(Invalid::Missing("type"))? {
            "message" => Ok(Content::Message {
                kind: need(self.kind, "kind")?,
                body: need(self.body, "body")?,
                reply_to: self.reply_to,
            }),
            "edit" => {
                Ok(Content::Edit { target: need(self.target, "target")?, body: need(self.body, "body")? })
            }
            "delete" => Ok(Content::Delete { target: need(self.target, "target")? }),
            "reaction" => Ok(Content::Reaction {
                target: need(self.target, "target")?,
                emoji: need(self.emoji, "emoji")?,
                remove: self.remove.unwrap_or(false),
            }),
            "joined" => {
                Ok(Content::Joined { user: need(self.user, "user")?, role: need(self.role, "role")? })
            }
            "left" => Ok(Content::Left { user: need(self.user, "user")? }),
            "changed" => Ok(Content::Changed { title: self.title, user: self.user, role: self.role }),
            _ => Err(Invalid::Name),
        }
    }
}
