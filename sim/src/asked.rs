//! What a client asks a server, as one form for both subprotocols.

use protocol::frame::rkyv::encode_client;
use protocol::frame::{ClientFrame, Range, Subprotocol};
use protocol::id::{ClientId, ConversationId, DeviceId, UserId};
use serde_json::{Map, Value, json};

use crate::told::Content;

/// One frame of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// The first frame.
    Hello {
        /// Which device.
        device: DeviceId,
        /// A token, when the upgrade had none and there is no ticket.
        token: Option<String>,
        /// A ticket.
        resume: Option<String>,
        /// What the device has.
        cursors: Vec<(ConversationId, u64)>,
    },
    /// A message, an edit, a deletion or a reaction.
    Send {
        /// Client id.
        id: ClientId,
        /// Where to.
        conversation: ConversationId,
        /// What.
        content: Content,
        /// A signal.
        ephemeral: bool,
    },
    /// A page of the log.
    History {
        /// Echoed.
        reference: i64,
        /// Which log.
        conversation: ConversationId,
        /// From where.
        range: Range,
        /// At most so many.
        limit: u16,
    },
    /// What came after these.
    Sync {
        /// Echoed.
        reference: i64,
        /// After what.
        cursors: Vec<(ConversationId, u64)>,
        /// At most so many a conversation.
        limit: u16,
    },
    /// On this device up to here.
    Received(ConversationId, u64),
    /// Read up to here.
    Read(ConversationId, u64),
    /// Types, or stopped.
    Typing(ConversationId, bool),
    /// Whose presence.
    Watch(Vec<UserId>),
    /// No longer.
    Unwatch(Vec<UserId>),
    /// The chat list.
    Conversations {
        /// Echoed.
        reference: i64,
        /// Behind this.
        after: Option<String>,
        /// At most so many.
        limit: u16,
    },
    /// A newer token.
    Refresh(String),
    /// Are you there?
    Ping(i64),
}

fn cursors_json(cursors: &[(ConversationId, u64)]) -> Value {
    cursors.iter().map(|(conversation, seq)| json!([conversation.as_str(), seq])).collect()
}

fn range_json(range: Range) -> Option<(&'static str, u64)> {
    match range {
        Range::Newest => None,
        Range::Before(seq) => Some(("before", seq)),
        Range::After(seq) => Some(("after", seq)),
        Range::Around(seq) => Some(("around", seq)),
        Range::Since(time) => Some(("since", time)),
    }
}

fn content_json(content: &Content) -> Value {
    match content {
        Content::Message { kind, body, meta, reply_to } => {
            json!({"op": "send", "kind": kind, "body": body, "meta": meta, "reply_to": reply_to})
        }
        Content::Edit { target, body } => json!({"op": "edit", "target": target, "body": body}),
        Content::Delete { target } => json!({"op": "delete", "target": target}),
        Content::Reaction { target, emoji, remove } => {
            json!({"op": "react", "target": target, "emoji": emoji, "remove": remove})
        }
        Content::Joined { .. } | Content::Left { .. } | Content::Changed { .. } => {
            unreachable!("no client sends memberships")
        }
    }
}

fn content_frame<'a>(
    (id, conversation): (ClientId, ConversationId),
    content: &'a Content,
    meta: Option<&'a str>,
    ephemeral: bool,
) -> ClientFrame<'a> {
    match content {
        Content::Message { kind, body, reply_to, .. } => {
            let reply_to = *reply_to;
            ClientFrame::Send { id, conversation, kind, body, meta, reply_to, ephemeral }
        }
        Content::Edit { target, body } => ClientFrame::Edit { id, conversation, target: *target, body },
        Content::Delete { target } => ClientFrame::Delete { id, conversation, target: *target },
        Content::Reaction { target, emoji, remove } => {
            ClientFrame::React { id, conversation, target: *target, emoji, remove: *remove }
        }
        Content::Joined { .. } | Content::Left { .. } | Content::Changed { .. } => {
            unreachable!("no client sends memberships")
        }
    }
}

fn users_json(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}

impl Asked {
    /// The frame as a JSON text; a field that is null is left out.
    pub(crate) fn json(&self) -> String {
        let mut frame = self.fields();
        let object: &mut Map<String, Value> = frame.as_object_mut().expect("every frame is an object");
        object.retain(|_, value| !value.is_null());
        frame.to_string()
    }

