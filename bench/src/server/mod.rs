//! The measured server, one process or a cluster of them: started with a configuration of its own or attached to, watched
//! from outside, stopped. Its clients are the swarm's.

pub mod api;
mod child;
mod cluster;
mod configuration;
mod error;
pub mod interrupt;
mod kernel;
mod links;
mod metrics;
mod mover;
mod node;
mod placement;
mod port;
mod process;
mod sample;

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ring::limit::Limit;
use tempfile::TempDir;

pub use self::api::Api;
pub(crate) use self::child::Child;
pub use self::cluster::Layout;
use self::configuration::Configuration;
pub use self::configuration::Needs;
pub use self::error::ServerError;
pub use self::kernel::{Kernel, KernelGrowth};
pub use self::links::Links;
pub use self::metrics::Metrics;
pub use self::mover::{Moved, Mover};
use self::node::Node;
pub use self::node::Role;
pub(crate) use self::placement::slot_of;
pub use self::placement::{Placement, Shard};
pub(crate) use self::port::free as free_port;
pub use self::process::{Usage, cpu_of};
pub use self::sample::{Growth, NodesGrowth, NodesSample, Sample};
use crate::options::ServerOptions;

/// How long a start may take: a large store is checked first.
const START_PATIENCE: Duration = Duration::from_secs(300);
/// How long a stop may take: with millions of sockets to close, minutes.
const STOP_PATIENCE: Duration = Duration::from_secs(180);
/// How often the shards renew their numbers in `/metrics`, and a little more.
const METRICS_PERIOD: Duration = Duration::from_millis(1_200);

/// A server that is measured. Dropped, one that was started is killed; [`Server::stop`] is the orderly end.
#[derive(Debug)]
pub struct Server {
    /// Where clients connect: one address, or that of each gateway.
    clients: Vec<SocketAddr>,
    api: Api,
    secret: String,
    shards: Option<u16>,
    layout: Option<Layout>,
    /// Its processes, in the order in which they are to be stopped.
    nodes: Vec<Node>,
    directory: Option<Directory>,
}

