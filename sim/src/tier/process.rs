//! One life of a node: its cores, what they share, its clock.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use gateway::auth::Authenticator;
use gateway::shard::{self, GatewayShard, ListenerKind};
use protocol::envelope::{GatewayId, RouterId};
use protocol::error::CloseCode;
use protocol::link::{Greeting, VERSION, VERSION_OLDEST};
use protocol::placement::{Epoch, NodeId, Table};
use protocol::time::Now;
use router::RouterShard;
use router::keeper::{Keeper, KeeperSettings};
use storage::request::{Lease, Outcome, RequestId};

use super::core::{Core, Turn};
use super::doctor::Doctor;
use super::keeping::Keeping;
use super::links::Links;
use super::placement::{Phase, Shared};
use super::weather::NodeShape;
use super::wires::{Place, Wires};
use super::{ProcessNumber, TICK_US, TierEvent, address_of};
use crate::checker::Violation;
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::kernel::Kernel;
use crate::node::Outside;
use crate::node::{gateway_seat, router_seat};
use crate::random::Span;
use crate::weather::{Network, Weather};
use crate::world::World;

const SECRET: &[u8] = b"the simulator's secret of a cluster";

/// A node's clock: it began at some other time, goes a little too fast or too slow, and its wall clock is wrong.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset_us: u64,
    /// Millionths, around a million.
    rate: u64,
    unix_step_ms: i64,
}

impl Clock {
    fn draw(world: &mut World<Event>, weather: &Weather) -> Self {
        let tier = weather.tier.as_ref().expect("a cluster");
        let random = &mut world.random;
        Self {
            offset_us: random.within(Span::new(0, 100_000_000)),
            rate: 1_000_000 + random.within(Span::new(0, 2 * tier.drift_ppm)) - tier.drift_ppm,
            unix_step_ms: random.within(Span::new(0, 2 * tier.skew_ms)) as i64 - tier.skew_ms as i64,
        }
    }

    fn read(&self, world: &World<Event>) -> Now {
        let monotonic_us = self.offset_us + world.now_us() / 1_000 * self.rate / 1_000;
        Now {
            monotonic_ms: monotonic_us / 1_000,
            unix_ms: world.now().unix_ms.saturating_add_signed(self.unix_step_ms),
            monotonic_us,
        }
    }
}

/// A running node.
pub(super) struct Process {
    pub(super) number: ProcessNumber,
    pub(super) shared: Shared,
    pub(super) cores: Vec<Core>,
    /// It takes no turns.
    pub(super) frozen: bool,
    clock: Clock,
    network: Network,
}

impl Process {
    /// A new life of a node, with its lease taken.
    pub(super) fn start(
        number: ProcessNumber,
        place: usize,
        shape: NodeShape,
        sockets: Range<usize>,
        weather: &Weather,
        authenticator: &Arc<Authenticator>,
        outside: &mut Outside<'_>,
    ) -> Self {
        let incarnation = outside.world.random.next();
        let name = format!("node{place}");
        let node = if shape.has_routers {
            outside.store.register(Lease {
                node: NodeId::NONE,
                name: name.as_str().into(),
                address: address_of(place),
                cores: shape.cores,
                incarnation,
                beat: 0,
                draining: false,
            })
        } else {
            NodeId::NONE
        };
        let clock = Clock::draw(outside.world, weather);
        outside.world.trace(|| format!("node {place} starts as {node:?}: {shape:?}, {clock:?}"));
        let start = Start { place, shape, node, incarnation, name, weather, authenticator };
        let sockets: Vec<Option<usize>> = (0..usize::from(shape.cores))
            .map(|core| Some(sockets.start + core).filter(|_| shape.has_clients))
            .collect();
        let cores: Vec<Core> =
            (0..).zip(sockets).map(|(core, sockets)| start.core(core, sockets, outside)).collect();
        for core in &cores {
            outside.world.plan_within(TICK_US, Event::Tier(TierEvent::Tick(number, core.number)));
        }
        let shared = Shared::new(place, number.0, node, shape.cores, weather);
        Self { number, shared, cores, frozen: false, clock, network: weather.network }
    }

