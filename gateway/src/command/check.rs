//! `check`: what this host has against what the configuration needs, with the command that mends each. Changes nothing.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use ring::limit::Limit;
use ring::listener::ListenerSettings;
use ring::probe::{Probe, probe};
use ring::setup::KERNEL_MIN;

use super::{Failure, print};
use crate::config::{Config, EngineKind};

pub(super) const HELP: &str = "\
Looks and changes nothing. `ok` is fine, `note` works but could be better, `mend` must be mended before `serve`.
Exits with 0 when there is nothing to mend, with 1 otherwise.

Example:
  murmuring check --config murmuring.toml --shards 60";

/// Descriptors of the process beside its connections, a shard and in all: wakers, rings, listeners, files of the store.
const DESCRIPTORS_OWN: u64 = 512;
const DESCRIPTORS_A_SHARD: u64 = 8;

/// What is to be said about one thing.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    Note(String),
    Mend(String),
}

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let cpus = ring::cpu::allowed().map_err(Failure::failed)?.len();
    let shards = if config.core.shards == 0 { cpus as u64 } else { u64::from(config.core.shards) };
    let findings = findings(config, &probe(), shards);
    let mut text = String::new();
    for finding in &findings {
        let (word, what) = match finding {
            Finding::Ok(what) => ("ok", what),
            Finding::Note(what) => ("note", what),
            Finding::Mend(what) => ("mend", what),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{word:5} {what}");
    }
    print(&text)?;
    let to_mend = findings.iter().any(|finding| matches!(finding, Finding::Mend(_)));
    if to_mend { Err(Failure::Told) } else { Ok(()) }
}

fn findings(config: &Config, probe: &Probe, shards: u64) -> Vec<Finding> {
    let mut findings = vec![kernel(probe), io_uring(probe), descriptors(config, probe.descriptors, shards)];
    findings.push(files(config, probe, shards));
    findings.push(backlog(probe));
    findings.extend(ports(config, probe));
    findings.push(data(config));
    findings
}

fn kernel(probe: &Probe) -> Finding {
    let (major, minor) = KERNEL_MIN;
    let text = format!("kernel {}", probe.kernel);
    match probe.kernel_version {
        Some(version) if version >= KERNEL_MIN => Finding::Ok(text),
        Some(_) => Finding::Mend(format!("{text}: run Linux {major}.{minor} or newer")),
        None => Finding::Note(format!("{text}: can't tell its version; {major}.{minor} or newer is needed")),
    }
}

fn io_uring(probe: &Probe) -> Finding {
    match &probe.ring {
        Ok(_) => Finding::Ok("io_uring with all that is needed".to_owned()),
        Err(error) => Finding::Mend(format!("io_uring: {error}")),
    }
}

/// A connection needs a place in its shard's ring, which RLIMIT_NOFILE bounds, and no descriptor of the process.
fn descriptors(config: &Config, limit: Limit, shards: u64) -> Finding {
    let capacity = limit.hard.saturating_mul(shards);
    let wanted = u64::from(config.core.connections_max);
    let own = DESCRIPTORS_OWN + DESCRIPTORS_A_SHARD * shards;
    let text = format!("RLIMIT_NOFILE {}: {shards} shards hold {capacity} connections", limit.hard);
    if limit.hard < own {
        return Finding::Mend(format!(
            "{text}, but the process itself opens up to {own} files: `ulimit -Hn {own}` (systemd: LimitNOFILE={own})"
        ));
    }
    if wanted <= capacity {
        return Finding::Ok(text);
    }
    let shards_needed = wanted.div_ceil(limit.hard);
    let limit_needed = wanted.div_ceil(shards);
    Finding::Mend(format!(
        "{text}, and core.connections_max is {wanted}: `ulimit -Hn {limit_needed}` (systemd: LimitNOFILE={limit_needed}), \
         or core.shards = {shards_needed}"
    ))
}

fn files(config: &Config, probe: &Probe, shards: u64) -> Finding {
    let wanted = match u64::from(config.core.connections_max) {
        0 => probe.descriptors.hard.saturating_mul(shards),
        connections => connections,
    };
    match probe.files_max {
        Some(max) if max >= wanted => Finding::Ok(format!("fs.file-max {max}")),
        Some(max) => Finding::Mend(format!(
            "fs.file-max {max} is less than {wanted} connections: `sysctl -w fs.file-max={}`",
            wanted.saturating_mul(2)
        )),
        None => Finding::Note("fs.file-max can't be read".to_owned()),
    }
}

fn backlog(probe: &Probe) -> Finding {
    let wanted = u64::try_from(ListenerSettings::default().backlog).unwrap_or(0);
    match probe.backlog_max {
        Some(max) if max >= wanted => Finding::Ok(format!("net.core.somaxconn {max}")),
        Some(max) => Finding::Note(format!(
            "net.core.somaxconn {max}: a storm of connections overflows it; `sysctl -w net.core.somaxconn={wanted}`"
        )),
        None => Finding::Note("net.core.somaxconn can't be read".to_owned()),
    }
}

