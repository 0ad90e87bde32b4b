//! The links of a simulated core: gives the machines of `gateway::link` their connections, and puts what comes where it
//! belongs, as `gateway::core::links` does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gateway::link::{Backoff, ClusterKey, Common, Event, Link, Nonce, Reason, Unsent};
use gateway::shard::{self, GatewayShard};
use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway, ToRouter};
use protocol::link::Greeting;
use protocol::placement::{Epoch, NodeId, Table};
use protocol::time::Now;
use router::RouterShard;

use super::placement::Shared;
use super::wires::{End, Happened, Place, WireNumber, Wires};
use crate::cluster;
use crate::coverage::Mark;
use crate::random::Random;
use crate::world::World;

/// What links touch, of their core and of the run.
pub(super) struct Hands<'a> {
    pub(super) now: Now,
    pub(super) core: u16,
    pub(super) gateway: &'a mut GatewayShard,
    pub(super) router: &'a mut RouterShard,
    pub(super) shared: &'a mut Shared,
    pub(super) wires: &'a mut Wires,
    pub(super) world: &'a mut World<cluster::Event>,
}

impl Hands<'_> {
    /// Puts an envelope that was sent by some table where a router shard of this node takes it.
    #[expect(clippy::result_large_err, reason = "the envelope itself waits in its link")]
    fn to_router(&mut self, core: u16, by: Epoch, envelope: ToRouter) -> Result<(), ToRouter> {
        if core != self.core {
            return self.shared.push_router(self.world, core, by, envelope);
        }
        if !self.router.wants_input() {
            return Err(envelope);
        }
        if self.shared.table.epoch > self.router.table_epoch() {
            self.router.handle(self.now, router::Completion::Table(Arc::clone(&self.shared.table)));
        }
        self.router.handle(self.now, router::Completion::Routed(by, envelope));
        Ok(())
    }

    fn place(&self) -> Place {
        Place { node: self.shared.place, core: self.core }
    }
}

#[derive(Debug)]
enum State {
    Waiting(u64),
    Dialling,
    Linked(WireNumber, Box<Link>),
}

/// A router node that is dialled.
#[derive(Debug)]
struct Dialled {
    /// Its place in the run, by its address.
    target: usize,
    node: Option<NodeId>,
    is_named: bool,
    state: State,
    backoff: Backoff,
}

impl Dialled {
    fn linked_mut(&mut self) -> Option<(WireNumber, &mut Link)> {
        match &mut self.state {
            State::Linked(number, link) => Some((*number, link)),
            State::Waiting(_) | State::Dialling => None,
        }
    }
}

/// What keeps a link from being read.
#[derive(Debug)]
enum Wait {
    Mailbox(u16, Box<ToRouter>),
    Table(Epoch),
}

#[derive(Debug)]
struct Accepted {
    link: Link,
    gateway: GatewayId,
    is_ready: bool,
    follows: Epoch,
    wait: Option<Wait>,
    held: VecDeque<ToGateway>,
}

/// All links of a core.
#[derive(Debug)]
pub(super) struct Links {
    common: Common,
    own: NodeId,
    core: u16,
    random: Random,
    dialled: BTreeMap<u32, Dialled>,
    next_dialled: u32,
    /// Which dial a connection is of.
    dials: BTreeMap<WireNumber, u32>,
    ready: BTreeMap<NodeId, u32>,
    accepted: BTreeMap<WireNumber, Accepted>,
    gateways: BTreeMap<GatewayId, WireNumber>,
    gone: Vec<(u16, GatewayId)>,
    table: Arc<Table>,
}

/// What stands for a publish that fits no frame.
fn head_instead(envelope: &ToGateway) -> Option<ToGateway> {
    let ToGateway::Publish { conversation, events } = envelope else { return None };
    let head = events.last().map_or(0, protocol::event::Event::seq);
    Some(ToGateway::Head { conversation: *conversation, head })
}

/// When a dial that is not to be made now is looked at again, in milliseconds.
const LATER_MS: u64 = 500;

impl Links {
    /// None yet; `targets` are the router nodes that the configuration names.
    pub(super) fn new(secret: &[u8], greeting: Greeting, targets: &[usize], seed: u64) -> Self {
        let key = ClusterKey::new(secret).expect("the secret is long enough");
        let mut links = Self {
            own: greeting.node,
            core: greeting.core,
            common: Common::new(key, greeting),
            random: Random::new(seed),
            dialled: BTreeMap::new(),
            next_dialled: 0,
            dials: BTreeMap::new(),
            ready: BTreeMap::new(),
            accepted: BTreeMap::new(),
            gateways: BTreeMap::new(),
            gone: Vec::new(),
            table: Arc::new(Table::empty()),
        };
        for target in targets {
            links.add(*target, None, true);
        }
        links
    }

