//! Envelopes on their way out: those that a full mailbox gave back wait here, in order, until there is room.

use std::collections::{BTreeMap, VecDeque};

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};

use crate::Operation;
use crate::limits::{RETRY_MS, RETURNED_A_ROUND};
use crate::shrink;

/// What waits for one mailbox.
#[derive(Debug)]
struct Held<E> {
    envelopes: VecDeque<E>,
    /// How many came back since the last round: the next that does belongs behind them.
    came_back: usize,
    retry_at: u64,
}

/// Required envelopes that mailboxes of one kind gave back, and those behind them.
#[derive(Debug)]
struct Returned<D, E> {
    held: BTreeMap<D, Held<E>>,
    count: usize,
}

impl<D: Ord + Copy, E> Returned<D, E> {
    const fn new() -> Self {
        Self { held: BTreeMap::new(), count: 0 }
    }

    /// Gives the envelope back when it may go now; otherwise it waits behind those that do.
    fn pass(&mut self, to: D, envelope: E) -> Option<E> {
        let Some(held) = self.held.get_mut(&to) else { return Some(envelope) };
        held.envelopes.push_back(envelope);
        self.count += 1;
        None
    }

    fn came_back(&mut self, to: D, envelope: E, now_ms: u64) {
        let fresh = || Held { envelopes: VecDeque::new(), came_back: 0, retry_at: 0 };
        let held = self.held.entry(to).or_insert_with(fresh);
        held.retry_at = now_ms + RETRY_MS;
        held.envelopes.insert(held.came_back, envelope);
        held.came_back += 1;
        self.count += 1;
    }

    /// A round begins: what comes back from now on goes to the front again. Gives what is to be tried now.
    fn begin_round(&mut self, now_ms: u64) -> Vec<(D, E)> {
        let mut again = Vec::new();
        for (&to, held) in &mut self.held {
            held.came_back = 0;
            if now_ms >= held.retry_at {
                let some = held.envelopes.len().min(RETURNED_A_ROUND);
                again.extend(held.envelopes.drain(..some).map(|envelope| (to, envelope)));
                held.retry_at = now_ms + RETRY_MS;
            }
        }
        self.count -= again.len();
        self.held.retain(|_, held| !held.envelopes.is_empty());
        again
    }

    fn deadline(&self) -> Option<u64> {
        self.held.values().map(|held| held.retry_at).min()
    }

    fn invariants(&self) {
        assert_eq!(self.held.values().map(|held| held.envelopes.len()).sum::<usize>(), self.count);
        assert!(self.held.values().all(|held| held.came_back <= held.envelopes.len()));
    }
}

/// The shard's operations, and the required envelopes that wait for room.
#[derive(Debug)]
pub(crate) struct Outgoing {
    operations: VecDeque<Operation>,
    gateways: Returned<GatewayId, ToGateway>,
    routers: Returned<RouterId, ToRouter>,
}

impl Outgoing {
    /// Nothing.
    pub(crate) const fn new() -> Self {
        Self { operations: VecDeque::new(), gateways: Returned::new(), routers: Returned::new() }
    }

    /// The next operation.
    pub(crate) fn pop(&mut self) -> Option<Operation> {
        self.operations.pop_front()
    }

    /// True when no operation waits to be polled.
    pub(crate) fn is_polled(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many required envelopes wait for room.
    pub(crate) fn returned(&self) -> usize {
        self.gateways.count + self.routers.count
    }

    /// How many of them are for gateway shards.
    pub(crate) fn returned_to_gateways(&self) -> usize {
        self.gateways.count
    }

    /// True when this gateway shard's mailbox has room as far as is known: nothing waits for it.
    pub(crate) fn is_open(&self, gateway: GatewayId) -> bool {
        !self.gateways.held.contains_key(&gateway)
    }

    /// Any operation, at once.
    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push_back(operation);
    }

    /// A required envelope, behind those that wait for the same mailbox.
    pub(crate) fn answer(&mut self, gateway: GatewayId, envelope: ToGateway) {
        if let Some(envelope) = self.gateways.pass(gateway, envelope) {
            self.push(Operation::ToGateway(gateway, envelope));
        }
    }

    /// A required envelope to another router shard, behind those that wait for the same mailbox.
    pub(crate) fn tell(&mut self, router: RouterId, envelope: ToRouter) {
        if let Some(envelope) = self.routers.pass(router, envelope) {
            self.push(Operation::ToRouter(router, envelope));
        }
    }

    /// A gateway shard's mailbox was full for a required envelope.
    pub(crate) fn gateway_full(&mut self, gateway: GatewayId, envelope: ToGateway, now_ms: u64) {
        self.gateways.came_back(gateway, envelope, now_ms);
    }

    /// A router shard's mailbox was full.
    pub(crate) fn router_full(&mut self, router: RouterId, envelope: ToRouter, now_ms: u64) {
        self.routers.came_back(router, envelope, now_ms);
    }

    /// A round of operations begins: tries again what is due.
    pub(crate) fn begin_round(&mut self, now_ms: u64) {
        for (gateway, envelope) in self.gateways.begin_round(now_ms) {
            self.push(Operation::ToGateway(gateway, envelope));
        }
        for (router, envelope) in self.routers.begin_round(now_ms) {
            self.push(Operation::ToRouter(router, envelope));
        }
    }

    /// When something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        [self.gateways.deadline(), self.routers.deadline()].into_iter().flatten().min()
    }

    /// Gives back memory that a storm took.
    pub(crate) fn trim(&mut self) {
        shrink::queue(&mut self.operations);
    }

    /// Asserts that the sums are right.
    pub(crate) fn invariants(&self) {
        self.gateways.invariants();
        self.routers.invariants();
    }
}
