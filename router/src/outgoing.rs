//! Envelopes on their way out: those that a full mailbox gave back wait here, in order, until there is room.
//!
//! Knows which gateway shards of other nodes there are: whoever never spoke, or is gone, gets nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};

use crate::Operation;
use crate::limits::{REMOTE_RETURNED_MAX, REMOTE_SHARE, RETRY_MS, RETURNED_A_ROUND, UNOWNED_MAX};
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
    /// The same, but of no mailbox more than its share.
    weight: usize,
    share: usize,
}

impl<D: Ord + Copy, E> Returned<D, E> {
    const fn new(share: usize) -> Self {
        Self { held: BTreeMap::new(), count: 0, weight: 0, share }
    }

    /// How many wait for one mailbox.
    fn len(&self, to: D) -> usize {
        self.held.get(&to).map_or(0, |held| held.envelopes.len())
    }

    /// One more waits, of so many for its mailbox.
    fn add(&mut self, len: usize) {
        self.count += 1;
        self.weight += usize::from(len <= self.share);
    }

    /// Gives the envelope back when it may go now; otherwise it waits behind those that do.
    fn pass(&mut self, to: D, envelope: E) -> Option<E> {
        let Some(held) = self.held.get_mut(&to) else { return Some(envelope) };
        held.envelopes.push_back(envelope);
        let len = held.envelopes.len();
        self.add(len);
        None
    }

    fn came_back(&mut self, to: D, envelope: E, now_ms: u64) {
        let fresh = || Held { envelopes: VecDeque::new(), came_back: 0, retry_at: 0 };
        let held = self.held.entry(to).or_insert_with(fresh);
        held.retry_at = now_ms + RETRY_MS;
        held.envelopes.insert(held.came_back, envelope);
        held.came_back += 1;
        let len = held.envelopes.len();
        self.add(len);
    }

    /// A round begins: what comes back from now on goes to the front again. Gives what is to be tried now.
    fn begin_round(&mut self, now_ms: u64) -> Vec<(D, E)> {
        let mut again = Vec::new();
        for (&to, held) in &mut self.held {
            held.came_back = 0;
            if now_ms >= held.retry_at {
                let len = held.envelopes.len();
                let some = len.min(RETURNED_A_ROUND);
                self.weight -= len.min(self.share) - (len - some).min(self.share);
                again.extend(held.envelopes.drain(..some).map(|envelope| (to, envelope)));
                held.retry_at = now_ms + RETRY_MS;
            }
        }
        self.count -= again.len();
        self.held.retain(|_, held| !held.envelopes.is_empty());
        again
    }

    /// Puts an envelope behind those that wait for the same mailbox, as if that had just been full.
    fn postpone(&mut self, to: D, envelope: E, now_ms: u64) {
        let fresh = || Held { envelopes: VecDeque::new(), came_back: 0, retry_at: now_ms + RETRY_MS };
        let held = self.held.entry(to).or_insert_with(fresh);
        held.envelopes.push_back(envelope);
        let len = held.envelopes.len();
        self.add(len);
    }

    /// Takes out all that waits for one mailbox.
    fn drop_all(&mut self, to: D) {
        let len = self.held.remove(&to).map_or(0, |held| held.envelopes.len());
        self.count -= len;
        self.weight -= len.min(self.share);
    }

    fn deadline(&self) -> Option<u64> {
        self.held.values().map(|held| held.retry_at).min()
    }

    fn invariants(&self) {
        let lens = || self.held.values().map(|held| held.envelopes.len());
        assert_eq!(lens().sum::<usize>(), self.count);
        assert_eq!(lens().map(|len| len.min(self.share)).sum::<usize>(), self.weight);
        assert!(self.held.values().all(|held| held.came_back <= held.envelopes.len()));
    }
}

/// The shard's operations, and the required envelopes that wait for room.
#[derive(Debug)]
pub(crate) struct Outgoing {
    operations: VecDeque<Operation>,
    /// For gateway shards of this process, and the API.
    gateways: Returned<GatewayId, ToGateway>,
    /// For gateway shards of other nodes.
    remotes: Returned<GatewayId, ToGateway>,
    routers: Returned<RouterId, ToRouter>,
    /// What waits for a slot without an owner to get one.
    unowned: VecDeque<ToRouter>,
    /// Gateway shards of other nodes that have spoken and are not gone: their numbers are never used again.
    living: BTreeSet<GatewayId>,
    /// Those that were given up, until they are gone.
    cut: BTreeSet<GatewayId>,
    /// Of these, those that the shard does not know of.
    fresh_cut: Vec<GatewayId>,
}

