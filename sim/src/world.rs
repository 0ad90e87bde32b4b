//! What surrounds the shards of a run: virtual time, what is to come, chance, the hash of all that was done, counts of
//! what was met. Knows nothing of shards.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::hash::Hasher;

use protocol::time::Now;
use xxhash_rust::xxh3::Xxh3;

use crate::coverage::Coverage;
use crate::random::{Random, Span};

/// Unix time at which every run begins, in milliseconds.
const UNIX_BEGIN_MS: u64 = 1_800_000_000_000;

/// Something that is to come.
#[derive(Debug)]
struct Planned<T> {
    at_us: u64,
    /// Drawn: what happens at the same microsecond happens in any order.
    tie: u64,
    /// Counts up: the order is total.
    number: u64,
    what: T,
}

impl<T> Planned<T> {
    fn rank(&self) -> (u64, u64, u64) {
        (self.at_us, self.tie, self.number)
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    /// Reversed: the heap's greatest is the soonest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

/// The surroundings of one run, over what can happen in it.
pub(crate) struct World<T> {
    now_us: u64,
    /// Added to Unix time: the wall clock steps.
    unix_step_ms: i64,
    planned: BinaryHeap<Planned<T>>,
    count: u64,
    /// All chance of the run.
    pub(crate) random: Random,
    /// What was met.
    pub(crate) coverage: Coverage,
    operations: Xxh3,
    tracing: bool,
}

impl<T> World<T> {
    /// The surroundings of a seed; with `tracing` every line goes to standard output.
    pub(crate) fn new(seed: u64, tracing: bool) -> Self {
        Self {
            now_us: 0,
            unix_step_ms: 0,
            planned: BinaryHeap::new(),
            count: 0,
            random: Random::new(seed),
            coverage: Coverage::default(),
            operations: Xxh3::new(),
            tracing,
        }
    }

    /// Virtual time in microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// What a shard is told about the clock.
    pub(crate) fn now(&self) -> Now {
        let monotonic_ms = self.now_us / 1_000;
        Now {
            monotonic_ms,
            unix_ms: (UNIX_BEGIN_MS + monotonic_ms).saturating_add_signed(self.unix_step_ms),
            monotonic_us: self.now_us,
        }
    }

    /// Moves the wall clock, and it alone.
    pub(crate) fn step_clock(&mut self, by_ms: i64) {
        self.unix_step_ms += by_ms;
    }

    /// Plans something for a moment `delay_us` from now.
    pub(crate) fn plan(&mut self, delay_us: u64, what: T) {
        self.count += 1;
        let planned =
            Planned { at_us: self.now_us + delay_us, tie: self.random.next(), number: self.count, what };
        self.planned.push(planned);
    }

    /// Plans something for a moment drawn from a range of delays.
    pub(crate) fn plan_within(&mut self, delay_us: Span, what: T) {
        let delay_us = self.random.within(delay_us);
        self.plan(delay_us, what);
    }

    /// The next thing that happens, and the clock moves on to it.
    pub(crate) fn next(&mut self) -> Option<T> {
        let planned = self.planned.pop()?;
        assert!(planned.at_us >= self.now_us, "time never goes back");
        self.now_us = planned.at_us;
        Some(planned.what)
    }

    /// Adds an operation to the hash of all operations, with the time it was done at.
    pub(crate) fn record(&mut self, kind: &str, number: u64, bytes: &[u8]) {
        self.operations.write_u64(self.now_us);
        self.operations.write(kind.as_bytes());
        self.operations.write_u64(number);
        self.operations.write(bytes);
    }

    /// The hash of all operations so far.
    pub(crate) fn hash(&self) -> u64 {
        self.operations.digest()
    }

    /// A line of the trace; made only where somebody reads it.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>12.6} {}", self.now_us as f64 / 1e6, line());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_happens_in_the_order_of_time() {
        let mut world: World<u64> = World::new(1, false);
        for delay in [30, 10, 20] {
            world.plan(delay, delay);
        }
        let order: Vec<_> = std::iter::from_fn(|| world.next()).collect();
        assert_eq!(order, [10, 20, 30]);
        assert_eq!(world.now_us(), 30);
    }

    #[test]
    fn the_order_of_one_moment_comes_from_the_seed() {
        let order = |seed| {
            let mut world: World<u64> = World::new(seed, false);
            (0..10).for_each(|number| world.plan(5, number));
            std::iter::from_fn(|| world.next()).collect::<Vec<_>>()
        };
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
    }

    #[test]
    fn the_wall_clock_steps_and_the_other_does_not() {
        let mut world: World<()> = World::new(1, false);
        let before = world.now();
        world.step_clock(-5_000);
        assert_eq!(world.now().unix_ms, before.unix_ms - 5_000);
        assert_eq!(world.now().monotonic_ms, before.monotonic_ms);
    }
}