    /// The frame's payload in a subprotocol.
    pub(crate) fn encode(&self, subprotocol: Subprotocol) -> Vec<u8> {
        match subprotocol {
            Subprotocol::Json => self.json().into_bytes(),
            Subprotocol::Rkyv => self.rkyv(),
        }
    }

    fn rkyv(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let meta = self.meta();
        encode_client(&self.frame(meta.as_deref()), &mut payload);
        payload
    }

    /// The text of a message's `meta`.
    fn meta(&self) -> Option<String> {
        match self {
            Self::Send { content: Content::Message { meta, .. }, .. } => meta.as_ref().map(Value::to_string),
            _ => None,
        }
    }

    fn frame<'a>(&'a self, meta: Option<&'a str>) -> ClientFrame<'a> {
        match self {
            Self::Hello { device, token, resume, cursors } => {
                let (token, resume) = (token.as_deref(), resume.as_deref());
                ClientFrame::Hello { device: *device, token, resume, cursors }
            }
            Self::Send { id, conversation, content, ephemeral } => {
                content_frame((*id, *conversation), content, meta, *ephemeral)
            }
            Self::History { reference, conversation, range, limit } => ClientFrame::History {
                reference: *reference,
                conversation: *conversation,
                range: *range,
                limit: *limit,
            },
            Self::Sync { reference, cursors, limit } => {
                ClientFrame::Sync { reference: *reference, cursors, limit: *limit }
            }
            Self::Received(conversation, seq) => {
                ClientFrame::Received { conversation: *conversation, seq: *seq }
            }
            Self::Read(conversation, seq) => ClientFrame::Read { conversation: *conversation, seq: *seq },
            Self::Typing(conversation, on) => ClientFrame::Typing { conversation: *conversation, on: *on },
            Self::Watch(users) => ClientFrame::Watch { users },
            Self::Unwatch(users) => ClientFrame::Unwatch { users },
            Self::Conversations { reference, after, limit } => {
                let after = after.as_deref();
                ClientFrame::Conversations { reference: *reference, after, limit: *limit }
            }
            Self::Refresh(token) => ClientFrame::Refresh { token },
            Self::Ping(reference) => ClientFrame::Ping { reference: *reference },
        }
    }

    fn fields(&self) -> Value {
        match self {
            Self::Hello { device, token, resume, cursors } => json!({
                "op": "hello", "device": device.as_str(), "token": token, "resume": resume,
                "cursors": cursors_json(cursors),
            }),
            Self::Send { id, conversation, content, ephemeral } => {
                let mut frame = content_json(content);
                frame["id"] = id.as_str().into();
                frame["conversation"] = conversation.as_str().into();
                frame["ephemeral"] = if *ephemeral { true.into() } else { Value::Null };
                frame
            }
            Self::History { reference, conversation, range, limit } => {
                let mut frame = json!({
                    "op": "history", "ref": reference, "conversation": conversation.as_str(), "limit": limit,
                });
                if let Some((name, position)) = range_json(*range) {
                    frame[name] = position.into();
                }
                frame
            }
            Self::Sync { reference, cursors, limit } => {
                json!({"op": "sync", "ref": reference, "cursors": cursors_json(cursors), "limit": limit})
            }
            Self::Received(conversation, seq) => {
                json!({"op": "received", "conversation": conversation.as_str(), "seq": seq})
            }
            Self::Read(conversation, seq) => {
                json!({"op": "read", "conversation": conversation.as_str(), "seq": seq})
            }
            Self::Typing(conversation, on) => {
                json!({"op": "typing", "conversation": conversation.as_str(), "on": on})
            }
            Self::Watch(users) => json!({"op": "watch", "users": users_json(users)}),
            Self::Unwatch(users) => json!({"op": "unwatch", "users": users_json(users)}),
            Self::Conversations { reference, after, limit } => {
                json!({"op": "conversations", "ref": reference, "after": after, "limit": limit})
            }
            Self::Refresh(token) => json!({"op": "refresh", "token": token}),
            Self::Ping(reference) => json!({"op": "ping", "ref": reference}),
        }
    }
}
