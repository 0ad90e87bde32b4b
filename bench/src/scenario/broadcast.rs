//! `broadcast`: what Murmuring and other servers do alike, measured alike: clients connect, are idle, and send to rooms.
//! Another server makes no promises here, so nothing is asserted but what arrived; what it lacks (durability, order, ids)
//! its figures do not show.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::gathering;
use super::population::Population;
use crate::command::Failure;
use crate::options::Options;
use crate::report::{Latency, Report};
use crate::schedule::{Arrivals, Schedule};
use crate::server::{Growth, Needs, Sample, Server};
use crate::swarm::{Crowd, Frame, Script, Swarm, SwarmSettings, bottleneck};
use crate::wire::ClientFrame;

const COME: u32 = 1;
const SEND: u32 = 2;
const REST: u32 = 3;
/// How long servers and the kernel take to settle: joins, buffers that are given back.
const SETTLING: Duration = Duration::from_secs(3);
/// Lateness of the generator's own timers from which on its latencies are its own, in microseconds.
const LAG_US_MAX: u64 = 5_000;
/// What a body begins with, followed by its intended time in so many digits.
const MARK: &[u8] = b"@t";
const DIGITS: usize = 20;

/// Connect, be idle, and send to rooms: what other servers do, too, measured alike
#[derive(Args, Clone, Debug)]
pub struct BroadcastOptions {
    /// What the server is called in the report
    #[arg(long, value_name = "NAME", default_value = "murmuring")]
    peer: String,
    /// Another server than Murmuring: a program that listens on the port it is given
    #[arg(long, value_name = "PATH", conflicts_with = "gateways")]
    program: Option<PathBuf>,
    /// What that server's clients say
    #[arg(long, value_enum, default_value_t = Dialect::Plain, requires = "program")]
    dialect: Dialect,
    /// Clients
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Clients in a room
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// Deliveries a second over all rooms
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000.0)]
    deliveries: f64,
    /// Length of a message's text, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..8_000))]
    bytes: u32,
    /// Seconds of idling and of sending
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
}

/// How a client joins a room and speaks in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    /// The first frame is the room's name, every further one a message
    Plain,
    /// The protocol of NATS inside of frames
    Nats,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tongue {
    Murmuring,
    Peer(Dialect),
}

/// What the threads count together.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    heard: AtomicU64,
}

/// The clients of one thread.
struct BroadcastScript {
    tongue: Tongue,
    population: Population,
    /// Messages a second of this thread, and the length of each.
    rate: f64,
    bytes: usize,
    seed: u64,
    schedule: Option<Schedule>,
    turn_of: u32,
    sent: u64,
    latency: Latency,
    tally: Arc<Tally>,
}

