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

pub use self::latency::{Latency, Summary};
pub use self::line::{Cpu, Line};
pub use self::machine::{Machine, Program};
pub use self::progress::Progress;
pub use self::verdict::Verdict;
use crate::command::Failure;
use crate::server::{Growth, Server};

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
        let mut settings = BTreeMap::new();
        if let Some(shards) = server.and_then(Server::shards) {
            settings.insert("shards".to_owned(), shards.into());
        }
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

    /// The CPU time of the measured part.
    pub fn cpu(&mut self, growth: &Growth) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
