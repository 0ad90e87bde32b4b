//! What hits the whole node: crashes, drains, a store that goes away or fails, a clock that steps.

use crate::cluster::{Cluster, Event};
use crate::coverage::Mark;
use crate::random::Span;

/// What a disaster leaves to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disaster {
    /// The node is down.
    NodeDown,
    /// The store is away.
    StoreAway,
    /// The store is slow: its delays as they were.
    StoreSlow(Span),
    /// The store is poisoned: the node must start again.
    Poisoned,
}

impl Cluster {
    /// Plans the next disaster, when there are any in this run.
    pub(crate) fn plan_disaster(&mut self) {
        if let Some(every_us) = self.weather.disasters.every_us {
            self.world.plan_within(every_us, Event::Disaster);
        }
    }

    /// Something hits the node.
    pub(crate) fn disaster(&mut self) {
        if !self.storm {
            return;
        }
        self.plan_disaster();
        if self.node.is_none() || self.draining_since_us.is_some() {
            return;
        }
        match self.world.random.below(10) {
            0..5 => self.crash(),
            5 => {
                self.world.coverage.hit(Mark::Drained);
                self.drain_node();
            }
            6 => {
                self.store.set_away(true);
                self.mend_later(Disaster::StoreAway);
            }
            7 => self.slow_store(),
            8 => {
                self.store.poison(&mut self.world);
                self.mend_later(Disaster::Poisoned);
            }
            _ => self.step_clock(),
        }
    }

    fn mend_later(&mut self, disaster: Disaster) {
        self.world.trace(|| format!("{disaster:?}"));
        self.world.plan_within(self.weather.disasters.down_us, Event::Recover(disaster));
    }

    /// The node dies, and comes back later.
    pub(crate) fn crash(&mut self) {
        self.world.coverage.hit(Mark::Crashed);
        self.stop_node();
        self.mend_later(Disaster::NodeDown);
    }

    fn slow_store(&mut self) {
        self.world.coverage.hit(Mark::StoreSlow);
        let usual = self.store.weather.commit_us;
        self.store.weather.commit_us = Span::new(usual.low, usual.high * 50);
        self.mend_later(Disaster::StoreSlow(usual));
    }

    fn step_clock(&mut self) {
        self.world.coverage.hit(Mark::ClockStepped);
        let by_ms = self.world.random.within(Span::new(0, 20_000)) as i64 - 10_000;
        self.world.step_clock(by_ms);
    }

    /// A disaster ends.
    pub(crate) fn recover(&mut self, disaster: Disaster) {
        match disaster {
            Disaster::NodeDown if self.node.is_none() => self.start_node(),
            Disaster::NodeDown => {}
            Disaster::StoreAway => self.store.set_away(false),
            Disaster::StoreSlow(usual) => self.store.weather.commit_us = usual,
            Disaster::Poisoned if self.store.is_poisoned() => {
                self.stop_node();
                self.start_node();
            }
            Disaster::Poisoned => {}
        }
    }
}
