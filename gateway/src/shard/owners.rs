//! Owners: which router shard has a conversation or a user, and what is on its way to each, in order. A full mailbox
//! gives an envelope back to the front of its owner's queue, and nothing overtakes it.

use std::collections::VecDeque;

use protocol::envelope::{Lane, RouterId, ToRouter};
use protocol::placement::{NodeId, Slot, Table};

use super::slots::SlotSet;

/// A router shard.
#[derive(Debug)]
struct Owner {
    id: RouterId,
    waiting: VecDeque<ToRouter>,
    /// Its mailbox was full a moment ago: try again when something else has happened.
    blocked: bool,
    /// There is a way to it: always, but in a cluster.
    up: bool,
    /// What is kept for it elsewhere: in a cluster, requests until they are answered, and what can't be sent yet.
    kept: usize,
}

/// All router shards, as one gateway shard sees them.
#[derive(Debug)]
pub(super) struct Owners {
    /// Ascending by id.
    owners: Vec<Owner>,
    /// By slot: the place of its owner.
    places: Box<[u16]>,
    /// Envelopes waiting for one owner from which on connections are not read.
    congested: usize,
    /// Where polling goes on.
    next: usize,
    /// Envelopes that wait, of all owners; owners that are blocked; owners with so many that they are congested. Kept, since
    /// they are asked for at each completion, and a node may have a hundred owners.
    waiting: usize,
    blocked: usize,
    congested_owners: usize,
    /// One of them is no longer overrun, or they are all new: whoever waits for that may look again.
    eased: bool,
}

impl Owners {
    pub(super) fn new(table: &Table, congested: u32) -> Self {
        let mut ids: Vec<RouterId> = table.tenures.iter().map(|tenure| tenure.owner).collect();
        ids.sort_unstable();
        ids.dedup();
        let place = |slot| ids.binary_search(&table.owner(slot)).expect("a list of all owners") as u16;
        let places = Slot::all().map(place).collect();
        let owner =
            |id: &RouterId| Owner { id: *id, waiting: VecDeque::new(), blocked: false, up: true, kept: 0 };
        let owners = ids.iter().map(owner).collect();
        let congested = congested.max(1) as usize;
        Self { owners, places, congested, next: 0, waiting: 0, blocked: 0, congested_owners: 0, eased: true }
    }

    fn place_of(&self, slot: Slot) -> usize {
        usize::from(self.places[usize::from(slot.0)])
    }

    fn place(&self, id: RouterId) -> usize {
        self.owners.binary_search_by_key(&id, |owner| owner.id).expect("an owner of the table")
    }

    /// Puts an envelope behind the others for the owner of a slot.
    pub(super) fn push(&mut self, slot: Slot, envelope: ToRouter) {
        self.push_at(self.place_of(slot), envelope);
    }

    /// Puts an envelope behind the others for this owner.
    pub(super) fn push_to(&mut self, owner: RouterId, envelope: ToRouter) {
        self.push_at(self.place(owner), envelope);
    }

    #[inline]
    fn push_at(&mut self, place: usize, envelope: ToRouter) {
        let congested = self.congested;
        let owner = &mut self.owners[place];
        owner.waiting.push_back(envelope);
        let congests = owner.waiting.len() == congested;
        self.waiting += 1;
        self.congested_owners += usize::from(congests);
    }

    /// What belongs to whom, each with its slot: the owners that have anything, and what they have, in order.
    pub(super) fn group<T>(&self, items: impl Iterator<Item = (Slot, T)>) -> Vec<(RouterId, Box<[T]>)> {
        let mut groups: Vec<Vec<T>> = self.owners.iter().map(|_| Vec::new()).collect();
        for (slot, item) in items {
            groups[self.place_of(slot)].push(item);
        }
        let owners = self.owners.iter().map(|owner| owner.id).zip(groups);
        owners.filter(|(_, items)| !items.is_empty()).map(|(owner, items)| (owner, items.into())).collect()
    }

