//! What one process has used and holds, as the kernel counts it (proc(5)). Any process of the same user, this one too.

use core::ops::AddAssign;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ServerError;

/// CPU time and memory of a process at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all threads that are and were, in the kernel and outside; exact to 10 ms, and to the scheduler's tick
    /// as long as no thread has ended. What the kernel does for a socket of loopback in the context of the sender counts
    /// as the sender's.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Resident memory in bytes, what is shared counted in parts (Pss).
    pub proportional_bytes: u64,
    /// Resident memory in bytes that no file is behind: heap and stacks.
    pub anonymous_bytes: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// It is no more, or another user's.
    pub fn of(pid: u32) -> Result<Self, ServerError> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let (cpu, threads) = stat(&directory)?;
        let path = directory.join("smaps_rollup");
        let memory = read(&path)?;
        let bytes =
            |name| field_kib(&memory, name).ok_or(ServerError::Unexpected { path: path.clone(), what: name });
        Ok(Self {
            cpu,
            threads,
            resident_bytes: bytes("Rss")? * 1_024,
            proportional_bytes: bytes("Pss")? * 1_024,
            anonymous_bytes: bytes("Anonymous")? * 1_024,
        })
    }

    /// Of this process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_this() -> Result<Self, ServerError> {
        Self::of(std::process::id())
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.threads += other.threads;
        self.resident_bytes += other.resident_bytes;
        self.proportional_bytes += other.proportional_bytes;
        self.anonymous_bytes += other.anonymous_bytes;
    }
}

/// CPU time of a process: cheaper than the whole [`Usage`], whose memory costs a walk over its pages.
///
/// # Errors
/// It is no more.
pub fn cpu_of(pid: u32) -> Result<Duration, ServerError> {
    Ok(stat(&PathBuf::from(format!("/proc/{pid}")))?.0)
}

/// CPU time and threads. The ticks count threads that have ended, too; the scheduler's nanoseconds only those that are.
fn stat(directory: &Path) -> Result<(Duration, u64), ServerError> {
    let path = directory.join("stat");
    let text = read(&path)?;
    let (ticks, threads) = times(&text, rustix::param::clock_ticks_per_second())
        .ok_or(ServerError::Unexpected { path, what: "utime, stime and num_threads" })?;
    Ok((ticks.max(scheduled(directory).unwrap_or_default()), threads))
}

/// CPU time of the threads that are; `None` where the kernel does not tell it or they come and go.
fn scheduled(directory: &Path) -> Option<Duration> {
    let mut ns = 0;
    for thread in fs::read_dir(directory.join("task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        ns += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(ns))
}

/// Fields 14, 15 and 20, counted behind the name, which may have spaces and brackets itself.
fn times(text: &str, ticks_per_second: u64) -> Option<(Duration, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some((Duration::from_nanos(ticks * 1_000_000_000 / ticks_per_second), field(20)?))
}

/// The number behind `name:` in a file of lines in KiB.
pub(super) fn field_kib(text: &str, name: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| *key == name).find_map(|(_, value)| value.split_whitespace().next()?.parse().ok())
}

pub(super) fn read(path: &Path) -> Result<String, ServerError> {
    fs::read_to_string(path).map_err(ServerError::of_file(path))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_move_its_fields() {
        let text = "7 (a ) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(times(text, 100), Some((Duration::from_secs(3), 9)));
        assert_eq!(times("7 (short) S 1", 100), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "head [rollup]\nRss:   12 kB\nPss_Anon: 3 kB\nPss: 5 kB\n";
        assert_eq!(field_kib(text, "Pss"), Some(5));
        assert_eq!(field_kib(text, "Swap"), None);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(40) {
            std::hint::spin_loop();
        }
        let usage = Usage::of_this().unwrap();
        assert!(usage.cpu >= Duration::from_millis(10) && usage.threads >= 1, "{usage:?}");
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0, "{usage:?}");
    }

    #[test]
    fn a_process_that_is_no_more_is_an_error() {
        assert!(matches!(Usage::of(u32::MAX), Err(ServerError::File { .. })));
    }
}
