//! The shard's Lamport clock, joined to the wall clock: stamps stay ordered over restarts and between shards that
//! never spoke, as far as wall clocks agree, and always between those that did.

use crate::limits::LAMPORT_MAX;

/// Larger than every stamp that the shard has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lamport(u64);

impl Lamport {
    /// Takes note of a stamp from elsewhere.
    pub(crate) fn observe(&mut self, stamp: u64) {
        self.0 = self.0.max(stamp.min(LAMPORT_MAX));
    }

    /// What the next event's stamp has to be larger than.
    pub(crate) fn floor(&mut self, unix_ms: u64) -> u64 {
        self.observe(unix_ms);
        self.0
    }

    /// A stamp for an event that no log holds.
    pub(crate) fn next(&mut self, unix_ms: u64) -> u64 {
        let stamp = self.floor(unix_ms) + 1;
        self.observe(stamp);
        stamp
    }
}
