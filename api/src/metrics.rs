//! What shards count, as `/metrics` shows it: snapshots of plain numbers in, Prometheus text (version 0.0.4) out.
//!
//! A shard counts in plain integers of its own; whoever runs it publishes a snapshot now and then. Nothing here is
//! on a hot path.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whose numbers a snapshot holds. It becomes a label of each of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The whole process: no label.
    Node,
    /// One gateway and router shard: `shard="<number>"`.
    Shard(u16),
}

/// What one metric measures. `name` carries the unit and, for a counter, ends in `_total`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Of `[a-zA-Z_:][a-zA-Z0-9_:]*`; always the same type for the same name.
    pub name: &'static str,
    /// One sentence for a person.
    pub help: &'static str,
    /// More labels than the source's: name and value, in this order. Names differ within a metric.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// A metric's number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only ever grows while the process lives.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// Measurements in fixed buckets.
    Histogram(Histogram),
}

/// Measurements in buckets with fixed bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds of the buckets, inclusive, ascending. What is larger than the last falls into one more bucket.
    pub bounds: &'static [f64],
    /// Measurements in each bucket alone (not cumulated): one more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all measurements.
    pub sum: f64,
}

/// Powers of two from 1 on, in units of `unit`: the bounds of what counts in such buckets.
#[must_use]
pub const fn powers_of_two<const N: usize>(unit: f64) -> [f64; N] {
    let mut bounds = [0.0; N];
    let mut index = 0;
    while index < N {
        bounds[index] = (1_u64 << index) as f64 * unit;
        index += 1;
    }
    bounds
}

impl Metric {
    /// A counter without labels of its own.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, labels: Vec::new(), value: Value::Counter(value) }
    }

    /// A gauge without labels of its own.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, labels: Vec::new(), value: Value::Gauge(value) }
    }

    /// A histogram without labels of its own.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str, histogram: Histogram) -> Self {
        Self { name, help, labels: Vec::new(), value: Value::Histogram(histogram) }
    }

    /// One more label.
    #[must_use]
    pub fn with_label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

impl Value {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The newest snapshot of each source.
#[derive(Debug, Default)]
pub struct Registry {
    snapshots: Mutex<BTreeMap<Source, Vec<Metric>>>,
}

impl Registry {
    /// Replaces the source's snapshot.
    ///
    /// # Panics
    /// When a histogram has not one count more than bounds.
    pub fn publish(&self, source: Source, snapshot: Vec<Metric>) {
        for metric in &snapshot {
            if let Value::Histogram(histogram) = &metric.value {
                assert_eq!(histogram.counts.len(), histogram.bounds.len() + 1, "{}", metric.name);
            }
        }
        self.snapshots().insert(source, snapshot);
    }

    /// Everything as Prometheus text: each family once, its samples together, in the order of names and sources.
    #[must_use]
    pub fn render(&self) -> String {
        let snapshots = self.snapshots();
        let mut families: BTreeMap<&str, Vec<(Source, &Metric)>> = BTreeMap::new();
        for (source, snapshot) in &*snapshots {
            for metric in snapshot {
                families.entry(metric.name).or_default().push((*source, metric));
            }
        }
        let mut text = String::new();
        for (name, samples) in families {
            let (_, first) = samples[0];
            let _ = writeln!(text, "# HELP {name} {}", Escaped { text: first.help, quotes: false });
            let _ = writeln!(text, "# TYPE {name} {}", first.value.type_name());
            for (source, metric) in samples {
                write_sample(&mut text, source, metric);
            }
        }
        text
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<Source, Vec<Metric>>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_sample(text: &mut String, source: Source, metric: &Metric) {
    let name = metric.name;
    let labels = Labels { source, own: &metric.labels, bound: None };
    // Writing into a String cannot fail.
    let _ = match &metric.value {
        Value::Counter(value) => writeln!(text, "{name}{labels} {value}"),
        Value::Gauge(value) => writeln!(text, "{name}{labels} {}", Number(*value)),
        Value::Histogram(histogram) => write_histogram(text, labels, name, histogram),
    };
}

fn write_histogram(
    text: &mut String,
    labels: Labels<'_>,
    name: &str,
    histogram: &Histogram,
) -> std::fmt::Result {
    let mut total = 0;
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&histogram.counts) {
        total += count;
        writeln!(text, "{name}_bucket{} {total}", Labels { bound: Some(bound), ..labels })?;
    }
    writeln!(text, "{name}_sum{labels} {}", Number(histogram.sum))?;
    writeln!(text, "{name}_count{labels} {total}")
}

#[derive(Clone, Copy)]
struct Labels<'a> {
    source: Source,
    own: &'a [(&'static str, String)],
    bound: Option<f64>,
}

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = '{';
        if let Source::Shard(shard) = self.source {
            write!(f, "{separator}shard=\"{shard}\"")?;
            separator = ',';
        }
        for (name, value) in self.own {
            write!(f, "{separator}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
            separator = ',';
        }
        if let Some(bound) = self.bound {
            write!(f, "{separator}le=\"{}\"", Number(bound))?;
            separator = ',';
        }
        if separator == ',' { f.write_str("}") } else { Ok(()) }
    }
}

