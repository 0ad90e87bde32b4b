//! The measured server: started with a configuration of its own or attached to, watched from outside, stopped. Its clients
//! are the swarm's.

pub mod api;
mod child;
mod configuration;
mod error;
pub mod interrupt;
mod kernel;
mod metrics;
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
use self::configuration::Configuration;
pub use self::configuration::Needs;
pub use self::error::ServerError;
pub use self::kernel::{Kernel, KernelGrowth};
pub use self::metrics::Metrics;
pub(crate) use self::port::free as free_port;
pub use self::process::{Usage, cpu_of};
pub use self::sample::{Growth, Sample};
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
    client: SocketAddr,
    api: Api,
    pid: Option<u32>,
    secret: String,
    shards: Option<u16>,
    child: Option<Child>,
    directory: Option<Directory>,
    /// Whether it has the HTTP API: a Murmuring.
    has_api: bool,
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
        match options.connect.zip(options.api) {
            Some((client, api)) => Self::attach(options, client, api),
            None => Self::start(options, needs),
        }
    }

    fn attach(options: &ServerOptions, client: SocketAddr, api: SocketAddr) -> Result<Self, ServerError> {
        let secret = match (&options.secret, &options.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => {
                fs::read_to_string(path).map_err(ServerError::of_file(path))?.trim().to_owned()
            }
            (None, None) => return Err(ServerError::NoSecret),
        };
        let api = Api::new(api, options.api_key.as_deref().unwrap_or_default());
        Ok(Self {
            client,
            api,
            pid: options.pid,
            secret,
            shards: None,
            child: None,
            directory: None,
            has_api: true,
        })
    }

    fn start(options: &ServerOptions, needs: &Needs) -> Result<Self, ServerError> {
        let directory = Directory::new()?;
        let program = program(options)?;
        let (secret, api_key) = (random_text()?, random_text()?);
        let shards = options.shards.unwrap_or_else(cpus);
        let data = options.data.clone().unwrap_or_else(|| directory.path().join("data"));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let configuration = Configuration {
            client: port::free(loopback)?,
            api: port::free(loopback)?,
            secret: &secret,
            api_key: &api_key,
            shards,
            connections_max: needs.connections_max(shards, Limit::descriptors().hard),
            engine: options.engine,
            cluster_file: options.cluster_file.as_deref(),
            data: &data,
            needs,
        };
        let file = directory.path().join("murmuring.toml");
        write_private(&file, &configuration.to_toml())?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&file);
        let mut child = Child::start(&mut command, &directory.path().join("stderr"))?;
        wait_until_ready(&mut child)?;
        Ok(Self {
            client: configuration.client,
            api: Api::new(configuration.api, &api_key),
            pid: Some(child.id()),
            shards: Some(shards),
            child: Some(child),
            directory: Some(directory),
            has_api: true,
            secret,
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
            client: address,
            api: Api::new(address, ""),
            pid: Some(child.id()),
            secret: String::new(),
            shards: None,
            child: Some(child),
            directory: Some(directory),
            has_api: false,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Its HTTP API.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// What its HS256 tokens are signed with.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Its process, when that is known.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its shards, when it was started here.
    #[must_use]
    pub fn shards(&self) -> Option<u16> {
        self.shards
    }

    /// Everything that can be read of it, of this process and of the kernel now. Its counters are up to a second old.
    ///
    /// # Errors
    /// It has ended, or does not answer.
    pub fn sample(&mut self) -> Result<Sample, ServerError> {
        self.check()?;
        let server = self.pid.map(Usage::of).transpose()?;
        let metrics = if self.has_api { self.api.metrics()? } else { Metrics::default() };
        Ok(Sample { server, metrics, ..Sample::without_server()? })
    }

    /// As [`Server::sample`], after as long as the counters need to catch up with what was before.
    ///
    /// # Errors
    /// As [`Server::sample`].
    pub fn sample_settled(&mut self) -> Result<Sample, ServerError> {
        thread::sleep(METRICS_PERIOD);
        self.sample()
    }

    /// Whether it still runs; always so for one that was attached to.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.child.as_mut().map_or(Ok(()), Child::check)
    }

    /// Stops one that was started (SIGTERM, and SIGKILL at last), and removes what it had; leaves another alone.
    ///
    /// # Errors
    /// It had ended before, or did not stop in order.
    pub fn stop(mut self) -> Result<(), ServerError> {
        let stopped = self.child.take().map(|child| child.stop(STOP_PATIENCE)).transpose();
        drop(self.directory.take());
        stopped.map(drop)
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
