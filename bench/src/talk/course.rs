//! What the scenario tells the talkers of all threads to do, and what they hand in: one lock, taken by each thread once an
//! order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::report::Latency;

/// How messages follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pace {
    /// Nobody sends.
    #[default]
    Silent,
    /// An open loop: so many messages a second in all, whatever became of the ones before.
    Rate(f64),
    /// A closed loop: each sender has so many messages without an answer, and sends the next when one is answered.
    Window(u32),
}

/// What the talkers are to do until the next order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Order {
    /// How they send.
    pub pace: Pace,
    /// Slow readers read at their own rate; else as fast as they can.
    pub slow: bool,
}

/// What was sent and heard during an order.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// From the intended time to the ack.
    pub ack: Latency,
    /// From the intended time to an event at a fast reader.
    pub delivery: Latency,
    /// The same at a slow reader.
    pub slow_delivery: Latency,
    /// From asking for a page to having it.
    pub page: Latency,
    /// Messages sent.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Events heard, pages left out.
    pub delivered: u64,
    /// Events heard in pages.
    pub paged: u64,
    /// `lagging` heard.
    pub lags: u64,
    /// By seq, of a run with one conversation: when its last member heard it, and how many did.
    pub reaches: BTreeMap<u64, Reach>,
}

/// How a message reached the members of its conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Nanoseconds from the intended time to the last member so far.
    pub last_ns: u64,
    /// Members who heard it.
    pub members: u64,
}

impl Tally {
    /// That of another thread, too.
    pub fn merge(&mut self, other: &Self) {
        self.ack.merge(&other.ack);
        self.delivery.merge(&other.delivery);
        self.slow_delivery.merge(&other.slow_delivery);
        self.page.merge(&other.page);
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.paged += other.paged;
        self.lags += other.lags;
        for (code, times) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += times;
        }
        for (seq, reach) in &other.reaches {
            let sum = self.reaches.entry(*seq).or_default();
            sum.last_ns = sum.last_ns.max(reach.last_ns);
            sum.members += reach.members;
        }
    }

    /// Messages refused, whatever the code.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[derive(Debug, Default)]
struct State {
    step: u32,
    order: Order,
    tally: Tally,
    /// Threads that have taken the order, and handed in what they had of the one before.
    taken: usize,
    /// Messages without an answer, and places that have not heard everything, as of the last orders taken.
    unsettled: u64,
}

/// The orders of a run.
#[derive(Debug, Default)]
pub struct Course {
    state: Mutex<State>,
    changed: Condvar,
}

impl Course {
    /// Gives an order; its step is for [`Swarm::direct`](crate::swarm::Swarm::direct).
    pub fn give(&self, order: Order) -> u32 {
        let mut state = self.lock();
        *state = State { step: state.step + 1, order, ..State::default() };
        state.step
    }

    /// A thread hands in what it had of the last order, and takes the current one.
    pub fn take(&self, tally: &Tally, unsettled: u64) -> Order {
        let mut state = self.lock();
        state.tally.merge(tally);
        state.taken += 1;
        state.unsettled += unsettled;
        self.changed.notify_all();
        state.order
    }

    /// Waits until so many threads have taken the current order; what they handed in, and how much is not settled. `None`
    /// when they did not in time.
    #[must_use]
    pub fn wait(&self, threads: usize, patience: Duration) -> Option<(Tally, u64)> {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        while state.taken < threads {
            let left = end.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some((std::mem::take(&mut state.tally), state.unsettled))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_taken_by_every_thread_once_and_brings_the_last_tally() {
        let course = Course::default();
        let order = Order { pace: Pace::Rate(5.0), slow: false };
        assert_eq!(course.give(order), 1);
        let mut tally = Tally { sent: 3, ..Tally::default() };
        tally.reaches.insert(7, Reach { last_ns: 5, members: 1 });
        assert_eq!(course.take(&tally, 1), order);
        assert!(course.wait(2, Duration::ZERO).is_none());
        tally.reaches.insert(7, Reach { last_ns: 9, members: 4 });
        course.take(&tally, 2);
        let (tally, unsettled) = course.wait(2, Duration::ZERO).unwrap();
        assert_eq!((tally.sent, unsettled, tally.reaches[&7]), (6, 3, Reach { last_ns: 9, members: 5 }));
        assert_eq!(course.give(Order::default()), 2);
        assert!(course.wait(1, Duration::ZERO).is_none());
    }
}
