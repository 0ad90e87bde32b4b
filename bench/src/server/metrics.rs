//! What a server says of itself at `/metrics` (Prometheus text 0.0.4): read, summed over shards, and subtracted.

use std::collections::BTreeMap;

/// One sample of every metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// By name, then by the labels as they stand between the braces.
    samples: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Metrics {
    /// Reads the text; lines that are none of the format are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for (name, labels, value) in text.lines().filter_map(sample) {
            metrics.samples.entry(name.to_owned()).or_default().insert(labels.to_owned(), value);
        }
        metrics
    }

    /// The sum of a metric's samples over all shards and labels; 0 for one that is not there.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.get(name).into_iter().flat_map(BTreeMap::values).sum()
    }

    /// The sum of those of a metric's samples that have this label.
    #[must_use]
    pub fn sum_of(&self, name: &str, label: &str, value: &str) -> f64 {
        self.sum_with(name, &[(label, value)])
    }

    /// The sum of those of a metric's samples that have all of these labels.
    #[must_use]
    pub fn sum_with(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let has_all =
            |of_sample: &str| wanted.iter().all(|wanted| of_sample.split(',').any(|label| label == wanted));
        let samples = self.samples.get(name).into_iter().flatten();
        samples.filter(|(labels, _)| has_all(labels)).map(|(_, value)| value).sum()
    }

    /// Adds those of another node: samples of the same name and labels become one.
    pub fn add(&mut self, other: &Self) {
        for (name, samples) in &other.samples {
            let sums = self.samples.entry(name.clone()).or_default();
            for (labels, value) in samples {
                *sums.entry(labels.clone()).or_default() += value;
            }
        }
    }

    /// What counters grew by since `before`: each sample less the one of the same name and labels.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut grown = self.clone();
        for (name, samples) in &mut grown.samples {
            let Some(earlier) = before.samples.get(name) else { continue };
            for (labels, value) in samples {
                *value -= earlier.get(labels).copied().unwrap_or(0.0);
            }
        }
        grown
    }
}

/// Name, labels, value of a line; comments and what else has no number at its end are none.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    match series.split_once('{') {
        Some((name, labels)) => Some((name, labels.strip_suffix('}')?, value)),
        None if series.contains(' ') => None,
        None => Some((series, "", value)),
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    const TEXT: &str = "\
# HELP a_total Things, as many as 7
# TYPE a_total counter
a_total{shard=\"0\",code=\"4408\"} 3
a_total{shard=\"1\",code=\"4408\"} 4
a_total{shard=\"1\",code=\"1000\"} 1.5
b 7
nonsense
";

    #[test]
    fn samples_are_summed_over_shards_and_by_label() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.samples.len(), 2);
        assert_eq!(metrics.sum("a_total"), 8.5);
        assert_eq!(metrics.sum_of("a_total", "code", "4408"), 7.0);
        assert_eq!(metrics.sum("b"), 7.0);
        assert_eq!(metrics.sum("c"), 0.0);
    }

    #[test]
    fn samples_of_nodes_are_added_and_can_be_told_apart_by_several_labels() {
        let mut all = Metrics::parse(
            "a_total{shard=\"0\",kind=\"x\",code=\"1\"} 3\na_total{shard=\"0\",kind=\"y\"} 5\n",
        );
        all.add(&Metrics::parse("a_total{shard=\"0\",kind=\"x\",code=\"1\"} 4\nb 1\n"));
        assert_eq!((all.sum("a_total"), all.sum("b"), all.samples.len()), (12.0, 1.0, 2));
        assert_eq!(all.sum_with("a_total", &[("kind", "x"), ("shard", "0")]), 7.0);
        assert_eq!(all.sum_with("a_total", &[("kind", "y"), ("code", "1")]), 0.0);
    }

    #[test]
    fn a_difference_is_taken_sample_by_sample() {
        let before = Metrics::parse("a_total{shard=\"0\"} 2\na_total{shard=\"1\"} 10\n");
        let after =
            Metrics::parse("a_total{shard=\"0\"} 5\na_total{shard=\"1\"} 10\na_total{shard=\"2\"} 1\n");
        assert_eq!(after.since(&before).sum("a_total"), 4.0);
    }
}