impl BroadcastScript {
    fn send(&mut self, intended_ns: u64, crowd: &mut Crowd) {
        let clients = crowd.clients();
        // A prime step: neighbours in time are not of the same room.
        self.turn_of = (self.turn_of + 1_327) % (clients.end - clients.start);
        let client = clients.start + self.turn_of;
        let room = Population::id(self.population.conversation_of(client));
        let body =
            format!("@t{intended_ns:0DIGITS$}{:x<1$}", "", self.bytes.saturating_sub(MARK.len() + DIGITS));
        let packet = match self.tongue {
            Tongue::Murmuring => {
                let id = format!("{client}-{}", self.sent);
                crowd.packet(&ClientFrame::Send {
                    id: &id,
                    conversation: &room,
                    kind: None,
                    body: &body,
                    meta: None,
                    reply_to: None,
                    ephemeral: false,
                })
            }
            Tongue::Peer(Dialect::Plain) => crowd.text_packet(&body),
            Tongue::Peer(Dialect::Nats) => {
                crowd.text_packet(&format!("PUB {room} {}\r\n{body}\r\n", body.len()))
            }
        };
        if crowd.send_packet(client, packet) {
            self.sent += 1;
            self.tally.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Script for BroadcastScript {
    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        match step {
            COME => crowd.clients().for_each(|client| crowd.connect(client)),
            SEND => {
                let schedule = Schedule::new(crowd.now_ns(), self.rate, Arrivals::Poisson, self.seed);
                schedule.next_ns().into_iter().for_each(|next_ns| crowd.wake_at(next_ns));
                self.schedule = Some(schedule);
            }
            _ => self.schedule = None,
        }
    }

    fn joined(&mut self, client: u32, crowd: &mut Crowd) {
        let room = Population::id(self.population.conversation_of(client));
        let packet = match self.tongue {
            Tongue::Peer(Dialect::Nats) => {
                crowd.text_packet(&format!("CONNECT {{\"verbose\":false}}\r\nSUB {room} 1\r\n"))
            }
            Tongue::Peer(Dialect::Plain) | Tongue::Murmuring => crowd.text_packet(&room),
        };
        // A client that just came online has nothing in its outbox.
        let _ = crowd.send_packet(client, packet);
    }

    fn heard(&mut self, client: u32, frame: Frame<'_>, crowd: &mut Crowd) {
        if self.tongue == Tongue::Peer(Dialect::Nats) && frame.payload.ends_with(b"PING\r\n") {
            let packet = crowd.text_packet("PONG\r\n");
            let _ = crowd.send_packet(client, packet);
        }
        let mut heard = 0;
        for intended_ns in marks(frame.payload) {
            self.latency.record_ns(crowd.now_ns().saturating_sub(intended_ns));
            heard += 1;
        }
        self.tally.heard.fetch_add(heard, Ordering::Relaxed);
    }

    fn woken(&mut self, crowd: &mut Crowd) {
        let now_ns = crowd.now_ns();
        while let Some(intended_ns) = self.schedule.as_mut().and_then(|schedule| schedule.due(now_ns)) {
            self.send(intended_ns, crowd);
        }
        let next_ns = self.schedule.as_ref().and_then(Schedule::next_ns);
        next_ns.into_iter().for_each(|next_ns| crowd.wake_at(next_ns));
    }
}

/// The intended times of the messages in a payload.
fn marks(mut payload: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        loop {
            let place = payload.windows(MARK.len()).position(|window| window == MARK)?;
            payload = &payload[place + MARK.len()..];
            let digits = payload.get(..DIGITS).and_then(|digits| str::from_utf8(digits).ok());
            if let Some(time) = digits.and_then(|digits| digits.parse().ok()) {
                return Some(time);
            }
        }
    })
}

/// Runs the scenario.
///
/// # Errors
/// The server or the host is not as needed.
pub fn run(options: &Options, broadcast: &BroadcastOptions) -> Result<(), Failure> {
    let population = Population { users: broadcast.clients, members: broadcast.members };
    let tongue = broadcast.program.as_ref().map_or(Tongue::Murmuring, |_| Tongue::Peer(broadcast.dialect));
    let server = match &broadcast.program {
        Some(program) => Server::start_peer(program),
        None => Server::start_or_attach(&options.server, &needs(broadcast)),
    };
    let mut server = server.map_err(Failure::failed)?;
    if tongue == Tongue::Murmuring {
        population.create(server.api()).map_err(Failure::failed)?;
    }
    let report = begin(options, broadcast, &server);
    let mut settings = SwarmSettings::new(broadcast.clients, &server, &options.swarm, options.seed);
    settings.crowd.is_plain = tongue != Tongue::Murmuring;
    let tally = Arc::new(Tally::default());
    let messages = broadcast.deliveries / f64::from(broadcast.members);
    let script = |clients: Range<u32>| BroadcastScript {
        tongue,
        population,
        rate: messages * f64::from(clients.end - clients.start) / f64::from(broadcast.clients),
        bytes: broadcast.bytes as usize,
        seed: options.seed ^ u64::from(clients.start),
        schedule: None,
        turn_of: 0,
        sent: 0,
        latency: Latency::new(),
        tally: Arc::clone(&tally),
    };
    let swarm = Swarm::start(&settings, script)?;
    let empty = server.sample_settled().map_err(Failure::failed)?;
    Run { broadcast, server, swarm, report, tally }.run(options, &empty)
}

fn needs(broadcast: &BroadcastOptions) -> Needs {
    let many = 1_000_000;
    ["limits.sends_per_second", "limits.sends_burst", "limits.frames_per_second", "limits.frames_burst"]
        .into_iter()
        .fold(Needs::connections(broadcast.clients), |needs, key| needs.with(key, many))
}