impl Outgoing {
    /// Nothing.
    pub(crate) const fn new() -> Self {
        Self {
            operations: VecDeque::new(),
            gateways: Returned::new(usize::MAX),
            remotes: Returned::new(REMOTE_SHARE),
            routers: Returned::new(usize::MAX),
            unowned: VecDeque::new(),
            living: BTreeSet::new(),
            cut: BTreeSet::new(),
            fresh_cut: Vec::new(),
        }
    }

    /// A gateway shard speaks. False: it was given up, and what it says is not heard.
    pub(crate) fn meet(&mut self, gateway: GatewayId) -> bool {
        if !gateway.is_remote() {
            return true;
        }
        let is_heard = self.cut.is_empty() || !self.cut.contains(&gateway);
        if is_heard {
            self.living.insert(gateway);
        }
        is_heard
    }

    /// A gateway shard of another node is gone. False: it never spoke.
    pub(crate) fn lose(&mut self, gateway: GatewayId) -> bool {
        self.forget(gateway);
        let was_cut = self.cut.remove(&gateway);
        self.living.remove(&gateway) || was_cut
    }

    fn forget(&mut self, gateway: GatewayId) {
        self.remotes.drop_all(gateway);
        let is_for =
            |operation: &Operation| matches!(operation, Operation::ToGateway(to, _) if *to == gateway);
        self.operations.retain(|operation| !is_for(operation));
    }

    /// Gives a gateway shard of another node up when it has left more than its bound: what it asked it asks again, and what it must be
    /// told is found out, once it has announced itself anew.
    fn cut_if_over(&mut self, gateway: GatewayId) {
        if gateway.is_remote() && self.remotes.len(gateway) > REMOTE_RETURNED_MAX {
            self.forget(gateway);
            self.living.remove(&gateway);
            self.cut.insert(gateway);
            self.fresh_cut.push(gateway);
            self.push(Operation::Cut(gateway));
        }
    }

    /// The next that was given up, for the shard to forget.
    pub(crate) fn take_cut(&mut self) -> Option<GatewayId> {
        self.fresh_cut.pop()
    }

    fn side(&mut self, gateway: GatewayId) -> &mut Returned<GatewayId, ToGateway> {
        if gateway.is_remote() { &mut self.remotes } else { &mut self.gateways }
    }

    /// True unless the gateway shard is gone.
    pub(crate) fn reaches(&self, gateway: GatewayId) -> bool {
        !gateway.is_remote() || self.living.contains(&gateway)
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
        self.gateways.count + self.remotes.count + self.routers.count
    }

    /// The same, but of each gateway shard of another node no more than its share.
    pub(crate) fn returned_weight(&self) -> usize {
        self.returned_to_gateways() + self.routers.count
    }

    /// How many of them are for gateway shards, of each of another node no more than its share.
    pub(crate) fn returned_to_gateways(&self) -> usize {
        self.gateways.count + self.remotes.weight
    }

    /// True when this gateway shard's mailbox has room as far as is known: nothing waits for it.
    pub(crate) fn is_open(&self, gateway: GatewayId) -> bool {
        let returned = if gateway.is_remote() { &self.remotes } else { &self.gateways };
        !returned.held.contains_key(&gateway)
    }

