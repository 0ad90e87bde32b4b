//! What a core's two shards, ring and mailboxes have counted, as the samples of `/metrics`. Counts nothing itself.

use api::metrics::{Histogram, Metric, Source, powers_of_two};
use protocol::error::ErrorCode;

use super::{Links, Parts};
use crate::shard;

/// Upper bounds of the shards' histograms.
const BOUNDS: usize = router::HISTOGRAM_BUCKETS - 1;
static COUNTS: [f64; BOUNDS] = powers_of_two(1.0);
static MS_AS_SECONDS: [f64; BOUNDS] = powers_of_two(1e-3);
static US_AS_SECONDS: [f64; BOUNDS] = powers_of_two(1e-6);

/// Publishes the core's samples in place of its last ones.
pub(super) fn publish(parts: &Parts, depths: [usize; 3]) {
    let mut samples = Vec::with_capacity(128);
    connections(&mut samples, parts.gateway.counters());
    messages(&mut samples, parts.gateway.counters());
    refusals(&mut samples, parts.gateway.counters());
    conversations(&mut samples, parts.router.counters());
    store(&mut samples, parts.router.counters());
    ring(&mut samples, parts.ring.counters());
    if let Some(of_core) = &parts.links {
        links(&mut samples, of_core);
    }
    for (mailbox, depth) in ["gateway", "router", "outcomes"].into_iter().zip(depths) {
        let depth = Metric::gauge("murmuring_mailbox_depth", "Items waiting in a mailbox.", depth as f64);
        samples.push(depth.with_label("mailbox", mailbox));
    }
    parts.metrics.publish(Source::Shard(parts.number), samples);
}

fn connections(samples: &mut Vec<Metric>, counters: &shard::Counters) {
    samples.extend([
        gauge("murmuring_connections", "Sockets of clients now.", counters.connections),
        gauge("murmuring_sessions", "Sessions now: connections with a user.", counters.sessions),
        gauge("murmuring_rooms", "Conversations with a member connected here now.", counters.rooms),
        gauge("murmuring_attachments", "Memberships of connections in rooms now.", counters.attachments),
        gauge("murmuring_outbox_bytes", "Bytes waiting for clients now.", counters.outbox_bytes),
        gauge("murmuring_input_bytes", "Bytes of unfinished frames now.", counters.input_bytes),
        counter("murmuring_accepted_total", "Sockets accepted.", counters.accepted),
        counter("murmuring_upgrades_total", "Upgrades to WebSocket.", counters.upgrades),
        counter(
            "murmuring_upgrades_refused_total",
            "Requests answered without an upgrade.",
            counters.upgrades_refused,
        ),
        counter("murmuring_tokens_refused_total", "Tokens and tickets refused.", counters.tokens_refused),
        counter("murmuring_pings_total", "Heartbeats sent.", counters.pings),
    ]);
}

fn messages(samples: &mut Vec<Metric>, counters: &shard::Counters) {
    let pulls = "Pulls of missed events from the log.";
    samples.extend([
        counter("murmuring_received_bytes_total", "Bytes received from clients.", counters.bytes_in),
        counter("murmuring_sent_bytes_total", "Bytes sent to clients.", counters.bytes_out),
        counter("murmuring_received_frames_total", "WebSocket frames received.", counters.frames_in),
        counter("murmuring_sent_packets_total", "Packets put into outboxes.", counters.packets_out),
        counter("murmuring_sends_total", "Sends, edits, deletions and reactions taken.", counters.sends),
        counter("murmuring_signals_total", "Ephemeral sends taken.", counters.signals),
        counter("murmuring_acks_total", "Acks sent.", counters.acks),
        counter(
            "murmuring_deliveries_total",
            "Events put into outboxes, one a receiver.",
            counters.deliveries,
        ),
        counter("murmuring_lags_total", "Full outboxes that turned to the log.", counters.lags),
        counter("murmuring_lag_jumps_total", "Connections too far behind the log.", counters.lag_jumps),
        counter("murmuring_pulls_total", pulls, counters.backlog_pulls).with_label("of", "connection"),
        counter("murmuring_pulls_total", pulls, counters.room_pulls).with_label("of", "room"),
        counter(
            "murmuring_outbox_ephemeral_dropped_total",
            "Ephemeral frames dropped at a filled outbox.",
            counters.ephemeral_dropped,
        ),
        Metric::histogram(
            "murmuring_fan_out",
            "Members of a shard reached by one event.",
            of_shard(&counters.fan_out, &COUNTS, 1.0),
        ),
        Metric::histogram(
            "murmuring_delivery_seconds",
            "From an event's time to its delivery into outboxes.",
            of_shard(&counters.delivery_ms, &MS_AS_SECONDS, 1e-3),
        ),
    ]);
}

