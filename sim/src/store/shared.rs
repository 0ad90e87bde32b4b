//! The store as several processes share it: one of them goes, or does not reach it, and the others go on.

use storage::kv::{EngineError, Write};
use storage::transaction::Reply;

use super::running::Changes;
use super::{JobNumber, Store};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::weather::StoreWeather;
use crate::world::World;

impl Store {
    /// An empty store of its own, whose transactions read at one version each whatever others commit.
    pub(crate) fn shared(weather: StoreWeather) -> Self {
        Self { changes: Changes::with_history(), ..Self::new(weather) }
    }

    /// Whether a process could begin now: it asks before it does anything else.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.away && !self.poisoned && !self.is_silent()
    }

    /// A process is gone, and with it its driver: what it waits for has no end, what it commits may have.
    pub(crate) fn process_gone(&mut self, process: u32) {
        self.severed.remove(&process);
        self.waiting.retain(|(asker, _, _)| asker.process != process);
        self.unsynced.retain(|(asker, _, _)| asker.process != process);
        self.answers.retain(|(asker, _, _)| asker.process != process);
        self.running.retain(|_, running| running.asker.process != process || running.is_committing());
        for running in self.running.values_mut().filter(|running| running.asker.process == process) {
            running.deposed = true;
        }
    }

    /// A process reaches the store no longer, or again.
    pub(crate) fn sever(&mut self, process: u32, severed: bool) {
        if severed {
            self.severed.insert(process);
        } else {
            self.severed.remove(&process);
        }
    }

    /// A commit of a process that has lost the store: it has left before, and lands, or it never leaves.
    pub(super) fn commit_severed(
        &mut self,
        world: &mut World<Event>,
        number: JobNumber,
        writes: Vec<Write>,
    ) -> Result<Reply, EngineError> {
        if !self.weather.external || world.random.coin() {
            world.coverage.hit(Mark::StoreUnavailable);
            return Err(EngineError::Unavailable);
        }
        let running = self.running.get_mut(&number).expect("it runs");
        let (basis, deposed) = (std::mem::take(&mut running.basis), running.deposed);
        self.cut_off(world, writes, basis, deposed);
        Err(EngineError::Unknown)
    }
}