    /// Takes back what a full mailbox did not; an ephemeral envelope is forgotten.
    pub(super) fn give_back(&mut self, owner: RouterId, envelope: ToRouter) {
        if envelope.lane() == Lane::Ephemeral {
            return;
        }
        let congested = self.congested;
        let place = self.place(owner);
        let owner = &mut self.owners[place];
        owner.waiting.push_front(envelope);
        let congests = owner.waiting.len() == congested;
        let blocks = !std::mem::replace(&mut owner.blocked, true);
        self.waiting += 1;
        self.congested_owners += usize::from(congests);
        self.blocked += usize::from(blocks);
    }

    /// True for an owner of the table.
    pub(super) fn knows(&self, id: RouterId) -> bool {
        self.owners.binary_search_by_key(&id, |owner| owner.id).is_ok()
    }

    /// The owner of a slot.
    pub(super) fn owner_of(&self, slot: Slot) -> RouterId {
        self.owners[self.place_of(slot)].id
    }

    /// True when there is a way to the owner of a slot.
    pub(super) fn is_up(&self, slot: Slot) -> bool {
        self.owners[self.place_of(slot)].up
    }

    /// Says which owners there is a way to.
    pub(super) fn set_up(&mut self, is_up: impl Fn(RouterId) -> bool) {
        self.owners.iter_mut().for_each(|owner| owner.up = is_up(owner.id));
    }

    /// The slots of a node's router shards.
    pub(super) fn slots_of(&self, node: NodeId) -> SlotSet {
        Slot::all().filter(|&slot| self.owner_of(slot).node() == node).collect()
    }

    /// One thing more is kept for the owner of a slot.
    pub(super) fn keep(&mut self, slot: Slot) {
        let place = self.place_of(slot);
        self.owners[place].kept += 1;
    }

    /// One thing less is.
    pub(super) fn let_go(&mut self, slot: Slot) {
        let place = self.place_of(slot);
        let owner = &mut self.owners[place];
        self.eased |= owner.kept == 2 * self.congested;
        owner.kept -= 1;
    }

    /// True when twice as much is kept for the owner of a slot, or waits for it, as makes it congested.
    pub(super) fn is_overrun(&self, slot: Slot) -> bool {
        let owner = &self.owners[self.place_of(slot)];
        owner.kept.max(owner.waiting.len()) >= 2 * self.congested
    }

    /// True when one of them may have ceased to be overrun since this was asked last.
    pub(super) const fn take_eased(&mut self) -> bool {
        core::mem::replace(&mut self.eased, false)
    }

    /// The same without asking.
    pub(super) const fn has_eased(&self) -> bool {
        self.eased
    }

    /// True when four times as much waits for one of them as makes it congested, and `more`.
    pub(super) fn are_flooded(&self, more: usize) -> bool {
        let most = 4 * self.congested + more;
        self.waiting >= most && self.owners.iter().any(|owner| owner.waiting.len() >= most)
    }

    /// True when half as much waits for an owner as makes it congested.
    pub(super) fn are_busy(&self) -> bool {
        self.owners.iter().any(|owner| owner.waiting.len() >= self.congested.div_ceil(2))
    }

    /// True when half as much is kept for an owner that there is a way to as makes it congested.
    pub(super) fn are_laden(&self) -> bool {
        self.owners.iter().any(|owner| owner.up && owner.kept >= self.congested.div_ceil(2))
    }

    /// Takes out what waits, where `which` says so; in order for each owner.
    pub(super) fn take_out(&mut self, mut which: impl FnMut(RouterId, &ToRouter) -> bool) -> Vec<ToRouter> {
        let mut taken = Vec::new();
        for owner in &mut self.owners {
            let before = owner.waiting.len();
            let (out, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut owner.waiting)
                .into_iter()
                .partition(|envelope| which(owner.id, envelope));
            owner.waiting = stay;
            taken.extend(out);
            self.waiting -= before - owner.waiting.len();
            let fell_below = |most| before >= most && owner.waiting.len() < most;
            self.congested_owners -= usize::from(fell_below(self.congested));
            self.eased |= fell_below(2 * self.congested);
        }
        taken
    }

    /// Something has happened since: every mailbox may be tried again.
    pub(super) fn unblock(&mut self) {
        if std::mem::take(&mut self.blocked) > 0 {
            self.owners.iter_mut().for_each(|owner| owner.blocked = false);
        }
    }

