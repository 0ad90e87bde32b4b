//! Drives one transaction over an engine from its beginning to its end, in the caller's thread.
//!
//! For tools, tests and the simulator; `driver.rs` is the store thread. Nothing is durable before the engine's next sync.

use protocol::placement::{SLOTS, Slot};

use crate::engine::Engine;
use crate::request::{Epoch, Failure, Outcome, Request};
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

/// Makes the caller the owner of all slots, durably: every owner before it is fenced.
///
/// # Errors
/// When the store can't be read or written.
pub fn claim(engine: &mut Engine) -> Result<Epoch, Failure> {
    let slots = (0..SLOTS).map(Slot).collect();
    match run(engine, Request::Claim { slots }) {
        Outcome::Claimed(epoch) => match engine.sync() {
            Ok(()) => Ok(epoch),
            Err(crate::kv::EngineError::Poisoned(why)) => Err(Failure::Poisoned(why)),
            Err(_) => Err(Failure::Unavailable),
        },
        Outcome::Failed(failure) => Err(failure),
        other => unreachable!("a claim is answered with its epoch, not with {other:?}"),
    }
}