impl Server {
    /// Attaches to the server that the options name, or starts one with what `needs` asks for. An attached server is as
    /// its operator made it: its limits may be too narrow for the scenario.
    ///
    /// A started server gets SIGTERM when the calling thread ends: call it on the main thread.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start_or_attach(options: &ServerOptions, needs: &Needs) -> Result<Self, ServerError> {
        match (options.connect.is_empty(), options.is_cluster()) {
            (false, _) => Self::attach(options),
            (true, false) => Self::start(options, needs),
            (true, true) => Self::start_cluster(options, needs),
        }
    }

    fn attach(options: &ServerOptions) -> Result<Self, ServerError> {
        let secret = match (&options.secret, &options.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => {
                fs::read_to_string(path).map_err(ServerError::of_file(path))?.trim().to_owned()
            }
            (None, None) => return Err(ServerError::NoSecret),
        };
        let key = options.api_key.as_deref().unwrap_or_default();
        let apis: Vec<Api> = options.api.iter().map(|api| Api::new(*api, key)).collect();
        // Which process is behind which address is nobody's business here: all is summed.
        let node = |place: usize| Node::attached(apis.get(place).cloned(), options.pid.get(place).copied());
        let nodes = (0..apis.len().max(options.pid.len())).map(node).collect();
        let api = apis.into_iter().next().ok_or(ServerError::NoApi)?;
        let clients = options.connect.clone();
        Ok(Self { clients, api, secret, shards: None, layout: None, nodes, directory: None })
    }

    fn start(options: &ServerOptions, needs: &Needs) -> Result<Self, ServerError> {
        let directory = Directory::new()?;
        let program = program(options)?;
        let (secret, api_key) = (random_text()?, random_text()?);
        let shards = options.shards.unwrap_or_else(cpus);
        let data = options.data.clone().unwrap_or_else(|| directory.path().join("data"));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (client, api) = (port::free(loopback)?, port::free(loopback)?);
        let configuration = Configuration {
            client: Some(client),
            api,
            secret: &secret,
            api_key: &api_key,
            shards,
            connections_max: needs.connections_max(shards, Limit::descriptors().hard),
            engine: options.engine,
            cluster_file: options.cluster_file.as_deref(),
            key_prefix: &configuration::key_prefix(client.port()),
            data: &data,
            place: None,
            needs,
        };
        let file = directory.path().join("murmuring.toml");
        write_private(&file, &configuration.to_toml())?;
        let mut command = node::command(&program, Role::Whole, &file);
        let mut child = Child::start(&mut command, &directory.path().join("stderr"))?;
        wait_until_ready(&mut child)?;
        let api = Api::new(api, &api_key);
        Ok(Self {
            clients: vec![client],
            shards: Some(shards),
            layout: None,
            nodes: vec![Node::started(String::new(), Role::Whole, Some(api.clone()), child)],
            api,
            directory: Some(directory),
            secret,
        })
    }

    fn start_cluster(options: &ServerOptions, needs: &Needs) -> Result<Self, ServerError> {
        let directory = Directory::new()?;
        let layout = Layout::of(options, cpus());
        let plan = cluster::Plan::new(options, needs, layout, directory.path())?;
        let nodes = plan.start(&program(options)?, directory.path())?;
        // The first node is a gateway: whoever calls it goes over links as clients do.
        let api = nodes.iter().find_map(Node::api).cloned().ok_or(ServerError::NoApi)?;
        Ok(Self {
            clients: plan.clients(),
            api,
            secret: plan.secret().to_owned(),
            shards: None,
            layout: Some(plan.layout()),
            nodes,
            directory: Some(directory),
        })
    }

    /// Starts another server than Murmuring, to be measured beside it: `program PORT` listens on that port of loopback.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start_peer(program: &Path) -> Result<Self, ServerError> {
        let directory = Directory::new()?;
        let address = port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut command = Command::new(program);
        command.arg(address.port().to_string());
        let mut child = Child::start(&mut command, &directory.path().join("stderr"))?;
        wait_until_reached(&mut child, address)?;
        Ok(Self {
            clients: vec![address],
            api: Api::new(address, ""),
            secret: String::new(),
            shards: None,
            layout: None,
            nodes: vec![Node::started(String::new(), Role::Whole, None, child)],
            directory: Some(directory),
        })
    }

    /// Where clients connect: at one address, or at those of all gateways, among which they are to spread.
    #[must_use]
    pub fn client_addresses(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// Its HTTP API; of a cluster, one node's.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// What its HS256 tokens are signed with.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// One of its processes, when that is known: all run the same program.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.nodes.iter().find_map(Node::pid)
    }

    /// Its shards, when it was started here as one process.
    #[must_use]
    pub fn shards(&self) -> Option<u16> {
        self.shards
    }

    /// Its nodes, when it was started here as a cluster.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// CPU time of all processes that are known; `None` when none is.
    ///
    /// # Errors
    /// One is no more.
    pub fn cpu(&self) -> Result<Option<Duration>, ServerError> {
        let mut sum = None;
        for node in &self.nodes {
            sum = node.cpu()?.map(|cpu| sum.unwrap_or_default() + cpu).or(sum);
        }
        Ok(sum)
    }

    /// The API of a router node, and what it says of the cluster's placement. Of a node that was attached to nobody knows whether it is
    /// one: it refuses orders if not.
    ///
    /// # Errors
    /// No node can be one, or it does not answer.
    pub fn router(&self) -> Result<(Api, Placement), ServerError> {
        let mut routers = self.nodes.iter().filter(|node| node.role() != Role::Gateway);
        let api = routers.find_map(Node::api).ok_or(ServerError::NoRouter)?;
        Ok((api.clone(), Placement::ask(api)?))
    }

    /// Everything that can be read of it, of this process and of the kernel now. Its counters are up to a second old.
    ///
    /// # Errors
    /// It has ended, or does not answer.
    pub fn sample(&mut self) -> Result<Sample, ServerError> {
        self.check()?;
        let usages = self.nodes.iter().map(Node::usage).collect::<Result<Vec<_>, _>>()?;
        let metrics = self.nodes.iter().map(Node::metrics).collect::<Result<Vec<_>, _>>()?;
        let mut sample = Sample::without_server()?;
        for (node, (usage, metrics)) in self.nodes.iter().zip(usages.into_iter().zip(metrics)) {
            sample.add(node.role(), usage, metrics);
        }
        Ok(sample)
    }

    /// As [`Server::sample`], after as long as the counters need to catch up with what was before.
    ///
    /// # Errors
    /// As [`Server::sample`].
    pub fn sample_settled(&mut self) -> Result<Sample, ServerError> {
        thread::sleep(METRICS_PERIOD);
        self.sample()
    }

    /// Whether all of it still runs; always so for one that was attached to.
    ///
    /// # Errors
    /// A process has ended.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// Stops one that was started (SIGTERM, and SIGKILL at last), gateways before routers, and removes what it had;
    /// leaves another alone.
    ///
    /// # Errors
    /// A process had ended before, or did not stop in order: the first of those. The others are stopped nevertheless.
    pub fn stop(mut self) -> Result<(), ServerError> {
        let mut result = Ok(());
        for node in self.nodes.drain(..) {
            result = result.and(node.stop(STOP_PATIENCE));
        }
        drop(self.directory.take());
        result
    }
}

fn wait_until_ready(child: &mut Child) -> Result<(), ServerError> {
    loop {
        if child.line(START_PATIENCE)?.starts_with("ready ") {
            return Ok(());
        }
    }
}

fn wait_until_reached(child: &mut Child, address: SocketAddr) -> Result<(), ServerError> {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        child.check()?;
        if begin.elapsed() > START_PATIENCE {
            return Err(ServerError::NotReady { waited: START_PATIENCE });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The program that `options` names, or the one beside this.
pub(crate) fn program(options: &ServerOptions) -> Result<PathBuf, ServerError> {
    let path = match &options.server {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(ServerError::of_file("/proc/self/exe"))?
            .with_file_name("murmuring"),
    };
    if path.is_file() { Ok(path) } else { Err(ServerError::NoProgram { path }) }
}

fn cpus() -> u16 {
    thread::available_parallelism().map_or(1, |cpus| u16::try_from(cpus.get()).unwrap_or(u16::MAX))
}

/// 64 hexadecimal digits that nobody can guess.
fn random_text() -> Result<String, ServerError> {
    use core::fmt::Write as _;

    let bytes = ring::random::bytes::<32>().map_err(ServerError::of_file("/dev/urandom"))?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    Ok(text)
}

/// Writes a file that nobody else may read: it has secrets.
fn write_private(path: &Path, text: &str) -> Result<(), ServerError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(ServerError::of_file(path))
}

/// A directory of a run, removed behind it.
#[derive(Debug)]
pub(crate) struct Directory {
    inner: TempDir,
}

impl Directory {
    pub(crate) fn new() -> Result<Self, ServerError> {
        let inner = tempfile::Builder::new().prefix("murmuring-bench-").tempdir();
        let inner = inner.map_err(ServerError::of_file(std::env::temp_dir()))?;
        interrupt::add_directory(inner.path());
        Ok(Self { inner })
    }

    pub(crate) fn path(&self) -> &Path {
        self.inner.path()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        interrupt::remove_directory(self.inner.path());
    }
}
