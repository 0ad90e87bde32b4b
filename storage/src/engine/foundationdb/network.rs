//! The client library's network thread: one a process, started before the first database, running as long as the process.
//! It is the second address of `unsafe` in this tree, for three calls.
//!
//! The library's end is its weak spot. Its destructors, which exit(3) runs, crash while that thread runs; and stopping
//! the thread crashed one process in three that had asked a cluster that was away (libfdb_c 8.0, `fdb_stop_network`). So
//! neither is done: a handler of exit(3) ends the process with _exit(2) and the same status, before the destructors that
//! the library registered when it was loaded. (Those of what it makes later come first; none was seen to crash.) Nothing is lost by that: what was committed is in the cluster, and Rust
//! has flushed its output before exit(3) is called. An abort runs no handlers, and needs none.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use foundationdb::FdbError;
use foundationdb::api::FdbApiBuilder;

/// How its start ended: it can be started once.
static STARTED: OnceLock<Result<(), FdbError>> = OnceLock::new();

#[expect(unsafe_code, reason = "libc does not declare it")]
unsafe extern "C" {
    /// on_exit(3): a handler that is told the status. glibc's, as is the client library.
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Starts the network thread, if it was not.
///
/// # Errors
/// When the installed library does not know the version of the interface that this build was made for (2203
/// `api_version_not_supported`), or has no network to set up.
pub(super) fn start() -> Result<(), FdbError> {
    *STARTED.get_or_init(|| {
        let builder = FdbApiBuilder::default().build()?;
        // SAFETY: `boot` asks that the thread is stopped before the library's destructors run. They never run:
        // `leave` is registered below, before anybody has a database, and ends the process before them.
        #[expect(unsafe_code, reason = "the crate's only way to start its network")]
        let running = unsafe { builder.boot() }?;
        std::mem::forget(running);
        // SAFETY: `leave` is a function for the life of the program, does not unwind, and ignores its argument.
        #[expect(unsafe_code, reason = "exit(3) has no safe registration")]
        let registered = unsafe { on_exit(leave, ptr::null_mut()) };
        assert!(registered == 0, "exit(3) takes 32 handlers at least, and this is the only one");
        Ok(())
    })
}

extern "C" fn leave(status: c_int, _: *mut c_void) {
    // SAFETY: _exit(2) may be called at any time by any thread.
    #[expect(unsafe_code, reason = "libc declares it unsafe")]
    unsafe {
        libc::_exit(status)
    }
}
