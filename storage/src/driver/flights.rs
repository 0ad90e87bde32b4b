//! The loop of the store thread over a cluster: many transactions are under way at once, each goes on when the client
//! library's thread wakes it, and is answered when it ends. The loop sleeps until something was asked or answered; what
//! ended meanwhile is answered together, with one wake a router shard.
//!
//! A cluster that is silent while it is asked is *away*: what is under way is answered at once (a commit in doubt as
//! `Unknown`), and so is everything that is asked, until a probe says that it is back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, Stream as _};

use super::health::{Change, Health};
use super::metrics::State;
use super::queue::{Asker, Job, Queue};
use super::{Answer, FAULT, Flush, answer_all, removals};
use crate::engine::FoundationdbEngine;
use crate::fault::contain;
use crate::kv::EngineError;
use crate::request::{Epoch, Failure, Outcome, Request};

/// Requests under way at once. With 2 ms a commit, 256 of them are 100,000 transactions a second: more than a client
/// library's one thread can do.
const FLIGHTS_MAX: usize = 256;
/// How often the cluster's silence is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A request that waited so long for its turn is refused: whoever asked is not there any more, or should not wait longer.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A sleep without a reason to wake by itself.
const IDLE: Duration = Duration::from_secs(3_600);
/// Pause before removals that did not end are taken up again.
const REMOVALS_PAUSE: Duration = Duration::from_secs(10);

/// Why something is under way.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Asked(Asker),
    /// The same, for a removal: several commits, which have to come to their end.
    AskedRemoval(Asker),
    /// Removals that did not end are taken up again.
    Removals,
    /// Is the cluster there?
    Probe,
}

impl Purpose {
    /// Who waits for its end.
    const fn asker(self) -> Option<Asker> {
        match self {
            Self::Asked(asker) | Self::AskedRemoval(asker) => Some(asker),
            Self::Removals | Self::Probe => None,
        }
    }
}

/// How it ended.
enum End {
    Outcome(Outcome),
    Removals(Result<(), EngineError>),
    Probed,
    /// It broke an assertion.
    Fault,
}

type Work = Pin<Box<dyn Future<Output = End> + Send>>;

/// A request under way.
struct Flight {
    purpose: Purpose,
    /// A commit is on its way, or in doubt.
    doubt: Arc<AtomicBool>,
    work: Work,
}

impl Future for Flight {
    type Output = (Purpose, End);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A transaction that breaks an assertion is our fault: the store is poisoned, and whoever asked is answered.
        let polled = contain(|| self.work.as_mut().poll(context));
        polled.unwrap_or(Poll::Ready(End::Fault)).map(|end| (self.purpose, end))
    }
}

/// Wakes the store thread: a swap, unless it sleeps.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

struct Flights {
    engine: FoundationdbEngine,
    epoch: Epoch,
    queue: Arc<Queue>,
    answer: Answer,
    flush: Flush,
    flights: FuturesUnordered<Flight>,
    over: Vec<(Asker, Outcome)>,
    health: Health,
    /// Commits that were counted.
    commits: u64,
    /// When removals are to be taken up again; `None`: they are under way, or none is known to be left.
    removals_at: Option<Instant>,
}

/// Runs until the queue is closed and everything is answered.
pub(super) fn run(
    engine: FoundationdbEngine,
    epoch: Epoch,
    queue: Arc<Queue>,
    answer: Answer,
    flush: Flush,
) -> Result<(), EngineError> {
    let now = Instant::now();
    let (flights, over) = (FuturesUnordered::new(), Vec::new());
    let (health, commits, removals_at) = (Health::new(now), engine.commits(), Some(now));
    Flights { engine, epoch, queue, answer, flush, flights, over, health, commits, removals_at }.run()
}

