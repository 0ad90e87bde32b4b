//! Stores as the tools take them: opened by one process, while no server runs on them.

use std::path::Path;

use storage::engine::Engine;
use storage::engine::embedded::EmbeddedEngine;

use super::Failure;
use crate::config::{Config, EngineKind};
use crate::serve::open_embedded;

/// Where a store is, in words.
pub(super) fn place(config: &Config, engine: EngineKind) -> String {
    let store = &config.store;
    match engine {
        EngineKind::Memory => "memory".to_owned(),
        EngineKind::Embedded => store.path.clone(),
        EngineKind::Foundationdb => {
            let file = if store.cluster_file.is_empty() { "its cluster" } else { &store.cluster_file };
            let behind = if store.key_prefix.is_empty() { "" } else { ", prefix " };
            format!("FoundationDB ({file}{behind}{})", store.key_prefix)
        }
    }
}

/// Whether there is a store.
pub(super) fn is_there(config: &Config, engine: EngineKind) -> Result<bool, Failure> {
    match engine {
        EngineKind::Memory => Ok(false),
        EngineKind::Embedded => {
            EmbeddedEngine::is_there(Path::new(&config.store.path)).map_err(Failure::failed)
        }
        #[cfg(feature = "foundationdb")]
        EngineKind::Foundationdb => {
            let engine = crate::serve::connect(config).map_err(Failure::usage)?;
            engine.is_there().map_err(|error| {
                Failure::failed(format!("{}: {error}", place(config, EngineKind::Foundationdb)))
            })
        }
        #[cfg(not(feature = "foundationdb"))]
        EngineKind::Foundationdb => Err(not_in_this_build()),
    }
}

/// Opens a store. The embedded one is locked against any other process; a cluster has no such lock.
pub(super) fn open(config: &Config, engine: EngineKind) -> Result<Engine, Failure> {
    match engine {
        EngineKind::Memory => Err(Failure::usage("the engine memory keeps nothing that a tool could open")),
        EngineKind::Embedded => Ok(Engine::Embedded(open_embedded(config).map_err(Failure::failed)?)),
        #[cfg(feature = "foundationdb")]
        EngineKind::Foundationdb => {
            Ok(Engine::Foundationdb(crate::serve::connect(config).map_err(Failure::usage)?))
        }
        #[cfg(not(feature = "foundationdb"))]
        EngineKind::Foundationdb => Err(not_in_this_build()),
    }
}

#[cfg(not(feature = "foundationdb"))]
fn not_in_this_build() -> Failure {
    Failure::usage("the engine foundationdb is not in this build: build it with `--features foundationdb`")
}
