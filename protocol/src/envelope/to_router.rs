//! Envelopes to router shards.

use super::conversation::{Change, ConversationKind, Member};
use super::{Actor, AttachItem, Caller, GatewayId};
use crate::event::Draft;
use crate::frame::Range;
use crate::id::{ClientId, ConversationId, ConversationKey, DeviceId, UserId, UserKey};
use crate::placement::Slot;

/// To a router shard: the first group to the owner of a conversation, the second to the owner of a user.
#[derive(Clone, Debug)]
pub enum ToRouter {
    /// Store an event and publish it. Answer: [`ToGateway::Appended`](super::ToGateway::Appended) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// Publish an event and store nothing. Answer: [`ToGateway::Signalled`](super::ToGateway::Signalled) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// A page of the log. Answer: [`ToGateway::Page`](super::ToGateway::Page) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// What a room or a slow connection has missed. Answer: [`ToGateway::Backlog`](super::ToGateway::Backlog).
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
    /// A session wants a conversation's events. Answer: [`ToGateway::Attached`](super::ToGateway::Attached); the gateway shard has interest from then on.
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
    /// Create a conversation. Answer: [`ToGateway::Created`](super::ToGateway::Created) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// Show a conversation. Answer: [`ToGateway::Conversation`](super::ToGateway::Conversation) or [`ToGateway::Refused`](super::ToGateway::Refused).
    Show {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which.
        conversation: ConversationKey,
    },
    /// Change a conversation or its members. Answer: [`ToGateway::Appended`](super::ToGateway::Appended) (of the event that says so) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// Remove a conversation and its log. Answer: [`ToGateway::Removed`](super::ToGateway::Removed) or [`ToGateway::Refused`](super::ToGateway::Refused).
    Remove {
        /// Who asks.
        caller: Caller,
        /// In whose name.
        actor: Actor,
        /// Which.
        conversation: ConversationKey,
    },
    /// List members, by id. Answer: [`ToGateway::Members`](super::ToGateway::Members) or [`ToGateway::Refused`](super::ToGateway::Refused).
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

    /// A session begins. Answer: [`ToGateway::SessionOpened`](super::ToGateway::SessionOpened) or [`ToGateway::Refused`](super::ToGateway::Refused). An older session of the same
    /// device gets [`ToGateway::CloseSession`](super::ToGateway::CloseSession).
    SessionOpen {
        /// The connection.
        caller: Caller,
        /// Who.
        user: UserKey,
        /// On which device.
        device: DeviceId,
        /// True: the session is not new, its user's owner is: it is registered again, and the chat list says what the device
        /// may have missed. It replaces no session that is.
        again: bool,
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
    /// [`ToGateway::Presence`](super::ToGateway::Presence) each, then one on each change.
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
    /// A user's presence, once. Answer: [`ToGateway::PresenceOf`](super::ToGateway::PresenceOf).
    PresenceOf {
        /// Who asks.
        caller: Caller,
        /// Whose.
        user: UserKey,
    },
    /// A user's chat list, newest lamport first. Answer: [`ToGateway::Conversations`](super::ToGateway::Conversations) or [`ToGateway::Refused`](super::ToGateway::Refused).
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
    /// A gateway shard of another node is gone, and its sessions, rooms and watches with it. No answer; never on a link.
    GatewayGone {
        /// Which.
        gateway: GatewayId,
    },
}

impl ToRouter {
    /// The slot of what it is about, whose owner it is for: of a list, that of its first, since all of them are of one owner.
    /// `None` for what is for every router shard, or about nobody.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Append { conversation, .. }
            | Self::Signal { conversation, .. }
            | Self::History { conversation, .. }
            | Self::Backlog { conversation, .. }
            | Self::Detach { conversation, .. }
            | Self::Mark { conversation, .. }
            | Self::Typing { conversation, .. }
            | Self::Create { conversation, .. }
            | Self::Show { conversation, .. }
            | Self::Change { conversation, .. }
            | Self::Remove { conversation, .. }
            | Self::Members { conversation, .. } => Some(Slot::of_conversation(conversation)),
            Self::Attach { actor, items, .. } => items.first().map(|item| {
                let (tenant, conversation) = (actor.key.tenant, item.conversation);
                Slot::of_conversation(&ConversationKey { tenant, conversation })
            }),
            Self::SessionOpen { user, .. }
            | Self::SessionHeard { user, .. }
            | Self::SessionClose { user, .. }
            | Self::PresenceOf { user, .. }
            | Self::Conversations { user, .. }
            | Self::Membership { user, .. } => Some(Slot::of_user(user)),
            Self::Watch { users, .. } | Self::Unwatch { users, .. } => users.first().map(Slot::of_user),
            Self::GatewayGone { .. } => None,
        }
    }

    /// Which gateway shard asks or speaks, where one does.
    #[must_use]
    pub const fn gateway(&self) -> Option<GatewayId> {
        match self {
            Self::Append { caller, .. }
            | Self::Signal { caller, .. }
            | Self::History { caller, .. }
            | Self::Backlog { caller, .. }
            | Self::Attach { caller, .. }
            | Self::Create { caller, .. }
            | Self::Show { caller, .. }
            | Self::Change { caller, .. }
            | Self::Remove { caller, .. }
            | Self::Members { caller, .. }
            | Self::SessionOpen { caller, .. }
            | Self::SessionHeard { caller, .. }
            | Self::SessionClose { caller, .. }
            | Self::PresenceOf { caller, .. }
            | Self::Conversations { caller, .. } => Some(caller.gateway),
            Self::Detach { gateway, .. } | Self::Watch { gateway, .. } | Self::Unwatch { gateway, .. } => {
                Some(*gateway)
            }
            Self::Mark { .. } | Self::Typing { .. } | Self::Membership { .. } | Self::GatewayGone { .. } => {
                None
            }
        }
    }
}
