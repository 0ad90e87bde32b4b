//! `rooms`: conversations of a size at a rate; ack and delivery latency, and what a delivery costs the server.

use std::time::Duration;

use clap::Args;

use crate::command::Failure;
use crate::options::Options;
use crate::report::Report;
use crate::schedule::Arrivals;
use crate::talk::{Measured, Order, Pace, Plan, Population, Stage, TalkOptions, Tally, needs};

/// A rate is kept up when so much of what is sent meanwhile is acknowledged, and all but the slowest hundredth is heard in
/// such a time: in one of two tries, since a disk may have a hiccup.
const KEPT_UP_SHARE: f64 = 0.97;
const KEPT_UP_US_MAX: u64 = 100_000;
const TRIES: u32 = 2;
/// Each step towards the peak, and how many there are at most.
const STEP: f64 = 1.5;
const STEPS_MAX: u32 = 24;
/// The peak is found when the next rate that was not kept up is so near.
const NEAR: f64 = 1.12;
const STEP_WARM_UP: Duration = Duration::from_millis(500);
const STEP_TIME: Duration = Duration::from_secs(3);
/// What is measured at last, as a share of the peak.
const PEAK_SHARE: f64 = 0.7;
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);

/// Many conversations at a rate: ack and delivery latency, CPU time and system calls a delivery
#[derive(Args, Clone, Debug)]
pub struct RoomsOptions {
    /// Conversations
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub conversations: u32,
    /// Members of each
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Messages a second in all; with --find-peak, the rate to begin with
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000.0)]
    pub rate: f64,
    /// Messages to a conversation at once, by different members
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,
    /// Raise the rate until it is not kept up, then measure at 70 % of the last one that was
    #[arg(long)]
    pub find_peak: bool,
    /// How messages follow one another
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson)]
    pub arrivals: Arrivals,
    /// What every scenario of talkers takes.
    #[command(flatten)]
    pub talk: TalkOptions,
}

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, rooms: &RoomsOptions) -> Result<(), Failure> {
    let population = Population::of_rooms("rooms", rooms.conversations, rooms.members);
    let needs = needs(population.clients());
    let plan =
        Plan { burst: rooms.burst, arrivals: rooms.arrivals, ..rooms.talk.plan(population, options.seed) };
    let mut stage = Stage::open(options, plan, &needs, |_| {})?;
    let mut report = Report::new("rooms", Some(stage.server()));
    report.setting("conversations", rooms.conversations);
    report.setting("members", rooms.members);
    report.setting("burst", rooms.burst);
    rooms.talk.tell(options, &mut report);
    let rate = if rooms.find_peak {
        PEAK_SHARE * find_peak(&mut stage, rooms.rate, &mut report)?
    } else {
        rooms.rate
    };
    report.setting("rate", rate);
    let measured = stage.measure(at_rate(rate), rooms.talk.warm_up(), rooms.talk.time())?;
    measured.tell(&mut report, "");
    report.cpu(&measured.growth);
    stage.settle(SETTLE_PATIENCE)?;
    stage.close()?.tell(&mut report);
    report.finish(options.json.as_deref())
}

fn at_rate(rate: f64) -> Order {
    Order { pace: Pace::Rate(rate), slow: false }
}

/// The highest rate that was kept up: in steps until one is not, then between the two.
fn find_peak(stage: &mut Stage, first: f64, report: &mut Report) -> Result<f64, Failure> {
    let (mut kept, mut failed) = (None, None);
    let mut rate = first;
    for _ in 0..STEPS_MAX {
        match try_rate(stage, rate, report)? {
            Some(deliveries) => kept = Some((rate, deliveries)),
            None => failed = Some(rate),
        }
        rate = match (kept, failed) {
            (Some((kept, _)), None) => kept * STEP,
            (None, Some(failed)) => failed / STEP,
            (Some((kept, _)), Some(failed)) if failed > kept * NEAR => (kept * failed).sqrt(),
            _ => break,
        };
    }
    let nothing = || Failure::failed(format!("not even {rate:.0} messages a second were kept up"));
    let (messages, deliveries) = kept.ok_or_else(nothing)?;
    report.figure("peak_messages_per_second", messages);
    report.figure("peak_deliveries_per_second", deliveries);
    Ok(messages)
}

/// Deliveries a second when the rate was kept up.
fn try_rate(stage: &mut Stage, rate: f64, report: &mut Report) -> Result<Option<f64>, Failure> {
    for _ in 0..TRIES {
        let measured = stage.measure(at_rate(rate), STEP_WARM_UP, STEP_TIME)?;
        tell_point(report, rate, &measured);
        if is_kept_up(&measured.tally) {
            return Ok(Some(measured.growth.per_second(measured.tally.delivered as f64)));
        }
        stage.settle(SETTLE_PATIENCE)?;
    }
    Ok(None)
}

fn is_kept_up(tally: &Tally) -> bool {
    tally.acknowledged as f64 >= KEPT_UP_SHARE * tally.sent as f64
        && tally.delivery.quantile_us(0.99) <= KEPT_UP_US_MAX
}

fn tell_point(report: &mut Report, rate: f64, measured: &Measured) {
    let (tally, growth) = (&measured.tally, &measured.growth);
    let quantile = |share| tally.delivery.quantile_us(share) as f64;
    report.point(
        "latency_by_rate",
        &[
            ("messages_per_second", rate),
            ("deliveries_per_second", growth.per_second(tally.delivered as f64)),
            ("delivery_p50_us", quantile(0.5)),
            ("delivery_p99_us", quantile(0.99)),
            ("ack_p99_us", tally.ack.quantile_us(0.99) as f64),
        ],
    );
}
