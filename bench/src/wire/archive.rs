//! Frames of `murmuring.v1.rkyv`: a tag byte, then one archive (the layout stands at the head of
//! `protocol/src/frame/rkyv/mod.rs`, a golden example of each frame in `protocol/tests/golden/v1.txt`). The types here
//! mirror the frozen ones of the server's side; nothing of them is shared.

#![expect(
    dead_code,
    reason = "the types are there for their archived form, and a few fields for their place"
)]

use rkyv::Archive;
use rkyv::boxed::ArchivedBox;
use rkyv::option::ArchivedOption;
use rkyv::primitive::{ArchivedI64, ArchivedU32, ArchivedU64};
use rkyv::rancor::{Failure, Panic};

use super::server::{ChatListEntry, Content, Event, Invalid, Limits, Role, ServerFrame};
use super::{ClientFrame, Text};

/// The first byte of a client's frame.
const CLIENT_FRAME: u8 = 0x01;
/// The first byte of an event.
const EVENT: u8 = 0x01;
/// The first byte of a frame of the server that is no event.
const SERVER_FRAME: u8 = 0x81;
/// The first byte of a signal: a whole event follows.
const SIGNAL: u8 = 0xC0;

#[derive(Archive)]
struct EventV1 {
    seq: u64,
    time: u64,
    lamport: u64,
    conversation: Box<str>,
    sender: Box<str>,
    device: Box<str>,
    id: Box<str>,
    content: ContentV1,
}

#[derive(Archive)]
enum ContentV1 {
    Message { kind: Box<str>, body: Box<str>, meta: Option<Box<str>>, reply_to: Option<u64> },
    Edit { target: u64, body: Box<str> },
    Delete { target: u64 },
    Reaction { target: u64, emoji: Box<str>, remove: bool },
    Joined { user: Box<str>, role: RoleV1 },
    Left { user: Box<str> },
    Changed { title: Option<Box<str>>, user: Option<Box<str>>, role: Option<RoleV1> },
}

#[derive(Archive)]
enum RoleV1 {
    Reader,
    Member,
    Moderator,
    Owner,
}

#[derive(Archive)]
enum ServerFrameV1 {
    Welcome {
        user: Box<str>,
        session: Box<str>,
        resume: Box<str>,
        heartbeat_ms: u32,
        limits: LimitsV1,
        conversations: Vec<ChatListEntryV1>,
        more: bool,
    },
    Ack {
        id: Box<str>,
        conversation: Box<str>,
        seq: Option<u64>,
        time: u64,
        duplicate: bool,
    },
    Page {
        reference: i64,
        conversation: Box<str>,
        events: Vec<EventBytesV1>,
        head: u64,
        more: bool,
        trimmed: Option<u64>,
    },
    Synced {
        reference: i64,
    },
    Receipt {
        conversation: Box<str>,
        user: Option<Box<str>>,
        received: Option<u64>,
        read: Option<u64>,
        received_count: Option<u32>,
        read_count: Option<u32>,
    },
    Typing {
        conversation: Box<str>,
        user: Box<str>,
        on: bool,
    },
    Presence {
        user: Box<str>,
        online: bool,
        last_seen: Option<u64>,
    },
    Conversations {
        reference: i64,
        conversations: Vec<ChatListEntryV1>,
        next: Option<Box<str>>,
    },
    Lagging {
        conversation: Box<str>,
        after: u64,
        head: u64,
    },
    Refreshed,
    Pong {
        reference: i64,
    },
    Goaway {
        reason: Box<str>,
        reconnect_after_ms: u32,
    },
    Error {
        reference: Option<i64>,
        id: Option<Box<str>>,
        code: Box<str>,
        message: Box<str>,
        retry_after_ms: Option<u32>,
    },
}

#[derive(Archive)]
struct LimitsV1 {
    frame_bytes: u32,
    body_bytes: u32,
    meta_bytes: u32,
    sends_per_second: u32,
    sends_burst: u32,
    conversations_attached: u32,
    page_events: u16,
}

#[derive(Archive)]
struct ChatListEntryV1 {
    conversation: Box<str>,
    head: u64,
    read: u64,
    role: RoleV1,
    lamport: u64,
}

/// An event of a page: its bytes, first byte included.
#[derive(Archive)]
struct EventBytesV1 {
    bytes: Box<[u8]>,
}

/// Appends the payload of a client's frame.
pub(super) fn encode(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    out.push(CLIENT_FRAME);
    let Ok(bytes) = rkyv::api::high::to_bytes_in::<_, Panic>(frame, std::mem::take(out));
    *out = bytes;
}

/// Reads the payload of a server's frame.
pub(super) fn decode(payload: &[u8]) -> Result<ServerFrame<'_>, Invalid> {
    match payload.split_first() {
        Some((&EVENT, _)) => event(payload).map(ServerFrame::Event),
        Some((&SIGNAL, bytes)) => event(bytes).map(ServerFrame::Signal),
        Some((&SERVER_FRAME, bytes)) => {
            rkyv::access::<ArchivedServerFrameV1, Failure>(bytes).map_err(|_| Invalid::Archive)?.frame()
        }
        _ => Err(Invalid::Tag),
    }
}

/// Reads an event, first byte included.
fn event(bytes: &[u8]) -> Result<Event<'_>, Invalid> {
    let Some((&EVENT, bytes)) = bytes.split_first() else { return Err(Invalid::Tag) };
    let event = rkyv::access::<ArchivedEventV1, Failure>(bytes).map_err(|_| Invalid::Archive)?;
    Ok(Event {
        conversation: text(&event.conversation),
        seq: event.seq.to_native(),
        time: event.time.to_native(),
        lamport: event.lamport.to_native(),
        sender: text(&event.sender),
        device: text(&event.device),
        id: text(&event.id),
        content: event.content.content(),
    })
}

