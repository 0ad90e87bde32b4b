//! The floors, each measured once: a bare process, a crowd at its other end, and what both say. Scenarios measure them in
//! the run whose figures they divide.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::bare::{By, Done, Loop};
use super::crowd::{Crowd, Part};
use crate::report::Latency;
use crate::server::{Child, Directory, Kernel, KernelGrowth, ServerError, cpu_of, free_port};

/// How long a process may take to begin, and past its time to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the kernel takes to give back what was closed, and to count what was opened.
const SETTLING: Duration = Duration::from_millis(1_500);

/// What a floor is measured with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloorSettings {
    /// Connections.
    pub sockets: u32,
    /// Dials at once, a ring.
    pub connecting: u32,
    /// Threads of the bare process.
    pub threads: u16,
    /// Length of a message.
    pub bytes: usize,
    /// Messages a second over all sockets; 0 for as many as can be.
    pub rate: f64,
    /// How long.
    pub time: Duration,
    /// Seed of the times of messages.
    pub seed: u64,
}

/// What accepting costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AcceptFloor {
    /// Accepts a second, from the first dial to the last accept.
    pub per_second: f64,
    /// CPU time an accept, in microseconds.
    pub cpu_us: f64,
}

/// What sending costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SendFloor {
    /// Sends a second.
    pub per_second: f64,
    /// CPU time a send, in microseconds.
    pub cpu_us: f64,
    /// Sends that found no room at first, of each that was sent.
    pub blocked_share: f64,
}

/// What an echo takes.
#[derive(Debug)]
pub struct EchoFloor {
    /// From the intended time of a message until it was back.
    pub latency: Latency,
    /// From the intended time until it was given to the kernel.
    pub lag: Latency,
    /// CPU time an echo, in microseconds.
    pub cpu_us: f64,
}

/// What sockets that do nothing take of the kernel's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct IdleFloor {
    /// Both ends of a connection, in bytes.
    pub pair_bytes: f64,
    /// What grew.
    pub growth: KernelGrowth,
}

/// The accept loop against as many dials as it takes.
///
/// # Errors
/// The host refuses sockets or processes.
pub fn accept(by: By, settings: &FloorSettings) -> Result<AcceptFloor, ServerError> {
    let mut bare = Bare::start(Loop::Accept, by, settings)?;
    let crowd = Crowd::new(bare.address, settings.sockets, settings.connecting, Part::Hold);
    let (begin, cpu) = (Instant::now(), bare.cpu()?);
    crowd.dial();
    bare.child.line(PATIENCE)?;
    let (elapsed, cpu) = (begin.elapsed(), bare.cpu()?.saturating_sub(cpu));
    crowd.wait_until_connected()?;
    crowd.end()?;
    let accepts = f64::from(settings.sockets);
    Ok(AcceptFloor { per_second: accepts / elapsed.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / accepts })
}

/// The send loop to sockets that are read.
///
/// # Errors
/// As [`accept`].
pub fn send(by: By, settings: &FloorSettings) -> Result<SendFloor, ServerError> {
    let mut bare = Bare::start(Loop::Send, by, settings)?;
    let crowd = Crowd::new(bare.address, settings.sockets, settings.connecting, Part::Drain);
    crowd.dial();
    bare.child.line(PATIENCE)?;
    crowd.wait_until_connected()?;
    let cpu = bare.cpu()?;
    bare.child.tell("go")?;
    let line = bare.child.line(settings.time + PATIENCE)?;
    let cpu = bare.cpu()?.saturating_sub(cpu);
    let done: Done = serde_json::from_str(&line)
        .map_err(|error| ServerError::Ended { words: format!("{error} in {line}") })?;
    let sent_bytes = done.sends * settings.bytes as u64;
    let begin = Instant::now();
    while crowd.received_bytes() < sent_bytes && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    crowd.end()?;
    let sends = (done.sends as f64).max(1.0);
    Ok(SendFloor {
        per_second: sends / done.seconds,
        cpu_us: cpu.as_secs_f64() * 1e6 / sends,
        blocked_share: done.blocked as f64 / sends,
    })
}

/// The echo loop at the rate.
///
/// # Errors
/// As [`accept`].
pub fn echo(settings: &FloorSettings) -> Result<EchoFloor, ServerError> {
    let bare = Bare::start(Loop::Echo, By::Calls, settings)?;
    let part = Part::Echo { rate: settings.rate, bytes: settings.bytes, seed: settings.seed };
    let crowd = Crowd::new(bare.address, settings.sockets, settings.connecting, part);
    crowd.dial();
    crowd.wait_until_connected()?;
    thread::sleep(SETTLING);
    let cpu = bare.cpu()?;
    crowd.act();
    thread::sleep(settings.time);
    let cpu = bare.cpu()?.saturating_sub(cpu);
    let outcome = crowd.end()?;
    let echoes = (outcome.latency.count() as f64).max(1.0);
    Ok(EchoFloor { cpu_us: cpu.as_secs_f64() * 1e6 / echoes, latency: outcome.latency, lag: outcome.lag })
}

/// Sockets that were accepted and do nothing, at their other ends some that do nothing either (`armed` false: two bare
/// ones), or that wait for something to read as an idle client's do.
///
/// # Errors
/// As [`accept`].
pub fn idle(armed: bool, settings: &FloorSettings) -> Result<IdleFloor, ServerError> {
    let mut bare = Bare::start(Loop::Accept, By::Ring, settings)?;
    let part = if armed { Part::Wait } else { Part::Hold };
    let crowd = Crowd::new(bare.address, settings.sockets, settings.connecting, part);
    thread::sleep(SETTLING);
    let before = Kernel::read()?;
    crowd.dial();
    bare.child.line(PATIENCE + settings.time)?;
    crowd.wait_until_connected()?;
    thread::sleep(SETTLING);
    let growth = Kernel::read()?.since(&before);
    crowd.end()?;
    Ok(IdleFloor { pair_bytes: growth.of_sockets_bytes() as f64 / f64::from(settings.sockets), growth })
}

/// The process. It ends when this is dropped.
struct Bare {
    child: Child,
    address: SocketAddr,
    _directory: Directory,
}

impl Bare {
    fn start(loop_of: Loop, by: By, settings: &FloorSettings) -> Result<Self, ServerError> {
        use clap::ValueEnum as _;

        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let address = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let directory = Directory::new()?;
        let program = std::env::current_exe().map_err(ServerError::of_file("/proc/self/exe"))?;
        let mut command = Command::new(program);
        command
            .arg("bare")
            .args([name(loop_of.to_possible_value()), name(by.to_possible_value()), address.to_string()])
            .args([settings.sockets.to_string(), settings.threads.to_string(), settings.bytes.to_string()])
            .args([settings.rate.to_string(), settings.time.as_secs_f64().to_string()]);
        let mut child = Child::start(&mut command, &directory.path().join("stderr"))?;
        child.line(PATIENCE)?;
        Ok(Self { child, address, _directory: directory })
    }

    fn cpu(&self) -> Result<Duration, ServerError> {
        cpu_of(self.child.id())
    }
}
