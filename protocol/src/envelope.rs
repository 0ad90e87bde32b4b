//! Envelopes: what gateway shards, router shards and the API say to one another.
//!
//! Inside of a process an envelope moves through a mailbox as it stands here. Every request that names a
//! [`Caller`] is answered exactly once, to that caller, unless the caller's gateway shard is gone.

use crate::error::Refusal;
use crate::event::{Draft, Event, Role};
use crate::frame::{ChatListEntry, Range};
use crate::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId, UserKey};

/// A gateway shard, by its number in the node; the API is one more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub u16);

impl GatewayId {
    /// The HTTP API: asks and is answered like a gateway shard, and holds no sockets.
    pub const API: Self = Self(u16::MAX);
}

/// A router shard, by its number in the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterId(pub u16);

/// Who asks, echoed in the answer: enough for a gateway to find the connection without remembering the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Which gateway shard.
    pub gateway: GatewayId,
    /// Its word for the connection (slot and generation), or the API's for the call. Opaque to a router.
    pub connection: u64,
    /// `ref` of the client's frame; 0 when it had none.
    pub reference: i64,
}

/// In whose name something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The tenant and the user. For [`Authority::Server`] the user that is named as sender.
    pub key: UserKey,
    /// By what right.
    pub authority: Authority,
}

/// By what right something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A user's token: membership and role decide.
    User,
    /// An API key or an admin token: neither membership nor role is asked for.
    Server,
}

/// What sort of conversation (PROTOCOL, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConversationKind {
    /// Two users; its id is made from theirs.
    Direct = 0,
    /// Members only.
    Group = 1,
    /// Anyone of the tenant may join and read.
    Public = 2,
}

impl ConversationKind {
    /// The kind's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Public => "public",
        }
    }

    /// The kind of a name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Direct, Self::Group, Self::Public].into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of its number in the store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Direct),
            1 => Some(Self::Group),
            2 => Some(Self::Public),
            _ => None,
        }
    }
}

/// A conversation, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub key: ConversationKey,
    /// What sort.
    pub kind: ConversationKind,
    /// For people.
    pub title: Option<Box<str>>,
    /// When it was created, milliseconds since the Unix epoch.
    pub created: u64,
    /// Its last seq; 0 when nothing was sent yet.
    pub head: u64,
    /// Lamport stamp of its last event.
    pub lamport: u64,
    /// How many members.
    pub members: u64,
}

/// A member and its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}

/// One conversation of an [`ToRouter::Attach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachItem {
    /// Which.
    pub conversation: ConversationId,
}

/// One answer of an [`ToGateway::Attached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedItem {
    /// Which.
    pub conversation: ConversationId,
    /// The membership and the head at the moment of interest; `None` for a stranger.
    pub state: Option<AttachedState>,
}

/// What a member attaches to: every event after `head` follows as a [`ToGateway::Publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedState {
    /// Last published seq.
    pub head: u64,
    /// Up to where the user has read.
    pub read: u64,
    /// The user's role.
    pub role: Role,
}

/// A change to the members of a conversation, or to the conversation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a user; a user who is a member already keeps its role. Public conversations: anyone adds itself.
    Join {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// Removes a user; anyone removes itself.
    Leave {
        /// Who.
        user: UserId,
    },
    /// Gives a member another role.
    Role {
        /// Who.
        user: UserId,
        /// The new role.
        role: Role,
    },
    /// Gives the conversation another title.
    Title {
        /// The new title; `None` takes it away.
        title: Option<Box<str>>,
    },
}

