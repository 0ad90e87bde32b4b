//! What can be wrong with a host before the first turn, each with the setting's name and the command that mends it.
//! Not for faults of a running ring: those are `io::Error`s.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The oldest kernel that has all that the ring uses: multishot poll, direct accept, registered ring descriptors,
/// deferred task work.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Why a ring, a listener or a waker could not be made. Its `Display` is one message for the operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The kernel has no io_uring, or one without what the ring needs.
    KernelTooOld {
        /// The kernel's own words (uname(2)).
        release: String,
    },
    /// The kernel's rings can't dial: older than Linux 6.11.
    DialUnknown {
        /// The kernel's own words (uname(2)).
        release: String,
    },
    /// `kernel.io_uring_disabled` forbids io_uring to this process.
    DisabledBySysctl {
        /// 1: all but the group `kernel.io_uring_group`; 2: everyone.
        value: u8,
    },
    /// Something else forbids it: a seccomp filter (containers) or a security module.
    Forbidden,
    /// The process or the host has no descriptor left.
    DescriptorsExhausted {
        /// What could not be opened.
        what: &'static str,
    },
    /// The kernel would not lock or find the memory.
    MemoryLimit {
        /// What the memory was for.
        what: &'static str,
        /// RLIMIT_MEMLOCK in bytes (soft), which bounds it for a user without CAP_IPC_LOCK.
        limit: u64,
    },
    /// Another process listens there.
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// This host has no such address.
    AddressNotAvailable {
        /// The address.
        address: SocketAddr,
    },
    /// A port below `net.ipv4.ip_unprivileged_port_start`, and no right to it.
    AddressForbidden {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else the kernel refused.
    System {
        /// What was being set up.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl SetupError {
    /// An error of one of the system calls that make `what`.
    pub(crate) fn from_system(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::DescriptorsExhausted { what },
            Some(libc::ENOMEM) => {
                Self::MemoryLimit { what, limit: crate::limit::Limit::locked_memory().soft }
            }
            _ => Self::System { what, source },
        }
    }

    /// An error of io_uring_setup(2).
    pub(crate) fn from_ring(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL) => {
                Self::KernelTooOld { release: crate::probe::kernel_release() }
            }
            Some(libc::EPERM | libc::EACCES) => match crate::probe::io_uring_disabled() {
                Some(value @ 1..) => Self::DisabledBySysctl { value },
                _ => Self::Forbidden,
            },
            _ => Self::from_system("an io_uring", source),
        }
    }

    /// An error of bind(2) or listen(2).
    pub(crate) fn from_address(address: SocketAddr, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => Self::AddressInUse { address },
            Some(libc::EADDRNOTAVAIL) => Self::AddressNotAvailable { address },
            Some(libc::EACCES | libc::EPERM) => Self::AddressForbidden { address },
            _ => Self::from_system("a listening socket", source),
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelTooOld { release } => write!(
                out,
                "this kernel ({release}) lacks the io_uring features needed: run Linux {}.{} or newer",
                KERNEL_MIN.0, KERNEL_MIN.1
            ),
            Self::DialUnknown { release } => write!(
                out,
                "this kernel ({release}) can't make outgoing connections through io_uring: run Linux 6.11 or newer"
            ),
            Self::DisabledBySysctl { value } => write!(
                out,
                "io_uring is switched off by kernel.io_uring_disabled = {value}: \
                 allow it with `sysctl -w kernel.io_uring_disabled=0`"
            ),
            Self::Forbidden => write!(
                out,
                "io_uring is forbidden to this process, most likely by a container's seccomp filter: allow \
                 io_uring_setup, io_uring_enter and io_uring_register there \
                 (for a trial: `docker run --security-opt seccomp=unconfined`)"
            ),
            Self::DescriptorsExhausted { what } => write!(
                out,
                "no file descriptor is left for {what}: raise RLIMIT_NOFILE with `ulimit -n 65536` \
                 (systemd: `LimitNOFILE=65536`), or fs.file-max with `sysctl -w fs.file-max=2000000`"
            ),
            Self::MemoryLimit { what, limit } => write!(
                out,
                "the kernel has no memory for {what}: if the host has enough, RLIMIT_MEMLOCK ({limit} bytes) is too \
                 low; raise it with `ulimit -l unlimited` (systemd: `LimitMEMLOCK=infinity`)"
            ),
            Self::AddressInUse { address } => write!(
                out,
                "{address} is in use by another process: `ss -ltnp 'sport = :{}'` names it; stop it or listen \
                 elsewhere",
                address.port()
            ),
            Self::AddressNotAvailable { address } => {
                write!(out, "this host has no address {}: `ip address` lists those it has", address.ip())
            }
            Self::AddressForbidden { address } => write!(
                out,
                "no right to listen on port {}: use a higher port, or give the right with \
                 `sysctl -w net.ipv4.ip_unprivileged_port_start={}`",
                address.port(),
                address.port()
            ),
            Self::System { what, source } => write!(out, "cannot make {what}: {source}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