fn refusals(samples: &mut Vec<Metric>, counters: &shard::Counters) {
    samples.push(counter(
        "murmuring_rate_limited_total",
        "Frames refused over a rate.",
        counters.rate_limited,
    ));
    samples.push(counter(
        "murmuring_router_full_total",
        "Envelopes that a router shard's full mailbox gave back.",
        counters.router_full,
    ));
    for (code, count) in counters.close_codes() {
        let closes = counter("murmuring_closes_total", "Close frames sent.", count);
        samples.push(closes.with_label("code", code.0.to_string()));
    }
    for code in ErrorCode::ALL {
        let errors = counter("murmuring_errors_total", "Error frames sent.", counters.errors(code));
        samples.push(errors.with_label("code", code.name()));
    }
}

fn conversations(samples: &mut Vec<Metric>, counters: &router::Counters) {
    samples.extend([
        gauge("murmuring_router_conversations", "Conversations in memory now.", counters.conversations),
        gauge("murmuring_router_sessions", "Sessions registered now.", counters.sessions),
        gauge("murmuring_router_watched", "Users watched for presence now.", counters.watched),
        gauge("murmuring_router_waiting", "Requests waiting for a load now.", counters.waiting),
        gauge("murmuring_router_returned", "Envelopes waiting for a full mailbox now.", counters.returned),
        counter("murmuring_router_refused_total", "Requests refused.", counters.refused),
        counter(
            "murmuring_router_unavailable_total",
            "Requests refused as unavailable.",
            counters.unavailable,
        ),
        counter("murmuring_router_strangers_total", "Requests of strangers.", counters.strangers),
        counter("murmuring_publishes_total", "Publishes to gateway shards.", counters.publishes),
        counter(
            "murmuring_publishes_missed_total",
            "Publishes that a full mailbox gave back.",
            counters.publishes_missed,
        ),
        counter("murmuring_heads_total", "Heads sent in place of missed publishes.", counters.heads),
        counter(
            "murmuring_router_ephemeral_dropped_total",
            "Ephemeral envelopes dropped.",
            counters.ephemeral_dropped,
        ),
        counter(
            "murmuring_router_returned_total",
            "Required envelopes that a full mailbox gave back.",
            counters.required_returned,
        ),
        Metric::histogram(
            "murmuring_publish_gateways",
            "Gateway shards that a publish goes to.",
            of_shard(&counters.fan_out, &COUNTS, 1.0),
        ),
    ]);
}

