//! Links that this core dials: to every router node of the table but its own, and to those that the configuration names as
//! long as no router node has told a table.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::link::Greeting;
use protocol::placement::NodeId;
use protocol::time::Now;
use ring::Ring;
use ring::dial::Dial;
use ring::operation::Operation;
use ring::token::Token;

use super::super::Hands;
use super::{End, Links};
use crate::link::{Backoff, Event, Link, Reason};
use crate::shard;

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// When one that needs no dialling is looked at again, in milliseconds.
const PARKED_MS: u64 = 5_000;
/// When a dial that found no room in the ring is tried again, in milliseconds.
const NO_ROOM_MS: u64 = 500;

/// How far a link is.
#[derive(Debug)]
enum State {
    /// Dialled not before then.
    Waiting(u64),
    Dialling,
    Linked(Token, Box<Link>),
}

/// A router node that is dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    address: SocketAddr,
    /// Who is there: by the table, or by its own word.
    node: Option<NodeId>,
    /// The configuration names it: it is asked again when nobody else is there.
    is_named: bool,
    /// It was not to be found there the last time: the table's word counts.
    is_elsewhere: bool,
    state: State,
    backoff: Backoff,
    /// The last reason that was told of, so that the same is not told again and again.
    told: Option<Reason>,
}

impl Dialled {
    pub(super) fn link(&self) -> Option<&Link> {
        match &self.state {
            State::Linked(_, link) => Some(link),
            State::Waiting(_) | State::Dialling => None,
        }
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        self.linked_mut().map(|(_, link)| link)
    }

    pub(super) fn linked_mut(&mut self) -> Option<(Token, &mut Link)> {
        match &mut self.state {
            State::Linked(token, link) => Some((*token, link)),
            State::Waiting(_) | State::Dialling => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.state {
            State::Waiting(due_ms) => Some(*due_ms),
            State::Dialling => None,
            State::Linked(_, link) => link.deadline(),
        }
    }
}

impl Links {
    /// One more to dial, at once.
    pub(super) fn add(&mut self, address: SocketAddr, node: Option<NodeId>, is_named: bool) {
        let number = self.next_dialled;
        self.next_dialled += 1;
        let backoff = Backoff::new(self.seed ^ u64::from(number));
        let state = State::Waiting(0);
        self.dialled.insert(
            number,
            Dialled { address, node, is_named, is_elsewhere: false, state, backoff, told: None },
        );
    }

    /// Dials whoever is due.
    pub(super) fn dial_due(&mut self, now: Now, ring: &mut Ring) {
        let is_known = !self.ready.is_empty();
        for (&number, dialled) in &mut self.dialled {
            let State::Waiting(due_ms) = dialled.state else { continue };
            if due_ms > now.monotonic_ms {
                continue;
            }
            let is_own = dialled.node == Some(self.own) && self.own != NodeId::NONE;
            let is_reached = dialled.node.is_some_and(|node| self.ready.contains_key(&node));
            if is_own || is_reached || (dialled.node.is_none() && is_known) {
                // Reached by another address, or told by the table.
                dialled.state = State::Waiting(now.monotonic_ms + PARKED_MS);
                continue;
            }
            let told = dialled.node.and_then(|node| self.table.node(node)).map(|node| node.address);
            let target =
                told.filter(|_| dialled.is_elsewhere || !dialled.is_named).unwrap_or(dialled.address);
            let dial = Dial { target, source: None, timeout: DIAL_TIMEOUT, receive_buffer_bytes: None };
            match ring.dial(&dial) {
                Some(token) => {
                    dialled.state = State::Dialling;
                    self.sockets.insert(token.slot, (token, End::Dialled(number)));
                }
                None => dialled.state = State::Waiting(now.monotonic_ms + NO_ROOM_MS),
            }
        }
    }

    pub(super) fn connected(&mut self, now: Now, token: Token, hands: &mut Hands<'_>) {
        let Some(End::Dialled(number)) = self.end_of(token) else { return };
        let Some(dialled) = self.dialled.get_mut(&number) else { return self.close(token) };
        let wanted = dialled.node;
        let link = Link::dial(now, &mut self.common, wanted, Self::nonce());
        dialled.state = State::Linked(token, Box::new(link));
        self.operations.push(Operation::Receive(token));
        self.read_dialled(now, number, &[], hands);
    }

    /// Nobody answered.
    pub(super) fn dial_failed(&mut self, now: Now, number: u32, error: i32) {
        self.dialled_over(now, number, Reason::Socket(error));
    }

    pub(super) fn read_dialled(&mut self, now: Now, number: u32, bytes: &[u8], hands: &mut Hands<'_>) {
        let mut input = bytes;
        loop {
            let Some(dialled) = self.dialled.get_mut(&number) else { return };
            let node = dialled.node;
            let Some((token, link)) = dialled.linked_mut() else { return };
            let Some(event) = link.next_event(now, &mut self.common, &mut input) else { return };
            match event {
                Event::Ready { peer, version: _ } => self.dialled_ready(now, number, &peer, hands),
                Event::ToGateway(envelope) => {
                    hands.gateway.handle(now, shard::Completion::Envelope(envelope));
                }
                Event::Table(table) => {
                    // A router node goes by its own keeper, who knows what its process has forgotten.
                    let is_news = match self.own {
                        NodeId::NONE => hands.placement.replace(table.into()),
                        _ => hands.placement.want(table.epoch),
                    };
                    if is_news {
                        hands.outgoing.wake_all();
                    }
                }
                Event::Ended(reason) => {
                    let untaken = node.map(|node| link.untaken(node)).unwrap_or_default();
                    let was = self.ready_node(number);
                    self.close(token);
                    self.dialled_over(now, number, reason);
                    if let Some(node) = was {
                        self.ready.remove(&node);
                        hands.gateway.handle(now, shard::Completion::NodeDown(node));
                    }
                    for (to, word) in untaken {
                        // The router shard knows how to say it later, and to whom.
                        hands.router.handle(now, router::Completion::RouterFull(to, word));
                    }
                    return;
                }
                // An acceptor's alone.
                Event::ToRouter { .. } | Event::Routing(_) => {}
            }
        }
    }

