//! From JSON lines to charts: which figure of which scenario stands over which.

use std::collections::BTreeMap;

use super::chart::{Axis, Chart, Curve, Unit};
use crate::report::{Line, Summary};

const SESSIONS: Axis = Axis { label: "sessions", unit: Unit::Count };

/// What lies no farther apart on the axis was measured at the same place.
const ALIKE: f64 = 1.03;

/// Every chart that has a curve with two points or more. Of runs that measured the same, each adds its points.
pub(super) fn charts(lines: &[Line]) -> Vec<Chart> {
    let all = [memory(lines), latency(lines), fan_out(lines), history(lines)];
    all.into_iter().filter(|chart| chart.curves.iter().any(|curve| curve.points.len() > 1)).collect()
}

/// Of the run with the most sessions: in small ones the pools of a process are most of its memory.
fn memory(lines: &[Line]) -> Chart {
    let first = |point: &BTreeMap<String, f64>| point.get("cycle").is_none_or(|cycle| *cycle <= 1.0);
    let sessions = |line: &&Line| line.settings.get("clients").and_then(serde_json::Value::as_u64);
    let largest: Vec<Line> = lines
        .iter()
        .filter(|line| line.scenario == "idle")
        .max_by_key(sessions)
        .cloned()
        .into_iter()
        .collect();
    let curve = |label, y| series(&largest, "idle", "memory", label, "sessions", y, first);
    Chart {
        name: "memory",
        title: "Memory by connections",
        x: SESSIONS,
        y: Axis { label: "memory", unit: Unit::Bytes },
        curves: curves([
            curve("kernel, both ends of each connection", "kernel_bytes"),
            curve("load generator", "generator_bytes"),
            curve("server", "server_bytes"),
        ]),
    }
}

fn latency(lines: &[Line]) -> Chart {
    let in_memory = |line: &Line| line.settings.get("engine").is_some_and(|engine| engine == "memory");
    let durable: Vec<Line> = lines.iter().filter(|line| !in_memory(line)).cloned().collect();
    let curve =
        |label, y| series(&durable, "rooms", "latency_by_rate", label, "deliveries_per_second", y, |_| true);
    let echo = |line: &Line| {
        let rate = line.settings.get("echoes_per_second")?.as_f64()?;
        Some((rate, line.latencies.get("echo")?.p99_us as f64))
    };
    let echoes = lines.iter().filter(|line| line.scenario == "floor").filter_map(echo).collect();
    Chart {
        name: "latency",
        title: "Latency by rate",
        x: Axis { label: "deliveries a second", unit: Unit::Count },
        y: Axis { label: "from the intended send to the delivery", unit: Unit::Microseconds },
        curves: curves([
            curve("delivery, p99", "delivery_p99_us"),
            curve("delivery, p50", "delivery_p50_us"),
            curve("ack (durable), p99", "ack_p99_us"),
            sorted("bare epoll echo, p99", echoes),
        ]),
    }
}

fn fan_out(lines: &[Line]) -> Chart {
    let curve = |label, quantile: fn(&Summary) -> u64| {
        let point = |line: &Line| {
            let members = line.settings.get("members")?.as_f64()?;
            Some((members, quantile(line.latencies.get("last_delivery")?) as f64))
        };
        sorted(label, lines.iter().filter(|line| line.scenario == "fanout").filter_map(point).collect())
    };
    Chart {
        name: "fanout",
        title: "Delivery time by room size",
        x: Axis { label: "members online", unit: Unit::Count },
        y: Axis { label: "from the intended send to the last delivery", unit: Unit::Microseconds },
        curves: curves([curve("p99", |all| all.p99_us), curve("p50", |all| all.p50_us)]),
    }
}

