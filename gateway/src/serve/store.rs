//! The store of a node: opened, claimed, and handed to its thread. What a store is stands in `storage`.

use std::path::Path;

use storage::driver::{self, Driver, State};
use storage::engine::embedded::{self, EmbeddedEngine};
use storage::engine::{Engine, MemoryEngine};
use storage::request::Epoch;

use super::error::ServeError;
use crate::config::{Config, EngineKind};
use crate::core::Exchange;

/// Opens the configured engine and makes this process its owner: whoever held it before is fenced.
pub(super) fn open(config: &Config) -> Result<(Engine, Epoch), ServeError> {
    let mut engine = match config.store.engine {
        EngineKind::Memory => Engine::Memory(MemoryEngine::new()),
        EngineKind::Embedded => Engine::Embedded(open_embedded(config).map_err(ServeError::Store)?),
        EngineKind::Foundationdb => {
            unreachable!("the configuration refuses an engine that is not in this build")
        }
    };
    let epoch = storage::claim(&mut engine).map_err(ServeError::Claim)?;
    Ok((engine, epoch))
}

/// Opens the embedded store of the data directory, or makes one.
///
/// # Errors
/// When the directory can't be used, another process has it, or what is in it is not whole.
pub fn open_embedded(config: &Config) -> Result<EmbeddedEngine, embedded::OpenError> {
    let settings = embedded::Settings {
        cache_bytes: config.store.cache_bytes,
        check_bytes_max: config.store.check_bytes,
        ..embedded::Settings::default()
    };
    EmbeddedEngine::open(Path::new(&config.store.path), settings)
}

/// Starts the store's thread, which answers into the cores' mailboxes.
pub(super) fn start(
    config: &Config,
    engine: Engine,
    epoch: Epoch,
    exchange: &Exchange,
) -> Result<Driver, ServeError> {
    let settings = driver::Settings {
        queue_requests_max: config.store.queue_requests as usize,
        ..driver::Settings::default()
    };
    let (answering, waking) = (exchange.clone(), exchange.clone());
    let answer = Box::new(move |router, request, outcome| answering.answer(router, request, outcome));
    let flush = Box::new(move || waking.wake_answered());
    Driver::start(engine, epoch, settings, answer, flush)
        .map_err(|error| ServeError::System("the store's thread", error))
}

/// A word for a state, for logs.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Poisoned => "poisoned",
        State::Stopped => "stopped",
    }
}
