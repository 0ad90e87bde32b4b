//! The gateway shard: connections, sessions, rooms, outboxes. Pure: one completion in, operations out.
//!
//! Decides neither order nor membership, reads no clock, and keeps no buffer for an idle connection.

mod again;
mod announce;
mod answers;
mod caller;
mod closing;
mod cluster;
mod connection;
mod counters;
mod delivery;
mod drain;
mod frames;
mod input;
mod lag;
mod membership;
mod moves;
mod outbox;
mod owners;
mod pressure;
pub(crate) mod random;
mod reading;
mod requests;
mod retry;
mod room;
mod seats;
mod sending;
mod session;
mod settings;
mod slab;
mod slots;
mod sync;
mod tenants;
mod timers;
mod upgrade;
mod watch;
mod wheel;

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::SharedSeed;
use hashbrown::HashMap;
use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::frame::Scratch;
use protocol::placement::{NodeId, Table};
use protocol::rate::Rate;
use protocol::time::Now;
use protocol::websocket::{Opcode, write};
pub use ring::operation;
use ring::packet::{Packet, PacketPool};
use ring::token::Token;
use router::shrink;

use self::caller::SLOTS_MAX;
use self::cluster::Cluster;
use self::connection::{Flag, State};
use self::drain::Drain;
use self::input::Inputs;
use self::outbox::Outboxes;
use self::owners::Owners;
use self::random::Random;
use self::retry::Retries;
use self::room::Rooms;
use self::session::Opening;
use self::slab::Slab;
use self::sync::Syncs;
use self::tenants::Tenants;
use self::watch::Watches;
use self::wheel::{TICK_MS, Wheel, tick_of, ticks};

pub use self::counters::Counters;
pub use self::seats::Seats;
pub use self::settings::{ListenerKind, Settings};
use crate::auth::Authenticator;

/// What happened, for a gateway shard.
#[derive(Debug)]
pub enum Completion<'a> {
    /// On a socket.
    Socket(operation::Completion<'a>),
    /// An envelope from a router shard.
    Envelope(ToGateway),
    /// A router shard's mailbox was full: the envelope comes back, to be tried again. It comes back before the next
    /// call of [`GatewayShard::poll_operation`]: what a connection sends stays in order.
    RouterFull(RouterId, ToRouter),
    /// Slots have other owners now.
    Table(Arc<Table>),
    /// There is a link to a router node, and nothing that was handed over before has arrived there unless it was answered.
    NodeUp(NodeId),
    /// There is none any more.
    NodeDown(NodeId),
    /// A request of the API, or a word of its: only in a cluster, where it goes over this shard's links.
    FromApi(ToRouter),
    /// Time passed: the deadline is over. Earlier does no harm.
    Tick,
    /// The server stops: tell every client (`goaway`), close in slots of time, take nothing new.
    Drain,
}

/// What a gateway shard wants done, in this order.
#[derive(Debug)]
pub enum Operation {
    /// On a socket.
    Socket(operation::Operation),
    /// Put an envelope into a router shard's mailbox, or give it back at once.
    ToRouter(RouterId, ToRouter),
    /// Hand an envelope to the API: the answer to a [`Completion::FromApi`], or an event of the tenant
    /// [`SYSTEM`](protocol::id::Tenant::SYSTEM). Only in a cluster.
    ToApi(ToGateway),
}

/// Half of the key of every table; the other half comes from the shard's seed.
static SHARED_SEED: SharedSeed = SharedSeed::from_u64(0x6d75_726d_7572_696e);
/// Packets kept for reuse: their number, their bytes together, and the largest one's.
const PACKETS_FREE_MAX: usize = 8_192;
const PACKETS_FREE_BYTES_MAX: usize = 16 << 20;
const PACKET_BYTES_KEPT_MAX: usize = 16 * 1024;

/// A gateway shard.
pub struct GatewayShard {
    id: GatewayId,
    settings: Settings,
    send_rate: Rate,
    frame_rate: Rate,
    authenticator: Arc<Authenticator>,
    random: Random,
    /// The time of the completion in hand.
    now: Now,
    /// Until when clients are excused for what the shard could not hear.
    excused_tick: u32,
    /// When memory was last given back, in monotonic milliseconds.
    trimmed_ms: u64,
    /// The largest stamp seen.
    lamport: u64,
    slab: Slab,
    /// Connections that hold a seat.
    seated: u32,
    wheel: Wheel,
    tenants: Tenants,
    rooms: Rooms,
    watches: Watches,
    owners: Owners,
    cluster: Option<Box<Cluster>>,
    inputs: Inputs,
    outboxes: Outboxes,
    pool: PacketPool,
    scratch: Scratch,
    ping: Packet,
    openings: HashMap<u32, Box<Opening>, foldhash::fast::FixedState>,
    syncs: HashMap<u32, Syncs, foldhash::fast::FixedState>,
    retries: Retries,
    drain: Option<Drain>,
    /// What the ring is to do, before what the outboxes have.
    sockets: VecDeque<operation::Operation>,
    /// Slots whose outbox has something new, or whose stream may end.
    dirty: VecDeque<u32>,
    /// Connections that may go on.
    ready: VecDeque<Token>,
    /// Connections that wait for room on the way to an owner.
    parked: VecDeque<Token>,
    /// Connections whose `hello` waits for its turn.
    lobby: VecDeque<Token>,
    counters: Counters,
}

