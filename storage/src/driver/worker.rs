//! The loop of the store thread over an engine of this process: take a group, run it, sync, answer.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::id::ConversationKey;

use super::metrics::State;
use super::queue::{Asker, Job, Queue};
use super::{Answer, FAULT, Flush, Settings, answer_all, removals};
use crate::engine::Engine;
use crate::fault::contain;
use crate::kv::EngineError;
use crate::request::{Epoch, Failure, Outcome, Request};
use crate::transaction::{Reply, Step, Transaction};

/// Transactions of several commits (removals) that are under way at once; one more runs through in one go.
const UNDER_WAY_MAX: usize = 64;

pub(super) struct Worker {
    engine: Engine,
    epoch: Epoch,
    settings: Settings,
    queue: Arc<Queue>,
    answer: Answer,
    flush: Flush,
    /// The requests of this group that are over, with their outcomes.
    over: Vec<(Asker, Outcome)>,
    /// Transactions of several commits: each goes on by one commit a group, so that nobody waits for a long removal.
    under_way: VecDeque<UnderWay>,
    commits: u64,
}

/// A transaction between two commits; nobody asked for those that the store takes up by itself.
struct UnderWay {
    asker: Option<Asker>,
    transaction: Transaction,
    step: Step,
}

impl Worker {
    pub(super) fn new(
        engine: Engine,
        epoch: Epoch,
        settings: Settings,
        queue: Arc<Queue>,
        answer: Answer,
        flush: Flush,
    ) -> Self {
        let (over, under_way) = (Vec::new(), VecDeque::new());
        Self { engine, epoch, settings, queue, answer, flush, over, under_way, commits: 0 }
    }

    pub(super) fn run(mut self) -> Result<(), EngineError> {
        let mut result = self.resume_removals();
        while result.is_ok() && self.turn() {
            result = self.close_group();
        }
        if let Err(error) = &result {
            self.refuse_until_closed(error);
        }
        self.queue.metrics().set_state(State::Stopped);
        result.and_then(|()| self.engine.close())
    }

    /// Takes and runs a group; false when there is none and none will come.
    fn turn(&mut self) -> bool {
        loop {
            self.step_under_way();
            let mut bytes = 0;
            let mut taken = 0;
            while taken < self.settings.group_requests_max && bytes < self.settings.group_bytes_max {
                let Some(job) = self.queue.pop() else { break };
                bytes += match &job.request {
                    Request::Append(batch) => batch.store_bytes(),
                    _ => 0,
                };
                taken += 1;
                self.take(job);
            }
            if taken > 0 || !self.over.is_empty() || self.commits > 0 {
                return true;
            }
            if self.queue.is_closed() && self.queue.len() == 0 && self.under_way.is_empty() {
                return false;
            }
            if self.under_way.is_empty() {
                self.queue.wait();
            }
        }
    }

    fn take(&mut self, job: Job) {
        let (asker, request) = (job.asker, job.request);
        // A transaction that breaks an assertion is our fault: it is answered like a poisoned store, and so is all else.
        let ran = contain(|| {
            let (transaction, step) = Transaction::begin(request);
            self.go_on(UnderWay { asker: Some(asker), transaction, step });
        });
        if ran.is_none() {
            self.over.push((asker, Outcome::Failed(Failure::Poisoned(FAULT.to_owned()))));
            self.engine.poison(FAULT);
        }
    }

    fn step_under_way(&mut self) {
        if let Some(under_way) = self.under_way.pop_front() {
            let asker = under_way.asker;
            if contain(|| self.go_on(under_way)).is_none() {
                let outcome = Outcome::Failed(Failure::Poisoned(FAULT.to_owned()));
                self.over.extend(asker.map(|asker| (asker, outcome)));
                self.engine.poison(FAULT);
            }
        }
    }

    /// Runs a transaction up to its end, or behind its next commit.
    fn go_on(&mut self, mut under_way: UnderWay) {
        loop {
            let (result, commit) = match under_way.step {
                Step::Read(reads) => (self.engine.read(&reads).map(Reply::Found), false),
                Step::Commit(writes) => {
                    self.commits += 1;
                    (self.engine.commit(writes).map(|()| Reply::Committed), true)
                }
                Step::Done(outcome) => {
                    self.over.extend(under_way.asker.map(|asker| (asker, outcome)));
                    return;
                }
            };
            under_way.step = under_way.transaction.resume(result);
            let goes_on = !matches!(under_way.step, Step::Done(_));
            if commit && goes_on && self.under_way.len() < UNDER_WAY_MAX {
                return self.under_way.push_back(under_way);
            }
        }
    }

    /// Syncs, then answers.
    fn close_group(&mut self) -> Result<(), EngineError> {
        let commits = std::mem::take(&mut self.commits);
        let synced = self.engine.sync();
        if let Err(error) = &synced {
            self.queue.metrics().set_state(State::Poisoned);
            let failure = failure_of(error);
            for (_, outcome) in &mut self.over {
                *outcome = Outcome::Failed(failure.clone());
            }
        }
        self.queue.metrics().count_group(self.over.len(), commits, commits > 0);
        self.answer_all();
        // A poisoned engine goes on with reads of what is durable, and refuses commits by itself.
        Ok(())
    }

    fn answer_all(&mut self) {
        answer_all(self.queue.metrics(), &mut self.over, &mut self.answer);
        (self.flush)();
    }

    /// Takes removals up again that did not end.
    fn resume_removals(&mut self) -> Result<(), EngineError> {
        let mut begin = removals::first();
        loop {
            let mut found = self.engine.read(&[removals::read(begin)])?;
            let (removals, next) = removals::open(found.pop())?;
            for of in removals {
                self.resume_removal(of);
            }
            match next {
                Some(next) => begin = next,
                None => return Ok(()),
            }
        }
    }

    fn resume_removal(&mut self, conversation: ConversationKey) {
        let request = Request::Remove { epoch: self.epoch, conversation };
        let (transaction, step) = Transaction::begin(request);
        self.go_on(UnderWay { asker: None, transaction, step });
    }

    /// Answers everything with the failure until no more can come.
    fn refuse_until_closed(&mut self, error: &EngineError) {
        self.queue.metrics().set_state(State::Poisoned);
        let failure = failure_of(error);
        let under_way = std::mem::take(&mut self.under_way);
        let askers = under_way.into_iter().filter_map(|under_way| under_way.asker);
        self.over.extend(askers.map(|asker| (asker, Outcome::Failed(failure.clone()))));
        loop {
            while let Some(job) = self.queue.pop() {
                self.over.push((job.asker, Outcome::Failed(failure.clone())));
            }
            self.answer_all();
            if self.queue.is_closed() && self.queue.len() == 0 {
                return;
            }
            self.queue.wait();
        }
    }
}

fn failure_of(error: &EngineError) -> Failure {
    match error {
        EngineError::Poisoned(why) => Failure::Poisoned(why.clone()),
        EngineError::TooLarge | EngineError::Refused(_) => Failure::Refused(error.to_string()),
        EngineError::Unavailable => Failure::Unavailable,
        EngineError::Conflict
        | EngineError::TooOld
        | EngineError::Behind
        | EngineError::Busy
        | EngineError::TimedOut
        | EngineError::Unknown => Failure::Unknown,
    }
}
