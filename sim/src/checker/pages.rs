//! A page of history against the log: the right events, all of them, and no others.

use protocol::frame::Range;

use super::Violation;
use super::log::Log;
use crate::told::ToldEvent;

/// A page as it came, and what was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    /// From where.
    pub(super) range: Range,
    /// At most so many.
    pub(super) limit: u16,
    /// The events.
    pub(super) events: &'a [ToldEvent],
    /// The head that came with them.
    pub(super) head: u64,
    /// Whether more were announced.
    pub(super) more: bool,
}

impl Page<'_> {
    fn violation(&self, why: &str) -> Result<(), Violation> {
        let seqs: Vec<u64> = self.events.iter().map(|event| event.seq).collect();
        let details = format!(
            "{why}: {:?} limit {} gave {seqs:?}, head {}, more {}",
            self.range, self.limit, self.head, self.more
        );
        Err(Violation::new("pages", details))
    }

    /// Checks the page against the log; others had been told up to `told` when it was asked for.
    pub(super) fn check(&self, log: &Log, told: u64) -> Result<(), Violation> {
        if self.head > log.head() {
            return self.violation("the head is not durable");
        }
        if self.head < told {
            return self.violation("the head is behind what others were told before");
        }
        if self.events.len() > usize::from(self.limit) {
            return self.violation("more events than asked for");
        }
        for event in self.events {
            if log.at(event.seq) != Some(event) || event.seq > self.head {
                return self.violation("an event is not the log's");
            }
        }
        if self.events.windows(2).any(|pair| pair[1].seq != pair[0].seq + 1) {
            return self.violation("a hole");
        }
        match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => self.check_ends(log, told, first, last),
            _ => self.check_empty(log),
        }
    }

    fn check_ends(&self, log: &Log, told: u64, first: &ToldEvent, last: &ToldEvent) -> Result<(), Violation> {
        let below = first.seq > 1;
        let above = last.seq < self.head;
        let (placed, more) = match self.range {
            // The log may have grown between the page and its head.
            Range::Newest => (last.seq >= told, below),
            Range::Before(seq) => (last.seq < seq && last.seq >= told.min(seq - 1), below),
            Range::After(seq) => (first.seq == seq + 1, above),
            Range::Around(seq) => {
                let nearest = seq.min(told).max(1);
                (first.seq <= seq.min(self.head) && nearest <= last.seq, below || above)
            }
            Range::Since(time) => {
                let before = log.at(first.seq - 1);
                (first.time >= time && before.is_none_or(|before| before.time < time), above)
            }
        };
        if !placed {
            return self.violation("at the wrong place");
        }
        let around = matches!(self.range, Range::Around(_));
        if self.more != more && !around {
            return self.violation("`more` is wrong");
        }
        Ok(())
    }

    fn check_empty(&self, log: &Log) -> Result<(), Violation> {
        let nothing = match self.range {
            Range::Newest | Range::Around(_) => self.head == 0,
            Range::Before(seq) => seq <= 1 || self.head == 0,
            Range::After(seq) => seq >= self.head,
            Range::Since(time) => log.at(self.head).is_none_or(|last| last.time < time),
        };
        if !nothing || self.more {
            return self.violation("empty, and there is something");
        }
        Ok(())
    }
}