fn ports(config: &Config, probe: &Probe) -> Vec<Finding> {
    let addresses = [
        ("listen.client", Some(config.listen.client)),
        ("listen.api", Some(config.listen.api)),
        ("debug.echo", config.debug.echo),
    ];
    let named = addresses.into_iter().filter_map(|(key, address)| Some((key, address?)));
    named.map(|(key, address)| of_address(key, address, probe)).collect()
}

/// Binds the address for a moment, which is the one way to know that it can be had.
fn of_address(key: &str, address: SocketAddr, probe: &Probe) -> Finding {
    let port = address.port();
    match TcpListener::bind(address).map_err(|error| error.kind()) {
        Err(ErrorKind::AddrInUse) => Finding::Note(format!(
            "{key} {address} is in use, by a running server or another process: `ss -ltnp 'sport = :{port}'` names it"
        )),
        Err(ErrorKind::AddrNotAvailable) => Finding::Mend(format!(
            "{key} {address} is no address of this host: `ip -brief address` lists them"
        )),
        Ok(_) | Err(_) if port == 0 => Finding::Ok(format!("{key} {address}: any free port")),
        Ok(_) | Err(_) => of_port(key, port, probe),
    }
}

fn of_port(key: &str, port: u16, probe: &Probe) -> Finding {
    if probe.unprivileged_port_start.is_some_and(|start| u64::from(port) < start) {
        return Finding::Note(format!(
            "{key} port {port} needs a right: `sysctl -w net.ipv4.ip_unprivileged_port_start={port}`, or CAP_NET_BIND_SERVICE"
        ));
    }
    match probe.local_ports {
        Some((first, last)) if (first..=last).contains(&port) => Finding::Note(format!(
            "{key} port {port} lies in net.ipv4.ip_local_port_range {first} to {last}: an outgoing connection may take \
             it; `sysctl -w net.ipv4.ip_local_reserved_ports={port}`"
        )),
        _ => Finding::Ok(format!("{key} port {port}")),
    }
}

fn data(config: &Config) -> Finding {
    let path = Path::new(&config.store.path);
    let shown = path.display();
    if config.store.engine == EngineKind::Memory {
        return Finding::Note(
            "store.engine is memory: every message is gone when the process ends".to_owned(),
        );
    }
    match path.metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::Mend(format!("store.path {shown} is no directory: name another"))
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            Finding::Mend(format!("store.path {shown} can't be written: `chmod u+w {shown}`"))
        }
        Ok(_) => Finding::Ok(format!("store.path {shown} is there")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::Ok(format!("store.path {shown} is not there yet; `serve` makes it"))
        }
        Err(error) => {
            Finding::Mend(format!("store.path {shown}: {error}: give this user a directory it may enter"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_fit_are_fine_and_one_more_names_both_ways_to_mend_it() {
        let limit = Limit { soft: 1_000, hard: 1_000 };
        let mut config = Config::default();
        config.core.connections_max = 2_000;
        assert!(matches!(descriptors(&config, limit, 2), Finding::Ok(_)));
        config.core.connections_max = 2_001;
        let Finding::Mend(text) = descriptors(&config, limit, 2) else { panic!("must be mended") };
        assert!(text.contains("ulimit -Hn 1001") && text.contains("core.shards = 3"), "{text}");
    }

    #[test]
    fn a_limit_below_the_process_own_needs_is_to_be_mended() {
        let limit = |hard| Limit { soft: hard, hard };
        let needed = DESCRIPTORS_OWN + DESCRIPTORS_A_SHARD;
        assert!(matches!(descriptors(&Config::default(), limit(needed), 1), Finding::Ok(_)));
        assert!(matches!(descriptors(&Config::default(), limit(needed - 1), 1), Finding::Mend(_)));
    }

    #[test]
    fn an_address_that_can_not_be_had_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let of = |address: SocketAddr| of_address("listen.api", address, &probe());
        let Finding::Note(text) = of(taken.local_addr().unwrap()) else { panic!("it is in use") };
        assert!(text.contains("is in use"), "{text}");
        // TEST-NET-1 (RFC 5737): nobody has it.
        let Finding::Mend(text) = of("192.0.2.1:8800".parse().unwrap()) else { panic!("it is nobody's") };
        assert!(text.contains("no address of this host"), "{text}");
        assert!(matches!(of("127.0.0.1:0".parse().unwrap()), Finding::Ok(_)));
    }

    #[test]
    fn this_host_is_described_without_a_panic() {
        let findings = findings(&Config::default(), &probe(), 2);
        assert!(findings.len() >= 8);
    }
}
