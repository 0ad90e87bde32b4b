//! The resource limits of this process (getrlimit(2)) that bound rings. Decides nothing by them.

use std::io;

/// One limit, in its own unit; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// How far this process may raise it.
    pub hard: u64,
}

impl Limit {
    /// RLIMIT_NOFILE: open descriptors of the process, and direct descriptors *of each ring*.
    #[must_use]
    pub fn descriptors() -> Self {
        read(libc::RLIMIT_NOFILE)
    }

    /// RLIMIT_MEMLOCK in bytes: what rings may take for a user without CAP_IPC_LOCK.
    #[must_use]
    pub fn locked_memory() -> Self {
        read(libc::RLIMIT_MEMLOCK)
    }

    /// Raises RLIMIT_NOFILE as far as this process may, and returns what holds then.
    ///
    /// # Errors
    /// The kernel refuses (setrlimit(2)); the limit is as it was.
    pub fn raise_descriptors() -> io::Result<Self> {
        let hard = Self::descriptors().hard;
        let wanted = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: `wanted` is a whole rlimit, read during the call only.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) };
        if result == 0 { Ok(Self::descriptors()) } else { Err(io::Error::last_os_error()) }
    }
}

fn read(resource: libc::__rlimit_resource_t) -> Limit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit, written during the call only.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    assert!(result == 0, "getrlimit knows the resources named here");
    Limit { soft: limit.rlim_cur, hard: limit.rlim_max }
}
