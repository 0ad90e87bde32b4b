//! Envelopes: what gateway shards, router shards and the API say to one another.
//!
//! Inside of a process an envelope moves through a mailbox as it stands here. Every request that names a
//! [`Caller`] is answered exactly once, to that caller, unless the caller's gateway shard is gone.

mod conversation;
mod lane;
mod to_gateway;
mod to_router;

use crate::event::Role;
use crate::id::{ConversationId, UserKey};

pub use conversation::{Change, Conversation, ConversationKind, Member};
pub use lane::Lane;
pub use to_gateway::ToGateway;
pub use to_router::ToRouter;

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

/// One conversation of an [`ToRouter::Attach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachItem {
    /// Which.
    pub conversation: ConversationId,
    /// What the user's chat list said of it a moment ago, where it was read: an owner whose log ends there needs not ask the
    /// store what the user is. `None` where nobody looked.
    pub listed: Option<Listed>,
}

/// A membership as the store had it when the log ended with a certain event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Seq of that event; 0 before the first.
    pub head: u64,
    /// Its Lamport stamp, which no event, and no creation, of a conversation has twice.
    pub lamport: u64,
    /// Up to where the user had read.
    pub read: u64,
    /// The user's role.
    pub role: Role,
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
