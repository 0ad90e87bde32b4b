//! The command line: one subcommand a scenario, and exit codes (0 done and all promises kept, 1 failed or a promise was
//! broken, 2 wrong usage). What a scenario does stands in `scenario` under its name.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::floor;
use crate::options::Options;
use crate::plot;
use crate::report::compare;
use crate::scenario::{broadcast, durable, fanout, history, idle, rooms, slow, storm};
use crate::server::interrupt;

const EXAMPLES: &str = "\
Every scenario starts a server of its own, or attaches to a running one with --connect.
Exit codes: 0 done and every promise kept, 1 failed or a promise broken, 2 wrong usage.";

/// Puts a load on a Murmuring server, measures it, and checks what it measures.
#[derive(Debug, Parser)]
#[command(name = "murmuring-bench", version, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    scenario: Scenario,
}

/// One variant a scenario: its own options, in its own file under `scenario`.
#[derive(Debug, Subcommand)]
enum Scenario {
    Storm(storm::StormOptions),
    Idle(idle::IdleOptions),
    Rooms(rooms::RoomsOptions),
    Fanout(fanout::FanoutOptions),
    Slow(slow::SlowOptions),
    Durable(durable::DurableOptions),
    History(history::HistoryOptions),
    Broadcast(broadcast::BroadcastOptions),
    /// The bare kernel on the same kind of sockets, and the bare disk: the denominator of every ratio
    Floor(floor::Arguments),
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
    let CommandLine { options, scenario } = CommandLine::parse();
    match interrupt::watch().map_err(Failure::failed).and_then(|()| run(&options, &scenario)) {
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

fn run(options: &Options, scenario: &Scenario) -> Result<(), Failure> {
    match scenario {
        Scenario::Storm(storm) => storm::run(options, storm),
        Scenario::Idle(idle) => idle::run(options, idle),
        Scenario::Rooms(rooms) => rooms::run(options, rooms),
        Scenario::Fanout(fanout) => fanout::run(options, fanout),
        Scenario::Slow(slow) => slow::run(options, slow),
        Scenario::Durable(durable) => durable::run(options, durable),
        Scenario::History(history) => history::run(options, history),
        Scenario::Broadcast(broadcast) => broadcast::run(options, broadcast),
        Scenario::Floor(arguments) => floor::run(options, arguments),
        Scenario::Compare(arguments) => compare::run(arguments),
        Scenario::Plot(arguments) => plot::run(arguments),
        Scenario::Bare(arguments) => floor::bare::run(arguments),
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
