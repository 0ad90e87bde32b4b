//! What one `serve` takes of its own limits (getrlimit(2)): descriptors, threads, locked memory. All counts are of the
//! whole process, for a number of shards.

/// Accepts in flight for each listener of a core; each holds a slot.
pub const ACCEPTS: u16 = 16;
/// Entries of a bank's submission queue: of one that is alone in its ring, and of one of several, which share the work.
const SUBMISSIONS: [u32; 2] = [4_096, 1_024];
/// Entries of a bank's completion queue, likewise.
const COMPLETIONS: [u32; 2] = [16_384, 4_096];

/// Most direct descriptors that a bank registers (io_uring_register(2), `IORING_MAX_FIXED_FILES`).
pub const BANK_SLOTS_MAX: u64 = 1 << 20;
/// Most slots of a shard: they have 24 bits in what it asks of router shards.
pub const SHARD_SLOTS_MAX: u64 = 1 << 24;

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
/// A core's eventfd, to which come its banks and listeners.
const DESCRIPTORS_A_CORE: u64 = 1;

/// main, log, store, store-tables, store-compact, api, names and keys; open ends before the store's begin. On FoundationDB
/// the client library's network thread and one of its own stand for the two that write and compact tables.
const THREADS_OWN: u64 = 8;

/// Bytes of an entry of the submission and of the completion queue (io_uring.h), and of what a ring begins with.
const SUBMISSION_BYTES: u64 = 64;
const COMPLETION_BYTES: u64 = 16;
const RING_HEAD_BYTES: u64 = 4_096;
/// The small rings that the start tries out.
const PROBE_BYTES: u64 = 16_384;

/// The least RLIMIT_NOFILE that `serve` starts with when each shard's ring has so many banks.
#[must_use]
pub const fn descriptors_least(shards: u64, banks: u64, listeners: u64) -> u64 {
    // Several banks share a bell, an eventfd.
    let bell = if banks > 1 { 1 } else { 0 };
    DESCRIPTORS_LEAST + shards * (DESCRIPTORS_A_CORE + banks + bell + listeners)
}

/// The RLIMIT_NOFILE past which neither a large store nor a busy API runs out.
#[must_use]
pub const fn descriptors_ease(shards: u64, banks: u64, listeners: u64) -> u64 {
    descriptors_least(shards, banks, listeners) + DESCRIPTORS_EASE
}

/// Slots of each shard's ring for `core.connections_max` connections in all; with 0, as many as one bank has.
#[must_use]
pub fn ring_slots(connections_max: u64, descriptors: u64, shards: u64, listeners: u64) -> u64 {
    match connections_max {
        0 => descriptors.clamp(1, BANK_SLOTS_MAX),
        connections => slots(connections, shards, listeners).min(SHARD_SLOTS_MAX),
    }
}

/// Banks of a ring with so many slots: as few as hold them with a limit of so many descriptors.
#[must_use]
pub fn banks(slots: u64, descriptors: u64) -> u64 {
    slots.div_ceil(descriptors.clamp(1, BANK_SLOTS_MAX)).max(1)
}

/// Entries of the submission queue of each of so many banks.
#[must_use]
pub fn submissions(banks: u64) -> u32 {
    SUBMISSIONS[usize::from(banks > 1)]
}

/// Entries of the completion queue of each of so many banks.
#[must_use]
pub fn completions(banks: u64) -> u32 {
    COMPLETIONS[usize::from(banks > 1)]
}

/// Slots of each shard's ring for so many connections in all: an RLIMIT_NOFILE of as much makes them one bank.
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

/// Connections that rings of so many slots hold in all.
#[must_use]
pub const fn capacity(slots: u64, shards: u64, listeners: u64) -> u64 {
    slots.saturating_sub(slots_of_accepts(listeners)).saturating_mul(shards)
}

/// Threads of the process.
#[must_use]
pub const fn threads(shards: u64) -> u64 {
    shards + THREADS_OWN
}

/// Bytes that rings lock, for a user without CAP_IPC_LOCK (io_uring_setup(2)). Measured on Linux 6.18: 534 KiB were
/// enough for one shard and 2,075 KiB for four; kernels from 5.12 to 6.13 lock nothing.
#[must_use]
pub fn locked_bytes(shards: u64, banks: u64) -> u64 {
    let (submissions, completions) = (u64::from(submissions(banks)), u64::from(completions(banks)));
    let queues = submissions * SUBMISSION_BYTES + completions * COMPLETION_BYTES;
    shards * banks * (queues + RING_HEAD_BYTES) + PROBE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_are_as_few_as_hold_every_connection() {
        for connections in [1, 3, 1_000, 19_984, 20_000, 1_000_000, 2_000_000, 10_000_000] {
            for descriptors in [100, 1_024, 20_000, 1_048_576, u64::MAX] {
                let slots = ring_slots(connections, descriptors, 2, 1);
                let found = banks(slots, descriptors);
                let table = descriptors.min(BANK_SLOTS_MAX);
                assert!(capacity(slots, 2, 1) >= connections, "{connections} {descriptors}");
                assert!(found * table >= slots && (found - 1) * table < slots, "{connections} {descriptors}");
            }
        }
    }

    #[test]
    fn a_million_connections_on_2_shards_with_20_000_descriptors_need_29_banks_each() {
        assert_eq!(banks(ring_slots(1_000_000, 20_000, 2, 1), 20_000), 29);
        assert!(descriptors_ease(2, 29, 1) < 20_000);
        assert_eq!(banks(ring_slots(1_000_000, 1_048_576, 2, 1), 1_048_576), 1);
    }

    #[test]
    fn without_a_number_a_ring_is_one_bank() {
        assert_eq!((ring_slots(0, 20_000, 4, 1), banks(20_000, 20_000)), (20_000, 1));
        assert_eq!(banks(ring_slots(0, u64::MAX, 4, 1), u64::MAX), 1);
        assert_eq!(capacity(ring_slots(0, 16, 4, 1), 4, 1), 0);
        assert_eq!(capacity(20_000, 2, 1), 2 * 19_984);
    }

    #[test]
    fn a_shard_has_no_more_slots_than_it_can_name() {
        assert_eq!(ring_slots(100_000_000, 1 << 20, 1, 1), SHARD_SLOTS_MAX);
    }
}
