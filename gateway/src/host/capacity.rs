//! From users to nodes: what a fleet of nodes carries a second, how much of a node's memory, CPUs and network that is,
//! and which of them ends first. Arithmetic alone: every figure that has to be measured is handed in.

use super::memory;

/// Bytes of a heartbeat in both directions: a ping and a pong of a few bytes, each with its headers, and two bare
/// acknowledgements (Ethernet 18, IPv4 20, TCP with timestamps 32).
const HEARTBEAT_BYTES: f64 = 4.0 * 70.0 + 2.0 * 10.0;
/// Bytes of headers that a packet with a message has, and of the acknowledgement that comes back.
const HEADERS_BYTES: f64 = 140.0;

/// What users do, and what they do it with.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Users connected at once, a connection each.
    pub users: f64,
    /// Nodes.
    pub nodes: f64,
    /// Nodes that may be away while the others carry all.
    pub spare: f64,
    /// Messages a user sends an hour, at the busiest time.
    pub sends_an_hour: f64,
    /// Connected members that each message reaches.
    pub receivers: f64,
    /// Bytes of a message in a packet.
    pub message_bytes: f64,
    /// Seconds between heartbeats.
    pub heartbeat_s: f64,
    /// Seconds within which the users of a lost node are back.
    pub reconnect_s: f64,
}

/// What a node has.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// CPUs.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory_bytes: f64,
    /// Bits a second of its network in one direction.
    pub network_bits: f64,
}

/// Figures of the load generator's scenarios on such a node; `None` where nobody measured yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// CPU µs a connection-second with heartbeats: `idle`.
    pub connection_us: Option<f64>,
    /// CPU µs a delivery: `rooms`.
    pub delivery_us: Option<f64>,
    /// CPU µs a stored message: `durable`.
    pub send_us: Option<f64>,
    /// CPU µs an upgrade with a ticket: `storm`.
    pub upgrade_us: Option<f64>,
    /// Stored messages a second that a node's disk takes: `durable`.
    pub sends_a_second: Option<f64>,
}

/// One thing that a node has only so much of.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// What.
    pub what: &'static str,
    /// How much of it is taken, 1 for all; `None` when a figure for it is not measured.
    pub taken: Option<f64>,
    /// How much that is, in words.
    pub words: String,
    /// The scenario whose figure it rests on, when it rests on one.
    pub scenario: Option<&'static str>,
}

/// What each node carries while the spare ones are away.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// Connections.
    pub connections: f64,
    /// Messages stored a second.
    pub sends: f64,
    /// Messages handed to connections a second.
    pub deliveries: f64,
    /// Heartbeats a second.
    pub heartbeats: f64,
    /// Upgrades a second while the users of a lost node come back.
    pub upgrades: f64,
}

/// What each node carries.
#[must_use]
pub fn carried(load: &Load) -> Carried {
    let nodes = (load.nodes - load.spare).max(1.0);
    let connections = load.users / nodes;
    let sends = connections * load.sends_an_hour / 3_600.0;
    Carried {
        connections,
        sends,
        deliveries: sends * load.receivers,
        heartbeats: connections / load.heartbeat_s,
        upgrades: load.users / load.nodes / nodes / load.reconnect_s,
    }
}

/// What is taken of each thing that a node has, the one that ends first at the front, unknown ones behind.
#[must_use]
pub fn shares(load: &Load, node: &Node, measured: &Measured) -> Vec<Share> {
    let carried = carried(load);
    let mut shares = vec![idle(&carried, node), burst(&carried, node), network(load, &carried, node)];
    shares.extend(processors(&carried, node, measured));
    let disk = measured.sends_a_second.map(|most| carried.sends / most);
    let words = format!("{:.0} messages stored a second", carried.sends);
    shares.push(Share { what: "disk", taken: disk, words, scenario: Some("durable") });
    shares.sort_by(|one, other| other.taken.unwrap_or(-1.0).total_cmp(&one.taken.unwrap_or(-1.0)));
    shares
}

fn idle(carried: &Carried, node: &Node) -> Share {
    let bytes = carried.connections * (memory::KERNEL_SOCKET_BYTES + memory::SESSION_BYTES) as f64;
    let words = format!("{:.1} GB for idle connections, kernel and process", bytes / 1e9);
    Share { what: "memory, idle", taken: Some(bytes / node.memory_bytes), words, scenario: None }
}

fn burst(carried: &Carried, node: &Node) -> Share {
    let socket = memory::KERNEL_SOCKET_BYTES + memory::SESSION_BYTES + memory::BUSY_SOCKET_BYTES;
    let bytes = carried.connections * socket as f64;
    let words = format!("{:.1} GB while every client has something unread", bytes / 1e9);
    Share { what: "memory, burst", taken: Some(bytes / node.memory_bytes), words, scenario: None }
}

fn network(load: &Load, carried: &Carried, node: &Node) -> Share {
    let messages = carried.deliveries * (load.message_bytes + HEADERS_BYTES);
    let bits = (messages + carried.heartbeats * HEARTBEAT_BYTES) * 8.0;
    let words = format!("{:.2} Gbit/s out", bits / 1e9);
    Share { what: "network", taken: Some(bits / node.network_bits), words, scenario: None }
}

/// CPU, by what it is spent on: the sum of those known is what a node must have.
fn processors(carried: &Carried, node: &Node, measured: &Measured) -> [Share; 4] {
    let of = |what, rate: f64, unit, cost: Option<f64>, scenario| {
        let seconds = cost.map(|us| rate * us / 1e6);
        let cost = cost.map_or_else(|| "not measured".to_owned(), |us| format!("{us} µs"));
        let words = format!("{rate:.0} {unit} a second, {cost} each");
        Share { what, taken: seconds.map(|seconds| seconds / node.cpus), words, scenario: Some(scenario) }
    };
    [
        of("CPU, idle", carried.connections, "connection-seconds", measured.connection_us, "idle"),
        of("CPU, deliveries", carried.deliveries, "deliveries", measured.delivery_us, "rooms"),
        of("CPU, sends", carried.sends, "messages", measured.send_us, "durable"),
        of("CPU, a lost node", carried.upgrades, "upgrades", measured.upgrade_us, "storm"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        users: 10e6,
        nodes: 11.0,
        spare: 1.0,
        sends_an_hour: 36.0,
        receivers: 10.0,
        message_bytes: 360.0,
        heartbeat_s: 25.0,
        reconnect_s: 100.0,
    };
    const NODE: Node = Node { cpus: 10.0, memory_bytes: 64e9, network_bits: 10e9 };

    #[test]
    fn the_nodes_that_are_left_carry_everything() {
        let carried = carried(&LOAD);
        assert_eq!((carried.connections, carried.sends, carried.deliveries), (1e6, 1e4, 1e5));
        assert_eq!((carried.heartbeats, carried.upgrades.round()), (4e4, 909.0));
    }

    #[test]
    fn what_ends_first_is_at_the_front_and_what_nobody_measured_at_the_end() {
        let measured = Measured { delivery_us: Some(200.0), ..Measured::default() };
        let shares = shares(&LOAD, &NODE, &measured);
        assert_eq!((shares[0].what, shares[0].taken), ("CPU, deliveries", Some(2.0)));
        let known = shares.iter().take_while(|share| share.taken.is_some()).count();
        assert_eq!(known, 4);
        assert!(shares[known..].iter().all(|share| share.taken.is_none() && share.scenario.is_some()));
    }
}
