//! The store of a node: opened, claimed, and handed to its thread. What a store is stands in `storage`.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use protocol::placement::{Epoch, NodeId};
use storage::driver::{self, Driver, State};
use storage::engine::embedded::{self, EmbeddedEngine};
use storage::engine::{Engine, MemoryEngine};
use storage::kv::EngineError;
use storage::migrate;
use storage::request::{Failure, Lease, Outcome, Request};

#[cfg(feature = "foundationdb")]
use super::cluster;
use super::error::ServeError;
use crate::config::{Config, EngineKind};
use crate::core::Exchange;
use crate::log::Logger;

/// How long leases are watched for a sign of life.
const LEASE_LOOK: Duration = Duration::from_millis(2_500);
/// Before a claim that a cluster did not take is made again.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);

/// A router node, as it registers with the store.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    /// Its name in the cluster.
    pub(super) name: String,
    /// Where it takes links.
    pub(super) address: SocketAddr,
    /// How many router shards it has.
    pub(super) cores: u16,
    /// Tells this life of it from others.
    pub(super) incarnation: u64,
}

/// In which right a process uses its store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tenancy {
    /// Everything is its own, and whoever held it before is fenced.
    Alone(Epoch),
    /// It is this router node of a cluster; what it owns, a table says.
    Registered(NodeId),
}

/// A store that was opened.
pub(super) struct Opened {
    /// The store.
    pub(super) engine: Engine,
    /// In which right.
    pub(super) tenancy: Tenancy,
}

/// Opens the configured engine, and claims it or registers with it. A cluster that does not answer is waited for.
pub(super) fn open(
    config: &Config,
    registration: Option<&Registration>,
    logger: &Logger,
) -> Result<Opened, ServeError> {
    let mut engine = engine(config, logger)?;
    // A cluster was asked already, with its format.
    if !is_elsewhere(&engine) && migrate::is_unfinished(&mut engine).map_err(ServeError::Read)? {
        return Err(ServeError::Unfinished);
    }
    let tenancy = match registration {
        None => {
            refuse_live_cluster(&mut engine)?;
            Tenancy::Alone(insist(&mut engine, logger, storage::claim)?)
        }
        Some(registration) => {
            Tenancy::Registered(insist(&mut engine, logger, |engine| register(engine, registration))?)
        }
    };
    Ok(Opened { engine, tenancy })
}

/// Registers with the store: the node's number, which its name keeps.
fn register(engine: &mut Engine, registration: &Registration) -> Result<NodeId, Failure> {
    let Registration { name, address, cores, incarnation } = registration.clone();
    let (node, name, draining) = (NodeId::NONE, name.into(), false);
    let lease = Lease { node, name, address, cores, incarnation, beat: 0, draining };
    match storage::run(engine, Request::Beat { lease, known: Epoch(0) }) {
        Outcome::Beat(beaten) if beaten.held => match engine.sync() {
            Ok(()) => Ok(beaten.node),
            Err(EngineError::Poisoned(why)) => Err(Failure::Poisoned(why)),
            Err(_) => Err(Failure::Unavailable),
        },
        Outcome::Beat(_) => Err(Failure::Fenced),
        Outcome::Failed(failure) => Err(failure),
        other => unreachable!("a beat is answered with what it found, not with {other:?}"),
    }
}

/// A server of its own takes the whole store: not while router nodes of a cluster renew their leases there.
fn refuse_live_cluster(engine: &mut Engine) -> Result<(), ServeError> {
    let first = storage::leases(engine).map_err(ServeError::Claim)?;
    // Nobody else can have a store of this process open.
    if first.is_empty() || !is_elsewhere(engine) {
        return Ok(());
    }
    thread::sleep(LEASE_LOOK);
    let second = storage::leases(engine).map_err(ServeError::Claim)?;
    let is_same = |now: &&Lease| first.iter().any(|then| then == *now);
    let alive: Vec<String> =
        second.iter().filter(|now| !is_same(now)).map(|lease| lease.name.to_string()).collect();
    if alive.is_empty() { Ok(()) } else { Err(ServeError::Clustered(alive)) }
}

/// Tries on while a cluster does not answer.
fn insist<T>(
    engine: &mut Engine,
    logger: &Logger,
    mut ask: impl FnMut(&mut Engine) -> Result<T, Failure>,
) -> Result<T, ServeError> {
    loop {
        match ask(engine) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Unavailable | Failure::Unknown) if is_elsewhere(engine) => {
                logger.warn("the store did not take the claim in time; trying on", &[]);
                thread::sleep(CLAIM_PAUSE);
            }
            Err(failure) => return Err(ServeError::Claim(failure)),
        }
    }
}

#[cfg_attr(not(feature = "foundationdb"), expect(unused_variables, reason = "a cluster alone is waited for"))]
fn engine(config: &Config, logger: &Logger) -> Result<Engine, ServeError> {
    match config.store.engine {
        EngineKind::Memory => Ok(Engine::Memory(MemoryEngine::new())),
        EngineKind::Embedded => Ok(Engine::Embedded(open_embedded(config).map_err(ServeError::Store)?)),
        #[cfg(feature = "foundationdb")]
        EngineKind::Foundationdb => Ok(Engine::Foundationdb(cluster::wait_for(config, logger)?)),
        #[cfg(not(feature = "foundationdb"))]
        EngineKind::Foundationdb => {
            unreachable!("the configuration refuses an engine that is not in this build")
        }
    }
}

/// Whether an engine can be away and come back.
const fn is_elsewhere(engine: &Engine) -> bool {
    match engine {
        Engine::Memory(_) | Engine::Embedded(_) => false,
        #[cfg(feature = "foundationdb")]
        Engine::Foundationdb(_) => true,
    }
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
        State::Away => "away",
    }
}
