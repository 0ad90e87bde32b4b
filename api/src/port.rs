//! The API's end of the mailboxes: how its envelopes reach the router shards and how theirs come back.

use std::sync::Arc;

use protocol::envelope::{ToGateway, ToRouter};
use protocol::placement::{NodeId, Table};
use tokio::sync::mpsc;

use crate::cluster::GiveOrder;

/// Puts an envelope on its way to the router shard that it is for; a full mailbox gives it back. Never blocks.
pub type Push = Arc<dyn Fn(ToRouter) -> Result<(), Box<ToRouter>> + Send + Sync>;
/// The router node that this process is ([`NodeId::NONE`] when it has no router shards), and the newest placement table. Never
/// blocks.
pub type CurrentTable = Arc<dyn Fn() -> (NodeId, Arc<Table>) + Send + Sync>;

/// How the API reaches the router shards.
pub struct Port {
    /// To a router shard.
    pub push: Push,
    /// Who owns what, as it is known now: the canary flies through the owners.
    pub table: CurrentTable,
    /// The node's name in its cluster, an id's text; empty for a server that is all there is.
    pub name: String,
    /// Orders of operators, to the keeper of this process.
    pub give_order: GiveOrder,
    /// From the router shards: everything they send to `GatewayId::API`. Bounded; what does not fit is given back to
    /// the router shard like an envelope to any gateway shard. A capacity of 1,024 or more suits.
    pub inbox: mpsc::Receiver<ToGateway>,
}