    fn add(&mut self, target: usize, node: Option<NodeId>, is_named: bool) {
        let number = self.next_dialled;
        self.next_dialled += 1;
        let backoff = Backoff::new(self.random.next());
        self.dialled.insert(number, Dialled { target, node, is_named, state: State::Waiting(0), backoff });
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce.chunks_mut(8).for_each(|chunk| {
            let bytes = self.random.next().to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        });
        nonce
    }

    /// Something happened on a connection.
    pub(super) fn complete(&mut self, happened: Happened, hands: &mut Hands<'_>) {
        match happened {
            Happened::Accepted(number) => self.accept(number, hands),
            Happened::Connected(number) => self.connected(number, hands),
            Happened::Refused(number, error) => {
                if let Some(dial) = self.dials.remove(&number) {
                    self.dialled_over(dial, Reason::Socket(error), hands);
                }
            }
            Happened::Received(number, bytes) => self.received(number, &bytes, hands),
            Happened::Ended(number, error) => {
                if let Some((link, common)) = self.link_mut(number) {
                    link.socket_ended(common, error);
                    self.received(number, &[], hands);
                }
            }
            Happened::Sent(number, result, gather) => match self.link_mut(number) {
                Some((link, common)) => {
                    link.sent(hands.now, common, result, gather);
                    self.received(number, &[], hands);
                }
                None => self.common.recycle(gather),
            },
        }
    }

    fn link_mut(&mut self, number: WireNumber) -> Option<(&mut Link, &mut Common)> {
        if let Some(dial) = self.dials.get(&number) {
            let (_, link) = self.dialled.get_mut(dial)?.linked_mut()?;
            return Some((link, &mut self.common));
        }
        Some((&mut self.accepted.get_mut(&number)?.link, &mut self.common))
    }

    fn received(&mut self, number: WireNumber, bytes: &[u8], hands: &mut Hands<'_>) {
        if let Some(dial) = self.dials.get(&number) {
            self.read_dialled(*dial, bytes, hands);
        } else {
            self.read_accepted(number, bytes, hands);
        }
    }

    // Links that this core dials.

    fn dial_due(&mut self, hands: &mut Hands<'_>) {
        let now_ms = hands.now.monotonic_ms;
        let is_known = !self.ready.is_empty();
        for (&number, dialled) in &mut self.dialled {
            let State::Waiting(due_ms) = dialled.state else { continue };
            if due_ms > now_ms {
                continue;
            }
            let is_own = dialled.node == Some(self.own) && self.own != NodeId::NONE;
            if is_own || (dialled.node.is_none() && is_known) {
                dialled.state = State::Waiting(now_ms + LATER_MS);
                continue;
            }
            let place = hands.place();
            let wire = hands.wires.dial(hands.world, place, dialled.target);
            dialled.state = State::Dialling;
            self.dials.insert(wire, number);
        }
    }

    fn connected(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
        let nonce = self.nonce();
        let Some(&dial) = self.dials.get(&wire) else { return };
        let Some(dialled) = self.dialled.get_mut(&dial) else {
            self.dials.remove(&wire);
            return hands.wires.close(hands.world, wire, End::Dialler);
        };
        let link = Link::dial(hands.now, &mut self.common, dialled.node, nonce);
        dialled.state = State::Linked(wire, Box::new(link));
        hands.wires.arm(hands.world, wire, End::Dialler, true);
        self.read_dialled(dial, &[], hands);
    }