fn text(text: &ArchivedBox<str>) -> Text<'_> {
    Text::from(&**text)
}

fn optional_text(value: &ArchivedOption<ArchivedBox<str>>) -> Option<Text<'_>> {
    value.as_ref().map(text)
}

fn number(value: &ArchivedOption<ArchivedU64>) -> Option<u64> {
    value.as_ref().map(|number| number.to_native())
}

fn small_number(value: &ArchivedOption<ArchivedU32>) -> Option<u32> {
    value.as_ref().map(|number| number.to_native())
}

fn reference(value: &ArchivedOption<ArchivedI64>) -> Option<i64> {
    value.as_ref().map(|number| number.to_native())
}

impl ArchivedServerFrameV1 {
    fn frame(&self) -> Result<ServerFrame<'_>, Invalid> {
        Ok(match self {
            Self::Welcome { user, session, resume, heartbeat_ms, limits, conversations, more } => {
                ServerFrame::Welcome {
                    user: text(user),
                    session: text(session),
                    resume: text(resume),
                    heartbeat_ms: heartbeat_ms.to_native(),
                    limits: limits.limits(),
                    conversations: conversations.iter().map(ArchivedChatListEntryV1::entry).collect(),
                    more: *more,
                }
            }
            Self::Ack { id, conversation, seq, time, duplicate } => ServerFrame::Ack {
                id: text(id),
                conversation: text(conversation),
                seq: number(seq),
                time: time.to_native(),
                duplicate: *duplicate,
            },
            Self::Page { reference, conversation, events, head, more, trimmed } => ServerFrame::Page {
                reference: reference.to_native(),
                conversation: text(conversation),
                events: events.iter().map(|entry| event(&entry.bytes)).collect::<Result<_, _>>()?,
                head: head.to_native(),
                more: *more,
                trimmed: number(trimmed),
            },
            Self::Synced { reference } => ServerFrame::Synced { reference: reference.to_native() },
            Self::Receipt { conversation, .. } => ServerFrame::Receipt { conversation: text(conversation) },
            Self::Typing { conversation, user, on } => {
                ServerFrame::Typing { conversation: text(conversation), user: text(user), on: *on }
            }
            Self::Presence { user, online, .. } => {
                ServerFrame::Presence { user: text(user), online: *online }
            }
            Self::Conversations { reference, conversations, next } => ServerFrame::Conversations {
                reference: reference.to_native(),
                conversations: conversations.iter().map(ArchivedChatListEntryV1::entry).collect(),
                next: optional_text(next),
            },
            Self::Lagging { conversation, after, head } => ServerFrame::Lagging {
                conversation: text(conversation),
                after: after.to_native(),
                head: head.to_native(),
            },
            Self::Refreshed => ServerFrame::Refreshed,
            Self::Pong { reference } => ServerFrame::Pong { reference: reference.to_native() },
            Self::Goaway { reason, reconnect_after_ms } => ServerFrame::Goaway {
                reason: text(reason),
                reconnect_after_ms: reconnect_after_ms.to_native(),
            },
            Self::Error { reference: to, id, code, message, retry_after_ms } => ServerFrame::Error {
                reference: reference(to),
                id: optional_text(id),
                code: text(code),
                message: text(message),
                retry_after_ms: small_number(retry_after_ms),
            },
        })
    }
}

impl ArchivedContentV1 {
    fn content(&self) -> Content<'_> {
        match self {
            Self::Message { kind, body, reply_to, .. } => {
                Content::Message { kind: text(kind), body: text(body), reply_to: number(reply_to) }
            }
            Self::Edit { target, body } => Content::Edit { target: target.to_native(), body: text(body) },
            Self::Delete { target } => Content::Delete { target: target.to_native() },
            Self::Reaction { target, emoji, remove } => {
                Content::Reaction { target: target.to_native(), emoji: text(emoji), remove: *remove }
            }
            Self::Joined { user, role } => Content::Joined { user: text(user), role: role.role() },
            Self::Left { user } => Content::Left { user: text(user) },
            Self::Changed { title, user, role } => Content::Changed {
                title: optional_text(title),
                user: optional_text(user),
                role: role.as_ref().map(ArchivedRoleV1::role),
            },
        }
    }
}

impl ArchivedRoleV1 {
    const fn role(&self) -> Role {
        match self {
            Self::Reader => Role::Reader,
            Self::Member => Role::Member,
            Self::Moderator => Role::Moderator,
            Self::Owner => Role::Owner,
        }
    }
}

impl ArchivedLimitsV1 {
    fn limits(&self) -> Limits {
        Limits {
            frame_bytes: self.frame_bytes.to_native(),
            body_bytes: self.body_bytes.to_native(),
            meta_bytes: self.meta_bytes.to_native(),
            sends_per_second: self.sends_per_second.to_native(),
            sends_burst: self.sends_burst.to_native(),
            conversations_attached: self.conversations_attached.to_native(),
            page_events: self.page_events.to_native(),
        }
    }
}

impl ArchivedChatListEntryV1 {
    fn entry(&self) -> ChatListEntry<'_> {
        ChatListEntry {
            conversation: text(&self.conversation),
            head: self.head.to_native(),
            read: self.read.to_native(),
            role: self.role.role(),
            lamport: self.lamport.to_native(),
        }
    }
}
