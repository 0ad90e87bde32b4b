//! The other end of the bare kernel's sockets: connections dialled from rings of this process, held, drained, or made to
//! echo. What is measured is at the far end, and in the times that come back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ring::limit::Limit;

use super::client::Client;
use crate::report::Latency;
use crate::server::ServerError;

/// Places of a ring that no socket gets: accepts, the waker, and room for the hash's spread.
const PLACES_SPARE: u64 = 400;
/// How long all dials together may take without one that succeeds.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(1);

/// What the sockets do once they are connected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Nothing, and nothing is armed on them: as bare as the accepted ones.
    Hold,
    /// Wait for something to read, which never comes: as an idle client's.
    Wait,
    /// Read what comes.
    Drain,
    /// Send messages at a rate, open loop, and wait for each to come back.
    Echo {
        /// Messages a second over all sockets.
        rate: f64,
        /// Length of a message.
        bytes: usize,
        /// What their times come from.
        seed: u64,
    },
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// From the intended time of a message until the whole of it was back.
    pub(super) latency: Latency,
    /// From the intended time of a message until it was given to the kernel: the generator's own lag.
    pub(super) lag: Latency,
    /// Sockets that were refused or ended early.
    pub(super) lost: u64,
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: SocketAddr,
    pub(super) part: Part,
    pub(super) connecting: u32,
    pub(super) connected: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) acts: AtomicBool,
    pub(super) ends: AtomicBool,
    /// All rings are made; all may dial.
    barriers: [Barrier; 2],
}

/// Sockets of this process, a ring a thread.
#[derive(Debug)]
pub(super) struct Crowd {
    shared: Arc<Shared>,
    sockets: u64,
    threads: Vec<JoinHandle<Result<Outcome, ServerError>>>,
}

impl Crowd {
    /// Makes the rings for `sockets` connections to `target`, and dials none yet. `connecting`: dials at once, a ring.
    pub(super) fn new(target: SocketAddr, sockets: u32, connecting: u32, part: Part) -> Self {
        let of_one =
            u32::try_from(Limit::descriptors().soft.saturating_sub(PLACES_SPARE)).unwrap_or(u32::MAX);
        let rings = sockets.div_ceil(of_one.max(1)).max(1);
        let parties = rings as usize + 1;
        let shared = Arc::new(Shared {
            target,
            part,
            connecting,
            connected: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            acts: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            barriers: [Barrier::new(parties), Barrier::new(parties)],
        });
        let start = |number: u32| {
            let shared = Arc::clone(&shared);
            let count = sockets / rings + u32::from(number < sockets % rings);
            thread::spawn(move || run(&shared, number, count))
        };
        let threads = (0..rings).map(start).collect();
        shared.barriers[0].wait();
        Self { shared, sockets: u64::from(sockets), threads }
    }

    /// Begins to dial.
    pub(super) fn dial(&self) {
        self.shared.barriers[1].wait();
    }

    /// Waits until all are connected.
    ///
    /// # Errors
    /// Some were refused, or nothing goes on.
    pub(super) fn wait_until_connected(&self) -> Result<(), ServerError> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let connected = self.shared.connected.load(Ordering::Relaxed);
            if connected == self.sockets {
                return Ok(());
            }
            let lost = self.shared.lost.load(Ordering::Relaxed);
            if connected > seen {
                (seen, since) = (connected, Instant::now());
            }
            if lost > 0 || since.elapsed() > PATIENCE {
                let words = format!("{connected} connections of {} succeeded, {lost} failed", self.sockets);
                return Err(ServerError::Unreachable {
                    call: format!("dialling {}", self.shared.target),
                    words,
                });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Lets the sockets begin with their part.
    pub(super) fn act(&self) {
        self.shared.acts.store(true, Ordering::Relaxed);
    }

    /// Bytes that came in so far.
    pub(super) fn received_bytes(&self) -> u64 {
        self.shared.received_bytes.load(Ordering::Relaxed)
    }

    /// Resets all connections and says what came of them.
    ///
    /// # Errors
    /// A ring could not be made or broke.
    ///
    /// # Panics
    /// When a thread of the crowd did.
    pub(super) fn end(self) -> Result<Outcome, ServerError> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for thread in self.threads {
            let outcome = thread.join().expect("the crowd does not panic")?;
            all.latency.merge(&outcome.latency);
            all.lag.merge(&outcome.lag);
        }
        all.lost = self.shared.lost.load(Ordering::Relaxed);
        Ok(all)
    }
}

fn run(shared: &Shared, number: u32, count: u32) -> Result<Outcome, ServerError> {
    let client = Client::new(shared, source(number), number, count);
    shared.barriers[0].wait();
    shared.barriers[1].wait();
    client?.run(shared)
}

/// A source address for each ring: about 28,000 ports fit one.
fn source(number: u32) -> SocketAddr {
    let [_, _, third, fourth] = (number + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, third, fourth)), 0)
}