    fn ready_node(&self, number: u32) -> Option<NodeId> {
        self.ready.iter().find(|(_, ready)| **ready == number).map(|(node, _)| *node)
    }

    fn dialled_ready(&mut self, now: Now, number: u32, peer: &Greeting, hands: &mut Hands<'_>) {
        let node = peer.node;
        let Some(dialled) = self.dialled.get_mut(&number) else { return };
        dialled.node = Some(node);
        dialled.told = None;
        dialled.backoff.ready(now.monotonic_ms);
        if node == self.own || self.ready.contains_key(&node) {
            // Ourselves, or somebody who was reached by another address.
            if let Some((link, common)) = dialled.link_mut().map(|link| (link, &mut self.common)) {
                link.socket_ended(common, 0);
            }
            return;
        }
        self.ready.insert(node, number);
        let fields: crate::log::Fields<'_> =
            &[("node", &peer.name), ("number", &node.0), ("address", &dialled.address)];
        if self.core == 0 {
            self.logger.info("linked", fields);
        }
        if let Some(link) = dialled.link_mut() {
            link.send_routing(&mut self.common, self.table.epoch);
        }
        hands.gateway.handle(now, shard::Completion::NodeUp(node));
    }

    /// A link is over, or a dial has failed: dialled again later, unless the table has nobody there any more.
    fn dialled_over(&mut self, now: Now, number: u32, reason: Reason) {
        let Some(dialled) = self.dialled.get_mut(&number) else { return };
        let due_ms = dialled.backoff.ended(now.monotonic_ms);
        dialled.state = State::Waiting(due_ms);
        dialled.is_elsewhere = !dialled.is_elsewhere;
        let is_news = dialled.told != Some(reason);
        dialled.told = Some(reason);
        if is_news && self.core == 0 && dialled.node != Some(self.own) {
            let fields: crate::log::Fields<'_> = &[("address", &dialled.address), ("why", &reason.message())];
            self.logger.warn("no link to a router node; trying on", fields);
        }
        let is_reached =
            dialled.node.is_some_and(|node| self.ready.get(&node).is_some_and(|by| *by != number));
        let is_of_table = dialled.node.is_some_and(|node| self.table.node(node).is_some()) && !is_reached;
        // At its address is another node by now: its own table may be from before that, and nobody else may be left to tell.
        let is_other = matches!(reason, Reason::OtherNode(_));
        if dialled.is_named {
            if (!is_of_table && !is_reached || is_other) && dialled.node != Some(self.own) {
                dialled.node = None;
            }
        } else if !is_of_table {
            self.dialled.remove(&number);
        }
        self.deadline_ms = Some(0);
    }

    /// A table came: whoever is new in it is dialled, whoever is not there any more is not.
    pub(super) fn follow_dialled(&mut self, now: Now, hands: &mut Hands<'_>) {
        let table = std::sync::Arc::clone(&self.table);
        let gone: Vec<u32> = self
            .dialled
            .iter()
            .filter(|(_, dialled)| {
                dialled.node.is_some_and(|node| node != self.own && table.node(node).is_none())
            })
            .map(|(&number, _)| number)
            .collect();
        for number in gone {
            self.let_go(now, number, hands);
        }
        let own = self.own;
        for node in table.nodes.iter().filter(|node| node.id != own) {
            let is_there = |dialled: &&mut Dialled| {
                dialled.node == Some(node.id) || dialled.node.is_none() && dialled.address == node.address
            };
            match self.dialled.values_mut().find(is_there) {
                Some(dialled) => {
                    dialled.node = Some(node.id);
                    if dialled.address != node.address && !dialled.is_named {
                        dialled.address = node.address;
                        if let Some((_, link)) = dialled.linked_mut() {
                            // Whoever is at the old address is the node no more.
                            link.socket_ended(&mut self.common, 0);
                        }
                    }
                }
                None => self.add(node.address, Some(node.id), false),
            }
        }
        for number in self.ready.values() {
            if let Some(link) = self.dialled.get_mut(number).and_then(Dialled::link_mut) {
                link.send_routing(&mut self.common, table.epoch);
            }
        }
    }

    /// A node is not in the table any more.
    fn let_go(&mut self, now: Now, number: u32, hands: &mut Hands<'_>) {
        let Some(dialled) = self.dialled.get_mut(&number) else { return };
        if let Some((_, link)) = dialled.linked_mut() {
            link.socket_ended(&mut self.common, 0);
            self.read_dialled(now, number, &[], hands);
        } else if !dialled.is_named && matches!(dialled.state, State::Waiting(_)) {
            self.dialled.remove(&number);
        } else {
            dialled.node = None;
        }
    }
}
