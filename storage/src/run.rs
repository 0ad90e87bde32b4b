//! Drives one transaction over an engine from its beginning to its end, in the caller's thread.
//!
//! For tools, tests and the simulator; `driver.rs` is the store thread. Nothing is durable before the engine's next sync.

use protocol::placement::{NODES_MAX, SLOTS, Slot};

use crate::damage::Damage;
use crate::engine::Engine;
use crate::key;
use crate::kv::{EngineError, Found, Key, Read, Value};
use crate::request::{Epoch, Failure, Lease, Outcome, Request};
use crate::transaction::{Reply, Step, Transaction};

/// Runs a request. Its commits are visible, and durable after the next [`Engine::sync`].
pub fn run(engine: &mut Engine, request: Request) -> Outcome {
    #[cfg(feature = "foundationdb")]
    if let Engine::Foundationdb(engine) = engine {
        // Others may commit between its reads and its commit: one transaction of the cluster spans both.
        return engine.run(request);
    }
    let (mut transaction, mut step) = Transaction::begin(request);
    loop {
        let result = match step {
            Step::Read(reads) => engine.read(&reads).map(Reply::Found),
            Step::Commit(writes) => engine.commit(writes).map(|()| Reply::Committed),
            Step::Done(outcome) => return outcome,
        };
        step = transaction.resume(result);
    }
}

/// Makes the caller the owner of all slots, durably: every owner before it is fenced. If router nodes shared the store,
/// their placement and their leases are gone; whoever calls has made sure by [`leases`] that none of them is alive.
///
/// # Errors
/// When the store can't be read or written.
pub fn claim(engine: &mut Engine) -> Result<Epoch, Failure> {
    let slots = (0..SLOTS).map(Slot).collect();
    match run(engine, Request::Claim { slots }) {
        Outcome::Claimed(epoch) => engine.sync().map(|()| epoch).map_err(failure_of),
        Outcome::Failed(failure) => Err(failure),
        other => unreachable!("a claim is answered with its epoch, not with {other:?}"),
    }
}

/// The leases of all router nodes that share this store, ascending by number. A beat that grows between two looks, a lease
/// time apart, is that of a node which is alive.
///
/// # Errors
/// When the store can't be read.
pub fn leases(engine: &mut Engine) -> Result<Vec<Lease>, Failure> {
    match engine.read(&[read_leases()]).map_err(failure_of)?.pop() {
        Some(Found::Pairs { pairs, .. }) => Ok(open_leases(&pairs)?),
        other => unreachable!("an engine answers a range with pairs, not with {other:?}"),
    }
}

/// What reads all leases: there are no more than router nodes.
pub(crate) fn read_leases() -> Read {
    let (begin, end) = key::leases();
    Read::Range { begin, end, limit: NODES_MAX, bytes_max: usize::MAX, reverse: false }
}

/// Opens what [`read_leases`] found.
pub(crate) fn open_leases(pairs: &[(Key, Value)]) -> Result<Vec<Lease>, Damage> {
    pairs.iter().map(|(key, value)| Lease::open(key, value)).collect()
}

fn failure_of(error: EngineError) -> Failure {
    match error {
        EngineError::Poisoned(why) => Failure::Poisoned(why),
        _ => Failure::Unavailable,
    }
}
