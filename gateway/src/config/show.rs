//! The whole configuration as a file with a comment a key: `config default`.

use core::fmt::Write as _;

use super::VARIABLE_PREFIX;
use super::section::{Config, KEYS, SECTIONS};

/// The defaults as a TOML file; parsing it back gives the defaults.
#[must_use]
pub fn default_text() -> String {
    let defaults = Config::default();
    let mut text = format!(
        "# Murmuring's whole configuration, with its defaults. Keep only what you change.\n\
         # Each key can be set in the environment too, as {VARIABLE_PREFIX}<SECTION>_<KEY>; flags come last.\n"
    );
    for (section, about) in SECTIONS {
        text.push('\n');
        comment(&mut text, about);
        let _ = writeln!(text, "[{section}]");
        for key in KEYS.iter().filter(|key| key.section() == *section) {
            comment(&mut text, key.about);
            let _ = writeln!(text, "{} = {}", key.key(), key.get(&defaults));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "#{line}");
    }
}
