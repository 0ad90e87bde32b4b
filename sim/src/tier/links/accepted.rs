//! Links that a simulated core has accepted, as `gateway::core::links::accepted` does.

use std::collections::VecDeque;

use gateway::link::{Event, Link, Reason, Unsent};
use protocol::envelope::ToRouter;
use protocol::placement::Epoch;

use super::{Accepted, End, Hands, Links, Shared, Wait, WireNumber, head_instead};
use crate::coverage::Mark;

impl Links {
    pub(super) fn accept(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
        let gateway = hands.shared.next_remote();
        let mut link = Link::accept(hands.now, self.nonce());
        link.call_peer(gateway);
        let (is_ready, follows, wait, held) = (false, Epoch(0), None, VecDeque::new());
        self.accepted.insert(wire, Accepted { link, gateway, is_ready, follows, wait, held });
        hands.wires.arm(hands.world, wire, End::Acceptor, true);
    }

    pub(super) fn read_accepted(&mut self, wire: WireNumber, bytes: &[u8], hands: &mut Hands<'_>) {
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
                    if let Err(envelope) = hands.route(to_core, follows, envelope) {
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

    pub(super) fn accepted_ready(&mut self, wire: WireNumber, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        accepted.is_ready = true;
        self.gateways.insert(accepted.gateway, wire);
        hands.shared.insert_remote(accepted.gateway, self.core);
        if self.table.epoch > Epoch(0) {
            let frame = self.common.table_frame(&self.table);
            accepted.link.send_table(&mut self.common, &frame);
        }
    }

    pub(super) fn wait(&mut self, wire: WireNumber, wait: Wait, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        hands.world.coverage.hit(Mark::LinkPaused);
        accepted.link.pause(&mut self.common);
        accepted.wait = Some(wait);
        hands.wires.arm(hands.world, wire, End::Acceptor, false);
    }

    /// Goes on with links that wait; true when one still waits.
    pub(super) fn continue_accepted(&mut self, hands: &mut Hands<'_>) -> bool {
        let mut still = false;
        for wire in self.accepted.keys().copied().collect::<Vec<_>>() {
            self.send_held(wire, hands.shared);
            let Some(accepted) = self.accepted.get_mut(&wire) else { continue };
            if hands.shared.remote_mut(accepted.gateway).is_some_and(|remote| remote.cut) {
                accepted.link.give_up(&mut self.common, Reason::Stalled);
                self.read_accepted(wire, &[], hands);
                continue;
            }
            match accepted.wait.take() {
                None => continue,
                Some(Wait::Mailbox(core, envelope)) => {
                    if let Err(envelope) = hands.route(core, accepted.follows, *envelope) {
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

    pub(super) fn accepted_over(&mut self, wire: WireNumber, reason: Reason, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.remove(&wire) else { return };
        hands.wires.close(hands.world, wire, End::Acceptor);
        if !accepted.is_ready {
            return;
        }
        hands.world.trace(|| format!("{:?} of {:?} is over: {reason:?}", accepted.gateway, hands.place()));
        self.gateways.remove(&accepted.gateway);
        hands.shared.remove_remote(accepted.gateway);
        if let Some(Wait::Mailbox(core, envelope)) = accepted.wait {
            // The peer was told that it was taken.
            self.last_words.push((core, *envelope));
        }
        let gateway = accepted.gateway;
        let gone = |core| (core, ToRouter::GatewayGone { gateway });
        self.last_words.extend((0..hands.shared.cores()).map(gone));
        self.tell_last_words(hands);
    }

    /// In order for each router shard.
    pub(super) fn tell_last_words(&mut self, hands: &mut Hands<'_>) {
        let epoch = hands.shared.table.epoch;
        let mut full = Vec::new();
        for (core, envelope) in std::mem::take(&mut self.last_words) {
            let back = if full.contains(&core) { Err(envelope) } else { hands.route(core, epoch, envelope) };
            if let Err(envelope) = back {
                full.push(core);
                self.last_words.push((core, envelope));
            }
        }
    }

    /// Writes what other cores sent, as far as there is room.
    pub(super) fn send_held(&mut self, wire: WireNumber, shared: &mut Shared) {
        let Some(accepted) = self.accepted.get_mut(&wire) else { return };
        while let Some(envelope) = accepted.held.front() {
            match accepted.link.send_to_gateway(&mut self.common, envelope, 0) {
                Ok(()) => self.tally.answer(envelope),
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
}
