//! The simulated store: drives storage's transactions against its memory engine, late, out of order, with conflicts,
//! refusals and lost answers, and crashes. Embedded it dies with the node; external it outlives it, falls silent, and
//! has commits land after their driver has given them up.
//!
//! Knows nothing of what the requests mean.

mod late;
mod read;
mod running;
mod shared;
mod silence;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::envelope::RouterId;
use storage::engine::MemoryEngine;
use storage::kv::EngineError;
use storage::request::{Failure, Outcome, Request, RequestId};
use storage::transaction::{Clears, Reply, Step, Transaction};

use self::late::{LateCommits, LateNumber};
use self::running::{Basis, Changes, Running};
use self::silence::Silence;
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::random::Chance;
use crate::weather::StoreWeather;
use crate::world::World;

/// A transaction, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobNumber(u64);

/// What is to come in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreEvent {
    /// A transaction's step is done.
    Step(JobNumber),
    /// Commits become durable.
    Sync,
    /// A commit arrives whose result was cut off.
    Land(LateNumber),
    /// The cluster falls silent.
    Silence,
    /// The driver bears a silence no longer.
    OutOfPatience,
    /// The cluster answers again.
    Answers,
}

/// Who asks: a router shard or a keeper of a process. Answers to a process that is gone are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// Which process, by its number in the run.
    pub(crate) process: u32,
    /// Which of its shards.
    pub(crate) router: RouterId,
}

/// In the number of a request: it is a keeper's, and never rests.
pub(crate) const KEEPERS: u64 = 1 << 63;

/// An answer on its way to who asked.
pub(crate) type Answer = (Asker, RequestId, Outcome);

/// The store and its driver.
#[derive(Debug)]
pub(crate) struct Store {
    /// How it behaves.
    pub(crate) weather: StoreWeather,
    engine: MemoryEngine,
    changes: Changes,
    waiting: VecDeque<(Asker, RequestId, Request)>,
    running: BTreeMap<JobNumber, Running>,
    late: LateCommits,
    silence: Silence,
    /// Over, but what they saw or wrote is not durable yet.
    unsynced: Vec<Answer>,
    answers: VecDeque<Answer>,
    sync_planned: bool,
    poisoned: bool,
    away: bool,
    /// Processes that do not reach the store.
    severed: BTreeSet<u32>,
    /// A doctored store: no commit meets a conflict.
    pub(crate) forgets_conflicts: bool,
    /// Beats of leases that it was asked for.
    pub(crate) beats: u64,
    count: u64,
}

const POISON: &str = "a sync failed";

