//! Silences of the whole cluster, as in a recovery after a server was killed: nothing is answered until it is over, and
//! the driver bears it for so long only.
//!
//! ```text
//! silent: steps wait ──► out of patience: all is given up, what comes is refused at once ──► answers again
//!            └──────────────────────────────────────────────────────────────────────────────────▲
//! ```

use storage::kv::EngineError;
use storage::transaction::Step;

use super::{JobNumber, Store, StoreEvent};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::world::World;

/// Whether the cluster answers.
#[derive(Debug, Default)]
pub(super) enum Silence {
    /// It does.
    #[default]
    None,
    /// It does not, and these steps are due.
    Borne(Vec<JobNumber>),
    /// It does not, and the driver has given it up.
    GivenUp,
}

impl Store {
    /// Plans the first silence, where there are any.
    pub(crate) fn begin(&mut self, world: &mut World<Event>) {
        if let Some(every_us) = self.weather.distance.silence_every_us
            && self.weather.external
        {
            world.plan_within(every_us, StoreEvent::Silence.into());
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        !matches!(self.silence, Silence::None)
    }

    /// The cluster falls silent.
    pub(super) fn fall_silent(&mut self, world: &mut World<Event>) {
        let distance = self.weather.distance;
        if distance.silence_every_us.is_none() {
            return;
        }
        world.coverage.hit(Mark::StoreSilent);
        world.trace(|| "the store is silent".to_owned());
        self.silence = Silence::Borne(Vec::new());
        for running in self.running.values_mut() {
            running.cut = running.is_committing();
        }
        let silence_us = world.random.within(distance.silence_us);
        let patience_us = world.random.within(distance.patience_us);
        if patience_us < silence_us {
            world.plan(patience_us, StoreEvent::OutOfPatience.into());
        }
        world.plan(silence_us, StoreEvent::Answers.into());
    }

    /// Puts a step that is due off while the cluster is silent.
    pub(super) fn put_off(&mut self, number: JobNumber) -> bool {
        let Silence::Borne(due) = &mut self.silence else { return false };
        due.push(number);
        true
    }

    /// The cluster answers again: what is due goes on, and the next silence comes.
    pub(super) fn answer_again(&mut self, world: &mut World<Event>) {
        world.trace(|| "the store answers again".to_owned());
        if let Silence::Borne(due) = std::mem::take(&mut self.silence) {
            for number in due {
                world.plan_within(self.weather.read_us, StoreEvent::Step(number).into());
            }
        }
        self.begin(world);
    }

    /// The driver gives up all that is under way; from now on it refuses at once.
    pub(super) fn lose_patience(&mut self, world: &mut World<Event>) {
        world.coverage.hit(Mark::StoreImpatient);
        world.trace(|| "the driver gives the store up".to_owned());
        self.silence = Silence::GivenUp;
        for (_, mut running) in std::mem::take(&mut self.running) {
            let mut step = running.next.take().expect("a step is planned for what runs");
            if let Step::Commit(writes) = step {
                self.cut_off(world, writes, std::mem::take(&mut running.basis), running.deposed);
                step = running.transaction.resume(Err(EngineError::Unknown));
            }
            if !running.deposed {
                self.give_up(running, step);
            }
        }
        self.begin_waiting(world);
    }
}