    pub(super) fn turn(
        &mut self,
        core: u16,
        wires: &mut Wires,
        outside: &mut Outside<'_>,
        completions: u64,
        doctor: Doctor,
    ) -> Result<(), Violation> {
        let now = self.clock.read(outside.world);
        let core = &mut self.cores[usize::from(core)];
        core.turn_planned = false;
        if self.frozen {
            return Ok(());
        }
        core.turn(&mut Turn { now, shared: &mut self.shared, wires, outside, completions, doctor })
    }

    pub(super) fn answer(&mut self, router: RouterId, id: RequestId, outcome: Outcome) {
        self.shared.mail[usize::from(router.core())].outcomes.push_back((id, outcome));
    }

    pub(super) fn plan_turns(&mut self, world: &mut World<Event>, kernel: &Kernel, wires: &Wires) {
        if self.frozen {
            return;
        }
        let Self { shared, cores, network, number, .. } = self;
        for core in cores.iter_mut().filter(|core| !core.turn_planned) {
            let mail = &shared.mail[usize::from(core.number)];
            let place = Place { node: shared.place, core: core.number };
            let of_node = core.number == 0 && (shared.from_api.len() > 0 || !shared.commands.is_empty());
            let wants = core.sockets.is_some_and(|sockets| kernel.has_happened(sockets))
                || wires.has_happened(place)
                || mail.gateway.len() > 0
                || mail.router.len() > 0 && core.router.wants_input()
                || !mail.outcomes.is_empty()
                || !mail.links.is_empty()
                || of_node
                || core.table != shared.table.epoch
                || core.lapsed != shared.lapsed
                || core.phase != shared.phase
                || core.unfinished;
            if wants {
                core.turn_planned = true;
                let least = Span::new(network.turn_us.low.max(10), network.turn_us.high.max(10));
                world.plan_within(least, Event::Tier(TierEvent::Turn(*number, core.number)));
            }
        }
    }

    /// The wall clock steps.
    pub(super) fn step_clock(&mut self, by_ms: i64) {
        self.clock.unix_step_ms += by_ms;
    }

    /// Faults end.
    pub(super) fn calm(&mut self, weather: &Weather) {
        self.network = weather.network;
        self.shared.refuses = weather.network.mailbox_refuses;
        self.frozen = false;
    }

    /// Whether the process has come to its end; goes on to the last phase when it may.
    pub(super) fn has_stopped(&mut self) -> bool {
        if self.frozen {
            return false;
        }
        if self.shared.given_up {
            return true;
        }
        let kept = self.cores[0].keeping.as_ref().is_none_or(Keeping::has_left);
        if self.shared.phase == Phase::Draining
            && kept
            && self.cores.iter().all(|core| core.phase == Phase::Draining && core.gateway.is_drained())
        {
            self.shared.phase = Phase::Stopping;
        }
        let is_done = |core: &Core| {
            let mail = &self.shared.mail[usize::from(core.number)];
            core.phase == Phase::Stopping && core.router.is_idle() && mail.router.len() == 0
        };
        self.shared.phase == Phase::Stopping && self.cores.iter().all(is_done)
    }

