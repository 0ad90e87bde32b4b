//! Promise: a cluster that is started for a run has its routers before its gateways and stops the other way round, each node
//! knows its place and all share their secrets; whoever fails is named, and nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use bench::options::{Engine, ServerOptions};
use bench::server::{Layout, Needs, Server};
use gateway::config::{Sources, load};

/// A program in the place of the server, as every node: it notes what becomes of it in `notes`. `first` is done first.
fn options(directory: &Path, gateways: u16, routers: u16, first: &str) -> ServerOptions {
    let path = directory.join("murmuring");
    let place = directory.display();
    let script = format!(
        "#!/bin/sh\nname=$(basename \"$3\" .toml); cp \"$3\" {place}/$name.copy\n{first}\n\
         note() {{ echo \"$1 $name\" >> {place}/notes; }}\n\
         trap 'note stop; exit 0' TERM\nnote \"$1\"; echo \"$$\" > {place}/$name.pid\n\
         echo ready link=x api=y; while true; do sleep 0.02; done\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    ServerOptions {
        connect: Vec::new(),
        api: Vec::new(),
        pid: Vec::new(),
        secret: None,
        secret_file: None,
        api_key: None,
        server: Some(path),
        shards: Some(3),
        gateways,
        routers,
        gateway_shards: None,
        router_shards: Some(1),
        engine: Engine::Foundationdb,
        cluster_file: None,
        data: None,
    }
}

fn notes(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn copy(directory: &Path, name: &str) -> toml::Table {
    fs::read_to_string(directory.join(format!("{name}.copy"))).unwrap().parse().unwrap()
}

#[test]
fn routers_start_first_and_stop_last_and_clients_are_told_of_every_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path(), 2, 2, "");
    let server = Server::start_or_attach(&options, &Needs::connections(10)).unwrap();
    assert_eq!(
        notes(directory.path()),
        ["router router-0", "router router-1", "gateway gateway-0", "gateway gateway-1"]
    );
    let layout = Layout { gateways: 2, routers: 2, gateway_shards: 3, router_shards: 1 };
    assert_eq!((server.layout(), server.shards()), (Some(layout), None));
    let gateways = ["gateway-0", "gateway-1"].map(|name| copy(directory.path(), name));
    let doors = gateways.each_ref().map(|file| file["listen"]["client"].as_str().unwrap().to_owned());
    let told: Vec<String> = server.client_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(told, doors);
    assert_eq!(Some(&*server.api().address().to_string()), gateways[0]["listen"]["api"].as_str());
    assert_eq!(gateways[0]["auth"]["hs256_secret"].as_str(), Some(server.secret()));
    for name in ["router-0", "router-1", "gateway-0", "gateway-1"] {
        let file = Some(directory.path().join(format!("{name}.copy")));
        // A store that need not be in this build.
        let environment = vec![("MURMURING_STORE_ENGINE".into(), "memory".into())];
        load(&Sources { file, environment, ..Sources::default() })
            .unwrap_or_else(|problems| panic!("{name}: {problems}"));
    }
    assert!(server.cpu().unwrap().is_some());
    server.stop().unwrap();
    let stopped = &notes(directory.path())[4..];
    assert_eq!(stopped, ["stop gateway-0", "stop gateway-1", "stop router-0", "stop router-1"]);
}

#[test]
fn a_node_that_does_not_start_is_named_and_ends_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let first = "test $name = gateway-0 && { echo no router answers >&2; exit 1; }";
    let options = options(directory.path(), 1, 1, first);
    let error = Server::start_or_attach(&options, &Needs::connections(1)).unwrap_err().to_string();
    assert!(error.starts_with("gateway-0: ") && error.contains("no router answers"), "{error}");
    let pid = fs::read_to_string(directory.path().join("router-0.pid")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn a_node_that_ends_is_named_and_the_others_are_stopped_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path(), 2, 1, "");
    let mut server = Server::start_or_attach(&options, &Needs::connections(1)).unwrap();
    server.check().unwrap();
    let pid = fs::read_to_string(directory.path().join("gateway-1.pid")).unwrap();
    assert!(Command::new("kill").arg("-KILL").arg(pid.trim()).status().unwrap().success());
    let error = loop {
        if let Err(error) = server.check() {
            break error.to_string();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(error.starts_with("gateway-1: the server ended"), "{error}");
    assert!(server.stop().unwrap_err().to_string().starts_with("gateway-1: "));
    assert_eq!(notes(directory.path())[3..], ["stop gateway-0", "stop router-0"]);
}
