//! Frames: what a client and a server say to one another (PROTOCOL, section 2), apart from how it is written.
//!
//! [`ClientFrame`] borrows the bytes that came from the socket; [`ServerFrame`] borrows what the shard holds.
//! How they are written: `json` and `rkyv`, which agree frame for frame.

mod codec;
mod field;
mod json;
pub mod rkyv;

pub use codec::{Scratch, decode, encode, is_json_object, write_event_object, write_refusal_object};

use crate::error::Refusal;
use crate::event::{Event, Role};
use crate::id::{ClientId, ConversationId, DeviceId, UserId};

/// Which of the two ways to write frames a connection chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// `murmuring.v1.json`: text, one JSON object a frame.
    Json,
    /// `murmuring.v1.rkyv`: binary, one rkyv archive a frame.
    Rkyv,
}

impl Subprotocol {
    /// The name in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "murmuring.v1.json",
            Self::Rkyv => "murmuring.v1.rkyv",
        }
    }
}

/// Where to begin or end a page of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest events: no position named.
    Newest,
    /// Events with a smaller seq, the nearest ones.
    Before(u64),
    /// Events with a larger seq, the nearest ones.
    After(u64),
    /// Events on both sides, the seq itself included.
    Around(u64),
    /// Events of that time (milliseconds since the Unix epoch) and later, the oldest ones.
    Since(u64),
}

/// One frame of a client, decoded and validated once. Lists lie in the decoder's scratch memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClientFrame<'a> {
    /// The first frame.
    Hello {
        /// Which device of the user.
        device: DeviceId,
        /// A token, when the upgrade had none.
        token: Option<&'a str>,
        /// A resume ticket from an earlier `welcome`.
        resume: Option<&'a str>,
        /// What this device has: (conversation, last seq).
        cursors: &'a [(ConversationId, u64)],
    },
    /// A message, stored unless `ephemeral`.
    Send {
        /// Client id.
        id: ClientId,
        /// Where to.
        conversation: ConversationId,
        /// Sort of message; `text` when not given.
        kind: &'a str,
        /// The message.
        body: &'a str,
        /// The text of a JSON object.
        meta: Option<&'a str>,
        /// The message it answers.
        reply_to: Option<u64>,
        /// True: a signal, never stored.
        ephemeral: bool,
    },
    /// A new body for a message.
    Edit {
        /// Client id.
        id: ClientId,
        /// Where.
        conversation: ConversationId,
        /// Which message.
        target: u64,
        /// Its new body.
        body: &'a str,
    },
    /// A message goes away.
    Delete {
        /// Client id.
        id: ClientId,
        /// Where.
        conversation: ConversationId,
        /// Which message.
        target: u64,
    },
    /// A reaction, or its removal.
    React {
        /// Client id.
        id: ClientId,
        /// Where.
        conversation: ConversationId,
        /// To which message.
        target: u64,
        /// With what.
        emoji: &'a str,
        /// True: taken back.
        remove: bool,
    },
    /// A page of the log.
    History {
        /// Echoed in the answer.
        reference: i64,
        /// Where.
        conversation: ConversationId,
        /// From where.
        range: Range,
        /// At most so many events (1 to 200).
        limit: u16,
    },
    /// What came after each of these.
    Sync {
        /// Echoed in each `page` and in `synced`.
        reference: i64,
        /// (conversation, last seq).
        cursors: &'a [(ConversationId, u64)],
        /// At most so many events a conversation (1 to 200).
        limit: u16,
    },
    /// Everything up to `seq` is on this device.
    Received {
        /// Where.
        conversation: ConversationId,
        /// Up to where.
        seq: u64,
    },
    /// Everything up to `seq` is read by this user.
    Read {
        /// Where.
        conversation: ConversationId,
        /// Up to where.
        seq: u64,
    },
    /// The user began or stopped typing.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// True: began.
        on: bool,
    },
    /// Tell me of these users' presence.
    Watch {
        /// Whose.
        users: &'a [UserId],
    },
    /// No longer.
    Unwatch {
        /// Whose.
        users: &'a [UserId],
    },
    /// The chat list.
    Conversations {
        /// Echoed in the answer.
        reference: i64,
        /// Where the last answer ended: its `next`.
        after: Option<&'a str>,
        /// At most so many (1 to 200).
        limit: u16,
    },
    /// A newer token for this session.
    Refresh {
        /// The token.
        token: &'a str,
    },
    /// Are you there?
    Ping {
        /// Echoed in `pong`.
        reference: i64,
    },
}

