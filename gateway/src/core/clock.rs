//! The two clocks of a node, as its cores read them.

use protocol::time::Now;

/// The two clocks, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begin_ns: u64,
}

impl Clock {
    /// A clock whose monotonic time begins now; all cores of a node share one.
    #[must_use]
    pub fn start() -> Self {
        Self { begin_ns: ring::clock::monotonic_ns() }
    }

    /// The time.
    #[must_use]
    pub fn read(&self) -> Now {
        let monotonic_us = (ring::clock::monotonic_ns() - self.begin_ns) / 1_000;
        Now { monotonic_ms: monotonic_us / 1_000, unix_ms: ring::clock::realtime_ms(), monotonic_us }
    }
}
