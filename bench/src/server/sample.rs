//! Everything that is read of a server, of the load generator and of the kernel at one moment, and the difference
//! between two such moments.

use std::time::{Duration, Instant};

use super::{Kernel, KernelGrowth, Metrics, ServerError, Usage};

/// One moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The server; `None` when its process is not known.
    pub server: Option<Usage>,
    /// This process.
    pub generator: Usage,
    /// The host's kernel.
    pub kernel: Kernel,
    /// What the server said of itself, up to a second old.
    pub metrics: Metrics,
}

/// What was used between two moments.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Time on the wall.
    pub elapsed: Duration,
    /// CPU time of the server; `None` when its process is not known.
    pub server_cpu: Option<Duration>,
    /// CPU time of this process.
    pub generator_cpu: Duration,
    /// Resident memory of the server in bytes that no file is behind; `None` when its process is not known.
    pub server_bytes: Option<i64>,
    /// The same of this process.
    pub generator_bytes: i64,
    /// The host's kernel.
    pub kernel: KernelGrowth,
    /// What the server's counters grew by.
    pub metrics: Metrics,
}

impl Sample {
    /// This process and the kernel now, where no server is.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn without_server() -> Result<Self, ServerError> {
        Ok(Self {
            at: Instant::now(),
            server: None,
            generator: Usage::of_this()?,
            kernel: Kernel::read()?,
            metrics: Metrics::default(),
        })
    }

    /// What was used since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Growth {
        let server = self.server.zip(before.server);
        Growth {
            elapsed: self.at.saturating_duration_since(before.at),
            server_cpu: server.map(|(now, then)| now.cpu.saturating_sub(then.cpu)),
            generator_cpu: self.generator.cpu.saturating_sub(before.generator.cpu),
            server_bytes: server.map(|(now, then)| grown(now, then)),
            generator_bytes: grown(self.generator, before.generator),
            kernel: self.kernel.since(&before.kernel),
            metrics: self.metrics.since(&before.metrics),
        }
    }
}

impl Growth {
    /// CPU time of the server for each of `count` things, in microseconds; `None` when its process is not known or
    /// there was nothing.
    #[must_use]
    pub fn server_cpu_us_each(&self, count: f64) -> Option<f64> {
        self.server_cpu.filter(|_| count > 0.0).map(|cpu| cpu.as_secs_f64() * 1e6 / count)
    }

    /// How often a second.
    #[must_use]
    pub fn per_second(&self, count: f64) -> f64 {
        count / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn grown(now: Usage, then: Usage) -> i64 {
    now.anonymous_bytes.cast_signed().wrapping_sub(then.anonymous_bytes.cast_signed())
}
