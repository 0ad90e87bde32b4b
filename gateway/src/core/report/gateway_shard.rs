//! What a gateway shard has counted.

use api::metrics::Metric;
use protocol::error::ErrorCode;

use super::{COUNTS, MS_AS_SECONDS, counter, gauge, of_shard};
use crate::shard::Counters;

/// Appends a sample, or one a label, for each of the shard's counters.
pub(super) fn push(samples: &mut Vec<Metric>, counters: &Counters) {
    connections(samples, counters);
    messages(samples, counters);
    refusals(samples, counters);
    requests(samples, counters);
}

fn connections(samples: &mut Vec<Metric>, counters: &Counters) {
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

fn messages(samples: &mut Vec<Metric>, counters: &Counters) {
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

fn refusals(samples: &mut Vec<Metric>, counters: &Counters) {
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

/// What a gateway shard of a cluster keeps and asks again.
fn requests(samples: &mut Vec<Metric>, counters: &Counters) {
    samples.extend([
        gauge("murmuring_requests_kept", "Requests kept until they are answered, now.", counters.requests),
        counter(
            "murmuring_requests_asked_again_total",
            "Requests asked again of whoever has their slot by then.",
            counters.reasked,
        ),
        counter(
            "murmuring_requests_misplaced_total",
            "Answers that the owner asked is none.",
            counters.misplaced,
        ),
        counter(
            "murmuring_requests_given_up_total",
            "Requests refused since no owner answered in time, or too many waited for it.",
            counters.patience_over,
        ),
        counter(
            "murmuring_answers_late_total",
            "Answers to requests that were answered, or asked again, already.",
            counters.late_answers,
        ),
        counter(
            "murmuring_announced_total",
            "Rooms, sessions and watches told to an owner that did not know of them.",
            counters.announced,
        ),
    ]);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_exported, histogram};
    use super::*;

    #[test]
    fn every_counter_is_exported() {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let counters = Counters {
            accepted: next(),
            connections: next(),
            sessions: next(),
            upgrades: next(),
            upgrades_refused: next(),
            tokens_refused: next(),
            bytes_in: next(),
            bytes_out: next(),
            frames_in: next(),
            packets_out: next(),
            sends: next(),
            signals: next(),
            acks: next(),
            deliveries: next(),
            fan_out: histogram(next()),
            delivery_ms: histogram(next()),
            lags: next(),
            lag_jumps: next(),
            backlog_pulls: next(),
            room_pulls: next(),
            ephemeral_dropped: next(),
            rate_limited: next(),
            router_full: next(),
            requests: next(),
            reasked: next(),
            misplaced: next(),
            patience_over: next(),
            late_answers: next(),
            announced: next(),
            pings: next(),
            rooms: next(),
            attachments: next(),
            outbox_bytes: next(),
            input_bytes: next(),
            closes: std::array::from_fn(|_| next()),
            errors: std::array::from_fn(|_| next()),
        };
        let mut samples = Vec::new();
        push(&mut samples, &counters);
        assert_exported(&samples, last);
    }
}
