//! `idle`: sessions that are held with heartbeats alone; what each costs in memory and CPU time, and what is left of it
//! when they have gone.

use std::time::{Duration, Instant};

use clap::Args;

use super::population::Population;
use super::{away, gathering};
use crate::command::Failure;
use crate::options::Options;
use crate::report::{Progress, Report, Verdict};
use crate::server::{Growth, Links, Needs, Sample, Server};
use crate::swarm::{Counters, Crowd, Script, Swarm, SwarmSettings, bottleneck, greed};

/// Samples of memory while the sessions come.
const FILL_STEPS: u32 = 8;
/// Every client goes.
const LEAVE: u32 = FILL_STEPS + 1;
/// Steps of a cycle: the number of a step counts on from cycle to cycle, since the same twice says nothing.
const CYCLE_STEPS: u32 = LEAVE + 1;
/// How long the server may take to come to rest when its sessions have gone.
const REST: Duration = Duration::from_secs(20);
/// Lateness of the generator's own timers from which on it is a bottleneck, in microseconds: idle clients have time.
const LAG_US_MAX: u64 = 1_000_000;

/// Hold many sessions with heartbeats alone: bytes each, CPU time a connection-second.
#[derive(Args, Clone, Debug)]
pub struct IdleOptions {
    /// Sessions
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..))]
    clients: u32,
    /// Members of each conversation; every session is in one
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// Seconds to hold them
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    hold: u64,
    /// Times they come, are held and go
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
    /// Milliseconds without traffic after which the started server pings
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 30_000)]
    heartbeat: u32,
}

/// The clients of one thread: they come in equal parts, and go all at once.
struct IdleScript;

impl Script for IdleScript {
    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        let clients = crowd.clients();
        match step % CYCLE_STEPS {
            LEAVE => clients.for_each(|client| crowd.disconnect(client)),
            part => {
                let count = u64::from(clients.end - clients.start) * u64::from(part) / u64::from(FILL_STEPS);
                clients.take(count as usize).for_each(|client| crowd.connect(client));
            }
        }
    }
}

/// What a run has at hand.
struct Idle<'a> {
    options: &'a IdleOptions,
    server: Server,
    swarm: Swarm<IdleScript>,
    report: Report,
    /// Before the first session.
    empty: Sample,
    /// Memory of this process before its clients had records, in bytes.
    bare_bytes: u64,
    /// What the first hold used.
    held: Option<Growth>,
}

/// Runs the scenario.
///
/// # Errors
/// The server or the host is not as needed, or a promise was broken.
pub fn run(options: &Options, idle: &IdleOptions) -> Result<(), Failure> {
    let needs = Needs::connections(idle.clients).with("limits.heartbeat_ms", i64::from(idle.heartbeat));
    let mut server = Server::start_or_attach(&options.server, &needs).map_err(Failure::failed)?;
    let mut report = Report::new("idle", Some(&server));
    report.setting("clients", idle.clients);
    report.setting("members", idle.members);
    report.setting("hold_seconds", idle.hold);
    report.setting("cycles", idle.cycles);
    report.setting("heartbeat_ms", idle.heartbeat);
    report.setting("subprotocol", options.swarm.subprotocol.name());
    let population = Population { users: idle.clients, members: idle.members };
    population.create(server.api()).map_err(Failure::failed)?;

    let bare_bytes = server.sample().map_err(Failure::failed)?.generator.anonymous_bytes;
    let settings = SwarmSettings::new(idle.clients, &server, &options.swarm, options.seed);
    let swarm = Swarm::start(&settings, |_| IdleScript)?;
    report.setting("rings", swarm.rings());
    let empty = server.sample_settled().map_err(Failure::failed)?;
    let mut run = Idle { options: idle, server, swarm, report, empty, bare_bytes, held: None };
    for cycle in 0..idle.cycles {
        run.fill(cycle)?;
        run.hold(cycle)?;
        run.leave(cycle)?;
    }
    run.conclude(options)
}