fn begin(options: &Options, broadcast: &BroadcastOptions, server: &Server) -> Report {
    let mut report = Report::new("broadcast", Some(server));
    report.setting("peer", &broadcast.peer);
    report.setting("clients", broadcast.clients);
    report.setting("members", broadcast.members);
    report.setting("deliveries_per_second", broadcast.deliveries);
    report.setting("body_bytes", broadcast.bytes);
    report.setting("seconds", broadcast.seconds);
    report.setting("connecting", options.swarm.connecting);
    if broadcast.program.is_none() {
        report.setting("subprotocol", options.swarm.subprotocol.name());
        report.setting("engine", options.server.engine.name());
    }
    report
}

/// What a run has at hand.
struct Run<'a> {
    broadcast: &'a BroadcastOptions,
    server: Server,
    swarm: Swarm<BroadcastScript>,
    report: Report,
    tally: Arc<Tally>,
}

impl Run<'_> {
    fn run(mut self, options: &Options, empty: &Sample) -> Result<(), Failure> {
        let clients = f64::from(self.broadcast.clients);
        let connected = self.connect()?.since(empty);
        thread::sleep(SETTLING);
        let before = self.server.sample_settled().map_err(Failure::failed)?;
        self.tell_memory(&before.since(empty), clients);
        self.report.cpu_us_each("", "connect", &connected, clients);
        thread::sleep(Duration::from_secs(self.broadcast.seconds));
        let idle = self.server.sample_settled().map_err(Failure::failed)?.since(&before);
        self.report.cpu_us_each("", "idle_second", &idle, clients * idle.elapsed.as_secs_f64());
        self.send()?;
        let Self { server, swarm, mut report, .. } = self;
        let lost = swarm.counts().lost;
        let finished = swarm.finish();
        report.figure("lost_clients", lost as f64);
        if let Some(why) = bottleneck(&finished, LAG_US_MAX) {
            report.generator_was_bottleneck(why);
        }
        let (mut connecting, mut delivery) = (Latency::new(), Latency::new());
        for part in &finished {
            connecting.merge(&part.latencies);
            delivery.merge(&part.script.latency);
        }
        report.latency("dial_to_online", &connecting);
        report.latency("delivery", &delivery);
        // A peer need not know how to stop in order.
        let stopped = server.stop();
        if self.broadcast.program.is_none() {
            stopped.map_err(Failure::failed)?;
        }
        report.finish(options.json.as_deref())
    }

    fn connect(&mut self) -> Result<Sample, Failure> {
        let (clients, begin) = (self.broadcast.clients, Instant::now());
        self.swarm.direct(COME);
        gathering::wait_for_online(&self.swarm, &mut self.server, clients, u64::from(clients))?;
        let per_second = f64::from(clients) / begin.elapsed().as_secs_f64();
        self.report.figure("connects_per_second", per_second);
        self.server.sample().map_err(Failure::failed)
    }

    fn tell_memory(&mut self, growth: &Growth, clients: f64) {
        if let Some(bytes) = growth.server_bytes {
            self.report.figure("server_bytes_per_connection", bytes as f64 / clients);
        }
        let kernel = growth.kernel.of_sockets_bytes() as f64;
        self.report.figure("kernel_bytes_per_connection_both_ends", kernel / clients);
    }

    fn send(&mut self) -> Result<(), Failure> {
        let before = self.server.sample().map_err(Failure::failed)?;
        self.swarm.direct(SEND);
        thread::sleep(Duration::from_secs(self.broadcast.seconds));
        // What is sent now is still on its way.
        let growth = self.server.sample().map_err(Failure::failed)?.since(&before);
        let heard = self.tally.heard.load(Ordering::Relaxed) as f64;
        self.report.cpu(&growth);
        self.report.links("", &growth);
        self.report.figure("deliveries_per_second", growth.per_second(heard));
        if let Some(cpu) = growth.server_cpu.filter(|cpu| !cpu.is_zero()) {
            self.report.figure("deliveries_per_server_cpu_second", heard / cpu.as_secs_f64());
        }
        self.swarm.direct(REST);
        thread::sleep(SETTLING);
        let sent = self.tally.sent.load(Ordering::Relaxed) as f64;
        let heard = self.tally.heard.load(Ordering::Relaxed) as f64;
        self.report.figure("messages_sent", sent);
        self.report.figure("deliveries_per_message", heard / sent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn every_message_of_a_payload_is_found() {
        let payload = b"MSG c1 1 40\r\n@t00000000000000000017xx\r\nMSG @t@t00000000000000000018 @t12";
        assert_eq!(marks(payload).collect::<Vec<_>>(), [17, 18]);
        assert_eq!(marks(b"").count(), 0);
    }
}
