//! Events for one or more conversations, in one transaction: fence, heads, client ids and targets are read, then each
//! conversation decides by itself (`append/log.rs`) and all of their writes are one commit.

mod item;
mod log;

use protocol::id::ConversationKey;

use crate::damage::Damage;
use crate::request::{AppendBatch, Outcome};

use super::commit::Commit;
use super::fence::{Fence, fenced};
use super::{Answers, Step};

use log::Log;

#[derive(Debug)]
pub(super) struct Append {
    fence: Fence,
    /// Milliseconds since the Unix epoch.
    time: u64,
    logs: Vec<Log>,
}

impl Append {
    pub(super) fn new(batch: AppendBatch) -> Self {
        let keys: Vec<ConversationKey> =
            batch.conversations.iter().map(|append| append.conversation).collect();
        let fence = Fence::new(batch.epoch, keys.iter());
        let logs: Vec<Log> = batch.conversations.into_iter().map(Log::new).collect();
        Self { fence, time: batch.time, logs }
    }

    pub(super) fn begin(&mut self) -> Step {
        let mut reads: Vec<_> = self.fence.reads().collect();
        for log in &mut self.logs {
            log.begin(&mut reads);
        }
        Step::Read(reads)
    }

    pub(super) fn doubt(&mut self) {
        self.logs.iter_mut().for_each(Log::doubt);
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        if !self.fence.holds(&mut answers)? {
            return Ok(fenced());
        }
        let mut commit = Commit::default();
        for log in &mut self.logs {
            log.found(&mut answers, self.time, &mut commit)?;
        }
        Ok(if commit.is_empty() { self.committed() } else { commit.step() })
    }

    pub(super) fn committed(&mut self) -> Step {
        Step::Done(Outcome::Appended(self.logs.iter_mut().map(Log::outcome).collect()))
    }
}