fn history(lines: &[Line]) -> Chart {
    let mut names: Vec<&String> = lines
        .iter()
        .filter(|line| line.scenario == "history")
        .flat_map(|line| line.series.keys())
        .filter(|name| name.starts_with("before_") || name.starts_with("after_"))
        .collect();
    names.sort();
    names.dedup();
    let curve = |name: &&String| {
        series(lines, "history", name, &name.replace('_', ", "), "events", "server_cpu_us_per_page", |_| true)
    };
    Chart {
        name: "history",
        title: "Cost of a page by length of the log",
        x: Axis { label: "events in the log", unit: Unit::Count },
        y: Axis { label: "CPU time of the server a page", unit: Unit::Microseconds },
        curves: curves(names.iter().map(curve)),
    }
}

/// The points of one series of all runs of a scenario.
fn series(
    lines: &[Line],
    scenario: &str,
    series: &str,
    label: &str,
    x: &str,
    y: &str,
    counts: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> Curve {
    let points = lines.iter().filter(|line| line.scenario == scenario);
    let points = points.filter_map(|line| line.series.get(series)).flatten().filter(|point| counts(point));
    sorted(label, points.filter_map(|point| Some((*point.get(x)?, *point.get(y)?))).collect())
}

/// In the order of x; what a logarithmic axis has no place for is left out, and of what was measured several times the
/// median stands.
fn sorted(label: &str, mut points: Vec<(f64, f64)>) -> Curve {
    points.retain(|(x, y)| *x > 0.0 && *y > 0.0);
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut medians = Vec::new();
    while let Some(&(first, _)) = points.first() {
        let alike = points.iter().take_while(|(x, _)| *x <= first * ALIKE).count();
        let mut group: Vec<(f64, f64)> = points.drain(..alike).collect();
        let (x, _) = group[alike / 2];
        group.sort_by(|one, other| one.1.total_cmp(&other.1));
        medians.push((x, group[alike / 2].1));
    }
    Curve { label: label.to_owned(), points: medians }
}

/// Those that have points.
fn curves(all: impl IntoIterator<Item = Curve>) -> Vec<Curve> {
    all.into_iter().filter(|curve| !curve.points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, Report};

    fn fan_out_of(members: u32, ms: u64) -> Line {
        let (mut report, mut latency) = (Report::new("fanout", None), Latency::new());
        latency.record_ns(ms * 1_000_000);
        report.setting("members", members);
        report.latency("last_delivery", &latency);
        report.line().clone()
    }

    #[test]
    fn runs_become_points_in_the_order_of_their_x() {
        let lines = [fan_out_of(100, 2), fan_out_of(10, 1), fan_out_of(1_000, 9)];
        let charts = charts(&lines);
        assert_eq!(charts.len(), 1);
        let points = &charts[0].curves[0].points;
        assert_eq!(points.iter().map(|point| point.0).collect::<Vec<_>>(), [10.0, 100.0, 1_000.0]);
        assert!((0.98..1.02).contains(&(points[1].1 / 2_000.0)), "{points:?}");
    }

    #[test]
    fn a_series_of_a_run_becomes_a_curve_of_its_first_cycle() {
        let mut report = Report::new("idle", None);
        for (cycle, sessions) in [(1.0, 100.0), (1.0, 0.0), (1.0, 200.0), (2.0, 300.0)] {
            let bytes = [("server_bytes", 7.0), ("kernel_bytes", 9.0)];
            report.point("memory", &[&[("cycle", cycle), ("sessions", sessions)], &bytes[..]].concat());
        }
        let charts = charts(&[report.line().clone()]);
        assert_eq!(charts[0].name, "memory");
        assert_eq!(charts[0].curves.len(), 2);
        assert_eq!(charts[0].curves[0].points, [(100.0, 9.0), (200.0, 9.0)]);
    }

    #[test]
    fn of_what_was_measured_several_times_the_median_stands() {
        let points = vec![(100.0, 5.0), (200.0, 1.0), (101.0, 9.0), (102.0, 7.0), (0.0, 3.0)];
        assert_eq!(sorted("", points).points, [(101.0, 7.0), (200.0, 1.0)]);
    }

    #[test]
    fn one_point_is_no_curve() {
        assert_eq!(charts(&[fan_out_of(10, 1)]), []);
    }
}
