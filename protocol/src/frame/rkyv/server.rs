//! A server's frame as an archive, version 1: its frozen types, how a gateway encodes it, and how a native client
//! reads it. Events are not here: an rkyv client gets their stored bytes.

use ::rkyv::rancor::Failure;
use ::rkyv::with::{InlineAsBox, Map};
use ::rkyv::{Archive, Serialize};

use super::{AsV1, Each, SERVER_FRAME_V1, SIGNAL, write};
use crate::event::{self, ArchivedEventV1, EVENT_VERSION, Event, InvalidEvent, Role};
use crate::frame::{ChatListEntry, ClientLimits, ServerFrame};

/// A frame of the server, version 1. Frozen: a change is a new version. The fields are those of
/// [`crate::frame::ServerFrame`].
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub enum ServerFrameV1<'a> {
    /// The answer to `hello`.
    Welcome {
        /// Who the token says you are.
        #[rkyv(with = InlineAsBox)]
        user: &'a str,
        /// This session's name.
        #[rkyv(with = InlineAsBox)]
        session: &'a str,
        /// A resume ticket.
        #[rkyv(with = InlineAsBox)]
        resume: &'a str,
        /// Milliseconds without traffic after which the server pings.
        heartbeat_ms: u32,
        /// What the server takes.
        limits: ClientLimitsV1,
        /// The first conversations of the chat list.
        #[rkyv(with = Each)]
        conversations: &'a [ChatListEntry],
        /// True when there are more.
        more: bool,
    },
    /// A send is stored.
    Ack {
        /// Of the send.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Its place; none for an ephemeral send.
        seq: Option<u64>,
        /// When, milliseconds since the Unix epoch.
        time: u64,
        /// True when this id had been stored before.
        duplicate: bool,
    },
    /// A piece of a log.
    Page {
        /// Of the request.
        reference: i64,
        /// Which log.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Ascending by seq, each as its stored bytes.
        #[rkyv(with = Each)]
        events: &'a [Event],
        /// The log's last seq.
        head: u64,
        /// True when there are more.
        more: bool,
        /// First seq that retention still holds.
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
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Who; none in large conversations.
        #[rkyv(with = Map<InlineAsBox>)]
        user: Option<&'a str>,
        /// On a device up to here.
        received: Option<u64>,
        /// Read up to here.
        read: Option<u64>,
        /// How many members have `received`.
        received_count: Option<u32>,
        /// How many members have `read`.
        read_count: Option<u32>,
    },
    /// Somebody types, or stopped.
    Typing {
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Who.
        #[rkyv(with = InlineAsBox)]
        user: &'a str,
        /// True: types.
        on: bool,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        #[rkyv(with = InlineAsBox)]
        user: &'a str,
        /// True: at least one device is connected.
        online: bool,
        /// When the user was last heard, milliseconds since the Unix epoch.
        last_seen: Option<u64>,
    },
    /// The chat list.
    Conversations {
        /// Of the request.
        reference: i64,
        /// Its lines.
        #[rkyv(with = Each)]
        conversations: &'a [ChatListEntry],
        /// Give this as `after` for more.
        #[rkyv(with = Map<InlineAsBox>)]
        next: Option<&'a str>,
    },
    /// This connection is too far behind.
    Lagging {
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
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
        #[rkyv(with = InlineAsBox)]
        reason: &'a str,
        /// Milliseconds to wait before connecting again.
        reconnect_after_ms: u32,
    },
    /// A request was refused.
    Error {
        /// `ref` of the request.
        reference: Option<i64>,
        /// `id` of the request.
        #[rkyv(with = Map<InlineAsBox>)]
        id: Option<&'a str>,
        /// The code's name, as in JSON.
        #[rkyv(with = InlineAsBox)]
        code: &'a str,
        /// One sentence for a person.
        #[rkyv(with = InlineAsBox)]
        message: &'a str,
        /// Milliseconds after which a retry may succeed.
        retry_after_ms: Option<u32>,
    },
}

/// What a server takes, version 1. Frozen. The fields are those of [`ClientLimits`].
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct ClientLimitsV1 {
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

/// One line of a chat list, version 1. Frozen.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct ChatListEntryV1<'a> {
    /// Which conversation.
    #[rkyv(with = InlineAsBox)]
    pub conversation: &'a str,
    /// Its last seq.
    pub head: u64,
    /// Up to where this user has read.
    pub read: u64,
    /// The user's role.
    pub role: Role,
    /// Lamport stamp of its last event.
    pub lamport: u64,
}

/// An event of a page, version 1. Frozen.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct EventBytesV1<'a> {
    /// The event's stored bytes, version byte included.
    #[rkyv(with = InlineAsBox)]
    pub bytes: &'a [u8],
}

impl AsV1 for ChatListEntry {
    type V1<'a> = ChatListEntryV1<'a>;

