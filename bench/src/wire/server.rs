//! What a client hears (PROTOCOL, section 2), whichever subprotocol brought it. Borrows the bytes of the frame.

use serde::Deserialize;

use super::Text;

/// Why a payload is not a frame of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not JSON, or a member is not what it must be.
    Json,
    /// A first byte that version 1 does not know, or none.
    Tag,
    /// Not an archive of the type that the first byte names.
    Archive,
    /// An `op`, a `type` or a `role` that version 1 does not know.
    Name,
    /// A member that must be there is not.
    Missing(&'static str),
}

/// One frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame<'a> {
    /// The answer to `hello`.
    Welcome {
        /// Who the token says the client is.
        user: Text<'a>,
        /// This session's name.
        session: Text<'a>,
        /// A resume ticket.
        resume: Text<'a>,
        /// Milliseconds without traffic after which the server pings.
        heartbeat_ms: u32,
        /// What the server takes.
        limits: Limits,
        /// The first conversations of the chat list, at most 200.
        conversations: Vec<ChatListEntry<'a>>,
        /// True when there are more.
        more: bool,
    },
    /// A send is stored.
    Ack {
        /// Of the send.
        id: Text<'a>,
        /// Where.
        conversation: Text<'a>,
        /// Its place; none for an ephemeral send.
        seq: Option<u64>,
        /// When, milliseconds since the Unix epoch.
        time: u64,
        /// True when this id had been stored before.
        duplicate: bool,
    },
    /// An event of a conversation's log.
    Event(Event<'a>),
    /// An ephemeral send.
    Signal(Event<'a>),
    /// A piece of a log.
    Page {
        /// Of the request.
        reference: i64,
        /// Which log.
        conversation: Text<'a>,
        /// Ascending by seq.
        events: Vec<Event<'a>>,
        /// The log's last seq.
        head: u64,
        /// True when there are more.
        more: bool,
        /// First seq that retention still holds, when the request reached below it.
        trimmed: Option<u64>,
    },
    /// All pages of a `sync` were sent.
    Synced {
        /// Of the request.
        reference: i64,
    },
    /// Somebody received or read.
    Receipt {
        /// Where.
        conversation: Text<'a>,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Where.
        conversation: Text<'a>,
        /// Who.
        user: Text<'a>,
        /// True: types.
        on: bool,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        user: Text<'a>,
        /// True: at least one device is connected.
        online: bool,
    },
    /// The chat list.
    Conversations {
        /// Of the request.
        reference: i64,
        /// Its lines.
        conversations: Vec<ChatListEntry<'a>>,
        /// The `after` that asks for more.
        next: Option<Text<'a>>,
    },
    /// This connection is too far behind.
    Lagging {
        /// Where.
        conversation: Text<'a>,
        /// Last seq this connection was sent.
        after: u64,
        /// The log's last seq.
        head: u64,
    },
    /// The token was taken.
    Refreshed,
    /// The answer to `ping`.
    Pong {
        /// Of the request.
        reference: i64,
    },
    /// The server drains.
    Goaway {
        /// Why.
        reason: Text<'a>,
        /// Milliseconds to wait before connecting again.
        reconnect_after_ms: u32,
    },
    /// A request was refused.
    Error {
        /// `ref` of the request.
        reference: Option<i64>,
        /// `id` of the request.
        id: Option<Text<'a>>,
        /// Which sort of refusal (PROTOCOL, section 4).
        code: Text<'a>,
        /// One sentence for a person.
        message: Text<'a>,
        /// Milliseconds after which a retry may succeed.
        retry_after_ms: Option<u32>,
    },
}

/// One entry of a conversation's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event<'a> {
    /// Where.
    pub conversation: Text<'a>,
    /// Place in the log, from 1; 0 for a signal.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    /// Lamport stamp.
    pub lamport: u64,
    /// User id of the sender.
    pub sender: Text<'a>,
    /// Device id of the sender.
    pub device: Text<'a>,
    /// Client message id.
    pub id: Text<'a>,
    /// What happened.
    pub content: Content<'a>,
}

/// What an event says. `meta` is left out: this generator sends none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content<'a> {
    /// A message.
    Message {
        /// Sort of message.
        kind: Text<'a>,
        /// The message.
        body: Text<'a>,
        /// The message that this one answers.
        reply_to: Option<u64>,
    },
    /// A message got another body.
    Edit {
        /// Which message.
        target: u64,
        /// Its new body.
        body: Text<'a>,
    },
    /// A message is gone.
    Delete {
        /// Which message.
        target: u64,
    },
    /// Somebody reacts to a message, or takes the reaction back.
    Reaction {
        /// Which message.
        target: u64,
        /// With what.
        emoji: Text<'a>,
        /// True: taken back.
        remove: bool,
    },
    /// A user became a member.
    Joined {
        /// Who.
        user: Text<'a>,
        /// As what.
        role: Role,
    },
    /// A user is no longer a member.
    Left {
        /// Who.
        user: Text<'a>,
    },
    /// The conversation itself, or a member's role, changed.
    Changed {
        /// The conversation's new title.
        title: Option<Text<'a>>,
        /// Whose role changed.
        user: Option<Text<'a>>,
        /// To what.
        role: Option<Role>,
    },
}

/// What a member may do in a conversation (PROTOCOL, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May not send.
    Reader,
    /// Sends; edits and deletes its own.
    Member,
    /// Deletes anybody's, manages members.
    Moderator,
    /// Changes the conversation.
    Owner,
}

/// One line of a chat list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChatListEntry<'a> {
    /// Which conversation.
    #[serde(borrow)]
    pub conversation: Text<'a>,
    /// Its last seq.
    pub head: u64,
    /// Up to where this user has read.
    pub read: u64,
    /// The user's role.
    pub role: Role,
    /// Lamport stamp of its last event.
    pub lamport: u64,
}

/// What the server takes (PROTOCOL, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// Longest frame of a client, in bytes.
    pub frame_bytes: u32,
    /// Longest `body`, in bytes.
    pub body_bytes: u32,
    /// Longest `meta`, in bytes.
    pub meta_bytes: u32,
    /// Sends a second a connection.
    pub sends_per_second: u32,
    /// Sends at once after a pause.
    pub sends_burst: u32,
    /// Conversations attached a connection.
    pub conversations_attached: u32,
    /// Longest page, in events.
    pub page_events: u16,
}