    fn read_dialled(&mut self, dial: u32, bytes: &[u8], hands: &mut Hands<'_>) {
        let mut input = bytes;
        loop {
            let Some(dialled) = self.dialled.get_mut(&dial) else { return };
            let Some((wire, link)) = dialled.linked_mut() else { return };
            let Some(event) = link.next_event(hands.now, &mut self.common, &mut input) else { return };
            match event {
                Event::Ready { peer, version: _ } => self.dialled_ready(dial, &peer, hands),
                Event::ToGateway(envelope) => {
                    hands.gateway.handle(hands.now, shard::Completion::Envelope(envelope));
                }
                Event::Table(table) => hands.shared.replace(table.into()),
                Event::Ended(reason) => {
                    let was = self.ready.iter().find(|(_, ready)| **ready == dial).map(|(node, _)| *node);
                    self.dials.remove(&wire);
                    hands.wires.close(hands.world, wire, End::Dialler);
                    self.dialled_over(dial, reason, hands);
                    if let Some(node) = was {
                        hands.world.coverage.hit(Mark::LinkEnded);
                        self.ready.remove(&node);
                        hands.gateway.handle(hands.now, shard::Completion::NodeDown(node));
                    }
                    return;
                }
                Event::ToRouter { .. } | Event::Routing(_) => {}
            }
        }
    }

    fn dialled_ready(&mut self, dial: u32, peer: &Greeting, hands: &mut Hands<'_>) {
        let node = peer.node;
        let Some(dialled) = self.dialled.get_mut(&dial) else { return };
        dialled.node = Some(node);
        dialled.backoff.ready(hands.now.monotonic_ms);
        let is_double = node == self.own || self.ready.contains_key(&node);
        let Some((_, link)) = dialled.linked_mut() else { return };
        if is_double {
            return link.socket_ended(&mut self.common, 0);
        }
        link.send_routing(&mut self.common, self.table.epoch);
        self.ready.insert(node, dial);
        hands.world.coverage.hit(Mark::Linked);
        hands.gateway.handle(hands.now, shard::Completion::NodeUp(node));
    }

    fn dialled_over(&mut self, dial: u32, reason: Reason, hands: &mut Hands<'_>) {
        let Some(dialled) = self.dialled.get_mut(&dial) else { return };
        hands
            .world
            .trace(|| format!("a link of {:?} to {} is over: {reason:?}", hands.place(), dialled.target));
        let due_ms = dialled.backoff.ended(hands.now.monotonic_ms);
        dialled.state = State::Waiting(due_ms);
        let is_of_table = dialled.node.is_some_and(|node| self.table.node(node).is_some());
        let is_other = matches!(reason, Reason::OtherNode(_));
        if dialled.is_named {
            if (!is_of_table || is_other) && dialled.node != Some(self.own) {
                dialled.node = None;
            }
        } else if !is_of_table {
            self.dialled.remove(&dial);
        }
    }

    fn follow_dialled(&mut self, hands: &mut Hands<'_>) {
        let table = Arc::clone(&self.table);
        let own = self.own;
        let is_gone =
            |dialled: &Dialled| dialled.node.is_some_and(|node| node != own && table.node(node).is_none());
        let gone: Vec<u32> =
            self.dialled.iter().filter(|(_, dialled)| is_gone(dialled)).map(|(&number, _)| number).collect();
        for dial in gone {
            self.let_go(dial, hands);
        }
        for node in table.nodes.iter().filter(|node| node.id != own) {
            let target = super::place_of(node.address);
            let is_there = |dialled: &&mut Dialled| {
                dialled.node == Some(node.id) || dialled.node.is_none() && dialled.target == target
            };
            match self.dialled.values_mut().find(is_there) {
                Some(dialled) => dialled.node = Some(node.id),
                None => self.add(target, Some(node.id), false),
            }
        }
        for dial in self.ready.values() {
            if let Some((_, link)) = self.dialled.get_mut(dial).and_then(Dialled::linked_mut) {
                link.send_routing(&mut self.common, table.epoch);
            }
        }
    }

    fn let_go(&mut self, dial: u32, hands: &mut Hands<'_>) {
        let Some(dialled) = self.dialled.get_mut(&dial) else { return };
        if let Some((_, link)) = dialled.linked_mut() {
            link.socket_ended(&mut self.common, 0);
            self.read_dialled(dial, &[], hands);
        } else if !dialled.is_named && matches!(dialled.state, State::Waiting(_)) {
            self.dialled.remove(&dial);
        } else {
            dialled.node = None;
        }
    }

    // Links that this core has accepted.

    fn accept(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
        let gateway = hands.shared.next_remote();
        let link = Link::accept(hands.now, gateway, self.nonce());
        let (is_ready, follows, wait, held) = (false, Epoch(0), None, VecDeque::new());
        self.accepted.insert(wire, Accepted { link, gateway, is_ready, follows, wait, held });
        hands.wires.arm(hands.world, wire, End::Acceptor, true);
    }

