//! The cluster of one run: a node, its store, its clients and the API, and the loop that lets one thing happen after
//! another. The storm, the calm behind it, and the end are told in `run`.

use std::sync::Arc;

use gateway::auth::{Authenticator, Keys, Rules};

use crate::checker::{Checker, Violation};
use crate::client::ClientNumber;
use crate::coverage::Mark;
use crate::crowd::{Crowd, Scene};
use crate::desk::Desk;
use crate::disaster::Disaster;
use crate::kernel::{ConnectionNumber, Kernel, KernelEvent};
use crate::node::{Node, Outside, Seat, Tenure};
use crate::office::Office;
use crate::random::{Random, Span};
use crate::store::{Store, StoreEvent};
use crate::tier::{Doctor, Tier, TierEvent};
use crate::town::Town;
use crate::weather::Weather;
use crate::world::World;

/// Everything that can happen in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// In the kernel.
    Kernel(KernelEvent),
    /// In the store.
    Store(StoreEvent),
    /// A shard takes its turn.
    Turn(Tenure, Seat),
    /// Time passes for a shard.
    Tick(Tenure, Seat),
    /// The API has mail.
    OfficeMail,
    /// The API does something of its own accord.
    OfficeStep,
    /// A client has something to read.
    ClientReadable(ConnectionNumber),
    /// A client does something of its own accord.
    ClientStep(ClientNumber),
    /// The node is hit.
    Disaster,
    /// What a disaster began ends.
    Recover(Disaster),
    /// In a cluster of nodes.
    Tier(TierEvent),
    /// Somebody looks whether the run is at its next phase.
    Inspect,
}

impl From<KernelEvent> for Event {
    fn from(event: KernelEvent) -> Self {
        Self::Kernel(event)
    }
}

impl From<StoreEvent> for Event {
    fn from(event: StoreEvent) -> Self {
        Self::Store(event)
    }
}

/// From one tick of a shard to its next, microseconds.
const TICK_US: Span = Span::new(20_000, 100_000);
/// From one look at the phase to the next, microseconds.
pub(crate) const INSPECT_US: u64 = 250_000;

const TOKEN_SECRET: &[u8] = b"the simulator's secret, for tokens that nobody else takes";
const TICKET_SECRET: &[u8] = b"the simulator's secret for tickets";

/// What sets apart the chance of a cluster's shape from that of everything else.
const SHAPE: u64 = 0x5e_ed0f_5a9e;

/// What a run is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Everything is drawn from it.
    pub(crate) seed: u64,
    /// Whatever the seed says, one server is all there is.
    pub(crate) alone: bool,
    /// What is wrong on purpose.
    pub(crate) doctor: Doctor,
}

/// All that there is before anything happens, but for the chance that it rests on.
pub(crate) struct Scenery {
    pub(crate) weather: Weather,
    pub(crate) town: Town,
    pub(crate) doctor: Doctor,
}

/// All that there is in a run.
pub(crate) struct Cluster {
    pub(crate) world: World<Event>,
    pub(crate) weather: Weather,
    pub(crate) kernel: Kernel,
    pub(crate) store: Store,
    pub(crate) checker: Checker,
    /// The server that is all there is; `None` while it is down.
    pub(crate) node: Option<Node>,
    /// Or a cluster of nodes.
    pub(crate) tier: Option<Tier>,
    pub(crate) crowd: Crowd,
    pub(crate) office: Office,
    pub(crate) tenure: Tenure,
    /// Work and faults go on.
    pub(crate) storm: bool,
    /// The node drains, since then.
    pub(crate) draining_since_us: Option<u64>,
    authenticator: Arc<Authenticator>,
}

impl Cluster {
    /// The cluster of a seed, before anything happened.
    pub(crate) fn new(plan: Plan, tracing: bool) -> Self {
        let mut world = World::new(plan.seed, tracing);
        let mut weather = Weather::draw(&mut world.random);
        let mut shape = Random::new(plan.seed ^ SHAPE);
        if shape.coin() && !plan.alone {
            weather.spread(&mut shape);
        }
        world.trace(|| format!("{weather:#?}"));
        let town = Town::draw(&mut world.random, &weather.crowd);
        Self::of(world, Scenery { weather, town, doctor: plan.doctor })
    }

