//! A cluster of nodes: router nodes that share a store, gateway nodes, nodes that are both; the network between them, and how
//! they live and die.
//!
//! The shards, links and keepers are the product's; the loops around them are this simulator's own.

mod census;
mod core;
mod doctor;
mod faults;
mod keeping;
mod links;
mod placement;
mod process;
mod tally;
pub(crate) mod weather;
pub(crate) mod wires;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use gateway::auth::Authenticator;
use protocol::envelope::{ToGateway, ToRouter};
use protocol::placement::Slot;

pub(crate) use self::census::Census;
pub use self::doctor::Doctor;
pub(crate) use self::faults::Mend;
use self::placement::Phase;
use self::process::Process;
pub(crate) use self::tally::Sort;
use self::weather::NodeShape;
use self::wires::{WireEvent, Wires};
use crate::checker::Violation;
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::kernel::Kernel;
use crate::node::Outside;
use crate::random::Span;
use crate::store::Store;
use crate::weather::Weather;
use crate::world::World;

/// From one tick of a core to the next, microseconds.
const TICK_US: Span = Span::new(5_000, 50_000);
/// When a process that could not register tries again, microseconds.
const REGISTER_US: Span = Span::new(100_000, 500_000);
/// How long a node is down that nobody restarts at once, microseconds.
const DOWN_US: Span = Span::new(2_000_000, 8_000_000);
/// Nodes of a cluster that partitions may hit.
const PARTED_MAX: usize = 32;
/// How long a process that is told to stop may take, microseconds.
const STOP_PATIENCE_US: u64 = 15_000_000;

/// A process, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessNumber(u32);

/// What is to come in a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TierEvent {
    /// A core takes its turn.
    Turn(ProcessNumber, u16),
    /// Time passes for a core.
    Tick(ProcessNumber, u16),
    /// On a connection between nodes.
    Wire(WireEvent),
    /// A node starts.
    Start(usize),
    /// A process that is told to stop has no time left.
    StopNow(ProcessNumber),
    /// Something breaks.
    Fault,
    /// It is mended.
    Mend(Mend),
    /// An operator orders something.
    Order,
}

/// Where a node takes links.
fn address_of(place: usize) -> SocketAddr {
    let [_, _, high, low] = (place as u32 + 1).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 8_802))
}

/// The node that takes links there.
fn place_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => (address.ip().to_bits() & 0xffff) as usize - 1,
        SocketAddr::V6(_) => unreachable!("no node has such an address"),
    }
}

/// A node, running or not.
struct NodePlace {
    shape: NodeShape,
    /// Its tables of sockets.
    sockets: Range<usize>,
    process: Option<Process>,
    start_planned: bool,
}

/// The whole cluster.
pub(crate) struct Tier {
    nodes: Vec<NodePlace>,
    wires: Wires,
    /// The place of each process that ever was, by its number from 1.
    processes: Vec<usize>,
    /// The place of each table of sockets.
    seats: Vec<usize>,
    /// Places whose process may want a turn since the last look.
    stirred: BTreeSet<usize>,
    /// Places whose API has mail.
    mail: BTreeSet<usize>,
    authenticator: Arc<Authenticator>,
    /// Slots that somebody uses.
    slots: Vec<Slot>,
    doctor: Doctor,
}

impl Tier {
    /// A cluster whose nodes start within the first moments.
    pub(crate) fn new(
        world: &mut World<Event>,
        weather: &Weather,
        authenticator: Arc<Authenticator>,
        slots: Vec<Slot>,
        doctor: Doctor,
    ) -> Self {
        let tier = weather.tier.as_ref().expect("only a cluster has nodes");
        let mut nodes = Vec::new();
        let mut seats = Vec::new();
        for (place, shape) in tier.nodes.iter().enumerate() {
            let count = if shape.has_clients { usize::from(shape.cores) } else { 0 };
            let sockets_of = seats.len()..seats.len() + count;
            seats.extend(std::iter::repeat_n(place, count));
            nodes.push(NodePlace { shape: *shape, sockets: sockets_of, process: None, start_planned: true });
            world.plan_within(Span::new(0, 500_000), Event::Tier(TierEvent::Start(place)));
        }
        if let Some(fault_us) = tier.fault_us {
            assert!(nodes.len() <= PARTED_MAX, "a partition is a mask of nodes");
            world.plan_within(fault_us, Event::Tier(TierEvent::Fault));
        }
        if let Some(order_us) = tier.order_us {
            world.plan_within(order_us, Event::Tier(TierEvent::Order));
        }
        let wires = Wires::new(tier.wires, nodes.len());
        let (processes, stirred, mail) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { nodes, wires, processes, seats, stirred, mail, authenticator, slots, doctor }
    }

