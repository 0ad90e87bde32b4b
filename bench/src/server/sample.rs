//! Everything that is read of a server, of the load generator and of the kernel at one moment, and the difference
//! between two such moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Kernel, KernelGrowth, Metrics, Role, ServerError, Usage};

/// One moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The server, all of its processes together; `None` when none is known.
    pub server: Option<Usage>,
    /// The same by role, where nodes have one.
    pub roles: BTreeMap<Role, NodesSample>,
    /// This process.
    pub generator: Usage,
    /// The host's kernel.
    pub kernel: Kernel,
    /// What the server said of itself, up to a second old: the sums of all nodes.
    pub metrics: Metrics,
}

/// All nodes of a role at a moment.
#[derive(Clone, Debug, Default)]
pub struct NodesSample {
    /// How many.
    pub nodes: u32,
    /// What they used and hold together.
    pub usage: Usage,
    /// What they said of themselves, summed.
    pub metrics: Metrics,
}

/// What all nodes of a role used between two moments.
#[derive(Clone, Debug)]
pub struct NodesGrowth {
    /// How many.
    pub nodes: u32,
    /// CPU time.
    pub cpu: Duration,
    /// What their memory in bytes that no file is behind grew by.
    pub bytes: i64,
    /// What it was at the end.
    pub bytes_at_end: u64,
    /// What their counters grew by.
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
    /// What the nodes of each role used, where nodes have one.
    pub roles: BTreeMap<Role, NodesGrowth>,
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
            roles: BTreeMap::new(),
            generator: Usage::of_this()?,
            kernel: Kernel::read()?,
            metrics: Metrics::default(),
        })
    }

    /// Adds a process of the server.
    pub(super) fn add(&mut self, role: Role, usage: Option<Usage>, metrics: Metrics) {
        if let Some(usage) = usage {
            *self.server.get_or_insert_default() += usage;
        }
        self.metrics.add(&metrics);
        if role != Role::Whole {
            let all = self.roles.entry(role).or_default();
            all.nodes += 1;
            all.usage += usage.unwrap_or_default();
            all.metrics.add(&metrics);
        }
    }

    /// What was used since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Growth {
        let role = |(role, now): (&Role, &NodesSample)| Some((*role, now.since(before.roles.get(role)?)));
        let server = self.server.zip(before.server);
        Growth {
            elapsed: self.at.saturating_duration_since(before.at),
            roles: self.roles.iter().filter_map(role).collect(),
            server_cpu: server.map(|(now, then)| now.cpu.saturating_sub(then.cpu)),
            generator_cpu: self.generator.cpu.saturating_sub(before.generator.cpu),
            server_bytes: server.map(|(now, then)| grown(now, then)),
            generator_bytes: grown(self.generator, before.generator),
            kernel: self.kernel.since(&before.kernel),
            metrics: self.metrics.since(&before.metrics),
        }
    }
}

impl NodesSample {
    fn since(&self, before: &Self) -> NodesGrowth {
        NodesGrowth {
            nodes: self.nodes,
            cpu: self.usage.cpu.saturating_sub(before.usage.cpu),
            bytes: grown(self.usage, before.usage),
            bytes_at_end: self.usage.anonymous_bytes,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(nodes: &[(Role, u64, &str)]) -> Sample {
        let mut sample = Sample::without_server().unwrap();
        for (role, amount, metrics) in nodes {
            let cpu = Duration::from_millis(*amount);
            let usage = Usage { cpu, anonymous_bytes: amount * 100, ..Usage::default() };
            sample.add(*role, Some(usage), Metrics::parse(metrics));
        }
        sample
    }

    #[test]
    fn a_cluster_is_the_sum_of_its_nodes_and_each_role_of_its_own() {
        let before = sample(&[
            (Role::Gateway, 10, "a_total{shard=\"0\"} 1\n"),
            (Role::Gateway, 20, "a_total{shard=\"0\"} 1\n"),
            (Role::Router, 50, "a_total{shard=\"0\"} 1\n"),
        ]);
        let after = sample(&[
            (Role::Gateway, 11, "a_total{shard=\"0\"} 2\n"),
            (Role::Gateway, 24, "a_total{shard=\"0\"} 5\n"),
            (Role::Router, 40, "a_total{shard=\"0\"} 11\n"),
        ]);
        let growth = after.since(&before);
        assert_eq!((growth.server_cpu, growth.server_bytes), (Some(Duration::ZERO), Some(-500)));
        assert_eq!(growth.metrics.sum("a_total"), 15.0);
        let (gateways, routers) = (&growth.roles[&Role::Gateway], &growth.roles[&Role::Router]);
        assert_eq!((gateways.nodes, gateways.cpu, gateways.bytes), (2, Duration::from_millis(5), 500));
        assert_eq!((routers.nodes, routers.bytes, routers.bytes_at_end), (1, -1_000, 4_000));
        assert_eq!((gateways.metrics.sum("a_total"), routers.metrics.sum("a_total")), (5.0, 10.0));
    }

    #[test]
    fn a_server_of_one_process_has_no_roles_and_an_unknown_one_no_usage() {
        let mut known = sample(&[(Role::Whole, 5, "a_total 1\n")]);
        assert!(known.roles.is_empty() && known.server.is_some());
        known.server = None;
        known.add(Role::Whole, None, Metrics::parse("a_total 2\n"));
        assert_eq!((known.server, known.metrics.sum("a_total")), (None, 3.0));
    }
}
