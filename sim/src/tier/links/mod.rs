//! The links of a simulated core: gives the machines of `gateway::link` their connections, and puts what comes where it
//! belongs, as `gateway::core::links` does.

mod accepted;
mod dialled;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gateway::link::{Backoff, ClusterKey, Common, Link, Nonce, Reason, Traffic, Unsent};
use gateway::shard::GatewayShard;
use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway, ToRouter};
use protocol::link::Greeting;
use protocol::placement::{Epoch, NodeId, Table};
use protocol::time::Now;
use router::RouterShard;

use super::placement::Shared;
use super::tally::Tally;
use super::wires::{End, Happened, Place, WireNumber, Wires};
use crate::cluster;
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
    fn route(&mut self, core: u16, by: Epoch, envelope: ToRouter) -> Result<(), ToRouter> {
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
    last_words: Vec<(u16, ToRouter)>,
    table: Arc<Table>,
    /// What they carried.
    pub(super) tally: Tally,
}

/// What stands for a publish that fits no frame.
fn head_instead(envelope: &ToGateway) -> Option<ToGateway> {
    let ToGateway::Publish { conversation, events } = envelope else { return None };
    let head = events.last().map_or(0, protocol::event::Event::seq);
    Some(ToGateway::Head { conversation: *conversation, head })
}

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
            last_words: Vec::new(),
            table: Arc::new(Table::empty()),
            tally: Tally::default(),
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
            Ok(()) => {
                self.tally.request(&envelope);
                Ok(())
            }
            Err(Unsent::TooLarge) => Ok(()),
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
            Ok(()) => {
                self.tally.answer(&envelope);
                Ok(())
            }
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
        self.tell_last_words(hands);
        let mut waits = !self.last_words.is_empty();
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

    /// Links that are ready: to router nodes, and of gateway shards of other nodes.
    pub(super) fn ready(&self) -> (usize, usize) {
        (self.ready.len(), self.gateways.len())
    }

    /// What they sent since the core began.
    pub(super) fn sent(&self) -> Traffic {
        self.common.counters().outgoing
    }

    pub(super) fn invariants(&self) {
        let linked = self.dialled.values().filter_map(|dialled| match &dialled.state {
            State::Linked(_, link) => Some(&**link),
            State::Waiting(_) | State::Dialling => None,
        });
        linked.chain(self.accepted.values().map(|accepted| &accepted.link)).for_each(Link::invariants);
    }
}
