//! `fanout`: one conversation of very many online members; time from a send to its last delivery.

use std::time::Duration;

use clap::Args;

use crate::command::Failure;
use crate::options::Options;
use crate::report::{Latency, Report};
use crate::talk::{Order, Pace, Plan, Population, Stage, TalkOptions, Tally, needs};

const SETTLE_PATIENCE: Duration = Duration::from_secs(300);

/// One conversation of up to 500,000 online members: time from a send to its last delivery
#[derive(Args, Clone, Debug)]
pub struct FanoutOptions {
    /// Members, all of them online
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Messages a second
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0)]
    pub rate: f64,
    /// What every scenario of talkers takes.
    #[command(flatten)]
    pub talk: TalkOptions,
}

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, fanout: &FanoutOptions) -> Result<(), Failure> {
    let population = Population::of_rooms("fanout", 1, fanout.members);
    let needs = needs(population.clients());
    let plan = Plan { is_followed: true, ..fanout.talk.plan(population, options.seed) };
    let mut stage = Stage::open(options, plan, &needs, |_| {})?;
    let mut report = Report::new("fanout", Some(stage.server()));
    report.setting("members", fanout.members);
    report.setting("rate", fanout.rate);
    fanout.talk.tell(options, &mut report);
    let order = Order { pace: Pace::Rate(fanout.rate), slow: false };
    let mut measured = stage.measure(order, fanout.talk.warm_up(), fanout.talk.time())?;
    measured.tell(&mut report, "");
    report.cpu(&measured.growth);
    measured.tally.merge(&stage.settle(SETTLE_PATIENCE)?);
    tell_reaches(&measured.tally, fanout.members, &mut report);
    stage.close()?.tell(&mut report);
    report.finish(options.json.as_deref())
}

/// How long messages took to their last member: those of which every delivery fell into the measured part or after it.
fn tell_reaches(tally: &Tally, members: u32, report: &mut Report) {
    let mut last = Latency::new();
    let whole = tally.reaches.values().filter(|reach| reach.members == u64::from(members));
    whole.for_each(|reach| last.record_ns(reach.last_ns));
    report.figure("messages_followed", last.count() as f64);
    report.latency("last_delivery", &last);
}
