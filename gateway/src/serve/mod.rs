//! `serve`, `gateway` and `router`: a server in one process, or its part of one, from the configuration to the last flush. What the threads do stands in
//! `core`, `api` and `storage`; this starts, watches and stops them.

#[cfg(feature = "foundationdb")]
mod cluster;
mod doors;
mod error;
mod metrics;
mod names;
mod node;
mod preflight;
mod pulse;
mod role;
mod settings;
mod start;
mod store;
mod supervisor;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic;
use std::process;
use std::time::{Duration, Instant};

use ring::signal::{Signal, Signals};
use storage::fault;

#[cfg(feature = "foundationdb")]
pub use cluster::connect;
pub use error::ServeError;
pub(crate) use names::look_up;
pub(crate) use preflight::try_threads;
pub use role::Role;
pub(crate) use role::{configured_secret, name};
pub use store::open_embedded;

use crate::config::{Config, warnings};
use crate::log::{self, Logger};
use node::Node;
use supervisor::Supervisor;

/// How often the main thread looks after the node.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// How often it looks whether keys that are being read have been.
const KEYS_LOOK: Duration = Duration::from_millis(20);
/// How often a node looks whether it was told who owns what.
const PLACEMENT_LOOK: Duration = Duration::from_millis(5);
/// How often the log says that a node still waits for that.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Cores give a sign of life each second, and one that sleeps each other second: less is no silence.
const SILENCE_MIN: Duration = Duration::from_secs(4);

/// Serves until a signal says stop; then drains, flushes and returns.
///
/// # Errors
/// When the server can't start.
pub fn run(config: &Config, role: Role) -> Result<(), ServeError> {
    // A kernel without huge pages gives small ones anyway.
    let _ = ring::pages::keep_small();
    let found = preflight::check(config, role)?;
    let signals = Signals::install().map_err(|error| ServeError::System("signals", error))?;
    let started = log::start(config.log.level, config.log.format);
    let (logger, _log_thread) = started.map_err(|error| ServeError::System("the log's thread", error))?;
    abort_on_panic();
    for warning in found.iter().chain(&warnings(config)) {
        logger.warn(warning, &[]);
    }
    let mut supervisor = Supervisor::of_environment().unwrap_or_else(|error| {
        logger.warn("the supervisor of NOTIFY_SOCKET can't be reached", &[("error", &error)]);
        Supervisor::nobody()
    });
    let mut node = Node::start(config, role, &logger, &signals, || supervisor.starting())?;
    node.look_after();
    if !wait_for_placement(&mut node, &signals, &mut supervisor, &logger) {
        node.stop(|_| true);
        return Err(ServeError::Interrupted);
    }
    say_ready(&node, &logger);
    supervisor.ready();
    watch(&mut node, config, &signals, &mut supervisor, &logger);
    supervisor.stopping(Duration::from_millis(u64::from(config.drain.deadline_ms)));
    let gave_up = node.has_given_up();
    node.stop(|time| {
        supervisor.alive();
        asks_to_stop(&signals, time)
    });
    if gave_up { Err(ServeError::Replaced) } else { Ok(()) }
}

/// The one line on stdout that scripts wait for.
fn say_ready(node: &Node, logger: &Logger) {
    let doors::Addresses { client, link, .. } = node.addresses();
    let mut line = String::from("ready");
    for (name, address) in [("client", client), ("link", link), ("api", Some(node.api_address()))] {
        if let Some(address) = address {
            // Writing into a string can't fail.
            let _ = write!(line, " {name}={address}");
        }
    }
    line.push('\n');
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever started us does not listen; clients may all the same.
        logger.warn("nobody reads the ready line", &[("error", &error)]);
    }
}

