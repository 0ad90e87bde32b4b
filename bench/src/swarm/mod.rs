//! The swarm: all clients of a run, a thread and a ring for each part of them, and the script that says what they do. What
//! they say is `wire`'s, what is measured of it the scenario's.
//!
//! A scenario gives each thread a [`Script`] and the swarm numbers its clients from 0 up; client n is the user
//! [`name::user`]`(n)`. Each script has its own part of them, a [`Crowd`]: it is told what they hear, tells them what to do,
//! and says when it wants to be woken. Scripts share nothing but what the scenario gives them.

mod budget;
mod client;
mod connecting;
mod counters;
mod crowd;
mod departure;
mod hearing;
pub mod name;
mod script;
mod sending;
mod source;
mod thread;
mod ticket;
mod timer;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use ring::limit::Limit;
use ring::setup::SetupError;
use ring::waker::Waker;

use self::budget::Budget;
pub use self::counters::{Counters, Counts};
pub use self::crowd::{Crowd, CrowdSettings};
pub use self::departure::Departure;
pub use self::script::{Frame, Script};
use self::thread::Thread;
use crate::command::Failure;
use crate::options::SwarmOptions;
use crate::report::Latency;
use crate::server::{Growth, Server};

/// Clients of a ring past which another one shares them, where there is a CPU for it.
const RING_CLIENTS: u32 = 19_500;
/// Slots of a ring that no client is counted on for: the process's own descriptors are not direct, but a client that
/// reconnects may need a slot before its last one is free.
const RING_SLOTS_SPARE: u32 = 64;

/// The clients of a run.
#[derive(Clone)]
pub struct SwarmSettings {
    /// How many.
    pub clients: u32,
    /// Rings, each a thread; `None` for as many as suit the clients and the CPUs.
    pub rings: Option<u16>,
    /// Clients between dialling and `welcome` at the same time, over all rings.
    pub connecting: u32,
    /// What every client is like.
    pub crowd: CrowdSettings,
}

impl SwarmSettings {
    /// `clients` clients of a server, as the options say.
    #[must_use]
    pub fn new(clients: u32, server: &Server, options: &SwarmOptions, seed: u64) -> Self {
        let targets = server.client_addresses();
        let crowd = CrowdSettings::new(targets, server.secret(), options.subprotocol, seed);
        Self { clients, rings: options.rings, connecting: options.connecting, crowd }
    }

    /// The clients of each ring.
    fn parts(&self, cpus: u32) -> Vec<Range<u32>> {
        let suitable = self.clients.div_ceil(RING_CLIENTS).min(cpus);
        let rings = self.rings.map_or(suitable, u32::from).clamp(1, self.clients.max(1));
        let begin = |ring: u32| (u64::from(self.clients) * u64::from(ring) / u64::from(rings)) as u32;
        (0..rings).map(|ring| begin(ring)..begin(ring + 1)).collect()
    }
}

/// What the threads and the scenario share.
struct Shared {
    step: AtomicU32,
    stops: AtomicBool,
    connecting: Budget,
}

/// One thread, seen from the scenario.
struct Part<S> {
    handle: JoinHandle<Option<Finished<S>>>,
    waker: Waker,
    counts: Arc<Counts>,
}

/// What a thread leaves.
#[derive(Debug)]
pub struct Finished<S> {
    /// Its script.
    pub script: S,
    /// What its clients did.
    pub counters: Counters,
    /// Times from dial to `welcome` since the script last took them.
    pub latencies: Latency,
    /// How late its timers and wakes were: the generator's own lateness.
    pub lag: Latency,
}

/// The running threads. Dropped, they stop; [`Swarm::finish`] gets what they leave.
pub struct Swarm<S> {
    parts: Vec<Part<S>>,
    shared: Arc<Shared>,
}

impl<S: Script> Swarm<S> {
    /// Starts the threads, with what `script` gives each: it is told the numbers of its clients, all of which are away.
    ///
    /// # Errors
    /// The host can't: the message says what mends it.
    ///
    /// # Panics
    /// A thread could not be started.
    pub fn start(settings: &SwarmSettings, mut script: impl FnMut(Range<u32>) -> S) -> Result<Self, Failure> {
        // The more descriptors, the fewer banks.
        Limit::raise_descriptors().map_err(Failure::failed)?;
        let parts = settings.parts(thread::cpus());
        let connecting = settings.connecting.max(1);
        let shared = Arc::new(Shared {
            step: AtomicU32::new(0),
            stops: AtomicBool::new(false),
            connecting: Budget::new(connecting),
        });
        let crowd = Arc::new(settings.crowd.clone());
        let mut swarm = Self { parts: Vec::with_capacity(parts.len()), shared };
        for (number, clients) in parts.into_iter().enumerate() {
            let waker = Waker::new().map_err(Failure::failed)?;
            let counts = Arc::new(Counts::default());
            let plan = thread::Plan {
                number: number as u32,
                connecting,
                settings: Arc::clone(&crowd),
                shared: Arc::clone(&swarm.shared),
                counts: Arc::clone(&counts),
                waker: waker.clone(),
                clients: clients.clone(),
            };
            let handle = start_thread(plan, script(clients)).map_err(Failure::failed)?;
            swarm.parts.push(Part { handle, waker, counts });
        }
        Ok(swarm)
    }