/// To a router shard: the first group to the owner of a conversation, the second to the owner of a user.
#[derive(Debug)]
pub enum ToRouter {
    /// Store an event and publish it. Answer: [`ToGateway::Appended`] or [`ToGateway::Refused`].
    Append {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Where.
        conversation: ConversationKey,
        /// What: sender, device, id and content. Membership events come as [`ToRouter::Change`], never here.
        draft: Draft,
        /// The largest stamp that the caller's shard has seen.
        lamport: u64,
    },
    /// Publish an event and store nothing. Answer: [`ToGateway::Signalled`] or [`ToGateway::Refused`].
    Signal {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Where.
        conversation: ConversationKey,
        /// What.
        draft: Draft,
    },
    /// A page of the log. Answer: [`ToGateway::Page`] or [`ToGateway::Refused`].
    History {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which log.
        conversation: ConversationKey,
        /// From where.
        range: Range,
        /// At most so many events.
        limit: u16,
    },
    /// What a room or a slow connection has missed. Answer: [`ToGateway::Backlog`].
    Backlog {
        /// Who asks: a connection of a member, or the whole room with connection 0.
        caller: Caller,
        /// Which log.
        conversation: ConversationKey,
        /// Events with a larger seq.
        after: u64,
        /// At most so many.
        limit: u16,
    },
    /// A session wants a conversation's events. Answer: [`ToGateway::Attached`]; the gateway shard has interest from then on.
    Attach {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which, all of this router shard.
        items: Box<[AttachItem]>,
    },
    /// The gateway shard has no member of this conversation any more. No answer.
    Detach {
        /// Which gateway shard.
        gateway: GatewayId,
        /// Which.
        conversation: ConversationKey,
    },
    /// Cursors moved up. No answer; receipts go to the room.
    Mark {
        /// Who.
        actor: Actor,
        /// On which device.
        device: DeviceId,
        /// Where.
        conversation: ConversationKey,
        /// On the device up to here.
        received: Option<u64>,
        /// Read by the user up to here.
        read: Option<u64>,
    },
    /// Somebody types. No answer; ephemeral.
    Typing {
        /// Who.
        actor: Actor,
        /// Where.
        conversation: ConversationKey,
        /// True: types.
        on: bool,
    },
    /// Create a conversation. Answer: [`ToGateway::Created`] or [`ToGateway::Refused`].
    Create {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which; the API has made an id where the request had none.
        conversation: ConversationKey,
        /// What sort.
        kind: ConversationKind,
        /// For people.
        title: Option<Box<str>>,
        /// The first members, creator included.
        members: Box<[Member]>,
    },
    /// Show a conversation. Answer: [`ToGateway::Conversation`] or [`ToGateway::Refused`].
    Show {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which.
        conversation: ConversationKey,
    },
    /// Change a conversation or its members. Answer: [`ToGateway::Appended`] (of the event that says so) or [`ToGateway::Refused`].
    Change {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which.
        conversation: ConversationKey,
        /// Client id of the event: what makes a retry harmless.
        id: ClientId,
        /// What.
        change: Change,
        /// The largest stamp that the caller's shard has seen.
        lamport: u64,
    },
    /// Remove a conversation and its log. Answer: [`ToGateway::Removed`] or [`ToGateway::Refused`].
    Remove {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which.
        conversation: ConversationKey,
    },
    /// List members, by id. Answer: [`ToGateway::Members`] or [`ToGateway::Refused`].
    Members {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Of which.
        conversation: ConversationKey,
        /// Ids larger than this.
        after: Option<UserId>,
        /// At most so many.
        limit: u16,
    },

    /// A session begins. Answer: [`ToGateway::SessionOpened`] or [`ToGateway::Refused`]. An older session of the same
    /// device gets [`ToGateway::CloseSession`].
    SessionOpen {
        /// The connection.
        caller: Caller,
        /// Who.
        user: UserKey,
        /// On which device.
        device: DeviceId,
    },
    /// A session was not heard for the offline time, or was heard again. No answer.
    SessionHeard {
        /// The connection.
        caller: Caller,
        /// Who.
        user: UserKey,
        /// False: silent for the offline time.
        heard: bool,
    },
    /// A session ended. No answer.
    SessionClose {
        /// The connection.
        caller: Caller,
        /// Who.
        user: UserKey,
        /// True: closed in order, so that the user is offline at once when it was the last.
        normal: bool,
    },
    /// The gateway shard wants a user's presence, once however many of its connections do. Answer: one
    /// [`ToGateway::Presence`] each, then one on each change.
    Watch {
        /// Which gateway shard.
        gateway: GatewayId,
        /// Whose, all of this router shard.
        users: Box<[UserKey]>,
    },
    /// The gateway shard has no watcher of these users any more. No answer.
    Unwatch {
        /// Which gateway shard.
        gateway: GatewayId,
        /// Whose.
        users: Box<[UserKey]>,
    },
    /// A user's presence, once. Answer: [`ToGateway::PresenceOf`].
    PresenceOf {
        /// Who asks.
        caller: Caller,
        /// Whose.
        user: UserKey,
    },
    /// A user's chat list, newest lamport first. Answer: [`ToGateway::Conversations`] or [`ToGateway::Refused`].
    Conversations {
        /// Who asks.
        caller: Caller,
        /// Whose.
        user: UserKey,
        /// Entries behind this one: (lamport, conversation) of the last one seen.
        after: Option<(u64, ConversationId)>,
        /// At most so many.
        limit: u16,
    },
    /// From the owner of a conversation to the owner of a user: the user became or is no longer a member. No answer.
    Membership {
        /// Who.
        user: UserKey,
        /// Of which.
        conversation: ConversationId,
        /// True: became.
        joined: bool,
        /// Seq after which the user's events begin.
        after: u64,
    },
}

