//! Why a server could not start, and whose fault that is: the configuration's and the host's setup (exit code 2), or
//! anything else's (exit code 1).

use core::fmt;
use std::io;
use std::net::SocketAddr;

use ring::setup::SetupError;
use storage::engine::embedded;
#[cfg(feature = "foundationdb")]
use storage::engine::foundationdb::{ConnectError, FormatError};
use storage::kv::EngineError;
use storage::request::Failure;

use crate::credentials::CredentialsError;
use crate::secret::SecretError;

/// Why a server could not start.
#[derive(Debug)]
pub enum ServeError {
    /// Keys, secrets or their files.
    Credentials(CredentialsError),
    /// The secret of resume tickets could not be kept.
    Ticket(SecretError),
    /// The secret of the cluster could not be kept.
    Secret(SecretError),
    /// The cluster's secret is too short for a key.
    SecretTooShort,
    /// `cluster.secret_file` can't be used.
    SecretFile(String, io::Error),
    /// A gateway node that knows no router node.
    NoRouters,
    /// Router nodes of a cluster hold leases in the store that a server of its own was to take.
    Clustered(Vec<String>),
    /// The kernel, a limit or an address.
    Setup(SetupError),
    /// The store refused to open or to be claimed.
    Store(embedded::OpenError),
    /// The store can't be read.
    Read(EngineError),
    /// A migration into the store has begun and not ended.
    Unfinished,
    /// The client library or the cluster file can't be used.
    #[cfg(feature = "foundationdb")]
    Connect(ConnectError),
    /// What is in the cluster is no store to serve from.
    #[cfg(feature = "foundationdb")]
    Format(FormatError),
    /// The store did not take the claim.
    Claim(Failure),
    /// The HTTP API could not listen.
    Api(SocketAddr, io::Error),
    /// RLIMIT_NOFILE is under what the shards need.
    Descriptors {
        /// What this process may open.
        limit: u64,
        /// The least that will do.
        least: u64,
        /// Shards configured.
        shards: u64,
        /// Banks of each shard's ring, a descriptor each.
        banks: u64,
    },
    /// The system gives fewer threads than are needed.
    Threads {
        /// How many are needed.
        threads: u64,
        /// Shards configured, a thread each.
        shards: u64,
        /// What it said.
        error: io::Error,
    },
    /// The system gave no thread, descriptor or randomness.
    System(&'static str, io::Error),
    /// Somebody else runs in this node's place: the log says who.
    Replaced,
    /// A signal came before the server was ready.
    Interrupted,
}

impl ServeError {
    /// True when the configuration or the host's setup is to be mended.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Credentials(error) => error.is_configuration(),
            Self::Setup(error) => {
                !matches!(error, SetupError::AddressInUse { .. } | SetupError::System { .. })
            }
            Self::Descriptors { .. }
            | Self::Threads { .. }
            | Self::NoRouters
            | Self::SecretTooShort
            | Self::SecretFile(..) => true,
            #[cfg(feature = "foundationdb")]
            Self::Connect(_) | Self::Format(FormatError::Foreign(_)) => true,
            #[cfg(feature = "foundationdb")]
            Self::Format(_) => false,
            Self::Ticket(_)
            | Self::Secret(_)
            | Self::Clustered(_)
            | Self::Store(_)
            | Self::Read(_)
            | Self::Unfinished
            | Self::Claim(_)
            | Self::Replaced
            | Self::Api(..)
            | Self::System(..)
            | Self::Interrupted => false,
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(error) => error.fmt(f),
            Self::Ticket(error) => write!(f, "the secret of resume tickets: {error}"),
            Self::Secret(error) => write!(f, "the secret of the cluster: {error}"),
            Self::SecretTooShort => f.write_str("cluster.secret is too short for a key"),
            Self::SecretFile(path, error) => write!(f, "cluster.secret_file: {path}: {error}"),
            Self::NoRouters => f.write_str(
                "cluster.routers is empty: a gateway node needs a router node to ask, such as \
                 `--routers 127.0.0.1:8802`",
            ),
            Self::Clustered(names) => write!(
                f,
                "the store belongs to the router nodes {}, whose leases are being renewed: stop them first, or make this \
                 one a node of their cluster with cluster.listen",
                names.join(", ")
            ),
            Self::Setup(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Read(error) => write!(f, "the store can't be read: {error}"),
            Self::Unfinished => f.write_str(storage::migrate::UNFINISHED),
            #[cfg(feature = "foundationdb")]
            Self::Connect(error) => error.fmt(f),
            #[cfg(feature = "foundationdb")]
            Self::Format(error) => error.fmt(f),
            Self::Claim(error) => write!(f, "the store can't be claimed: {}", claim_words(error)),
            Self::Api(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "listen.api: {address} is in use by another process: `ss -ltnp 'sport = :{}'` names it; stop it or \
                 listen elsewhere",
                address.port()
            ),
            Self::Api(address, error) => write!(f, "listen.api: {address}: {error}"),
            Self::Descriptors { limit, least, shards, banks } => write!(
                f,
                "RLIMIT_NOFILE is {limit}, and {shards} shards (core.shards), each with {banks} banks for its share of \
                 core.connections_max, a store and an API open at least {least} files: raise it with `ulimit -Hn {least} && ulimit -n {least}` (systemd: LimitNOFILE={least}), \
                 better to 65536; `murmuring check` says how many connections it holds"
            ),
            Self::Threads { threads, shards, error } => write!(
                f,
                "{threads} threads are needed, for {shards} shards (core.shards) and the rest, and the system gives \
                 fewer ({error}): raise the limit that is lower: RLIMIT_NPROC with `ulimit -u {threads}` or more \
                 (systemd: LimitNPROC), pids.max of the cgroup (systemd: TasksMax={threads}), or kernel.threads-max"
            ),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::Replaced => {
                f.write_str("another process runs in this node's place: two have one cluster.node")
            }
            Self::Interrupted => f.write_str("a signal came before the server was ready"),
        }
    }
}

fn claim_words(failure: &Failure) -> &str {
    match failure {
        Failure::Poisoned(why) | Failure::Damaged(why) | Failure::Refused(why) => why,
        Failure::Fenced => "another server has taken it over",
        Failure::Unavailable | Failure::Unknown => "it does not answer",
    }
}

impl core::error::Error for ServeError {}

impl From<CredentialsError> for ServeError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl From<SetupError> for ServeError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}
