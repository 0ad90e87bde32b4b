//! `plan`: what a host needs for a number of connections, as a page or as the files in `tuning/`; and how many nodes a
//! number of users needs. Looks at nothing but the number of CPUs, changes nothing.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};

use super::check::{listeners, shards};
use super::{Failure, print};
use crate::config::Config;
use crate::host::capacity::{self, Load, Measured, Node};
use crate::host::reading::{command, words};
use crate::host::setting::{SETTINGS, Scale, Weight};
use crate::host::{memory, process};

pub(super) const HELP: &str = "\
Prints and changes nothing; `murmuring check` compares the same numbers with this host.

Examples:
  murmuring plan 1000000
  murmuring plan 1000000 --shards 57 --print sysctl > sysctl.conf
  murmuring plan --users 10000000 --nodes 12 --node-cpus 32 --node-memory-gb 128 --delivery-us 4";

/// Ports that one source address has towards one listening address: 1,024 to 65,535 without those that listen.
const PORTS_WIDE: u64 = 64_510;
/// The same in Linux's own `net.ipv4.ip_local_port_range`, 32768 to 60999.
const PORTS_USUAL: u64 = 28_232;
/// RLIMIT_NOFILE that many hosts are stuck with.
const DESCRIPTORS_EXAMPLES: [u64; 3] = [20_000, 65_536, 1_048_576];

/// What to work out.
#[derive(Args, Debug)]
pub(super) struct Plan {
    /// Connections of one node
    #[arg(required_unless_present = "users", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    connections: Option<u64>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Print::Page)]
    print: Print,
    #[command(flatten)]
    fleet: Fleet,
}

/// Forms of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    /// For people
    Page,
    /// A file for sysctl(8)
    Sysctl,
    /// A file for limits.conf(5)
    Limits,
}

/// From users to nodes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Users on several nodes")]
struct Fleet {
    /// Users connected at once
    #[arg(long, conflicts_with_all = ["connections", "print"], requires = "nodes")]
    users: Option<f64>,
    /// Nodes
    #[arg(long)]
    nodes: Option<f64>,
    /// Nodes that may be away while the others carry all
    #[arg(long, default_value_t = 1.0)]
    spare: f64,
    /// Messages a user sends an hour, at the busiest time
    #[arg(long, default_value_t = 20.0)]
    sends_an_hour: f64,
    /// Connected members that a message reaches
    #[arg(long, default_value_t = 10.0)]
    receivers: f64,
    /// Bytes of a message in its packet
    #[arg(long, default_value_t = 400.0)]
    message_bytes: f64,
    /// Seconds within which the users of a lost node are back
    #[arg(long, default_value_t = 60.0)]
    reconnect_s: f64,
    /// CPUs of a node
    #[arg(long, default_value_t = 16.0)]
    node_cpus: f64,
    /// Memory of a node, in GB
    #[arg(long, default_value_t = 64.0)]
    node_memory_gb: f64,
    /// Network of a node, in Gbit/s
    #[arg(long, default_value_t = 10.0)]
    node_gbit: f64,
    /// CPU µs a connection-second (scenario `idle`)
    #[arg(long)]
    connection_us: Option<f64>,
    /// CPU µs a delivery (scenario `rooms`)
    #[arg(long)]
    delivery_us: Option<f64>,
    /// CPU µs a stored message (scenario `durable`)
    #[arg(long)]
    send_us: Option<f64>,
    /// CPU µs an upgrade with a ticket (scenario `storm`)
    #[arg(long)]
    upgrade_us: Option<f64>,
    /// Stored messages a second that a node's disk takes (scenario `durable`)
    #[arg(long)]
    disk_sends: Option<f64>,
}

impl Plan {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let Some(connections) = self.connections else { return print(&self.fleet.page(config)?) };
        let scale = Scale {
            connections,
            shards: shards(config)?,
            backlog: u64::from(config.listen.backlog),
            listeners: listeners(config),
        };
        print(&match self.print {
            Print::Page => page(&scale),
            Print::Sysctl => sysctl(&scale),
            Print::Limits => limits(&scale),
        })
    }
}

// Writing into a String cannot fail, so the results below are not looked at.

