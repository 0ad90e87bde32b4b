//! Timers of a crowd: what is due when. Few clients have one at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Connect again.
    Connect,
    /// Receive again.
    Receive,
}

/// All timers, and the deadlines of those connecting.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u32, Timer)>>,
    /// When a connect is late, the client's place, and the number of its dial: ascending, for all have the same time.
    deadlines: VecDeque<(u64, u32, u32)>,
}

impl Timers {
    pub(super) fn set(&mut self, due_ns: u64, place: u32, timer: Timer) {
        self.heap.push(Reverse((due_ns, place, timer)));
    }

    /// The next that is due, and when it was.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, u32, Timer)> {
        let &Reverse((due_ns, ..)) = self.heap.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer)
    }

    pub(super) fn set_deadline(&mut self, due_ns: u64, place: u32, dial: u32) {
        self.deadlines.push_back((due_ns, place, dial));
    }

    /// A client whose connect is late, if that dial is still under way.
    pub(super) fn pop_deadline(&mut self, now_ns: u64) -> Option<(u32, u32)> {
        let &(due_ns, place, dial) = self.deadlines.front()?;
        if due_ns > now_ns {
            return None;
        }
        self.deadlines.pop_front();
        Some((place, dial))
    }

    /// Forgets the deadlines at the front that `is_over` says nobody needs: else a storm keeps one a client.
    pub(super) fn trim_deadlines(&mut self, is_over: impl Fn(u32, u32) -> bool) {
        while self.deadlines.front().is_some_and(|&(_, place, dial)| is_over(place, dial)) {
            self.deadlines.pop_front();
        }
    }

    /// When something is due next.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let timer = self.heap.peek().map(|Reverse((due_ns, ..))| *due_ns);
        timer.into_iter().chain(self.deadlines.front().map(|(due_ns, ..)| *due_ns)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{Timer, Timers};

    #[test]
    fn timers_come_in_the_order_of_their_time_and_not_before() {
        let mut timers = Timers::default();
        timers.set(30, 1, Timer::Connect);
        timers.set(10, 2, Timer::Receive);
        timers.set_deadline(20, 3, 7);
        assert_eq!((timers.next_ns(), timers.pop_due(9)), (Some(10), None));
        assert_eq!(timers.pop_due(100), Some((10, 2, Timer::Receive)));
        assert_eq!((timers.next_ns(), timers.pop_deadline(19)), (Some(20), None));
        assert_eq!(timers.pop_deadline(20), Some((3, 7)));
        timers.set_deadline(50, 4, 8);
        timers.trim_deadlines(|place, dial| (place, dial) == (4, 8));
        assert_eq!(timers.next_ns(), Some(30));
    }
}
