//! What work costs: CPU time by thread, bytes written, quantiles of times. From /proc, so that nothing is instrumented.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// CPU time of each thread and bytes written, since the process began; and the time.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    at: Instant,
    /// Nanoseconds on a CPU, by name (proc_pid_schedstat(5)).
    threads: BTreeMap<String, u64>,
    /// Bytes sent to the disk (proc_pid_io(5)).
    written: u64,
}

/// What came between two readings.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    threads: BTreeMap<String, u64>,
    written: u64,
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

impl Meter {
    pub(crate) fn read() -> Self {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/task").expect("proc is mounted").flatten() {
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let on_cpu = read("schedstat").split(' ').next().and_then(|time| time.parse::<u64>().ok());
            *threads.entry(read("comm").trim().to_owned()).or_default() += on_cpu.unwrap_or(0);
        }
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        Self { at: Instant::now(), threads, written: field(&io, "write_bytes:") }
    }

    pub(crate) fn spent(&self) -> Spent {
        let now = Self::read();
        let cpu = |(name, after): (String, u64)| {
            let before = self.threads.get(&name).copied().unwrap_or(0);
            (name, after.saturating_sub(before))
        };
        let threads = now.threads.into_iter().map(cpu).collect();
        Spent { time: now.at - self.at, threads, written: now.written - self.written }
    }
}

impl Spent {
    /// Adds another stretch of the same work.
    pub(crate) fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.written += other.written;
        for (name, time) in &other.threads {
            *self.threads.entry(name.clone()).or_default() += time;
        }
    }

    /// CPU microseconds of one of `count` pieces in the threads of that name.
    pub(crate) fn cpu_us(&self, name: &str, count: u64) -> f64 {
        self.threads.get(name).copied().unwrap_or(0) as f64 / 1e3 / count.max(1) as f64
    }

    /// Pieces a second.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64()
    }

    /// Bytes written a piece.
    pub(crate) fn bytes(&self, count: u64) -> f64 {
        self.written as f64 / count.max(1) as f64
    }
}

/// Times, to be asked for their quantiles.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<u32>);

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Median, 99th percentile and largest, in milliseconds, as text.
    pub(crate) fn show(&mut self) -> String {
        self.0.sort_unstable();
        let Some(last) = self.0.len().checked_sub(1) else { return "none".to_owned() };
        let at = |share: f64| f64::from(self.0[(last as f64 * share) as usize]) / 1e3;
        format!("p50 {:.2} p99 {:.2} max {:.2} ms", at(0.5), at(0.99), at(1.0))
    }
}
