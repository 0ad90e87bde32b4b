//! A crowd: the clients of one thread, and what their script may ask of them. How they connect, hear and send stands in
//! the files of those names.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use ring::operation::{Completion, Operation};
use ring::packet::{Gather, PacketPool};
use ring::token::Token;

use super::client::{Client, State, flag};
use super::departure::{Departure, Return};
use super::script::Script;
use super::source::Sources;
use super::ticket::Tickets;
use super::timer::{Timer, Timers};
use super::{Counters, Shared};
use crate::chance::Chance;
use crate::options::Subprotocol;
use crate::report::Latency;
use crate::token::TokenSigner;
use crate::wire::{Masks, Opcode, Reader, Refused, write_control};

/// Unused buffers that a crowd keeps, bytes of all, and bytes of the largest.
const POOL_PACKETS_MAX: usize = 4_096;
const POOL_BYTES_MAX: usize = 2 << 20;
const POOL_PACKET_BYTES_MAX: usize = 4_096;
/// How long the tokens of a run are good for, in seconds: longer than any run.
const TOKEN_LIFE_S: u64 = 7 * 86_400;
/// First and longest pause before another try, in milliseconds.
const BACKOFF_MS: u32 = 100;
const BACKOFF_MAX_MS: u32 = 10_000;
/// No client stands in a slot.
const NOBODY: u32 = u32::MAX;

/// What every client of a run is like.
#[derive(Clone)]
pub struct CrowdSettings {
    /// Where to connect: one address, or those of all gateways, among which clients spread evenly by their numbers, and so
    /// the members of a conversation do, too.
    pub targets: Vec<SocketAddr>,
    /// Whether a client that dials again goes to the next of these, as behind a load balancer.
    pub roams: bool,
    /// What the server's HS256 tokens are signed with.
    pub secret: String,
    /// How clients speak.
    pub subprotocol: Subprotocol,
    /// Whether the server is another than Murmuring, which speaks WebSocket and nothing more: a client has no token and
    /// says no `hello`, and is online with the upgrade ([`Script::joined`]).
    pub is_plain: bool,
    /// Seed of all chance.
    pub seed: u64,
    /// Whether clients keep their resume tickets, about 100 bytes each, and come back with them instead of tokens.
    pub keeps_tickets: bool,
    /// Whether a client that was lost, or could not connect, tries again as the server said or after a pause.
    pub reconnects: bool,
    /// Most bytes that a client reads at once; one that reads at a rate reads at least so much each time.
    pub receive_bytes: u32,
}

impl CrowdSettings {
    /// Clients of a server that come back when they were lost, without tickets.
    #[must_use]
    pub fn new(targets: &[SocketAddr], secret: &str, subprotocol: Subprotocol, seed: u64) -> Self {
        Self {
            targets: targets.to_vec(),
            roams: false,
            secret: secret.to_owned(),
            subprotocol,
            is_plain: false,
            seed,
            keeps_tickets: false,
            reconnects: true,
            receive_bytes: 16_384,
        }
    }
}

/// How a client reads that reads slowly.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) bytes_per_second: u32,
    /// What it has read so far has taken its time then.
    pub(super) until_ns: u64,
}

/// The clients of one thread. Clients are named by their number in the whole swarm.
pub struct Crowd {
    pub(super) settings: Arc<CrowdSettings>,
    /// The targets, as `Host` says them.
    pub(super) hosts: Vec<String>,
    pub(super) signer: TokenSigner,
    pub(super) sources: Sources,
    /// The number of the client at place 0.
    pub(super) first: u32,
    pub(super) clients: Vec<Client>,
    /// The place of each slot's client, or [`NOBODY`].
    by_slot: Vec<u32>,
    /// What the ring is to do at the end of the turn, in order.
    pub(super) operations: Vec<Operation>,
    /// Places of clients that wait to dial.
    pub(super) queue: VecDeque<u32>,
    pub(super) shared: Arc<Shared>,
    pub(super) timers: Timers,
    wake_ns: Option<u64>,
    /// Places of clients with something to send.
    pub(super) dirty: Vec<u32>,
    pub(super) pool: PacketPool,
    #[expect(clippy::vec_box, reason = "gathers travel boxed")]
    pub(super) gathers: Vec<Box<Gather>>,
    pub(super) masks: Masks,
    chance: Chance,
    /// Responses to upgrades that are not whole yet, by place.
    pub(super) responses: HashMap<u32, Vec<u8>>,
    pub(super) tickets: Option<Tickets>,
    /// Those that read slowly, by place.
    pub(super) paces: HashMap<u32, Pace>,
    /// SO_RCVBUF in bytes of those that the kernel is not to choose for, by place.
    pub(super) socket_bytes: HashMap<u32, i32>,
    pub(super) now_ns: u64,
    pub(super) counters: Counters,
    wanted: u64,
    pub(super) latencies: Latency,
    pub(super) lag: Latency,
}

