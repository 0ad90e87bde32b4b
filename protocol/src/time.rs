//! Time as an argument: what a shard is told about the clock, once a turn.

/// The time of one turn. Shards never read a clock; they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock since the process (or the simulation) began.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch: the `time` of events. May step backwards.
    pub unix_ms: u64,
    /// Microseconds of the same monotonic clock, for latency histograms only.
    pub monotonic_us: u64,
}
