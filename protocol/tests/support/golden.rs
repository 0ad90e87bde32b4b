//! Bytes that were committed, and may never change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The committed bytes: a line each, name and hexadecimal digits.
pub(crate) fn read(file: &'static str, group: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let parse = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits"))
            .collect()
    };
    file.lines()
        .filter_map(|line| line.strip_prefix(group)?.strip_prefix(": ")?.split_once(" = "))
        .map(|(name, hex)| (name, parse(hex)))
        .collect()
}

/// Fails with the lines as they would have to be.
pub(crate) fn check(file: &'static str, group: &str, actual: &[(&'static str, Vec<u8>)]) {
    let expected = read(file, group);
    let actual: BTreeMap<&str, Vec<u8>> = actual.iter().cloned().collect();
    if expected == actual {
        return;
    }
    let mut lines = String::new();
    for (name, bytes) in actual {
        let _ = write!(lines, "\n{group}: {name} = ");
        for byte in bytes {
            let _ = write!(lines, "{byte:02x}");
        }
    }
    panic!("the archives of version 1 changed; they are now:{lines}");
}
