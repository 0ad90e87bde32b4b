//! A thread of the swarm: one ring, one crowd, one script, and the loop between them.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::operation::Operation;
use ring::setup::SetupError;
use ring::waker::Waker;
use ring::{Ring, Settings};

use super::{Counts, Crowd, CrowdSettings, Finished, RING_SLOTS_SPARE, Script, Shared};

/// Longest sleep when nothing is due: the scenario wakes a thread when it says something.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Longest sleep when clients wait to connect and those of other rings have taken all places.
const STARVED_SLEEP: Duration = Duration::from_millis(20);

/// CPUs that threads may run on.
pub(super) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// What a thread is made of.
pub(super) struct Plan {
    pub(super) number: u32,
    pub(super) connecting: u32,
    pub(super) settings: Arc<CrowdSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) counts: Arc<Counts>,
    pub(super) waker: Waker,
    pub(super) clients: Range<u32>,
}

/// The loop. Made, run and dropped on its thread.
pub(super) struct Thread<S> {
    ring: Ring,
    crowd: Crowd,
    script: S,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    /// The step that the script was told of.
    step: u32,
}

impl<S: Script> Thread<S> {
    /// # Errors
    /// The host has no such ring.
    pub(super) fn new(plan: Plan, script: S) -> Result<Self, SetupError> {
        let Plan { number, connecting, settings, shared, counts, waker, clients } = plan;
        let count = clients.len() as u32;
        let ring = Settings {
            slots: count + RING_SLOTS_SPARE,
            submissions: 1_024,
            completions: 8_192,
            buffers: 64,
            buffer_bytes: settings.receive_bytes,
            dials: connecting.min(count + RING_SLOTS_SPARE),
            ..Settings::default()
        };
        let ring = Ring::new(ring, Vec::new(), waker)?;
        let crowd = Crowd::new(number, clients, Arc::clone(&shared), settings);
        Ok(Self { ring, crowd, script, shared, counts, step: 0 })
    }

    /// Runs until the scenario stops it.
    ///
    /// # Panics
    /// When the kernel breaks the ring.
    pub(super) fn run(mut self) -> Finished<S> {
        self.script.begin(&mut self.crowd);
        while !self.shared.stops.load(Ordering::Acquire) {
            if let Err(error) = self.turn() {
                panic!("a ring of the load generator is broken: {error}");
            }
        }
        self.finish()
    }

    /// Does what is due, then waits for what happens.
    fn turn(&mut self) -> io::Result<()> {
        self.crowd.now_ns = ring::clock::monotonic_ns();
        let step = self.shared.step.load(Ordering::Acquire);
        if step != self.step {
            self.step = step;
            self.script.directed(step, &mut self.crowd);
        }
        self.crowd.do_due(&mut self.script);
        self.crowd.flush();
        let Self { ring, crowd, script, shared, .. } = self;
        crowd.operations.drain(..).for_each(|operation| ring.submit(operation));
        crowd.dial(ring);
        // What was done took time, too.
        crowd.now_ns = ring::clock::monotonic_ns();
        let patience = crowd.next_ns().map_or(SLEEP_MAX, |due_ns| {
            Duration::from_nanos(due_ns.saturating_sub(crowd.now_ns)).min(SLEEP_MAX)
        });
        let starves = !crowd.queue.is_empty() && crowd.counters.connecting == 0;
        let patience = if starves { patience.min(STARVED_SLEEP) } else { patience };
        let news = || shared.step.load(Ordering::Acquire) != step || shared.stops.load(Ordering::Acquire);
        ring.turn(patience, news, |completion| crowd.handle(completion, script))?;
        self.counts.store(&self.counters());
        Ok(())
    }

    fn counters(&self) -> super::Counters {
        super::Counters { enters: self.ring.counters().enters, ..self.crowd.counters() }
    }

    /// Resets all sockets: thousands in TIME_WAIT would be in the next run's way.
    fn finish(mut self) -> Finished<S> {
        let counters = self.counters();
        for client in &self.crowd.clients {
            self.ring.submit(Operation::Abort(client.token));
        }
        drop(self.ring);
        self.counts.store(&counters);
        let Crowd { latencies, lag, .. } = self.crowd;
        Finished { script: self.script, counters, latencies, lag }
    }
}
