//! The shape of a cluster and what hits it, drawn from the seed.

use std::sync::Arc;

use super::wires::WireWeather;
use crate::random::{Chance, Random, Span};

/// What a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeShape {
    /// Cores.
    pub(crate) cores: u16,
    /// It accepts clients.
    pub(crate) has_clients: bool,
    /// It owns conversations and users.
    pub(crate) has_routers: bool,
}

/// A cluster, and how rough it is.
#[derive(Clone, Debug)]
pub(crate) struct TierWeather {
    /// Its nodes.
    pub(crate) nodes: Arc<[NodeShape]>,
    /// The network between them.
    pub(crate) wires: WireWeather,
    /// From one fault to the next, microseconds; `None`: none in this run.
    pub(crate) fault_us: Option<Span>,
    /// How long what a fault broke stays so, microseconds.
    pub(crate) mend_us: Span,
    /// From one order of an operator to the next, microseconds; `None`: none in this run.
    pub(crate) order_us: Option<Span>,
    /// A router node counts as gone when its lease stood still for so long, milliseconds.
    pub(crate) lease_ms: u64,
    /// A request is refused when nobody answered for so long, milliseconds.
    pub(crate) patience_ms: u32,
    /// Clocks of nodes differ by up to so much, milliseconds, and go faster or slower by so many millionths.
    pub(crate) skew_ms: u64,
    /// As above.
    pub(crate) drift_ppm: u64,
    /// How long the storm lasts, microseconds.
    pub(crate) storm_us: u64,
    /// The router node has the store to itself, in its own process.
    pub(crate) embedded: bool,
}

impl TierWeather {
    /// A cluster, of a source of chance of its own: what a lone server's run draws does not depend on it.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let nodes = draw_nodes(random);
        let routers = nodes.iter().filter(|node| node.has_routers).count();
        let (rough, ordered) = (random.below(4) > 0, random.coin());
        Self {
            nodes,
            wires: WireWeather {
                delay_us: random.draw_span(10, 50_000),
                window_bytes: random.within(Span::new(4_096, 262_144)) as usize,
                split: random.draw_chance(100, 3_000),
                short: random.draw_chance(100, 3_000),
                dial_lost: random.draw_chance(100, 2_000),
            },
            fault_us: rough.then(|| random.draw_span(300_000, 6_000_000)),
            mend_us: random.draw_span(10_000, 8_000_000),
            order_us: ordered.then(|| random.draw_span(100_000, 3_000_000)),
            lease_ms: random.within(Span::new(800, 2_500)),
            patience_ms: random.within(Span::new(2_000, 6_000)) as u32,
            skew_ms: random.draw_span(1, 5_000).high,
            drift_ppm: random.draw_span(1, 10_000).high,
            storm_us: random.within(Span::new(6_000_000, 16_000_000)),
            embedded: routers == 1 && random.coin(),
        }
    }

    /// The same cluster without faults.
    pub(crate) fn calm(&mut self) {
        for chance in [&mut self.wires.split, &mut self.wires.short, &mut self.wires.dial_lost] {
            *chance = Chance::NEVER;
        }
        self.fault_us = None;
        self.order_us = None;
    }
}

fn draw_nodes(random: &mut Random) -> Arc<[NodeShape]> {
    let routers = random.within(Span::new(1, 3)) as usize;
    let gateways = random.within(Span::new(1, 4)) as usize;
    // Nodes that are both, in some clusters.
    let both = if random.below(3) == 0 { random.within(Span::new(1, routers as u64)) as usize } else { 0 };
    let draw_node = |index| NodeShape {
        cores: random.within(Span::new(1, 2)) as u16,
        has_routers: index < routers,
        has_clients: index < both || index >= routers,
    };
    let mut nodes: Vec<NodeShape> = (0..routers + gateways).map(draw_node).collect();
    if both > 0 && random.coin() {
        nodes.truncate(routers);
    }
    nodes.into()
}
