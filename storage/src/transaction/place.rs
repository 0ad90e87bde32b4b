//! A new placement table: compared with what it was made from, and written with the fences of all slots that it moves, so
//! that an owner which lost a slot can't commit for it from then on.

use std::sync::Arc;

use protocol::placement::{SLOTS, Slot, Table, Tenure};

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::request::{Epoch, Failure, Holder, Lease, Outcome, Stale};
use crate::value;

use super::commit::Commit;
use super::fence::get;
use super::{Answers, Step};

#[derive(Debug)]
pub(super) struct Place {
    base: Epoch,
    asked: Table,
    holder: Holder,
    removed: Box<[Stale]>,
    stage: Stage,
    /// What a commit whose answer was lost has tried to write.
    doubted: Option<Arc<Table>>,
}

#[derive(Debug)]
enum Stage {
    /// Compares the epoch and the leases.
    Compare,
    /// Reads the table that is to be replaced.
    Replace,
    /// Reads all fences: there is no table yet.
    Begin,
    /// Looks whether the table in the store is that of the commit in doubt.
    Doubt(Arc<Table>),
    Write(Arc<Table>),
}

impl Place {
    pub(super) fn new(base: Epoch, asked: Table, holder: Holder, removed: Box<[Stale]>) -> Self {
        Self { base, asked, holder, removed, stage: Stage::Compare, doubted: None }
    }

    pub(super) fn begin(&mut self) -> Step {
        if self.asked.tenures.len() != usize::from(SLOTS) {
            return Step::Done(Outcome::Failed(Failure::Refused("a table of other slots".to_owned())));
        }
        self.stage = Stage::Compare;
        let mut reads =
            vec![get(&StoreKey::PlacementEpoch, true), get(&StoreKey::Lease(self.holder.node), true)];
        reads.extend(self.removed.iter().map(|stale| get(&StoreKey::Lease(stale.holder.node), true)));
        Step::Read(reads)
    }

    /// The commit may have happened: then the table is found there.
    pub(super) fn doubt(&mut self) {
        if let Stage::Write(table) = &self.stage {
            self.doubted = Some(Arc::clone(table));
        }
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        match core::mem::replace(&mut self.stage, Stage::Compare) {
            Stage::Compare => self.compare(&mut answers),
            Stage::Replace => match open_table(&mut answers)? {
                Some(stored) => Ok(self.write(Epoch(self.base.0 + 1).max(self.asked.epoch), Some(&stored))),
                None => Err(Damage("the placement table: there is an epoch of it alone".to_owned())),
            },
            Stage::Begin => {
                let mut last = Epoch(0);
                for slot in Slot::all() {
                    let key = StoreKey::Fence(slot).encode();
                    last = last.max(value::open_epoch(&key, answers.value().as_deref())?);
                }
                Ok(self.write(Epoch(last.0 + 1).max(self.asked.epoch), None))
            }
            Stage::Doubt(doubted) => {
                let same = open_table(&mut answers)?.is_some_and(|stored| stored == *doubted);
                Ok(placed(same.then_some(doubted)))
            }
            Stage::Write(_) => unreachable!("a commit is answered with Committed"),
        }
    }

    fn compare(&mut self, answers: &mut Answers) -> Result<Step, Damage> {
        let key = StoreKey::PlacementEpoch.encode();
        let epoch = value::open_epoch(&key, answers.value().as_deref())?;
        let doubted = self.doubted.take().filter(|doubted| doubted.epoch == epoch);
        if let Some(doubted) = doubted {
            self.stage = Stage::Doubt(doubted);
            return Ok(Step::Read(vec![get(&StoreKey::Placement, false)]));
        }
        let mut lease = |holder: Holder| -> Result<Option<Lease>, Damage> {
            let key = StoreKey::Lease(holder.node).encode();
            answers.value().map(|found| Lease::open(&key, &found)).transpose()
        };
        let mut agrees = epoch == self.base;
        agrees &= lease(self.holder)?.is_some_and(|lease| lease.incarnation == self.holder.incarnation);
        for stale in &self.removed {
            agrees &= lease(stale.holder)?.is_none_or(|lease| {
                lease.incarnation == stale.holder.incarnation && lease.beat == stale.beat
            });
        }
        if !agrees {
            return Ok(placed(None));
        }
        if epoch > Epoch(0) {
            self.stage = Stage::Replace;
            return Ok(Step::Read(vec![get(&StoreKey::Placement, false)]));
        }
        self.stage = Stage::Begin;
        Ok(Step::Read(Slot::all().map(|slot| get(&StoreKey::Fence(slot), true)).collect()))
    }

    fn write(&mut self, epoch: Epoch, stored: Option<&Table>) -> Step {
        let is_kept = |slot, tenure: Tenure| stored.is_some_and(|stored| stored.tenure(slot) == tenure);
        let mut table = self.asked.clone();
        table.epoch = epoch;
        let mut commit = Commit::default();
        for slot in Slot::all() {
            let tenure = &mut table.tenures[usize::from(slot.0)];
            if !is_kept(slot, *tenure) {
                tenure.since = epoch;
                commit.set(&StoreKey::Fence(slot), |key| value::seal_epoch(key, epoch));
            }
        }
        commit.set(&StoreKey::PlacementEpoch, |key| value::seal_epoch(key, epoch));
        commit.set(&StoreKey::Placement, |key| value::seal_table(key, &table));
        for stale in &self.removed {
            commit.clear(&StoreKey::Lease(stale.holder.node));
        }
        self.stage = Stage::Write(Arc::new(table));
        commit.step()
    }

    pub(super) fn committed(&mut self) -> Step {
        match core::mem::replace(&mut self.stage, Stage::Compare) {
            Stage::Write(table) => placed(Some(table)),
            other => unreachable!("nothing was committed at {other:?}"),
        }
    }
}

fn placed(table: Option<Arc<Table>>) -> Step {
    Step::Done(Outcome::Placed(table))
}

fn open_table(answers: &mut Answers) -> Result<Option<Table>, Damage> {
    let key = StoreKey::Placement.encode();
    answers.value().map(|found| value::open_table(&key, &found)).transpose()
}
