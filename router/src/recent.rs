//! The recent events of a conversation: dense, ending at the published head, bounded in number and bytes.

use std::collections::VecDeque;

use protocol::event::Event;
use protocol::frame::Range;

use crate::limits::{PAGE_BYTES_MAX, RECENT_BYTES_MAX, RECENT_EVENTS_MAX};

/// The newest published events of one conversation; possibly none.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    events: VecDeque<Event>,
    bytes: usize,
}

/// A page that was found here.
pub(crate) struct RecentPage {
    /// Ascending, dense.
    pub(crate) events: Box<[Event]>,
    /// True when there are more in the direction asked for.
    pub(crate) more: bool,
}

impl Recent {
    /// Bytes of the events.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes the next event; the oldest make room.
    pub(crate) fn push(&mut self, event: Event) {
        assert!(self.last().is_none_or(|last| event.seq() == last + 1), "recent events are dense");
        self.bytes += event.as_bytes().len();
        self.events.push_back(event);
        while self.events.len() > RECENT_EVENTS_MAX || self.bytes > RECENT_BYTES_MAX {
            let oldest = self.events.pop_front().expect("over a bound, so not empty");
            self.bytes -= oldest.as_bytes().len();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn first(&self) -> Option<u64> {
        self.events.front().map(Event::seq)
    }

    fn last(&self) -> Option<u64> {
        self.events.back().map(Event::seq)
    }

    /// The page of a log that ends at `head`, when all of it is here. `None`: ask the store.
    pub(crate) fn page(&self, range: Range, limit: usize, head: u64) -> Option<RecentPage> {
        match range {
            Range::After(after) => self.after(after, limit, head),
            Range::Newest => self.before(head + 1, limit, head),
            Range::Before(seq) => self.before(seq.min(head + 1), limit, head),
            Range::Around(_) | Range::Since(_) if head == 0 => Some(empty_page()),
            Range::Around(_) | Range::Since(_) => None,
        }
    }

    fn after(&self, after: u64, limit: usize, head: u64) -> Option<RecentPage> {
        if after >= head {
            return Some(empty_page());
        }
        let skip = (after + 1).checked_sub(self.first()?)?;
        let events = within_bytes(self.events.iter().skip(skip as usize).take(limit));
        let more = after + (events.len() as u64) < head;
        Some(RecentPage { events: events.into(), more })
    }

    fn before(&self, before: u64, limit: usize, head: u64) -> Option<RecentPage> {
        if before <= 1 || head == 0 {
            return Some(empty_page());
        }
        let first = self.first()?;
        let here = before.checked_sub(first)? as usize;
        let mut events = within_bytes(self.events.iter().take(here).rev().take(limit));
        events.reverse();
        let begin = before - events.len() as u64;
        let complete = begin > first || events.len() == limit || begin == 1;
        complete.then(|| RecentPage { events: events.into(), more: begin > 1 })
    }

    /// Asserts what must be, for a log that ends at `head`.
    pub(crate) fn invariants(&self, head: u64) {
        assert!(self.events.len() <= RECENT_EVENTS_MAX);
        assert!(self.bytes <= RECENT_BYTES_MAX);
        assert!(self.last().is_none_or(|last| last == head), "recent events end at the published head");
    }
}

fn empty_page() -> RecentPage {
    RecentPage { events: Box::default(), more: false }
}

/// As many as fit a page's bytes, but at least one.
fn within_bytes<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Event> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for event in events {
        bytes += event.as_bytes().len();
        if bytes > PAGE_BYTES_MAX && !taken.is_empty() {
            break;
        }
        taken.push(event.clone());
    }
    taken
}
