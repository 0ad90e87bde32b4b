//! The signals a server minds, as values read by its main thread (signalfd(2)). Handlers run nowhere: what arrives
//! waits until it is asked for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

/// A signal that was sent to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop in order.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read keys and files again.
    Hangup,
}

/// The signals' source.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Blocks the three signals in this thread, so that they wait in the source, and ignores SIGPIPE and SIGXFSZ, so
    /// that a closed pipe or a full file is an error code. Call it on the main thread before any other is started:
    /// threads inherit the mask.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn install() -> io::Result<Self> {
        ignore(libc::SIGPIPE)?;
        ignore(libc::SIGXFSZ)?;
        let set = minded();
        // SAFETY: `set` is an initialised signal set, read during the call; no old set is asked for.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: as above; -1 asks for a new descriptor.
        let descriptor =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the check above says that `descriptor` is open, and nobody else has it.
        Ok(Self { descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Waits at most `timeout` for a signal; `None` when none came.
    ///
    /// # Errors
    /// The kernel's, of poll(2) or read(2): none is expected.
    pub fn wait(&self, timeout: Duration) -> io::Result<Option<Signal>> {
        let mut poll = libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one whole `pollfd`, read and written during the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
        match ready {
            0 => Ok(None),
            1.. => self.take(),
            _ => nothing(io::Error::last_os_error()),
        }
    }

    fn take(&self) -> io::Result<Option<Signal>> {
        // SAFETY: a `signalfd_siginfo` is integers only, for which all zeroes is a value.
        let mut information: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let length = size_of_val(&information);
        // SAFETY: the kernel writes at most `length` bytes to `information`, during the call only.
        let read = unsafe { libc::read(self.descriptor.as_raw_fd(), (&raw mut information).cast(), length) };
        if usize::try_from(read) != Ok(length) {
            return nothing(io::Error::last_os_error());
        }
        Ok(match i32::try_from(information.ssi_signo) {
            Ok(libc::SIGTERM) => Some(Signal::Terminate),
            Ok(libc::SIGINT) => Some(Signal::Interrupt),
            Ok(libc::SIGHUP) => Some(Signal::Hangup),
            _ => None,
        })
    }
}

/// Lets the kernel send SIGTERM to the process that `command` starts when the *thread* that starts it ends, in whatever
/// way: a killed parent leaves no child behind (prctl(2), PR_SET_PDEATHSIG). The process starts with no signal blocked,
/// whatever [`Signals::install`] has blocked here.
pub fn terminate_with_parent(command: &mut Command) -> &mut Command {
    let nothing = none();
    let ask = move || {
        // SAFETY: `nothing` is an initialised signal set, read during the call; no old set is asked for.
        let result =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const nothing, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: prctl(2) with this option takes a number and touches no memory of ours.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec `ask` makes two system calls, and allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) }
}

/// Interrupted or taken by another reader: no signal. Anything else is an error.
fn nothing(error: io::Error) -> io::Result<Option<Signal>> {
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(None),
        _ => Err(error),
    }
}

fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN installs no code of ours.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn minded() -> libc::sigset_t {
    let mut set = none();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: `set` is an initialised signal set, and the signals are Linux's.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// No signal.
fn none() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) initialises the whole set; then it may be taken as a value.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::{Signals, terminate_with_parent};

    #[test]
    fn what_is_blocked_here_ends_a_child_all_the_same() {
        let _signals = Signals::install().unwrap();
        let mut child = terminate_with_parent(Command::new("sleep").arg("60")).spawn().unwrap();
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }
}
