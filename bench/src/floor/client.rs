//! One thread of the crowd: a ring, its sockets, and their part.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ring::clock::monotonic_ns;
use ring::dial::Dial;
use ring::operation::{Completion, Operation};
use ring::packet::{Gather, Packet, PacketPool};
use ring::token::Token;
use ring::waker::Waker;
use ring::{Ring, Settings};

use super::crowd::{Outcome, Part, Shared};
use crate::schedule::{Arrivals, Schedule};
use crate::server::ServerError;

const DIAL_PATIENCE: Duration = Duration::from_secs(20);
/// Longest sleep: how late a thread sees that it shall begin or end.
const TURN: Duration = Duration::from_millis(5);
/// How long a thread waits for its sockets to close.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// A message on its way: when it was meant to be sent, and how much of it is still to come back.
#[derive(Debug)]
struct Echo {
    intended_ns: u64,
    missing_bytes: usize,
}

/// A socket.
#[derive(Debug, Default)]
struct Seat {
    token: Option<Token>,
    sends: bool,
    /// Messages that wait behind a send in flight.
    unsent: VecDeque<u64>,
    echoes: VecDeque<Echo>,
}

/// The thread.
pub(super) struct Client {
    ring: Ring,
    source: SocketAddr,
    /// Still to dial, and under way.
    remaining: u32,
    dialling: u32,
    /// By the slot of the socket.
    seats: Vec<Seat>,
    /// Slots of connected sockets.
    connected: Vec<u32>,
    open: u32,
    schedule: Option<Schedule>,
    turn_of: usize,
    packet: Packet,
    outcome: Outcome,
}

impl Client {
    pub(super) fn new(
        shared: &Shared,
        source: SocketAddr,
        number: u32,
        count: u32,
    ) -> Result<Self, ServerError> {
        let settings = Settings {
            slots: count + 16,
            submissions: 4_096,
            completions: 16_384,
            buffers: 256,
            buffer_bytes: 16_384,
            dials: shared.connecting,
            ..Settings::default()
        };
        let waker = Waker::new().map_err(of_ring)?;
        let ring = Ring::new(settings, Vec::new(), waker).map_err(of_ring)?;
        let bytes = match shared.part {
            Part::Echo { bytes, .. } => bytes,
            Part::Hold | Part::Wait | Part::Drain => 1,
        };
        let packet = PacketPool::new(1, bytes, bytes)
            .packet(|buffer| buffer.resize(bytes, u8::try_from(number % 251).unwrap_or(0)));
        let seats = (0..settings.slots).map(|_| Seat::default()).collect();
        Ok(Self {
            ring,
            source,
            remaining: count,
            dialling: 0,
            seats,
            connected: Vec::with_capacity(count as usize),
            open: 0,
            schedule: None,
            turn_of: 0,
            packet,
            outcome: Outcome::default(),
        })
    }

    pub(super) fn run(mut self, shared: &Shared) -> Result<Outcome, ServerError> {
        let share = f64::from(self.remaining);
        while !shared.ends.load(Ordering::Relaxed) {
            self.dial(shared);
            if shared.acts.load(Ordering::Relaxed) {
                self.echo(shared, share);
            }
            self.turn(shared, self.sleep())?;
        }
        let connected: Vec<Token> =
            self.connected.iter().filter_map(|slot| self.seats[*slot as usize].token).collect();
        for token in connected {
            self.ring.submit(Operation::Abort(token));
        }
        let begin = Instant::now();
        while self.open > 0 && begin.elapsed() < END_PATIENCE {
            self.turn(shared, TURN)?;
        }
        Ok(self.outcome)
    }

    fn dial(&mut self, shared: &Shared) {
        while self.remaining > 0 && self.dialling < shared.connecting {
            let dial = Dial {
                target: shared.target,
                source: Some(self.source),
                timeout: DIAL_PATIENCE,
                receive_buffer_bytes: None,
            };
            let Some(token) = self.ring.dial(&dial) else { break };
            self.seats[token.slot as usize].token = Some(token);
            self.remaining -= 1;
            self.dialling += 1;
            self.open += 1;
        }
    }

    /// Sends what is due.
    fn echo(&mut self, shared: &Shared, share: f64) {
        let Part::Echo { rate, seed, .. } = shared.part else { return };
        let now_ns = monotonic_ns();
        let all = shared.connected.load(Ordering::Relaxed).max(1) as f64;
        let seed = seed.wrapping_add(u64::from(self.source.port()));
        let schedule = self
            .schedule
            .get_or_insert_with(|| Schedule::new(now_ns, rate * share / all, Arrivals::Poisson, seed));
        let mut due = Vec::new();
        while let Some(intended_ns) = schedule.due(now_ns) {
            due.push(intended_ns);
        }
        for intended_ns in due {
            // A prime step: neighbours in time are not neighbours in memory.
            self.turn_of = (self.turn_of + 1_327) % self.connected.len();
            let slot = self.connected[self.turn_of];
            self.seats[slot as usize].unsent.push_back(intended_ns);
            self.send(slot, now_ns);
        }
    }

