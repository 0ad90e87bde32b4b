//! How large a fleet is, and the calm weather over it.

use std::fmt;
use std::sync::Arc;

use crate::cluster::Scenery;
use crate::random::{Chance, Span};
use crate::tier::Doctor;
use crate::tier::weather::{NodeShape, TierWeather};
use crate::tier::wires::WireWeather;
use crate::weather::{Crowd, Disasters, Distance, Network, Shape, StoreWeather, Tuning, Weather};

use super::rooms::Rooms;

/// How large a fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Gateway nodes, 3 to 1,000: one is lost, one is told to stop.
    pub gateway_nodes: u16,
    /// Router nodes, 3 to 64: one is killed, one drained, one told to stop.
    pub router_nodes: u16,
    /// Cores of a gateway node, 1 to 32.
    pub gateway_cores: u16,
    /// Cores of a router node, 1 to 32.
    pub router_cores: u16,
    /// Clients, 100 to 100,000.
    pub clients: u32,
}

/// Links of a fleet at most: they are what takes memory and time.
pub const LINKS_MAX: u64 = 20_000;
/// Clients for each gateway node at least: one is lost, and some of them must have been there.
pub const CLIENTS_A_GATEWAY_NODE_MIN: u32 = 20;
/// As by default.
const LEASE_MS: u64 = 2_000;

/// Why a fleet can't be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Over [`LINKS_MAX`].
    TooManyLinks {
        /// So many.
        links: u64,
    },
    /// Under [`CLIENTS_A_GATEWAY_NODE_MIN`] a gateway node.
    TooFewClients {
        /// So many are needed.
        least: u32,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLinks { links } => write!(
                f,
                "these nodes have {links} links, of {LINKS_MAX} at most: a link for each core and router node; take fewer nodes or cores"
            ),
            Self::TooFewClients { least } => write!(
                f,
                "so many gateway nodes need at least {least} clients, {CLIENTS_A_GATEWAY_NODE_MIN} each: take more --clients, or fewer --gateway-nodes"
            ),
        }
    }
}

impl FleetSettings {
    /// Whether numbers that are each within their bounds fit together.
    ///
    /// # Errors
    /// What is too large or too small, and its bound.
    ///
    /// # Panics
    /// When a number is outside its own bounds.
    pub fn check(&self) -> Result<(), Unfit> {
        assert!((3..=1_000).contains(&self.gateway_nodes) && (3..=64).contains(&self.router_nodes));
        assert!((1..=32).contains(&self.gateway_cores) && (1..=32).contains(&self.router_cores));
        assert!((100..=100_000).contains(&self.clients));
        let links = self.links();
        if links > LINKS_MAX {
            return Err(Unfit::TooManyLinks { links });
        }
        let least = u32::from(self.gateway_nodes) * CLIENTS_A_GATEWAY_NODE_MIN;
        if self.clients < least {
            return Err(Unfit::TooFewClients { least });
        }
        Ok(())
    }

    /// Links: of each core to each router node that it is not of.
    fn links(&self) -> u64 {
        let nodes = u64::from(self.router_nodes);
        self.gateways() * nodes + self.routers() * (nodes - 1)
    }

    /// How long a router node's lease lasts.
    pub(super) fn lease_ms(&self) -> f64 {
        LEASE_MS as f64
    }

    /// Gateway shards.
    pub(super) fn gateways(&self) -> u64 {
        u64::from(self.gateway_nodes) * u64::from(self.gateway_cores)
    }

    /// Router shards.
    pub(super) fn routers(&self) -> u64 {
        u64::from(self.router_nodes) * u64::from(self.router_cores)
    }

    /// The cluster, before anything happens. Router nodes come first.
    pub(super) fn scenery(&self, rooms: &Rooms) -> Scenery {
        Scenery { weather: self.weather(), town: rooms.town(), doctor: Doctor::None }
    }

    fn weather(&self) -> Weather {
        Weather {
            shape: Shape {
                gateways: self.gateways() as u16,
                routers: 1,
                // Twice what is fair, so that those of a lost node find room wherever they knock.
                slots: (2 * u64::from(self.clients) / self.gateways()) as u32 + 64,
                gateway_mailbox: 4_096,
                router_mailbox: 4_096,
                turn_completions: 256,
                invariants_every: 8_192,
            },
            network: NETWORK,
            store: STORE,
            disasters: Disasters { every_us: None, down_us: Span::new(1, 1) },
            crowd: CROWD,
            tuning: TUNING,
            storm_us: 0,
            tier: Some(self.tier()),
        }
    }

