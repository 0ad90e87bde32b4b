//! The table of a run, for people: what the JSON line has, aligned.

use core::fmt::Write as _;

use super::{Cpu, Line, Machine, Nodes, Summary};

/// The whole table, its lines ended.
#[must_use]
pub(super) fn text(line: &Line) -> String {
    let mut table = format!("{}  {}\n", line.scenario, settings(line));
    write_line(&mut table, &machine(&line.machine));
    for program in line.server.iter().chain([&line.bench]) {
        write_line(&mut table, &format!("{}  {}", program.version, program.commit.as_deref().unwrap_or("")));
    }
    let width = line.figures.keys().chain(line.verdicts.keys()).map(String::len).max().unwrap_or(0);
    for (name, value) in &line.figures {
        write_line(&mut table, &format!("{name:<width$}  {:>14}", number(*value)));
    }
    latencies(&mut table, line);
    write_line(&mut table, &cpu(line.cpu));
    for (role, nodes) in &line.roles {
        write_line(&mut table, &format!("{role}: {}", of_nodes(nodes)));
    }
    for (name, verdict) in &line.verdicts {
        write_line(&mut table, &format!("{name:<width$}  {verdict}"));
    }
    if let Some(why) = &line.generator_was_bottleneck {
        write_line(&mut table, &format!("the load generator was the bottleneck: {why}"));
    }
    for note in &line.notes {
        write_line(&mut table, note);
    }
    table
}

fn write_line(table: &mut String, text: &str) {
    writeln!(table, "  {}", text.trim_end()).expect("a String takes everything");
}

fn settings(line: &Line) -> String {
    let settings: Vec<String> = line.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    settings.join(" ")
}

fn machine(machine: &Machine) -> String {
    let memory_gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    format!("{} x {}, {memory_gib:.1} GiB, Linux {}", machine.cpus, machine.cpu, machine.kernel)
}

fn cpu(cpu: Cpu) -> String {
    let server = cpu.server_seconds.map_or(String::new(), |seconds| format!("server {seconds:.2} s, "));
    format!(
        "{:.1} s; CPU: {server}generator {:.2} s, host {:.0} % busy, {:.0} % stolen",
        cpu.elapsed_seconds,
        cpu.generator_seconds,
        cpu.host_busy_share * 100.0,
        cpu.host_stolen_share * 100.0
    )
}

fn of_nodes(nodes: &Nodes) -> String {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let plural = if nodes.nodes == 1 { "" } else { "s" };
    format!(
        "{} node{plural}, CPU {:.2} s, memory {:.1} MiB ({:+.1} MiB)",
        nodes.nodes,
        nodes.cpu_seconds,
        mib(nodes.bytes as f64),
        mib(nodes.grown_bytes as f64)
    )
}

fn latencies(table: &mut String, line: &Line) {
    let width = line.latencies.keys().map(String::len).max().unwrap_or(0).max("latency".len());
    if !line.latencies.is_empty() {
        let heads = ["count", "p50", "p90", "p99", "p99.9", "max"];
        let heads: String = heads.map(|head| format!("{head:>12}")).concat();
        write_line(table, &format!("{:<width$}{heads}", "latency"));
    }
    for (name, summary) in &line.latencies {
        let Summary { count, p50_us, p90_us, p99_us, p99_9_us, max_us, .. } = *summary;
        let times = [p50_us, p90_us, p99_us, p99_9_us, max_us].map(|us| format!("{:>12}", time(us))).concat();
        write_line(table, &format!("{name:<width$}{count:>12}{times}"));
    }
}

/// A time with three digits and its unit.
fn time(us: u64) -> String {
    let us = us as f64;
    match us {
        ..1e3 => format!("{us:.0} µs"),
        1e3..1e5 => format!("{:.2} ms", us / 1e3),
        1e5..1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A number with as many digits as matter, thousands apart.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        ..0.01 => 6,
        ..1.0 => 4,
        ..100.0 => 2,
        ..1_000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let whole = text.find('.').unwrap_or(text.len());
    let mut apart = String::with_capacity(text.len() + whole / 3);
    for (index, sign) in text.char_indices() {
        let follows_digit = text[..index].ends_with(|sign: char| sign.is_ascii_digit());
        if index < whole && (whole - index) % 3 == 0 && follows_digit {
            apart.push(',');
        }
        apart.push(sign);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_234, "0.001234"),
            (0.5, "0.5000"),
            (12.345, "12.35"),
            (999.94, "999.9"),
            (1_234.6, "1,235"),
            (1_234_567.0, "1,234,567"),
            (-123_456.0, "-123,456"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_have_their_unit() {
        let times = [1, 999, 1_000, 99_000, 100_000, 1_000_000].map(time);
        assert_eq!(times, ["1 µs", "999 µs", "1.00 ms", "99.00 ms", "100 ms", "1.00 s"]);
    }
}