    /// Tells every script to go on to this step ([`Script::directed`]), in its own time but at once. A script that has not
    /// yet been told of the step before hears of the last one alone.
    pub fn direct(&self, step: u32) {
        self.shared.step.store(step, Ordering::Release);
        self.wake();
    }

    /// What the clients do now, and have done.
    #[must_use]
    pub fn counts(&self) -> Counters {
        let mut sum = Counters::default();
        for part in &self.parts {
            sum.add(&part.counts.load());
        }
        sum
    }

    /// Rings, each a thread.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.parts.len()
    }

    /// Stops the threads, which closes all sockets, and gives what they leave, in the order of their clients.
    ///
    /// # Panics
    /// When a thread has.
    #[must_use]
    pub fn finish(mut self) -> Vec<Finished<S>> {
        self.stop();
        let join = |part: Part<S>| match part.handle.join() {
            Ok(finished) => finished.expect("a thread that started runs to its end"),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        std::mem::take(&mut self.parts).into_iter().map(join).collect()
    }

    /// Whether a thread has ended by itself: it panicked, and [`Swarm::finish`] will tell.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.parts.iter().any(|part| part.handle.is_finished())
    }
}

impl<S> Swarm<S> {
    fn stop(&self) {
        self.shared.stops.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        for part in &self.parts {
            part.waker.wake();
        }
    }
}

impl<S> Drop for Swarm<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why the figures of a run are the generator's own, if they are: its clients acted later than they were meant to.
#[must_use]
pub fn bottleneck<S>(finished: &[Finished<S>], lag_us_max: u64) -> Option<String> {
    let mut lag = Latency::new();
    finished.iter().for_each(|part| lag.merge(&part.lag));
    let p99_us = lag.quantile_us(0.99);
    (p99_us > lag_us_max)
        .then(|| format!("its clients acted up to {p99_us} µs (p99) late, over {lag_us_max} µs"))
}

/// Share of the host's CPU time in use from which on whoever uses more of it holds the other up.
const BUSY_SHARE: f64 = 0.95;

/// The other reason: in the measured part it used more CPU time than the server, on a host that had no more to give.
#[must_use]
pub fn greed(growth: &Growth) -> Option<String> {
    let (server, own) = (growth.server_cpu?.as_secs_f64(), growth.generator_cpu.as_secs_f64());
    let busy = growth.kernel.busy_share;
    (busy > BUSY_SHARE && own > server).then(|| {
        format!(
            "it used {own:.1} s of CPU time, the server {server:.1} s, on a host {:.0} % busy",
            busy * 100.0
        )
    })
}

fn start_thread<S: Script>(
    plan: thread::Plan,
    script: S,
) -> Result<JoinHandle<Option<Finished<S>>>, SetupError> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    // A ring is made on the thread that it lives on.
    let run = move || match Thread::new(plan, script) {
        Ok(thread) => {
            let _ = tell.send(Ok(()));
            Some(thread.run())
        }
        Err(error) => {
            let _ = tell.send(Err(error));
            None
        }
    };
    let handle = std::thread::Builder::new().name("swarm".to_owned()).spawn(run);
    let handle = handle.expect("a host that runs a server has room for a thread");
    told.recv().expect("a thread says how its start went").map(|()| handle)
}

/// Where clients connect, as `Host` says it.
pub(crate) fn host(target: SocketAddr) -> String {
    target.to_string()
}

#[cfg(test)]
mod tests {
    use super::{CrowdSettings, SwarmSettings};
    use crate::options::Subprotocol;

    fn parts(clients: u32, rings: Option<u16>) -> Vec<u32> {
        let target = "127.0.0.1:1".parse().unwrap();
        let crowd = CrowdSettings::new(&[target], "secret", Subprotocol::Json, 1);
        let settings = SwarmSettings { clients, rings, connecting: 1, crowd };
        let parts = settings.parts(2);
        assert_eq!((parts[0].start, parts.last().unwrap().end), (0, clients));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        parts.into_iter().map(|part| part.end - part.start).collect()
    }

    #[test]
    fn every_client_has_a_place_in_one_ring() {
        assert_eq!(parts(10, None), [10]);
        assert_eq!(parts(10, Some(3)), [3, 3, 4]);
        assert_eq!(parts(2, Some(3)), [1, 1]);
        assert_eq!(parts(0, None), [0]);
        assert_eq!(parts(19_500, None).len(), 1);
        assert_eq!(parts(1_000_000, None), [500_000, 500_000], "one a CPU");
        assert_eq!(parts(1_000_000, Some(5)).len(), 5);
    }
}