impl Crowd {
    pub(super) fn new(
        ring: u32,
        clients: Range<u32>,
        shared: Arc<Shared>,
        settings: Arc<CrowdSettings>,
    ) -> Self {
        let expires_s = ring::clock::realtime_ms() / 1_000 + TOKEN_LIFE_S;
        let seed = settings.seed ^ crate::chance::mixed(u64::from(ring) + 1);
        let count = clients.len();
        Self {
            hosts: settings.targets.iter().map(|target| super::host(*target)).collect(),
            signer: TokenSigner::new(settings.secret.as_bytes(), expires_s),
            sources: Sources::new(ring, &clients, &settings.targets),
            first: clients.start,
            clients: clients.map(|_| Client::new()).collect(),
            by_slot: Vec::new(),
            operations: Vec::new(),
            queue: VecDeque::new(),
            shared,
            timers: Timers::default(),
            wake_ns: None,
            dirty: Vec::new(),
            pool: PacketPool::new(POOL_PACKETS_MAX, POOL_BYTES_MAX, POOL_PACKET_BYTES_MAX),
            gathers: Vec::new(),
            masks: Masks::new(seed),
            chance: Chance::new(seed),
            responses: HashMap::new(),
            tickets: settings.keeps_tickets.then(|| Tickets::new(count)),
            paces: HashMap::new(),
            socket_bytes: HashMap::new(),
            now_ns: ring::clock::monotonic_ns(),
            counters: Counters::default(),
            wanted: 0,
            latencies: Latency::new(),
            lag: Latency::new(),
            settings,
        }
    }

    /// The numbers of its clients.
    #[must_use]
    pub fn clients(&self) -> Range<u32> {
        self.first..self.first + self.clients.len() as u32
    }

    /// When what is told now came, in nanoseconds of `ring::clock::monotonic_ns`.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Whether a client is online.
    ///
    /// # Panics
    /// As every method that names a client: it is not of this crowd.
    #[must_use]
    pub fn is_online(&self, client: u32) -> bool {
        self.clients[self.place(client)].state == State::Online
    }