    /// Gateway shards that clients connect to, over all nodes.
    pub(crate) fn gateways(weather: &Weather) -> Option<u16> {
        let nodes = &weather.tier.as_ref()?.nodes;
        Some(nodes.iter().filter(|node| node.has_clients).map(|node| node.cores).sum())
    }

    fn running(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().filter_map(|node| node.process.as_ref())
    }

    fn process_mut(&mut self, number: ProcessNumber) -> Option<&mut Process> {
        let place = self.place_of(number)?;
        self.nodes[place].process.as_mut()
    }

    /// Whatever happened, any node may want a turn.
    pub(super) fn stir_all(&mut self) {
        self.stirred.extend(0..self.nodes.len());
    }

    /// Something happened on a table of sockets.
    pub(crate) fn stir(&mut self, sockets: usize) {
        self.stirred.insert(self.seats[sockets]);
    }

    /// Something is due in a node or between nodes.
    pub(crate) fn handle(
        &mut self,
        event: TierEvent,
        weather: &Weather,
        outside: &mut Outside<'_>,
    ) -> Result<(), Violation> {
        match event {
            TierEvent::Turn(number, core) => {
                self.turn(number, core, weather, outside)?;
                self.end_stopped(number, weather, outside);
            }
            TierEvent::Tick(number, core) => {
                if self.process_mut(number).is_some() {
                    outside.world.plan_within(TICK_US, Event::Tier(event));
                    self.turn(number, core, weather, outside)?;
                    self.end_stopped(number, weather, outside);
                }
            }
            TierEvent::Wire(event) => self.wires.handle(outside.world, event),
            TierEvent::Start(place) => self.start(place, weather, outside),
            TierEvent::StopNow(number) => {
                if let Some(place) = self.place_of(number) {
                    outside.world.trace(|| format!("node {place} did not stop in time"));
                    self.end(place, weather, outside, true);
                    self.start_later(outside.world, place, weather);
                }
            }
            TierEvent::Fault | TierEvent::Mend(_) | TierEvent::Order => {
                unreachable!("the cluster knows whether there is a storm")
            }
        }
        Ok(())
    }

    fn place_of(&self, number: ProcessNumber) -> Option<usize> {
        let place = self.processes[number.0 as usize - 1];
        let process = self.nodes[place].process.as_ref()?;
        (process.number == number).then_some(place)
    }

    fn turn(
        &mut self,
        number: ProcessNumber,
        core: u16,
        weather: &Weather,
        outside: &mut Outside<'_>,
    ) -> Result<(), Violation> {
        let (completions, doctor) = (weather.shape.turn_completions, self.doctor);
        let Some(place) = self.place_of(number) else { return Ok(()) };
        self.stirred.insert(place);
        let Self { nodes, wires, .. } = self;
        let Some(process) = &mut nodes[place].process else { return Ok(()) };
        process.turn(core, wires, outside, completions, doctor)
    }

    /// A node starts, when the store lets it.
    fn start(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>) {
        let node = &mut self.nodes[place];
        node.start_planned = false;
        if node.process.is_some() {
            return;
        }
        if node.shape.has_routers && !outside.store.is_reachable() {
            node.start_planned = true;
            return outside.world.plan_within(REGISTER_US, Event::Tier(TierEvent::Start(place)));
        }
        self.processes.push(place);
        self.stirred.insert(place);
        let number = ProcessNumber(self.processes.len() as u32);
        let (shape, sockets) = (node.shape, node.sockets.clone());
        let process = Process::start(number, place, shape, sockets, weather, &self.authenticator, outside);
        node.process = Some(process);
        outside.kernel.gateways_listen(node.sockets.clone());
        self.wires.listen(place, shape.has_routers.then_some(shape.cores));
    }

