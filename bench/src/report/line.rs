//! The JSON line of a run: everything a figure needs to be believed and drawn. One object a line; names carry their units.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Machine, Program, Summary, Verdict};
use crate::command::Failure;
use crate::server::ServerError;

/// One run of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The scenario's name.
    pub scenario: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What the scenario was asked to do.
    pub settings: BTreeMap<String, Value>,
    /// Where.
    pub machine: Machine,
    /// The load generator.
    pub bench: Program,
    /// The server; none where the bare kernel was measured, or one that was attached to without its process id.
    pub server: Option<Program>,
    /// What was measured, by name.
    pub figures: BTreeMap<String, f64>,
    /// Times, by what they are of.
    pub latencies: BTreeMap<String, Summary>,
    /// Points of curves, by the curve's name.
    pub series: BTreeMap<String, Vec<BTreeMap<String, f64>>>,
    /// CPU time.
    pub cpu: Cpu,
    /// What the nodes of each role used, of a cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Nodes>,
    /// Promises, by name.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Why the figures are the load generator's own, where they are.
    pub generator_was_bottleneck: Option<String>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// Who used how much CPU time while the scenario was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Time on the wall, in seconds.
    pub elapsed_seconds: f64,
    /// The server, when its process is known.
    pub server_seconds: Option<f64>,
    /// The load generator.
    pub generator_seconds: f64,
    /// Share of the host's CPU time that was used by anyone, 0 to 1.
    pub host_busy_share: f64,
    /// Share of the host's CPU time that the machine below took away.
    pub host_stolen_share: f64,
}

/// What all nodes of a role used while the scenario was measured, and held at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// How many.
    pub nodes: u32,
    /// CPU time.
    pub cpu_seconds: f64,
    /// Memory that no file is behind.
    pub bytes: u64,
    /// What it grew by.
    pub grown_bytes: i64,
}

impl Line {
    /// All lines of a file.
    ///
    /// # Errors
    /// The file can't be read; or a line is none, which is wrong usage.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, Failure> {
        let text = fs::read_to_string(path).map_err(ServerError::of_file(path)).map_err(Failure::failed)?;
        let line = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|error| Failure::usage(format!("{}:{}: {error}", path.display(), number + 1)))
        };
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
    }

    /// Appends the line to a file.
    ///
    /// # Errors
    /// The file can't be written.
    ///
    /// # Panics
    /// Never: what is in the line can be written as JSON.
    pub fn append_to(&self, path: &Path) -> Result<(), ServerError> {
        let text = serde_json::to_string(self).expect("names and numbers") + "\n";
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(ServerError::of_file(path))
    }
}
