//! Links that a simulated core dials, as `gateway::core::links::dialled` does.

use std::sync::Arc;

use gateway::link::{Event, Link, Reason};
use gateway::shard;
use protocol::link::Greeting;
use protocol::placement::NodeId;

use super::{Dialled, End, Hands, Links, State, WireNumber};
use crate::coverage::Mark;

/// When a dial that is not to be made now is looked at again, in milliseconds.
const LATER_MS: u64 = 500;

impl Links {
    pub(super) fn dial_due(&mut self, hands: &mut Hands<'_>) {
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

    pub(super) fn connected(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
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

    pub(super) fn read_dialled(&mut self, dial: u32, bytes: &[u8], hands: &mut Hands<'_>) {
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
                // A router node goes by its own keeper.
                Event::Table(table) if self.own == NodeId::NONE => hands.shared.replace(table.into()),
                Event::Table(table) => hands.shared.wanted = hands.shared.wanted.max(table.epoch),
                Event::Ended(reason) => {
                    let was = self.ready.iter().find(|(_, ready)| **ready == dial).map(|(node, _)| *node);
                    let untaken = was.map(|node| link.untaken(node)).unwrap_or_default();
                    self.dials.remove(&wire);
                    hands.wires.close(hands.world, wire, End::Dialler);
                    self.dialled_over(dial, reason, hands);
                    if let Some(node) = was {
                        hands.world.coverage.hit(Mark::LinkEnded);
                        self.ready.remove(&node);
                        hands.gateway.handle(hands.now, shard::Completion::NodeDown(node));
                    }
                    for (to, word) in untaken {
                        hands.router.handle(hands.now, router::Completion::RouterFull(to, word));
                    }
                    return;
                }
                Event::ToRouter { .. } | Event::Routing(_) => {}
            }
        }
    }

    pub(super) fn dialled_ready(&mut self, dial: u32, peer: &Greeting, hands: &mut Hands<'_>) {
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

    pub(super) fn dialled_over(&mut self, dial: u32, reason: Reason, hands: &mut Hands<'_>) {
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

    pub(super) fn follow_dialled(&mut self, hands: &mut Hands<'_>) {
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
            let target = crate::tier::place_of(node.address);
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

    pub(super) fn let_go(&mut self, dial: u32, hands: &mut Hands<'_>) {
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
}