    fn read_accepted(&mut self, wire: WireNumber, bytes: &[u8], hands: &mut Hands<'_>) {
        let mut input = bytes;
        loop {
            let Some(accepted) = self.accepted.get_mut(&wire) else { return };
            let Some(event) = accepted.link.next_event(hands.now, &mut self.common, &mut input) else {
                return;
            };
            match event {
                Event::Ready { .. } => self.accepted_ready(wire, hands),
                Event::ToRouter { to_core, envelope } => {
                    let follows = accepted.follows;
                    if let Err(envelope) = hands.to_router(to_core, follows, envelope) {
                        self.wait(wire, Wait::Mailbox(to_core, Box::new(envelope)), hands);
                    }
                }
                Event::Routing(epoch) => {
                    accepted.follows = epoch;
                    if hands.shared.table.epoch < epoch {
                        hands.shared.wanted = hands.shared.wanted.max(epoch);
                        hands.world.coverage.hit(Mark::LinkAhead);
                        self.wait(wire, Wait::Table(epoch), hands);
                    }
                }
                Event::Ended(reason) => return self.accepted_over(wire, reason, hands),
                Event::ToGateway(_) | Event::Table(_) => {}
            }
        }
    }

    fn accepted_ready(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        accepted.is_ready = true;
        self.gateways.insert(accepted.gateway, wire);
        hands.shared.insert_remote(accepted.gateway, self.core);
        if self.table.epoch > Epoch(0) {
            let frame = self.common.table_frame(&self.table);
            accepted.link.send_table(&mut self.common, &frame);
        }
    }

    fn wait(&mut self, wire: WireNumber, wait: Wait, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        hands.world.coverage.hit(Mark::LinkPaused);
        accepted.link.pause(&mut self.common);
        accepted.wait = Some(wait);
        hands.wires.arm(hands.world, wire, End::Acceptor, false);
    }

    /// Goes on with links that wait; true when one still waits.
    fn continue_accepted(&mut self, hands: &mut Hands<'_>) -> bool {
        let mut still = false;
        for wire in self.accepted.keys().copied().collect::<Vec<_>>() {
            self.send_held(wire, hands.shared);
            let Some(accepted) = self.accepted.get_mut(&wire) else { continue };
            match accepted.wait.take() {
                None => continue,
                Some(Wait::Mailbox(core, envelope)) => {
                    if let Err(envelope) = hands.to_router(core, accepted.follows, *envelope) {
                        accepted.wait = Some(Wait::Mailbox(core, Box::new(envelope)));
                        still = true;
                        continue;
                    }
                }
                Some(Wait::Table(epoch)) if hands.shared.table.epoch < epoch => {
                    accepted.wait = Some(Wait::Table(epoch));
                    continue;
                }
                Some(Wait::Table(_)) => {}
            }
            accepted.link.resume(hands.now);
            hands.wires.arm(hands.world, wire, End::Acceptor, true);
            self.read_accepted(wire, &[], hands);
        }
        still
    }

    fn accepted_over(&mut self, wire: WireNumber, reason: Reason, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.remove(&wire) else { return };
        hands.wires.close(hands.world, wire, End::Acceptor);
        if !accepted.is_ready {
            return;
        }
        hands.world.trace(|| format!("{:?} of {:?} is over: {reason:?}", accepted.gateway, hands.place()));
        self.gateways.remove(&accepted.gateway);
        hands.shared.remove_remote(accepted.gateway);
        self.gone.extend((0..hands.shared.cores()).map(|core| (core, accepted.gateway)));
        self.tell_gone(hands);
    }

    fn tell_gone(&mut self, hands: &mut Hands<'_>) {
        let epoch = hands.shared.table.epoch;
        self.gone.retain(|&(core, gateway)| {
            hands.to_router(core, epoch, ToRouter::GatewayGone { gateway }).is_err()
        });
    }