    fn as_v1(&self) -> ChatListEntryV1<'_> {
        ChatListEntryV1 {
            conversation: self.conversation.as_str(),
            head: self.head,
            read: self.read,
            role: self.role,
            lamport: self.lamport,
        }
    }
}

impl AsV1 for Event {
    type V1<'a> = EventBytesV1<'a>;

    fn as_v1(&self) -> EventBytesV1<'_> {
        EventBytesV1 { bytes: self.as_bytes() }
    }
}

impl From<ClientLimits> for ClientLimitsV1 {
    fn from(limits: ClientLimits) -> Self {
        Self {
            frame_bytes: limits.frame_bytes,
            body_bytes: limits.body_bytes,
            meta_bytes: limits.meta_bytes,
            sends_per_second: limits.sends_per_second,
            sends_burst: limits.sends_burst,
            conversations_attached: limits.conversations_attached,
            page_events: limits.page_events,
        }
    }
}

/// Appends the payload of a server's frame.
pub(crate) fn encode(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    let frame = match *frame {
        ServerFrame::Event(event) => return out.extend_from_slice(event.as_bytes()),
        ServerFrame::Signal(event) => {
            out.push(SIGNAL);
            return out.extend_from_slice(event.as_bytes());
        }
        ServerFrame::Welcome { ref user, session, resume, heartbeat_ms, limits, conversations, more } => {
            let (user, limits) = (user.as_str(), limits.into());
            ServerFrameV1::Welcome { user, session, resume, heartbeat_ms, limits, conversations, more }
        }
        ServerFrame::Ack { ref id, ref conversation, seq, time, duplicate } => {
            ServerFrameV1::Ack { id: id.as_str(), conversation: conversation.as_str(), seq, time, duplicate }
        }
        ServerFrame::Page { reference, ref conversation, events, head, more, trimmed } => {
            let conversation = conversation.as_str();
            ServerFrameV1::Page { reference, conversation, events, head, more, trimmed }
        }
        ServerFrame::Synced { reference } => ServerFrameV1::Synced { reference },
        ServerFrame::Receipt { ref conversation, ref user, received, read, received_count, read_count } => {
            let (conversation, user) = (conversation.as_str(), user.as_ref().map(|user| user.as_str()));
            ServerFrameV1::Receipt { conversation, user, received, read, received_count, read_count }
        }
        ServerFrame::Typing { ref conversation, ref user, on } => {
            ServerFrameV1::Typing { conversation: conversation.as_str(), user: user.as_str(), on }
        }
        ServerFrame::Presence { ref user, online, last_seen } => {
            ServerFrameV1::Presence { user: user.as_str(), online, last_seen }
        }
        ServerFrame::Conversations { reference, conversations, next } => {
            ServerFrameV1::Conversations { reference, conversations, next }
        }
        ServerFrame::Lagging { ref conversation, after, head } => {
            ServerFrameV1::Lagging { conversation: conversation.as_str(), after, head }
        }
        ServerFrame::Refreshed => ServerFrameV1::Refreshed,
        ServerFrame::Pong { reference } => ServerFrameV1::Pong { reference },
        ServerFrame::Goaway { reason, reconnect_after_ms } => {
            ServerFrameV1::Goaway { reason, reconnect_after_ms }
        }
        ServerFrame::Error { reference, ref id, refusal } => ServerFrameV1::Error {
            reference,
            id: id.as_ref().map(|id| id.as_str()),
            code: refusal.code.name(),
            message: refusal.message,
            retry_after_ms: refusal.retry_after_ms,
        },
    };
    write(SERVER_FRAME_V1, &frame, out);
}

/// A server's frame as a native client reads it, in place.
#[derive(Clone, Copy)]
pub enum ServerArchive<'a> {
    /// An event of a conversation's log.
    Event(&'a ArchivedEventV1<'a>),
    /// An ephemeral send.
    Signal(&'a ArchivedEventV1<'a>),
    /// Anything else.
    Frame(&'a ArchivedServerFrameV1<'a>),
}

/// Reads the payload of a server's frame, for native clients. The events of a page are read by [`event::view`].
///
/// # Errors
/// [`InvalidEvent::Version`] for a tag of another version, [`InvalidEvent::Archive`] for bytes that are no archive.
pub fn decode_server(payload: &[u8]) -> Result<ServerArchive<'_>, InvalidEvent> {
    match payload.split_first() {
        Some((&EVENT_VERSION, _)) => event::view(payload).map(ServerArchive::Event),
        Some((&SIGNAL, event)) => event::view(event).map(ServerArchive::Signal),
        Some((&SERVER_FRAME_V1, archive)) => ::rkyv::access::<ArchivedServerFrameV1<'_>, Failure>(archive)
            .map(ServerArchive::Frame)
            .map_err(|_| InvalidEvent::Archive),
        _ => Err(InvalidEvent::Version),
    }
}