    /// The cluster of such a scenery, before anything happened.
    pub(crate) fn of(mut world: World<Event>, scenery: Scenery) -> Self {
        let Scenery { weather, town, doctor } = scenery;
        let kernel = Kernel::new(weather.network, weather.shape.gateways, weather.shape.slots);
        let mut checker = Checker::default();
        for place in &town.places {
            let public = place.kind == protocol::envelope::ConversationKind::Public;
            checker.expect(place.key, public, &place.members);
        }
        if let Some(tier) = &weather.tier {
            // Clocks differ by up to one per cent.
            checker.clustered(tier.lease_ms * 1_020);
        }
        let mut keys = Keys::new();
        keys.add_hs256_secret(TOKEN_SECRET).expect("a secret that is not empty");
        let authenticator = Arc::new(Authenticator::new(keys, Rules::default(), TICKET_SECRET));
        let crowd = Crowd::new(&mut world, &town, TOKEN_SECRET, weather.crowd.coming_us);
        let slots = town.slots();
        let office = Office::new(&mut world, town, weather.shape.routers, &weather.crowd);
        let is_shared = weather.tier.is_some() && weather.store.external;
        let mut store = if is_shared { Store::shared(weather.store) } else { Store::new(weather.store) };
        store.forgets_conflicts = doctor == Doctor::ForgetsConflicts;
        let mut cluster = Self {
            store,
            tier: None,
            tenure: Tenure::default(),
            node: None,
            storm: true,
            draining_since_us: None,
            world,
            weather,
            kernel,
            checker,
            crowd,
            office,
            authenticator,
        };
        if cluster.weather.tier.is_some() {
            let authenticator = Arc::clone(&cluster.authenticator);
            let tier = Tier::new(&mut cluster.world, &cluster.weather, authenticator, slots, doctor);
            cluster.tier = Some(tier);
        } else {
            cluster.start_node();
        }
        cluster.store.begin(&mut cluster.world);
        cluster.plan_disaster();
        cluster.world.plan(INSPECT_US, Event::Inspect);
        cluster
    }

    /// A new node takes over.
    pub(crate) fn start_node(&mut self) {
        self.tenure.0 += 1;
        let epoch = self.store.claim();
        self.world.trace(|| format!("the node starts, {epoch:?}"));
        let node = Node::start(&self.weather, self.tenure, epoch, &self.authenticator, &mut self.world);
        self.node = Some(node);
        self.kernel.listen();
        self.office.node_started(&mut self.world);
    }

    /// The node goes, with everything that was not synced.
    pub(crate) fn stop_node(&mut self) {
        if let Some(node) = self.node.take() {
            node.count(&mut self.world);
        }
        self.draining_since_us = None;
        self.world.trace(|| "the node is gone".to_owned());
        self.kernel.node_gone(&mut self.world);
        self.store.node_gone(&mut self.world);
    }

    /// Lets the next thing happen.
    pub(crate) fn happen(&mut self) -> Result<Event, Violation> {
        let event = self.world.next().expect("somebody always steps or ticks");
        match event {
            Event::Kernel(event) => {
                if let Some(tier) = &mut self.tier {
                    tier.stir(self.kernel.gateway_of(event));
                }
                self.kernel.handle(&mut self.world, event);
            }
            Event::Store(event) => self.store.handle(&mut self.world, event),
            Event::Turn(tenure, seat) => self.on_node(tenure, |node, outside| node.turn(outside, seat))?,
            Event::Tick(tenure, seat) => {
                self.on_node(tenure, |node, outside| node.tick(outside, seat))?;
                if tenure == self.tenure {
                    self.world.plan_within(TICK_US, event);
                }
            }
            Event::OfficeMail => {
                let desk = Desk::of(&mut self.node, &mut self.tier);
                self.office.mail(&mut self.world, &mut self.checker, desk)?;
            }
            Event::OfficeStep => {
                let desk = Desk::of(&mut self.node, &mut self.tier);
                self.office.step(&mut self.world, desk, self.storm);
            }
            Event::ClientReadable(connection) => {
                let (crowd, mut scene) = self.scene();
                crowd.readable(&mut scene, connection)?;
            }
            Event::ClientStep(number) => {
                let (crowd, mut scene) = self.scene();
                crowd.step(&mut scene, number);
            }
            Event::Disaster => self.disaster(),
            Event::Recover(disaster) => self.recover(disaster),
            Event::Tier(event) => self.on_tier(event)?,
            Event::Inspect => {}
        }
        self.follow();
        Ok(event)
    }

