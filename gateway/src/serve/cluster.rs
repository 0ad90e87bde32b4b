//! A FoundationDB cluster as the store: set up from the configuration, and waited for.

use std::thread;
use std::time::{Duration, Instant};

use storage::engine::FoundationdbEngine;
use storage::engine::foundationdb::{ConnectError, FormatError, Settings};
use storage::kv::EngineError;

use super::error::ServeError;
use crate::config::Config;
use crate::log::Logger;

/// From one try to the next, at least.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the log says that the cluster is still waited for.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Sets the client library up for the configured cluster. Asks nothing of it yet.
///
/// # Errors
/// When the library or the cluster file can't be used.
pub fn connect(config: &Config) -> Result<FoundationdbEngine, ConnectError> {
    let store = &config.store;
    FoundationdbEngine::connect(&Settings {
        cluster_file: Some(store.cluster_file.clone()).filter(|file| !file.is_empty()),
        prefix: store.key_prefix.clone().into_bytes(),
        ..Settings::default()
    })
}

/// Connects, and waits for as long as the cluster does not answer.
pub(super) fn wait_for(config: &Config, logger: &Logger) -> Result<FoundationdbEngine, ServeError> {
    let engine = connect(config).map_err(ServeError::Connect)?;
    let begin = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        match engine.check_format() {
            Ok(()) => return Ok(engine),
            // No cluster file, no permission: waiting would not help.
            Err(FormatError::Engine(EngineError::Refused(why))) => {
                return Err(ServeError::Format(FormatError::Engine(EngineError::Refused(why))));
            }
            Err(FormatError::Engine(error)) => {
                if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    told = Some(Instant::now());
                    logger.warn(
                        "the FoundationDB cluster does not answer; trying on",
                        &[
                            ("cluster_file", &config.store.cluster_file),
                            ("error", &error),
                            ("waiting_s", &begin.elapsed().as_secs()),
                        ],
                    );
                }
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(ServeError::Format(error)),
        }
    }
}
