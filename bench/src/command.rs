//! The command line: one subcommand a scenario, and exit codes (0 done and all promises kept, 1 failed or a promise was
//! broken, 2 wrong usage). What a scenario does stands in `scenario` under its name.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::floor;
use crate::options::Options;
use crate::plot;
use crate::report::compare;
use crate::scenario::{broadcast, durable, fanout, history, idle, moves, rooms, slow, storm};
use crate::server::interrupt;

const EXAMPLES: &str = "\
Every scenario starts a server of its own, or attaches to a running one with --connect.
With --gateways it starts a cluster of gateway nodes and router nodes instead, and says what each role used, too; the
kernel's memory is the whole host's.

Examples:
  murmuring-bench rooms --json runs.jsonl
  murmuring-bench rooms --gateways 1 --json runs.jsonl && murmuring-bench compare runs.jsonl
  murmuring-bench fanout --members 100000 --gateways 3 --shards 1
  murmuring-bench moves --gateways 2 --router-shards 2

Exit codes: 0 done and every promise kept, 1 failed or a promise broken, 2 wrong usage.";

/// Puts a load on a Murmuring server, measures it, and checks what it measures.
#[derive(Debug, Parser)]
#[command(name = "murmuring-bench", version, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What a scenario takes: its own options, which stand in its file, and those of all.
#[derive(Args, Debug)]
struct Scenario<T: Args> {
    #[command(flatten)]
    own: T,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clients connect as fast as they are let, drop all at once, and come back with their tickets
    Storm(Scenario<storm::StormOptions>),
    /// Many sessions with heartbeats alone: bytes each, CPU time a connection-second
    Idle(Scenario<idle::IdleOptions>),
    /// Many conversations at a rate: ack and delivery latency, CPU time and system calls a delivery
    Rooms(Scenario<rooms::RoomsOptions>),
    /// One conversation of up to 500,000 online members: time from a send to its last delivery
    Fanout(Scenario<fanout::FanoutOptions>),
    /// Slow readers among fast ones: what the server holds for them, and what the fast ones notice
    Slow(Scenario<slow::SlowOptions>),
    /// Appends a second and their acks, in one hot conversation or many cold ones, against the store's syncs
    Durable(Scenario<durable::DurableOptions>),
    /// Rooms of a cluster whose slots move to other router shards all the time: what an ack takes with that, and without
    Moves(Scenario<moves::MovesOptions>),
    /// Pages at the head and deep in logs of 10^2 to 10^7 events
    History(Scenario<history::HistoryOptions>),
    /// What other servers do, too, measured alike: connect, be idle, send to rooms
    Broadcast(Scenario<broadcast::BroadcastOptions>),
    /// The bare kernel on the same kind of sockets, and the bare disk: the denominator of every ratio
    Floor(Scenario<floor::Arguments>),
    /// Put runs beside each other, from their lines of JSON: medians, and how far runs alike lie apart
    Compare(compare::Arguments),
    /// Draw the curves of runs, as SVG, from their lines of JSON
    Plot(plot::Arguments),
    /// The other side of `floor`, in a process of its own
    #[command(hide = true)]
    Bare(floor::bare::Arguments),
}

/// Why a run ends with another code than 0.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: the host or the server is not as the run needs it, or a promise was broken.
    Failed(Box<dyn core::error::Error>),
    /// Exit code 2: the options contradict each other or the host.
    Usage(Box<dyn core::error::Error>),
}

impl<T: Args> Scenario<T> {
    /// Runs it, when the options that all scenarios have agree with each other.
    fn run(&self, run: impl FnOnce(&Options, &T) -> Result<(), Failure>) -> Result<(), Failure> {
        self.options.server.check()?;
        run(&self.options, &self.own)
    }
}

impl Failure {
    /// The world is not as needed, or a promise was broken.
    pub fn failed(error: impl Into<Box<dyn core::error::Error>>) -> Self {
        Self::Failed(error.into())
    }

    /// The command is wrong.
    pub fn usage(error: impl Into<Box<dyn core::error::Error>>) -> Self {
        Self::Usage(error.into())
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    match interrupt::watch().map_err(Failure::failed).and_then(|()| run(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            eprintln!("murmuring-bench: {error}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(error)) => {
            eprintln!("murmuring-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Storm(scenario) => scenario.run(storm::run),
        Command::Idle(scenario) => scenario.run(idle::run),
        Command::Rooms(scenario) => scenario.run(rooms::run),
        Command::Fanout(scenario) => scenario.run(fanout::run),
        Command::Slow(scenario) => scenario.run(slow::run),
        Command::Durable(scenario) => scenario.run(durable::run),
        Command::Moves(scenario) => scenario.run(moves::run),
        Command::History(scenario) => scenario.run(history::run),
        Command::Broadcast(scenario) => scenario.run(broadcast::run),
        Command::Floor(scenario) => scenario.run(floor::run),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Plot(arguments) => plot::run(arguments),
        Command::Bare(arguments) => floor::bare::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
