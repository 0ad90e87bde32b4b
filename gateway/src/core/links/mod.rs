//! The links of a core: those that it dials, one to each other router node, and those that it has accepted, one from a core of
//! any node. What a link is stands in `crate::link`; this gives it sockets, and puts what comes where it belongs.
//!
//! ```text
//! dialled:   gateway shard, router shard  ──ToRouter──►  socket   (and ToGateway back, to the gateway shard of this core)
//! accepted:  socket  ──ToRouter──►  router shards of all cores    (and ToGateway back, from the router shards of all cores)
//! ```

mod accepted;
mod dialled;

use std::collections::VecDeque;
use std::net::SocketAddr;
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
use self::dialled::Dialled;
use super::Hands;
use super::shared::{Brim, Remotes};
use crate::link::{ClusterKey, Common, Counters, Link, Nonce};
use crate::log::Logger;

/// Links of other nodes that one core takes at most.
const ACCEPTED_MAX: usize = 16_384;
/// Of these, those that have not proved themselves.
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
    pub routers: Vec<SocketAddr>,
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
    Dialled(u32),
    Accepted,
    /// Over; it is being closed.
    Closing,
}

/// All links of a core.
pub struct Links {
    common: Common,
    own: NodeId,
    core: u16,
    listener: Option<u8>,
    seed: u64,
    remotes: Arc<Remotes>,
    brim: Brim,
    logger: Logger,
    /// By slot: whose sockets those of links are.
    sockets: HashMap<u32, (Token, End), foldhash::fast::FixedState>,
    dialled: HashMap<u32, Dialled, foldhash::fast::FixedState>,
    next_dialled: u32,
    /// The links to router nodes that are ready.
    ready: HashMap<NodeId, u32, foldhash::fast::FixedState>,
    /// By slot.
    accepted: HashMap<u32, Accepted, foldhash::fast::FixedState>,
    /// Those that have not proved themselves, the oldest first.
    unproved: VecDeque<Token>,
    /// The slot of each gateway shard whose link is ready.
    gateways: HashMap<GatewayId, u32, foldhash::fast::FixedState>,
    /// What router shards of this node have yet to be told of links that ended: that a gateway shard is gone.
    last_words: Vec<(u16, ToRouter)>,
    table: Arc<Table>,
    /// What the ring is to do.
    operations: Vec<Operation>,
    deadline_ms: Option<u64>,
    /// When the log was last told of a refused link.
    refusal_told_ms: u64,
}

impl Links {
    /// None yet; those to `settings.routers` are made at the first turn.
    #[must_use]
    pub fn new(settings: LinkSettings) -> Self {
        let LinkSettings { key, greeting, listener, routers, seed, remotes, brim, logger } = settings;
        let mut links = Self {
            own: greeting.node,
            core: greeting.core,
            common: Common::new(key, greeting),
            listener,
            seed,
            remotes,
            brim,
            logger,
            sockets: HashMap::default(),
            dialled: HashMap::default(),
            next_dialled: 0,
            ready: HashMap::default(),
            accepted: HashMap::default(),
            unproved: VecDeque::new(),
            gateways: HashMap::default(),
            last_words: Vec::new(),
            table: Arc::new(Table::empty()),
            operations: Vec::new(),
            deadline_ms: Some(0),
            refusal_told_ms: 0,
        };
        for router in routers {
            links.add(router, None, true);
        }
        links
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
            End::Dialled(number) => self.dialled.get_mut(&number)?.link_mut()?,
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
            self.dial_failed(now, number, error);
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
        self.follow_dialled(now, hands);
        if !self.gateways.is_empty() {
            let frame = self.common.table_frame(table);
            for accepted in self.accepted.values_mut() {
                accepted.link.send_table(&mut self.common, &frame);
            }
        }
        self.deadline_ms = Some(0);
    }

