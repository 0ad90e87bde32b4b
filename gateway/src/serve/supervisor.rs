//! What the process tells whoever supervises it: sd_notify(3), a datagram to the socket that NOTIFY_SOCKET names. Without
//! one it tells nobody. Decides nothing: when the node is ready, stops, or is alive is said by `serve`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How long a word may wait for a supervisor that does not read.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a drain takes beside its deadline: requests under way, and the store's last flush.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// How often a supervisor is told that the store is still waited for.
const START_PACE: Duration = Duration::from_secs(10);
/// How long that word is good.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor, or nobody.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// Silence after which it takes the process for hung, when it watches.
    watchdog: Option<Duration>,
    told_alive: Instant,
}

impl Supervisor {
    /// The one that the environment names (sd_notify(3), sd_watchdog_enabled(3)).
    ///
    /// # Errors
    /// It names one that can't be reached.
    pub(super) fn of_environment() -> io::Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_for_us).map(Duration::from_micros);
        match variable("NOTIFY_SOCKET") {
            Some(address) => Self::new(&address, watchdog),
            None => Ok(Self::nobody()),
        }
    }

    /// One that listens at a path, or, behind an `@`, at an abstract name (unix(7)).
    fn new(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let watchdog = watchdog.filter(|watchdog| !watchdog.is_zero());
        Ok(Self { socket: Some(socket), watchdog, told_alive: Instant::now() })
    }

    /// Nobody listens.
    pub(super) fn nobody() -> Self {
        Self { socket: None, watchdog: None, told_alive: Instant::now() }
    }

    /// The store is waited for: a supervisor with less patience is asked for more. Costs a datagram when one is due.
    pub(super) fn starting(&mut self) {
        if self.told_alive.elapsed() >= START_PACE {
            let us = START_PATIENCE.as_micros();
            self.tell(&format!("EXTEND_TIMEOUT_USEC={us}\nSTATUS=waiting for the store"));
            self.told_alive = Instant::now();
        }
    }

    /// The server accepts connections, or does so again after [`Supervisor::reloading`].
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=accepting connections");
    }

    /// Keys are being read again.
    pub(super) fn reloading(&self) {
        let monotonic_us = ring::clock::monotonic_ns() / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={monotonic_us}\nSTATUS=reading keys"));
    }

    /// The drain begins, and ends within `deadline`: a supervisor with less patience is asked for more.
    pub(super) fn stopping(&self, deadline: Duration) {
        let us = (deadline + STOP_MARGIN).as_micros();
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={us}\nSTATUS=draining"));
    }

    /// The node lives. Costs a datagram when one is due.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some_and(|watchdog| self.told_alive.elapsed() >= watchdog / 4) {
            self.tell("WATCHDOG=1");
            self.told_alive = Instant::now();
        }
    }

    /// Silence of a shard that is none yet: half of the watchdog's patience, and at least `least`.
    pub(super) fn silence_max(&self, least: Duration) -> Duration {
        self.watchdog.map_or(Duration::MAX, |watchdog| (watchdog / 2).max(least))
    }

    /// How often [`Supervisor::alive`] is to be called, when that is more often than `usual`.
    pub(super) fn pace(&self, usual: Duration) -> Duration {
        self.watchdog.map_or(usual, |watchdog| usual.min(watchdog / 4))
    }

    /// A supervisor that has gone misses its words; the server goes on.
    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut words = [0; 256];
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let length = socket.recv(&mut words).unwrap_or(0);
        String::from_utf8(words[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_both_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        Supervisor::new(path.as_os_str(), None).unwrap().ready();
        assert!(heard(&named).starts_with("READY=1\n"));
        let name = format!("murmuring-test-{}", std::process::id());
        let nameless = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor::new(OsStr::new(&format!("@{name}")), None).unwrap().stopping(Duration::from_secs(10));
        assert_eq!(heard(&nameless), "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000\nSTATUS=draining");
    }

    #[test]
    fn a_watchdog_hears_a_live_node_and_only_when_it_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut supervisor = Supervisor::new(path.as_os_str(), Some(Duration::from_millis(80))).unwrap();
        supervisor.alive();
        assert_eq!(heard(&socket), "", "not due yet, and now it is");
        supervisor.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
        assert_eq!(supervisor.pace(Duration::from_secs(1)), Duration::from_millis(20));
        let least = Duration::from_secs(3);
        assert_eq!(supervisor.silence_max(least), least);
        let mut unwatched = Supervisor::new(path.as_os_str(), None).unwrap();
        unwatched.alive();
        assert_eq!(heard(&socket), "");
        assert_eq!(unwatched.silence_max(least), Duration::MAX);
    }

    #[test]
    fn a_wait_for_the_store_asks_for_patience_when_that_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut supervisor = Supervisor::new(path.as_os_str(), None).unwrap();
        supervisor.starting();
        assert_eq!(heard(&socket), "", "not due yet");
        supervisor.told_alive -= START_PACE;
        supervisor.starting();
        supervisor.starting();
        assert_eq!(heard(&socket), "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting for the store");
        assert_eq!(heard(&socket), "", "once");
    }

    #[test]
    fn nobody_is_told_nothing_and_an_address_without_a_listener_is_an_error() {
        Supervisor::nobody().ready();
        assert!(Supervisor::new(OsStr::new("/nowhere/notify"), None).is_err());
    }
}
