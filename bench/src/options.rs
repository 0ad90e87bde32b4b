//! What every scenario takes: the server to measure, the crowd of clients, and where the result goes. What one scenario
//! alone takes stands with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::command::Failure;

/// The options of every scenario.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Which server.
    #[command(flatten)]
    pub server: ServerOptions,
    /// Which clients.
    #[command(flatten)]
    pub swarm: SwarmOptions,
    /// Append the result to this file as one line of JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seed of all chance: the same seed sends the same things to the same conversations
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// The server to measure: one that runs (`--connect`), or one to start: `murmuring serve`, or with `--gateways` a cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct ServerOptions {
    /// Attach to the server that listens here, instead of starting one; of a cluster, all gateways: clients spread evenly
    #[arg(long, value_name = "ADDRESS,…", requires = "api", value_delimiter = ',')]
    pub connect: Vec<SocketAddr>,
    /// Where the HTTP API of that server listens; of a cluster, of all its nodes, the one to call first
    #[arg(long, value_name = "ADDRESS,…", requires = "connect", value_delimiter = ',')]
    pub api: Vec<SocketAddr>,
    /// Process id of that server, or ids of all nodes: without it, nothing is said of its CPU time and memory
    #[arg(long, value_name = "PID,…", requires = "connect", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Secret that the server's HS256 tokens are signed with
    #[arg(long, value_name = "TEXT", requires = "connect", conflicts_with = "secret_file")]
    pub secret: Option<String>,
    /// The same from a file; white space at its ends does not count
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub secret_file: Option<PathBuf>,
    /// An API key of that server
    #[arg(long, value_name = "KEY", requires = "connect")]
    pub api_key: Option<String>,
    /// The server to start [default: `murmuring` beside this program]
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    pub server: Option<PathBuf>,
    /// Shards of the started server, or of each node of a cluster [default: one a CPU]
    #[arg(long, value_name = "NUMBER", conflicts_with = "connect")]
    pub shards: Option<u16>,
    /// Start a cluster with so many gateway nodes, among which the clients spread evenly; 0 starts one server without
    #[arg(long, value_name = "NUMBER", default_value_t = 0, conflicts_with = "connect")]
    pub gateways: u16,
    /// Router nodes of that cluster; more than one needs --engine foundationdb
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "gateways", value_parser = clap::value_parser!(u16).range(1..))]
    pub routers: u16,
    /// Shards of each gateway node, where they are others than --shards
    #[arg(long, value_name = "NUMBER", requires = "gateways")]
    pub gateway_shards: Option<u16>,
    /// Shards of each router node, where they are others than --shards
    #[arg(long, value_name = "NUMBER", requires = "gateways")]
    pub router_shards: Option<u16>,
    /// Store of the started server
    #[arg(long, value_enum, default_value_t = Engine::Embedded)]
    pub engine: Engine,
    /// Cluster file of the started server, for the engine foundationdb
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    pub cluster_file: Option<PathBuf>,
    /// Data directory of the started server, or of the router node, which is kept [default: a new one, removed at the end]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "connect")]
    pub data: Option<PathBuf>,
}

impl ServerOptions {
    /// Whether nodes of a cluster are to be started.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.gateways > 0
    }

    /// What the command line alone can't refuse.
    ///
    /// # Errors
    /// The options contradict each other: wrong usage.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.is_cluster() && (self.routers > 1 || self.gateway_shards.or(self.router_shards).is_some()) {
            return Err(Failure::usage("--gateways 0 is one server: it has no nodes to say more of"));
        }
        if self.routers > 1 && self.engine != Engine::Foundationdb {
            return Err(Failure::usage(
                "--routers: several router nodes share a store, which takes --engine foundationdb",
            ));
        }
        Ok(())
    }
}

/// The clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Clients")]
pub struct SwarmOptions {
    /// How the clients speak
    #[arg(long, value_enum, default_value_t = Subprotocol::Json)]
    pub subprotocol: Subprotocol,
    /// Rings of the clients, each a thread [default: one for each 19,500, and at most one a CPU]
    #[arg(long, value_name = "NUMBER")]
    pub rings: Option<u16>,
    /// Clients between dialling and `welcome` at the same time, over all rings
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024)]
    pub connecting: u32,
}

/// A store of the server (`store.engine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Gone with the process.
    Memory,
    /// On this host's disk.
    Embedded,
    /// In the FoundationDB cluster of --cluster-file, behind a prefix of this run's own, which stays there.
    Foundationdb,
}

impl Engine {
    /// The name in the server's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Embedded => "embedded",
            Self::Foundationdb => "foundationdb",
        }
    }
}

/// What a client offers in its upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subprotocol {
    /// `murmuring.v1.json`: text frames.
    Json,
    /// `murmuring.v1.rkyv`: binary frames.
    Rkyv,
}

impl Subprotocol {
    /// The name in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "murmuring.v1.json",
            Self::Rkyv => "murmuring.v1.rkyv",
        }
    }
}
