//! The report of a run: histograms, the table, the JSON line, the progress line. Measures nothing itself.

pub mod compare;
mod latency;
mod line;
mod machine;
mod progress;
mod table;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

pub use self::latency::{Latency, Summary};
pub use self::line::{Cpu, Line, Nodes};
pub use self::machine::{Machine, Program};
pub use self::progress::Progress;
pub use self::verdict::Verdict;
use crate::command::Failure;
use crate::server::{Growth, Links, NodesGrowth, Role, Server};

/// What a scenario found out, as it comes in. Names carry their unit, as in `upgrades_per_second`, and are the keys of the
/// JSON line.
#[derive(Debug)]
pub struct Report {
    line: Line,
}

impl Report {
    /// Nothing yet; of the machine, the commits and `server`, everything. `None`: the bare kernel is measured.
    #[must_use]
    pub fn new(scenario: &str, server: Option<&Server>) -> Self {
        let settings = server.map(settings_of).unwrap_or_default();
        Self {
            line: Line {
                scenario: scenario.to_owned(),
                time_ms: 0,
                settings,
                machine: Machine::this(),
                bench: Program::this(),
                server: server.and_then(Server::pid).and_then(Program::of_process),
                figures: BTreeMap::new(),
                latencies: BTreeMap::new(),
                series: BTreeMap::new(),
                cpu: Cpu::default(),
                roles: BTreeMap::new(),
                verdicts: BTreeMap::new(),
                generator_was_bottleneck: None,
                notes: Vec::new(),
            },
        }
    }

    /// What the scenario was asked to do.
    ///
    /// # Panics
    /// The value can't be written as JSON.
    pub fn setting(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("a setting is a number, a word or a list of them");
        self.line.settings.insert(name.to_owned(), value);
    }

    /// A number that was measured; one that is not finite is left out.
    pub fn figure(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.line.figures.insert(name.to_owned(), value);
        }
    }

    /// Times that were measured.
    pub fn latency(&mut self, name: &str, latency: &Latency) {
        self.line.latencies.insert(name.to_owned(), latency.summary());
    }

    /// One more point of a curve, such as `("memory", &[("sessions", 1e4), ("server_bytes", 3e6)])`.
    pub fn point(&mut self, series: &str, coordinates: &[(&str, f64)]) {
        let point = coordinates.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.line.series.entry(series.to_owned()).or_default().push(point);
    }

    /// What became of a promise (`order`, `density`, `duplicates`, `completeness`, …).
    pub fn verdict(&mut self, promise: &str, verdict: Verdict) {
        self.line.verdicts.insert(promise.to_owned(), verdict);
    }

    /// The CPU time of the server for each of `count` things, as `server_cpu_us_per_<thing>` behind `prefix`; of a cluster,
    /// the same for each role. Left out when its process is not known or there was nothing.
    pub fn cpu_us_each(&mut self, prefix: &str, thing: &str, growth: &Growth, count: f64) {
        if let Some(us) = growth.server_cpu_us_each(count) {
            self.figure(&format!("{prefix}server_cpu_us_per_{thing}"), us);
        }
        for (role, nodes) in growth.roles.iter().filter(|_| count > 0.0) {
            let us = nodes.cpu.as_secs_f64() * 1e6 / count;
            self.figure(&format!("{prefix}{}_cpu_us_per_{thing}", role.plural()), us);
        }
    }

    /// What crossed the links of a cluster for each message that was stored meanwhile; nothing where there are no links.
    pub fn links(&mut self, prefix: &str, growth: &Growth) {
        let Some(links) = Links::of(&growth.metrics) else { return };
        // The nodes' own count, which is as old as what is divided by it.
        let messages = growth.metrics.sum("murmuring_stored_total");
        let each = [
            ("publishes", links.publishes),
            ("answers", links.answers),
            ("requests", links.requests),
            ("bytes", links.bytes),
            ("sends", links.sends),
        ];
        for (what, sum) in each.into_iter().filter(|_| messages > 0.0) {
            self.figure(&format!("{prefix}link_{what}_per_message"), sum / messages);
        }
        self.figure(&format!("{prefix}link_control_frames_per_second"), growth.per_second(links.control));
        self.figure(&format!("{prefix}link_bytes_per_second"), growth.per_second(links.bytes));
    }

    /// The CPU time of the measured part; of a cluster, that of each role and its memory.
    pub fn cpu(&mut self, growth: &Growth) {
        let nodes = |nodes: &NodesGrowth| Nodes {
            nodes: nodes.nodes,
            cpu_seconds: nodes.cpu.as_secs_f64(),
            bytes: nodes.bytes_at_end,
            grown_bytes: nodes.bytes,
        };
        let of_role = |(role, growth): (&Role, &NodesGrowth)| (role.plural().to_owned(), nodes(growth));
        self.line.roles = growth.roles.iter().map(of_role).collect();
        self.line.cpu = Cpu {
            elapsed_seconds: growth.elapsed.as_secs_f64(),
            server_seconds: growth.server_cpu.map(|cpu| cpu.as_secs_f64()),
            generator_seconds: growth.generator_cpu.as_secs_f64(),
            host_busy_share: growth.kernel.busy_share,
            host_stolen_share: growth.kernel.stolen_share,
        };
    }

    /// The figures are the load generator's own: it could not keep up, for this reason.
    pub fn generator_was_bottleneck(&mut self, why: impl Into<String>) {
        self.line.generator_was_bottleneck = Some(why.into());
    }

    /// What else a reader should know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.line.notes.push(note.into());
    }

    /// The line as it is now.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Prints the table and appends the JSON line to `json`.
    ///
    /// # Errors
    /// The file can't be written, or a promise was broken: exit code 1, in both cases with the table printed.
    pub fn finish(mut self, json: Option<&Path>) -> Result<(), Failure> {
        self.line.time_ms = ring::clock::realtime_ms();
        print!("{}", table::text(&self.line));
        if let Some(path) = json {
            self.line.append_to(path).map_err(Failure::failed)?;
        }
        let broken: Vec<&str> = self.broken().collect();
        if broken.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!("broken promises: {}", broken.join(", "))))
    }

    fn broken(&self) -> impl Iterator<Item = &str> {
        self.line.verdicts.iter().filter(|(_, verdict)| !verdict.is_kept()).map(|(name, _)| name.as_str())
    }
}