/// Why a frame was not understood, and which request to answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameError {
    /// What is wrong.
    pub refusal: Refusal,
    /// `ref` of the frame, where it could be read.
    pub reference: Option<i64>,
    /// `id` of the frame, where it could be read.
    pub id: Option<ClientId>,
    /// True when the bytes are not one JSON object or one archive at all: the connection closes with 4400.
    pub garbage: bool,
}

/// One line of a chat list: in `welcome` and `conversations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatListEntry {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Its last seq; 0 when nothing was sent yet.
    pub head: u64,
    /// Up to where this user has read.
    pub read: u64,
    /// The user's role.
    pub role: Role,
    /// Lamport stamp of its last event.
    pub lamport: u64,
}

/// `welcome.limits`: an operator's choices, told to clients under these very names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Longest frame from a client, in bytes.
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

/// One frame of the server.
#[derive(Clone, Copy, Debug)]
pub enum ServerFrame<'a> {
    /// The answer to `hello`.
    Welcome {
        /// Who the token says you are.
        user: UserId,
        /// This session's name, for logs.
        session: &'a str,
        /// A resume ticket.
        resume: &'a str,
        /// Milliseconds without traffic after which the server pings.
        heartbeat_ms: u32,
        /// What the server takes.
        limits: ClientLimits,
        /// The first conversations of the chat list.
        conversations: &'a [ChatListEntry],
        /// True when there are more: ask with `conversations`.
        more: bool,
    },
    /// A send is stored.
    Ack {
        /// Of the send.
        id: ClientId,
        /// Where.
        conversation: ConversationId,
        /// Its place; `None` for an ephemeral send.
        seq: Option<u64>,
        /// When it was stored, milliseconds since the Unix epoch.
        time: u64,
        /// True when this id had been stored before.
        duplicate: bool,
    },
    /// An event of a conversation's log.
    Event(&'a Event),
    /// An ephemeral send: an event with seq 0 that is in no log.
    Signal(&'a Event),
    /// A piece of a log.
    Page {
        /// Of the request.
        reference: i64,
        /// Which log.
        conversation: ConversationId,
        /// Ascending by seq.
        events: &'a [Event],
        /// The log's last seq.
        head: u64,
        /// True when there are more events in the direction asked for.
        more: bool,
        /// First seq that retention still holds, when the request reached below it.
        trimmed: Option<u64>,
    },
    /// All pages of a `sync` were sent.
    Synced {
        /// Of the request.
        reference: i64,
    },
    /// Somebody received or read up to a seq.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// Who; `None` in large conversations.
        user: Option<UserId>,
        /// On a device up to here.
        received: Option<u64>,
        /// Read up to here.
        read: Option<u64>,
        /// How many members have `received`, in large conversations.
        received_count: Option<u32>,
        /// How many members have `read`, in large conversations.
        read_count: Option<u32>,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// True: types.
        on: bool,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        user: UserId,
        /// True: at least one device is connected.
        online: bool,
        /// When the user was last heard, milliseconds since the Unix epoch.
        last_seen: Option<u64>,
    },
    /// The chat list.
    Conversations {
        /// Of the request.
        reference: i64,
        /// Its lines, newest lamport first.
        conversations: &'a [ChatListEntry],
        /// Give this as `after` for more; `None` at the end.
        next: Option<&'a str>,
    },
    /// This connection is too far behind: sync from `after` when you can.
    Lagging {
        /// Where.
        conversation: ConversationId,
        /// Last seq this connection was sent.
        after: u64,
        /// The log's last seq; live events go on after it.
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
        reason: &'a str,
        /// Milliseconds to wait before connecting again.
        reconnect_after_ms: u32,
    },
    /// A request was refused.
    Error {
        /// `ref` of the request.
        reference: Option<i64>,
        /// `id` of the request.
        id: Option<ClientId>,
        /// Why.
        refusal: Refusal,
    },
}