    fn tier(&self) -> TierWeather {
        let router = NodeShape { cores: self.router_cores, has_clients: false, has_routers: true };
        let gateway = NodeShape { cores: self.gateway_cores, has_clients: true, has_routers: false };
        let routers = std::iter::repeat_n(router, self.router_nodes.into());
        let nodes: Arc<[NodeShape]> =
            routers.chain(std::iter::repeat_n(gateway, self.gateway_nodes.into())).collect();
        TierWeather {
            nodes,
            wires: WireWeather {
                delay_us: Span::new(50, 250),
                window_bytes: 256 * 1024,
                split: Chance::NEVER,
                short: Chance::NEVER,
                dial_lost: Chance::NEVER,
            },
            fault_us: None,
            mend_us: Span::new(2_000_000, 3_000_000),
            order_us: None,
            lease_ms: LEASE_MS,
            patience_ms: 6_000,
            skew_ms: 0,
            drift_ppm: 0,
            storm_us: 0,
            embedded: false,
        }
    }
}

const NETWORK: Network = Network {
    delay_us: Span::new(1_000, 10_000),
    turn_us: Span::new(10, 50),
    buffer_bytes: 4_096,
    window_bytes: 64 * 1024,
    receive_split: Chance::NEVER,
    buffers_exhausted: Chance::NEVER,
    send_short: Chance::NEVER,
    reset: Chance::NEVER,
    vanish: Chance::NEVER,
    half_close: Chance::NEVER,
    slow_reader: Chance::NEVER,
    mailbox_refuses: Chance::NEVER,
};

/// A cluster of its own, with the times of FoundationDB in one place.
const STORE: StoreWeather = StoreWeather {
    queue: 1 << 20,
    parallel: 1 << 16,
    read_us: Span::new(300, 1_500),
    commit_us: Span::new(1_500, 5_000),
    sync_us: Span::new(1_000, 1_000),
    unavailable: Chance::NEVER,
    conflict: Chance::NEVER,
    unknown: Chance::NEVER,
    too_old: Chance::NEVER,
    queue_refuses: Chance::NEVER,
    external: true,
    distance: Distance {
        late: Chance::NEVER,
        late_us: Span::new(1, 1),
        gives_up: Chance::NEVER,
        silence_every_us: None,
        silence_us: Span::new(1, 1),
        patience_us: Span::new(1_500_000, 1_500_000),
    },
};

const CROWD: Crowd = Crowd {
    users: 0,
    conversations: 0,
    pace_us: Span::new(500_000, 1_500_000),
    body_bytes: Span::new(100, 200),
    change_us: Span::new(1_000_000, 1_000_000),
    slow_us: Span::new(1, 1),
    gives_up: Chance::NEVER,
    coming_us: None,
    is_orderly: true,
};

/// As by default.
const TUNING: Tuning = Tuning {
    heartbeat_ms: 30_000,
    outbox_bytes: 256 * 1024,
    lag_events_max: 100_000,
    large_members: 100,
    held_members_min: 8,
};

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: FleetSettings = FleetSettings {
        seed: 1,
        gateway_nodes: 400,
        router_nodes: 12,
        gateway_cores: 4,
        router_cores: 4,
        clients: 8_000,
    };

    #[test]
    fn a_fleet_has_so_many_links_and_no_more() {
        assert_eq!(LARGE.links(), 400 * 4 * 12 + 48 * 11);
        assert_eq!(LARGE.check(), Ok(()));
        let larger = FleetSettings { gateway_nodes: 405, clients: 8_100, ..LARGE };
        assert_eq!(larger.links(), 19_968);
        assert_eq!(larger.check(), Ok(()));
        let too_large = FleetSettings { gateway_nodes: 406, clients: 8_120, ..LARGE };
        assert_eq!(too_large.check(), Err(Unfit::TooManyLinks { links: 20_016 }));
    }

    #[test]
    fn every_gateway_node_has_clients() {
        let few = FleetSettings { clients: 7_999, ..LARGE };
        assert_eq!(few.check(), Err(Unfit::TooFewClients { least: 8_000 }));
    }
}
