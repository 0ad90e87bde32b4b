//! The stage of a run: the server, its population, the talkers, and the orders they get. Starts everything, waits until
//! everybody is online, measures what an order brings, and settles the ledgers at the end.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Course, Order, Pace, Plan, Talker, Tally};
use crate::command::Failure;
use crate::ledger::{Broken, Ledger, Settlement, settle};
use crate::options::Options;
use crate::report::{Latency, Progress, Report, Verdict};
use crate::server::{Growth, Needs, Server};
use crate::swarm::{Counters, Swarm, SwarmSettings, bottleneck};

/// How long all threads may take until they have an order, and the last client until it is online.
const ORDER_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(600);
/// How often the run is looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// Later than this (p99), the talkers are the bottleneck.
const LAG_US_MAX: u64 = 5_000;
/// More sends a connection than any scenario makes: the limit is for people.
const SENDS_PER_SECOND: i64 = 1_000_000;

/// A server and its talkers.
pub struct Stage {
    server: Server,
    swarm: Swarm<Talker>,
    course: Arc<Course>,
    plan: Arc<Plan>,
    progress: Progress,
}

/// What an order brought.
#[derive(Debug)]
pub struct Measured {
    /// What the talkers sent and heard.
    pub tally: Tally,
    /// What it cost.
    pub growth: Growth,
}

/// What is known at the end.
#[derive(Debug)]
pub struct Ended {
    /// What the ledgers say together.
    pub settlement: Settlement,
    /// What the clients did.
    pub counters: Counters,
    /// Why the figures are the generator's own, if they are.
    pub bottleneck: Option<String>,
}

/// What a scenario of talkers needs of a server that is started for it: no limit on sends.
#[must_use]
pub fn needs(clients: u32) -> Needs {
    Needs::connections(clients)
        .with("limits.sends_per_second", SENDS_PER_SECOND)
        .with("limits.sends_burst", SENDS_PER_SECOND)
        .with("limits.frames_per_second", SENDS_PER_SECOND)
        .with("limits.frames_burst", SENDS_PER_SECOND)
}

impl Stage {
    /// Starts the server and everybody, and waits until all are online. `adjust` may change what the clients are like.
    ///
    /// # Errors
    /// The host or the server is not as it must be, or not all came online.
    pub fn open(
        options: &Options,
        plan: Plan,
        needs: &Needs,
        adjust: impl FnOnce(&mut SwarmSettings),
    ) -> Result<Self, Failure> {
        let server = Server::start_or_attach(&options.server, needs).map_err(Failure::failed)?;
        plan.population.create(server.api()).map_err(Failure::failed)?;
        let clients = plan.population.clients();
        let mut settings = SwarmSettings::new(clients, &server, &options.swarm, options.seed);
        adjust(&mut settings);
        let (plan, course) = (Arc::new(plan), Arc::new(Course::default()));
        let talker = |clients| Talker::new(Arc::clone(&plan), Arc::clone(&course), clients);
        let swarm = Swarm::start(&settings, talker)?;
        let mut stage = Self { server, swarm, course, plan: Arc::clone(&plan), progress: Progress::new() };
        let online = |counters: &Counters| counters.online == u64::from(clients);
        if !stage.wait_until(CONNECT_PATIENCE, online)? {
            let counters = stage.swarm.counts();
            return Err(Failure::failed(format!("not all of {clients} clients came online: {counters:?}")));
        }
        Ok(stage)
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Everybody follows an order; what they sent and heard during the one before.
    ///
    /// # Errors
    /// A thread did not answer.
    pub fn order(&self, order: Order) -> Result<Tally, Failure> {
        Ok(self.give(order)?.0)
    }

    fn give(&self, order: Order) -> Result<(Tally, u64), Failure> {
        let step = self.course.give(order);
        self.swarm.direct(step);
        let taken = self.course.wait(self.swarm.rings(), ORDER_PATIENCE);
        taken.ok_or_else(|| {
            Failure::failed("a thread of the load generator is stuck: it took no order in a minute")
        })
    }

    /// Lets everybody follow an order for `warm_up`, and measures it for as long as `time`.
    ///
    /// # Errors
    /// The server ended, or a thread did not answer.
    pub fn measure(&mut self, order: Order, warm_up: Duration, time: Duration) -> Result<Measured, Failure> {
        self.order(order)?;
        self.pass(warm_up)?;
        let before = self.server.sample().map_err(Failure::failed)?;
        self.order(order)?;
        self.pass(time)?;
        let tally = self.order(order)?;
        let after = self.server.sample().map_err(Failure::failed)?;
        Ok(Measured { tally, growth: after.since(&before) })
    }

    /// Everybody is silent until every message is answered and every member has heard it, or `patience` is over, which
    /// the ledger will tell. What was sent and heard meanwhile.
    ///
    /// # Errors
    /// The server ended, or a thread did not answer.
    pub fn settle(&mut self, patience: Duration) -> Result<Tally, Failure> {
        let begin = Instant::now();
        let silent = Order { pace: Pace::Silent, slow: false };
        let (mut sum, _) = self.give(silent)?;
        let mut heard = u64::MAX;
        loop {
            self.pass(3 * GLANCE)?;
            let (tally, unsettled) = self.give(silent)?;
            sum.merge(&tally);
            let messages = self.swarm.counts().messages;
            if (unsettled == 0 && messages == heard) || begin.elapsed() > patience {
                return Ok(sum);
            }
            heard = messages;
        }
    }

    /// Sends everybody home, stops the server, and settles the ledgers.
    ///
    /// # Errors
    /// The server did not stop in order.
    pub fn close(self) -> Result<Ended, Failure> {
        let counters = self.swarm.counts();
        let finished = self.swarm.finish();
        let bottleneck = bottleneck(&finished, LAG_US_MAX);
        let ledgers: Vec<Ledger> = finished.into_iter().map(|part| part.script.into_ledger()).collect();
        let settlement = settle(&ledgers);
        self.server.stop().map_err(Failure::failed)?;
        Ok(Ended { settlement, counters, bottleneck })
    }

    /// Lets time pass, and watches the server meanwhile.
    ///
    /// # Errors
    /// The server ended.
    pub fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        self.wait_until(time, |_| false).map(|_| ())
    }

