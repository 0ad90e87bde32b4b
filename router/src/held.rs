//! Events that are durable and wait for those right behind them: where the next batch of a conversation is on its way to
//! the store when one has come back, both are published together, and a member gets one packet instead of two. The acks wait
//! for nothing.

use std::collections::BTreeMap;

use protocol::event::Event;

use crate::conversation::Place;
use crate::limits::{HELD_CONVERSATIONS_MAX, HELD_MS_MAX};

/// What waits, at most one batch a conversation.
#[derive(Debug, Default)]
pub(crate) struct Held {
    batches: BTreeMap<Place, Batch>,
}

#[derive(Debug)]
struct Batch {
    events: Vec<Event>,
    /// When it goes out whatever became of the next one, in monotonic milliseconds.
    due: u64,
}

impl Held {
    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// True when one more conversation may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.batches.len() < HELD_CONVERSATIONS_MAX
    }

    /// Lets a batch wait, of a conversation of which nothing waits yet.
    pub(crate) fn hold(&mut self, place: Place, events: Vec<Event>, now_ms: u64) {
        let batch = Batch { events, due: now_ms + HELD_MS_MAX };
        assert!(self.batches.insert(place, batch).is_none(), "a batch waits for one other");
    }

    /// What waits of a conversation, which waits no longer.
    pub(crate) fn take(&mut self, place: Place) -> Vec<Event> {
        self.batches.remove(&place).map_or_else(Vec::new, |batch| batch.events)
    }

    /// A conversation of which something has waited long enough.
    pub(crate) fn due(&self, now_ms: u64) -> Option<Place> {
        self.batches.iter().find(|(_, batch)| batch.due <= now_ms).map(|(place, _)| *place)
    }

    /// When the first has waited long enough, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.batches.values().map(|batch| batch.due).min()
    }

    /// Every conversation of which something waits, and the seq of its last event.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, u64)> {
        self.batches.iter().filter_map(|(place, batch)| Some((*place, batch.events.last()?.seq())))
    }

    /// Asserts what must be.
    pub(crate) fn invariants(&self) {
        assert!(self.batches.len() <= HELD_CONVERSATIONS_MAX);
        assert!(self.batches.values().all(|batch| !batch.events.is_empty()));
    }
}