impl Idle<'_> {
    /// Lets the sessions come, an eighth at a time, and looks at the memory after each.
    fn fill(&mut self, cycle: u32) -> Result<(), Failure> {
        for part in 1..=FILL_STEPS {
            let welcomed = self.swarm.counts().welcomed;
            let before = u64::from(self.options.clients) * u64::from(part - 1) / u64::from(FILL_STEPS);
            self.swarm.direct(cycle * CYCLE_STEPS + part);
            // Every ring brings its own share, rounded down: all are there with the last part.
            let rings = self.swarm.rings() as u64;
            let online = u64::from(self.options.clients) * u64::from(part) / u64::from(FILL_STEPS);
            let least = if part == FILL_STEPS { online } else { online.saturating_sub(rings) };
            let came = least.saturating_sub(before);
            gathering::wait_for_online(&self.swarm, &mut self.server, least as u32, welcomed + came)?;
            self.sample_memory(cycle)?;
        }
        Ok(())
    }

    fn sample_memory(&mut self, cycle: u32) -> Result<(), Failure> {
        let now = self.server.sample_settled().map_err(Failure::failed)?;
        let growth = now.since(&self.empty);
        let sessions = self.swarm.counts().online as f64;
        let kernel = growth.kernel.of_sockets_bytes() as f64;
        let server = growth.server_bytes.unwrap_or_default() as f64;
        let generator = now.generator.anonymous_bytes.saturating_sub(self.bare_bytes) as f64;
        self.report.point(
            "memory",
            &[
                ("cycle", f64::from(cycle + 1)),
                ("sessions", sessions),
                ("server_bytes", server),
                ("kernel_bytes", kernel),
                ("generator_bytes", generator),
                ("taken_bytes", growth.kernel.taken_bytes as f64),
            ],
        );
        if cycle == 0 && sessions >= f64::from(self.options.clients) {
            self.report.figure("server_bytes_per_session", server / sessions);
            for (role, nodes) in &growth.roles {
                let name = format!("{}_bytes_per_session", role.plural());
                self.report.figure(&name, nodes.bytes as f64 / sessions);
            }
            // Both ends are on this host when the server was started here.
            self.report.figure("kernel_bytes_per_session_both_ends", kernel / sessions);
            self.report.figure("generator_bytes_per_session", generator / sessions);
            self.report.figure("host_bytes_per_session", growth.kernel.taken_bytes as f64 / sessions);
        }
        Ok(())
    }

    /// Holds the sessions; only heartbeats go on.
    fn hold(&mut self, cycle: u32) -> Result<(), Failure> {
        let (before, counts) = (self.server.sample().map_err(Failure::failed)?, self.swarm.counts());
        let (begin, mut progress) = (Instant::now(), Progress::new());
        while begin.elapsed() < Duration::from_secs(self.options.hold) {
            self.server.check().map_err(Failure::failed)?;
            let now = self.swarm.counts();
            progress.show(|| {
                let (online, pongs) = (now.online, now.pongs - counts.pongs);
                format!(
                    "{online} online for {} s, {pongs} pongs, {} lost",
                    begin.elapsed().as_secs(),
                    now.lost
                )
            });
            std::thread::sleep(super::GLANCE);
        }
        let growth = self.server.sample_settled().map_err(Failure::failed)?.since(&before);
        let pongs = self.swarm.counts().pongs - counts.pongs;
        let seconds = f64::from(self.options.clients) * growth.elapsed.as_secs_f64();
        let name =
            |figure: &str| if cycle == 0 { figure.to_owned() } else { format!("{figure}_{}", cycle + 1) };
        self.report.cpu_us_each("", &name("session_second"), &growth, seconds);
        if let Some(links) = Links::of(&growth.metrics) {
            self.report.figure(&name("link_bytes_per_session_second"), links.bytes / seconds);
        }
        self.report.figure(&name("pings"), growth.metrics.sum("murmuring_pings_total"));
        self.report.figure(&name("pongs"), pongs as f64);
        if cycle == 0 {
            self.report.cpu(&growth);
            self.held = Some(growth);
        }
        Ok(())
    }

    /// Lets all sessions go, and looks at what is left of their memory.
    fn leave(&mut self, cycle: u32) -> Result<(), Failure> {
        self.swarm.direct(cycle * CYCLE_STEPS + LEAVE);
        let gone = |now: &Counters| now.online + now.connecting + now.waiting == 0;
        gathering::wait(&self.swarm, &mut self.server, gone, |now| format!("{} online", now.online))?;
        let mut now = self.server.sample_settled().map_err(Failure::failed)?;
        let patience = Instant::now();
        while now.metrics.sum("murmuring_connections") > 0.0 && patience.elapsed() < super::SETTLING {
            now = self.server.sample_settled().map_err(Failure::failed)?;
        }
        now = self.come_to_rest(now)?;
        let growth = now.since(&self.empty);
        self.report.point(
            "memory_after",
            &[
                ("cycle", f64::from(cycle + 1)),
                ("connections", now.metrics.sum("murmuring_connections")),
                ("server_bytes", growth.server_bytes.unwrap_or_default() as f64),
                ("kernel_bytes", growth.kernel.of_sockets_bytes() as f64),
            ],
        );
        let bytes = now.server.map_or(0, |usage| usage.anonymous_bytes);
        self.report.figure(&format!("server_bytes_after_cycle_{}", cycle + 1), bytes as f64);
        Ok(())
    }

    /// The sample of the least memory in a while: the store has yet to write out when everyone was heard last.
    fn come_to_rest(&mut self, mut least: Sample) -> Result<Sample, Failure> {
        let bytes = |sample: &Sample| sample.server.map(|usage| usage.anonymous_bytes);
        let begin = Instant::now();
        while begin.elapsed() < REST {
            let now = self.server.sample_settled().map_err(Failure::failed)?;
            if bytes(&now) <= bytes(&least) {
                least = now;
            }
        }
        Ok(least)
    }

    fn conclude(self, options: &Options) -> Result<(), Failure> {
        let Self { options: idle, server, swarm, mut report, held, .. } = self;
        let finished = swarm.finish();
        let times = u64::from(idle.clients) * u64::from(idle.cycles);
        report.verdict("all_online", away::everyone_came(&finished, times));
        report.verdict("no_session_lost", away::nobody_was_lost(&finished));
        report.verdict("heartbeats", heartbeats(&away::sum(&finished), idle));
        if let Some(why) = bottleneck(&finished, LAG_US_MAX).or_else(|| greed(&held?)) {
            report.generator_was_bottleneck(why);
        }
        let mut latency = crate::report::Latency::new();
        finished.iter().for_each(|part| latency.merge(&part.latencies));
        report.latency("dial_to_welcome", &latency);
        away::tell(&mut report, &finished);
        server.stop().map_err(Failure::failed)?;
        report.finish(options.json.as_deref())
    }
}

/// Every session must have been pinged as often as the hold has whole heartbeats, less one for its beginning.
fn heartbeats(all: &Counters, idle: &IdleOptions) -> Verdict {
    let whole = (idle.hold * 1_000 / u64::from(idle.heartbeat.max(1))).saturating_sub(1);
    let least = u64::from(idle.clients) * u64::from(idle.cycles) * whole;
    let missing = least.saturating_sub(all.pongs);
    Verdict::of(all.pongs, missing, || format!("{} pings came, and at least {least} were due", all.pongs))
}
