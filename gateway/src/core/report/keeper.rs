//! What the keeper of a router node has told.

use api::metrics::Metric;

use super::{counter, gauge};
use crate::core::keeping::Counters;

/// Appends a sample for each of the keeper's counters.
pub(super) fn push(samples: &mut Vec<Metric>, counters: &Counters) {
    let Counters { lapsed, lapses, nodes_dead, slots_moved, store_failures } = *counters;
    samples.extend([
        gauge(
            "murmuring_lease_lapsed",
            "1 while the node's lease is not renewed in time.",
            u64::from(lapsed),
        ),
        counter("murmuring_lease_lapses_total", "Times that the lease was not renewed in time.", lapses),
        counter("murmuring_nodes_dead_total", "Router nodes that this one found gone.", nodes_dead),
        counter("murmuring_slots_moved_total", "Slots that tables gave to other owners.", slots_moved),
        counter(
            "murmuring_keeper_store_failures_total",
            "Times that the keeper lost the store.",
            store_failures,
        ),
    ]);
}
