//! Cursors on their way into the store: one for all moves of a device since the last request.

use std::collections::BTreeMap;

use protocol::id::{ConversationKey, DeviceId, UserId};
use storage::request::Mark;

use crate::limits::{MARKS_A_REQUEST, MARKS_MAX, STORE_RETRY_MS};

type Key = (ConversationKey, UserId, DeviceId);

/// Cursors that wait, and those in the request under way (at most one).
#[derive(Debug, Default)]
pub(crate) struct Marks {
    waiting: BTreeMap<Key, Mark>,
    in_flight: Vec<Mark>,
    not_before: u64,
}

impl Marks {
    /// True when nothing waits and nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Takes one. False: too many wait, it is dropped.
    pub(crate) fn add(&mut self, mark: Mark) -> bool {
        let key = (mark.conversation, mark.user, mark.device);
        if let Some(known) = self.waiting.get_mut(&key) {
            known.received = known.received.max(mark.received);
            known.read = known.read.max(mark.read);
            return true;
        }
        if self.waiting.len() >= MARKS_MAX {
            return false;
        }
        self.waiting.insert(key, mark);
        true
    }

    /// The next request's cursors, when there are any and none are under way.
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<Box<[Mark]>> {
        if !self.in_flight.is_empty() || self.waiting.is_empty() || now_ms < self.not_before {
            return None;
        }
        while self.in_flight.len() < MARKS_A_REQUEST
            && let Some((_, mark)) = self.waiting.pop_first()
        {
            self.in_flight.push(mark);
        }
        Some(self.in_flight.as_slice().into())
    }

    /// The request came to its end. Those that are not stored wait again; gives how many were stored and dropped.
    pub(crate) fn end(&mut self, stored: bool, now_ms: u64) -> (usize, usize) {
        let ended = std::mem::take(&mut self.in_flight);
        if stored {
            return (ended.len(), 0);
        }
        self.not_before = now_ms + STORE_RETRY_MS;
        let dropped = ended.into_iter().map(|mark| self.add(mark)).filter(|&kept| !kept).count();
        (0, dropped)
    }

    /// When those that could not be stored are tried again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (self.in_flight.is_empty() && !self.waiting.is_empty()).then_some(self.not_before)
    }

    /// Asserts the bounds.
    pub(crate) fn invariants(&self) {
        assert!(self.waiting.len() <= MARKS_MAX);
        assert!(self.in_flight.len() <= MARKS_A_REQUEST);
    }
}
