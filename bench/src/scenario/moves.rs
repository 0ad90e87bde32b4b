//! `moves`: rooms of a cluster whose slots move from router shard to router shard under the load; what an ack and a delivery
//! take with that, and without.

use std::time::Duration;

use clap::Args;

use crate::command::Failure;
use crate::options::Options;
use crate::report::{Report, Verdict};
use crate::schedule::Arrivals;
use crate::server::{Moved, Mover, Server, slot_of};
use crate::talk::{Measured, Order, Pace, Plan, Population, Stage, TalkOptions, Tally, needs};

const SETTLE_PATIENCE: Duration = Duration::from_secs(120);

/// Rooms of a cluster whose slots move to other router shards all the time: what an ack takes with that, and without
#[derive(Args, Clone, Debug)]
pub struct MovesOptions {
    /// Conversations: the fewer, the more of the messages fall into a move
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub conversations: u32,
    /// Members of each
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Messages a second in all
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000.0)]
    pub rate: f64,
    /// Milliseconds from one move of a slot to the next
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub move_every_ms: u32,
    /// What every scenario of talkers takes.
    #[command(flatten)]
    pub talk: TalkOptions,
}

/// The whole scenario.
///
/// # Errors
/// The host or the server is not as needed, or a promise was broken.
pub fn run(options: &Options, moves: &MovesOptions) -> Result<(), Failure> {
    if !options.server.is_cluster() && options.server.connect.is_empty() {
        return Err(Failure::usage("moves need router shards of a cluster: --gateways, or --connect to one"));
    }
    let population = Population::of_rooms("moves", moves.conversations, moves.members);
    let slots = slots(&population);
    let needs = needs(population.clients());
    let plan = Plan { arrivals: Arrivals::Poisson, ..moves.talk.plan(population, options.seed) };
    let mut stage = Stage::open(options, plan, &needs, |_| {})?;
    let mut report = Report::new("moves", Some(stage.server()));
    report.setting("conversations", moves.conversations);
    report.setting("members", moves.members);
    report.setting("rate", moves.rate);
    report.setting("move_every_ms", moves.move_every_ms);
    report.setting("slots", slots.len());
    moves.talk.tell(options, &mut report);
    let (warm_up, time) = (moves.talk.warm_up(), moves.talk.time());
    let order = Order { pace: Pace::Rate(moves.rate), slow: false };
    let without = stage.measure(order, warm_up, time)?;
    without.tell(&mut report, "without_moves_");
    let mover = start(stage.server(), slots, Duration::from_millis(moves.move_every_ms.into()))?;
    let with = stage.measure(order, warm_up, time)?;
    let moved = mover.finish();
    with.tell(&mut report, "with_moves_");
    report.cpu(&with.growth);
    tell(&moved, [&without, &with], &mut report);
    stage.settle(SETTLE_PATIENCE)?;
    stage.close()?.tell(&mut report);
    report.finish(options.json.as_deref())
}

/// The slots of the conversations, each once.
fn slots(population: &Population) -> Vec<u16> {
    let mut slots: Vec<u16> = (0..population.conversations())
        .filter_map(|number| slot_of(&population.conversation(number)))
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn start(server: &Server, slots: Vec<u16>, every: Duration) -> Result<Mover, Failure> {
    let (api, placement) = server.router().map_err(Failure::failed)?;
    if placement.shards.len() < 2 {
        return Err(Failure::usage("the only router shard has nowhere to move a slot: --router-shards 2"));
    }
    Ok(Mover::start(api, placement, slots, every))
}

fn tell(moved: &Moved, measured: [&Measured; 2], report: &mut Report) {
    report.figure("slots_moved", moved.slots as f64);
    report.latency("move", &moved.latency);
    let first = || moved.first_failure.clone().unwrap_or_default();
    report.verdict("moves", Verdict::of(moved.slots, moved.failed, first));
    let tallies = measured.map(|measured| &measured.tally);
    let sent = tallies.iter().map(|tally| tally.sent).sum();
    let refused = tallies.iter().map(|tally| Tally::refusals(tally)).sum();
    let first = || tallies.iter().flat_map(|tally| tally.refused.keys()).next().cloned().unwrap_or_default();
    report.verdict("no_send_refused", Verdict::of(sent, refused, first));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_of_several_conversations_moves_once_a_round() {
        let slots = slots(&Population::of_rooms("moves", 10_000, 2));
        assert!(slots.is_sorted_by(|one, other| one < other));
        assert!((3_000..=4_096).contains(&slots.len()), "{}", slots.len());
    }
}
