//! How long things took: a histogram that is small enough to have many of, and its summary. What it counts from, the
//! intended time, is the schedule's.

use core::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time told apart, in microseconds: what takes longer counts as this.
const LONGEST_US: u64 = 60_000_000;
/// Decimal digits of a value that are kept.
const DIGITS: u8 = 2;

/// Times, in microseconds from 1 up, to two digits: about 10 KiB, however many there are.
#[derive(Clone)]
pub struct Latency {
    histogram: Histogram<u32>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(out)
    }
}

impl Latency {
    /// None yet.
    ///
    /// # Panics
    /// Never: the bounds are the histogram's.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are in order");
        Self { histogram }
    }

    /// One more, in nanoseconds, rounded up to the microsecond.
    pub fn record_ns(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.div_ceil(1_000).max(1));
    }

    /// One more.
    pub fn record(&mut self, time: Duration) {
        self.record_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another thread, too.
    ///
    /// # Panics
    /// Never: all have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The time that this share of them did not exceed, in microseconds; 0 without any.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    /// What is told of them.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            mean_us: self.histogram.mean(),
            p50_us: self.quantile_us(0.5),
            p90_us: self.quantile_us(0.9),
            p99_us: self.quantile_us(0.99),
            p99_9_us: self.quantile_us(0.999),
            max_us: self.histogram.max(),
        }
    }
}

/// What is told of many times, in microseconds, each exact to 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// What a half did not exceed.
    pub p50_us: u64,
    /// What nine of ten did not exceed.
    pub p90_us: u64,
    /// What 99 of 100 did not exceed.
    pub p99_us: u64,
    /// What 999 of 1,000 did not exceed.
    pub p99_9_us: u64,
    /// The longest, at most a minute.
    pub max_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_one_per_cent() {
        let mut latency = Latency::new();
        (1..=100_000_u64).for_each(|us| latency.record_ns(us * 1_000));
        let summary = latency.summary();
        assert_eq!(summary.count, 100_000);
        for (found, expected) in [
            (summary.p50_us, 50_000),
            (summary.p90_us, 90_000),
            (summary.p99_us, 99_000),
            (summary.p99_9_us, 99_900),
            (summary.max_us, 100_000),
        ] {
            assert!(found.abs_diff(expected) * 100 <= expected, "{found} for {expected}");
        }
    }

    #[test]
    fn threads_are_merged() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        one.record_ns(10_000);
        other.record(Duration::from_micros(30));
        one.merge(&other);
        assert_eq!((one.summary().count, one.summary().max_us, one.summary().p50_us), (2, 30, 10));
    }

    #[test]
    fn nothing_is_lost_at_the_ends() {
        let mut latency = Latency::new();
        latency.record_ns(0);
        latency.record(Duration::from_secs(3_600));
        let summary = latency.summary();
        assert_eq!((summary.count, summary.p50_us), (2, 1));
        assert!(summary.max_us >= LONGEST_US, "{summary:?}");
        assert_eq!(Latency::new().summary(), Summary::default());
    }

    #[test]
    fn a_histogram_is_about_10_kib() {
        let bytes = Latency::new().histogram.distinct_values() * size_of::<u32>();
        assert!(bytes <= 12 * 1_024, "{bytes}");
    }
}
