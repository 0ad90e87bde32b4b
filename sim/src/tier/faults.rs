//! What hits a cluster: nodes die, freeze and leave, connections break, parts of the network and the store are out of reach,
//! operators order.

use router::keeper::{Command, Target};

use super::placement::Phase;
use super::{ProcessNumber, STOP_PATIENCE_US, Tier, TierEvent, address_of};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::node::Outside;
use crate::random::Span;
use crate::weather::Weather;

/// What a fault leaves to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// A process takes its turns again.
    Thaw(ProcessNumber),
    /// A process reaches the store again.
    Reach(ProcessNumber),
    /// A partition is over.
    Join(u32),
    /// The store is back.
    StoreBack,
    /// The store is as fast as before.
    StoreFast(Span),
}

impl Tier {
    /// Something breaks.
    pub(crate) fn fault(&mut self, weather: &Weather, outside: &mut Outside<'_>) {
        let world = &mut *outside.world;
        let Some(tier) = weather.tier.as_ref() else { return };
        if let Some(fault_us) = tier.fault_us {
            world.plan_within(fault_us, Event::Tier(TierEvent::Fault));
        }
        let place = world.random.index(self.nodes.len());
        self.stir_all();
        match world.random.below(14) {
            0..3 => self.kill(place, weather, outside),
            3..5 => self.freeze(place, weather, outside),
            5 => self.terminate(place, outside),
            6..8 => self.sever(place, weather, outside),
            8..10 => self.part(weather, outside),
            10..12 => {
                if self.wires.cut_one(world) {
                    world.coverage.hit(Mark::LinkCut);
                }
            }
            12 => self.hit_store(weather, outside),
            _ => {
                if let Some(process) = &mut self.nodes[place].process {
                    world.coverage.hit(Mark::ClockStepped);
                    let by_ms = world.random.within(Span::new(0, 20_000)) as i64 - 10_000;
                    process.step_clock(by_ms);
                }
            }
        }
    }

    fn kill(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>) {
        let node = &self.nodes[place];
        if node.process.is_none() {
            return;
        }
        let mark = if node.shape.has_routers { Mark::RouterDied } else { Mark::GatewayDied };
        outside.world.coverage.hit(mark);
        let noticed = outside.world.random.coin();
        self.end(place, weather, outside, noticed);
        self.start_later(outside.world, place, weather);
    }

    fn freeze(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>) {
        let Some(process) = self.nodes[place].process.as_mut().filter(|process| !process.frozen) else {
            return;
        };
        outside.world.coverage.hit(Mark::Frozen);
        outside.world.trace(|| format!("node {place} freezes"));
        process.frozen = true;
        mend(outside, weather, Mend::Thaw(process.number));
    }

    /// The process is told to stop (SIGTERM).
    fn terminate(&mut self, place: usize, outside: &mut Outside<'_>) {
        let Some(process) = self.nodes[place].process.as_mut() else { return };
        if process.shared.phase > Phase::Running {
            return;
        }
        outside.world.coverage.hit(Mark::Terminated);
        outside.world.trace(|| format!("node {place} is told to stop"));
        process.shared.phase = Phase::Draining;
        let number = process.number;
        outside.world.plan(STOP_PATIENCE_US, Event::Tier(TierEvent::StopNow(number)));
    }

    fn sever(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>) {
        let node = &self.nodes[place];
        let Some(process) = node.process.as_ref().filter(|_| node.shape.has_routers) else { return };
        outside.world.coverage.hit(Mark::StoreSevered);
        outside.world.trace(|| format!("node {place} does not reach the store"));
        outside.store.sever(process.number.0, true);
        mend(outside, weather, Mend::Reach(process.number));
    }