    /// Hands an envelope to the link of its router shard's node; gives it back when there is none, or no room.
    #[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
    pub(super) fn send_to_router(&mut self, to: RouterId, envelope: ToRouter) -> Result<(), ToRouter> {
        let dialled = self.ready.get(&to.node()).and_then(|number| self.dialled.get_mut(number));
        match dialled.and_then(Dialled::link_mut) {
            Some(link) => match link.send_to_router(&mut self.common, &envelope, to.core()) {
                Ok(()) => Ok(()),
                Err(crate::link::Unsent::Full) => Err(envelope),
                // Never: a draft, `CREATE_MEMBERS_MAX` members, `WATCH_USERS_MAX` users and `conversations_attached`
                // conversations all fit.
                Err(crate::link::Unsent::TooLarge) => Ok(()),
            },
            None => Err(envelope),
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
        let accepted = self.gateways.get(&gateway).and_then(|slot| self.accepted.get_mut(slot));
        match accepted {
            Some(accepted) => accepted.send(&mut self.common, envelope, self.core, self.brim),
            None => Ok(()),
        }
    }

    /// Takes an envelope that another core put into this one's mailbox.
    pub(super) fn take_mail(&mut self, gateway: GatewayId, envelope: ToGateway) {
        let accepted = self.gateways.get(&gateway).and_then(|slot| self.accepted.get_mut(slot));
        // Without a link the shard is gone, and whoever counts on its gauge with it.
        if let Some(accepted) = accepted {
            accepted.take_mail(&mut self.common, envelope);
        }
    }

    /// Goes on with what waits, looks after times, dials, and hands the ring what there is to send.
    pub(super) fn turn(&mut self, now: Now, ring: &mut Ring, hands: &mut Hands<'_>) -> Pace {
        self.tell_last_words(now, hands);
        let mut waiting = !self.last_words.is_empty();
        waiting |= self.continue_accepted(now, hands);
        if self.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now.monotonic_ms) {
            self.tick(now, hands);
            self.dial_due(now, ring);
        }
        self.poll_sends(now);
        for operation in self.operations.drain(..) {
            ring.submit(operation);
        }
        self.note_deadline();
        if waiting { Pace::Waiting } else { Pace::Steady }
    }

    fn tick(&mut self, now: Now, hands: &mut Hands<'_>) {
        let tokens: Vec<Token> = self.sockets.values().map(|(token, _)| *token).collect();
        for token in tokens {
            if let Some((link, common)) = self.link_mut(token) {
                link.tick(now, common);
                self.received(now, token, &[], hands);
            }
        }
    }

    fn poll_sends(&mut self, now: Now) {
        for dialled in self.dialled.values_mut() {
            if let Some((token, link)) = dialled.linked_mut()
                && let Some(gather) = link.poll_send(now, &mut self.common)
            {
                self.operations.push(Operation::Send(token, gather));
            }
        }
        for accepted in self.accepted.values_mut() {
            if let Some(gather) = accepted.link.poll_send(now, &mut self.common) {
                self.operations.push(Operation::Send(accepted.token, gather));
            }
            accepted.tell_gauge();
        }
    }

    fn note_deadline(&mut self) {
        let dialled = self.dialled.values().filter_map(Dialled::deadline);
        let accepted = self.accepted.values().filter_map(|accepted| accepted.link.deadline());
        self.deadline_ms = dialled.chain(accepted).min();
    }

    /// When [`Links::turn`] has something to do of itself, in milliseconds of the monotonic clock.
    pub(super) const fn deadline(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// What they have done.
    pub(super) const fn counters(&self) -> &Counters {
        self.common.counters()
    }

    /// What they have now; looks at each.
    pub(super) fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            routers: self.ready.len() as u64,
            gateways: self.gateways.len() as u64,
            unproved: self.unproved.len() as u64,
            ..Gauges::default()
        };
        for accepted in self.accepted.values() {
            gauges.held += accepted.held_count() as u64;
            gauges.paused += u64::from(accepted.link.is_paused());
        }
        let dialled = self.dialled.values().filter_map(Dialled::link);
        let links = self.accepted.values().map(|accepted| &accepted.link).chain(dialled);
        gauges.unsent_bytes = links.map(|link| link.unsent_bytes() as u64).sum();
        gauges
    }

    /// Gives back memory that nobody needs now.
    pub(super) fn trim(&mut self) {
        self.common.trim();
    }
}
