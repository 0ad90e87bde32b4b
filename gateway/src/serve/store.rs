//! The store of a node: opened, claimed, and handed to its thread. What a store is stands in `storage`.

use storage::driver::{self, Driver, State};
use storage::engine::{Engine, MemoryEngine};
use storage::request::Epoch;

use super::error::ServeError;
use crate::config::Config;
use crate::core::Exchange;

/// Opens the configured engine and makes this process its owner: whoever held it before is fenced.
pub(super) fn open() -> Result<(Engine, Epoch), ServeError> {
    let mut engine = Engine::Memory(MemoryEngine::new());
    let epoch = storage::claim(&mut engine).map_err(ServeError::Claim)?;
    Ok((engine, epoch))
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
