//! Links that this core has accepted: each is a gateway shard of another node, as long as it lasts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::envelope::{GatewayId, Lane, ToGateway, ToRouter};
use protocol::link::Greeting;
use protocol::placement::{Epoch, Table};
use protocol::time::Now;
use ring::operation::Operation;
use ring::token::Token;

use super::super::Hands;
use super::super::shared::{Brim, Gauge, Remote};
use super::{ACCEPTED_MAX, End, Links, Touched, UNPROVED_MAX};
use crate::link::{Common, Event, Link, Reason, Unsent};

/// How long a link waits for the table that its peer follows, in milliseconds: the keeper needs a beat, or the store is away.
const TABLE_PATIENCE_MS: u64 = 10_000;
/// How often the log tells of a refused link, in milliseconds; a core.
const REFUSAL_TOLD_EVERY_MS: u64 = 10_000;

/// What keeps a link from being read.
#[derive(Debug)]
enum Wait {
    /// Room in the mailbox of a core, for this.
    Mailbox(u16, Box<ToRouter>),
    /// A table as new as what it follows, but not for longer than until then.
    Table(Epoch, u64),
}

/// A link of another node's core.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) token: Token,
    pub(super) link: Link,
    peer: SocketAddr,
    /// Its name here, once it is ready.
    gateway: Option<GatewayId>,
    /// The table that the peer follows.
    follows: Epoch,
    wait: Option<Wait>,
    /// What other cores sent while the link had no room; as many as its gauge admits.
    held: VecDeque<ToGateway>,
    gauge: Arc<Gauge>,
    /// It is in the list of links that something was done with.
    is_touched: bool,
}

impl Accepted {
    /// Writes an envelope of this core's router shard; gives it back when there is no room.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send(
        &mut self,
        common: &mut Common,
        envelope: ToGateway,
        core: u16,
        brim: Brim,
    ) -> Result<(), ToGateway> {
        if !self.held.is_empty() {
            // Behind what other cores have sent, and by the same bound.
            if !self.gauge.admit(envelope.lane(), brim) {
                return Err(envelope);
            }
            self.held.push_back(envelope);
            return Ok(());
        }
        match self.link.send_to_gateway(common, &envelope, core) {
            Ok(()) => Ok(()),
            Err(Unsent::Full) => Err(envelope),
            // Never: `router/src/limits.rs` says so of all that an owner tells.
            Err(Unsent::TooLarge) => Ok(()),
        }
    }

    /// Takes an envelope that was counted when another core sent it.
    pub(super) fn take_mail(&mut self, common: &mut Common, envelope: ToGateway) {
        self.held.push_back(envelope);
        self.send_held(common);
    }

    /// Writes what is held, as far as there is room.
    fn send_held(&mut self, common: &mut Common) {
        while let Some(envelope) = self.held.front() {
            let core = 0;
            match self.link.send_to_gateway(common, envelope, core) {
                Ok(()) => {}
                Err(Unsent::Full) if self.link.is_ready() && envelope.lane() != Lane::Ephemeral => return,
                // Gone first; or too large, which nothing is.
                Err(Unsent::Full | Unsent::TooLarge) => {}
            }
            self.held.pop_front();
            self.gauge.took();
        }
        if self.held.capacity() > 64 {
            self.held = VecDeque::new();
        }
    }

    /// Envelopes that wait for room.
    pub(super) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Something was done with it: it is looked at before the turn ends.
    pub(super) fn touch(&mut self, touched: &mut Vec<Touched>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(Touched::Accepted(self.token.slot));
        }
    }

    /// Writes what is held, and tells the other cores how full the link is.
    pub(super) fn look_at(&mut self, common: &mut Common) {
        self.is_touched = false;
        self.send_held(common);
        self.gauge.set_bytes(self.link.unsent_bytes());
    }
}

