//! The bounded queue from all cores to the store thread, and the one wake a sleeping store thread needs.
//!
//! The store thread says that it will sleep, then looks once more; whoever puts something in looks afterwards whether
//! it sleeps. With a full fence between the two steps of each, one of them sees the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use protocol::envelope::RouterId;

use super::metrics::Metrics;
use crate::request::{Request, RequestId};

/// To whom an outcome goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) router: RouterId,
    pub(super) id: RequestId,
    /// When it asked.
    pub(super) since: Instant,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) asker: Asker,
    pub(super) request: Request,
}

impl Job {
    pub(super) fn new(router: RouterId, id: RequestId, request: Request) -> Self {
        Self { asker: Asker { router, id, since: Instant::now() }, request }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    jobs: ArrayQueue<Job>,
    consumer: OnceLock<Thread>,
    asleep: AtomicBool,
    closed: AtomicBool,
    metrics: Metrics,
}

impl Queue {
    pub(super) fn new(requests_max: usize) -> Self {
        Self {
            jobs: ArrayQueue::new(requests_max),
            consumer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            metrics: Metrics::default(),
        }
    }

    /// Names the thread that is woken. Once.
    pub(super) fn set_consumer(&self, thread: Thread) {
        self.consumer.set(thread).expect("a queue has one consumer");
    }

    #[expect(clippy::result_large_err, reason = "the request itself goes back to its owner")]
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        if self.closed.load(Ordering::Acquire) {
            return Err(job);
        }
        self.jobs.push(job)?;
        self.wake();
        Ok(())
    }

    pub(super) fn pop(&self) -> Option<Job> {
        self.jobs.pop()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// No more is taken; the consumer ends when it has taken what waits.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.consumer.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until there is something, or the queue is closed. May return early.
    pub(super) fn wait(&self) {
        self.sleep(true, thread::park);
    }

    /// Sleeps like [`Self::wait`], at most for `time`, or until somebody unparks the thread. Without `takes` it is no
    /// reason to wake that something waits.
    #[cfg(feature = "foundationdb")]
    pub(super) fn wait_for(&self, takes: bool, time: std::time::Duration) {
        self.sleep(takes, || thread::park_timeout(time));
    }

    fn sleep(&self, takes: bool, park: impl FnOnce()) {
        if self.consumer.get().is_none() {
            // The thread began before it was named: nobody could wake it yet.
            thread::yield_now();
            return;
        }
        self.asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if !takes || (self.jobs.is_empty() && !self.is_closed()) {
            park();
        }
        self.asleep.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use protocol::id::{Tenant, UserId, UserKey};

    use super::*;

    fn job(id: u64) -> Job {
        let user = UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("u").unwrap() };
        Job::new(RouterId(0), RequestId(id), Request::LastSeen { user })
    }

    #[test]
    fn a_full_queue_gives_the_request_back_and_a_closed_one_too() {
        let queue = Queue::new(1);
        assert!(queue.push(job(1)).is_ok());
        assert_eq!(queue.push(job(2)).unwrap_err().asker.id, RequestId(2));
        assert_eq!(queue.pop().unwrap().asker.id, RequestId(1));
        queue.close();
        assert_eq!(queue.push(job(3)).unwrap_err().asker.id, RequestId(3));
    }

    #[test]
    fn no_wake_is_lost_between_many_producers_and_a_consumer_that_sleeps_at_once() {
        const EACH: u64 = 5_000;
        let queue = Arc::new(Queue::new(4));
        let consumer = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut taken = 0;
                while taken < 3 * EACH {
                    match queue.pop() {
                        Some(_) => taken += 1,
                        None => queue.wait(),
                    }
                }
            }
        });
        queue.set_consumer(consumer.thread().clone());
        let producers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    for id in 0..EACH {
                        let mut waiting = job(id);
                        while let Err(back) = queue.push(waiting) {
                            waiting = back;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.join().unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while !consumer.is_finished() {
            assert!(Instant::now() < deadline, "the consumer sleeps with requests waiting");
            thread::yield_now();
        }
    }
}