    fn on_node(
        &mut self,
        tenure: Tenure,
        act: impl FnOnce(&mut Node, &mut Outside<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(node) = self.node.as_mut().filter(|node| node.tenure() == tenure) else { return Ok(()) };
        let mut outside = Outside {
            world: &mut self.world,
            kernel: &mut self.kernel,
            store: &mut self.store,
            checker: &mut self.checker,
        };
        act(node, &mut outside)
    }

    fn on_tier(&mut self, event: TierEvent) -> Result<(), Violation> {
        let storm = self.storm;
        let handle = |tier: &mut Tier, weather: &Weather, outside: &mut Outside<'_>| {
            match event {
                TierEvent::Fault if storm => tier.fault(weather, outside),
                TierEvent::Order if storm => tier.order(weather, outside),
                TierEvent::Fault | TierEvent::Order => {}
                TierEvent::Mend(mend) => tier.mend(mend, outside),
                event => tier.handle(event, weather, outside)?,
            }
            Ok(())
        };
        self.with_tier(handle).unwrap_or(Ok(()))
    }

    /// Does something to the cluster of nodes, when it is one.
    pub(crate) fn with_tier<T>(
        &mut self,
        act: impl FnOnce(&mut Tier, &Weather, &mut Outside<'_>) -> T,
    ) -> Option<T> {
        let outside = &mut Outside {
            world: &mut self.world,
            kernel: &mut self.kernel,
            store: &mut self.store,
            checker: &mut self.checker,
        };
        Some(act(self.tier.as_mut()?, &self.weather, outside))
    }

    /// Lets the node drain.
    pub(crate) fn drain_node(&mut self) {
        self.draining_since_us = Some(self.world.now_us());
        let drain = |node: &mut Node, outside: &mut Outside<'_>| {
            node.drain(outside);
            Ok(())
        };
        self.on_node(self.tenure, drain).expect("a drain checks nothing");
    }

    /// What an event leaves to be done at once: answers go in, turns are planned.
    fn follow(&mut self) {
        if let Some(node) = &mut self.node {
            node.answer(&mut self.store);
            node.plan_turns(&mut self.world, &self.kernel);
            self.office.plan_mail(&mut self.world, node.mailboxes.to_api.len() > 0);
        }
        if let Some(tier) = &mut self.tier {
            tier.follow(&mut self.world, &self.kernel, &mut self.store);
            self.office.plan_mail(&mut self.world, tier.has_mail());
        }
    }

    /// The clients, and all that they may touch.
    pub(crate) fn scene(&mut self) -> (&mut Crowd, Scene<'_>) {
        let scene = Scene {
            world: &mut self.world,
            kernel: &mut self.kernel,
            store: &self.store,
            checker: &mut self.checker,
            weather: &self.weather,
            storm: self.storm,
        };
        (&mut self.crowd, scene)
    }

    /// Faults end: from now on everything must come to its end.
    pub(crate) fn calm(&mut self) {
        self.storm = false;
        self.weather.calm();
        self.kernel.network = self.weather.network;
        self.store.weather = self.weather.store;
        self.store.set_away(false);
        if self.store.is_poisoned() && self.node.is_some() {
            self.stop_node();
        }
        match (&mut self.node, &mut self.tier) {
            (_, Some(tier)) => {
                let outside = &mut Outside {
                    world: &mut self.world,
                    kernel: &mut self.kernel,
                    store: &mut self.store,
                    checker: &mut self.checker,
                };
                tier.calm(&self.weather, outside);
            }
            (Some(node), None) => node.calm(&self.weather),
            (None, None) => self.start_node(),
        }
        self.crowd.calm();
        self.world.trace(|| "the storm is over".to_owned());
    }

    /// Checks what must hold at every moment.
    pub(crate) fn invariants(&self) {
        self.kernel.invariants();
    }

    /// Whether a drained node has nothing left to do.
    pub(crate) fn has_drained(&self) -> bool {
        self.node.as_ref().is_some_and(Node::is_drained) && self.store.is_idle()
    }

    /// Counts what only shards know.
    pub(crate) fn count(&mut self) {
        if let Some(node) = &self.node {
            node.count(&mut self.world);
        }
        if let Some(tier) = &self.tier {
            tier.count(&mut self.world);
        }
        if self.tenure.0 > 1 && self.checker.acked() > 0 {
            self.world.coverage.hit(Mark::Recovered);
        }
    }
}