/// What is said of the server itself among the settings.
fn settings_of(server: &Server) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, count: usize| settings.insert(name.to_owned(), Value::from(count));
    if let Some(shards) = server.shards() {
        set("shards", shards.into());
    }
    if let Some(layout) = server.layout() {
        set("gateways", layout.gateways.into());
        set("routers", layout.routers.into());
        set("gateway_shards", layout.gateway_shards.into());
        set("router_shards", layout.router_shards.into());
    } else if server.client_addresses().len() > 1 {
        set("gateways", server.client_addresses().len());
    }
    settings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::{Metrics, Sample};

    fn report() -> Report {
        let mut report = Report::new("rooms", None);
        report.setting("members", 10);
        report.figure("deliveries_per_second", 123_456.0);
        report.figure("nothing", f64::NAN);
        let mut latency = Latency::new();
        latency.record_ns(1_500_000);
        report.latency("delivery", &latency);
        report.point("memory", &[("sessions", 1.0), ("bytes", 2.0)]);
        report.verdict("order", Verdict::of(7, 0, String::new));
        report
    }

    #[test]
    fn a_line_of_json_reads_back_as_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.jsonl");
        report().finish(Some(&path)).unwrap();
        report().finish(Some(&path)).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].figures.len(), 1);
        assert_eq!(lines[0].verdicts["order"], Verdict::Kept { checked: 7 });
        assert!(lines[0].time_ms > 0 && lines[0].latencies["delivery"].count == 1);
    }

    #[test]
    fn a_table_has_everything() {
        let text = table::text(report().line());
        for words in
            ["rooms  members=10", "deliveries_per_second", "123,456", "1.50 ms", "order", "kept, 7 times"]
        {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    /// A server of one process that used 3 ms, and a cluster in which gateways used 2 and the router 4.
    fn growths() -> [Growth; 2] {
        let whole = |ms| Growth {
            server_cpu: Some(Duration::from_millis(ms)),
            ..Sample::without_server().unwrap().since(&Sample::without_server().unwrap())
        };
        let nodes = |nodes, ms| NodesGrowth {
            nodes,
            cpu: Duration::from_millis(ms),
            bytes: -5,
            bytes_at_end: 3 << 20,
            metrics: Metrics::default(),
        };
        let metrics = "murmuring_stored_total{shard=\"0\"} 100\n\
            murmuring_link_envelopes_total{shard=\"0\",direction=\"out\",kind=\"publish\"} 300\n\
            murmuring_link_bytes_total{shard=\"0\",direction=\"out\"} 45000\n";
        let roles = [(Role::Gateway, nodes(3, 2)), (Role::Router, nodes(1, 4))].into();
        [whole(3), Growth { roles, metrics: Metrics::parse(metrics), ..whole(6) }]
    }

    #[test]
    fn a_server_and_a_cluster_have_the_same_figures_and_a_cluster_those_of_its_roles() {
        let [one, cluster] = growths().map(|growth| {
            let mut report = report();
            report.cpu(&growth);
            report.cpu_us_each("full_", "delivery", &growth, 1_000.0);
            report.cpu_us_each("", "nothing", &growth, 0.0);
            report.links("full_", &growth);
            report.line().clone()
        });
        assert_eq!(one.figures["full_server_cpu_us_per_delivery"], 3.0);
        assert_eq!((one.figures.len(), one.roles.len()), (2, 0));
        assert!(!serde_json::to_string(&one).unwrap().contains("roles"));
        for (name, value) in [
            ("full_server_cpu_us_per_delivery", 6.0),
            ("full_gateways_cpu_us_per_delivery", 2.0),
            ("full_routers_cpu_us_per_delivery", 4.0),
            ("full_link_publishes_per_message", 3.0),
            ("full_link_bytes_per_message", 450.0),
        ] {
            assert_eq!(cluster.figures[name], value, "{name}");
        }
        let gateways = Nodes { nodes: 3, cpu_seconds: 0.002, bytes: 3 << 20, grown_bytes: -5 };
        assert_eq!(cluster.roles["gateways"], gateways);
        let again: Line = serde_json::from_str(&serde_json::to_string(&cluster).unwrap()).unwrap();
        assert_eq!(again, cluster);
        assert!(table::text(&cluster).contains("gateways: 3 nodes"), "{}", table::text(&cluster));
    }

    #[test]
    fn a_broken_promise_is_a_failure() {
        let mut report = report();
        report.verdict("density", Verdict::of(9, 2, || "c7: 5 after 3".to_owned()));
        assert!(table::text(report.line()).contains("BROKEN, 2 times; the first: c7: 5 after 3"));
        assert!(
            matches!(report.finish(None), Err(Failure::Failed(error)) if error.to_string().contains("density"))
        );
    }
}
