//! The router shard: owner of conversations and users. Pure: one completion in, operations out.
//!
//! Never touches a socket, the disk or a clock.

pub use counters::{Counters, HISTOGRAM_BUCKETS, Histogram};
pub use settings::Settings;
pub use shard::RouterShard;

mod admission;
mod announcements;
mod append;
mod appends;
mod attach;
mod attaches;
mod behind;
mod bits;
mod change;
pub mod chunks;
mod compact;
mod conversation;
mod conversations;
mod counters;
mod create;
mod ephemeral;
mod fenced;
mod gone;
mod grace;
mod handover;
mod hash;
mod held;
pub mod keeper;
mod lamport;
mod limits;
mod mark;
mod marks;
mod members;
mod openings;
mod orphans;
mod outgoing;
mod page;
mod people;
mod presence;
mod publish;
mod receipts;
mod recent;
mod refusal;
mod remove;
mod request;
mod roles;
mod seen;
mod session;
mod settings;
mod shard;
pub mod shrink;
mod store;
mod tenure;
mod typing;
mod users;
mod watches;

use std::sync::Arc;

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::placement::{Epoch, Table};
use storage::request::{Outcome, Request, RequestId};

/// What happened, for a router shard.
#[derive(Debug)]
pub enum Completion {
    /// An envelope from a gateway shard, the API or another router shard.
    Envelope(ToRouter),
    /// The same from somebody who still follows the table of this number: what was asked of an earlier tenure of the slot is
    /// misplaced, or it would overtake what that tenure has given up. With the newest number the same as [`Self::Envelope`].
    Routed(Epoch, ToRouter),
    /// The store answers a request.
    Store(RequestId, Outcome),
    /// The store's queue was full: the request comes back.
    StoreFull(RequestId, Request),
    /// A gateway shard's mailbox was full for the envelope's lane: it comes back.
    GatewayFull(GatewayId, ToGateway),
    /// A router shard's mailbox was full: the envelope comes back.
    RouterFull(RouterId, ToRouter),
    /// Slots have other owners now, or the same ones anew. A table that is not newer than the last changes nothing.
    Table(Arc<Table>),
    /// True: the node's lease was not renewed in time, so its slots may be another's by now, and what needs their owner is
    /// refused. False: it was.
    Lapsed(bool),
    /// Time passed: at least every 100 ms, and at [`crate::RouterShard::deadline`].
    Tick,
}

/// What a router shard wants done, in this order.
///
/// Whoever executes them keeps the order of each destination: once it gave an envelope back, it gives back every
/// later *required* one to the same mailbox, in order, until it has handled what came back and polls anew.
#[derive(Debug)]
pub enum Operation {
    /// Put an envelope into a gateway shard's mailbox, or give it back.
    ToGateway(GatewayId, ToGateway),
    /// Put an envelope into a router shard's mailbox, or give it back.
    ToRouter(RouterId, ToRouter),
    /// End the link of this gateway shard of another node: it does not take what it must be told. Until it is told to be gone, which follows
    /// from the link's end, it is neither heard nor told anything; it announces itself anew under another number.
    Cut(GatewayId),
    /// Hand a request to the store's driver, or give it back.
    Store(RequestId, Request),
}
