//! The appends of one conversation: those that wait for the next transaction, and those in the one under way.

use std::collections::VecDeque;

use protocol::envelope::{Authority, Caller, Change};
use protocol::event::Draft;
use protocol::id::{ClientId, UserKey};
use storage::request::{AppendItem, AppendRule};

use crate::limits::{APPENDS_OF_ONE_MAX, BATCH_EVENTS_MAX, ITEM_BYTES};

/// Who waits for the end of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, a session of it or the API.
    Caller(Caller),
    /// The creation of a conversation with more members than one transaction takes.
    Founding,
}

/// An event that waits for its transaction.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    /// Who waits.
    pub(crate) origin: Origin,
    /// In whose name, to be checked again when roles change before its turn.
    pub(crate) actor: UserKey,
    /// By what right.
    pub(crate) authority: Authority,
    /// Client id.
    pub(crate) id: ClientId,
    /// What.
    pub(crate) draft: Draft,
    /// The stamp is to be larger than this.
    pub(crate) lamport: u64,
    /// What the transaction asks for and changes.
    pub(crate) rule: AppendRule,
}

impl Queued {
    /// What a transaction writes for it, at most, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.draft.as_bytes().len() + ITEM_BYTES
    }

    /// True when what was allowed behind it may be forbidden after it.
    fn takes_rights(&self) -> bool {
        matches!(self.rule, AppendRule::Change(Change::Leave { .. } | Change::Role { .. }))
    }
}

/// An event whose transaction is under way.
#[derive(Debug)]
pub(crate) struct Flying {
    /// Who waits.
    pub(crate) origin: Origin,
    /// Client id.
    pub(crate) id: ClientId,
    /// True when it changes a membership or the conversation.
    pub(crate) is_change: bool,
    /// What a transaction writes for it, at most, in bytes.
    pub(crate) bytes: usize,
    /// The whole of it, where its transaction may have to be made again because of another conversation.
    spare: Option<Box<Queued>>,
}

/// The appends of one conversation, in their order.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    next: VecDeque<Queued>,
    in_flight: Vec<Flying>,
    changes: usize,
    /// True while the conversation is in the list of those that have a batch to send.
    pub(crate) listed: bool,
    /// True: the next batch is a transaction by itself.
    pub(crate) alone: bool,
}