    /// Writes what other cores sent, as far as there is room.
    fn send_held(&mut self, wire: WireNumber, shared: &mut Shared) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        while let Some(envelope) = accepted.held.front() {
            match accepted.link.send_to_gateway(&mut self.common, envelope, 0) {
                Ok(()) => {}
                Err(Unsent::Full) if accepted.link.is_ready() => return,
                Err(Unsent::Full) => {}
                Err(Unsent::TooLarge) => {
                    if let Some(head) = head_instead(envelope) {
                        let _ = accepted.link.send_to_gateway(&mut self.common, &head, 0);
                    }
                }
            }
            accepted.held.pop_front();
            if let Some(remote) = shared.remote_mut(accepted.gateway) {
                remote.envelopes -= 1;
            }
        }
    }

    // What the core asks of them.

    /// Slots have other owners, and there may be other router nodes.
    pub(super) fn follow(&mut self, hands: &mut Hands<'_>, table: &Arc<Table>) {
        self.table = Arc::clone(table);
        self.common.knows_table(table.epoch);
        self.follow_dialled(hands);
        if !self.gateways.is_empty() {
            let frame = self.common.table_frame(table);
            for accepted in self.accepted.values_mut() {
                accepted.link.send_table(&mut self.common, &frame);
            }
        }
    }

    /// To the link of a router shard's node.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send_to_router(&mut self, to: RouterId, envelope: ToRouter) -> Result<(), ToRouter> {
        let dialled = self.ready.get(&to.node()).and_then(|number| self.dialled.get_mut(number));
        let Some((_, link)) = dialled.and_then(Dialled::linked_mut) else { return Err(envelope) };
        match link.send_to_router(&mut self.common, &envelope, to.core()) {
            Ok(()) | Err(Unsent::TooLarge) => Ok(()),
            Err(Unsent::Full) => Err(envelope),
        }
    }

    pub(super) fn has_gateway(&self, gateway: GatewayId) -> bool {
        self.gateways.contains_key(&gateway)
    }

    /// From this core's router shard to a link of this core.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send_to_gateway(&mut self, to: GatewayId, envelope: ToGateway) -> Result<(), ToGateway> {
        let core = self.core;
        let accepted = self.gateways.get(&to).and_then(|wire| self.accepted.get_mut(wire));
        let Some(accepted) = accepted else { return Ok(()) };
        if !accepted.held.is_empty() && envelope.lane() != Lane::Ephemeral {
            return Err(envelope);
        }
        match accepted.link.send_to_gateway(&mut self.common, &envelope, core) {
            Ok(()) => Ok(()),
            Err(Unsent::Full) => Err(envelope),
            Err(Unsent::TooLarge) => {
                if let Some(head) = head_instead(&envelope) {
                    let _ = accepted.link.send_to_gateway(&mut self.common, &head, core);
                }
                Ok(())
            }
        }
    }

    /// An envelope that another core put into this one's mailbox.
    pub(super) fn take_mail(&mut self, gateway: GatewayId, envelope: ToGateway, shared: &mut Shared) {
        let Some(&wire) = self.gateways.get(&gateway) else { return };
        if let Some(accepted) = self.accepted.get_mut(&wire) {
            accepted.held.push_back(envelope);
            self.send_held(wire, shared);
        }
    }

    /// Goes on with what waits, looks after times, dials, sends. True when something waits for a mailbox.
    pub(super) fn turn(&mut self, hands: &mut Hands<'_>) -> bool {
        self.tell_gone(hands);
        let mut waits = !self.gone.is_empty();
        waits |= self.continue_accepted(hands);
        self.tick(hands);
        self.dial_due(hands);
        self.poll_sends(hands);
        waits
    }

    fn tick(&mut self, hands: &mut Hands<'_>) {
        let open: Vec<WireNumber> = self.dials.keys().chain(self.accepted.keys()).copied().collect();
        for wire in open {
            if let Some((link, common)) = self.link_mut(wire) {
                link.tick(hands.now, common);
                self.received(wire, &[], hands);
            }
        }
    }

    fn poll_sends(&mut self, hands: &mut Hands<'_>) {
        for dialled in self.dialled.values_mut() {
            if let Some((wire, link)) = dialled.linked_mut()
                && let Some(gather) = link.poll_send(hands.now, &mut self.common)
            {
                hands.wires.send(hands.world, wire, End::Dialler, gather);
            }
        }
        for (wire, accepted) in &mut self.accepted {
            if let Some(gather) = accepted.link.poll_send(hands.now, &mut self.common) {
                hands.wires.send(hands.world, *wire, End::Acceptor, gather);
            }
            if let Some(remote) = hands.shared.remote_mut(accepted.gateway) {
                remote.bytes = accepted.link.unsent_bytes();
            }
        }
    }

    pub(super) fn invariants(&self) {
        let linked = self.dialled.values().filter_map(|dialled| match &dialled.state {
            State::Linked(_, link) => Some(&**link),
            State::Waiting(_) | State::Dialling => None,
        });
        linked.chain(self.accepted.values().map(|accepted| &accepted.link)).for_each(Link::invariants);
    }
}
