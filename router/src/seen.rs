//! When users were last heard, on its way into the store. Best effort: past a bound the newest are not kept.

use std::collections::BTreeMap;

use protocol::id::UserKey;

use crate::compact::CompactUser;
use crate::hash::UserHash;
use crate::limits::{SEEN_A_REQUEST, SEEN_MAX, STORE_RETRY_MS};

type Times = BTreeMap<UserHash, (CompactUser, u64)>;

/// Times that wait, and those in the request under way (at most one).
#[derive(Debug, Default)]
pub(crate) struct Seen {
    waiting: Times,
    in_flight: Times,
    not_before: u64,
}

impl Seen {
    /// True when nothing waits and nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Takes a time, in milliseconds since the Unix epoch.
    pub(crate) fn add(&mut self, hash: UserHash, user: &UserKey, time: u64) {
        if let Some((_, known)) = self.waiting.get_mut(&hash) {
            *known = time.max(*known);
        } else if self.waiting.len() < SEEN_MAX {
            self.waiting.insert(hash, (CompactUser::new(user), time));
        }
    }

    /// A time that is not in the store yet.
    pub(crate) fn get(&self, hash: UserHash) -> Option<u64> {
        self.waiting.get(&hash).or_else(|| self.in_flight.get(&hash)).map(|&(_, time)| time)
    }

    /// The next request's times, when there are any and none are under way.
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<Box<[(UserKey, u64)]>> {
        if !self.in_flight.is_empty() || self.waiting.is_empty() || now_ms < self.not_before {
            return None;
        }
        while self.in_flight.len() < SEEN_A_REQUEST
            && let Some((hash, time)) = self.waiting.pop_first()
        {
            self.in_flight.insert(hash, time);
        }
        Some(self.in_flight.values().map(|(user, time)| (user.key(), *time)).collect())
    }

    /// The request came to its end; what is not stored waits again.
    pub(crate) fn end(&mut self, stored: bool, now_ms: u64) {
        let ended = std::mem::take(&mut self.in_flight);
        if stored {
            return;
        }
        self.not_before = now_ms + STORE_RETRY_MS;
        for (hash, (user, time)) in ended {
            self.add(hash, &user.key(), time);
        }
    }

    /// When those that could not be stored are tried again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (self.in_flight.is_empty() && !self.waiting.is_empty()).then_some(self.not_before)
    }

    /// Asserts the bounds.
    pub(crate) fn invariants(&self) {
        assert!(self.waiting.len() <= SEEN_MAX);
        assert!(self.in_flight.len() <= SEEN_A_REQUEST);
    }
}
