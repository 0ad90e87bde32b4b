//! Promise: signals arrive as values, each once, and no pipe or file limit kills the process.

use std::time::Duration;

use ring::signal::{Signal, Signals};

/// One test: signals belong to the process, and tests share it.
#[test]
fn signals_wait_until_they_are_asked_for() {
    let signals = Signals::install().unwrap();
    assert_eq!(signals.wait(Duration::ZERO).unwrap(), None);
    for (number, signal) in [
        (libc::SIGTERM, Signal::Terminate),
        (libc::SIGINT, Signal::Interrupt),
        (libc::SIGHUP, Signal::Hangup),
        (libc::SIGTERM, Signal::Terminate),
    ] {
        raise(number);
        assert_eq!(signals.wait(Duration::from_secs(10)).unwrap(), Some(signal));
        assert_eq!(signals.wait(Duration::ZERO).unwrap(), None);
    }
    raise(libc::SIGPIPE);
    raise(libc::SIGXFSZ);
}

/// Sends a signal to this thread.
fn raise(signal: i32) {
    // SAFETY: raise(3) takes a number; the signals here are blocked or ignored, so nothing of ours is interrupted.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}