/// A node of a cluster is of no use before it knows who owns what. False when a signal asked to stop meanwhile.
fn wait_for_placement(
    node: &mut Node,
    signals: &Signals,
    supervisor: &mut Supervisor,
    logger: &Logger,
) -> bool {
    let begin = Instant::now();
    let mut told = begin;
    while !node.is_placed() {
        if asks_to_stop(signals, PLACEMENT_LOOK) {
            return false;
        }
        supervisor.starting();
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            let waiting_s = begin.elapsed().as_secs();
            logger.warn("no router node has told who owns what; trying on", &[("waiting_s", &waiting_s)]);
            node.look_after();
        }
    }
    true
}

/// Until a signal says stop.
fn watch(node: &mut Node, config: &Config, signals: &Signals, supervisor: &mut Supervisor, logger: &Logger) {
    let refresh = Duration::from_secs(u64::from(config.auth.jwks_refresh_s));
    let mut refreshed = Instant::now();
    let mut reloading = false;
    loop {
        let pace = if reloading { KEYS_LOOK } else { supervisor.pace(LOOK_AFTER) };
        match signals.wait(pace) {
            Ok(None) => {}
            Ok(Some(Signal::Hangup)) => {
                supervisor.reloading();
                reloading = true;
                node.reload_keys();
            }
            Ok(Some(Signal::Terminate | Signal::Interrupt)) => {
                logger.info("draining", &[]);
                return;
            }
            Err(error) => {
                logger.error("signals can't be read any more: stopping", &[("error", &error)]);
                return;
            }
        }
        node.look_after();
        if node.has_given_up() {
            return;
        }
        if node.silence() <= supervisor.silence_max(SILENCE_MIN) {
            supervisor.alive();
        }
        if reloading && !node.is_reading_keys() {
            reloading = false;
            supervisor.ready();
        }
        if !config.auth.jwks_url.is_empty() && refreshed.elapsed() >= refresh {
            refreshed = Instant::now();
            node.reload_keys();
        }
    }
}

/// Waits; true when a signal asks to stop.
fn asks_to_stop(signals: &Signals, time: Duration) -> bool {
    matches!(signals.wait(time), Ok(Some(Signal::Terminate | Signal::Interrupt)))
}

/// A thread that panics has broken a promise: the process must not go on half alive. Only the store answers for its own
/// faults: it is poisoned, reads go on and connections stay.
fn abort_on_panic() {
    panic::set_hook(Box::new(|information| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let contained = fault::is_contained();
        let follows = if contained { "poisoning the store" } else { "aborting" };
        let line = format!("murmuring: a fault of ours in thread {name}, {follows}: {information}\n");
        let _ = io::stderr().lock().write_all(line.as_bytes());
        if !contained {
            process::abort();
        }
    }));
}

/// The address that a client on this host reaches a listening address at.
#[must_use]
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, ExitStatus};

    use super::*;

    /// signal(7), on every architecture that Linux has io_uring on.
    const SIGABRT: i32 = 6;

    /// Runs one of the ignored tests below in a process of its own.
    fn end_of(test: &str) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = format!("serve::tests::{test}");
        command.args([&test, "--exact", "--ignored"]).output().unwrap().status
    }

    #[test]
    #[ignore = "a process of its own, started by the promise below"]
    fn faults_in_the_store() {
        abort_on_panic();
        assert_eq!(fault::contain(|| panic!("for the test")), None::<()>);
    }

    #[test]
    #[ignore = "a process of its own, started by the promise below"]
    fn faults_elsewhere() {
        abort_on_panic();
        panic!("for the test");
    }

    #[test]
    fn a_fault_ends_the_process_unless_the_store_answers_for_it() {
        assert!(end_of("faults_in_the_store").success());
        assert_eq!(end_of("faults_elsewhere").signal(), Some(SIGABRT));
    }

    #[test]
    fn an_unspecified_address_is_reached_over_loopback() {
        for (listening, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("127.0.0.2:3", "127.0.0.2:3"),
            ("192.0.2.1:4", "192.0.2.1:4"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), expected.parse::<SocketAddr>().unwrap());
        }
    }
}