    fn send(&mut self, slot: u32, now_ns: u64) {
        let seat = &mut self.seats[slot as usize];
        let Some(token) = seat.token.filter(|_| !seat.sends) else { return };
        let Some(intended_ns) = seat.unsent.pop_front() else { return };
        self.outcome.lag.record_ns(now_ns.saturating_sub(intended_ns));
        seat.echoes.push_back(Echo { intended_ns, missing_bytes: self.packet.as_bytes().len() });
        seat.sends = true;
        let gather = Gather { packets: vec![self.packet.clone()], skip: 0 };
        self.ring.submit(Operation::Send(token, Box::new(gather)));
    }

    /// Until the next message is due, at most as long as a turn may be.
    fn sleep(&self) -> Duration {
        if self.remaining > 0 && self.dialling == 0 {
            return Duration::ZERO;
        }
        let next_ns = self.schedule.as_ref().and_then(Schedule::next_ns);
        next_ns.map_or(TURN, |next_ns| Duration::from_nanos(next_ns.saturating_sub(monotonic_ns())).min(TURN))
    }

    fn turn(&mut self, shared: &Shared, sleep: Duration) -> Result<(), ServerError> {
        let mut events = Vec::new();
        let mut received_bytes = 0;
        let result = self.ring.turn(
            sleep,
            || false,
            |completion| match completion {
                Completion::Received { token, bytes } => {
                    received_bytes += bytes.len() as u64;
                    events.push(Event::Received(token, bytes.len()));
                }
                Completion::Connected { token } => events.push(Event::Connected(token)),
                Completion::Refused { .. } => events.push(Event::Refused),
                Completion::Ended { token, .. } => events.push(Event::Ended(token)),
                Completion::Sent { token, result, gather } => events.push(Event::Sent(token, result, gather)),
                Completion::Closed { token } => events.push(Event::Closed(token)),
                Completion::Accepted { .. } => {}
            },
        );
        result.map_err(ServerError::of_file("io_uring"))?;
        shared.received_bytes.fetch_add(received_bytes, Ordering::Relaxed);
        let now_ns = monotonic_ns();
        for event in events {
            self.take(shared, event, now_ns);
        }
        Ok(())
    }

    fn take(&mut self, shared: &Shared, event: Event, now_ns: u64) {
        match event {
            Event::Connected(token) => {
                self.dialling -= 1;
                self.connected.push(token.slot);
                if shared.part != Part::Hold {
                    self.ring.submit(Operation::Receive(token));
                }
                shared.connected.fetch_add(1, Ordering::Relaxed);
            }
            Event::Refused => {
                self.dialling -= 1;
                shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            Event::Received(token, bytes) => self.received(token, bytes, now_ns),
            Event::Sent(token, result, gather) => self.sent(token, result, gather, now_ns),
            Event::Ended(token) => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
                self.ring.submit(Operation::Abort(token));
            }
            Event::Closed(token) => {
                self.seats[token.slot as usize] = Seat::default();
                self.open -= 1;
            }
        }
    }

    fn received(&mut self, token: Token, mut bytes: usize, now_ns: u64) {
        let echoes = &mut self.seats[token.slot as usize].echoes;
        while let Some(echo) = echoes.front_mut() {
            let taken = bytes.min(echo.missing_bytes);
            echo.missing_bytes -= taken;
            bytes -= taken;
            if echo.missing_bytes > 0 {
                break;
            }
            self.outcome.latency.record_ns(now_ns.saturating_sub(echo.intended_ns));
            echoes.pop_front();
        }
    }

    fn sent(&mut self, token: Token, result: i32, mut gather: Box<Gather>, now_ns: u64) {
        let Ok(bytes) = usize::try_from(result) else { return };
        gather.skip += bytes;
        if gather.skip < self.packet.as_bytes().len() {
            self.ring.submit(Operation::Send(token, gather));
            return;
        }
        self.seats[token.slot as usize].sends = false;
        self.send(token.slot, now_ns);
    }
}

/// What a turn brought, to be answered behind it.
enum Event {
    Connected(Token),
    Refused,
    Received(Token, usize),
    Sent(Token, i32, Box<Gather>),
    Ended(Token),
    Closed(Token),
}

pub(super) fn of_ring(error: ring::setup::SetupError) -> ServerError {
    ServerError::File { path: "io_uring".into(), source: io::Error::other(error) }
}
