//! What a server tells a client, as one form for both subprotocols: parsed apart from the server's own codec for JSON,
//! through `protocol`'s decoder for rkyv.
//!
//! Judges nothing: that is the checker's.

mod archive;
mod json;

use protocol::event::{ArchivedContentV1, ArchivedEventV1, Event, Role};
use protocol::id::{ClientId, ConversationId, DeviceId, UserId};
use serde_json::Value;

/// An event as a client was told of it, or as the log has it: the same form, so that the two can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToldEvent {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Its place; 0 for a signal.
    pub(crate) seq: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) time: u64,
    /// Its stamp.
    pub(crate) lamport: u64,
    /// Who.
    pub(crate) sender: UserId,
    /// On which device.
    pub(crate) device: DeviceId,
    /// Client id.
    pub(crate) id: ClientId,
    /// What.
    pub(crate) content: Content,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// A message.
    Message {
        /// Sort of message.
        kind: String,
        /// The message.
        body: String,
        /// An object.
        meta: Option<Value>,
        /// What it answers.
        reply_to: Option<u64>,
    },
    /// Another body.
    Edit {
        /// Of which message.
        target: u64,
        /// The body.
        body: String,
    },
    /// A message goes.
    Delete {
        /// Which.
        target: u64,
    },
    /// A reaction.
    Reaction {
        /// To which message.
        target: u64,
        /// With what.
        emoji: String,
        /// Taken back.
        remove: bool,
    },
    /// A new member.
    Joined {
        /// Who.
        user: String,
        /// As what.
        role: Role,
    },
    /// A member less.
    Left {
        /// Who.
        user: String,
    },
    /// A title or a role.
    Changed {
        /// The title.
        title: Option<String>,
        /// Whose role.
        user: Option<String>,
        /// Which role.
        role: Option<Role>,
    },
}

impl Content {
    /// Whether it changes a membership or the conversation.
    pub(crate) fn is_change(&self) -> bool {
        match self {
            Self::Joined { .. } | Self::Left { .. } | Self::Changed { .. } => true,
            Self::Message { .. } | Self::Edit { .. } | Self::Delete { .. } | Self::Reaction { .. } => false,
        }
    }

    fn archived(content: &ArchivedContentV1<'_>) -> Self {
        match content {
            ArchivedContentV1::Message { kind, body, meta, reply_to } => Self::Message {
                kind: kind.to_string(),
                body: body.to_string(),
                meta: meta.as_ref().map(|meta| serde_json::from_str(meta).expect("meta is JSON")),
                reply_to: reply_to.as_ref().map(|seq| seq.to_native()),
            },
            ArchivedContentV1::Edit { target, body } => {
                Self::Edit { target: target.to_native(), body: body.to_string() }
            }
            ArchivedContentV1::Delete { target } => Self::Delete { target: target.to_native() },
            ArchivedContentV1::Reaction { target, emoji, remove } => {
                Self::Reaction { target: target.to_native(), emoji: emoji.to_string(), remove: *remove }
            }
            ArchivedContentV1::Joined { user, role } => {
                Self::Joined { user: user.to_string(), role: role_of(*role) }
            }
            ArchivedContentV1::Left { user } => Self::Left { user: user.to_string() },
            ArchivedContentV1::Changed { title, user, role } => Self::Changed {
                title: title.as_ref().map(ToString::to_string),
                user: user.as_ref().map(ToString::to_string),
                role: role.as_ref().map(|role| role_of(*role)),
            },
        }
    }
}

fn role_of(role: protocol::event::ArchivedRole) -> Role {
    Role::from_number(role as u8).expect("an archived role is a role")
}

impl ToldEvent {
    /// Whom it makes a member.
    pub(crate) fn joined(&self) -> Option<UserId> {
        match &self.content {
            Content::Joined { user, .. } => Some(UserId::parse(user).expect("the log holds ids")),
            _ => None,
        }
    }

    /// An event of the log, or one that came as rkyv.
    pub(crate) fn of(event: &Event) -> Self {
        Self::archived(event.view())
    }

    fn archived(view: &ArchivedEventV1<'_>) -> Self {
        Self {
            conversation: ConversationId::parse(&*view.conversation).expect("the log holds ids"),
            seq: view.seq.to_native(),
            time: view.time.to_native(),
            lamport: view.lamport.to_native(),
            sender: UserId::parse(&*view.sender).expect("the log holds ids"),
            device: DeviceId::parse(&*view.device).expect("the log holds ids"),
            id: ClientId::parse(&*view.id).expect("the log holds ids"),
            content: Content::archived(&view.content),
        }
    }
}

/// One line of a chat list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldEntry {
    /// Which conversation.
    pub(crate) conversation: ConversationId,
    /// Its last seq.
    pub(crate) head: u64,
    /// Read up to here.
    pub(crate) read: u64,
}

/// One frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// The answer to `hello`.
    Welcome { user: UserId, resume: String, conversations: Vec<ToldEntry>, more: bool },
    /// A send is stored.
    Ack { id: ClientId, conversation: ConversationId, seq: Option<u64>, time: u64, duplicate: bool },
    /// An event of a log.
    Event(ToldEvent),
    /// An event of no log.
    Signal(ToldEvent),
    /// A piece of a log.
    Page { reference: i64, conversation: ConversationId, events: Vec<ToldEvent>, head: u64, more: bool },
    /// All pages of a sync were sent.
    Synced { reference: i64 },
    /// Cursors moved.
    Receipt { conversation: ConversationId, user: Option<UserId>, received: Option<u64>, read: Option<u64> },
    /// Somebody types.
    Typing { conversation: ConversationId, user: UserId },
    /// Somebody came or went.
    Presence { user: UserId, online: bool },
    /// The chat list.
    Conversations { reference: i64, conversations: Vec<ToldEntry>, next: Option<String> },
    /// Too far behind.
    Lagging { conversation: ConversationId, after: u64, head: u64 },
    /// The token was taken.
    Refreshed,
    /// The answer to `ping`.
    Pong { reference: i64 },
    /// The server drains.
    Goaway { reconnect_after_ms: u64 },
    /// A refusal.
    Error { reference: Option<i64>, id: Option<ClientId>, code: String, retry_after_ms: Option<u64> },
}
