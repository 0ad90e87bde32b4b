//! Promise: `floor` measures every part on any host that can run the server, and says what it measured in a line of JSON.

use std::fs;
use std::process::{Command, Output};

use bench::report::Line;

fn floor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_murmuring-bench")).arg("floor").args(arguments).output().unwrap()
}

#[test]
fn every_part_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("floor.jsonl");
    let small =
        ["--sockets", "64", "--idle-sockets", "64", "--seconds", "0.3", "--rounds", "1", "--echoes", "200"];
    let data = ["--data", directory.path().to_str().unwrap(), "--json", json.to_str().unwrap()];
    let output = floor(&[&small[..], &data].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Line = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    for figure in [
        "accepts_per_second",
        "sends_per_second_by_calls",
        "sends_per_second_by_ring",
        "syncs_of_append_per_second",
    ] {
        assert!(line.figures[figure] > 0.0, "{figure}: {line:?}");
    }
    assert!(line.latencies["echo"].count > 0 && line.latencies["sync_of_batch"].count > 0, "{line:?}");
    assert!(line.figures.contains_key("idle_socket_kernel_bytes"), "{line:?}");
    assert_eq!(line.server, None);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for wrong in [["--sockets", "0"], ["--rounds", "0"], ["--seconds", "-1"], ["--nonsense", "1"]] {
        let output = floor(&wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