    fn start_later(&mut self, world: &mut World<Event>, place: usize, weather: &Weather) {
        let node = &mut self.nodes[place];
        if node.process.is_none() && !node.start_planned {
            node.start_planned = true;
            let mend_us = weather.tier.as_ref().expect("a cluster").mend_us;
            // Often for longer than a lease lasts.
            let down_us = if world.random.coin() { mend_us } else { DOWN_US };
            world.plan_within(down_us, Event::Tier(TierEvent::Start(place)));
        }
    }

    /// A process is gone; `noticed`: its peers are told.
    fn end(&mut self, place: usize, weather: &Weather, outside: &mut Outside<'_>, noticed: bool) {
        let Some(process) = self.nodes[place].process.take() else { return };
        self.mail.remove(&place);
        outside.world.trace(|| format!("node {place} is gone, noticed: {noticed}"));
        process.count(outside.world);
        self.wires.node_gone(outside.world, place, noticed);
        outside.kernel.gateways_gone(outside.world, self.nodes[place].sockets.clone());
        let embedded = weather.tier.as_ref().is_some_and(|tier| tier.embedded);
        if embedded && self.nodes[place].shape.has_routers {
            outside.store.node_gone(outside.world);
        } else {
            outside.store.process_gone(process.number.0);
        }
    }

    /// A process that has stopped in order is gone.
    fn end_stopped(&mut self, number: ProcessNumber, weather: &Weather, outside: &mut Outside<'_>) {
        if self.process_mut(number).is_some_and(Process::has_stopped) {
            let place = self.processes[number.0 as usize - 1];
            outside.world.coverage.hit(Mark::NodeLeft);
            self.end(place, weather, outside, true);
            self.start_later(outside.world, place, weather);
        }
    }

    /// What an event leaves to be done at once: the store's answers go in, turns are planned.
    pub(crate) fn follow(&mut self, world: &mut World<Event>, kernel: &Kernel, store: &mut Store) {
        while let Some((asker, id, outcome)) = store.next_answer() {
            if let Some(place) = self.place_of(ProcessNumber(asker.process)) {
                let process = self.nodes[place].process.as_mut().expect("it has that place");
                process.answer(asker.router, id, outcome);
                self.stirred.insert(place);
            }
        }
        self.stirred.extend(self.wires.told());
        while let Some(place) = self.stirred.pop_first() {
            let Some(process) = &mut self.nodes[place].process else { continue };
            process.plan_turns(world, kernel, &self.wires);
            if process.shared.to_api.len() > 0 {
                self.mail.insert(place);
            }
        }
    }

    /// Whether the API of any node has mail.
    pub(crate) fn has_mail(&self) -> bool {
        !self.mail.is_empty()
    }

    /// The next answer to the API.
    pub(crate) fn next_mail(&mut self) -> Option<ToGateway> {
        while let Some(place) = self.mail.first() {
            let process = self.nodes[*place].process.as_mut();
            if let Some(answer) = process.and_then(|process| process.shared.to_api.pop()) {
                return Some(answer);
            }
            self.mail.pop_first();
        }
        None
    }

    /// Hands a request to the API of some node: which process it is; `None`: there is none, or it has no room.
    pub(crate) fn ask(&mut self, world: &mut World<Event>, envelope: ToRouter) -> Option<ProcessNumber> {
        let mut running: Vec<&mut Process> =
            self.nodes.iter_mut().filter_map(|node| node.process.as_mut()).collect();
        if running.is_empty() {
            return None;
        }
        let index = world.random.index(running.len());
        let process = &mut running[index];
        self.stirred.insert(process.shared.place);
        let lane = envelope.lane();
        let taken =
            process.shared.phase == Phase::Running && process.shared.from_api.push(lane, envelope).is_ok();
        taken.then_some(process.number)
    }

    /// Whether a process is still there.
    pub(crate) fn is_running(&self, number: ProcessNumber) -> bool {
        self.place_of(number).is_some()
    }

    /// What is still there, of a cluster that should have nothing to do.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let down = self.nodes.iter().enumerate().filter(|(_, node)| node.process.is_none());
        let mut left: Vec<String> = down.map(|(place, _)| format!("node {place} is down")).collect();
        left.extend(self.running().flat_map(Process::leftovers));
        left
    }

    /// Counts what only shards know.
    pub(crate) fn count(&self, world: &mut World<Event>) {
        self.running().for_each(|process| process.count(world));
    }
}
