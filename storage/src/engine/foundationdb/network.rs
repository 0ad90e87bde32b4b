//! The client library's network thread: one a process, started before the first database, stopped before the process
//! ends. It is the second address of `unsafe` in this tree, for two calls.
//!
//! The library's own end of the process (its destructors) crashes when that thread still runs. So the thread is stopped
//! by a handler of exit(3): whatever way `main` or a test returns by, it is stopped first. An abort runs no handlers,
//! and needs none.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

/// The running thread; `None` once it was stopped.
static NETWORK: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);
/// How its start ended: it can be started once.
static STARTED: OnceLock<Result<(), FdbError>> = OnceLock::new();

fn network() -> MutexGuard<'static, Option<NetworkAutoStop>> {
    NETWORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the network thread, if it was not.
///
/// # Errors
/// When the installed library does not know the version of the interface that this build was made for (2203
/// `api_version_not_supported`), or has no network to set up.
pub(super) fn start() -> Result<(), FdbError> {
    *STARTED.get_or_init(|| {
        let builder = FdbApiBuilder::default().build()?;
        // SAFETY: `boot` asks that its guard is dropped before the process ends. `stop` drops it, in a handler of
        // exit(3); it runs before the library's own destructors, since those were registered when the library was
        // loaded and handlers run in reverse order. The guard is in `NETWORK` before the handler is registered.
        #[expect(unsafe_code, reason = "the crate's only way to start its network")]
        let running = unsafe { builder.boot() }?;
        *network() = Some(running);
        // SAFETY: `stop` is a function for the life of the program, and does not unwind: what it calls aborts where it
        // would have to.
        #[expect(unsafe_code, reason = "exit(3) has no safe registration")]
        let registered = unsafe { libc::atexit(stop) };
        assert!(registered == 0, "atexit(3) takes 32 handlers at least, and this is the only one");
        Ok(())
    })
}

extern "C" fn stop() {
    drop(network().take());
}
