//! JSON frames of the server, read with `serde_json`: nothing of the server's own codec is used.

use protocol::event::Role;
use protocol::id::{ClientId, ConversationId, DeviceId, UserId};
use serde_json::Value;

use super::{Content, Told, ToldEntry, ToldEvent};

impl Content {
    fn json(value: &Value) -> Option<Self> {
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let role = |name: &str| Role::parse(value.get(name)?.as_str()?);
        let target = value.get("target").and_then(Value::as_u64);
        Some(match value.get("type")?.as_str()? {
            "message" => Self::Message {
                kind: text("kind")?,
                body: text("body")?,
                meta: value.get("meta").cloned(),
                reply_to: value.get("reply_to").and_then(Value::as_u64),
            },
            "edit" => Self::Edit { target: target?, body: text("body")? },
            "delete" => Self::Delete { target: target? },
            "reaction" => Self::Reaction {
                target: target?,
                emoji: text("emoji")?,
                remove: value.get("remove").and_then(Value::as_bool).unwrap_or(false),
            },
            "joined" => Self::Joined { user: text("user")?, role: role("role")? },
            "left" => Self::Left { user: text("user")? },
            "changed" => Self::Changed { title: text("title"), user: text("user"), role: role("role") },
            _ => return None,
        })
    }
}

impl ToldEvent {
    /// An event of a JSON frame; a signal has no `seq`.
    fn json(value: &Value) -> Option<Self> {
        Some(Self {
            conversation: conversation(value)?,
            seq: value.get("seq").map_or(Some(0), Value::as_u64)?,
            time: value.get("time")?.as_u64()?,
            lamport: value.get("lamport").map_or(Some(0), Value::as_u64)?,
            sender: UserId::parse(value.get("sender")?.as_str()?).ok()?,
            device: DeviceId::parse(value.get("device")?.as_str()?).ok()?,
            id: ClientId::parse(value.get("id")?.as_str()?).ok()?,
            content: Content::json(value)?,
        })
    }
}

fn conversation(value: &Value) -> Option<ConversationId> {
    ConversationId::parse(value.get("conversation")?.as_str()?).ok()
}

fn entries(value: &Value) -> Option<Vec<ToldEntry>> {
    let entry = |value: &Value| {
        Some(ToldEntry {
            conversation: conversation(value)?,
            head: value.get("head")?.as_u64()?,
            read: value.get("read")?.as_u64()?,
        })
    };
    value.get("conversations")?.as_array()?.iter().map(entry).collect()
}

impl Told {
    /// A JSON frame; `None` when it is not what PROTOCOL says.
    pub(crate) fn json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| value.get(name)?.as_u64();
        let reference = || value.get("ref")?.as_i64();
        let user = || UserId::parse(value.get("user")?.as_str()?).ok();
        let id = || ClientId::parse(value.get("id")?.as_str()?).ok();
        let flag = |name: &str| value.get(name)?.as_bool();
        Some(match value.get("op")?.as_str()? {
            "welcome" => Self::Welcome {
                user: user()?,
                resume: value.get("resume")?.as_str()?.to_owned(),
                conversations: entries(&value)?,
                more: flag("more").unwrap_or(false),
            },
            "ack" => Self::Ack {
                id: id()?,
                conversation: conversation(&value)?,
                seq: number("seq"),
                time: number("time")?,
                duplicate: flag("duplicate")?,
            },
            "event" => Self::Event(ToldEvent::json(&value)?),
            "signal" => Self::Signal(ToldEvent::json(&value)?),
            "page" => Self::Page {
                reference: reference()?,
                conversation: conversation(&value)?,
                events: value
                    .get("events")?
                    .as_array()?
                    .iter()
                    .map(ToldEvent::json)
                    .collect::<Option<_>>()?,
                head: number("head")?,
                more: flag("more")?,
            },
            "synced" => Self::Synced { reference: reference()? },
            "conversations" => Self::Conversations {
                reference: reference()?,
                conversations: entries(&value)?,
                next: value.get("next").and_then(|next| Some(next.as_str()?.to_owned())),
            },
            "lagging" => Self::Lagging {
                conversation: conversation(&value)?,
                after: number("after")?,
                head: number("head")?,
            },
            "refreshed" => Self::Refreshed,
            "pong" => Self::Pong { reference: reference()? },
            "goaway" => Self::Goaway { reconnect_after_ms: number("reconnect_after_ms")? },
            "error" => Self::Error {
                reference: reference(),
                id: id(),
                code: value.get("code")?.as_str()?.to_owned(),
                retry_after_ms: number("retry_after_ms"),
            },
            _ => return Self::notice(&value),
        })
    }

    /// The ephemeral frames.
    fn notice(value: &Value) -> Option<Self> {
        let user = || UserId::parse(value.get("user")?.as_str()?).ok();
        Some(match value.get("op")?.as_str()? {
            "receipt" => Self::Receipt {
                conversation: conversation(value)?,
                user: user(),
                received: value.get("received").and_then(Value::as_u64),
                read: value.get("read").and_then(Value::as_u64),
            },
            "typing" => Self::Typing { conversation: conversation(value)?, user: user()? },
            "presence" => Self::Presence { user: user()?, online: value.get("online")?.as_bool()? },
            _ => return None,
        })
    }
}
