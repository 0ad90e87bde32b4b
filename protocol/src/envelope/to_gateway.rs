//! Envelopes to gateway shards and to the API.

use super::conversation::{Conversation, Member};
use super::{AttachedItem, Caller};
use crate::error::{CloseCode, Refusal};
use crate::event::Event;
use crate::frame::ChatListEntry;
use crate::id::{ClientId, ConversationKey, Tenant, UserId, UserKey};

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
    /// The router shard does not have the slot that the request is about, or has no longer: whoever has it now is to be asked.
    /// An append may have been stored nevertheless, as its client id will tell. Whoever asked in a cluster keeps its requests
    /// until they are answered; nobody else is told this.
    Misplaced {
        /// Who asked.
        caller: Caller,
    },
    /// Committed events of a conversation, dense and ascending, each exactly one after the last published. Each shard
    /// with interest gets each event once; when its mailbox was full it gets a [`ToGateway::Head`] later instead.
    Publish {
        /// Where.
        conversation: ConversationKey,
        /// What: never empty.
        events: Box<[Event]>,
    },
    /// Publishes were left out: the log now ends here; what is missing comes with [`ToRouter::Backlog`](super::ToRouter::Backlog).
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
    /// The answer to [`ToRouter::PresenceOf`](super::ToRouter::PresenceOf).
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
        /// The chat list. The heads are as the store had them; [`ToRouter::Attach`](super::ToRouter::Attach) tells the ones to go by.
        conversations: Box<[ChatListEntry]>,
        /// True when the user has more.
        more: bool,
    },
    /// The same device connected again, or the user is blocked: close.
    CloseSession {
        /// The connection's name, as the gateway had given it.
        connection: u64,
        /// With what.
        code: CloseCode,
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
