//! What crossed the links between the nodes of a cluster, from their own counters. Each envelope is counted where it is
//! sent: the sum over all nodes has each once.

use super::Metrics;

/// What nodes sent each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Links {
    /// Envelopes with events of a conversation: one a gateway shard with members, however many members there are; messages
    /// that were stored together share it, so that there can be fewer than messages.
    pub publishes: f64,
    /// Envelopes that answer a request.
    pub answers: f64,
    /// Envelopes from gateways and APIs to owners.
    pub requests: f64,
    /// Frames of the links' own: pings, tables.
    pub control: f64,
    /// Bytes of everything, frames' heads included.
    pub bytes: f64,
    /// Sends of sockets.
    pub sends: f64,
}

impl Links {
    /// Of counters that grew so much; `None` when nothing crossed a link, as in a server of one process.
    #[must_use]
    pub fn of(metrics: &Metrics) -> Option<Self> {
        let envelopes = |kind| {
            metrics.sum_with("murmuring_link_envelopes_total", &[("direction", "out"), ("kind", kind)])
        };
        let links = Self {
            publishes: envelopes("publish"),
            answers: envelopes("answer"),
            requests: envelopes("request"),
            control: envelopes("control"),
            bytes: metrics.sum_of("murmuring_link_bytes_total", "direction", "out"),
            sends: metrics.sum("murmuring_link_sends_total"),
        };
        (links.bytes > 0.0).then_some(links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_that_one_node_sends_and_another_receives_is_one() {
        let mut metrics = Metrics::parse(
            "murmuring_link_envelopes_total{shard=\"0\",direction=\"out\",kind=\"publish\"} 3\n\
             murmuring_link_envelopes_total{shard=\"0\",direction=\"in\",kind=\"request\"} 2\n\
             murmuring_link_bytes_total{shard=\"0\",direction=\"out\"} 300\n\
             murmuring_link_bytes_total{shard=\"0\",direction=\"in\"} 20\n",
        );
        metrics.add(&Metrics::parse(
            "murmuring_link_envelopes_total{shard=\"0\",direction=\"in\",kind=\"publish\"} 3\n\
             murmuring_link_envelopes_total{shard=\"0\",direction=\"out\",kind=\"request\"} 2\n\
             murmuring_link_bytes_total{shard=\"0\",direction=\"out\"} 20\n\
             murmuring_link_bytes_total{shard=\"0\",direction=\"in\"} 300\n\
             murmuring_link_sends_total{shard=\"0\"} 4\n",
        ));
        let links = Links { publishes: 3.0, requests: 2.0, bytes: 320.0, sends: 4.0, ..Links::default() };
        assert_eq!(Links::of(&metrics), Some(links));
    }

    #[test]
    fn a_server_of_one_process_has_none() {
        assert_eq!(Links::of(&Metrics::parse("murmuring_link_bytes_total{direction=\"out\"} 0\n")), None);
    }
}
