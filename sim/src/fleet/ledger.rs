//! What a fleet was measured to do, line by line, beside what CAPACITY says that it does.

use std::fmt;

use serde_json::json;

/// What CAPACITY says of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    /// Nothing: it is only measured.
    None,
    /// No more than this.
    AtMost(f64),
    /// This, but for so large a part of it.
    About(f64, f64),
}

impl Claim {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtMost(most) => value <= most,
            Self::About(expected, part) => (value - expected).abs() <= expected * part,
        }
    }
}

/// One measure.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: String,
    value: f64,
    unit: &'static str,
    claim: Claim,
}

/// All measures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    lines: Vec<Line>,
}

impl Ledger {
    fn push(&mut self, name: impl Into<String>, value: f64, unit: &'static str, claim: Claim) {
        self.lines.push(Line { name: name.into(), value, unit, claim });
    }

    /// Something that is only measured.
    pub(super) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.push(name, value, unit, Claim::None);
    }

    /// Something that is no more than `most`.
    pub(super) fn at_most(&mut self, name: impl Into<String>, value: f64, unit: &'static str, most: f64) {
        self.push(name, value, unit, Claim::AtMost(most));
    }

    /// Something that is `expected`, give or take `part` of it.
    pub(super) fn about(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        expected: f64,
        part: f64,
    ) {
        self.push(name, value, unit, Claim::About(expected, part));
    }

    /// A measure by its name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.lines.iter().find(|line| line.name == name).map(|line| line.value)
    }

    /// Measures of which CAPACITY says something else.
    #[must_use]
    pub fn broken(&self) -> Vec<&str> {
        let broken = self.lines.iter().filter(|line| !line.claim.holds(line.value));
        broken.map(|line| line.name.as_str()).collect()
    }

    /// One JSON object a line: `name`, `value`, `unit`, and `at_most` or `expected` with `within`, and `holds`, where something is claimed.
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let object = |line: &Line| {
            let mut object = json!({"name": line.name, "value": line.value, "unit": line.unit});
            match line.claim {
                Claim::None => return object.to_string() + "\n",
                Claim::AtMost(most) => object["at_most"] = most.into(),
                Claim::About(expected, part) => {
                    object["expected"] = expected.into();
                    object["within"] = (expected * part).into();
                }
            }
            object["holds"] = line.claim.holds(line.value).into();
            object.to_string() + "\n"
        };
        self.lines.iter().map(object).collect()
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
        for line in &self.lines {
            let Line { name, value, unit, claim } = line;
            let claimed = match claim {
                Claim::None => String::new(),
                Claim::AtMost(most) => format!("at most {}", number(*most)),
                Claim::About(expected, _) => format!("about {}", number(*expected)),
            };
            let verdict = if claim.holds(*value) { "" } else { "  DOES NOT HOLD" };
            writeln!(f, "{name:<width$}  {:>10} {unit:<10} {claimed}{verdict}", number(*value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_up_to_its_bound_and_no_further() {
        let mut ledger = Ledger::default();
        ledger.at_most("most", 3.0, "", 3.0);
        ledger.about("about", 1.1, "", 1.0, 0.11);
        assert_eq!(ledger.broken(), Vec::<&str>::new());
        ledger.at_most("more", 3.1, "", 3.0);
        ledger.about("off", 0.8, "", 1.0, 0.11);
        assert_eq!(ledger.broken(), ["more", "off"]);
    }
}
