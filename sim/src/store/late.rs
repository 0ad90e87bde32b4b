//! Commits whose results were cut off while they were under way: they belong to nobody any more, outlive their node, and
//! land later, unless what they rest on has changed by then, or never.

use std::collections::BTreeMap;

use storage::kv::Write;

use super::running::Basis;
use super::{Store, StoreEvent};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::world::World;

/// A late commit, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LateNumber(u64);

#[derive(Debug)]
struct Late {
    writes: Vec<Write>,
    basis: Basis,
    /// Its node is gone.
    deposed: bool,
}

/// All that is under way on its own.
#[derive(Debug, Default)]
pub(super) struct LateCommits {
    under_way: BTreeMap<LateNumber, Late>,
    count: u64,
}

impl LateCommits {
    /// Whether nothing can land any more.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The node that all of them came from is gone.
    pub(super) fn depose(&mut self) {
        self.under_way.values_mut().for_each(|late| late.deposed = true);
    }
}

impl Store {
    /// Lets a commit go on by itself: nobody will be told what came of it.
    pub(super) fn cut_off(
        &mut self,
        world: &mut World<Event>,
        writes: Vec<Write>,
        basis: Basis,
        deposed: bool,
    ) {
        world.coverage.hit(Mark::StoreLate);
        if world.random.below(4) == 0 {
            return world.coverage.hit(Mark::StoreLateLost);
        }
        self.late.count += 1;
        let number = LateNumber(self.late.count);
        self.late.under_way.insert(number, Late { writes, basis, deposed });
        world.plan_within(self.weather.distance.late_us, StoreEvent::Land(number).into());
    }

    /// A late commit arrives; in a silence it waits for its end.
    pub(super) fn land(&mut self, world: &mut World<Event>, number: LateNumber) {
        if self.is_silent() {
            return world.plan_within(self.weather.distance.late_us, StoreEvent::Land(number).into());
        }
        let Late { writes, basis, deposed } = self.late.under_way.remove(&number).expect("it lands once");
        if deposed {
            world.coverage.hit(Mark::StoreLateDeposed);
        }
        if self.changes.touch(&basis) {
            return world.coverage.hit(Mark::StoreLateDropped);
        }
        world.coverage.hit(Mark::StoreLateLanded);
        world.trace(|| format!("a late commit of {} writes lands", writes.len()));
        self.apply(world, writes).expect("a store of its own is never poisoned");
    }
}