impl core::fmt::Debug for GatewayShard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GatewayShard")
            .field("id", &self.id)
            .field("connections", &self.slab.occupied())
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}

impl GatewayShard {
    /// A shard without connections. `table` says which router shards own conversations and users, until a newer one does; tokens name slots below `slots` (at most 2^24); `seed` keys the tables that are keyed from outside, and all chance.
    #[must_use]
    pub fn new(
        id: GatewayId,
        table: &Table,
        slots: u32,
        settings: Settings,
        authenticator: Arc<Authenticator>,
        seed: u64,
    ) -> Self {
        assert!(slots > 0 && slots <= SLOTS_MAX);
        let mut random = Random::new(seed);
        let mut hasher = || foldhash::quality::SeedableRandomState::with_seed(random.next(), &SHARED_SEED);
        let (tenants, rooms, watches) =
            (Tenants::new(hasher()), Rooms::new(hasher()), Watches::new(hasher()));
        let mut pool = PacketPool::new(PACKETS_FREE_MAX, PACKETS_FREE_BYTES_MAX, PACKET_BYTES_KEPT_MAX);
        let ping = pool.packet(|out| write(Opcode::Ping, &[], out));
        let mut owners = Owners::new(table, settings.router_queue_max);
        let cluster = Cluster::new(&settings, table);
        if let Some(cluster) = &cluster {
            owners.set_up(|owner| cluster.is_up(owner));
        }
        Self {
            id,
            send_rate: Rate::new(settings.limits.sends_per_second, settings.limits.sends_burst),
            frame_rate: Rate::new(settings.frames_per_second, settings.frames_burst),
            owners,
            cluster,
            settings,
            authenticator,
            random,
            now: Now::default(),
            excused_tick: 0,
            trimmed_ms: 0,
            lamport: 0,
            slab: Slab::new(slots),
            seated: 0,
            wheel: Wheel::new(),
            tenants,
            rooms,
            watches,
            inputs: Inputs::new(),
            outboxes: Outboxes::new(),
            pool,
            scratch: Scratch::default(),
            ping,
            openings: HashMap::default(),
            syncs: HashMap::default(),
            retries: Retries::default(),
            drain: None,
            sockets: VecDeque::new(),
            dirty: VecDeque::new(),
            ready: VecDeque::new(),
            parked: VecDeque::new(),
            lobby: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one completion. What is to be done about it waits in [`GatewayShard::poll_operation`].
    pub fn handle(&mut self, now: Now, completion: Completion<'_>) {
        self.now = now;
        match completion {
            Completion::RouterFull(router, envelope) => {
                self.counters.router_full += 1;
                self.give_back(router, envelope);
                return;
            }
            Completion::Socket(completion) => self.socket(completion),
            Completion::Envelope(envelope) => self.envelope(envelope),
            Completion::Table(table) => self.place_anew(table),
            Completion::NodeUp(node) => self.node_up(node),
            Completion::NodeDown(node) => self.node_down(node),
            Completion::FromApi(envelope) => self.api_says(envelope),
            Completion::Tick => self.tick(),
            Completion::Drain => self.begin_drain(),
        }
        self.owners.unblock();
        if self.cluster.is_some() {
            self.announce();
            self.take_answers();
            self.ease();
            self.take_up_ready();
            self.take_answers();
        } else {
            self.take_up_ready();
        }
        self.gauge();
    }

    fn socket(&mut self, completion: operation::Completion<'_>) {
        use operation::Completion as Socket;
        match completion {
            Socket::Accepted { token, listener, peer: _ } => self.accepted(token, listener),
            Socket::Connected { token } | Socket::Refused { token, .. } => {
                unreachable!("a gateway shard dials nobody: {token:?}")
            }
            Socket::Received { token, bytes } => {
                if let Some(slot) = self.slab.slot(token) {
                    self.received(slot, bytes);
                }
            }
            Socket::Ended { token, error } => {
                if let Some(slot) = self.slab.slot(token) {
                    self.peer_ended(slot, error);
                }
            }
            Socket::Sent { token, result, gather } => match self.slab.slot(token) {
                Some(slot) => self.sent(slot, result, gather),
                None => self.outboxes.recycle(gather, &mut self.pool),
            },
            Socket::Closed { token } => {
                if let Some(slot) = self.slab.slot(token) {
                    self.closed(slot);
                }
            }
        }
    }

    fn accepted(&mut self, token: Token, listener: u8) {
        let kind = self.settings.listeners.get(usize::from(listener)).copied();
        self.counters.accepted += 1;
        let connection = self.slab.occupy(token);
        connection.listener = kind.unwrap_or(ListenerKind::Client);
        connection.state_tick = tick_of(self.now.monotonic_ms) + ticks(self.settings.upgrade_timeout_ms);
        self.came(token.slot);
        self.arm_timer(token.slot);
        self.listen(token.slot);
    }

    fn tick(&mut self) {
        self.expire_timers();
        if self.cluster.is_some() {
            self.lose_patience();
            self.settle();
        }
        self.retry_due();
        self.continue_drain();
        self.trim();
    }

    /// Now and then gives back the memory that a storm took.
    fn trim(&mut self) {
        if self.now.monotonic_ms < self.trimmed_ms + shrink::EVERY_MS {
            return;
        }
        self.trimmed_ms = self.now.monotonic_ms;
        self.pool.trim();
        self.inputs.trim();
        self.outboxes.trim();
        self.owners.trim();
        if let Some(cluster) = &mut self.cluster {
            cluster.trim();
        }
        shrink::queue(&mut self.sockets);
        shrink::queue(&mut self.dirty);
        for tokens in [&mut self.ready, &mut self.parked, &mut self.lobby] {
            shrink::queue(tokens);
        }
    }

    /// The next thing to do, until there is none. What outboxes have to send comes last: whoever polls may stop in front of
    /// it when the kernel has enough to do, and what clients ask has gone on its way by then.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        if let Some(operation) = self.sockets.pop_front() {
            return Some(Operation::Socket(operation));
        }
        if let Some((owner, envelope)) = self.owners.poll() {
            return Some(Operation::ToRouter(owner, envelope));
        }
        if let Some(cluster) = &mut self.cluster
            && let Some(envelope) = cluster.poll_api()
        {
            return Some(Operation::ToApi(envelope));
        }
        self.poll_dirty().map(Operation::Socket)
    }

