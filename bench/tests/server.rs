//! Promise: a server that is started for a run has a configuration of its own, is stopped in order, and leaves nothing
//! behind; one that does not start says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bench::options::{Engine, ServerOptions};
use bench::server::{Needs, Server, ServerError};

/// A program in the place of the server.
fn program(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("murmuring");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn options(server: PathBuf) -> ServerOptions {
    ServerOptions {
        connect: Vec::new(),
        api: Vec::new(),
        pid: Vec::new(),
        secret: None,
        secret_file: None,
        api_key: None,
        server: Some(server),
        shards: Some(7),
        gateways: 0,
        routers: 1,
        gateway_shards: None,
        router_shards: None,
        engine: Engine::Memory,
        cluster_file: None,
        data: None,
    }
}

#[test]
fn a_started_server_gets_its_configuration_and_is_stopped_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.toml");
    let stopped = directory.path().join("stopped");
    let script = format!(
        "cp \"$3\" {}; trap 'touch {}; exit 0' TERM\necho ready client=x api=y; while true; do sleep 0.02; done",
        copy.display(),
        stopped.display()
    );
    let needs = Needs::connections(10).with("limits.heartbeat_ms", 1_234);
    let server = Server::start_or_attach(&options(program(directory.path(), &script)), &needs).unwrap();
    let configuration: toml::Table = fs::read_to_string(&copy).unwrap().parse().unwrap();
    assert_eq!(configuration["core"]["shards"].as_integer(), Some(7));
    assert_eq!(configuration["limits"]["heartbeat_ms"].as_integer(), Some(1_234));
    assert_eq!(configuration["listen"]["client"].as_str(), Some(&*server.client_addresses()[0].to_string()));
    assert_eq!(configuration["auth"]["hs256_secret"].as_str(), Some(server.secret()));
    server.stop().unwrap();
    assert!(stopped.exists());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "echo the disk is on fire >&2; exit 1");
    let error = Server::start_or_attach(&options(program), &Needs::connections(1)).unwrap_err();
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    let missing = options(directory.path().join("nothing"));
    let error = Server::start_or_attach(&missing, &Needs::connections(1)).unwrap_err();
    assert!(matches!(error, ServerError::NoProgram { .. }), "{error}");
}

#[test]
fn nobody_attaches_without_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let attach = ServerOptions {
        connect: vec!["127.0.0.1:1".parse().unwrap()],
        api: vec!["127.0.0.1:2".parse().unwrap()],
        ..options(directory.path().join("nothing"))
    };
    let error = Server::start_or_attach(&attach, &Needs::connections(1)).unwrap_err();
    assert!(matches!(error, ServerError::NoSecret), "{error}");
}