    /// The next envelope to hand over.
    #[inline]
    pub(super) fn poll(&mut self) -> Option<(RouterId, ToRouter)> {
        if self.waiting == 0 {
            return None;
        }
        for _ in 0..self.owners.len() {
            let at = self.next;
            let owner = &mut self.owners[at];
            if !owner.blocked
                && let Some(envelope) = owner.waiting.pop_front()
            {
                self.waiting -= 1;
                self.congested_owners -= usize::from(owner.waiting.len() + 1 == self.congested);
                self.eased |= owner.waiting.len() + 1 == 2 * self.congested;
                return Some((owner.id, envelope));
            }
            self.next = (at + 1) % self.owners.len();
        }
        None
    }

    /// True when so much waits for one of them that no more should be read from clients.
    pub(super) fn are_congested(&self) -> bool {
        self.congested_owners > 0
    }

    /// True when a mailbox was full and something waits for it.
    pub(super) fn are_blocked(&self) -> bool {
        self.blocked > 0
    }

    pub(super) fn are_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Gives back the memory of the queues that are empty: a node has as many as the square of its shards.
    pub(super) fn trim(&mut self) {
        for owner in self.owners.iter_mut().filter(|owner| owner.waiting.is_empty()) {
            owner.waiting = VecDeque::new();
        }
    }

    /// Asserts the counts and the bound: `extra` envelopes may come on top of the limit, for what must be said at the end of
    /// sessions and rooms.
    pub(super) fn invariants(&self, extra: usize) {
        let count = |which: fn(&Owner, usize) -> bool| {
            self.owners.iter().filter(|owner| which(owner, self.congested)).count()
        };
        assert_eq!(self.waiting, self.owners.iter().map(|owner| owner.waiting.len()).sum::<usize>());
        assert_eq!(self.blocked, count(|owner, _| owner.blocked));
        assert_eq!(self.congested_owners, count(|owner, congested| owner.waiting.len() >= congested));
        assert!(self.owners.iter().all(|owner| owner.waiting.len() <= self.congested + extra));
        assert!(self.owners.iter().all(|owner| owner.up || owner.waiting.is_empty()));
    }

    /// Asserts that so much is kept for the owners, by their slots.
    pub(super) fn kept_invariants(&self, kept: impl Iterator<Item = Slot>) {
        let mut counts = vec![0; self.owners.len()];
        kept.for_each(|slot| counts[self.place_of(slot)] += 1);
        assert!(counts.iter().eq(self.owners.iter().map(|owner| &owner.kept)));
    }
}

#[cfg(test)]
mod tests {
    use protocol::envelope::GatewayId;

    use super::*;

    fn envelope(number: u32) -> ToRouter {
        ToRouter::Watch { gateway: GatewayId(number), users: Box::new([]) }
    }

    fn number(polled: Option<(RouterId, ToRouter)>) -> Option<(u32, u32)> {
        match polled? {
            (router, ToRouter::Watch { gateway, .. }) => Some((router.0, gateway.0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_mailbox_holds_up_its_own_owner_alone_and_keeps_the_order() {
        let mut owners = Owners::new(&Table::alone(2, protocol::placement::Epoch(1)), 2);
        for at in 0..3 {
            owners.push_to(RouterId(0), envelope(at));
            owners.push_to(RouterId(1), envelope(10 + at));
        }
        assert!(owners.are_congested());
        let (router, back) = owners.poll().unwrap();
        assert_eq!(router, RouterId(0));
        owners.give_back(router, back);
        let others: Vec<_> = std::iter::from_fn(|| number(owners.poll())).collect();
        assert_eq!(others, [(1, 10), (1, 11), (1, 12)]);
        assert!(owners.are_blocked());
        owners.invariants(1);
        owners.unblock();
        let rest: Vec<_> = std::iter::from_fn(|| number(owners.poll())).collect();
        assert_eq!(rest, [(0, 0), (0, 1), (0, 2)]);
        assert!(owners.are_empty() && !owners.are_congested());
        owners.invariants(0);
    }
}
