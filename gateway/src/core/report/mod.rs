//! What a core's two shards, links, ring and mailboxes have counted, as the samples of `/metrics`. Counts nothing itself.

mod gateway_shard;
mod keeper;
mod links;
mod router_shard;

use api::metrics::{Histogram, Metric, Source, powers_of_two};

use super::Parts;

/// Upper bounds of the shards' histograms.
const BOUNDS: usize = router::HISTOGRAM_BUCKETS - 1;
static COUNTS: [f64; BOUNDS] = powers_of_two(1.0);
static MS_AS_SECONDS: [f64; BOUNDS] = powers_of_two(1e-3);
static US_AS_SECONDS: [f64; BOUNDS] = powers_of_two(1e-6);

/// Publishes the core's samples in place of its last ones.
pub(super) fn publish(parts: &Parts) {
    let mut samples = Vec::with_capacity(256);
    gateway_shard::push(&mut samples, parts.gateway.counters());
    router_shard::push(&mut samples, parts.router.counters());
    ring(&mut samples, parts.ring.counters());
    if let Some(of_core) = &parts.links {
        links::push(&mut samples, of_core.counters(), &of_core.gauges());
    }
    if let Some(keeping) = &parts.keeping {
        keeper::push(&mut samples, keeping.counters());
    }
    let epoch = parts.router.table_epoch().0;
    samples.push(gauge("murmuring_table_epoch", "The placement table that the shard follows.", epoch));
    for (mailbox, depth) in ["gateway", "router", "outcomes", "links"].into_iter().zip(parts.inbox.depths()) {
        let depth = Metric::gauge("murmuring_mailbox_depth", "Items waiting in a mailbox.", depth as f64);
        samples.push(depth.with_label("mailbox", mailbox));
    }
    parts.metrics.publish(Source::Shard(parts.number), samples);
}

fn ring(samples: &mut Vec<Metric>, counters: ring::Counters) {
    let ring::Counters {
        enters,
        accepted,
        accepts_exhausted,
        received_bytes,
        sent_bytes,
        sends_blocked,
        buffer_waits,
        wakes,
    } = counters;
    samples.extend([
        counter("murmuring_ring_enters_total", "System calls of the ring.", enters),
        counter("murmuring_ring_wakes_total", "Wakes by other threads.", wakes),
        counter("murmuring_ring_accepted_total", "Sockets accepted, of clients and of links.", accepted),
        counter("murmuring_ring_received_bytes_total", "Bytes received.", received_bytes),
        counter("murmuring_ring_sent_bytes_total", "Bytes that the kernel took to send.", sent_bytes),
        counter("murmuring_ring_sends_blocked_total", "Sends that had to wait for room.", sends_blocked),
        counter(
            "murmuring_ring_buffer_waits_total",
            "Times that a socket had to wait for a receive buffer.",
            buffer_waits,
        ),
        counter(
            "murmuring_accepts_exhausted_total",
            "Accepts that failed because the host had no file or memory left.",
            accepts_exhausted,
        ),
    ]);
}

const fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric::counter(name, help, value)
}

const fn gauge(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric::gauge(name, help, value as f64)
}

fn of_shard(histogram: &router::Histogram, bounds: &'static [f64], unit: f64) -> Histogram {
    Histogram { bounds, counts: histogram.buckets.to_vec(), sum: histogram.sum as f64 * unit }
}

#[cfg(test)]
mod tests {
    use api::metrics::Value;

    use super::*;

    #[test]
    fn bounds_agree_with_the_shards_buckets() {
        for (bucket, bound) in COUNTS.iter().enumerate() {
            assert_eq!(router::Histogram::upper_bound(bucket).map(|upper| upper as f64), Some(*bound));
        }
        assert_eq!(router::Histogram::upper_bound(BOUNDS), None);
    }

    /// One that holds `count` values.
    pub(super) fn histogram(count: u64) -> router::Histogram {
        let mut histogram = router::Histogram::default();
        histogram.buckets[0] = count;
        histogram
    }

    /// Asserts that each number from 1 to `last`, each of which was given to one counter, is a sample's.
    pub(super) fn assert_exported(samples: &[Metric], last: u64) {
        let number = |metric: &Metric| match &metric.value {
            Value::Counter(count) => *count,
            Value::Gauge(gauge) => *gauge as u64,
            Value::Histogram(histogram) => histogram.counts[0],
        };
        for expected in 1..=last {
            assert!(
                samples.iter().any(|metric| number(metric) == expected),
                "counter {expected} is not exported"
            );
        }
        for metric in samples {
            let is_counter = matches!(metric.value, Value::Counter(_));
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        }
    }
}