/// A float as the text format writes it: Rust's, but for infinities.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// Text with backslashes and line feeds escaped, and quotes where the format asks for it (label values).
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.quotes => f.write_str("\\\""),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_declared_once_and_its_samples_stand_together() {
        let registry = Registry::default();
        for shard in [1, 0] {
            let sends = Metric::counter("sends_total", "Sends.", 5 + u64::from(shard));
            registry.publish(Source::Shard(shard), vec![sends, Metric::gauge("depth", "Depth.", 0.5)]);
        }
        registry.publish(Source::Node, vec![Metric::gauge("up", "Up.", 1.0)]);
        let expected = "# HELP depth Depth.\n# TYPE depth gauge\ndepth{shard=\"0\"} 0.5\ndepth{shard=\"1\"} 0.5\n\
                        # HELP sends_total Sends.\n# TYPE sends_total counter\n\
                        sends_total{shard=\"0\"} 5\nsends_total{shard=\"1\"} 6\n\
                        # HELP up Up.\n# TYPE up gauge\nup 1\n";
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn a_histogram_cumulates_and_ends_with_infinity() {
        let registry = Registry::default();
        let histogram = Histogram { bounds: &[0.001, 2.5], counts: vec![1, 2, 3], sum: 9.25 };
        let metric = Metric::histogram("seconds", "Time.", histogram).with_label("lane", "required");
        registry.publish(Source::Shard(7), vec![metric]);
        let expected = "# HELP seconds Time.\n# TYPE seconds histogram\n\
                        seconds_bucket{shard=\"7\",lane=\"required\",le=\"0.001\"} 1\n\
                        seconds_bucket{shard=\"7\",lane=\"required\",le=\"2.5\"} 3\n\
                        seconds_bucket{shard=\"7\",lane=\"required\",le=\"+Inf\"} 6\n\
                        seconds_sum{shard=\"7\",lane=\"required\"} 9.25\n\
                        seconds_count{shard=\"7\",lane=\"required\"} 6\n";
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn text_from_outside_cannot_break_a_line() {
        let registry = Registry::default();
        let metric =
            Metric::gauge("state", "One \\ two\nthree \"four\"", 1.0).with_label("why", "a\"b\\c\nd");
        registry.publish(Source::Node, vec![metric]);
        let expected = "# HELP state One \\\\ two\\nthree \"four\"\n# TYPE state gauge\n\
                        state{why=\"a\\\"b\\\\c\\nd\"} 1\n";
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn a_newer_snapshot_replaces_the_older() {
        let registry = Registry::default();
        registry.publish(Source::Node, vec![Metric::gauge("a", "A.", 1.0)]);
        registry.publish(Source::Node, vec![Metric::gauge("b", "B.", 1.0)]);
        assert!(!registry.render().contains("HELP a"));
    }
}
