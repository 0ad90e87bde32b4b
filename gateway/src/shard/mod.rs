//! The gateway shard: connections, sessions, rooms, outboxes. Pure: one completion in, operations out.
//!
//! Decides neither order nor membership, reads no clock, and keeps no buffer for an idle connection.

use protocol::envelope::{RouterId, ToGateway, ToRouter};
pub use ring::operation;

/// What happened, for a gateway shard.
#[derive(Debug)]
pub enum Completion<'a> {
    /// On a socket.
    Socket(operation::Completion<'a>),
    /// An envelope from a router shard.
    Envelope(ToGateway),
    /// A router shard's mailbox was full: the envelope comes back, to be tried again.
    RouterFull(RouterId, ToRouter),
    /// Time passed: at least every 100 ms.
    Tick,
    /// The server stops: tell every client (`goaway`), close in slots of time, take nothing new.
    Drain,
}

/// What a gateway shard wants done, in this order.
#[derive(Debug)]
pub enum Operation {
    /// On a socket.
    Socket(operation::Operation),
    /// Put an envelope into a router shard's mailbox, or give it back.
    ToRouter(RouterId, ToRouter),
}
