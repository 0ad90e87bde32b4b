//! The API's end of the mailboxes: how its envelopes reach the router shards and how theirs come back.

use std::sync::Arc;

use protocol::envelope::{RouterId, ToGateway, ToRouter};
use tokio::sync::mpsc;

/// Puts an envelope into a router shard's mailbox and wakes it; a full mailbox gives the envelope back. Never blocks.
pub type Push = Arc<dyn Fn(RouterId, ToRouter) -> Result<(), Box<ToRouter>> + Send + Sync>;

/// How the API reaches the router shards of its node.
pub struct Port {
    /// How many router shards there are, at least 1: placement depends on it.
    pub routers: u16,
    /// To a router shard.
    pub push: Push,
    /// From the router shards: everything they send to `GatewayId::API`. Bounded; what does not fit is given back to
    /// the router shard like an envelope to any gateway shard. A capacity of 1,024 or more suits.
    pub inbox: mpsc::Receiver<ToGateway>,
}
