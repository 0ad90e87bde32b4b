//! Replays one seed with its trace, runs many and counts what they met, or measures a fleet.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use clap::value_parser;
use sim::{Coverage, FleetSettings, Unfit, run, run_alone, run_fleet};

/// Runs whole clusters on virtual time, each from a seed: the same seed does the same things every time.
///
/// With SEED, replays that one and writes what happened, step by step, to standard output.
/// With --seeds, runs many and says what they met.
/// With --fleet, runs a cluster of 100 nodes in calm weather and measures what docs/CAPACITY.md says of clusters: that takes
/// four minutes and 1.1 GB, and grows with links (at most 20,000) and clients (at least 20 a gateway node).
/// Exits with 1 when a promise was broken, or a fleet does not do what docs/CAPACITY.md says; with 2 when it can't be run.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The seed to replay.
    #[arg(required_unless_present_any = ["seeds", "fleet"], conflicts_with_all = ["seeds", "fleet"])]
    seed: Option<u64>,
    /// Run so many seeds, without a trace.
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// The first of many seeds; the others follow it. The seed of a fleet.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Replay the seed as that of a server which is all there is.
    #[arg(long, conflicts_with_all = ["seeds", "fleet"])]
    alone: bool,
    /// Replay without the trace.
    #[arg(long, conflicts_with = "fleet")]
    quiet: bool,
    #[command(flatten)]
    fleet: FleetArguments,
}

/// How large a fleet is, and how it is told of.
#[derive(Debug, clap::Args)]
struct FleetArguments {
    /// Run a cluster of gateway nodes and router nodes, lose some, and measure. Its seed is --first.
    #[arg(long, conflicts_with = "seeds")]
    fleet: bool,
    /// Gateway nodes of a fleet, 3 to 1,000: one is lost, one is told to stop.
    #[arg(long, requires = "fleet", value_name = "COUNT", default_value_t = 88, value_parser = value_parser!(u16).range(3..=1_000))]
    gateway_nodes: u16,
    /// Router nodes of a fleet, 3 to 64: one is killed, one drained, one told to stop.
    #[arg(long, requires = "fleet", value_name = "COUNT", default_value_t = 12, value_parser = value_parser!(u16).range(3..=64))]
    router_nodes: u16,
    /// Cores of a gateway node, 1 to 32. Each has a link to each router node, at most 20,000 in all.
    #[arg(long, requires = "fleet", value_name = "COUNT", default_value_t = 4, value_parser = value_parser!(u16).range(1..=32))]
    gateway_cores: u16,
    /// Cores of a router node, 1 to 32.
    #[arg(long, requires = "fleet", value_name = "COUNT", default_value_t = 4, value_parser = value_parser!(u16).range(1..=32))]
    router_cores: u16,
    /// Clients of a fleet, 100 to 100,000, at least 20 for each gateway node.
    #[arg(long, requires = "fleet", value_name = "COUNT", default_value_t = 30_000, value_parser = value_parser!(u32).range(100..=100_000))]
    clients: u32,
    /// Tell what was measured as JSON, one object a line.
    #[arg(long, requires = "fleet")]
    json: bool,
}

impl FleetArguments {
    fn settings(&self, seed: u64) -> Result<FleetSettings, Unfit> {
        let Self { gateway_nodes, router_nodes, gateway_cores, router_cores, clients, .. } = *self;
        let settings =
            FleetSettings { seed, gateway_nodes, router_nodes, gateway_cores, router_cores, clients };
        settings.check()?;
        Ok(settings)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let broken = match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => replay(seed, arguments.alone, !arguments.quiet),
        (None, Some(count)) => run_many(arguments.first, count),
        (None, None) => match arguments.fleet.settings(arguments.first) {
            Ok(settings) => measure(settings, arguments.fleet.json),
            Err(unfit) => {
                eprintln!("error: {unfit}");
                return ExitCode::from(2);
            }
        },
    };
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, alone: bool, tracing: bool) -> u64 {
    match if alone { run_alone(seed, tracing) } else { run(seed, tracing) } {
        Ok(report) => {
            print!("{}", report.coverage);
            println!(
                "seed {seed}: {} events, {} s, hash {:016x}",
                report.events,
                report.virtual_us / 1_000_000,
                report.hash
            );
            0
        }
        Err(failure) => {
            eprintln!("{failure}");
            1
        }
    }
}

/// How many measures are not as docs/CAPACITY.md says, or 1 for a broken promise.
fn measure(settings: FleetSettings, json: bool) -> u64 {
    let seed = settings.seed;
    let report = match run_fleet(settings, &mut |step| eprintln!("{step} ...")) {
        Ok(report) => report,
        Err(reason) => {
            eprintln!("seed {seed} failed: {reason}");
            return 1;
        }
    };
    if json {
        print!("{}", report.ledger.to_json_lines());
    } else {
        print!("{}", report.ledger);
    }
    let (events, seconds) = (report.events, report.virtual_us / 1_000_000);
    eprintln!("seed {seed}: no promise broken, {events} events, {seconds} s, hash {:016x}", report.hash);
    let broken = report.ledger.broken();
    broken.iter().for_each(|name| eprintln!("docs/CAPACITY.md says something else: {name}"));
    broken.len() as u64
}

fn run_many(first: u64, count: u64) -> u64 {
    let next = AtomicU64::new(0);
    let met = Mutex::new((Coverage::default(), 0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let result = run(first.wrapping_add(number), false);
            let mut met = met.lock().expect("a run catches its panics");
            match result {
                Ok(report) => met.0.merge(&report.coverage),
                Err(failure) => {
                    eprintln!("{failure}");
                    met.1 += 1;
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (coverage, broken) = met.into_inner().expect("all threads ended");
    print!("{coverage}");
    println!("{count} seeds from {first}: {broken} failed");
    broken
}
