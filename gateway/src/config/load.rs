//! Reads the configuration: the file, then the environment, then the flags, each over the one before. Collects every
//! problem instead of stopping at the first. Resolves no secret and opens no file but its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{Problem, Problems};
use super::section::{Config, KEYS, Key, SECTIONS};
use super::value::Given;
use super::{VARIABLE_PREFIX, check};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment; only names with our prefix are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags that were given: the flag as written, the key it sets, its text.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Reads all sources.
///
/// # Errors
/// With every problem of every source, and of values that do not go together.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let mut loading = Loading::default();
    if let Some(path) = &sources.file {
        loading.file(path);
    }
    loading.environment(&sources.environment);
    loading.flags(&sources.flags);
    if loading.problems.is_empty() {
        loading.problems = check::problems(&loading.config);
    }
    if loading.problems.is_empty() { Ok(loading.config) } else { Err(Problems(loading.problems)) }
}

#[derive(Default)]
struct Loading {
    config: Config,
    problems: Vec<Problem>,
}

impl Loading {
    fn problem(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), message: message.into() });
    }

    fn file(&mut self, path: &Path) {
        match read_bounded(path) {
            Ok(text) => self.text(&path.display().to_string(), &text),
            Err(error) => self.problem(path.display().to_string(), format!("can't read it: {error}")),
        }
    }

    /// Takes the text of a file called `name`.
    fn text(&mut self, name: &str, text: &str) {
        match (DeTable::parse(text), text.parse::<toml::Table>()) {
            (Ok(places), Ok(values)) => self.sections(&Lines { name, text }, places.get_ref(), &values),
            (Err(error), _) | (_, Err(error)) => {
                let start = error.span().map_or(0, |span| span.start);
                self.problem(Lines { name, text }.place(start), error.message());
            }
        }
    }

    fn sections(&mut self, lines: &Lines<'_>, places: &DeTable<'_>, values: &toml::Table) {
        for (section, content) in in_order(places) {
            let name = section.get_ref().as_ref();
            let place = lines.place(section.span().start);
            match (SECTIONS.iter().any(|(known, _)| *known == name), content.get_ref(), values.get(name)) {
                (true, DeValue::Table(keys), Some(toml::Value::Table(values))) => {
                    self.keys(lines, name, keys, values);
                }
                (true, ..) => self.problem(place, format!("{name} is a section: write [{name}] on a line")),
                (false, ..) => {
                    let known = SECTIONS.iter().map(|(known, _)| *known);
                    self.problem(place, unknown("section", name, nearest(name, known)));
                }
            }
        }
    }

    fn keys(&mut self, lines: &Lines<'_>, section: &str, places: &DeTable<'_>, values: &toml::Table) {
        for (key, _) in in_order(places) {
            let name = format!("{section}.{}", key.get_ref());
            let place = lines.place(spanned_start(key));
            match (key_of(&name), values.get(key.get_ref().as_ref())) {
                (Some(known), Some(value)) => self.set(place, known, Given::Toml(value)),
                _ => {
                    let near = nearest(&name, KEYS.iter().map(|key| key.name));
                    self.problem(place, unknown("key", &name, near));
                }
            }
        }
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut ours: Vec<_> = variables
            .iter()
            .filter(|(name, _)| name.to_string_lossy().starts_with(VARIABLE_PREFIX))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let name = name.to_string_lossy().into_owned();
            match (KEYS.iter().find(|key| key.variable() == name), value.to_str()) {
                (Some(key), Some(value)) => self.set(name, key, Given::Text(value)),
                (Some(_), None) => self.problem(name, "is not UTF-8"),
                (None, _) => {
                    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
                    // Without the prefix, or its letters would count as alike and anything would be near.
                    let near = nearest(own_part(&name), known.iter().map(|known| own_part(known)));
                    if near.is_some() || names_a_section(&name) {
                        let near = near.map(|near| format!("{VARIABLE_PREFIX}{near}"));
                        self.problem("environment", unknown("variable", &name, near.as_deref()));
                    }
                }
            }
        }
    }

    fn flags(&mut self, flags: &[(&'static str, &'static str, String)]) {
        for (flag, key, value) in flags {
            let key = key_of(key).expect("each flag names a key");
            self.set((*flag).to_owned(), key, Given::Text(value));
        }
    }

    fn set(&mut self, place: String, key: &Key, given: Given<'_>) {
        if let Err(message) = key.set(&mut self.config, given) {
            self.problem(place, format!("{}: {message}", key.name));
        }
    }
}

fn key_of(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The entries of a table as they stand in the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| spanned_start(name));
    entries
}

/// A variable's name behind our prefix.
fn own_part(variable: &str) -> &str {
    variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable)
}

/// Whether a variable is meant for a section of ours. Others, such as one that names the binary for a script, or those
/// that Kubernetes makes for a service of our name, are not our affair.
fn names_a_section(variable: &str) -> bool {
    let rest = own_part(variable);
    let section = rest.split('_').next().unwrap_or(rest);
    SECTIONS.iter().any(|(known, _)| known.eq_ignore_ascii_case(section))
}

fn spanned_start<T>(spanned: &Spanned<T>) -> usize {
    spanned.span().start
}

fn unknown(what: &str, name: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("unknown {what} {name}; did you mean {near}?"),
        None => format!("unknown {what} {name}; `murmuring config default` shows all there are"),
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Turns byte positions of a file into `name:line`.
struct Lines<'a> {
    name: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, byte: usize) -> String {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.name)
    }
}