/// To a gateway shard, or to the API.
#[derive(Debug)]
pub enum ToGateway {
    /// An append is durable.
    Appended {
        /// Who asked.
        caller: Caller,
        /// Where.
        conversation: ConversationKey,
        /// Client id.
        id: ClientId,
        /// Its place.
        seq: u64,
        /// When.
        time: u64,
        /// True when it had been stored before.
        duplicate: bool,
    },
    /// A signal was published.
    Signalled {
        /// Who asked.
        caller: Caller,
        /// Where.
        conversation: ConversationKey,
        /// Client id.
        id: ClientId,
        /// When.
        time: u64,
    },
    /// A request was refused; nothing was done.
    Refused {
        /// Who asked.
        caller: Caller,
        /// Client id of the request, where it had one.
        id: Option<ClientId>,
        /// Why.
        refusal: Refusal,
    },
    /// Committed events of a conversation, dense and ascending, each exactly one after the last published. Each shard
    /// with interest gets each event once; when its mailbox was full it gets a [`ToGateway::Head`] later instead.
    Publish {
        /// Where.
        conversation: ConversationKey,
        /// What: never empty.
        events: Box<[Event]>,
    },
    /// Publishes were left out: the log now ends here; what is missing comes with [`ToRouter::Backlog`].
    Head {
        /// Where.
        conversation: ConversationKey,
        /// Last published seq.
        head: u64,
    },
    /// The answer to a history request.
    Page {
        /// Who asked.
        caller: Caller,
        /// Which log.
        conversation: ConversationKey,
        /// Ascending by seq.
        events: Box<[Event]>,
        /// Last published seq.
        head: u64,
        /// True when there are more in the direction asked for.
        more: bool,
        /// First seq that retention still holds, when the request reached below it.
        trimmed: Option<u64>,
    },
    /// The answer to a backlog request: events `after + 1` and on, dense, as many as the limit and a bound of bytes
    /// allow. Empty when there are none, or when `refused`.
    Backlog {
        /// Who asked.
        caller: Caller,
        /// Which log.
        conversation: ConversationKey,
        /// As asked.
        after: u64,
        /// Ascending by seq.
        events: Box<[Event]>,
        /// Last published seq.
        head: u64,
        /// Why there are none: ask again after `retry_after_ms`.
        refused: Option<Refusal>,
    },
    /// The answer to an attach, item by item.
    Attached {
        /// Who asked.
        caller: Caller,
        /// The tenant of all items.
        tenant: Tenant,
        /// What came of each that was asked for, in that order; also when refused, then none with a state.
        items: Box<[AttachedItem]>,
        /// Set when the owner could not tell: the store is away. Nothing is attached.
        refused: Option<Refusal>,
    },
    /// An event that is in no log. Ephemeral.
    Signal {
        /// Where.
        conversation: ConversationKey,
        /// What; its seq is 0.
        event: Event,
    },
    /// Somebody types. Ephemeral.
    Typing {
        /// Where.
        conversation: ConversationKey,
        /// Who.
        user: UserId,
        /// True: types.
        on: bool,
    },
    /// Cursors moved. Ephemeral: the cursors themselves are in the store.
    Receipt {
        /// Where.
        conversation: ConversationKey,
        /// Who; `None` in large conversations.
        user: Option<UserId>,
        /// On a device up to here.
        received: Option<u64>,
        /// Read up to here.
        read: Option<u64>,
        /// How many have `received`.
        received_count: Option<u32>,
        /// How many have `read`.
        read_count: Option<u32>,
    },
    /// Somebody came or went. Ephemeral.
    Presence {
        /// Who.
        user: UserKey,
        /// True: at least one device.
        online: bool,
        /// Milliseconds since the Unix epoch.
        last_seen: Option<u64>,
    },
    /// The answer to [`ToRouter::PresenceOf`].
    PresenceOf {
        /// Who asked.
        caller: Caller,
        /// Who.
        user: UserKey,
        /// True: at least one device.
        online: bool,
        /// Milliseconds since the Unix epoch.
        last_seen: Option<u64>,
    },
    /// A session is registered; these are its user's conversations, newest lamport first, at most as many as a
    /// connection may attach.
    SessionOpened {
        /// Who asked.
        caller: Caller,
        /// The chat list. The heads are as the store had them; [`ToRouter::Attach`] tells the ones to go by.
        conversations: Box<[ChatListEntry]>,
        /// True when the user has more.
        more: bool,
    },
    /// The same device connected again, or the user is blocked: close.
    CloseSession {
        /// The connection's name, as the gateway had given it.
        connection: u64,
        /// With what.
        code: crate::error::CloseCode,
    },
    /// A user with a session here became a member: attach it from `after`.
    Joined {
        /// The connection's name, as the gateway had given it.
        connection: u64,
        /// Of which.
        conversation: ConversationKey,
        /// Seq after which its events begin.
        after: u64,
    },
    /// A user with a session here is no longer a member.
    Left {
        /// The connection's name, as the gateway had given it.
        connection: u64,
        /// Of which.
        conversation: ConversationKey,
        /// Seq of the event that says so; 0 when the whole conversation was removed.
        seq: u64,
    },
    /// A chat list.
    Conversations {
        /// Who asked.
        caller: Caller,
        /// Newest lamport first.
        conversations: Box<[ChatListEntry]>,
        /// True when there are more.
        more: bool,
    },
    /// A conversation was created, or was there already.
    Created {
        /// Who asked.
        caller: Caller,
        /// As it is now.
        conversation: Conversation,
        /// False: it was there already.
        created: bool,
    },
    /// A conversation.
    Conversation {
        /// Who asked.
        caller: Caller,
        /// As it is now.
        conversation: Conversation,
    },
    /// A conversation is gone.
    Removed {
        /// Who asked.
        caller: Caller,
    },
    /// Members, ascending by id.
    Members {
        /// Who asked.
        caller: Caller,
        /// Who.
        members: Box<[Member]>,
        /// True when there are more.
        more: bool,
    },
}