fn store(samples: &mut Vec<Metric>, counters: &router::Counters) {
    let pages = "Pages of history answered.";
    samples.extend([
        gauge("murmuring_store_requests", "Store requests under way now.", counters.store_requests),
        counter("murmuring_appends_total", "Events asked to be stored.", counters.appends),
        counter("murmuring_stored_total", "Events stored.", counters.stored),
        counter("murmuring_duplicates_total", "Events that had been stored before.", counters.duplicates),
        counter("murmuring_commits_failed_total", "Transactions that failed.", counters.commits_failed),
        counter("murmuring_catch_ups_total", "Logs read again after an unknown commit.", counters.catch_ups),
        counter("murmuring_loads_total", "Conversations loaded.", counters.loads),
        counter("murmuring_pages_total", pages, counters.pages_recent).with_label("from", "memory"),
        counter("murmuring_pages_total", pages, counters.pages_stored).with_label("from", "store"),
        counter(
            "murmuring_store_full_total",
            "Requests that the store's queue gave back.",
            counters.store_full,
        ),
        counter("murmuring_marks_total", "Read and received cursors stored.", counters.marks),
        counter("murmuring_marks_dropped_total", "Cursors dropped over a bound.", counters.marks_dropped),
        Metric::histogram(
            "murmuring_commit_seconds",
            "From handing a transaction to the store until its answer.",
            of_shard(&counters.commit_us, &US_AS_SECONDS, 1e-6),
        ),
        Metric::histogram(
            "murmuring_batch_events",
            "Events of a transaction.",
            of_shard(&counters.batch_events, &COUNTS, 1.0),
        ),
    ]);
}

fn links(samples: &mut Vec<Metric>, links: &Links) {
    let (counters, (routers, gateways)) = (links.counters(), links.counts());
    samples.extend([
        gauge("murmuring_links_to_routers", "Router nodes linked now.", routers as u64),
        gauge("murmuring_links_of_gateways", "Links of other nodes' cores now.", gateways as u64),
        counter("murmuring_links_total", "Links that came about.", counters.ready),
        counter("murmuring_link_sends_total", "Sends of links.", counters.sends),
        counter("murmuring_link_full_total", "Envelopes that a full link gave back.", counters.full),
        counter("murmuring_link_too_large_total", "Envelopes that fit no frame.", counters.too_large),
        counter(
            "murmuring_link_pauses_total",
            "Times that a link was not read for a while.",
            counters.pauses,
        ),
    ]);
    for (direction, traffic) in [("in", &counters.incoming), ("out", &counters.outgoing)] {
        let bytes = counter("murmuring_link_bytes_total", "Bytes over links.", traffic.bytes);
        samples.push(bytes.with_label("direction", direction));
        let kinds = [
            ("request", traffic.to_router),
            ("publish", traffic.publishes),
            ("answer", traffic.to_gateway - traffic.publishes),
            ("control", traffic.control),
        ];
        for (kind, count) in kinds {
            let help = "Envelopes over links, and frames of the links' own (control).";
            let frames = counter("murmuring_link_envelopes_total", help, count);
            samples.push(frames.with_label("direction", direction).with_label("kind", kind));
        }
    }
    for (reason, count) in counters.refused() {
        let refused = counter("murmuring_link_refusals_total", "Handshakes that came to nothing.", count);
        samples.push(refused.with_label("reason", reason));
    }
    for (reason, count) in counters.ended() {
        let ended = counter("murmuring_link_ends_total", "Links that ended.", count);
        samples.push(ended.with_label("reason", reason));
    }
}

fn ring(samples: &mut Vec<Metric>, counters: ring::Counters) {
    samples.extend([
        counter("murmuring_ring_enters_total", "System calls of the ring.", counters.enters),
        counter("murmuring_ring_wakes_total", "Wakes by other threads.", counters.wakes),
        counter(
            "murmuring_ring_buffer_waits_total",
            "Times that a socket had to wait for a receive buffer.",
            counters.buffer_waits,
        ),
        counter(
            "murmuring_accepts_exhausted_total",
            "Accepts that failed because the host had no file or memory left.",
            counters.accepts_exhausted,
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
    use super::*;

    #[test]
    fn bounds_agree_with_the_shards_buckets() {
        for (bucket, bound) in COUNTS.iter().enumerate() {
            assert_eq!(router::Histogram::upper_bound(bucket).map(|upper| upper as f64), Some(*bound));
        }
        assert_eq!(router::Histogram::upper_bound(BOUNDS), None);
    }
}