    /// What its clients do now, and have done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let under_way = self.counters.online + self.counters.connecting;
        Counters { waiting: self.wanted.saturating_sub(under_way), ..self.counters }
    }

    /// Times from dial to `welcome` since this was last asked.
    #[must_use]
    pub fn take_latencies(&mut self) -> Latency {
        std::mem::take(&mut self.latencies)
    }

    /// Brings a client online, as soon as its turn among those connecting comes; and again when it is lost, if clients
    /// reconnect.
    pub fn connect(&mut self, client: u32) {
        let place = self.place(client);
        let client = &mut self.clients[place];
        if client.has(flag::WANTED) {
            return;
        }
        client.set(flag::WANTED);
        client.return_ms = 0;
        self.wanted += 1;
        self.line_up(place);
    }

    /// Takes a client away with an orderly close. It is not told of as having left.
    pub fn disconnect(&mut self, client: u32) {
        let place = self.place(client);
        if matches!(self.clients[place].state, State::Greeting | State::Online) {
            self.say_last(place, 1_000);
        }
        self.take_away(place, false);
    }

    /// Takes a client away with a reset, as when a network goes. It is not told of as having left.
    pub fn abort(&mut self, client: u32) {
        self.take_away(self.place(client), true);
    }

    /// Tells a client that the server said when to come back, in milliseconds (`goaway`).
    pub fn reconnect_after(&mut self, client: u32, ms: u32) {
        let place = self.place(client);
        self.told(place, ms);
    }

    /// Stops reading what a client is sent, until [`Crowd::resume`]. What came with the last read is still heard.
    pub fn pause(&mut self, client: u32) {
        let place = self.place(client);
        self.clients[place].set(flag::PAUSED);
        self.operations.push(Operation::Pause(self.clients[place].token));
    }

    /// Reads again.
    pub fn resume(&mut self, client: u32) {
        let place = self.place(client);
        self.clients[place].clear(flag::PAUSED);
        self.operations.push(Operation::Receive(self.clients[place].token));
    }

    /// Gives a client's sockets a receive buffer of so many bytes (SO_RCVBUF), from its next dial on: the server feels a slow
    /// reader at once, and not when the kernel's megabytes are full.
    pub fn hold_little(&mut self, client: u32, bytes: i32) {
        let place = self.place(client);
        self.socket_bytes.insert(place as u32, bytes);
    }

    /// Lets a client read so many bytes a second on average from now on, `receive_bytes` at a time; 0 for as fast as it
    /// can.
    pub fn read_at(&mut self, client: u32, bytes_per_second: u32) {
        let place = self.place(client);
        if bytes_per_second == 0 {
            self.paces.remove(&(place as u32));
            self.clients[place].clear(flag::SLOW);
        } else {
            self.paces.insert(place as u32, Pace { bytes_per_second, until_ns: self.now_ns });
            self.clients[place].set(flag::SLOW);
        }
    }

    /// Calls [`Script::woken`] at this time of [`Crowd::now_ns`], once, in place of any earlier wish. What of it is
    /// late is the generator's lag.
    pub fn wake_at(&mut self, ns: u64) {
        self.wake_ns = Some(ns);
    }

    /// When something is due next.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.wake_ns.into_iter().chain(self.timers.next_ns()).min()
    }

    /// Does what is due.
    pub(super) fn do_due(&mut self, script: &mut impl Script) {
        while let Some((due_ns, place, timer)) = self.timers.pop_due(self.now_ns) {
            self.lag.record_ns(self.now_ns - due_ns);
            match timer {
                Timer::Connect => self.line_up(place as usize),
                Timer::Receive => self.read_on(place as usize),
            }
        }
        while let Some((place, dial)) = self.timers.pop_deadline(self.now_ns) {
            let client = &self.clients[place as usize];
            if client.dials == dial && client.state.is_connecting() {
                self.depart(place as usize, Departure::Late, script);
            }
        }
        if let Some(due_ns) = self.wake_ns.take_if(|due_ns| *due_ns <= self.now_ns) {
            self.lag.record_ns(self.now_ns - due_ns);
            script.woken(self);
        }
    }

    /// Takes what happened to a socket.
    pub(super) fn handle(&mut self, completion: Completion<'_>, script: &mut impl Script) {
        match completion {
            Completion::Accepted { token, .. } => unreachable!("a client listens nowhere: {token:?}"),
            Completion::Connected { token } => self.connected(self.place_of(token)),
            Completion::Refused { token, error } => {
                let place = self.place_of(token);
                self.depart(place, Departure::Dial(error), script);
            }
            Completion::Received { token, bytes } => self.received(self.place_of(token), bytes, script),
            Completion::Ended { token, error } => {
                let place = self.place_of(token);
                if self.clients[place].state != State::Leaving {
                    self.depart(place, Departure::Ended(error), script);
                }
            }
            Completion::Sent { token, result, gather } => self.sent(self.place_of(token), result, gather),
            Completion::Closed { token } => self.closed(token),
        }
    }

    /// A client has a socket from now on.
    pub(super) fn seat(&mut self, place: usize, token: Token) {
        let slot = token.slot as usize;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, NOBODY);
        }
        self.by_slot[slot] = place as u32;
        self.clients[place].token = token;
    }

    /// The client of a socket: each has one until it is closed.
    fn place_of(&self, token: Token) -> usize {
        let place = self.by_slot[token.slot as usize] as usize;
        assert!(self.clients[place].token == token, "a completion names a client's socket");
        place
    }

    fn closed(&mut self, token: Token) {
        let place = self.place_of(token);
        self.by_slot[token.slot as usize] = NOBODY;
        let client = &mut self.clients[place];
        assert!(client.state == State::Leaving, "a socket closes when its client leaves: {client:?}");
        client.state = State::Away;
        client.clear(flag::SENDING | flag::PAUSED);
        if !client.has(flag::WANTED) {
            return;
        }
        match std::mem::take(&mut client.return_ms) {
            0 => self.line_up(place),
            ms => self.timers.set(self.now_ns + u64::from(ms) * 1_000_000, place as u32, Timer::Connect),
        }
    }

    /// Puts a client that is wanted and away at the end of those that wait to dial.
    fn line_up(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if client.state == State::Away && client.has(flag::WANTED) && !client.has(flag::QUEUED) {
            client.set(flag::QUEUED);
            self.queue.push_back(place as u32);
        }
    }

    fn take_away(&mut self, place: usize, reset: bool) {
        let client = &mut self.clients[place];
        if client.has(flag::WANTED) {
            client.clear(flag::WANTED);
            self.wanted -= 1;
        }
        if !matches!(client.state, State::Away | State::Leaving) {
            let token = client.token;
            self.forget_session(place);
            self.operations.push(if reset { Operation::Abort(token) } else { Operation::Close(token) });
        }
    }

    /// A client leaves without having been asked to.
    pub(super) fn depart(&mut self, place: usize, departure: Departure, script: &mut impl Script) {
        let client = &mut self.clients[place];
        let told_ms = client.has(flag::TOLD).then_some(client.return_ms);
        let follows = if self.settings.reconnects { departure.followed_by(told_ms) } else { Return::Never };
        let was_online = client.state == State::Online;
        client.tries = client.tries.saturating_add(1);
        client.return_ms = match follows {
            Return::After(ms) => ms,
            Return::Backoff => {
                let longest = (BACKOFF_MS << client.tries.min(7)).min(BACKOFF_MAX_MS);
                longest / 2 + self.chance.below(u64::from(longest / 2)) as u32
            }
            Return::Never => {
                self.wanted -= u64::from(client.has(flag::WANTED));
                client.clear(flag::WANTED);
                0
            }
        };
        let token = client.token;
        self.forget_session(place);
        // The ring closes what there is of a failed dial.
        if !matches!(departure, Departure::Dial(_)) {
            self.operations.push(Operation::Close(token));
        }
        self.count(departure, was_online);
        script.left(self.first + place as u32, departure, self);
    }

    /// What a session leaves when its socket is about to be closed.
    fn forget_session(&mut self, place: usize) {
        match self.clients[place].state {
            State::Online => self.counters.online -= 1,
            state if state.is_connecting() => self.end_connecting(),
            _ => unreachable!("one who is away has no session"),
        }
        let client = &mut self.clients[place];
        client.state = State::Leaving;
        client.reader = Reader::default();
        client.clear(flag::TOLD);
        if let Some(outbox) = client.outbox.take() {
            outbox.into_iter().for_each(|packet| self.pool.release(packet));
        }
        self.responses.remove(&(place as u32));
    }

    /// A client comes online, or fails to: another may connect.
    pub(super) fn end_connecting(&mut self) {
        self.counters.connecting -= 1;
        self.shared.connecting.give_back();
    }

    fn count(&mut self, departure: Departure, was_online: bool) {
        let counters = &mut self.counters;
        *(if was_online { &mut counters.lost } else { &mut counters.failed }) += 1;
        *match departure {
            Departure::Dial(_) => &mut counters.refused_dials,
            Departure::Upgrade(Refused::Status { .. }) => &mut counters.refused_upgrades,
            Departure::Upgrade(_) | Departure::Framing(_) | Departure::Frame => &mut counters.broken,
            Departure::Closed(4408) => &mut counters.closed_heartbeat,
            Departure::Closed(4429) => &mut counters.closed_over_limit,
            Departure::Closed(4503) => &mut counters.closed_draining,
            Departure::Closed(_) => &mut counters.closed_otherwise,
            Departure::Ended(_) => &mut counters.ended,
            Departure::Late => &mut counters.late,
        } += 1;
    }

    pub(super) fn told(&mut self, place: usize, ms: u32) {
        let client = &mut self.clients[place];
        client.return_ms = ms;
        client.set(flag::TOLD);
    }

    /// Sends a close frame, past everything that waits: the socket is closed behind it.
    pub(super) fn say_last(&mut self, place: usize, code: u16) {
        let mask = self.masks.key();
        let bytes = code.to_be_bytes();
        let packet = self.pool.packet(|out| write_control(Opcode::Close, &bytes, mask, out));
        self.send_at_once(place, packet);
    }

    pub(super) fn place(&self, client: u32) -> usize {
        assert!(self.clients().contains(&client), "client {client} is of another crowd");
        (client - self.first) as usize
    }
}
