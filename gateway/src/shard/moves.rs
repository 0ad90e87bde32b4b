//! Moves: slots get other owners, nodes come within reach and out of it, an owner says that it is none. Whatever happens, what is for
//! one slot goes in one order: first all unanswered requests, as they were asked, then what waited, then what is newer. What an owner
//! only has to know, and not to do, is not carried along: `announce` tells it anew.

use std::sync::Arc;

use protocol::envelope::{AttachItem, ToRouter};
use protocol::id::{ConversationKey, UserKey};
use protocol::placement::{NodeId, Slot, Table};

use super::GatewayShard;
use super::caller::{OPENING, parse};
use super::connection::Flag;
use super::owners::Owners;
use super::requests::Request;
use super::slots::SlotSet;

/// Milliseconds after which what was misplaced is asked again without a newer table: the owner may have learnt of it later.
const SETTLE_MS: u64 = 100;

/// True when any of what an envelope is about is in one of these slots.
fn touches(envelope: &ToRouter, slots: &SlotSet) -> bool {
    match envelope {
        ToRouter::Attach { actor, items, .. } => items.iter().any(|item| {
            let (tenant, conversation) = (actor.key.tenant, item.conversation);
            slots.has(Slot::of_conversation(&ConversationKey { tenant, conversation }))
        }),
        ToRouter::Watch { users, .. } | ToRouter::Unwatch { users, .. } => {
            users.iter().any(|user| slots.has(Slot::of_user(user)))
        }
        _ => envelope.slot().is_some_and(|slot| slots.has(slot)),
    }
}

impl GatewayShard {
    /// Slots have other owners.
    pub(super) fn place_anew(&mut self, table: Arc<Table>) {
        let now_ms = self.now.monotonic_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if table.epoch <= cluster.table.epoch {
            return;
        }
        let before = std::mem::replace(&mut cluster.table, table);
        let moved: SlotSet = before.moved(&cluster.table).collect();
        let lost_one = before.nodes.iter().any(|node| cluster.table.node(node.id).is_none());
        cluster.note_nodes(now_ms);
        cluster.settle_ms = None;
        let mut affected = std::mem::take(&mut cluster.unsettled);
        cluster.announcements.settled(&affected, now_ms);
        affected.unite(&moved);
        let waiting = self.owners.take_out(|_, _| true);
        self.owners = Owners::new(&cluster.table, self.settings.router_queue_max);
        self.owners.set_up(|owner| cluster.is_up(owner));
        cluster.kept().for_each(|slot| self.owners.keep(slot));
        cluster.announcements.moved(&moved, now_ms);
        if lost_one {
            cluster.announcements.everybody(now_ms);
        }
        let mut words = Vec::new();
        for envelope in waiting {
            match (touches(&envelope, &affected), envelope.slot()) {
                (false, Some(slot)) => self.owners.push(slot, envelope),
                (true, _) if envelope.request().is_none() => words.push(envelope),
                _ => {}
            }
        }
        self.sweep(&affected, &moved, words);
    }

    /// There is a link to a node, whose end knows nothing of this shard.
    pub(super) fn node_up(&mut self, node: NodeId) {
        let now_ms = self.now.monotonic_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if node == cluster.node {
            return;
        }
        cluster.set_link(node, true, now_ms);
        let slots = self.owners.slots_of(node);
        cluster.unsettled.subtract(&slots);
        cluster.announcements.moved(&slots, now_ms);
        let words = self.owners.take_out(|owner, _| owner.node() == node);
        self.owners.set_up(|owner| cluster.is_up(owner));
        let words = words.into_iter().filter(|word| word.request().is_none()).collect();
        self.sweep(&slots, &slots, words);
    }

    /// There is none any more: nothing goes there, and what is unanswered waits.
    pub(super) fn node_down(&mut self, node: NodeId) {
        let now_ms = self.now.monotonic_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if node == cluster.node {
            return;
        }
        cluster.set_link(node, false, now_ms);
        cluster.note_nodes(now_ms);
        let words = self.owners.take_out(|owner, _| owner.node() == node);
        self.owners.set_up(|owner| cluster.is_up(owner));
        for word in words.into_iter().filter(|word| word.request().is_none()) {
            if let Some(slot) = word.slot() {
                self.say(slot, word);
            }
        }
    }

    /// Whoever was asked does not have the slot: all that is for it waits. A list waits alone, since nobody says which of its slots
    /// it was; what is asked of them in the meantime comes back itself.
    pub(super) fn misplaced(&mut self, which: u64) {
        self.counters.misplaced += 1;
        let Some(cluster) = &mut self.cluster else { return };
        let Some(request) = cluster.requests.get_mut(which) else { return };
        request.misplaced = true;
        let slot = request.slot;
        let is_list = matches!(&request.envelope, ToRouter::Attach { items, .. } if items.len() > 1);
        cluster.settle_ms.get_or_insert(self.now.monotonic_ms + SETTLE_MS);
        if is_list || cluster.unsettled.has(slot) {
            return;
        }
        cluster.unsettled.insert(slot);
        for envelope in self.owners.take_out(|_, envelope| envelope.slot() == Some(slot)) {
            if envelope.request().is_none() {
                self.say(slot, envelope);
            }
        }
    }

