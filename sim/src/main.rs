//! Replays one seed with its trace, or runs many and counts what they met.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use sim::{Coverage, run, run_alone};

/// Runs whole clusters on virtual time, each from a seed: the same seed does the same things every time.
///
/// With SEED, replays that one and writes what happened, step by step, to standard output.
/// With --seeds, runs many and says what they met. Exits with 1 when a promise was broken.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The seed to replay.
    #[arg(required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, without a trace.
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// The first of many seeds; the others follow it.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Replay the seed as that of a server which is all there is.
    #[arg(long, requires = "seed")]
    alone: bool,
    /// Replay without the trace.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let broken = match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => replay(seed, arguments.alone, !arguments.quiet),
        (None, count) => run_many(arguments.first, count.unwrap_or_default()),
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
