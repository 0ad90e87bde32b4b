//! What the store thread counts, readable from every thread.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::setback::Setbacks;

/// How many buckets a latency histogram has.
pub const BUCKETS: usize = 24;

/// Whether the store can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It takes commits.
    Healthy = 0,
    /// A sync failed or damage was found: nothing is taken any more.
    Poisoned = 1,
    /// The thread has ended.
    Stopped = 2,
    /// The cluster does not answer: everything is answered `unavailable` until it does.
    Away = 3,
}

/// Counts of requests by their time from being handed in to being answered.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Latency {
    /// Largest time of a bucket in microseconds: powers of two; the last bucket has none.
    #[must_use]
    pub const fn bound_us(bucket: usize) -> Option<u64> {
        if bucket + 1 < BUCKETS { Some(1 << bucket) } else { None }
    }

    pub(super) fn record(&self, time: Duration) {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - time_us.saturating_sub(1).leading_zeros()) as usize;
        let bucket = if time_us <= 1 { 0 } else { bucket.min(BUCKETS - 1) };
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(time_us, Ordering::Relaxed);
    }

    /// Requests a bucket, not cumulated.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS] {
        core::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }

    /// The sum of all times, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    state: AtomicU8,
    away: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
    groups: AtomicU64,
    commits: AtomicU64,
    syncs: AtomicU64,
    /// From being handed in to being answered.
    pub latency: Latency,
    /// What a cluster answered in place of what was asked.
    pub setbacks: Setbacks,
}

impl Metrics {
    /// Whether the store can store.
    #[must_use]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 if self.away.load(Ordering::Acquire) => State::Away,
            0 => State::Healthy,
            1 => State::Poisoned,
            _ => State::Stopped,
        }
    }

    /// For good: from [`State::Poisoned`] nothing leads but [`State::Stopped`].
    pub(super) fn set_state(&self, state: State) {
        assert!(state != State::Away, "a cluster comes back");
        self.state.fetch_max(state as u8, Ordering::AcqRel);
    }

    #[cfg(feature = "foundationdb")]
    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Release);
    }

    pub(super) fn count_group(&self, requests: usize, commits: u64, synced: bool) {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.commits.fetch_add(commits, Ordering::Relaxed);
        self.syncs.fetch_add(u64::from(synced), Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests taken.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests answered with a failure.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Groups of requests; `requests / groups` is the mean size.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Commits; `commits / syncs` says how many share a sync.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Syncs.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_whose_bound_is_not_below_it() {
        for (time_us, bucket) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 22, 22),
            ((1 << 22) + 1, 23),
            (u64::MAX, 23),
        ] {
            let latency = Latency::default();
            latency.record(Duration::from_micros(time_us));
            assert_eq!(latency.counts().iter().position(|count| *count == 1), Some(bucket), "{time_us}");
            assert!(Latency::bound_us(bucket).is_none_or(|bound| time_us <= bound));
            assert!(bucket == 0 || Latency::bound_us(bucket - 1).unwrap() < time_us);
        }
    }

    #[test]
    fn a_poisoned_store_never_says_healthy_again() {
        let metrics = Metrics::default();
        assert_eq!(metrics.state(), State::Healthy);
        metrics.set_state(State::Poisoned);
        metrics.set_state(State::Healthy);
        assert_eq!(metrics.state(), State::Poisoned);
    }
}
