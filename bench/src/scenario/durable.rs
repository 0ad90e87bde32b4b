//! `durable`: appends a second and ack latency, in one hot conversation or in very many cold ones, against what the store
//! syncs.

use std::time::Duration;

use clap::Args;

use crate::command::Failure;
use crate::options::Options;
use crate::report::Report;
use crate::server::Growth;
use crate::talk::{Measured, Order, Pace, Population, Stage, TalkOptions, needs};

/// Conversations of a client among many cold ones: as many as `welcome` lists.
const ATTACHED: u32 = 200;
/// Senders of the hot conversation: few, since each of them hears all.
const HOT_SENDERS: u32 = 8;
/// The share of the highest rate at which acks are measured.
const SHARE: f64 = 0.5;
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);

/// Appends a second and their acks, in one hot conversation or many cold ones, against the store's syncs
#[derive(Args, Clone, Debug)]
pub struct DurableOptions {
    /// Cold conversations, of one member each; 1 for a hot one of eight members
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub conversations: u32,
    /// Messages without an answer in all, while the highest rate is looked for
    #[arg(long, value_name = "NUMBER", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// What every scenario of talkers takes.
    #[command(flatten)]
    pub talk: TalkOptions,
}

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, durable: &DurableOptions) -> Result<(), Failure> {
    let population = match durable.conversations {
        1 => Population::of_rooms("durable", 1, HOT_SENDERS),
        many => Population::of_notes("durable", many, ATTACHED),
    };
    let clients = population.clients();
    let window = durable.in_flight.div_ceil(clients);
    let plan = durable.talk.plan(population, options.seed);
    let mut stage = Stage::open(options, plan, &needs(clients), |_| {})?;
    let mut report = Report::new("durable", Some(stage.server()));
    report.setting("conversations", durable.conversations);
    report.setting("senders", clients);
    report.setting("window", window);
    durable.talk.tell(options, &mut report);
    let (warm_up, time) = (durable.talk.warm_up(), durable.talk.time());
    let full = stage.measure(Order { pace: Pace::Window(window), slow: false }, warm_up, time)?;
    tell(&full, &mut report, "full_");
    stage.settle(SETTLE_PATIENCE)?;
    let rate = SHARE * full.growth.per_second(full.tally.acknowledged as f64);
    report.setting("rate", rate);
    let half = stage.measure(Order { pace: Pace::Rate(rate), slow: false }, warm_up, time)?;
    tell(&half, &mut report, "half_");
    report.cpu(&half.growth);
    stage.settle(SETTLE_PATIENCE)?;
    stage.close()?.tell(&mut report);
    report.finish(options.json.as_deref())
}

fn tell(measured: &Measured, report: &mut Report, prefix: &str) {
    measured.tell(report, prefix);
    let Measured { tally, growth } = measured;
    let (syncs, commits) = (total(growth, "syncs"), total(growth, "commits"));
    // A cluster's commits are durable one by one.
    if syncs > 0.0 {
        report.figure(&format!("{prefix}syncs_per_second"), growth.per_second(syncs));
        report.figure(&format!("{prefix}appends_per_sync"), tally.acknowledged as f64 / syncs);
    }
    report.figure(&format!("{prefix}commits_per_second"), growth.per_second(commits));
    report.figure(&format!("{prefix}appends_per_commit"), tally.acknowledged as f64 / commits);
}

fn total(growth: &Growth, what: &str) -> f64 {
    growth.metrics.sum(&format!("murmuring_store_{what}_total"))
}
