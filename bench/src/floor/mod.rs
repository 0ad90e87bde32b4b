//! `floor`: the bare kernel on the same kind of sockets and the same disk, the denominator of every ratio. Each part is the
//! best plain loop for it, alone in a process of its own.

pub mod bare;
mod client;
mod crowd;
mod measure;
mod store;
mod sync;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

pub use self::bare::By;
pub use self::measure::{
    AcceptFloor, EchoFloor, FloorSettings, IdleFloor, SendFloor, accept, echo, idle, send,
};
pub use self::store::{StoreFloor, StoreLoad, store};
pub use self::sync::{SyncFloor, sync};
use crate::command::Failure;
use crate::options::Options;
use crate::report::{Latency, Progress, Report};
use crate::server::{Kernel, Sample, ServerError};

/// Events of a batch that the embedded store syncs at once at most: what one sync is worth.
const BATCH_EVENTS: usize = 256;

/// What `floor` takes.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Which parts; all when none is named
    #[arg(value_enum)]
    parts: Vec<PartOf>,
    /// Connections
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    sockets: u32,
    /// Connections that do nothing, for the kernel's memory
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    idle_sockets: u32,
    /// Conversations of the embedded engine
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Length of a message or an append, in bytes; of a body, for the engine
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    bytes: usize,
    /// Sends a second over all connections; 0 for as many as can be
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    sends: f64,
    /// Echoes a second over all connections
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000.0)]
    echoes: f64,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Measurements of each part; the median is told
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    rounds: u32,
    /// Threads of the bare process [default: one a CPU]
    #[arg(long, value_name = "NUMBER")]
    threads: Option<u16>,
}

/// A part of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartOf {
    /// The accept loop
    Accept,
    /// The send loop
    Send,
    /// The epoll echo
    Echo,
    /// The fsync loop, in the data directory
    Sync,
    /// The embedded engine alone, its batches in a row, in the data directory
    Store,
    /// Kernel memory of idle sockets
    Idle,
}

/// The scenario.
///
/// # Errors
/// The host refuses sockets or processes, or the options are wrong.
pub fn run(options: &Options, arguments: &Arguments) -> Result<(), Failure> {
    let settings = settings(options, arguments)?;
    let mut report = Report::new("floor", None);
    report.setting("sockets", arguments.sockets);
    report.setting("bytes", arguments.bytes);
    report.setting("threads", settings.threads);
    report.setting("rounds", arguments.rounds);
    report.setting("seconds", arguments.seconds);
    let parts = if arguments.parts.is_empty() { PartOf::value_variants() } else { &arguments.parts };
    let mut progress = Progress::new();
    let before = Sample::without_server().map_err(Failure::failed)?;
    for part in parts {
        progress.show(|| format!("floor: {part:?}"));
        measure_part(*part, options, arguments, &settings, &mut report).map_err(Failure::failed)?;
    }
    drop(progress);
    report.cpu(&Sample::without_server().map_err(Failure::failed)?.since(&before));
    report.finish(options.json.as_deref())
}

fn settings(options: &Options, arguments: &Arguments) -> Result<FloorSettings, Failure> {
    let of_process = u32::try_from(ring::limit::Limit::descriptors().soft).unwrap_or(u32::MAX) / 10 * 9;
    if arguments.sockets > of_process || arguments.sockets == 0 {
        return Err(Failure::usage(format!(
            "--sockets: one process can have 1 to {of_process} here (RLIMIT_NOFILE)"
        )));
    }
    if arguments.rounds == 0 || arguments.bytes == 0 {
        return Err(Failure::usage("--rounds and --bytes begin at 1"));
    }
    let time = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|error| Failure::usage(format!("--seconds: {error}")))?;
    let cpus =
        std::thread::available_parallelism().map_or(1, |cpus| u16::try_from(cpus.get()).unwrap_or(u16::MAX));
    Ok(FloorSettings {
        sockets: arguments.sockets,
        connecting: options.swarm.connecting,
        threads: arguments.threads.unwrap_or(cpus).max(1),
        bytes: arguments.bytes,
        rate: 0.0,
        time,
        seed: options.seed,
    })
}

fn measure_part(
    part: PartOf,
    options: &Options,
    arguments: &Arguments,
    settings: &FloorSettings,
    report: &mut Report,
) -> Result<(), ServerError> {
    match part {
        PartOf::Accept => accept_part(arguments.rounds, settings, report),
        PartOf::Send => {
            report.setting("sends_per_second", arguments.sends);
            send_part(arguments.rounds, &FloorSettings { rate: arguments.sends, ..*settings }, report)
        }
        PartOf::Echo => {
            report.setting("echoes_per_second", arguments.echoes);
            echo_part(arguments.rounds, &FloorSettings { rate: arguments.echoes, ..*settings }, report)
        }
        PartOf::Sync => sync_part(options.server.data.clone(), settings, report),
        PartOf::Store => {
            report.setting("conversations", arguments.conversations);
            store_part(options.server.data.clone(), arguments, settings, report)
        }
        PartOf::Idle => {
            report.setting("idle_sockets", arguments.idle_sockets);
            idle_part(&FloorSettings { sockets: arguments.idle_sockets, ..*settings }, report)
        }
    }
}

