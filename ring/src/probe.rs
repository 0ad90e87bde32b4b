//! What this host offers to rings: read, never changed, never printed.

use std::fs;

use io_uring::IoUring;

use crate::limit::Limit;
use crate::setup::SetupError;

/// The host, as a ring sees it.
#[derive(Debug)]
pub struct Probe {
    /// The kernel's release, in its own words.
    pub kernel: String,
    /// Its major and minor version, when the words could be read.
    pub kernel_version: Option<(u32, u32)>,
    /// `kernel.io_uring_disabled`: 0 on, 1 for one group only, 2 off; `None` where there is no such setting.
    pub io_uring_disabled: Option<u8>,
    /// Whether a ring with all that is needed can be made, or why not.
    pub ring: Result<Features, SetupError>,
    /// RLIMIT_NOFILE.
    pub descriptors: Limit,
    /// RLIMIT_MEMLOCK in bytes.
    pub locked_memory_bytes: Limit,
    /// `net.ipv4.ip_local_port_range`: ports to listen on lie outside.
    pub local_ports: Option<(u16, u16)>,
    /// `net.ipv4.ip_unprivileged_port_start`: ports below need a right.
    pub unprivileged_port_start: Option<u64>,
}

/// What is good to have: nothing fails without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The ring works without the indirection array (6.6).
    pub no_submission_array: bool,
    /// A sleeping ring does not count as waiting for disks (6.15).
    pub no_iowait: bool,
}

/// Looks at the host. Makes one small ring and drops it.
#[must_use]
pub fn probe() -> Probe {
    let kernel = kernel_release();
    Probe {
        kernel_version: version(&kernel),
        kernel,
        io_uring_disabled: io_uring_disabled(),
        ring: features(),
        descriptors: Limit::descriptors(),
        locked_memory_bytes: Limit::locked_memory(),
        local_ports: local_ports(),
        unprivileged_port_start: number("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
    }
}

/// The kernel's release, as `uname -r` says it.
#[must_use]
pub fn kernel_release() -> String {
    text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned())
}

pub(crate) fn io_uring_disabled() -> Option<u8> {
    text("/proc/sys/kernel/io_uring_disabled")?.parse().ok()
}

fn features() -> Result<Features, SetupError> {
    let ring: IoUring = crate::ring::build(4, 8).map_err(SetupError::from_ring)?;
    Ok(Features {
        no_submission_array: crate::ring::builds_without_array(),
        no_iowait: ring.params().is_feature_no_iowait(),
    })
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|sign: char| !sign.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn local_ports() -> Option<(u16, u16)> {
    let text = text("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_of_every_sort_have_a_version() {
        assert_eq!(version("6.18.44-fc-v769"), Some((6, 18)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("6.9-rc3"), Some((6, 9)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn this_host_can_run_a_ring() {
        let probe = super::probe();
        assert!(probe.ring.is_ok(), "{:?}", probe.ring);
        assert!(probe.descriptors.soft > 0);
    }
}
