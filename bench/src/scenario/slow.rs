//! `slow`: a share of readers at 1 KB/s among fast ones; the server's memory, and what the fast ones notice.

use std::time::Duration;

use clap::Args;

use crate::command::Failure;
use crate::options::Options;
use crate::report::Report;
use crate::talk::{Order, Pace, Plan, Population, SlowReaders, Stage, TalkOptions, needs};

/// Bytes that any client reads at a time: not more than a slow reader's second.
const RECEIVE_BYTES: u32 = 1_024;
const SETTLE_PATIENCE: Duration = Duration::from_secs(300);

/// Slow readers among fast ones: what the server holds for them, and what the fast ones notice
#[derive(Args, Clone, Debug)]
pub struct SlowOptions {
    /// Conversations
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub conversations: u32,
    /// Members of each
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..))]
    pub members: u32,
    /// Messages a second in all
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000.0)]
    pub rate: f64,
    /// Share of the members that read slowly, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub share: f64,
    /// Bytes a second that each of them reads
    #[arg(long, value_name = "BYTES", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub bytes_per_second: u32,
    /// What every scenario of talkers takes.
    #[command(flatten)]
    pub talk: TalkOptions,
}

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, slow: &SlowOptions) -> Result<(), Failure> {
    let population = Population::of_rooms("slow", slow.conversations, slow.members);
    let clients = population.clients();
    let readers = SlowReaders { share: slow.share, bytes_per_second: slow.bytes_per_second };
    let plan = Plan { slow: Some(readers), ..slow.talk.plan(population, options.seed) };
    let slow_readers = (0..clients).filter(|client| plan.is_slow(*client)).count();
    let mut stage = Stage::open(options, plan, &needs(clients), |swarm| {
        swarm.crowd.receive_bytes = RECEIVE_BYTES;
    })?;
    let mut report = Report::new("slow", Some(stage.server()));
    report.setting("conversations", slow.conversations);
    report.setting("members", slow.members);
    report.setting("rate", slow.rate);
    report.setting("slow_readers", slow_readers);
    report.setting("bytes_per_second", slow.bytes_per_second);
    slow.talk.tell(options, &mut report);
    let (warm_up, time) = (slow.talk.warm_up(), slow.talk.time());
    let order = |slow_read| Order { pace: Pace::Rate(slow.rate), slow: slow_read };
    let without = stage.measure(order(false), warm_up, time)?;
    without.tell(&mut report, "without_slow_");
    let with = stage.measure(order(true), warm_up, time)?;
    with.tell(&mut report, "with_slow_");
    report.cpu(&with.growth);
    let held = with.growth.server_bytes.unwrap_or_default() as f64 / slow_readers.max(1) as f64;
    report.figure("server_bytes_per_slow_reader", held);
    let caught_up = stage.settle(SETTLE_PATIENCE)?;
    report.figure("caught_up_events", (caught_up.delivered + caught_up.paged) as f64);
    report.figure("caught_up_by_pages", caught_up.paged as f64);
    stage.close()?.tell(&mut report);
    report.finish(options.json.as_deref())
}
