//! The store thread: takes all requests that wait, runs their transactions, syncs once, and answers.
//!
//! Nothing is answered before the sync that makes it durable: neither a commit, nor a read that may have seen one.
//! After a failed sync the engine takes no commits any more, and everything of that group is answered with
//! [`Failure::Poisoned`](crate::request::Failure::Poisoned).

pub mod metrics;
mod queue;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use protocol::envelope::RouterId;

use crate::engine::Engine;
use crate::kv::EngineError;
use crate::request::{Epoch, Outcome, Request, RequestId};

pub use metrics::{Metrics, State};
use queue::{Job, Queue};
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
        let worker = Worker::new(engine, epoch, settings, Arc::clone(&queue), answer, flush);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || worker.run())?;
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
        self.queue.push(Job::new(router, id, request)).map_err(|job| (job.id, job.request))
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