fn page(scale: &Scale) -> String {
    let Scale { connections, shards, listeners, .. } = *scale;
    let mb = |bytes: u64| bytes / 1_000_000;
    let mut text = format!("{connections} connections on {shards} shards\n\nMemory, in MB\n");
    for (bytes, what) in [
        (connections * memory::KERNEL_SOCKET_BYTES, "kernel: an idle socket with its poll"),
        (connections * memory::SESSION_BYTES, "process: a session in one conversation, at most"),
        (
            connections * memory::BUSY_SOCKET_BYTES,
            "more in the kernel while every client has something unread",
        ),
        (
            connections / 100 * memory::STALLED_SOCKET_BYTES,
            "more in the kernel while 1 % of clients do not read",
        ),
        (process::locked_bytes(shards, 1), "locked by the shards' rings"),
    ] {
        let _ = writeln!(text, "{:>8}  {what}", mb(bytes));
    }
    let slots = process::slots(connections, shards, listeners);
    let ease = process::descriptors_ease(shards, 1, listeners);
    let _ = writeln!(text, "\nLimits of the process (getrlimit(2); systemd: Limit…)");
    let _ =
        writeln!(text, "  RLIMIT_NOFILE   {:>10}  each shard holds a share and an eighth", slots.max(ease));
    let _ = writeln!(
        text,
        "  RLIMIT_MEMLOCK  {:>10}  bytes, without CAP_IPC_LOCK",
        process::locked_bytes(shards, 1)
    );
    let _ = writeln!(text, "  RLIMIT_NPROC    {:>10}  threads", process::threads(shards) + shards);
    for descriptors in DESCRIPTORS_EXAMPLES {
        let banks = process::banks(slots, descriptors);
        let locked = process::locked_bytes(shards, banks);
        let _ = writeln!(
            text,
            "  with RLIMIT_NOFILE {descriptors}: {banks} banks a shard, which core.connections_max = {connections} makes; \
             RLIMIT_MEMLOCK {locked}"
        );
    }
    let _ = writeln!(text, "\nThe host, at least (`--print sysctl` says why)");
    for setting in SETTINGS {
        let _ = writeln!(text, "  {}", command(setting, &(setting.value)(scale)));
    }
    load_test(&mut text, connections);
    text
}

fn load_test(text: &mut String, connections: u64) {
    let (wide, usual) = (connections.div_ceil(PORTS_WIDE), connections.div_ceil(PORTS_USUAL));
    let _ = write!(
        text,
        "\nA load test from one machine\n  \
         {wide} source addresses with net.ipv4.ip_local_port_range = 1024 65535, {usual} with 32768 60999; on loopback all\n  \
         of 127.0.0.0/8 is there. With the wide range the server's ports need net.ipv4.ip_local_reserved_ports.\n  \
         When both ends are here: twice fs.file-max, and twice the kernel's memory.\n"
    );
}

fn sysctl(scale: &Scale) -> String {
    let mut text = format!(
        "# What a host needs for {} connections in {} shards of Murmuring; printed by\n\
         #   murmuring plan {} --shards {} --print sysctl\n\
         # Every value is the least that is good, and many hosts have more by themselves: so it is not for /etc/sysctl.d,\n\
         # which would lower those. `tuning/apply.sh --apply` raises what is too low and `tuning/apply.sh --undo` takes it\n\
         # back; tuning/murmuring-tuning.service does both at every start and stop of the host.\n",
        scale.connections, scale.shards, scale.connections, scale.shards
    );
    for setting in SETTINGS {
        text.push('\n');
        for line in setting.about {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "# Source: {}.", setting.source);
        if setting.weight == Weight::Refuses {
            let _ = writeln!(text, "# With less, connections are refused.");
        }
        let _ = writeln!(text, "{} = {}", setting.key, words(&(setting.value)(scale)));
    }
    text
}

fn limits(scale: &Scale) -> String {
    let Scale { connections, shards, listeners, .. } = *scale;
    let descriptors =
        process::slots(connections, shards, listeners).max(process::descriptors_ease(shards, 1, listeners));
    let locked_kib = process::locked_bytes(shards, 1).div_ceil(1_024);
    let threads = process::threads(shards) + shards;
    format!(
        "# Limits of a login of user murmuring, for {connections} connections in {shards} shards (limits.conf(5)); printed by\n\
         #   murmuring plan {connections} --shards {shards} --print limits\n\
         # Copy to /etc/security/limits.d/90-murmuring.conf; remove it to undo. It holds from the next login on. systemd does\n\
         # not read it: murmuring.service has LimitNOFILE, LimitMEMLOCK and TasksMax for the same.\n\
         \n\
         # Files of the process, and sockets *of each bank of a shard's ring* (io_uring_register(2)): a share of the connections\n\
         # and an eighth, since the kernel spreads them by hash. With less, `core.connections_max = {connections}` makes more\n\
         # banks, which lock 132 KiB each; past fs.nr_open nobody logs in.\n\
         murmuring  -  nofile   {descriptors}\n\
         \n\
         # KiB that rings lock without CAP_IPC_LOCK (io_uring_setup(2)): 516 a shard, measured on Linux 6.18. With less,\n\
         # `serve` does not start and says so.\n\
         murmuring  -  memlock  {locked_kib}\n\
         \n\
         # Threads: a shard's and its ring's worker, and eight (getrlimit(2), RLIMIT_NPROC: of the user, not the process).\n\
         murmuring  -  nproc    {threads}\n"
    )
}

