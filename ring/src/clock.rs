//! The two clocks, as numbers. Read once a turn (28 ns each); the shards get them as arguments.

/// Milliseconds since 1970-01-01 UTC (CLOCK_REALTIME). May step.
#[must_use]
pub fn realtime_ms() -> u64 {
    let time = read(libc::CLOCK_REALTIME);
    time.0 * 1_000 + time.1 / 1_000_000
}

/// Nanoseconds since some moment before the process (CLOCK_MONOTONIC). Never goes back.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let time = read(libc::CLOCK_MONOTONIC);
    time.0 * 1_000_000_000 + time.1
}

/// Milliseconds of the same clock as [`monotonic_ns`].
#[must_use]
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// Seconds and nanoseconds.
fn read(clock: libc::clockid_t) -> (u64, u64) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a whole timespec, written during the call only.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert!(result == 0, "every Linux has the two clocks");
    (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0))
}
