//! `verify`: reads the whole store and proves that it is whole, while no server runs on it.

use std::path::Path;

use storage::engine::Engine;
use storage::engine::embedded::EmbeddedEngine;

use super::{Failure, print};
use crate::config::{Config, EngineKind};
use crate::serve::open_embedded;

pub(super) const HELP: &str = "\
Reads every record and proves density, order, checksums and that each client id was stored once; names the first
fault and exits with 1 when there is one. The server must not be running on the same data directory.

Example:
  murmuring verify --data /var/lib/murmuring";

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let path = &config.store.path;
    if config.store.engine == EngineKind::Memory {
        return Err(Failure::usage("store.engine is memory: there is nothing on the disk to verify"));
    }
    if !EmbeddedEngine::is_there(Path::new(path)).map_err(Failure::failed)? {
        return Err(Failure::failed(format!("{path}: no store is there")));
    }
    let mut engine = Engine::Embedded(open_embedded(config).map_err(Failure::failed)?);
    let report =
        storage::verify::verify(&mut engine).map_err(|fault| Failure::failed(format!("{path}: {fault}")))?;
    let closed = engine.close();
    closed.map_err(|error| Failure::failed(format!("{path}: did not close in order: {error:?}")))?;
    print(&format!(
        "{path}: the store is whole: {} conversations, {} events, {} members, {} keys, {} bytes, those of the server's own \
         canaries among them\n",
        report.conversations, report.events, report.members, report.keys, report.bytes
    ))
}