    /// Some nodes do not reach the others, or the others them, or both.
    fn part(&mut self, weather: &Weather, outside: &mut Outside<'_>) {
        let world = &mut *outside.world;
        let everybody = (1u32 << self.nodes.len()) - 1;
        let some = world.random.next() as u32 & everybody;
        let others = everybody & !some;
        if some == 0 || others == 0 {
            return;
        }
        world.coverage.hit(Mark::Partitioned);
        world.trace(|| format!("nodes {some:b} do not reach {others:b}"));
        let number = self.wires.part(some, others);
        let one_way = world.random.below(3) == 0;
        let back = (!one_way).then(|| self.wires.part(others, some));
        mend(outside, weather, Mend::Join(number));
        if let Some(number) = back {
            mend(outside, weather, Mend::Join(number));
        }
    }

    fn hit_store(&mut self, weather: &Weather, outside: &mut Outside<'_>) {
        if outside.world.random.coin() {
            outside.world.trace(|| "the store is away".to_owned());
            outside.store.set_away(true);
            return mend(outside, weather, Mend::StoreBack);
        }
        outside.world.coverage.hit(Mark::StoreSlow);
        let usual = weather.store.commit_us;
        outside.store.weather.commit_us = Span::new(usual.low, usual.high * 50);
        mend(outside, weather, Mend::StoreFast(usual));
    }

    /// Something is mended.
    pub(crate) fn mend(&mut self, mend: Mend, outside: &mut Outside<'_>) {
        outside.world.trace(|| format!("mended: {mend:?}"));
        self.stir_all();
        match mend {
            Mend::Thaw(number) => {
                if let Some(process) = self.process_mut(number) {
                    process.frozen = false;
                }
            }
            Mend::Reach(number) => outside.store.sever(number.0, false),
            Mend::Join(number) => self.wires.join(outside.world, number),
            Mend::StoreBack => outside.store.set_away(false),
            Mend::StoreFast(usual) => outside.store.weather.commit_us = usual,
        }
    }

    /// An operator orders something, of the keeper of some node.
    pub(crate) fn order(&mut self, weather: &Weather, outside: &mut Outside<'_>) {
        let world = &mut *outside.world;
        if let Some(order_us) = weather.tier.as_ref().and_then(|tier| tier.order_us) {
            world.plan_within(order_us, Event::Tier(TierEvent::Order));
        }
        self.stir_all();
        let routers: Vec<usize> =
            (0..self.nodes.len()).filter(|place| self.nodes[*place].shape.has_routers).collect();
        let name = format!("node{}", world.random.pick(&routers));
        let (command, mark) = match world.random.below(6) {
            0 => (Command::Drain(name.into()), Mark::OrderedDrain),
            1..3 => (Command::Undrain(name.into()), Mark::OrderedUndrain),
            _ => {
                let slot = *world.random.pick(&self.slots);
                (Command::Move { slot, to: Target::Node(name.into()) }, Mark::OrderedMove)
            }
        };
        let at = *world.random.pick(&routers);
        if let Some(process) = &mut self.nodes[at].process {
            world.coverage.hit(mark);
            world.trace(|| format!("node {at} is ordered to {command:?}"));
            process.shared.commands.push_back(command);
        }
    }

    /// Faults end: what is broken is mended, who is down starts.
    pub(crate) fn calm(&mut self, weather: &Weather, outside: &mut Outside<'_>) {
        self.stir_all();
        self.wires.weather = weather.tier.as_ref().expect("a cluster").wires;
        self.wires.join_all(outside.world);
        for place in 0..self.nodes.len() {
            if let Some(process) = &mut self.nodes[place].process {
                process.calm(weather);
                outside.store.sever(process.number.0, false);
                continue;
            }
            outside.world.plan(0, Event::Tier(TierEvent::Start(place)));
            outside.world.trace(|| format!("node {place} at {} is to start", address_of(place)));
        }
    }
}

fn mend(outside: &mut Outside<'_>, weather: &Weather, mend: Mend) {
    let mend_us = weather.tier.as_ref().expect("a cluster").mend_us;
    outside.world.plan_within(mend_us, Event::Tier(TierEvent::Mend(mend)));
}
