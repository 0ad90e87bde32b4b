//! `compare`: runs beside each other, from their JSON lines. Runs of the same scenario with the same settings are one
//! column, with the median of each figure and how far they lie apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;

use super::Line;
use super::table::number;
use crate::command::Failure;

/// What `compare` takes.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// JSON lines, as `--json` appends them
    #[arg(value_name = "FILE")]
    lines: PathBuf,
}

/// Prints a table for each scenario.
///
/// # Errors
/// The file can't be read, or has no lines.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let lines = Line::read_all(&arguments.lines)?;
    let scenarios: BTreeSet<&str> = lines.iter().map(|line| line.scenario.as_str()).collect();
    for scenario in scenarios {
        let lines: Vec<&Line> = lines.iter().filter(|line| line.scenario == scenario).collect();
        print!("{}", text(scenario, &lines));
    }
    Ok(())
}

/// A column: what its runs have in common, and the runs.
struct Column<'a> {
    label: String,
    lines: Vec<&'a Line>,
}

fn text(scenario: &str, lines: &[&Line]) -> String {
    let columns = columns(lines);
    let names: BTreeSet<String> = lines.iter().flat_map(|line| values(line).into_keys()).collect();
    let first = names.iter().map(String::len).max().unwrap_or(0).max(scenario.len());
    let cell = |column: &Column<'_>, name: &str| {
        let values: Vec<f64> = column.lines.iter().filter_map(|line| values(line).remove(name)).collect();
        summary(values)
    };
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            names
                .iter()
                .map(|name| cell(column, name).chars().count())
                .chain([column.label.chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let row = |name: &str, cells: Vec<String>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:>width$}"));
        format!("{name:<first$}{}\n", cells.collect::<String>())
    };
    let mut table = row(scenario, columns.iter().map(|column| column.label.clone()).collect());
    for name in &names {
        table += &row(name, columns.iter().map(|column| cell(column, name)).collect());
    }
    table
}

/// In the order in which they were first measured; named by the settings in which they differ.
fn columns<'a>(lines: &[&'a Line]) -> Vec<Column<'a>> {
    let names: BTreeSet<&String> = lines.iter().flat_map(|line| line.settings.keys()).collect();
    let differs = |name: &&String| {
        let values = || lines.iter().map(|line| line.settings.get(*name));
        values().any(|value| value != lines.first().and_then(|line| line.settings.get(*name)))
    };
    // A name says all that a run by this name differs in.
    let names: Vec<&String> = match names.iter().find(|name| **name == "peer") {
        Some(peer) => vec![*peer],
        None => names.into_iter().filter(differs).collect(),
    };
    let mut columns: Vec<Column<'a>> = Vec::new();
    for line in lines {
        let word = |name: &&String| match line.settings.get(*name) {
            Some(serde_json::Value::String(text)) if names.len() == 1 => Some(text.clone()),
            Some(value) => Some(format!("{name}={value}")),
            // Beside clusters, a server of one process.
            None => (*name == "gateways").then(|| "serve".to_owned()),
        };
        let label = names.iter().filter_map(word).collect::<Vec<_>>().join(" ");
        match columns.iter_mut().find(|column| column.label == label) {
            Some(column) => column.lines.push(line),
            None => columns.push(Column { label, lines: vec![line] }),
        }
    }
    columns
}

/// Everything of a run that is a number.
fn values(line: &Line) -> BTreeMap<String, f64> {
    let mut values = line.figures.clone();
    for (name, summary) in &line.latencies {
        values.insert(format!("{name}_p50_us"), summary.p50_us as f64);
        values.insert(format!("{name}_p99_us"), summary.p99_us as f64);
    }
    values
}

/// The median and, of several, half of what lies between the least and the most, in per cent of it.
fn summary(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let Some(median) = values.get(values.len() / 2) else { return "-".to_owned() };
    let apart = values[values.len() - 1] - values[0];
    match values.len() {
        1 => number(*median),
        _ if *median == 0.0 => format!("{} ± {}", number(*median), number(apart / 2.0)),
        _ => format!("{} ± {:.0} %", number(*median), (apart / 2.0 / median * 100.0).abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn run_of(peer: &str, figure: f64) -> Line {
        let mut report = Report::new("broadcast", None);
        report.setting("peer", peer);
        report.setting("engine", peer.len());
        report.figure("connects_per_second", figure);
        report.line().clone()
    }

    #[test]
    fn runs_of_one_peer_are_one_column_with_their_median() {
        let lines =
            [run_of("ws", 1_000.0), run_of("murmuring", 5.0), run_of("ws", 3_000.0), run_of("ws", 2_000.0)];
        let text = text("broadcast", &lines.iter().collect::<Vec<_>>());
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["broadcast", "ws", "murmuring"]);
        assert_eq!(rows[1], ["connects_per_second", "2,000", "±", "50", "%", "5.00"]);
    }

    #[test]
    fn other_runs_are_told_apart_by_the_settings_that_differ() {
        let run_of = |members: u32| {
            let mut report = Report::new("fanout", None);
            report.setting("members", members);
            report.setting("rate", 7);
            report.figure("x", 1.0);
            report.line().clone()
        };
        let lines = [run_of(10), run_of(20)];
        let columns = columns(&lines.iter().collect::<Vec<_>>());
        assert_eq!(
            columns.iter().map(|column| &*column.label).collect::<Vec<_>>(),
            ["members=10", "members=20"]
        );
    }

    #[test]
    fn a_server_beside_clusters_is_called_by_its_name() {
        let run_of = |gateways: Option<u32>| {
            let mut report = Report::new("rooms", None);
            report.setting("members", 10);
            if let Some(gateways) = gateways {
                report.setting("gateways", gateways);
            }
            report.line().clone()
        };
        let lines = [run_of(None), run_of(Some(3)), run_of(Some(1))];
        let columns = columns(&lines.iter().collect::<Vec<_>>());
        let labels: Vec<&str> = columns.iter().map(|column| &*column.label).collect();
        assert_eq!(labels, ["serve", "gateways=3", "gateways=1"]);
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(summary(Vec::new()), "-");
    }
}