/// How an envelope behaves when a mailbox fills. Each class may fill it up to a share of its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Dropped first, from half full on: typing, presence, receipts, signals.
    Ephemeral,
    /// Given back to its sender from three quarters on; the log has it: publishes and heads.
    Publish,
    /// Given back to its sender when full; the sender keeps it and tries again: all else.
    Required,
}

impl Lane {
    /// How many envelopes of a mailbox of `capacity` this lane may fill.
    #[must_use]
    pub const fn fill_max(self, capacity: usize) -> usize {
        match self {
            Self::Ephemeral => capacity / 2,
            Self::Publish => capacity / 4 * 3,
            Self::Required => capacity,
        }
    }
}

impl ToRouter {
    /// The envelope's lane.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Typing { .. } => Lane::Ephemeral,
            _ => Lane::Required,
        }
    }
}

impl ToGateway {
    /// Who asked, when this is an answer.
    #[must_use]
    pub const fn caller(&self) -> Option<Caller> {
        match self {
            Self::Appended { caller, .. }
            | Self::Signalled { caller, .. }
            | Self::Refused { caller, .. }
            | Self::Page { caller, .. }
            | Self::Backlog { caller, .. }
            | Self::Attached { caller, .. }
            | Self::PresenceOf { caller, .. }
            | Self::SessionOpened { caller, .. }
            | Self::Conversations { caller, .. }
            | Self::Created { caller, .. }
            | Self::Conversation { caller, .. }
            | Self::Removed { caller }
            | Self::Members { caller, .. } => Some(*caller),
            Self::Publish { .. }
            | Self::Head { .. }
            | Self::Signal { .. }
            | Self::Typing { .. }
            | Self::Receipt { .. }
            | Self::Presence { .. }
            | Self::CloseSession { .. }
            | Self::Joined { .. }
            | Self::Left { .. } => None,
        }
    }

    /// The envelope's lane.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Signal { .. } | Self::Typing { .. } | Self::Receipt { .. } | Self::Presence { .. } => {
                Lane::Ephemeral
            }
            Self::Publish { .. } | Self::Head { .. } => Lane::Publish,
            _ => Lane::Required,
        }
    }
}