    /// Waits until the clients are as `is_met` wants them; whether they were in time.
    fn wait_until(
        &mut self,
        patience: Duration,
        is_met: impl Fn(&Counters) -> bool,
    ) -> Result<bool, Failure> {
        let end = Instant::now() + patience;
        loop {
            let counters = self.swarm.counts();
            if is_met(&counters) {
                return Ok(true);
            }
            let clients = self.plan.population.clients();
            self.progress.show(|| {
                format!("{} of {clients} online, {} messages heard", counters.online, counters.messages)
            });
            let now = Instant::now();
            if now >= end {
                return Ok(false);
            }
            self.server.check().map_err(Failure::failed)?;
            if self.swarm.is_broken() {
                return Err(Failure::failed("a thread of the load generator panicked"));
            }
            thread::sleep(GLANCE.min(end - now));
        }
    }
}

impl Measured {
    /// Puts the figures of a measured order into the report, their names behind `prefix`.
    pub fn tell(&self, report: &mut Report, prefix: &str) {
        let (tally, growth) = (&self.tally, &self.growth);
        let mut figure = |name: &str, value: f64| report.figure(&format!("{prefix}{name}"), value);
        figure("sends_per_second", growth.per_second(tally.sent as f64));
        figure("acks_per_second", growth.per_second(tally.acknowledged as f64));
        figure("deliveries_per_second", growth.per_second(tally.delivered as f64));
        figure("refused", tally.refusals() as f64);
        let delivered = growth.metrics.sum("murmuring_deliveries_total");
        figure("ring_enters_per_delivery", growth.metrics.sum("murmuring_ring_enters_total") / delivered);
        let lags = growth.metrics.sum("murmuring_lags_total");
        figure("lags", lags);
        report.cpu_us_each(prefix, "delivery", growth, tally.delivered as f64);
        report.cpu_us_each(prefix, "message", growth, tally.acknowledged as f64);
        report.links(prefix, growth);
        for (name, latency) in [("ack", &tally.ack), ("delivery", &tally.delivery), ("page", &tally.page)] {
            tell_latency(report, prefix, name, latency);
        }
        tell_latency(report, prefix, "slow_delivery", &tally.slow_delivery);
    }
}

fn tell_latency(report: &mut Report, prefix: &str, name: &str, latency: &Latency) {
    if latency.count() > 0 {
        report.latency(&format!("{prefix}{name}"), latency);
    }
}

impl Ended {
    /// Puts what became of the promises into the report.
    pub fn tell(&self, report: &mut Report) {
        let Settlement { faults, heard, compared } = &self.settlement;
        let promises: [(&str, u64, &[Broken]); 6] = [
            ("density", *heard, &[Broken::Gap, Broken::HeadWentBack]),
            ("no_repeats", *heard, &[Broken::Repeat]),
            ("same_content", *compared, &[Broken::Content]),
            ("completeness", *compared, &[Broken::Incomplete]),
            ("acks", *heard, &[Broken::Misplaced, Broken::Unasked, Broken::Unanswered]),
            ("frames", self.counters.messages, &[Broken::Undecodable, Broken::Page, Broken::Stranger]),
        ];
        for (name, checked, kinds) in promises {
            let broken = kinds.iter().map(|kind| faults.count(*kind)).sum();
            let first = || faults.first(kinds).unwrap_or_default().to_owned();
            report.verdict(name, Verdict::of(checked, broken, first));
        }
        let lost = self.counters.lost;
        let sessions = self.counters.welcomed;
        report.verdict("sessions", Verdict::of(sessions, lost, || format!("{:?}", self.counters)));
        if let Some(why) = &self.bottleneck {
            report.generator_was_bottleneck(why.clone());
        }
    }
}