impl Store {
    /// An empty store.
    pub(crate) fn new(weather: StoreWeather) -> Self {
        Self {
            weather,
            engine: MemoryEngine::new(),
            changes: Changes::default(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            late: LateCommits::default(),
            silence: Silence::None,
            unsynced: Vec::new(),
            answers: VecDeque::new(),
            sync_planned: false,
            poisoned: false,
            away: false,
            severed: BTreeSet::new(),
            forgets_conflicts: false,
            beats: 0,
            count: 0,
        }
    }

    /// Takes a request, or gives it back when the queue is full.
    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    pub(crate) fn submit(
        &mut self,
        world: &mut World<Event>,
        asker: Asker,
        id: RequestId,
        request: Request,
    ) -> Result<(), Request> {
        let full = self.waiting.len() + self.running.len() >= self.weather.queue;
        if full || world.random.happens(self.weather.queue_refuses) {
            return Err(request);
        }
        self.beats += u64::from(matches!(request, Request::Beat { .. }));
        self.waiting.push_back((asker, id, request));
        self.begin_waiting(world);
        Ok(())
    }

    fn begin_waiting(&mut self, world: &mut World<Event>) {
        while self.running.len() < self.weather.parallel
            && let Some((asker, id, request)) = self.waiting.pop_front()
        {
            let clears = if self.weather.external { Clears::Whole } else { Clears::Pieces };
            let (transaction, step) = Transaction::begin_for(request, clears);
            let running = Running::new(asker, id, transaction);
            if matches!(self.silence, Silence::GivenUp) {
                world.coverage.hit(Mark::StoreRefused);
                self.give_up(running, step);
                continue;
            }
            self.count += 1;
            let number = JobNumber(self.count);
            self.running.insert(number, running);
            self.follow(world, number, step);
        }
    }

    /// Plans what a transaction wants next.
    fn follow(&mut self, world: &mut World<Event>, number: JobNumber, step: Step) {
        let delay_us = match &step {
            Step::Read(_) => self.weather.read_us,
            Step::Commit(_) => self.weather.commit_us,
            Step::Done(_) => return self.done(world, number, step),
        };
        self.running.get_mut(&number).expect("it runs").next = Some(step);
        world.plan_within(delay_us, StoreEvent::Step(number).into());
    }

    /// Answers a request whose next step the driver does not try any more.
    fn give_up(&mut self, mut running: Running, step: Step) {
        let step = match step {
            Step::Done(_) => step,
            Step::Read(_) | Step::Commit(_) => running.transaction.resume(Err(EngineError::Unavailable)),
        };
        let Step::Done(outcome) = step else { unreachable!("a store that is away ends a transaction") };
        self.answers.push_back((running.asker, running.id, outcome));
    }

    fn done(&mut self, world: &mut World<Event>, number: JobNumber, step: Step) {
        let Step::Done(outcome) = step else { unreachable!("the caller looked") };
        let running = self.running.remove(&number).expect("it runs");
        let answer = (running.asker, running.id, outcome);
        if self.engine.unsynced() > 0 && !self.poisoned {
            self.unsynced.push(answer);
        } else {
            self.answers.push_back(answer);
        }
        self.begin_waiting(world);
    }

    /// Something planned is due.
    pub(crate) fn handle(&mut self, world: &mut World<Event>, event: StoreEvent) {
        match event {
            StoreEvent::Step(number) => self.step(world, number),
            StoreEvent::Sync => self.sync(),
            StoreEvent::Land(number) => self.land(world, number),
            StoreEvent::Silence => self.fall_silent(world),
            StoreEvent::OutOfPatience => self.lose_patience(world),
            StoreEvent::Answers => self.answer_again(world),
        }
    }

    fn step(&mut self, world: &mut World<Event>, number: JobNumber) {
        if self.put_off(number) {
            return;
        }
        let Some(running) = self.running.get_mut(&number) else { return };
        let step = running.next.take().expect("a planned step is there");
        let cut = std::mem::take(&mut running.cut);
        let severed = self.severed.contains(&running.asker.process);
        let result = match step {
            Step::Commit(writes) if cut => self.end_cut(world, number, writes),
            Step::Read(_) if severed => Err(EngineError::Unavailable),
            Step::Commit(writes) if severed => self.commit_severed(world, number, writes),
            Step::Read(_) | Step::Commit(_) if self.away => Err(EngineError::Unavailable),
            Step::Read(reads) => self.read(world, number, &reads),
            Step::Commit(writes) => self.commit(world, number, writes),
            Step::Done(_) => unreachable!("nothing is planned for what is over"),
        };
        let running = self.running.get_mut(&number).expect("a step ends no transaction");
        if running.deposed {
            world.coverage.hit(Mark::Deposed);
            self.running.remove(&number);
            return self.begin_waiting(world);
        }
        if result.is_err() || matches!(result, Ok(Reply::Committed)) {
            // What follows reads at a new version.
            running.basis = Basis::default();
        }
        let in_doubt = self.weather.external && matches!(result, Err(EngineError::Unknown));
        let mut step = running.transaction.resume(result);
        if in_doubt && !matches!(step, Step::Done(_)) && world.random.happens(self.weather.distance.gives_up)
        {
            world.coverage.hit(Mark::StoreGaveUp);
            step = running.transaction.resume(Err(EngineError::Unavailable));
        }
        self.follow(world, number, step);
    }

    fn read(
        &mut self,
        world: &mut World<Event>,
        number: JobNumber,
        reads: &[storage::kv::Read],
    ) -> Result<Reply, EngineError> {
        let weather = &self.weather;
        strike(world, weather.unavailable, Mark::StoreUnavailable, EngineError::Unavailable)?;
        strike(world, weather.too_old, Mark::StoreTooOld, EngineError::TooOld)?;
        let running = self.running.get_mut(&number).expect("it runs");
        if self.changes.keeps_history() {
            let version = running.basis.version().unwrap_or_else(|| self.changes.version());
            running.basis.reads_at(version);
            running.basis.remember(reads);
            return Ok(Reply::Found(self.changes.read_at(version, reads)));
        }
        // One version a transaction, as an engine with snapshots has it: none of an older version is kept here.
        if !running.basis.reads_at(self.changes.version()) {
            world.coverage.hit(Mark::StoreTooOld);
            return Err(EngineError::TooOld);
        }
        running.basis.remember(reads);
        Ok(Reply::Found(self.engine.read(reads)))
    }

    fn commit(
        &mut self,
        world: &mut World<Event>,
        number: JobNumber,
        writes: Vec<storage::kv::Write>,
    ) -> Result<Reply, EngineError> {
        let weather = self.weather;
        let running = self.running.get_mut(&number).expect("it runs");
        strike(world, weather.unavailable, Mark::StoreUnavailable, EngineError::Unavailable)?;
        if weather.external && world.random.happens(weather.distance.late) {
            let (basis, deposed) = (std::mem::take(&mut running.basis), running.deposed);
            self.cut_off(world, writes, basis, deposed);
            return Err(EngineError::Unknown);
        }
        strike(world, weather.conflict, Mark::StoreConflict, EngineError::Conflict)?;
        if self.changes.touch(&running.basis) && !self.forgets_conflicts {
            world.coverage.hit(Mark::StoreConflict);
            return Err(EngineError::Conflict);
        }
        let unknown = world.random.happens(weather.unknown);
        if unknown && world.random.coin() {
            world.coverage.hit(Mark::StoreUnknownLost);
            return Err(EngineError::Unknown);
        }
        self.apply(world, writes)?;
        if unknown {
            world.coverage.hit(Mark::StoreUnknownCommitted);
            return Err(EngineError::Unknown);
        }
        Ok(Reply::Committed)
    }

    /// Ends a commit that was under way when the cluster fell silent: it has happened, or not.
    fn end_cut(
        &mut self,
        world: &mut World<Event>,
        number: JobNumber,
        writes: Vec<storage::kv::Write>,
    ) -> Result<Reply, EngineError> {
        world.coverage.hit(Mark::StoreSilentCommit);
        if world.random.coin() && !self.changes.touch(&self.running[&number].basis) {
            self.apply(world, writes)?;
        }
        Err(EngineError::Unknown)
    }

    /// The engine takes a commit.
    fn apply(
        &mut self,
        world: &mut World<Event>,
        writes: Vec<storage::kv::Write>,
    ) -> Result<(), EngineError> {
        self.changes.note(&writes);
        self.engine.commit(writes)?;
        if self.weather.external {
            self.engine.sync()?;
        } else if !self.sync_planned {
            self.sync_planned = true;
            world.plan_within(self.weather.sync_us, StoreEvent::Sync.into());
        }
        Ok(())
    }

    fn sync(&mut self) {
        self.sync_planned = false;
        if self.engine.sync().is_ok() {
            self.answers.extend(self.unsynced.drain(..));
        }
    }

    /// The next answer for a router shard.
    pub(crate) fn next_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// Whether nothing waits, runs or is unsynced.
    pub(crate) fn is_idle(&self) -> bool {
        let rests = |id: RequestId| id.0 & KEEPERS != 0;
        self.waiting.iter().all(|(_, id, _)| rests(*id))
            && self.running.values().all(|running| rests(running.id))
            && self.unsynced.iter().chain(&self.answers).all(|(_, id, _)| rests(*id))
    }

    /// Whether no commit is on its way without anybody who waits for it.
    pub(crate) fn has_landed(&self) -> bool {
        self.late.is_empty()
    }

    /// The store goes away, or comes back.
    pub(crate) fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// A sync fails: nothing is taken any more until the node starts again.
    pub(crate) fn poison(&mut self, world: &mut World<Event>) {
        if self.weather.external || self.poisoned {
            return;
        }
        world.coverage.hit(Mark::StorePoisoned);
        self.poisoned = true;
        self.engine.poison(POISON);
        // What was under way may have seen what is not durable.
        let running =
            std::mem::take(&mut self.running).into_values().map(|running| (running.asker, running.id));
        let unsynced = self.unsynced.drain(..).map(|(asker, id, _)| (asker, id));
        for (asker, id) in unsynced.chain(running) {
            let failure = Failure::Poisoned(POISON.to_owned());
            self.answers.push_back((asker, id, Outcome::Failed(failure)));
        }
        self.begin_waiting(world);
    }

    /// Whether a sync failed and the node has not started again.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The node is gone, and with it the driver; embedded, the engine crashes too.
    pub(crate) fn node_gone(&mut self, world: &mut World<Event>) {
        self.waiting.clear();
        self.unsynced.clear();
        self.answers.clear();
        if self.weather.external {
            // A commit that has left reaches the store, though nobody waits for its result.
            self.running.retain(|_, running| running.is_committing());
            self.running.values_mut().for_each(|running| running.deposed = true);
            self.late.depose();
            return;
        }
        self.running.clear();
        let unsynced = self.engine.unsynced();
        let kept = world.random.below(unsynced as u64 + 1) as usize;
        if kept < unsynced {
            world.coverage.hit(Mark::UnsyncedLost);
        }
        if kept > 0 && kept < unsynced {
            world.coverage.hit(Mark::UnsyncedTorn);
        }
        self.engine.crash(kept);
        self.engine.invariants();
        self.poisoned = false;
        self.away = false;
    }
}

fn strike(
    world: &mut World<Event>,
    chance: Chance,
    mark: Mark,
    error: EngineError,
) -> Result<(), EngineError> {
    if world.random.happens(chance) {
        world.coverage.hit(mark);
        return Err(error);
    }
    Ok(())
}