impl Fleet {
    fn page(&self, config: &Config) -> Result<String, Failure> {
        let load = Load {
            users: self.users.unwrap_or_default(),
            nodes: self.nodes.unwrap_or_default(),
            spare: self.spare,
            sends_an_hour: self.sends_an_hour,
            receivers: self.receivers,
            message_bytes: self.message_bytes,
            heartbeat_s: f64::from(config.limits.heartbeat_ms) / 1_000.0,
            reconnect_s: self.reconnect_s,
        };
        let (node, measured) = (self.node(), self.measured());
        let given =
            [load.users, load.nodes, load.reconnect_s, node.cpus, node.memory_bytes, node.network_bits];
        if load.nodes <= load.spare || given.iter().any(|value| !value.is_finite() || *value <= 0.0) {
            return Err(Failure::usage(
                "users and what nodes have must be more than 0, and nodes more than --spare",
            ));
        }
        Ok(render(&load, &node, &measured))
    }

    fn node(&self) -> Node {
        Node {
            cpus: self.node_cpus,
            memory_bytes: self.node_memory_gb * 1e9,
            network_bits: self.node_gbit * 1e9,
        }
    }

    fn measured(&self) -> Measured {
        Measured {
            connection_us: self.connection_us,
            delivery_us: self.delivery_us,
            send_us: self.send_us,
            upgrade_us: self.upgrade_us,
            sends_a_second: self.disk_sends,
        }
    }
}

fn render(load: &Load, node: &Node, measured: &Measured) -> String {
    let carried = capacity::carried(load);
    let mut text = format!(
        "{:.0} users on {:.0} nodes, {:.0} of which may be away; each sends {} messages an hour to {} connected members\n\n\
         A node then carries {:.0} connections, and a second {:.0} sends, {:.0} deliveries, {:.0} heartbeats\n\n",
        load.users,
        load.nodes,
        load.spare,
        load.sends_an_hour,
        load.receivers,
        carried.connections,
        carried.sends,
        carried.deliveries,
        carried.heartbeats
    );
    let shares = capacity::shares(load, node, measured);
    for share in &shares {
        let taken =
            share.taken.map_or_else(|| "     ?".to_owned(), |taken| format!("{:5.1}%", taken * 100.0));
        let from = share.scenario.map_or_else(String::new, |scenario| format!(" (scenario `{scenario}`)"));
        let _ = writeln!(text, "{taken}  {:16}  {}{from}", share.what, share.words);
    }
    let _ = match &shares[0] {
        share if share.taken.is_some_and(|taken| taken > 1.0) => {
            writeln!(text, "\nToo few nodes: {} ends first.", share.what)
        }
        share => writeln!(text, "\nOf what is known, {} ends first.", share.what),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { connections: 1_000_000, shards: 57, backlog: 65_535, listeners: 1 };

    #[test]
    fn every_form_names_every_setting_once() {
        for text in [page(&SCALE), sysctl(&SCALE)] {
            for setting in SETTINGS {
                let line =
                    |line: &&str| line.contains(setting.key) && line.contains('=') && !line.starts_with('#');
                let lines: Vec<&str> = text.lines().filter(line).collect();
                let own =
                    lines.iter().filter(|line| !line.contains("ip_local") && !line.contains("twice")).count();
                assert_eq!(own, 1, "{} in {lines:?}", setting.key);
            }
        }
    }

    #[test]
    fn a_limit_of_20_000_is_answered_with_banks() {
        assert!(page(&SCALE).contains("with RLIMIT_NOFILE 20000: 1 banks a shard"));
        assert!(limits(&SCALE).contains("nofile   19753"));
        let page = page(&Scale { shards: 2, ..SCALE });
        assert!(
            page.contains("with RLIMIT_NOFILE 20000: 29 banks a shard, which core.connections_max = 1000000")
        );
    }
}