    /// Any operation, at once.
    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push_back(operation);
    }

    /// A required envelope, behind those that wait for the same mailbox.
    pub(crate) fn answer(&mut self, gateway: GatewayId, envelope: ToGateway) {
        if !self.reaches(gateway) {
            return;
        }
        match self.side(gateway).pass(gateway, envelope) {
            Some(envelope) => self.push(Operation::ToGateway(gateway, envelope)),
            None => self.cut_if_over(gateway),
        }
    }

    /// A required envelope to another router shard, behind those that wait for the same mailbox.
    pub(crate) fn tell(&mut self, router: RouterId, envelope: ToRouter) {
        if router == RouterId::NOBODY {
            self.wait_for_owner(envelope);
        } else if let Some(envelope) = self.routers.pass(router, envelope) {
            self.push(Operation::ToRouter(router, envelope));
        }
    }

    /// The same after a pause. False: nobody is there, and too much waits for somebody to be.
    pub(crate) fn tell_later(&mut self, router: RouterId, envelope: ToRouter, now_ms: u64) -> bool {
        if router == RouterId::NOBODY {
            return self.wait_for_owner(envelope);
        }
        self.routers.postpone(router, envelope, now_ms);
        true
    }

    /// Past the bound it is dropped: a membership is in the chat list that the user's next owner reads, a mark comes again.
    fn wait_for_owner(&mut self, envelope: ToRouter) -> bool {
        let room = self.unowned.len() < UNOWNED_MAX;
        if room {
            self.unowned.push_back(envelope);
        }
        room
    }

    /// Gives all that waits for router shards to whom `owner` names, in its order; what is for `here` comes back.
    pub(crate) fn address_anew(
        &mut self,
        here: RouterId,
        owner: impl Fn(&ToRouter) -> RouterId,
    ) -> Vec<ToRouter> {
        let old = std::mem::replace(&mut self.routers, Returned::new(usize::MAX));
        let mut rest: Vec<ToRouter> = std::mem::take(&mut self.unowned).into();
        let mut own = Vec::new();
        // What came back in this round stays before what has yet to do so.
        for held in old.held.into_values() {
            let mut envelopes = held.envelopes;
            rest.extend(envelopes.split_off(held.came_back));
            for envelope in envelopes {
                match owner(&envelope) {
                    to if to == here => own.push(envelope),
                    RouterId::NOBODY => drop(self.wait_for_owner(envelope)),
                    to => self.routers.came_back(to, envelope, 0),
                }
            }
        }
        for envelope in rest {
            match owner(&envelope) {
                to if to == here => own.push(envelope),
                to => drop(self.tell_later(to, envelope, 0)),
            }
        }
        own
    }

    /// A gateway shard's mailbox was full for a required envelope.
    pub(crate) fn gateway_full(&mut self, gateway: GatewayId, envelope: ToGateway, now_ms: u64) {
        if !self.reaches(gateway) {
            return;
        }
        self.side(gateway).came_back(gateway, envelope, now_ms);
        self.cut_if_over(gateway);
    }

    /// A router shard's mailbox was full.
    pub(crate) fn router_full(&mut self, router: RouterId, envelope: ToRouter, now_ms: u64) {
        if router == RouterId::NOBODY {
            self.wait_for_owner(envelope);
        } else {
            self.routers.came_back(router, envelope, now_ms);
        }
    }

    /// A round of operations begins: tries again what is due.
    pub(crate) fn begin_round(&mut self, now_ms: u64) {
        let gateways = self.gateways.begin_round(now_ms).into_iter();
        for (gateway, envelope) in gateways.chain(self.remotes.begin_round(now_ms)) {
            self.push(Operation::ToGateway(gateway, envelope));
        }
        for (router, envelope) in self.routers.begin_round(now_ms) {
            self.push(Operation::ToRouter(router, envelope));
        }
    }

    /// When something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let deadlines = [self.gateways.deadline(), self.remotes.deadline(), self.routers.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Gives back memory that a storm took.
    pub(crate) fn trim(&mut self) {
        shrink::queue(&mut self.operations);
    }

    /// Asserts that the sums are right.
    pub(crate) fn invariants(&self) {
        self.gateways.invariants();
        self.remotes.invariants();
        self.routers.invariants();
        assert!(self.unowned.len() <= UNOWNED_MAX);
        assert!(self.remotes.held.keys().all(|gateway| self.living.contains(gateway)), "of the living");
        assert!(self.remotes.held.keys().all(|&gateway| self.remotes.len(gateway) <= REMOTE_RETURNED_MAX));
        assert!(self.gateways.held.keys().all(|gateway| !gateway.is_remote()));
        assert!(self.cut.is_disjoint(&self.living));
        assert!(self.fresh_cut.is_empty(), "the shard has forgotten them");
        assert!(!self.routers.held.contains_key(&RouterId::NOBODY));
    }
}
