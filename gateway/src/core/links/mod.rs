//! The links of a core: those that it dials, one to each other router node, and those that it has accepted, one from a core of
//! any node. What a link is stands in `crate::link`; this gives it sockets, and puts what comes where it belongs.
//!
//! ```text
//! dialled:   gateway shard, router shard  ──ToRouter──►  socket   (and ToGateway back, to the gateway shard of this core)
//! accepted:  socket  ──ToRouter──►  router shards of all cores    (and ToGateway back, from the router shards of all cores)
//! ```

mod accepted;
mod dialled;
mod dials;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::link::Greeting;
use protocol::placement::{NodeId, Table};
use protocol::time::Now;
use ring::Ring;
use ring::operation::{Completion, Operation};
use ring::token::Token;

use self::accepted::Accepted;
use self::dials::Dials;
use super::Hands;
use super::seeds::Seeds;
use super::shared::{Brim, Remotes};
use crate::link::{ClusterKey, Common, Counters, Link, Nonce, Unsent};
use crate::log::Logger;

/// Links of other nodes that one core takes at most.
const ACCEPTED_MAX: usize = 16_384;
/// Links' times are looked at no more often than that, in milliseconds: each may be so late, and seconds is what they are
/// about.
const TICK_MS: u64 = 50;
/// Of the accepted, those that have not proved themselves.
const UNPROVED_MAX: usize = 128;

/// What the links of a core are made from.
pub struct LinkSettings {
    /// What nodes prove themselves with.
    pub key: ClusterKey,
    /// Who this end is.
    pub greeting: Greeting,
    /// Which of the ring's listeners takes links, when one does.
    pub listener: Option<u8>,
    /// Router nodes to ask first.
    pub seeds: Arc<Seeds>,
    /// Spreads those who lost the same peer.
    pub seed: u64,
    /// The gateway shards of other nodes, as all cores know them.
    pub remotes: Arc<Remotes>,
    /// What may wait for one of them.
    pub brim: Brim,
    /// For what an operator should know.
    pub logger: Logger,
}

/// What the links of a core have at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gauges {
    /// Links to router nodes that are ready.
    pub(super) routers: u64,
    /// Links of other nodes' cores that are ready.
    pub(super) gateways: u64,
    /// Accepted links whose peer has not proved itself.
    pub(super) unproved: u64,
    /// Links that are not read for now.
    pub(super) paused: u64,
    /// Envelopes that wait for room in a link.
    pub(super) held: u64,
    /// Bytes that sockets have not taken.
    pub(super) unsent_bytes: u64,
}

/// How a turn of the links went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing waits.
    Steady,
    /// Something waits for a mailbox of this node: try again soon.
    Waiting,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug)]
enum End {
    Dialled(dials::Number),
    Accepted,
    /// Over; it is being closed.
    Closing,
}

/// A link that something was done with.
#[derive(Clone, Copy, Debug)]
enum Touched {
    Dialled(dials::Number),
    /// By slot.
    Accepted(u32),
}

/// All links of a core.
pub struct Links {
    common: Common,
    own: NodeId,
    core: u16,
    listener: Option<u8>,
    remotes: Arc<Remotes>,
    brim: Brim,
    logger: Logger,
    /// By slot: whose sockets those of links are.
    sockets: HashMap<u32, (Token, End), foldhash::fast::FixedState>,
    dials: Dials,
    seeds: Arc<Seeds>,
    /// Which of their addresses were taken.
    seeds_version: u64,
    /// By slot.
    accepted: HashMap<u32, Accepted, foldhash::fast::FixedState>,
    /// Those that have not proved themselves, the oldest first.
    unproved: VecDeque<Token>,
    /// The slot of each gateway shard whose link is ready.
    gateways: HashMap<GatewayId, u32, foldhash::fast::FixedState>,
    /// The links that something was done with since they were last looked at: they may have something to send, or to be told.
    /// The others have not, and there may be hundreds.
    touched: Vec<Touched>,
    /// Accepted links that are not read until what they wait for is there.
    waiting: Vec<Token>,
    /// How often a gateway shard had been given up when all links were last looked at for that.
    cuts: u64,
    /// What router shards of this node have yet to be told of links that ended: that a gateway shard is gone.
    last_words: Vec<(u16, ToRouter)>,
    table: Arc<Table>,
    /// What the ring is to do.
    operations: Vec<Operation>,
    /// No link's time has come before then.
    deadline_ms: Option<u64>,
    /// When all links were last looked at for their times.
    ticked_ms: u64,
    /// When the log was last told of a refused link.
    refusal_told_ms: u64,
}

