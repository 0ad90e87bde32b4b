//! What a router shard counts: plain numbers that its loop publishes. No clock, no atomics, no names for metrics.
//!
//! [`Histogram`] serves the gateway shard too.

/// Buckets of a [`Histogram`]: powers of two up to 2^26 (a minute in microseconds) and one for all above.
pub const HISTOGRAM_BUCKETS: usize = 28;

/// A histogram with fixed buckets: bucket `n` counts values of at most 2^n that fit no smaller one; the last counts the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many values fell into each bucket.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
    /// Sum of all values; wraps.
    pub sum: u64,
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        let bucket = (u64::BITS - value.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[bucket.min(HISTOGRAM_BUCKETS - 1)] += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    /// The largest value that a bucket counts; `None` for the last one.
    #[must_use]
    pub const fn upper_bound(bucket: usize) -> Option<u64> {
        if bucket + 1 < HISTOGRAM_BUCKETS { Some(1 << bucket) } else { None }
    }
}

/// What a router shard has done since it began, and how much it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Appends asked for by clients and the API.
    pub appends: u64,
    /// Events stored.
    pub stored: u64,
    /// Appends that had been stored before.
    pub duplicates: u64,
    /// Requests refused, for whatever reason.
    pub refused: u64,
    /// Requests refused as `unavailable`.
    pub unavailable: u64,
    /// Requests of strangers, answered `not_found`.
    pub strangers: u64,
    /// Transactions of appends that failed.
    pub commits_failed: u64,
    /// Publish envelopes to gateway shards.
    pub publishes: u64,
    /// Publish envelopes that a full mailbox gave back.
    pub publishes_missed: u64,
    /// Head envelopes to gateway shards.
    pub heads: u64,
    /// Ephemeral envelopes that a full mailbox gave back, or that exceeded a bound.
    pub ephemeral_dropped: u64,
    /// Required envelopes that a full mailbox gave back.
    pub required_returned: u64,
    /// Pages answered from recent events.
    pub pages_recent: u64,
    /// Pages read from the store.
    pub pages_stored: u64,
    /// Conversations loaded from the store.
    pub loads: u64,
    /// Conversations read again after a commit whose end was unknown.
    pub catch_ups: u64,
    /// Store requests that the store's full queue gave back.
    pub store_full: u64,
    /// Cursors written.
    pub marks: u64,
    /// Cursors dropped because too many waited for the store.
    pub marks_dropped: u64,
    /// Requests told that another shard has their slot.
    pub misplaced: u64,
    /// Transactions of appends that the fence of another owner refused.
    pub appends_fenced: u64,
    /// Appends tried again in a transaction of their own, because another conversation's slot had gone to another shard.
    pub tried_alone: u64,
    /// Marks and memberships passed on to the shard that has their slot.
    pub passed_on: u64,
    /// Marks and memberships dropped because too many were to be passed on.
    pub passed_on_dropped: u64,
    /// Slots that a table took away.
    pub slots_lost: u64,
    /// Slots that came by a table.
    pub slots_gained: u64,
    /// Gateway shards of other nodes that ended.
    pub gateways_gone: u64,
    /// Gateway shards of other nodes that were given up because they did not take what they had to be told.
    pub gateways_cut: u64,

    /// Slots owned now.
    pub slots_owned: u64,
    /// Conversations in memory now.
    pub conversations: u64,
    /// Sessions registered now.
    pub sessions: u64,
    /// Users watched now.
    pub watched: u64,
    /// Requests that wait for a load now.
    pub waiting: u64,
    /// Store requests under way now.
    pub store_requests: u64,
    /// Required envelopes that wait for room now.
    pub returned: u64,

    /// Microseconds from handing a transaction of appends to the store until its answer.
    pub commit_us: Histogram,
    /// Events a transaction.
    pub batch_events: Histogram,
    /// Gateway shards a publish goes to.
    pub fan_out: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_up_to_its_upper_bound() {
        for value in [0, 1, 2, 3, 4, 5, 1_023, 1_024, 1_025, 1 << 26, (1 << 26) + 1, u64::MAX] {
            let mut histogram = Histogram::default();
            histogram.record(value);
            let bucket = histogram.buckets.iter().position(|&count| count == 1).unwrap();
            assert!(Histogram::upper_bound(bucket).is_none_or(|bound| value <= bound), "{value}");
            let below = bucket.checked_sub(1).and_then(Histogram::upper_bound);
            assert!(below.is_none_or(|bound| value > bound), "{value}");
        }
    }
}