impl Links {
    pub(super) fn accept(&mut self, now: Now, token: Token, peer: SocketAddr) {
        if self.accepted.len() >= ACCEPTED_MAX {
            self.sockets.insert(token.slot, (token, End::Closing));
            self.operations.push(Operation::Abort(token));
            return;
        }
        if self.unproved.len() >= UNPROVED_MAX
            && let Some(oldest) = self.unproved.pop_front()
        {
            // Whoever means it proves itself within a round trip: the one that waits longest does not.
            self.accepted.remove(&oldest.slot);
            self.sockets.insert(oldest.slot, (oldest, End::Closing));
            self.operations.push(Operation::Abort(oldest));
        }
        let link = Link::accept(now, Self::nonce());
        let (gateway, follows, wait, held) = (None, Epoch(0), None, VecDeque::new());
        let (gauge, is_touched) = (Arc::default(), false);
        let mut accepted = Accepted { token, link, peer, gateway, follows, wait, held, gauge, is_touched };
        accepted.touch(&mut self.touched);
        self.accepted.insert(token.slot, accepted);
        self.sockets.insert(token.slot, (token, End::Accepted));
        self.unproved.push_back(token);
        self.operations.push(Operation::Receive(token));
    }

    pub(super) fn read_accepted(&mut self, now: Now, token: Token, bytes: &[u8], hands: &mut Hands<'_>) {
        let mut input = bytes;
        if let Some(accepted) = self.accepted.get_mut(&token.slot) {
            accepted.touch(&mut self.touched);
        }
        loop {
            let Some(accepted) = self.accepted.get_mut(&token.slot) else { return };
            let Some(event) = accepted.link.next_event(now, &mut self.common, &mut input) else { return };
            match event {
                Event::Ready { peer, version: _ } => self.accepted_ready(token, &peer),
                Event::ToRouter { to_core, envelope } => {
                    if let Err(envelope) = hands.give_router(now, to_core, accepted.follows, envelope) {
                        self.wait(token, Wait::Mailbox(to_core, Box::new(envelope)));
                    }
                }
                Event::Routing(epoch) => {
                    accepted.follows = epoch;
                    if hands.placement.epoch() < epoch {
                        if hands.placement.want(epoch) {
                            hands.outgoing.wake_all();
                        }
                        let until_ms = now.monotonic_ms + TABLE_PATIENCE_MS;
                        self.wait(token, Wait::Table(epoch, until_ms));
                    }
                }
                Event::Ended(reason) => return self.accepted_over(now, token, reason, hands),
                // A dialler's alone.
                Event::ToGateway(_) | Event::Table(_) => {}
            }
        }
    }

    fn accepted_ready(&mut self, token: Token, peer: &Greeting) {
        let Some(accepted) = self.accepted.get_mut(&token.slot) else { return };
        let gateway = self.remotes.number();
        accepted.gateway = Some(gateway);
        accepted.link.call_peer(gateway);
        self.unproved.retain(|other| *other != token);
        self.gateways.insert(gateway, token.slot);
        self.remotes.insert(gateway, Remote { core: self.core, gauge: Arc::clone(&accepted.gauge) });
        if self.table.epoch > Epoch(0) {
            let frame = self.common.table_frame(&self.table);
            accepted.link.send_table(&mut self.common, &frame);
        }
        let fields: crate::log::Fields<'_> =
            &[("node", &peer.name), ("core", &peer.core), ("address", &accepted.peer)];
        self.logger.debug("a node has linked", fields);
    }

    /// The link is not read until what it waits for is there.
    fn wait(&mut self, token: Token, wait: Wait) {
        let Some(accepted) = self.accepted.get_mut(&token.slot) else { return };
        accepted.link.pause(&mut self.common);
        if accepted.wait.replace(wait).is_none() {
            self.waiting.push(token);
        }
        self.operations.push(Operation::Pause(token));
    }

    /// Tells all of them a table.
    pub(super) fn follow_accepted(&mut self, table: &Table) {
        if self.gateways.is_empty() {
            return;
        }
        let frame = self.common.table_frame(table);
        for accepted in self.accepted.values_mut() {
            accepted.touch(&mut self.touched);
            accepted.link.send_table(&mut self.common, &frame);
        }
    }

