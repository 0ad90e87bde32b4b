//! Receipts that wait to be told together: one for all that a user received or read since the last batch.

use std::collections::BTreeMap;

use protocol::id::UserId;

use crate::conversation::Place;
use crate::limits::{RECEIPTS_MAX, RECEIPTS_OF_ONE_MAX};

/// What moved, of one user or of a whole large conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// On a device up to here.
    pub(crate) received: Option<u64>,
    /// Read up to here.
    pub(crate) read: Option<u64>,
}

impl Moved {
    fn join(&mut self, other: Self) {
        self.received = self.received.max(other.received);
        self.read = self.read.max(other.read);
    }
}

/// Receipts of all conversations since the last batch; `None` stands for everybody in a large one.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    moved: BTreeMap<Place, BTreeMap<Option<UserId>, Moved>>,
    count: usize,
    due: Option<u64>,
}

impl Receipts {
    /// True when nothing of this conversation waits. The first that does keeps the conversation in its place.
    pub(crate) fn is_quiet(&self, place: Place) -> bool {
        !self.moved.contains_key(&place)
    }

    /// Takes one, to be told by `due` at the latest. False: there are too many, it is dropped.
    pub(crate) fn add(&mut self, place: Place, user: Option<UserId>, moved: Moved, due: u64) -> bool {
        if self.count >= RECEIPTS_MAX {
            return false;
        }
        let of_one = self.moved.entry(place).or_default();
        let known = of_one.contains_key(&user);
        if !known && of_one.len() >= RECEIPTS_OF_ONE_MAX {
            return false;
        }
        of_one.entry(user).or_default().join(moved);
        self.count += usize::from(!known);
        self.due.get_or_insert(due);
        true
    }

    /// When the next batch is due, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due
    }

    /// The batch, when it is due.
    pub(crate) fn take(&mut self, now_ms: u64) -> BTreeMap<Place, BTreeMap<Option<UserId>, Moved>> {
        if self.due.is_none_or(|due| now_ms < due) {
            return BTreeMap::new();
        }
        (self.count, self.due) = (0, None);
        std::mem::take(&mut self.moved)
    }

    /// Forgets what waits of these conversations.
    pub(crate) fn forget(&mut self, forgotten: impl Fn(Place) -> bool) {
        self.moved.retain(|&place, _| !forgotten(place));
        self.count = self.moved.values().map(BTreeMap::len).sum();
        self.due = self.due.filter(|_| self.count > 0);
    }

    /// Asserts the bounds.
    pub(crate) fn invariants(&self) {
        assert!(self.count <= RECEIPTS_MAX);
        assert_eq!(self.count, self.moved.values().map(BTreeMap::len).sum::<usize>());
        assert!(self.moved.values().all(|of_one| of_one.len() <= RECEIPTS_OF_ONE_MAX));
        assert_eq!(self.due.is_some(), self.count > 0);
    }
}
