//! `migrate`: copies the whole store from one engine into another, while no server runs on either.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use storage::engine::Engine;
use storage::migrate::{Migration, Progress, Stage, is_unfinished};

use super::{Failure, print, stores};
use crate::config::{Config, EngineKind};

pub(super) const HELP: &str = "\
Copies every record, compares both stores, and verifies the copy; of the source nothing goes away. The embedded
store is the one in --data (store.path), the cluster is the one of --cluster-file (store.cluster_file,
store.key_prefix). Stop all servers first. A cluster has no lock: a server that still runs on the one to migrate from
is deposed, once the destination is known to be free, and stores no message any more.
What was interrupted goes on where it stopped: run the same command again. Until it has ended, no server starts on
the destination.

Examples:
  murmuring migrate --from embedded --to foundationdb --data /var/lib/murmuring
  murmuring migrate --from foundationdb --to embedded --data /var/lib/murmuring-back";

/// How often it says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// The engine to copy from
    #[arg(long, value_enum, value_name = "ENGINE")]
    from: Kept,
    /// The engine to copy into: its store must be empty, or a migration that was interrupted
    #[arg(long, value_enum, value_name = "ENGINE")]
    to: Kept,
}

/// An engine that keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kept {
    Embedded,
    Foundationdb,
}

impl From<Kept> for EngineKind {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Embedded => Self::Embedded,
            Kept::Foundationdb => Self::Foundationdb,
        }
    }
}

impl Migrate {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        if self.from == self.to {
            return Err(Failure::usage("--from and --to name the same engine"));
        }
        let (from, to) = (self.from.into(), self.to.into());
        let (source_place, place) = (stores::place(config, from), stores::place(config, to));
        if !stores::is_there(config, from)? {
            return Err(Failure::failed(format!("{source_place}: no store is there")));
        }
        let mut source = stores::open(config, from)?;
        let mut destination = stores::open(config, to)?;
        if is_unfinished(&mut source).map_err(Failure::failed)? {
            return Err(Failure::failed(format!(
                "{source_place}: a migration into it has begun and not ended; it is no whole store"
            )));
        }
        let ways = format!("{source_place} to {place}");
        let failed = |error| Failure::failed(format!("{ways}: {error}"));
        let migration = Migration::begin(&mut destination).map_err(failed)?;
        fence_servers(&mut source).map_err(|error| Failure::failed(format!("{source_place}: {error}")))?;
        let mut told = Instant::now();
        let report = migration.run(&mut source, &mut destination, &mut |progress| {
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                eprintln!("murmuring: {}", words(progress));
            }
        });
        let closed = destination.close().and(source.close());
        let report = report.map_err(failed)?;
        closed.map_err(|error| Failure::failed(format!("{place}: did not close in order: {error}")))?;
        print(&format!(
            "{ways}: {} conversations, {} events, {} members, {} keys, {} bytes: copied, compared and whole\n",
            report.conversations, report.events, report.members, report.keys, report.bytes
        ))
    }
}

/// A cluster has no lock that would keep servers away: whoever still owns its conversations is deposed.
fn fence_servers(source: &mut Engine) -> Result<(), String> {
    match source {
        Engine::Memory(_) | Engine::Embedded(_) => Ok(()),
        #[cfg(feature = "foundationdb")]
        Engine::Foundationdb(engine) => {
            engine.check_format().map_err(|error| error.to_string())?;
            let claimed = storage::claim(source);
            claimed.map(|_| ()).map_err(|failure| format!("it can't be claimed: {failure:?}"))
        }
    }
}

fn words(progress: Progress) -> String {
    let Progress { stage, keys, bytes } = progress;
    match stage {
        Stage::Copy => format!("copied {keys} keys, {} MB", bytes / 1_000_000),
        Stage::Compare => format!("compared {keys} keys, {} MB", bytes / 1_000_000),
        Stage::Verify => "verifying the copy".to_owned(),
    }
}