impl Links {
    /// None yet; those to `settings.seeds` are made at the first turn.
    #[must_use]
    pub fn new(settings: LinkSettings) -> Self {
        let LinkSettings { key, greeting, listener, seeds, seed, remotes, brim, logger } = settings;
        Self {
            own: greeting.node,
            core: greeting.core,
            dials: Dials::new(greeting.node, seed),
            common: Common::new(key, greeting),
            listener,
            cuts: remotes.cuts(),
            remotes,
            brim,
            logger,
            sockets: HashMap::default(),
            seeds,
            seeds_version: 0,
            accepted: HashMap::default(),
            unproved: VecDeque::new(),
            gateways: HashMap::default(),
            touched: Vec::new(),
            waiting: Vec::new(),
            last_words: Vec::new(),
            table: Arc::new(Table::empty()),
            operations: Vec::new(),
            deadline_ms: None,
            ticked_ms: 0,
            refusal_told_ms: 0,
        }
    }

    /// Whether a completion is one of theirs.
    pub(super) fn concerns(&self, completion: &Completion<'_>) -> bool {
        match completion {
            Completion::Accepted { listener, .. } => Some(*listener) == self.listener,
            Completion::Connected { token }
            | Completion::Refused { token, .. }
            | Completion::Received { token, .. }
            | Completion::Ended { token, .. }
            | Completion::Sent { token, .. }
            | Completion::Closed { token } => {
                self.sockets.get(&token.slot).is_some_and(|(known, _)| known == token)
            }
        }
    }

    /// Takes a completion of one of their sockets.
    pub(super) fn complete(&mut self, now: Now, completion: Completion<'_>, hands: &mut Hands<'_>) {
        match completion {
            Completion::Accepted { token, peer, .. } => self.accept(now, token, peer),
            Completion::Connected { token } => self.connected(now, token, hands),
            Completion::Refused { token, error } => self.socket_ended(now, token, error, hands),
            Completion::Received { token, bytes } => self.received(now, token, bytes, hands),
            Completion::Ended { token, error } => self.socket_ended(now, token, error, hands),
            Completion::Sent { token, result, gather } => match self.link_mut(token) {
                Some((link, common)) => {
                    link.sent(now, common, result, gather);
                    self.received(now, token, &[], hands);
                }
                None => self.common.recycle(gather),
            },
            Completion::Closed { token } => {
                self.sockets.remove(&token.slot);
            }
        }
    }

    fn end_of(&self, token: Token) -> Option<End> {
        self.sockets.get(&token.slot).filter(|(known, _)| *known == token).map(|(_, end)| *end)
    }

    fn link_mut(&mut self, token: Token) -> Option<(&mut Link, &mut Common)> {
        let link = match self.end_of(token)? {
            End::Dialled(number) => self.dials.get_mut(number)?.linked_mut()?.1,
            End::Accepted => &mut self.accepted.get_mut(&token.slot)?.link,
            End::Closing => return None,
        };
        Some((link, &mut self.common))
    }

    fn received(&mut self, now: Now, token: Token, bytes: &[u8], hands: &mut Hands<'_>) {
        match self.end_of(token) {
            Some(End::Dialled(number)) => self.read_dialled(now, number, bytes, hands),
            Some(End::Accepted) => self.read_accepted(now, token, bytes, hands),
            Some(End::Closing) | None => {}
        }
    }

