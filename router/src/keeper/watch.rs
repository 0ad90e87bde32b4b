//! Who has gone: leases that stood still for long enough, by this keeper's own clock alone, while its own was renewed.
//!
//! No clocks of two machines are compared, and an outage of the store, in which everybody's lease stands still, counts for
//! nothing: what was seen before it is forgotten.

use std::collections::BTreeMap;

use protocol::placement::NodeId;
use storage::request::Lease;

/// Renewals of the own lease in a row that must have found another's lease unchanged.
const BEATS_MIN: u32 = 4;

/// A lease as it was found.
#[derive(Debug)]
struct Watched {
    incarnation: u64,
    beat: u64,
    /// Since when it is found like this, monotonic milliseconds.
    since_ms: u64,
    /// Renewals of the own lease since then that found it so.
    beats: u32,
    /// It was seen to change.
    alive: bool,
}

/// All leases as they were found.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watched: BTreeMap<NodeId, Watched>,
}

impl Watch {
    /// A renewal of the own lease has found these.
    pub(super) fn look(&mut self, leases: &[Lease], now_ms: u64) {
        self.watched.retain(|node, _| leases.binary_search_by_key(node, |lease| lease.node).is_ok());
        for lease in leases {
            let (incarnation, beat) = (lease.incarnation, lease.beat);
            match self.watched.get_mut(&lease.node) {
                Some(watched) if watched.incarnation == incarnation && watched.beat == beat => {
                    watched.beats = watched.beats.saturating_add(1);
                }
                known => {
                    let alive = known.is_some();
                    let watched = Watched { incarnation, beat, since_ms: now_ms, beats: 0, alive };
                    self.watched.insert(lease.node, watched);
                }
            }
        }
    }

    /// The own lease was not renewed: what stood still until now may have had the same reason.
    pub(super) fn interrupt(&mut self, now_ms: u64) {
        for watched in self.watched.values_mut() {
            (watched.since_ms, watched.beats) = (now_ms, 0);
        }
    }

    /// Whether a node has gone.
    pub(super) fn is_dead(&self, node: NodeId, now_ms: u64, lease_ms: u64) -> bool {
        self.watched.get(&node).is_some_and(|watched| {
            watched.beats >= BEATS_MIN && now_ms.saturating_sub(watched.since_ms) >= lease_ms
        })
    }

    /// Whether a node was seen to renew its lease: one that only left it behind gets no slot.
    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.watched.get(&node).is_some_and(|watched| watched.alive)
    }

    /// For how long a node's lease has stood still, in milliseconds.
    pub(super) fn silent_ms(&self, node: NodeId, now_ms: u64) -> Option<u64> {
        self.watched.get(&node).map(|watched| now_ms.saturating_sub(watched.since_ms))
    }
}