    /// Asks again what was misplaced, when it is time.
    pub(super) fn settle(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.settle_ms.is_some_and(|settle_ms| settle_ms <= now_ms) {
            cluster.settle_ms = None;
            let slots = std::mem::take(&mut cluster.unsettled);
            cluster.announcements.settled(&slots, now_ms);
            self.sweep(&slots, &SlotSet::default(), Vec::new());
        }
    }

    /// Sends all that is unanswered of these slots again, then what waited: `words` first, then what is held. What the owners of the
    /// slots that `moved` have only to know is left out.
    fn sweep(&mut self, slots: &SlotSet, moved: &SlotSet, mut words: Vec<ToRouter>) {
        let Some(cluster) = &mut self.cluster else { return };
        let is_meant = |request: &Request| request.misplaced || touches(&request.envelope, slots);
        let requests = cluster.requests.iter().filter(|(_, request)| is_meant(request));
        let requests: Vec<u64> = requests.map(|(which, _)| which).collect();
        for held in std::mem::take(&mut cluster.held) {
            if touches(&held.envelope, slots) {
                self.owners.let_go(held.slot);
                words.push(held.envelope);
            } else {
                cluster.held.push_back(held);
            }
        }
        for which in requests {
            self.ask_anew(which);
        }
        for word in words {
            self.say_anew(word, moved);
        }
    }

    fn ask_anew(&mut self, which: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(request) = cluster.requests.get_mut(which) else { return };
        if let ToRouter::SessionOpen { caller, .. } = &request.envelope {
            let session = parse(caller.connection).and_then(|(token, _)| self.slab.slot(token));
            if session.is_none_or(|slot| !self.slab[slot].flags.has(Flag::Registered)) {
                // The end of the session may have been told already: it must not begin behind that.
                self.forget(which);
                return;
            }
        }
        self.counters.reasked += u64::from(request.asked);
        request.renumber();
        self.split(which);
        self.send_request(which);
    }

    /// An attach whose conversations have different owners by now becomes one for each of them.
    fn split(&mut self, which: u64) {
        let request = self.cluster.as_ref().and_then(|cluster| cluster.requests.get(which));
        let Some(ToRouter::Attach { caller, actor, items }) = request.map(|request| &request.envelope) else {
            return;
        };
        let (caller, actor) = (*caller, *actor);
        let mut groups = self.group(actor.key.tenant, items.iter().copied()).into_iter();
        let Some((_, first)) = groups.next() else { return };
        if groups.len() == 0 {
            return;
        }
        let extra = groups.len();
        self.narrow(which, first);
        for (owner, items) in groups {
            self.tell_owner(owner, ToRouter::Attach { caller, actor, items });
        }
        if caller.gateway == self.id && caller.reference == OPENING {
            let opening = self.answered(&caller).and_then(|(slot, _)| self.openings.get_mut(&slot));
            if let Some(opening) = opening {
                opening.pending += extra as u16;
            }
        }
    }

    /// Leaves so much of a list to a request.
    fn narrow(&mut self, which: u64, narrowed: Box<[AttachItem]>) {
        let Some(request) = self.cluster.as_mut().and_then(|cluster| cluster.requests.get_mut(which)) else {
            return;
        };
        let ToRouter::Attach { items, .. } = &mut request.envelope else { return };
        *items = narrowed;
        if let Some(slot) = request.envelope.slot() {
            self.owners.let_go(std::mem::replace(&mut request.slot, slot));
            self.owners.keep(slot);
        }
    }

    /// What is no request: as far as its owner is still to be told it.
    fn say_anew(&mut self, mut word: ToRouter, moved: &SlotSet) {
        let left = |users: &[UserKey], is_so: &dyn Fn(&UserKey) -> bool| {
            users.iter().copied().filter(|user| !moved.has(Slot::of_user(user)) && is_so(user)).collect()
        };
        match &mut word {
            ToRouter::Watch { users, .. } => {
                *users = left(users, &|user| self.watches.has(user));
            }
            ToRouter::Unwatch { users, .. } => {
                *users = left(users, &|user| !self.watches.has(user));
            }
            ToRouter::Detach { conversation, .. }
                if moved.has(Slot::of_conversation(conversation))
                    || self.rooms.find(conversation).is_some() =>
            {
                return;
            }
            ToRouter::SessionHeard { user, .. } | ToRouter::SessionClose { user, .. }
                if moved.has(Slot::of_user(user)) =>
            {
                return;
            }
            _ => {}
        }
        if let Some(slot) = word.slot() {
            self.say(slot, word);
        }
    }
}
