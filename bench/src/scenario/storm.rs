//! `storm`: clients that connect as fast as they are let, drop all at once and come back with their tickets.

use std::time::Instant;

use clap::Args;

use super::population::Population;
use super::{away, gathering};
use crate::command::Failure;
use crate::options::Options;
use crate::report::{Latency, Report};
use crate::server::{Growth, Needs, Server};
use crate::swarm::{Crowd, Finished, Script, Swarm, SwarmSettings, bottleneck, greed};
use crate::wire::ServerFrame;

/// Every client connects.
const COME: u32 = 1;
/// Every client is reset, and connects again.
const DROP: u32 = 2;
/// Lateness of the generator's own timers from which on its latencies are its own, in microseconds.
const LAG_US_MAX: u64 = 20_000;

/// Connect many clients as fast as they are let; drop all at once, and let them come back with their tickets.
#[derive(Args, Clone, Debug)]
pub struct StormOptions {
    /// Clients
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Members of each conversation; every client is in one
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
}

/// The clients of one thread: all come, all drop, all come back.
struct StormScript {
    /// When the step began.
    began_ns: u64,
    /// From the beginning of the step to each `welcome`, by step.
    since_begin: [Latency; 2],
    /// From dial to `welcome` in the first step.
    first: Latency,
    step: u32,
}

impl StormScript {
    fn new() -> Self {
        Self { began_ns: 0, since_begin: [Latency::new(), Latency::new()], first: Latency::new(), step: 0 }
    }
}

impl Script for StormScript {
    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        self.began_ns = crowd.now_ns();
        self.step = step;
        if step == DROP {
            self.first = crowd.take_latencies();
            crowd.clients().for_each(|client| crowd.abort(client));
        }
        crowd.clients().for_each(|client| crowd.connect(client));
    }

    fn welcomed(&mut self, _: u32, _: &ServerFrame<'_>, crowd: &mut Crowd) {
        let latency = &mut self.since_begin[usize::from(self.step == DROP)];
        latency.record_ns(crowd.now_ns() - self.began_ns);
    }
}

/// Runs the scenario.
///
/// # Errors
/// The server or the host is not as needed, or a promise was broken.
pub fn run(options: &Options, storm: &StormOptions) -> Result<(), Failure> {
    let mut server = Server::start_or_attach(&options.server, &Needs::connections(storm.clients))
        .map_err(Failure::failed)?;
    let mut report = Report::new("storm", Some(&server));
    report.setting("clients", storm.clients);
    report.setting("members", storm.members);
    report.setting("connecting", options.swarm.connecting);
    report.setting("subprotocol", options.swarm.subprotocol.name());
    let population = Population { users: storm.clients, members: storm.members };
    population.create(server.api()).map_err(Failure::failed)?;

    let mut settings = SwarmSettings::new(storm.clients, &server, &options.swarm, options.seed);
    settings.crowd.keeps_tickets = true;
    // A ticket is good at every gateway: behind a load balancer, clients come back at another.
    settings.crowd.roams = true;
    let swarm = Swarm::start(&settings, |_| StormScript::new())?;
    report.setting("rings", swarm.rings());
    let begin = server.sample_settled().map_err(Failure::failed)?;
    for (step, name) in [(COME, "come"), (DROP, "return")] {
        let (growth, failed) = take_step(&swarm, &mut server, step, storm.clients)?;
        let clients = f64::from(storm.clients);
        report.figure(&format!("{name}_upgrades_per_second"), growth.per_second(clients));
        report.cpu_us_each(&format!("{name}_"), "upgrade", &growth, clients);
        let generator_us = growth.generator_cpu.as_secs_f64() * 1e6 / clients;
        report.figure(&format!("{name}_generator_cpu_us_per_upgrade"), generator_us);
        report.figure(&format!("{name}_failed_connects"), failed);
    }
    let end = server.sample_settled().map_err(Failure::failed)?;
    let growth = end.since(&begin);
    report.cpu(&growth);
    let finished = swarm.finish();
    if let Some(why) = bottleneck(&finished, LAG_US_MAX).or_else(|| greed(&growth)) {
        report.generator_was_bottleneck(why);
    }
    conclude(&mut report, &finished, storm.clients);
    server.stop().map_err(Failure::failed)?;
    report.finish(options.json.as_deref())
}

/// Lets every client come (again), and says what that took, and how many connects failed on the way.
fn take_step(
    swarm: &Swarm<StormScript>,
    server: &mut Server,
    step: u32,
    clients: u32,
) -> Result<(Growth, f64), Failure> {
    let before = server.sample().map_err(Failure::failed)?;
    let counts = swarm.counts();
    let begin = Instant::now();
    swarm.direct(step);
    let now = gathering::wait_for_online(swarm, server, clients, counts.welcomed + u64::from(clients))?;
    let elapsed = begin.elapsed();
    let mut growth = server.sample().map_err(Failure::failed)?.since(&before);
    growth.elapsed = elapsed;
    Ok((growth, (now.failed - counts.failed) as f64))
}

fn conclude(report: &mut Report, finished: &[Finished<StormScript>], clients: u32) {
    report.verdict("all_online_twice", away::everyone_came(finished, 2 * u64::from(clients)));
    report.verdict("no_session_lost", away::nobody_was_lost(finished));
    let mut latencies: [Latency; 4] = std::array::from_fn(|_| Latency::new());
    for part in finished {
        let [come, back, come_all, back_all] = &mut latencies;
        come.merge(&part.script.first);
        back.merge(&part.latencies);
        come_all.merge(&part.script.since_begin[0]);
        back_all.merge(&part.script.since_begin[1]);
    }
    let names =
        ["come_dial_to_welcome", "return_dial_to_welcome", "come_begin_to_welcome", "return_drop_to_welcome"];
    for (name, latency) in names.into_iter().zip(&latencies) {
        report.latency(name, latency);
    }
    away::tell(report, finished);
}
