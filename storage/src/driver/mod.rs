//! The store thread. Over an engine of this process it takes all requests that wait, runs their transactions, syncs
//! once, and answers (`worker.rs`). Over a cluster it has many transactions under way and answers each as it ends
//! (`flights.rs`).
//!
//! Nothing is answered before it is durable: neither a commit, nor a read that may have seen one. After a failed sync the
//! engine takes no commits any more, and everything of that group is answered with
//! [`Failure::Poisoned`](crate::request::Failure::Poisoned). While a cluster is away, everything is answered with
//! [`Failure::Unavailable`](crate::request::Failure::Unavailable) at once.

#[cfg(feature = "foundationdb")]
mod flights;
#[cfg(feature = "foundationdb")]
mod health;
pub mod metrics;
mod queue;
mod removals;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use protocol::envelope::RouterId;

use crate::engine::Engine;
use crate::kv::EngineError;
use crate::request::{Epoch, Failure, Outcome, Request, RequestId};

pub use metrics::{Metrics, State};
use queue::{Asker, Job, Queue};
use worker::Worker;

/// Takes an outcome to the router shard that asked. Called in the store thread; must not block.
pub type Answer = Box<dyn FnMut(RouterId, RequestId, Outcome) + Send>;
/// Called in the store thread behind the last answer of a group: wake whoever got one.
pub type Flush = Box<dyn FnMut() + Send>;

/// The store thread's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests that may wait.
    pub queue_requests_max: usize,
    /// Requests that share a sync.
    pub group_requests_max: usize,
    /// Bytes of appends that share a sync: the group ends with the request that reaches them.
    pub group_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_requests_max: 8_192, group_requests_max: 1_024, group_bytes_max: 4 * 1024 * 1024 }
    }
}

/// The store thread, owned by who started it.
#[derive(Debug)]
pub struct Driver {
    queue: Arc<Queue>,
    thread: JoinHandle<Result<(), EngineError>>,
}

/// Where requests are handed in; one for each core, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Arc<Queue>,
}

impl Driver {
    /// Starts the thread. `epoch` is the tenure of this node ([`crate::claim`]); under it, removals that a crash
    /// interrupted are finished in the background.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        engine: Engine,
        epoch: Epoch,
        settings: Settings,
        answer: Answer,
        flush: Flush,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(settings.queue_requests_max));
        let of_thread = Arc::clone(&queue);
        let work = move || match engine {
            #[cfg(feature = "foundationdb")]
            Engine::Foundationdb(engine) => flights::run(engine, epoch, of_thread, answer, flush),
            engine => Worker::new(engine, epoch, settings, of_thread, answer, flush).run(),
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(work)?;
        queue.set_consumer(thread.thread().clone());
        Ok(Self { queue, thread })
    }

    /// A handle for a core.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { queue: Arc::clone(&self.queue) }
    }

    /// Answers what waits, syncs, closes the engine, and ends the thread. Nothing is taken any more.
    ///
    /// # Errors
    /// When the engine was poisoned, or could not be closed in order.
    pub fn stop(self) -> Result<(), EngineError> {
        self.queue.close();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(EngineError::Poisoned("the store thread failed".to_owned())))
    }
}

impl Handle {
    /// Hands a request in. Its outcome comes through [`Answer`], exactly once.
    ///
    /// # Errors
    /// When as many wait as may, or the driver stops: the request comes back.
    #[expect(clippy::result_large_err, reason = "the request itself goes back to its owner")]
    pub fn try_submit(
        &self,
        router: RouterId,
        id: RequestId,
        request: Request,
    ) -> Result<(), (RequestId, Request)> {
        self.queue.push(Job::new(router, id, request)).map_err(|job| (job.asker.id, job.request))
    }

    /// What the store thread counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.queue.metrics()
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// What a request that broke an assertion is answered.
const FAULT: &str = "a fault of the store's own: see the message of the panic";

/// Counts and gives every outcome to whoever asked.
fn answer_all(metrics: &Metrics, over: &mut Vec<(Asker, Outcome)>, answer: &mut Answer) {
    let now = Instant::now();
    for (asker, outcome) in over.drain(..) {
        if let Outcome::Failed(failure) = &outcome {
            metrics.count_failed();
            if matches!(failure, Failure::Poisoned(_)) {
                metrics.set_state(State::Poisoned);
            }
        }
        metrics.latency.record(now.saturating_duration_since(asker.since));
        answer(asker.router, asker.id, outcome);
    }
}