    /// Goes on with links that wait; true when one still waits for a mailbox.
    pub(super) fn continue_waiting(&mut self, now: Now, hands: &mut Hands<'_>) -> bool {
        let mut still = false;
        for token in std::mem::take(&mut self.waiting) {
            let Some(accepted) = self.accepted.get_mut(&token.slot).filter(|other| other.token == token)
            else {
                continue;
            };
            match accepted.wait.take() {
                Some(Wait::Mailbox(core, envelope)) => {
                    if let Err(envelope) = hands.give_router(now, core, accepted.follows, *envelope) {
                        accepted.wait = Some(Wait::Mailbox(core, Box::new(envelope)));
                        self.waiting.push(token);
                        still = true;
                        continue;
                    }
                }
                Some(Wait::Table(epoch, until_ms)) if hands.placement.epoch() < epoch => {
                    if until_ms <= now.monotonic_ms {
                        accepted.link.give_up(&mut self.common, Reason::Ahead);
                        self.read_accepted(now, token, &[], hands);
                    } else {
                        accepted.wait = Some(Wait::Table(epoch, until_ms));
                        self.waiting.push(token);
                    }
                    continue;
                }
                Some(Wait::Table(..)) | None => {}
            }
            accepted.link.resume(now);
            self.operations.push(Operation::Receive(token));
            self.read_accepted(now, token, &[], hands);
        }
        still
    }

    /// Ends links of gateway shards that a router shard has given up.
    pub(super) fn end_cut(&mut self, now: Now, hands: &mut Hands<'_>) {
        if self.remotes.cuts() == self.cuts {
            return;
        }
        self.cuts = self.remotes.cuts();
        let cut = self.accepted.values().filter(|accepted| accepted.gauge.is_cut());
        let cut: Vec<Token> = cut.map(|accepted| accepted.token).collect();
        for token in cut {
            if let Some(accepted) = self.accepted.get_mut(&token.slot) {
                accepted.link.give_up(&mut self.common, Reason::Stalled);
                self.read_accepted(now, token, &[], hands);
            }
        }
    }

    fn accepted_over(&mut self, now: Now, token: Token, reason: Reason, hands: &mut Hands<'_>) {
        let Some(accepted) = self.accepted.remove(&token.slot) else { return };
        self.close(token);
        let Some(gateway) = accepted.gateway else {
            self.unproved.retain(|other| *other != token);
            return self.tell_refused(now, accepted.peer, reason);
        };
        self.gateways.remove(&gateway);
        self.remotes.remove(gateway);
        if let Some(Wait::Mailbox(core, envelope)) = accepted.wait {
            // The peer was told that it was taken.
            self.last_words.push((core, *envelope));
        }
        let gone = |core| (core, ToRouter::GatewayGone { gateway });
        self.last_words.extend((0..hands.outgoing.cores()).map(gone));
        self.tell_last_words(now, hands);
        let fields: crate::log::Fields<'_> = &[("address", &accepted.peer), ("why", &reason.message())];
        self.logger.info("a node's link has ended", fields);
    }

    /// Anyone may knock: that is told once in a while, and always by a counter.
    fn tell_refused(&mut self, now: Now, peer: SocketAddr, reason: Reason) {
        if now.monotonic_ms < self.refusal_told_ms + REFUSAL_TOLD_EVERY_MS && self.refusal_told_ms > 0 {
            return;
        }
        self.refusal_told_ms = now.monotonic_ms;
        self.logger.warn("a link was refused", &[("address", &peer), ("why", &reason.message())]);
    }

    /// Tells router shards what is left to be told of links that ended, in order for each.
    pub(super) fn tell_last_words(&mut self, now: Now, hands: &mut Hands<'_>) {
        let epoch = hands.placement.epoch();
        let mut full: Vec<u16> = Vec::new();
        for (core, envelope) in std::mem::take(&mut self.last_words) {
            let back = if full.contains(&core) {
                Err(envelope)
            } else {
                hands.give_router(now, core, epoch, envelope)
            };
            if let Err(envelope) = back {
                full.push(core);
                self.last_words.push((core, envelope));
            }
        }
    }
}
