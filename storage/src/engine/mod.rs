//! The engines, as a plain enum. Each serves the reads and writes of `kv.rs`: a commit is whole and seen at
//! once by later reads, and durable after the next sync.
//!
//! An engine knows nothing of the key layout but where it ends.

pub mod embedded;
#[cfg(feature = "foundationdb")]
pub mod foundationdb;
pub mod memory;

pub use embedded::{EmbeddedEngine, OpenError};
#[cfg(feature = "foundationdb")]
pub use foundationdb::FoundationdbEngine;
pub use memory::MemoryEngine;

use crate::key;
use crate::kv::{EngineError, Found, Key, Read, Value, Write};

/// An engine.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Engine {
    /// Keeps everything in memory: tests, simulation, trying things out.
    Memory(MemoryEngine),
    /// Keeps everything in a data directory of this machine.
    Embedded(EmbeddedEngine),
    /// Keeps everything in a cluster: what is committed is durable, and others commit beside it.
    #[cfg(feature = "foundationdb")]
    Foundationdb(FoundationdbEngine),
}

impl Engine {
    /// Reads, in order, what has been committed.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when the bytes can't be read.
    pub fn read(&mut self, reads: &[Read]) -> Result<Vec<Found>, EngineError> {
        match self {
            Self::Memory(engine) => Ok(engine.read(reads)),
            Self::Embedded(engine) => engine.read(reads),
            #[cfg(feature = "foundationdb")]
            Self::Foundationdb(engine) => engine.read(reads),
        }
    }

    /// Reads one key.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn get(&mut self, key: Key) -> Result<Option<Value>, EngineError> {
        match self.read(&[Read::Get { key, conflict: false }])?.pop() {
            Some(Found::Value(value)) => Ok(value),
            other => unreachable!("an engine answers a get with a value, not with {other:?}"),
        }
    }

    /// Reads pairs from `begin` on to the layout's end, in order, up to two bounds; true when there are more.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn walk(
        &mut self,
        begin: Key,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<(Key, Value)>, bool), EngineError> {
        let end = key::END.to_vec();
        match self.read(&[Read::Range { begin, end, limit, bytes_max, reverse: false }])?.pop() {
            Some(Found::Pairs { pairs, more }) => Ok((pairs, more)),
            other => unreachable!("an engine answers a range with pairs, not with {other:?}"),
        }
    }

    /// Commits all of `writes` or nothing. Durable only after the next [`Engine::sync`].
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] after a failed sync.
    pub fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        match self {
            Self::Memory(engine) => engine.commit(writes),
            Self::Embedded(engine) => engine.commit(writes),
            #[cfg(feature = "foundationdb")]
            Self::Foundationdb(engine) => engine.commit(&writes),
        }
    }

    /// Makes all commits durable. Does nothing when there are none to sync.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when it failed: what was not synced may or may not be durable, and is no longer read.
    pub fn sync(&mut self) -> Result<(), EngineError> {
        match self {
            Self::Memory(engine) => engine.sync(),
            Self::Embedded(engine) => engine.sync(),
            #[cfg(feature = "foundationdb")]
            Self::Foundationdb(_) => Ok(()),
        }
    }

    /// Takes no commits any more, as after a failed sync.
    pub fn poison(&mut self, why: &str) {
        match self {
            Self::Memory(engine) => engine.poison(why),
            Self::Embedded(engine) => engine.poison(why),
            #[cfg(feature = "foundationdb")]
            Self::Foundationdb(engine) => engine.poison(),
        }
    }

    /// Ends its work in order: what was committed is durable.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] when that could not be done, or not any more.
    pub fn close(&mut self) -> Result<(), EngineError> {
        match self {
            Self::Memory(engine) => engine.close(),
            Self::Embedded(engine) => engine.close(),
            #[cfg(feature = "foundationdb")]
            Self::Foundationdb(_) => Ok(()),
        }
    }
}
