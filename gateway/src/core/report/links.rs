//! What the links of a core have counted.

use api::metrics::Metric;

use super::{counter, gauge};
use crate::core::links::Gauges;
use crate::link::Counters;

/// Appends a sample, or one a label, for everything that the links of a core count and have.
pub(super) fn push(samples: &mut Vec<Metric>, counters: &Counters, gauges: &Gauges) {
    have(samples, gauges);
    samples.extend([
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
    went(samples, counters);
    for (reason, count) in counters.refused() {
        let refused = counter("murmuring_link_refusals_total", "Handshakes that came to nothing.", count);
        samples.push(refused.with_label("reason", reason));
    }
    for (reason, count) in counters.ended() {
        let ended = counter("murmuring_link_ends_total", "Links that ended.", count);
        samples.push(ended.with_label("reason", reason));
    }
}

fn have(samples: &mut Vec<Metric>, gauges: &Gauges) {
    let Gauges { routers, gateways, unproved, paused, held, unsent_bytes } = *gauges;
    samples.extend([
        gauge("murmuring_links_to_routers", "Router nodes linked now.", routers),
        gauge("murmuring_links_of_gateways", "Links of other nodes' cores now.", gateways),
        gauge("murmuring_links_unproved", "Links whose peer has not proved itself, now.", unproved),
        gauge("murmuring_links_paused", "Links that are not read now.", paused),
        gauge("murmuring_link_held", "Envelopes waiting for room in a link now.", held),
        gauge(
            "murmuring_link_unsent_bytes",
            "Bytes in links that sockets have not taken, now.",
            unsent_bytes,
        ),
    ]);
}

fn went(samples: &mut Vec<Metric>, counters: &Counters) {
    for (direction, traffic) in [("in", &counters.incoming), ("out", &counters.outgoing)] {
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
        let others = [
            counter("murmuring_link_bytes_total", "Bytes over links.", traffic.bytes),
            counter("murmuring_link_pings_total", "Pings among the links' own frames.", traffic.pings),
            counter("murmuring_link_tables_total", "Tables among the links' own frames.", traffic.tables),
        ];
        samples.extend(others.into_iter().map(|other| other.with_label("direction", direction)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_exported;
    use super::*;
    use crate::link::Traffic;

    #[test]
    fn every_counter_is_exported() {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let traffic = |next: &mut dyn FnMut() -> u64| {
            let publishes = next();
            Traffic {
                bytes: next(),
                to_router: next(),
                to_gateway: publishes + next(),
                publishes,
                control: next(),
                pings: next(),
                tables: next(),
            }
        };
        let counters = Counters {
            incoming: traffic(&mut next),
            outgoing: traffic(&mut next),
            ready: next(),
            sends: next(),
            full: next(),
            too_large: next(),
            pauses: next(),
            refused: std::array::from_fn(|_| next()),
            ended: std::array::from_fn(|_| next()),
        };
        let gauges = Gauges {
            routers: next(),
            gateways: next(),
            unproved: next(),
            paused: next(),
            held: next(),
            unsent_bytes: next(),
        };
        let mut samples = Vec::new();
        push(&mut samples, &counters, &gauges);
        assert_exported(&samples, last);
    }
}
