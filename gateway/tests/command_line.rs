//! Promises of the command line (PROTOCOL, section 6) that need no server: outputs, exit codes, help on every level.

mod node;

use node::{murmuring, run, text};
use tempfile::tempdir;

#[test]
fn every_level_has_help_with_exit_code_0() {
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["gateway", "--help"],
        &["router", "--help"],
        &["config", "--help"],
        &["config", "default", "--help"],
        &["config", "check", "--help"],
        &["token", "--help"],
        &["conversation", "--help"],
        &["conversation", "create", "--help"],
        &["send", "--help"],
        &["tail", "--help"],
        &["verify", "--help"],
        &["check", "--help"],
        &["plan", "--help"],
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(text(&output.stdout).contains("Usage: murmuring"), "{command:?}");
    }
}

#[test]
fn wrong_usage_has_exit_code_2_and_says_nothing_on_stdout() {
    for arguments in [
        &["nonsense"][..],
        &[],
        &["token"],
        &["token", "--user", "not an id"],
        &["token", "--user", "a", "--ttl", "soon"],
        &["token", "--user", "a", "--tenant", ""],
        &["conversation", "create", "c"],
        &["conversation", "create", "c", "--members", "a,,b c"],
        &["send", "--user", "a", "c"],
        &["gateway"],
        &["cluster"],
        &["cluster", "drain"],
        &["cluster", "move", "4096", "node"],
        &["--shards", "x", "check"],
        &["plan"],
        &["plan", "0"],
        &["plan", "--users", "10"],
        &["plan", "--users", "10", "--nodes", "1"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert_ne!(text(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn the_printed_configuration_passes_its_own_check() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("murmuring.toml");
    let printed = run(&["config", "default"]);
    std::fs::write(&file, &printed.stdout).unwrap();
    let checked = run(&["config", "check", "--config", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn config_check_names_every_wrong_key_with_exit_code_2() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("murmuring.toml");
    std::fs::write(&file, "[limits]\nbody_byts = 1\nmeta_bytes = -1\n[lisen]\n").unwrap();
    let mut command = murmuring(&["config", "check", "--config", file.to_str().unwrap()]);
    let output = command.env("MURMURING_LOG_LEVL", "info").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    for word in ["body_byts", "meta_bytes", "lisen", "MURMURING_LOG_LEVL"] {
        assert!(message.contains(word), "{word} in {message}");
    }
}

#[test]
fn a_token_is_alone_on_stdout_and_signed_with_the_configured_secret() {
    let mut command = murmuring(&["token", "--user", "alice", "--tenant", "acme", "--ttl", "5m", "--admin"]);
    let output = command.env("MURMURING_AUTH_HS256_SECRET", "s3cret").output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    let token = text(&output.stdout);
    let parts: Vec<&str> = token.strip_suffix('\n').unwrap().split('.').collect();
    assert_eq!(parts.len(), 3);
    let mut keys = gateway::auth::Keys::new();
    keys.add_hs256_secret(b"s3cret").unwrap();
    let authenticator = gateway::auth::Authenticator::new(keys, gateway::auth::Rules::default(), &[7; 32]);
    let identity = authenticator.verify(token.trim(), ring::clock::realtime_ms()).unwrap();
    assert_eq!((identity.user.as_str(), identity.tenant.as_str(), identity.admin), ("alice", "acme", true));
    let life_ms = identity.expires_ms - ring::clock::realtime_ms();
    assert!((290_000..=300_000).contains(&life_ms), "{life_ms}");
}

#[test]
fn a_development_secret_is_made_once_and_told_on_stderr() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    let token = || run(&["token", "--user", "a", "--data", data.to_str().unwrap()]);
    let first = token();
    assert!(text(&first.stderr).contains("development-secret"), "{}", text(&first.stderr));
    assert_eq!(text(&token().stderr), "");
    assert!(first.status.success());
}

#[test]
fn a_token_without_a_secret_to_sign_with_says_so() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, "{}").unwrap();
    let mut command = murmuring(&["token", "--user", "a"]);
    let output = command.env("MURMURING_AUTH_JWKS_FILE", &file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("hs256_secret"), "{}", text(&output.stderr));
}

#[test]
fn verify_without_a_store_fails_with_exit_code_1() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("none");
    let output = run(&["verify", "--data", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!path.exists(), "verify makes nothing");
}

#[test]
fn clients_without_a_server_fail_with_exit_code_1_and_its_address() {
    let directory = tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let closed = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (client, api) = (closed(), closed());
    let flags = ["--data", data, "--listen", &client, "--api-listen", &api];
    for arguments in [
        &["send", "--user", "a", "c", "x"][..],
        &["tail", "--user", "a"],
        &["conversation", "create", "c", "--members", "a"],
    ] {
        let output = murmuring(arguments).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let message = text(&output.stderr);
        assert!(message.contains(&client) || message.contains(&api), "{message}");
    }
}

#[test]
fn check_describes_this_host_and_changes_nothing() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("data");
    let output = run(&["check", "--data", data.to_str().unwrap()]);
    assert!(matches!(output.status.code(), Some(0 | 1)));
    assert!(text(&output.stdout).contains("kernel"), "{}", text(&output.stdout));
    assert!(!data.exists());
    let wanting = murmuring(&["check", "--data", data.to_str().unwrap(), "--shards", "1"])
        .env("MURMURING_CORE_CONNECTIONS_MAX", "99000000")
        .output()
        .unwrap();
    assert_eq!(wanting.status.code(), Some(1));
    assert!(text(&wanting.stdout).contains("core.shards = "), "{}", text(&wanting.stdout));
    let gateway = run(&["check", "gateway", "--data", data.to_str().unwrap()]);
    assert_eq!(gateway.status.code(), Some(1));
    assert!(text(&gateway.stdout).contains("mend  cluster.routers is empty"), "{}", text(&gateway.stdout));
    assert!(!data.exists());
}