impl Appends {
    /// True when nothing waits and nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_empty() && self.in_flight.is_empty()
    }

    /// True when one more would exceed the bound.
    pub(crate) fn is_full(&self) -> bool {
        self.next.len() >= APPENDS_OF_ONE_MAX
    }

    /// True when a batch could be sent.
    pub(crate) fn is_ready(&self) -> bool {
        !self.next.is_empty() && self.in_flight.is_empty()
    }

    /// True when a membership may change by what waits or is under way.
    pub(crate) fn has_changes(&self) -> bool {
        self.changes > 0
    }

    /// Takes an append.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.changes += usize::from(matches!(queued.rule, AppendRule::Change(_)));
        self.next.push_back(queued);
    }

    /// Moves the next batch into flight: at most `events` and `bytes`. It ends behind an append that takes rights away,
    /// because what follows must be allowed by what that one leaves.
    /// `spares`: what is taken can be put back.
    pub(crate) fn take_batch(&mut self, events: usize, bytes: usize, spares: bool) -> Vec<AppendItem> {
        assert!(self.in_flight.is_empty(), "one batch in flight a conversation");
        let mut items = Vec::new();
        let mut room = bytes;
        while items.len() < events
            && self.next.front().is_some_and(|queued| queued.bytes() <= room)
            && let Some(queued) = self.next.pop_front()
        {
            room -= queued.bytes();
            let last = queued.takes_rights();
            items.push(self.launch(queued, spares));
            if last {
                break;
            }
        }
        items
    }

    fn launch(&mut self, queued: Queued, spares: bool) -> AppendItem {
        let bytes = queued.bytes();
        let spare = spares.then(|| Box::new(queued.clone()));
        let Queued { origin, id, draft, lamport, rule, .. } = queued;
        let is_change = matches!(rule, AppendRule::Change(_));
        self.in_flight.push(Flying { origin, id, is_change, bytes, spare });
        AppendItem { draft, lamport, rule }
    }

    /// The batch has come to its end.
    pub(crate) fn land(&mut self) -> Vec<Flying> {
        let landed = std::mem::take(&mut self.in_flight);
        self.changes -= landed.iter().filter(|flying| flying.is_change).count();
        if self.next.is_empty() {
            self.next = VecDeque::new();
        }
        landed
    }

    /// Nothing of the batch was stored, and not on its own account: it waits again, to be tried by itself.
    pub(crate) fn put_back(&mut self) {
        for flying in std::mem::take(&mut self.in_flight).into_iter().rev() {
            self.next.push_front(*flying.spare.expect("a batch that can be put back has spares"));
        }
        self.alone = true;
    }

    /// What the batch under way writes, at most, in bytes.
    pub(crate) fn flying_bytes(&self) -> usize {
        self.in_flight.iter().map(|flying| flying.bytes).sum()
    }

    /// Takes out what waits and is no longer allowed. Asks of each once, in order; moves nothing in front of the first.
    pub(crate) fn withdraw(&mut self, mut refused: impl FnMut(&Queued) -> bool) -> Vec<Queued> {
        let Some(first) = self.next.iter().position(&mut refused) else { return Vec::new() };
        let behind = self.next.split_off(first + 1);
        let mut withdrawn: Vec<Queued> = self.next.pop_back().into_iter().collect();
        for queued in behind {
            if refused(&queued) { withdrawn.push(queued) } else { self.next.push_back(queued) }
        }
        self.changes -=
            withdrawn.iter().filter(|queued| matches!(queued.rule, AppendRule::Change(_))).count();
        withdrawn
    }

    /// Who waits for what waits or is under way, in order.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Origin> {
        let waiting = self.next.iter().map(|queued| queued.origin);
        self.in_flight.iter().map(|flying| flying.origin).chain(waiting)
    }

    /// How many wait or are under way, and their bytes.
    pub(crate) fn load(&self) -> (usize, usize) {
        let waiting: usize = self.next.iter().map(Queued::bytes).sum();
        (self.next.len() + self.in_flight.len(), waiting + self.flying_bytes())
    }

    /// Asserts what must be.
    pub(crate) fn invariants(&self) {
        assert!(self.next.len() <= APPENDS_OF_ONE_MAX + crate::limits::CREATE_MEMBERS_MAX + BATCH_EVENTS_MAX);
        assert!(self.in_flight.len() <= BATCH_EVENTS_MAX);
        let waiting = self.next.iter().filter(|queued| matches!(queued.rule, AppendRule::Change(_))).count();
        let flying = self.in_flight.iter().filter(|flying| flying.is_change).count();
        assert_eq!(self.changes, waiting + flying);
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::{ContentV1, EventV1};
    use protocol::id::{Tenant, UserId};

    use super::*;

    fn queued(number: usize) -> Queued {
        let content = ContentV1::Delete { target: 1 };
        let id = format!("m{number}");
        let (seq, time, lamport) = (0, 0, 0);
        let (conversation, sender, device) = ("c", "alice", "phone");
        let event = EventV1 { seq, time, lamport, conversation, sender, device, id: &id, content };
        Queued {
            origin: Origin::Founding,
            actor: UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("alice").unwrap() },
            authority: Authority::User,
            id: ClientId::parse(&id).unwrap(),
            draft: Draft::encode(&event).unwrap(),
            lamport: 0,
            rule: AppendRule::Free,
        }
    }

    fn numbers<'a>(queued: impl IntoIterator<Item = &'a Queued>) -> Vec<&'a str> {
        queued.into_iter().map(|queued| queued.id.as_str()).collect()
    }

    #[test]
    fn what_is_withdrawn_is_asked_of_once_and_leaves_the_rest_in_order() {
        for refused in [vec![], vec!["m0"], vec!["m4"], vec!["m1", "m3"], vec!["m0", "m1", "m2", "m3", "m4"]]
        {
            let mut appends = Appends::default();
            (0..5).for_each(|number| appends.push(queued(number)));
            let mut asked = Vec::new();
            let withdrawn = appends.withdraw(|queued| {
                asked.push(queued.id.as_str().to_owned());
                refused.contains(&queued.id.as_str())
            });
            assert_eq!(asked, ["m0", "m1", "m2", "m3", "m4"]);
            assert_eq!(numbers(&withdrawn), refused);
            let kept: Vec<&str> =
                ["m0", "m1", "m2", "m3", "m4"].into_iter().filter(|id| !refused.contains(id)).collect();
            assert_eq!(numbers(&appends.next), kept);
            appends.invariants();
        }
    }

    /// A creation with 10,000 members has thousands waiting, and each batch of them asks.
    #[test]
    fn what_stays_is_not_moved() {
        let mut appends = Appends::default();
        (0..100).for_each(|number| appends.push(queued(number)));
        let front = std::ptr::from_ref(&appends.next[0]);
        assert!(appends.withdraw(|_| false).is_empty());
        assert_eq!(front, std::ptr::from_ref(&appends.next[0]));
    }
}
