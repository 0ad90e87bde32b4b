//! What one `serve` takes of its own limits (getrlimit(2)): descriptors, threads, locked memory. All counts are of the
//! whole process, for a number of shards.

/// Accepts in flight for each listener of a core; each holds a slot.
pub const ACCEPTS: u16 = 16;
/// Entries of a core's submission queue.
pub const SUBMISSIONS: u32 = 4_096;
/// Entries of a core's completion queue.
pub const COMPLETIONS: u32 = 16_384;

/// Most direct descriptors that a ring registers (io_uring_register(2), `IORING_MAX_FIXED_FILES`).
pub const SLOTS_MAX: u64 = 1 << 20;

/// Connections under which a node is a trial and no service.
pub const CONNECTIONS_USEFUL: u64 = 1_000;

/// Slots that a core has beside its share of the connections, since the kernel spreads them by hash: an eighth, and
/// for small shares so many.
const SPREAD_MIN: u64 = 64;

/// Files that no shard of ours is the reason for: three standard streams, signals, the API's listener and runtime, the
/// store's lock, log, next log and mark, and a dozen for requests to the API and tables of a small store.
const DESCRIPTORS_LEAST: u64 = 32;
/// The same for a large store, which keeps up to 256 tables open, and a busy API.
const DESCRIPTORS_EASE: u64 = 480;
/// A core's ring and eventfd.
const DESCRIPTORS_A_CORE: u64 = 2;

/// main, log, store, store-tables, store-compact, api, open and keys, of which the last two come and go.
const THREADS_OWN: u64 = 8;

/// Bytes of an entry of the submission and of the completion queue (io_uring.h), and of what a ring begins with.
const SUBMISSION_BYTES: u64 = 64;
const COMPLETION_BYTES: u64 = 16;
const RING_HEAD_BYTES: u64 = 4_096;
/// The small rings that the start tries out.
const PROBE_BYTES: u64 = 16_384;

/// The least RLIMIT_NOFILE that `serve` starts with.
#[must_use]
pub const fn descriptors_least(shards: u64, listeners: u64) -> u64 {
    DESCRIPTORS_LEAST + shards * (DESCRIPTORS_A_CORE + listeners)
}

/// The RLIMIT_NOFILE past which neither a large store nor a busy API runs out.
#[must_use]
pub const fn descriptors_ease(shards: u64, listeners: u64) -> u64 {
    descriptors_least(shards, listeners) + DESCRIPTORS_EASE
}

/// Slots of each shard's ring, and so the RLIMIT_NOFILE, for so many connections in all.
#[must_use]
pub fn slots(connections: u64, shards: u64, listeners: u64) -> u64 {
    let share = connections.div_ceil(shards);
    let spread = share + (share / 8).max(SPREAD_MIN);
    spread.min(connections) + slots_of_accepts(listeners)
}

/// Slots of each ring that hold no connection: each accept in flight has one.
#[must_use]
pub const fn slots_of_accepts(listeners: u64) -> u64 {
    ACCEPTS as u64 * listeners
}

/// Connections that fit in all with a limit of so many descriptors.
#[must_use]
pub fn capacity(descriptors: u64, shards: u64, listeners: u64) -> u64 {
    descriptors.min(SLOTS_MAX).saturating_sub(slots_of_accepts(listeners)).saturating_mul(shards)
}

/// The fewest shards that hold so many connections with a limit of so many descriptors; `None` when none do.
#[must_use]
pub fn shards(connections: u64, descriptors: u64, listeners: u64) -> Option<u64> {
    let free =
        descriptors.min(SLOTS_MAX).checked_sub(slots_of_accepts(listeners)).filter(|free| *free > 0)?;
    let fit = |shards: &u64| slots(connections, *shards, listeners) <= free + slots_of_accepts(listeners);
    // An eighth of a share is lost to the spread, so the answer is near; small shares lose more.
    let near = connections.div_ceil(free).max(1);
    (near..=near * 2 + 1).find(fit).or(Some(near))
}

/// Threads of the process.
#[must_use]
pub const fn threads(shards: u64) -> u64 {
    shards + THREADS_OWN
}

/// Bytes that rings lock, for a user without CAP_IPC_LOCK (io_uring_setup(2)). Measured on Linux 6.18: 534 KiB were
/// enough for one shard and 2,075 KiB for four; kernels from 5.12 to 6.13 lock nothing.
#[must_use]
pub const fn locked_bytes(shards: u64) -> u64 {
    let queues = SUBMISSIONS as u64 * SUBMISSION_BYTES + COMPLETIONS as u64 * COMPLETION_BYTES;
    shards * (queues + RING_HEAD_BYTES) + PROBE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_slots_are_each_others_inverse() {
        for connections in [1, 3, 1_000, 19_984, 20_000, 1_000_000, 2_000_000, 10_000_000] {
            for descriptors in [100, 1_024, 20_000, 1_048_576] {
                let found = shards(connections, descriptors, 1).unwrap();
                let fits = |shards: u64| slots(connections, shards, 1) <= descriptors;
                let spread_is_lost = descriptors < SPREAD_MIN * 2;
                assert!(fits(found) || spread_is_lost, "{connections} {descriptors} {found}");
                assert!(found == 1 || !fits(found - 1), "{connections} {descriptors} {found}");
            }
        }
    }

    #[test]
    fn a_million_connections_with_20_000_descriptors_need_57_shards() {
        assert_eq!(shards(1_000_000, 20_000, 1), Some(57));
        assert_eq!(capacity(20_000, 57, 1), 1_139_088);
        assert_eq!(shards(1, 16, 1), None);
        assert_eq!(capacity(16, 4, 1), 0);
    }
}
