//! A new owner takes slots over: each slot's epoch becomes one that no owner had before. What router nodes that shared
//! the store knew of each other goes away with it; they learn of that by their next beat.

use protocol::placement::Slot;

use crate::damage::Damage;
use crate::key::{self, StoreKey};
use crate::request::{Epoch, Outcome};
use crate::value;

use super::commit::Commit;
use super::fence::get;
use super::{Answers, Step};

#[derive(Debug)]
pub(super) struct Claim {
    slots: Box<[Slot]>,
    epoch: Epoch,
}

impl Claim {
    pub(super) fn new(slots: Box<[Slot]>) -> Self {
        Self { slots, epoch: Epoch(0) }
    }

    pub(super) fn begin(&mut self) -> Step {
        let fences = self.slots.iter().map(|slot| get(&StoreKey::Fence(*slot), true));
        Step::Read(fences.chain([get(&StoreKey::PlacementEpoch, true)]).collect())
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let mut last = Epoch(0);
        for slot in &self.slots {
            let key = StoreKey::Fence(*slot).encode();
            last = last.max(value::open_epoch(&key, answers.value().as_deref())?);
        }
        let key = StoreKey::PlacementEpoch.encode();
        last = last.max(value::open_epoch(&key, answers.value().as_deref())?);
        self.epoch = Epoch(last.0 + 1);
        let mut commit = Commit::default();
        for slot in &self.slots {
            commit.set(&StoreKey::Fence(*slot), |key| value::seal_epoch(key, self.epoch));
        }
        // Numbers of nodes stay given.
        commit.clear(&StoreKey::PlacementEpoch);
        commit.clear(&StoreKey::Placement);
        commit.clear_range(key::leases());
        Ok(commit.step())
    }

    pub(super) fn committed(&mut self) -> Step {
        Step::Done(Outcome::Claimed(self.epoch))
    }
}