    fn socket_ended(&mut self, now: Now, token: Token, error: i32, hands: &mut Hands<'_>) {
        if let Some((link, common)) = self.link_mut(token) {
            link.socket_ended(common, error);
            self.received(now, token, &[], hands);
        } else if let Some(End::Dialled(number)) = self.end_of(token) {
            // It was being dialled.
            self.dial_failed(now, number, error, hands);
            self.sockets.insert(token.slot, (token, End::Closing));
        }
    }

    /// The link is over: the socket goes.
    fn close(&mut self, token: Token) {
        self.sockets.insert(token.slot, (token, End::Closing));
        self.operations.push(Operation::Close(token));
    }

    fn nonce() -> Nonce {
        ring::random::bytes().expect("the kernel has random bytes (getrandom(2) fails for no reason of ours)")
    }

    /// Slots have other owners, and there may be other router nodes.
    pub(super) fn follow(&mut self, now: Now, table: &Arc<Table>, hands: &mut Hands<'_>) {
        self.table = Arc::clone(table);
        self.common.knows_table(table.epoch);
        self.follow_dialled(now, table, hands);
        self.follow_accepted(table);
    }

    /// Hands an envelope to the link of its router shard's node; gives it back when there is none, or no room.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send_to_router(&mut self, to: RouterId, envelope: ToRouter) -> Result<(), ToRouter> {
        let Some((number, dialled)) = self.dials.of_node(to.node()) else { return Err(envelope) };
        let Some((_, link)) = dialled.linked_mut() else { return Err(envelope) };
        match link.send_to_router(&mut self.common, &envelope, to.core()) {
            // Too large is none: a draft, `CREATE_MEMBERS_MAX` members, `WATCH_USERS_MAX` users and `conversations_attached`
            // conversations all fit.
            Ok(()) | Err(Unsent::TooLarge) => {
                self.touch_dialled(number);
                Ok(())
            }
            Err(Unsent::Full) => Err(envelope),
        }
    }

    /// Whether this core has the link of a gateway shard.
    pub(super) fn has_gateway(&self, gateway: GatewayId) -> bool {
        self.gateways.contains_key(&gateway)
    }

    /// Hands an envelope of this core's router shard to a link of this core; gives it back when there is no room.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send_to_gateway(
        &mut self,
        gateway: GatewayId,
        envelope: ToGateway,
    ) -> Result<(), ToGateway> {
        let Some(accepted) = self.gateways.get(&gateway).and_then(|slot| self.accepted.get_mut(slot)) else {
            return Ok(());
        };
        accepted.touch(&mut self.touched);
        accepted.send(&mut self.common, envelope, self.core, self.brim)
    }

    /// Takes an envelope that another core put into this one's mailbox.
    pub(super) fn take_mail(&mut self, gateway: GatewayId, envelope: ToGateway) {
        let accepted = self.gateways.get(&gateway).and_then(|slot| self.accepted.get_mut(slot));
        // Without a link the shard is gone, and whoever counts on its gauge with it.
        if let Some(accepted) = accepted {
            accepted.touch(&mut self.touched);
            accepted.take_mail(&mut self.common, envelope);
        }
    }

    /// Goes on with what waits, looks after times, dials, and hands the ring what there is to send.
    pub(super) fn turn(&mut self, now: Now, ring: &mut Ring, hands: &mut Hands<'_>) -> Pace {
        self.follow_seeds();
        self.dial_due(now, ring);
        let pace = self.go_on(now, hands);
        for operation in self.operations.drain(..) {
            ring.submit(operation);
        }
        pace
    }

    /// Goes on with what waits, looks after times, and has in `operations` what there is to send.
    fn go_on(&mut self, now: Now, hands: &mut Hands<'_>) -> Pace {
        self.tell_last_words(now, hands);
        self.end_cut(now, hands);
        let waits = self.continue_waiting(now, hands);
        if self.is_tick_due(now) {
            self.tick(now, hands);
        }
        self.look_at_touched(now);
        if waits || !self.last_words.is_empty() { Pace::Waiting } else { Pace::Steady }
    }

    fn is_tick_due(&self, now: Now) -> bool {
        self.deadline_ms.is_some_and(|due_ms| due_ms.max(self.ticked_ms + TICK_MS) <= now.monotonic_ms)
    }

    /// Looks at the times of all links.
    fn tick(&mut self, now: Now, hands: &mut Hands<'_>) {
        self.ticked_ms = now.monotonic_ms;
        self.deadline_ms = None;
        let tokens: Vec<Token> = self.sockets.values().map(|(token, _)| *token).collect();
        for token in tokens {
            let Some((link, common)) = self.link_mut(token) else { continue };
            match link.deadline() {
                Some(due_ms) if due_ms > now.monotonic_ms => {
                    self.deadline_ms = Some(self.deadline_ms.map_or(due_ms, |earlier| earlier.min(due_ms)));
                }
                None if !link.is_over() => {}
                _ => {
                    link.tick(now, common);
                    self.received(now, token, &[], hands);
                }
            }
        }
    }

    /// Sends what links have got, tells others how much that is, and notes when their times come.
    fn look_at_touched(&mut self, now: Now) {
        let mut earliest_ms = self.deadline_ms.unwrap_or(u64::MAX);
        for touched in self.touched.drain(..) {
            let (token, link) = match touched {
                Touched::Dialled(number) => {
                    let Some(dialled) = self.dials.get_mut(number) else { continue };
                    dialled.is_touched = false;
                    let Some(linked) = dialled.linked_mut() else { continue };
                    linked
                }
                Touched::Accepted(slot) => {
                    let Some(accepted) = self.accepted.get_mut(&slot) else { continue };
                    accepted.look_at(&mut self.common);
                    (accepted.token, &mut accepted.link)
                }
            };
            if let Some(gather) = link.poll_send(now, &mut self.common) {
                self.operations.push(Operation::Send(token, gather));
            }
            // One that is over has yet to say so; one that is paused with its peer has no time of its own.
            let due_ms = if link.is_over() { Some(0) } else { link.deadline() };
            earliest_ms = earliest_ms.min(due_ms.unwrap_or(u64::MAX));
        }
        self.deadline_ms = Some(earliest_ms).filter(|due_ms| *due_ms < u64::MAX);
    }

    /// When [`Links::turn`] has something to do of itself, in milliseconds of the monotonic clock.
    pub(super) fn deadline(&self) -> Option<u64> {
        let tick_ms = self.deadline_ms.map(|due_ms| due_ms.max(self.ticked_ms + TICK_MS));
        tick_ms.into_iter().chain(self.dials.deadline()).min()
    }

    /// What they have done.
    pub(super) const fn counters(&self) -> &Counters {
        self.common.counters()
    }

    /// What they have now; looks at each.
    pub(super) fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            routers: self.dials.ready_count() as u64,
            gateways: self.gateways.len() as u64,
            unproved: self.unproved.len() as u64,
            ..Gauges::default()
        };
        for accepted in self.accepted.values() {
            gauges.held += accepted.held_count() as u64;
            gauges.paused += u64::from(accepted.link.is_paused());
        }
        let dialled = self.dials.iter().filter_map(|dialled| dialled.linked().map(|(_, link)| link));
        let links = self.accepted.values().map(|accepted| &accepted.link).chain(dialled);
        gauges.unsent_bytes = links.map(|link| link.unsent_bytes() as u64).sum();
        gauges
    }

    /// Gives back memory that nobody needs now.
    pub(super) fn trim(&mut self) {
        self.common.trim();
    }
}

#[cfg(test)]
mod tests;