impl Flights {
    fn run(mut self) -> Result<(), EngineError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            self.take();
            self.poll(&mut Context::from_waker(&waker));
            self.look();
            self.answer_all();
            if self.queue.is_closed() && self.queue.len() == 0 && !self.is_asked() {
                break;
            }
            let takes = self.health.is_away() || self.flights.len() < FLIGHTS_MAX;
            let idle = self.flights.is_empty() && self.removals_at.is_none() && !self.health.is_away();
            self.queue.wait_for(takes, if idle { IDLE } else { LOOK });
        }
        let metrics = self.queue.metrics();
        let poisoned = metrics.state() == State::Poisoned;
        metrics.set_state(State::Stopped);
        if poisoned { Err(EngineError::Poisoned(FAULT.to_owned())) } else { Ok(()) }
    }

    /// True while somebody waits for something that is under way.
    fn is_asked(&self) -> bool {
        self.flights.iter().any(|flight| flight.purpose.asker().is_some())
    }

    /// Begins what waits, or refuses it while the cluster is away.
    fn take(&mut self) {
        if self.flights.is_empty() {
            self.health.begins_to_ask(Instant::now());
        }
        while self.health.is_away() || self.flights.len() < FLIGHTS_MAX {
            let Some(Job { asker, request }) = self.queue.pop() else { return };
            if self.health.is_away() || asker.since.elapsed() >= WAIT_MAX {
                self.over.push((asker, Outcome::Failed(Failure::Unavailable)));
            } else {
                self.begin(asker, request);
            }
        }
    }

    fn begin(&mut self, asker: Asker, request: Request) {
        let (engine, queue) = (self.engine.clone(), Arc::clone(&self.queue));
        let doubt = Arc::new(AtomicBool::new(false));
        let of_work = Arc::clone(&doubt);
        let purpose = match request {
            Request::Remove { .. } => Purpose::AskedRemoval(asker),
            _ => Purpose::Asked(asker),
        };
        let work =
            async move { End::Outcome(engine.perform(request, &of_work, &queue.metrics().setbacks).await) };
        self.flights.push(Flight { purpose, doubt, work: Box::pin(work) });
    }

    /// Begins work of the store's own.
    fn begin_own(&mut self, purpose: Purpose, work: impl Future<Output = End> + Send + 'static) {
        self.flights.push(Flight { purpose, doubt: Arc::default(), work: Box::pin(work) });
    }

    /// Goes on with whatever was woken.
    fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some((purpose, end))) = Pin::new(&mut self.flights).poll_next(context) {
            match (purpose, end) {
                (Purpose::Asked(asker), End::Outcome(outcome)) => self.over.push((asker, outcome)),
                (Purpose::AskedRemoval(asker), End::Outcome(outcome)) => {
                    if matches!(outcome, Outcome::Failed(_)) {
                        self.retry_removals();
                    }
                    self.over.push((asker, outcome));
                }
                (Purpose::Asked(asker) | Purpose::AskedRemoval(asker), _) => {
                    self.poison();
                    self.over.push((asker, Outcome::Failed(Failure::Poisoned(FAULT.to_owned()))));
                }
                (Purpose::Removals, End::Removals(Ok(()))) => {}
                (Purpose::Removals, End::Removals(Err(EngineError::Poisoned(_)))) => self.poison(),
                (Purpose::Removals, End::Removals(Err(_))) => self.retry_removals(),
                (Purpose::Removals, _) => self.poison(),
                (Purpose::Probe, _) => self.health.probed(Instant::now()),
            }
        }
    }

    fn poison(&mut self) {
        self.engine.poison();
        self.queue.metrics().set_state(State::Poisoned);
    }

    fn retry_removals(&mut self) {
        self.removals_at = Some(Instant::now() + REMOVALS_PAUSE);
    }

    /// Sees whether the cluster went or came back, and what is due.
    fn look(&mut self) {
        let now = Instant::now();
        if self.flights.is_empty() && !self.health.is_away() {
            self.health.begins_to_ask(now);
        }
        match self.health.look(self.engine.progress(), now) {
            Change::None => {}
            Change::Gone => {
                self.queue.metrics().set_away(true);
                self.give_up();
            }
            Change::Back => self.queue.metrics().set_away(false),
        }
        if self.health.wants_probe(now) {
            let engine = self.engine.clone();
            self.begin_own(Purpose::Probe, async move {
                // What it answers is progress or none, which is all that is asked.
                let _ = engine.probe().await;
                End::Probed
            });
        }
        if !self.health.is_away() && self.removals_at.is_some_and(|at| now >= at) {
            self.removals_at = None;
            let (engine, epoch, queue) = (self.engine.clone(), self.epoch, Arc::clone(&self.queue));
            self.begin_own(Purpose::Removals, async move {
                End::Removals(finish_removals(&engine, epoch, &queue).await)
            });
        }
    }

    /// Answers everything under way without waiting for its end. A commit in doubt may still happen.
    fn give_up(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            if let Some(asker) = flight.purpose.asker() {
                let doubt = flight.doubt.load(Ordering::Relaxed);
                let failure = if doubt { Failure::Unknown } else { Failure::Unavailable };
                self.over.push((asker, Outcome::Failed(failure)));
            }
            if matches!(flight.purpose, Purpose::Removals | Purpose::AskedRemoval(_)) {
                self.retry_removals();
            }
        }
    }

    fn answer_all(&mut self) {
        if self.over.is_empty() {
            return;
        }
        let commits = self.engine.commits();
        let metrics = self.queue.metrics();
        metrics.count_group(self.over.len(), commits - self.commits, false);
        self.commits = commits;
        answer_all(metrics, &mut self.over, &mut self.answer);
        (self.flush)();
    }
}

/// Takes removals up again that did not end, one after another.
async fn finish_removals(
    engine: &FoundationdbEngine,
    epoch: Epoch,
    queue: &Queue,
) -> Result<(), EngineError> {
    let mut begin = removals::first();
    loop {
        let mut found = engine.read_once(&[removals::read(begin)]).await?;
        let (removals, next) = removals::open(found.pop())?;
        for conversation in removals {
            let request = Request::Remove { epoch, conversation };
            match engine.perform(request, &AtomicBool::new(false), &queue.metrics().setbacks).await {
                Outcome::Failed(Failure::Unavailable | Failure::Unknown) => {
                    return Err(EngineError::Unavailable);
                }
                // Another owner has it, or nobody can end it: the next start will try, and `verify` names the damage.
                Outcome::Failed(_) | Outcome::Removed { .. } => {}
                other => unreachable!("a removal is answered with Removed, not with {other:?}"),
            }
        }
        match next {
            Some(next) => begin = next,
            None => return Ok(()),
        }
    }
}