    /// When [`Completion::Tick`] has something to do, in milliseconds of the monotonic clock; `None`: not before
    /// something else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let timer = self.wheel.next_tick().map(|tick| u64::from(tick) * TICK_MS);
        let ready = self.has_ready().then_some(self.now.monotonic_ms);
        let blocked = self.owners.are_blocked().then_some(self.now.monotonic_ms + 1);
        let cluster = self.cluster.as_ref().and_then(|cluster| cluster.due_ms(self.now.monotonic_ms));
        [timer, ready, blocked, cluster, self.retries.next_ms(), self.drain_ms()].into_iter().flatten().min()
    }

    /// What the shard has done, and how much it holds.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn gauge(&mut self) {
        self.counters.connections = u64::from(self.slab.occupied());
        self.counters.rooms = self.rooms.len() as u64;
        self.counters.attachments = u64::from(self.rooms.attached());
        self.counters.outbox_bytes = self.outboxes.bytes();
        self.counters.input_bytes = self.inputs.bytes();
        if let Some(cluster) = &self.cluster {
            self.counters.requests = cluster.requests.len() as u64;
        }
    }

    /// Sockets that are not closed, whatever their state.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.slab.occupied()
    }

    /// Asserts every bound and every link between the shard's tables: for tests and the simulator.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn invariants(&self) {
        self.wheel.invariants(&self.slab);
        self.tenants.invariants();
        self.rooms.invariants();
        self.watches.invariants();
        self.sync_invariants();
        self.inputs
            .invariants(self.slab.iter().filter(|(_, c)| c.flags.has(Flag::Input)).map(|(slot, _)| slot));
        self.outboxes.invariants(self.slab.iter().map(|(_, connection)| &connection.outbox));
        // While an owner is congested no client is read: what still comes is an end or a silence, a pull, an unwatch of each
        // connection, and a detach of each of its rooms.
        let of_connection = 4 + self.settings.limits.conversations_attached as usize;
        // In a cluster clients are read for longer, and what was kept may all wait at once.
        let of_cluster = self
            .cluster
            .as_deref()
            .map_or(0, |cluster| 4 * self.settings.router_queue_max as usize + cluster.kept().count());
        self.owners.invariants(self.slab.end() as usize * of_connection + of_cluster);
        if let Some(cluster) = &self.cluster {
            cluster.invariants();
            cluster.held_up.invariants(|slot| self.slab[slot].is_reading());
            self.owners.kept_invariants(cluster.kept());
        }
        let seated = self.slab.iter().filter(|(_, connection)| connection.flags.has(Flag::Seated)).count();
        assert_eq!(seated, self.seated as usize);
        assert!(self.seated <= self.settings.connections_max);
        assert!(self.openings.len() <= self.settings.openings_max as usize);
        for (slot, _) in &self.openings {
            assert_eq!(self.slab[*slot].state, State::Opening);
        }
    }
}
