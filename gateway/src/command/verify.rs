//! `verify`: reads the whole store and proves that it is whole, while no server runs on it.

use storage::migrate::{UNFINISHED, is_unfinished};

use super::{Failure, print, stores};
use crate::config::{Config, EngineKind};

pub(super) const HELP: &str = "\
Reads every record and proves density, order, checksums and that each client id was stored once; names the first
fault and exits with 1 when there is one. No server must be running on the same data directory, or on the same
cluster (store.engine = \"foundationdb\"): what is written meanwhile looks like a fault.

Examples:
  murmuring verify --data /var/lib/murmuring
  murmuring verify --engine foundationdb --cluster-file /etc/foundationdb/fdb.cluster";

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let kind = config.store.engine;
    if kind == EngineKind::Memory {
        return Err(Failure::usage("store.engine is memory: there is nothing on the disk to verify"));
    }
    let place = stores::place(config, kind);
    if !stores::is_there(config, kind)? {
        return Err(Failure::failed(format!("{place}: no store is there")));
    }
    let mut engine = stores::open(config, kind)?;
    if is_unfinished(&mut engine).map_err(Failure::failed)? {
        return Err(Failure::failed(format!("{place}: {UNFINISHED}")));
    }
    let report =
        storage::verify::verify(&mut engine).map_err(|fault| Failure::failed(format!("{place}: {fault}")))?;
    let closed = engine.close();
    closed.map_err(|error| Failure::failed(format!("{place}: did not close in order: {error}")))?;
    print(&format!(
        "{place}: the store is whole: {} conversations, {} events, {} members, {} keys, {} bytes, those of the server's own \
         canaries among them\n",
        report.conversations, report.events, report.members, report.keys, report.bytes
    ))
}