    /// Sockets, mail and work that is still there.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let place = self.shared.place;
        let mut left = Vec::new();
        for core in &self.cores {
            let mail = &self.shared.mail[usize::from(core.number)];
            let (sockets, idle) = (core.gateway.connections(), core.router.is_idle());
            let requests = core.gateway.counters().requests;
            let (to_gateway, to_router) = (mail.gateway.len(), mail.router.len());
            if sockets > 0 || !idle || requests > 0 || to_gateway > 0 || to_router > 0 {
                left.push(format!(
                    "node {place} core {}: {sockets} connections, {requests} requests, {to_gateway} and {to_router} \
                     envelopes, idle {idle}",
                    core.number
                ));
            }
        }
        left
    }

    /// Adds what the shards counted to what the run met.
    pub(super) fn count(&self, world: &mut World<Event>) {
        let coverage = &mut world.coverage;
        for core in &self.cores {
            let counters = core.gateway.counters();
            coverage.add(Mark::Lagged, counters.lags);
            coverage.add(Mark::Misplaced, counters.misplaced);
            coverage.add(Mark::Reasked, counters.reasked);
            coverage.add(Mark::Announced, counters.announced);
            coverage.add(Mark::LateAnswer, counters.late_answers);
            coverage.add(Mark::PatienceOver, counters.patience_over);
            for (code, count) in counters.close_codes() {
                match code {
                    CloseCode::REPLACED => coverage.add(Mark::Replaced, count),
                    CloseCode::HEARTBEAT => coverage.add(Mark::HeartbeatMissed, count),
                    _ => {}
                }
            }
        }
    }
}

/// What all cores of a process are made from.
struct Start<'a> {
    place: usize,
    shape: NodeShape,
    node: NodeId,
    incarnation: u64,
    name: String,
    weather: &'a Weather,
    authenticator: &'a Arc<Authenticator>,
}

impl Start<'_> {
    fn core(&self, number: u16, sockets: Option<usize>, outside: &mut Outside<'_>) -> Core {
        let weather = self.weather;
        let tier = weather.tier.as_ref().expect("a cluster");
        let random = &mut outside.world.random;
        let listeners = if self.shape.has_clients { vec![ListenerKind::Client] } else { Vec::new() };
        let settings = shard::Settings {
            listeners,
            clustered: true,
            node: self.node,
            request_patience_ms: tier.patience_ms,
            ..gateway_seat::settings(weather)
        };
        let (table, slots) = (Table::empty(), weather.shape.slots);
        let id = GatewayId(number.into());
        let gateway =
            GatewayShard::new(id, &table, slots, settings, Arc::clone(self.authenticator), random.next());
        let id = RouterId::new(self.node, number);
        let router = RouterShard::new(id, Arc::new(table), router_seat::settings(weather), random.next());
        let links = Links::new(SECRET, self.greeting(number), &self.targets(), random.next());
        let keeping = (number == 0 && self.shape.has_routers).then(|| self.keeping(random.next()));
        Core {
            number,
            sockets,
            gateway,
            router,
            links,
            keeping,
            phase: Phase::Running,
            table: Epoch(0),
            lapsed: false,
            turn_planned: false,
            unfinished: false,
            polls: 0,
            invariants_every: weather.shape.invariants_every,
            returned: Vec::new(),
            full_gateways: BTreeSet::new(),
            full_routers: BTreeSet::new(),
            ticked_ms: 0,
        }
    }

    fn greeting(&self, core: u16) -> Greeting {
        Greeting {
            oldest: VERSION_OLDEST,
            newest: VERSION,
            node: self.node,
            core,
            cores: self.shape.cores,
            incarnation: self.incarnation,
            name: self.name.as_str().into(),
        }
    }

    /// The router nodes that the configuration names: all of them.
    fn targets(&self) -> Vec<usize> {
        let nodes = &self.weather.tier.as_ref().expect("a cluster").nodes;
        let routers = nodes.iter().enumerate().filter(|(_, node)| node.has_routers);
        routers.map(|(place, _)| place).filter(|place| *place != self.place).collect()
    }

    fn keeping(&self, seed: u64) -> Keeping {
        let tier = self.weather.tier.as_ref().expect("a cluster");
        let settings = KeeperSettings {
            beat_ms: tier.lease_ms / 4,
            lease_ms: tier.lease_ms,
            exclusive: tier.embedded,
            ..KeeperSettings::new(
                self.node,
                &self.name,
                address_of(self.place),
                self.shape.cores,
                self.incarnation,
            )
        };
        Keeping::new(Keeper::new(settings, seed))
    }
}