/// Both ways in turn, so that the host's weather is the same for both.
fn accept_part(rounds: u32, settings: &FloorSettings, report: &mut Report) -> Result<(), ServerError> {
    let mut best: (f64, f64) = (0.0, f64::INFINITY);
    let mut floors = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (floors, by) in floors.iter_mut().zip([By::Calls, By::Ring]) {
            floors.push(accept(by, settings)?);
        }
    }
    for (floors, by) in floors.iter().zip([By::Calls, By::Ring]) {
        let per_second = median(floors.iter().map(|floor| floor.per_second));
        let cpu_us = median(floors.iter().map(|floor| floor.cpu_us));
        report.figure(&format!("accepts_per_second_by_{}", by.name()), per_second);
        report.figure(&format!("accept_cpu_us_by_{}", by.name()), cpu_us);
        best = (best.0.max(per_second), best.1.min(cpu_us));
    }
    report.figure("accepts_per_second", best.0);
    report.figure("accept_cpu_us", best.1);
    Ok(())
}

fn send_part(rounds: u32, settings: &FloorSettings, report: &mut Report) -> Result<(), ServerError> {
    let mut floors = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (floors, by) in floors.iter_mut().zip([By::Calls, By::Ring]) {
            floors.push(send(by, settings)?);
        }
    }
    let mut best_us = f64::INFINITY;
    for (floors, by) in floors.iter().zip([By::Calls, By::Ring]) {
        let figures: [fn(&SendFloor) -> f64; 3] =
            [|floor| floor.per_second, |floor| floor.cpu_us, |floor| floor.blocked_share];
        let [per_second, cpu_us, blocked_share] = figures.map(|figure| median(floors.iter().map(figure)));
        report.figure(&format!("sends_per_second_by_{}", by.name()), per_second);
        report.figure(&format!("send_cpu_us_by_{}", by.name()), cpu_us);
        report.figure(&format!("sends_blocked_share_by_{}", by.name()), blocked_share);
        best_us = best_us.min(cpu_us);
    }
    report.figure("send_cpu_us", best_us);
    report.figure("sends_per_cpu_second", 1e6 / best_us);
    Ok(())
}

fn echo_part(rounds: u32, settings: &FloorSettings, report: &mut Report) -> Result<(), ServerError> {
    let (mut latency, mut lag, mut cpu_us) = (Latency::new(), Latency::new(), Vec::new());
    for _ in 0..rounds {
        let floor = echo(settings)?;
        latency.merge(&floor.latency);
        lag.merge(&floor.lag);
        cpu_us.push(floor.cpu_us);
    }
    report.latency("echo", &latency);
    report.latency("generator_lag", &lag);
    report.figure("echo_cpu_us", median(cpu_us.into_iter()));
    let (echo_us, lag_us) = (latency.quantile_us(0.99), lag.quantile_us(0.99));
    if lag_us * 2 > echo_us {
        report.generator_was_bottleneck(format!("p99 of its lag is {lag_us} µs of {echo_us} µs"));
    }
    Ok(())
}

fn sync_part(
    directory: Option<PathBuf>,
    settings: &FloorSettings,
    report: &mut Report,
) -> Result<(), ServerError> {
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    for (name, bytes) in [("append", settings.bytes), ("batch", settings.bytes * BATCH_EVENTS)] {
        let floor = sync(&directory, bytes, settings.time)?;
        report.latency(&format!("sync_of_{name}"), &floor.latency);
        report.figure(&format!("syncs_of_{name}_per_second"), floor.per_second);
    }
    report.setting("batch_appends", BATCH_EVENTS);
    Ok(())
}

fn store_part(
    directory: Option<PathBuf>,
    arguments: &Arguments,
    settings: &FloorSettings,
    report: &mut Report,
) -> Result<(), ServerError> {
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    let (mut latency, mut per_second, mut cpu_us) = (Latency::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let fresh = tempfile::tempdir_in(&directory).map_err(ServerError::of_file(&directory))?;
        let load = StoreLoad {
            conversations: arguments.conversations,
            batch: BATCH_EVENTS,
            bytes: settings.bytes,
            time: settings.time,
            seed: settings.seed,
        };
        let floor = store(fresh.path(), &load)?;
        latency.merge(&floor.latency);
        per_second.push(floor.per_second);
        cpu_us.push(floor.cpu_us);
    }
    report.latency("store_batch", &latency);
    report.figure("store_appends_per_second", median(per_second.into_iter()));
    report.figure("store_cpu_us_per_append", median(cpu_us.into_iter()));
    report.setting("batch_appends", BATCH_EVENTS);
    Ok(())
}

/// A bare socket is half of a bare pair; an idle client's is what remains of a pair with it.
fn idle_part(settings: &FloorSettings, report: &mut Report) -> Result<(), ServerError> {
    let rings = settings.sockets.div_ceil(18_000);
    let threads = u16::try_from(rings).unwrap_or(u16::MAX).max(settings.threads);
    let settings = FloorSettings { threads, ..*settings };
    let bare = idle(false, &settings)?;
    let armed = idle(true, &settings)?;
    let socket_bytes = bare.pair_bytes / 2.0;
    report.figure("idle_socket_kernel_bytes", socket_bytes);
    report.figure("idle_client_kernel_bytes", armed.pair_bytes - socket_bytes);
    report.figure("idle_pair_taken_bytes", bare.growth.taken_bytes as f64 / f64::from(settings.sockets));
    if Kernel::read()?.caches.is_empty() {
        report.note("/proc/slabinfo can't be read: kernel bytes are all slabs', other programs' included");
    }
    let of_socket = |bytes: i64| bytes as f64 / f64::from(settings.sockets) / 2.0;
    for (cache, bytes) in bare.growth.caches.iter().filter(|(_, bytes)| of_socket(*bytes) >= 16.0) {
        report.note(format!("a bare idle socket has {:.0} bytes of {cache}", of_socket(*bytes)));
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
