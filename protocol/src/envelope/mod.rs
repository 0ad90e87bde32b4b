//! Envelopes: what gateway shards, router shards and the API say to one another.
//!
//! Inside of a process an envelope moves through a mailbox as it stands here. Every request that names a
//! [`Caller`] is answered exactly once, to that caller, unless the caller's gateway shard is gone.

mod caller;
mod conversation;
mod lane;
mod to_gateway;
mod to_router;

use crate::event::Role;
use crate::id::{ConversationId, UserKey};
use crate::placement::NodeId;

pub use conversation::{Change, Conversation, ConversationKind, Member};
pub use lane::Lane;
pub use to_gateway::ToGateway;
pub use to_router::ToRouter;

/// A gateway shard, by the number under which a node knows it; the API is one more of them. The node's own have the numbers
/// of their cores, below [`GatewayId::REMOTE`]. A shard of another node gets a number that was never used, from there on, with
/// each link of its: when the link ends, so does whoever had the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub u32);

impl GatewayId {
    /// The HTTP API: asks and is answered like a gateway shard, and holds no sockets.
    pub const API: Self = Self(u32::MAX);
    /// The first number of a shard of another node.
    pub const REMOTE: Self = Self(1 << 16);

    /// True for a shard at the other end of a link.
    #[must_use]
    pub const fn is_remote(self) -> bool {
        self.0 >= Self::REMOTE.0 && self.0 != Self::API.0
    }
}

/// A router shard of the cluster: its node in the upper 16 bits, its core in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterId(pub u32);

impl RouterId {
    /// No router shard: what a slot without an owner has.
    pub const NOBODY: Self = Self(u32::MAX);

    /// The router shard of a node's core.
    #[must_use]
    pub const fn new(node: NodeId, core: u16) -> Self {
        Self((node.0 as u32) << 16 | core as u32)
    }

    /// Its node.
    #[must_use]
    pub const fn node(self) -> NodeId {
        NodeId((self.0 >> 16) as u16)
    }

    /// Its core, by the number in its node.
    #[must_use]
    pub const fn core(self) -> u16 {
        self.0 as u16
    }
}

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
