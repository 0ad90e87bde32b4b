//! The memory that connections take, in the kernel and in the process.

/// Kernel memory of an idle accepted socket in a ring, in bytes: tcp_sock 2,521, inode 862, file 195, dentry 195, security
/// 56, as 9,000 pairs took them from their slabs (/proc/slabinfo on Linux 6.18), and a poll of 243.
pub const KERNEL_SOCKET_BYTES: u64 = 4_072;
/// The bound of the process's own memory for an idle session in one conversation, in bytes.
pub const SESSION_BYTES: u64 = 400;
/// Kernel memory of a socket with any bytes under way, in bytes: a page (`net.ipv4.tcp_mem` counts those).
pub const BUSY_SOCKET_BYTES: u64 = 4_096;
/// Most kernel memory of a reader that does not read, in bytes, with `listen.unsent_bytes` as by default: 54 KiB were
/// measured on Linux 6.18, and 4.2 MB without it.
pub const STALLED_SOCKET_BYTES: u64 = 65_536;

/// Memory of so many idle connections, in bytes.
#[must_use]
pub const fn idle_bytes(connections: u64) -> u64 {
    connections * (KERNEL_SOCKET_BYTES + SESSION_BYTES)
}

/// Connections that so many bytes of memory hold when all get a message at once, with a quarter of it left for the
/// store, the page cache and the rest.
#[must_use]
pub const fn connections(memory_bytes: u64) -> u64 {
    memory_bytes / 4 * 3 / (KERNEL_SOCKET_BYTES + SESSION_BYTES + BUSY_SOCKET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_in_memory_takes_no_more_than_it() {
        for memory_bytes in [1 << 30, 24 << 30, 1 << 40] {
            let connections = connections(memory_bytes);
            assert!(idle_bytes(connections) + connections * BUSY_SOCKET_BYTES <= memory_bytes);
        }
    }
}
