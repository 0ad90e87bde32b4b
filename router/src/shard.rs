//! The router shard itself: takes completions, gives operations, and says which part answers for what.

use std::collections::VecDeque;

use protocol::envelope::RouterId;
use protocol::time::Now;
use storage::request::Epoch;

use crate::{Completion, Counters, Operation, Settings};

/// Owner of the conversations and users of its slots. Pure: no clock, no I/O, chance from a seed.
#[derive(Debug)]
pub struct RouterShard {
    id: RouterId,
    routers: u16,
    settings: Settings,
    epoch: Epoch,
    seed: u64,
    now: Now,
    operations: VecDeque<Operation>,
    counters: Counters,
}

impl RouterShard {
    /// A shard that owns what [`protocol::placement::Slot::owner`] gives to `id` of `routers`.
    ///
    /// `epoch` is the tenure that the store granted; `seed` keys the hashes of what comes from outside.
    #[must_use]
    pub fn new(id: RouterId, routers: u16, settings: Settings, epoch: Epoch, seed: u64) -> Self {
        assert!(id.0 < routers);
        let (now, operations, counters) = (Now::default(), VecDeque::new(), Counters::default());
        Self { id, routers, settings, epoch, seed, now, operations, counters }
    }

    /// Takes one completion; what follows from it comes out of [`Self::poll_operation`].
    pub fn handle(&mut self, now: Now, _completion: Completion) {
        self.now = now;
    }

    /// The next operation. Call it until it is empty after the completions of a turn: what they have in common
    /// goes out together, so that many appends make one transaction.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        self.operations.pop_front()
    }

    /// False: too much waits; give this shard no envelope until it is true again. Everything else it always takes.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        true
    }

    /// When the shard wants a [`Completion::Tick`] at the latest, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        None
    }

    /// What the shard has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// True when nothing is under way: no request waits, none is at the store, nothing is to be told.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// Asserts every bound and every fact of the structure.
    pub fn invariants(&self) {
        assert!(self.id.0 < self.routers);
    }
}
