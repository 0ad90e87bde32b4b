//! Which slots the shard has, by the newest table that it was told; and what is not its own: turned away, or passed on.
//!
//! What the shard holds of conversations and users is of its own slots, always: so whatever is found here needs no look at
//! the table. What it gives up when a table takes slots away is in `handover`.

use std::sync::Arc;

use protocol::envelope::{Caller, RouterId, ToGateway, ToRouter};
use protocol::placement::{Epoch, NodeId, SLOTS, Slot, Table};

use crate::bits::Bits;
use crate::limits::{PRESENCE_GRACE_MS, RETURNED_SOFT};
use crate::request;
use crate::shard::RouterShard;

/// How many slots a table gives to a router shard.
pub(crate) fn owned(table: &Table, id: RouterId) -> usize {
    table.tenures.iter().filter(|tenure| tenure.owner == id).count()
}

impl RouterShard {
    /// True when the slot is this shard's.
    pub(crate) fn owns(&self, slot: Slot) -> bool {
        self.table.owner(slot) == self.id
    }

    /// True when there may be other owners: whoever is told that something is misplaced asks again. Alone, nobody would.
    pub(crate) fn has_peers(&self) -> bool {
        self.id.node() != NodeId::ALONE
    }

    /// Takes a table, if it is newer: gives up what is no longer the shard's own, or is so by a later tenure.
    pub(crate) fn take_table(&mut self, table: Arc<Table>) {
        if table.epoch <= self.table.epoch {
            return;
        }
        let mut lost = Bits::below(usize::from(SLOTS));
        let mut gained = Vec::new();
        for slot in self.table.moved(&table) {
            if self.owns(slot) {
                lost.insert(usize::from(slot.0));
            }
            if table.owner(slot) == self.id {
                gained.push(slot);
            }
        }
        self.table = table;
        self.counters.slots_lost += lost.len() as u64;
        self.counters.slots_gained += gained.len() as u64;
        self.counters.slots_owned = owned(&self.table, self.id) as u64;
        if lost.len() > 0 {
            self.give_up(&lost);
        }
        self.grace.begin(&gained, self.now.monotonic_ms + PRESENCE_GRACE_MS);
        self.address_anew();
    }

    /// Takes an envelope of somebody who follows the table of this number. In the steady state that is the newest one, and
    /// nothing is looked up.
    pub(crate) fn routed(&mut self, epoch: Epoch, request: ToRouter) {
        let stale = |slot: Slot| self.table.tenure(slot).since > epoch;
        if epoch < self.table.epoch
            && let Some(&caller) = request.request()
            && request::slots(&request).any(stale)
        {
            if self.outgoing.meet(caller.gateway) {
                self.misplace(caller);
            }
            return;
        }
        self.envelope(request);
    }

    /// Tells who asked that another shard has to be asked.
    pub(crate) fn misplace(&mut self, caller: Caller) {
        self.counters.misplaced += 1;
        self.outgoing.answer(caller.gateway, ToGateway::Misplaced { caller });
    }

    /// Something came, or waited here, that is about a slot of somebody else. What nobody asks again is passed on.
    pub(crate) fn turn_away(&mut self, request: ToRouter) {
        match request {
            ToRouter::Mark { .. } | ToRouter::Membership { .. } => self.pass_on(request),
            request => {
                if let Some(&caller) = request.request() {
                    self.misplace(caller);
                }
            }
        }
    }

    /// Passes an envelope on to the owner of its slot, as if that one's mailbox had just been full: after a pause, in order,
    /// and to whom a table that comes meanwhile names. Between nodes nothing goes in circles, because a node reads nothing
    /// that was decided by a table which it has not got: the epochs along the way only grow, and one table has one owner.
    /// Inside of a node two shards may disagree until both were told of the newest table; the pause makes that a few
    /// turns at most. Over the bound, or when nobody has the slot and too much waits for that, it is dropped.
    fn pass_on(&mut self, envelope: ToRouter) {
        let Some(slot) = envelope.slot() else { return };
        if self.outgoing.returned_weight() >= RETURNED_SOFT {
            self.counters.passed_on_dropped += 1;
            return;
        }
        self.counters.passed_on += 1;
        let owner = self.table.owner(slot);
        self.counters.passed_on_dropped +=
            u64::from(!self.outgoing.tell_later(owner, envelope, self.now.monotonic_ms));
    }

    /// Envelopes that wait for router shards go to those that the new table names; what turns out to be this shard's own is
    /// taken here.
    fn address_anew(&mut self) {
        let table = Arc::clone(&self.table);
        let owner = |envelope: &ToRouter| envelope.slot().map_or(RouterId::NOBODY, |slot| table.owner(slot));
        for envelope in self.outgoing.address_anew(self.id, owner) {
            self.envelope(envelope);
        }
    }

    /// A router shard's mailbox was full, or its node is away.
    pub(crate) fn router_full(&mut self, envelope: ToRouter) {
        self.counters.required_returned += 1;
        let Some(slot) = envelope.slot() else { return };
        let owner = self.table.owner(slot);
        if owner == self.id {
            self.envelope(envelope);
        } else {
            self.outgoing.router_full(owner, envelope, self.now.monotonic_ms);
        }
    }
}
