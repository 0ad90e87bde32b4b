//! Runs every path so that callgrind can count it. Everything that a round does is fixed: seeds, keys, time, and no
//! thread beside this one.

use std::hint::black_box;

use crate::path::Path;

/// Rounds before the count: pools, tables and scratch memory get their size.
const WARM_ROUNDS: u32 = 40;
/// Rounds that are counted, so that what happens every few rounds (a table that grows) is in the mean.
const COUNTED_ROUNDS: u32 = 64;

/// Prints a line a path, `name rounds items`, after its rounds: of all paths, or of those whose name holds `part`.
pub(crate) fn run(paths: &[Path], part: Option<&str>) {
    for path in paths.iter().filter(|path| part.is_none_or(|part| path.name().contains(part))) {
        let mut round = path.prepare();
        repeat(&mut round, WARM_ROUNDS);
        counted_path(&mut round);
        println!("{} {COUNTED_ROUNDS} {}", path.name(), path.items());
    }
}

/// Callgrind writes its counts down when this returns, and begins them when the rounds within do: by these two names,
/// in `bench/instructions`.
#[inline(never)]
fn counted_path(round: &mut dyn FnMut()) {
    counted_rounds(round);
    black_box(round);
}

#[inline(never)]
fn counted_rounds(round: &mut dyn FnMut()) {
    repeat(round, COUNTED_ROUNDS);
}

fn repeat(round: &mut dyn FnMut(), rounds: u32) {
    for _ in 0..rounds {
        round();
    }
}
