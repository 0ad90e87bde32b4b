//! Promises of a whole server, kept by the real binary: messages from one client to another, nothing acknowledged is
//! ever lost, an orderly end, and clear refusals to start.

mod node;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use node::{Client, PATIENCE, SECRET, Server, murmuring, run, text, token, token_of, upgrade};
use serde_json::json;
use tempfile::tempdir;

#[test]
fn a_message_goes_from_one_client_to_another_and_is_stored() {
    let data = tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    server.create("general", &["alice", "bob"]);
    let mut alice = Client::connect(&server, "alice", "phone");
    let mut bob = Client::connect(&server, "bob", "laptop");
    assert_eq!(bob.welcome["conversations"][0]["conversation"], "general");
    for seq in 1..=3 {
        alice.message("general", &format!("m{seq}"), &format!("hello {seq}"));
        let ack = alice.expect("ack");
        assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(seq), &json!(false)));
        let event = bob.expect("event");
        assert_eq!((&event["seq"], &event["sender"]), (&json!(seq), &json!("alice")));
        assert_eq!(event["body"], format!("hello {seq}"));
    }
    assert_eq!(server.log("general").len(), 3);
}

#[test]
fn everything_acknowledged_before_a_kill_is_there_once_afterwards() {
    let data = tempdir().unwrap();
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..4 {
        let server = Server::start(data.path(), &[]);
        server.create("general", &["alice"]);
        let events = server.log("general");
        for (event, seq) in events.iter().zip(1_u64..) {
            assert_eq!(event["seq"], seq, "dense");
        }
        for (id, seq) in &acknowledged {
            let found: Vec<_> = events.iter().filter(|event| event["id"] == id.as_str()).collect();
            assert_eq!(found.len(), 1, "{id} in round {round}");
            assert_eq!(found[0]["seq"], *seq);
        }
        let mut alice = Client::connect(&server, "alice", "phone");
        // More than the burst allows would be refused; half are answered before the kill, half are under way.
        for number in 0..30 {
            alice.message("general", &format!("r{round}-{number}"), "x");
        }
        for _ in 0..15 {
            let ack = alice.expect("ack");
            acknowledged.insert(ack["id"].as_str().unwrap().to_owned(), ack["seq"].as_u64().unwrap());
        }
        server.signal("KILL");
        assert!(!server.wait().success());
    }
    let verified = run(&["verify", "--data", data.path().to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
}

#[test]
fn a_terminated_server_says_goaway_closes_with_4503_and_exits_with_0() {
    let data = tempdir().unwrap();
    let server = Server::start_with(
        data.path(),
        &[],
        &[("MURMURING_AUTH_HS256_SECRET", SECRET), ("MURMURING_DRAIN_SPREAD_MS", "200")],
    );
    server.create("general", &["alice"]);
    let mut alice = Client::connect(&server, "alice", "phone");
    alice.message("general", "last", "words");
    alice.expect("ack");
    server.signal("TERM");
    let goaway = alice.expect("goaway");
    assert!(goaway["reconnect_after_ms"].is_u64(), "{goaway}");
    assert_eq!(alice.receive().unwrap(), json!({ "close": 4503 }));
    // Answers the close, as a client must.
    assert!(alice.receive().is_err());
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(data.path(), &[]);
    assert_eq!(server.log("general").len(), 1);
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let data = tempdir().unwrap();
    let server = Server::start_with(
        data.path(),
        &["--engine", "memory"],
        &[
            ("MURMURING_AUTH_HS256_SECRET", SECRET),
            ("MURMURING_DRAIN_SPREAD_MS", "600000"),
            ("MURMURING_DRAIN_DEADLINE_MS", "600000"),
        ],
    );
    let mut clients: Vec<Client> =
        (0..8).map(|number| Client::connect(&server, "alice", &format!("d{number}"))).collect();
    server.signal("TERM");
    clients[0].expect("goaway");
    let begin = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_idle_server_stops_at_once_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let data = tempdir().unwrap();
        let server = Server::start(data.path(), &[]);
        let begin = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let data = tempdir().unwrap();
    let server = Server::start(data.path(), &["--shards", "3"]);
    assert_eq!(server.call("GET", "/healthz", None, None).0, 200);
    let begin = Instant::now();
    while server.call("GET", "/readyz", None, None).0 != 200 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", server.call("GET", "/readyz", None, None));
    }
    let _alice = Client::connect(&server, "alice", "phone");
    let begin = Instant::now();
    loop {
        let (status, metrics) = server.fetch("GET", "/metrics", None, None);
        assert_eq!(status, 200);
        let samples = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{shard=")));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        if samples("murmuring_sessions") == 1.0 && samples("murmuring_stored_total") >= 1.0 {
            assert!(metrics.contains("murmuring_store_state{state=\"healthy\"} 1"));
            assert!(metrics.contains("murmuring_connections{shard=\"2\"}"));
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{metrics}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_commands_of_the_tour_work_against_a_server_with_a_development_secret() {
    let data = tempdir().unwrap();
    let server = Server::start_with(data.path(), &[], &[]);
    let (client, api) = (server.client.to_string(), server.api.to_string());
    let common = ["--data", data.path().to_str().unwrap(), "--listen", &client, "--api-listen", &api];
    let with = |arguments: &[&str]| {
        let mut command = murmuring(arguments);
        command.args(common);
        command
    };
    let create = ["conversation", "create", "general", "--members", "alice,bob", "--title", "General"];
    let created = with(&create).output().unwrap();
    assert_eq!(text(&created.stdout), "general is created\n", "{}", text(&created.stderr));
    assert!(text(&with(&create).output().unwrap().stdout).starts_with("general was there already"));
    let first = with(&["send", "--user", "alice", "general", "before"]).output().unwrap();
    assert_eq!(text(&first.stdout), "general #1\n", "{}", text(&first.stderr));

    let mut tail = with(&["tail", "--user", "bob", "general"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().ends_with(" general #1 alice: before"));
    assert!(with(&["send", "--user", "alice", "general", "live"]).status().unwrap().success());
    assert!(lines.next().unwrap().ends_with(" general #2 alice: live"));
    let interrupted = std::process::Command::new("kill").args(["-INT", &tail.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(tail.wait().unwrap().code(), Some(0));

    let stranger = with(&["send", "--user", "eve", "general", "x"]).output().unwrap();
    assert_eq!(stranger.status.code(), Some(1));
    assert!(text(&stranger.stderr).contains("not_found"), "{}", text(&stranger.stderr));
}

#[test]
fn tail_comes_back_after_a_restart_and_misses_nothing() {
    let data = tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    server.create("general", &["alice", "bob"]);
    let (client, api) = (server.client.to_string(), server.api.to_string());
    let addresses = ["--listen", &client, "--api-listen", &api];
    let mut command = murmuring(&["tail", "--user", "bob", "--data", data.path().to_str().unwrap()]);
    command.args(addresses).env("MURMURING_AUTH_HS256_SECRET", SECRET);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut alice = Client::connect(&server, "alice", "phone");
    // Without a conversation named, tail shows what comes after it: so ask until it is there.
    let mut sent = 0;
    while server.call("GET", "/v1/users/bob/presence", Some(&token("bob", false)), None).1["online"] != true {
        thread::sleep(Duration::from_millis(10));
    }
    let mut say = |alice: &mut Client| {
        sent += 1;
        alice.message("general", &format!("m{sent}"), &format!("number {sent}"));
        alice.expect("ack");
    };
    say(&mut alice);
    assert!(lines.next().unwrap().ends_with("number 1"));
    server.signal("KILL");
    server.wait();
    let mut command = murmuring(&["serve", "--data", data.path().to_str().unwrap()]);
    command.args(addresses).env("MURMURING_AUTH_HS256_SECRET", SECRET).stdout(Stdio::piped());
    let mut again = command.spawn().unwrap();
    let mut ready = BufReader::new(again.stdout.take().unwrap()).lines();
    assert!(ready.next().unwrap().unwrap().starts_with("ready "));
    let missed = murmuring(&["send", "--user", "alice", "general", "number 2"])
        .args(addresses)
        .env("MURMURING_AUTH_HS256_SECRET", SECRET)
        .output()
        .unwrap();
    assert!(missed.status.success(), "{}", text(&missed.stderr));
    assert!(lines.next().unwrap().ends_with("number 2"));
    for child in [&mut tail, &mut again] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_hangup_reads_the_secret_file_again() {
    let data = tempdir().unwrap();
    let file = data.path().join("token-secret");
    std::fs::write(&file, "the first secret\n").unwrap();
    let server = Server::start_with(
        data.path(),
        &["--engine", "memory"],
        &[("MURMURING_AUTH_HS256_SECRET_FILE", file.to_str().unwrap())],
    );
    let (first, second) =
        (token_of("the first secret", "a", false), token_of("the second secret", "a", false));
    assert!(upgrade(server.client, &first).is_ok());
    assert!(upgrade(server.client, &second).is_err());
    std::fs::write(&file, "the second secret\n").unwrap();
    server.signal("HUP");
    let begin = Instant::now();
    while upgrade(server.client, &second).is_err() {
        assert!(begin.elapsed() < PATIENCE, "the new secret is not taken");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(upgrade(server.client, &first).is_err());
}

/// Runs `serve` that must not start; its exit code and stderr.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["serve", "--api-listen", "127.0.0.1:0"];
    all.extend(arguments);
    let output = run(&all);
    assert_eq!(text(&output.stdout), "", "no ready line");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let data = tempdir().unwrap();
    let _first = Server::start(data.path(), &[]);
    let (code, message) = refused(&["--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains(data.path().to_str().unwrap()), "{message}");
}

#[test]
fn a_port_in_use_is_refused_by_its_address() {
    let data = tempdir().unwrap();
    let other = tempdir().unwrap();
    let first = Server::start(data.path(), &["--engine", "memory"]);
    let path = other.path().to_str().unwrap();
    for flags in [["--listen", "127.0.0.1:0", "--api-listen"], ["--api-listen", "127.0.0.1:0", "--listen"]] {
        let address = if flags[0] == "--listen" { first.api } else { first.client }.to_string();
        let output =
            run(&["serve", "--engine", "memory", "--data", path, flags[0], flags[1], flags[2], &address]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(&format!("{address} is in use")), "{}", text(&output.stderr));
    }
}

#[test]
fn wrong_configurations_are_refused_with_exit_code_2() {
    let data = tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    let garbage = data.path().join("garbage.pem");
    std::fs::write(&garbage, "no key").unwrap();
    let file = data.path().join("murmuring.toml");
    std::fs::write(&file, format!("[auth]\npublic_key_files = [{garbage:?}]\n")).unwrap();
    for (arguments, words) in [
        (["--data", path, "--listen", "0.0.0.0:0"], "open to the network"),
        (["--data", path, "--engine", "foundationdb"], "not in this build"),
        (["--data", path, "--shards", "many"], "core.shards"),
        (["--data", path, "--config", file.to_str().unwrap()], "garbage.pem"),
        (["--data", path, "--config", "/nowhere.toml"], "/nowhere.toml"),
    ] {
        let (code, message) = refused(&arguments);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused_by_name() {
    let (code, message) = refused(&["--listen", "127.0.0.1:0", "--data", "/dev/null/data"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("/dev/null/data"), "{message}");
}
