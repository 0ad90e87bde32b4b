//! Links that this core dials: their sockets, and what comes over them. Who is dialled and when, stands in `dials`.

use std::sync::Arc;
use std::time::Duration;

use protocol::link::Greeting;
use protocol::placement::{NodeId, Table};
use protocol::time::Now;
use ring::Ring;
use ring::dial::Dial;
use ring::operation::Operation;
use ring::token::Token;

use super::super::Hands;
use super::dials::Number;
use super::{End, Links, Touched};
use crate::link::{Event, Link, Reason};
use crate::shard;

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

impl Links {
    /// Dials whoever is due.
    pub(super) fn dial_due(&mut self, now: Now, ring: &mut Ring) {
        while let Some((number, target)) = self.dials.next_due(now.monotonic_ms) {
            let dial = Dial { target, source: None, timeout: DIAL_TIMEOUT, receive_buffer_bytes: None };
            match ring.dial(&dial) {
                Some(token) => {
                    self.sockets.insert(token.slot, (token, End::Dialled(number)));
                }
                None => self.dials.put_off(number, now.monotonic_ms),
            }
        }
    }

    pub(super) fn connected(&mut self, now: Now, token: Token, hands: &mut Hands<'_>) {
        let Some(End::Dialled(number)) = self.end_of(token) else { return };
        let Some(dialled) = self.dials.get(number) else { return self.close(token) };
        let link = Link::dial(now, &mut self.common, dialled.node(), Self::nonce());
        self.dials.connected(number, token, link);
        self.operations.push(Operation::Receive(token));
        self.read_dialled(now, number, &[], hands);
    }

    /// Nobody answered.
    pub(super) fn dial_failed(&mut self, now: Now, number: Number, error: i32, hands: &mut Hands<'_>) {
        self.dialled_over(now, number, Reason::Socket(error), hands);
    }

    pub(super) fn read_dialled(&mut self, now: Now, number: Number, bytes: &[u8], hands: &mut Hands<'_>) {
        self.touch_dialled(number);
        let mut input = bytes;
        loop {
            let Some(dialled) = self.dials.get_mut(number) else { return };
            let node = dialled.node();
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
                    self.close(token);
                    self.dialled_over(now, number, reason, hands);
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

    fn dialled_ready(&mut self, now: Now, number: Number, peer: &Greeting, hands: &mut Hands<'_>) {
        let node = peer.node;
        let is_new = self.dials.proved(number, node, now.monotonic_ms);
        let Some(dialled) = self.dials.get_mut(number) else { return };
        let address = dialled.address();
        let Some((_, link)) = dialled.linked_mut() else { return };
        if !is_new {
            // Ourselves, or somebody who was reached by another address.
            link.socket_ended(&mut self.common, 0);
            return;
        }
        link.send_routing(&mut self.common, self.table.epoch);
        if self.core == 0 {
            let fields: crate::log::Fields<'_> =
                &[("node", &peer.name), ("number", &node.0), ("address", &address)];
            self.logger.info("linked", fields);
        }
        hands.gateway.handle(now, shard::Completion::NodeUp(node));
    }

    /// A link is over, or a dial has failed.
    fn dialled_over(&mut self, now: Now, number: Number, reason: Reason, hands: &mut Hands<'_>) {
        let Some(over) = self.dials.over(number, reason, now.monotonic_ms) else { return };
        if !over.is_old && self.core == 0 {
            let fields: crate::log::Fields<'_> = &[("address", &over.address), ("why", &reason.message())];
            self.logger.warn("no link to a router node; trying on", fields);
        }
        if over.is_doubtful {
            self.seeds.ask();
        }
        if let Some(node) = over.down {
            hands.gateway.handle(now, shard::Completion::NodeDown(node));
        }
    }

    /// Takes the addresses that the configuration's names have by now.
    pub(super) fn follow_seeds(&mut self) {
        if self.seeds.version() != self.seeds_version {
            let (version, addresses) = self.seeds.addresses();
            self.seeds_version = version;
            self.dials.follow_seeds(&addresses);
        }
    }

    /// A table came: whoever is new in it is dialled, whoever is not there any more is not.
    pub(super) fn follow_dialled(&mut self, now: Now, table: &Arc<Table>, hands: &mut Hands<'_>) {
        for number in self.dials.let_go(table) {
            self.end_dialled(now, number, hands);
        }
        for number in self.dials.take_in(table) {
            self.end_dialled(now, number, hands);
        }
        let ready: Vec<Number> = self.dials.ready_numbers().collect();
        for number in ready {
            self.touch_dialled(number);
            if let Some((_, link)) = self.dials.get_mut(number).and_then(|dialled| dialled.linked_mut()) {
                link.send_routing(&mut self.common, table.epoch);
            }
        }
    }

    fn end_dialled(&mut self, now: Now, number: Number, hands: &mut Hands<'_>) {
        if let Some((_, link)) = self.dials.get_mut(number).and_then(|dialled| dialled.linked_mut()) {
            link.socket_ended(&mut self.common, 0);
            self.read_dialled(now, number, &[], hands);
        }
    }

    /// Something was done with a link: it is looked at before the turn ends.
    pub(super) fn touch_dialled(&mut self, number: Number) {
        if let Some(dialled) = self.dials.get_mut(number)
            && !std::mem::replace(&mut dialled.is_touched, true)
        {
            self.touched.push(Touched::Dialled(number));
        }
    }
}
