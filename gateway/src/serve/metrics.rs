//! What belongs to the whole node and to no core, as samples of `/metrics`: the store's thread, the log, the process.

use api::metrics::{Histogram, Metric, Registry, Source, powers_of_two};
use storage::driver;
use storage::driver::metrics::{BUCKETS, Metrics, State};
use storage::setback::NAMES;

use crate::log::Logger;

/// Upper bounds of the store's latency buckets, in seconds: powers of two from 1 µs.
static LATENCY_SECONDS: [f64; BUCKETS - 1] = powers_of_two(1e-6);

/// Publishes the node's samples in place of its last ones.
pub(super) fn publish(
    registry: &Registry,
    store: Option<&driver::Handle>,
    logger: &Logger,
    began_unix_ms: u64,
) {
    let mut samples = vec![
        Metric::gauge(
            "murmuring_start_time_seconds",
            "When this process began, seconds since the Unix epoch.",
            began_unix_ms as f64 / 1_000.0,
        ),
        Metric::counter("murmuring_log_dropped_total", "Log lines dropped.", logger.dropped()),
    ];
    if let Some(store) = store {
        let waiting = store.waiting() as f64;
        let help = "Requests waiting for the store's thread.";
        samples.push(Metric::gauge("murmuring_store_waiting", help, waiting));
        samples.extend(of_store(store.metrics()));
    }
    registry.publish(Source::Node, samples);
}

fn of_store(metrics: &Metrics) -> Vec<Metric> {
    let latency = &metrics.latency;
    let states = [
        ("healthy", State::Healthy),
        ("away", State::Away),
        ("poisoned", State::Poisoned),
        ("stopped", State::Stopped),
    ];
    let state = states.into_iter().map(|(name, state)| {
        let is = if metrics.state() == state { 1.0 } else { 0.0 };
        Metric::gauge("murmuring_store_state", "1 for the store's state.", is).with_label("state", name)
    });
    let mut samples: Vec<Metric> = state.collect();
    let setbacks = NAMES.into_iter().zip(metrics.setbacks.counts()).map(|(name, count)| {
        let help = "What a cluster answered to a transaction's step in place of what was asked.";
        Metric::counter("murmuring_store_setbacks_total", help, count).with_label("error", name)
    });
    samples.extend(setbacks);
    samples.extend([
        Metric::counter("murmuring_store_requests_total", "Requests taken by the store.", metrics.requests()),
        Metric::counter(
            "murmuring_store_failed_total",
            "Requests the store answered with a failure.",
            metrics.failed(),
        ),
        Metric::counter(
            "murmuring_store_groups_total",
            "Groups of requests that shared a sync.",
            metrics.groups(),
        ),
        Metric::counter("murmuring_store_commits_total", "Commits.", metrics.commits()),
        Metric::counter("murmuring_store_syncs_total", "Syncs to the disk.", metrics.syncs()),
        Metric::histogram(
            "murmuring_store_seconds",
            "From handing a request to the store until its answer.",
            Histogram {
                bounds: &LATENCY_SECONDS,
                counts: latency.counts().to_vec(),
                sum: latency.sum_us() as f64 * 1e-6,
            },
        ),
    ]);
    samples
}

#[cfg(test)]
mod tests {
    use storage::driver::metrics::Latency;

    use super::*;

    #[test]
    fn bounds_agree_with_the_stores_buckets() {
        for (bucket, bound) in LATENCY_SECONDS.iter().enumerate() {
            assert_eq!(Latency::bound_us(bucket).map(|bound_us| bound_us as f64 * 1e-6), Some(*bound));
        }
        assert_eq!(Latency::bound_us(LATENCY_SECONDS.len()), None);
    }
}
