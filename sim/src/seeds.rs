//! The seeds that every test run takes: those that ever failed, and fresh ones.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds that ever failed, one a line, each with what it had found.
const KNOWN: &str = include_str!("../seeds.txt");

/// The seeds of `seeds.txt`, and whether each is to be run as that of a server which is all there is: a number, perhaps
/// `alone`, then a comment.
///
/// # Panics
/// When a line has no number.
#[must_use]
pub fn known() -> Vec<(u64, bool)> {
    let lines = KNOWN.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = |line: &str| {
        let mut words = line.split_whitespace();
        let seed = words.next().expect("not empty").parse().expect("a seed");
        (seed, words.next() == Some("alone"))
    };
    lines.map(seed).collect()
}

/// The first of the fresh seeds: `SIM_SEED` of the environment, or the time.
///
/// # Panics
/// When `SIM_SEED` is no number.
#[must_use]
pub fn first() -> u64 {
    match std::env::var("SIM_SEED") {
        Ok(text) => text.parse().expect("SIM_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs() * 1_000),
    }
}
