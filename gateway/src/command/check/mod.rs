//! `check`: what this host has against what the configuration needs, with the command that mends each. Changes nothing.

mod cluster;

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use ring::limit::Limit;
use ring::probe::{Probe, probe};
use ring::setup::KERNEL_MIN;

use clap::{Args, ValueEnum};

use super::{Failure, print, stores};
use crate::config::{Config, EngineKind};
use crate::host::reading::{Host, command, raised, words};
use crate::host::setting::{SETTINGS, Scale, Setting, Weight};
use crate::host::{memory, process};
use crate::serve::{Role, ServeError, try_threads};

pub(super) const HELP: &str = "\
Looks and changes nothing. `ok` is fine, `note` works but could be better, `mend` must be mended before `serve`.
The host's settings are compared for core.connections_max connections, or for as many as limits and memory hold.
Exits with 0 when there is nothing to mend, with 1 otherwise.

Examples:
  murmuring check --config murmuring.toml --shards 60
  murmuring check router --config murmuring.toml";

#[derive(Args, Debug)]
pub(super) struct Check {
    /// The command that is to run here
    #[arg(value_enum, value_name = "COMMAND", default_value = "serve")]
    command: Serves,
}

/// A command that serves.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Serves {
    Serve,
    Gateway,
    Router,
}

impl Serves {
    const fn role(self) -> Role {
        match self {
            Self::Serve => Role::Both,
            Self::Gateway => Role::Gateway,
            Self::Router => Role::Router,
        }
    }
}

/// What is to be said about one thing.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    Note(String),
    Mend(String),
}

impl Check {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let shards = shards(config)?;
        let findings = findings(config, self.command.role(), &probe(), &Host::at(Path::new("/")), shards);
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
}

/// How many shards `serve` would start here.
pub(super) fn shards(config: &Config) -> Result<u64, Failure> {
    let cpus = ring::cpu::allowed().map_err(Failure::failed)?.len();
    Ok(if config.core.shards == 0 { cpus as u64 } else { u64::from(config.core.shards) })
}

/// Listeners of each shard.
pub(super) fn listeners(config: &Config) -> u64 {
    1 + u64::from(config.debug.echo.is_some())
}

fn findings(config: &Config, role: Role, probe: &Probe, host: &Host, shards: u64) -> Vec<Finding> {
    let scale = scale(config, probe.descriptors, host, shards);
    let mut findings = vec![kernel(probe), io_uring(probe), descriptors(config, probe.descriptors, shards)];
    let banks = banks(config, probe.descriptors.hard, shards);
    findings.push(locked(probe.locked_memory_bytes, host, shards, banks));
    findings.push(threads(shards));
    findings.push(held(&scale, host));
    findings.extend(SETTINGS.iter().map(|setting| of_setting(setting, &scale, host)));
    findings.push(table(&scale, host));
    findings.extend(ports(config, role, probe));
    if role.has_routers() {
        findings.push(data(config));
        findings.extend(store(config));
    }
    findings.extend(cluster::findings(config, role, probe));
    findings
}

/// The connections that are configured; without a number, as many as the limit and three quarters of memory hold.
fn scale(config: &Config, limit: Limit, host: &Host, shards: u64) -> Scale {
    let listeners = listeners(config);
    let slots = process::ring_slots(0, limit.hard, shards, listeners);
    let capacity = process::capacity(slots, shards, listeners);
    let connections = match u64::from(config.core.connections_max) {
        0 => capacity.min(host.memory_bytes().map_or(capacity, memory::connections)),
        connections => connections,
    };
    Scale { connections, shards, backlog: u64::from(config.listen.backlog), listeners }
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

/// Banks of each shard's ring.
fn banks(config: &Config, descriptors: u64, shards: u64) -> u64 {
    let connections_max = u64::from(config.core.connections_max);
    process::banks(process::ring_slots(connections_max, descriptors, shards, listeners(config)), descriptors)
}

/// A connection needs a slot in its shard's ring, and no descriptor of the process; RLIMIT_NOFILE bounds the slots of a bank,
/// and each bank is a descriptor.
fn descriptors(config: &Config, limit: Limit, shards: u64) -> Finding {
    let (listeners, wanted) = (listeners(config), u64::from(config.core.connections_max));
    let slots = process::ring_slots(wanted, limit.hard, shards, listeners);
    let (capacity, banks) = (process::capacity(slots, shards, listeners), process::banks(slots, limit.hard));
    let (least, ease) = (
        process::descriptors_least(shards, banks, listeners),
        process::descriptors_ease(shards, banks, listeners),
    );
    let held = if wanted == 0 { capacity } else { capacity.min(wanted) };
    let text = format!("RLIMIT_NOFILE {}: {shards} shards hold {held} connections", limit.hard);
    if limit.hard < least {
        return Finding::Mend(format!(
            "{text}, but the process itself opens {least} files: `ulimit -Hn {ease}` (systemd: LimitNOFILE={ease})"
        ));
    }
    if wanted > capacity {
        let shards_needed = wanted.div_ceil(process::SHARD_SLOTS_MAX - process::slots_of_accepts(listeners));
        return Finding::Mend(format!(
            "{text}, and core.connections_max is {wanted}: set core.shards = {shards_needed}, or run two nodes"
        ));
    }
    if limit.hard < ease {
        return Finding::Note(format!(
            "{text}; a large store and a busy API may run out of files: `ulimit -Hn {ease}` (systemd: LimitNOFILE={ease})"
        ));
    }
    if banks > 1 {
        let one = slots.div_ceil(slots.div_ceil(process::BANK_SLOTS_MAX)).max(ease);
        return Finding::Note(format!(
            "{text}, in {banks} banks each; fewer take less memory and CPU: `ulimit -Hn {one}` (systemd: LimitNOFILE={one})"
        ));
    }
    Finding::Ok(text)
}

/// Rings lock memory, for a user who has no right to lock as much as it likes.
fn locked(limit: Limit, host: &Host, shards: u64, banks: u64) -> Finding {
    let needed = process::locked_bytes(shards, banks);
    if host.locks_freely() == Some(true) {
        return Finding::Ok("RLIMIT_MEMLOCK does not bind this user (CAP_IPC_LOCK)".to_owned());
    }
    let text = format!("RLIMIT_MEMLOCK {} bytes", limit.hard);
    if limit.hard >= needed {
        return Finding::Ok(text);
    }
    let needed_kib = needed.div_ceil(1_024);
    Finding::Mend(format!(
        "{text}: the rings of {shards} shards lock {needed} on recent kernels: `ulimit -Hl {needed_kib}` \
         (systemd: LimitMEMLOCK=infinity)"
    ))
}

/// RLIMIT_NPROC, the control group and the kernel bound threads: all are tried at once.
fn threads(shards: u64) -> Finding {
    let threads = process::threads(shards);
    match try_threads(threads) {
        Ok(()) => Finding::Ok(format!("{threads} threads for {shards} shards")),
        Err(error) => Finding::Mend(ServeError::Threads { threads, shards, error }.to_string()),
    }
}

/// The memory that these connections take.
fn held(scale: &Scale, host: &Host) -> Finding {
    let (connections, idle) = (scale.connections, memory::idle_bytes(scale.connections));
    let text = format!("{connections} connections take {} MB when idle", idle / 1_000_000);
    match host.memory_bytes() {
        Some(all) if memory::connections(all) >= connections => Finding::Ok(text),
        Some(all) => Finding::Note(format!(
            "{text}, and a message to all of them {} MB more; this host's {} MB are good for {}: lower \
             core.connections_max, or add memory",
            connections * memory::BUSY_SOCKET_BYTES / 1_000_000,
            all / 1_000_000,
            memory::connections(all)
        )),
        None => Finding::Note(format!("{text}; how much this host has can't be read")),
    }
}

fn of_setting(setting: &Setting, scale: &Scale, host: &Host) -> Finding {
    let Some(now) = host.setting(setting.key) else {
        return Finding::Note(format!("{} can't be read here, or is not in this kernel", setting.key));
    };
    let text = format!("{} {}", setting.key, words(&now));
    let Some(wanted) = raised(&now, &(setting.value)(scale)) else { return Finding::Ok(text) };
    let text =
        format!("{text} is low for {} connections: `{}`", scale.connections, command(setting, &wanted));
    match setting.weight {
        Weight::Refuses => Finding::Mend(text),
        Weight::Hurts => Finding::Note(text),
    }
}

/// More than four sockets a place make every packet look through a longer list.
fn table(scale: &Scale, host: &Host) -> Finding {
    match host.connection_table() {
        Some(places) if scale.connections <= places * 4 => {
            Finding::Ok(format!("net.ipv4.tcp_ehash_entries {places}"))
        }
        Some(places) => Finding::Note(format!(
            "net.ipv4.tcp_ehash_entries {places} is low for {} connections: boot with thash_entries={}",
            scale.connections,
            scale.connections.next_power_of_two()
        )),
        None => Finding::Note("net.ipv4.tcp_ehash_entries can't be read".to_owned()),
    }
}

fn ports(config: &Config, role: Role, probe: &Probe) -> Vec<Finding> {
    let of_clients = |address: Option<SocketAddr>| address.filter(|_| role.has_clients());
    let addresses = [
        ("listen.client", of_clients(Some(config.listen.client))),
        ("listen.api", Some(config.listen.api)),
        ("debug.echo", of_clients(config.debug.echo)),
        ("cluster.listen", role.listens_for_links(config)),
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

/// Whether the cluster answers, where the store is in one.
fn store(config: &Config) -> Option<Finding> {
    let kind = config.store.engine;
    if kind != EngineKind::Foundationdb {
        return None;
    }
    let place = stores::place(config, kind);
    Some(match stores::is_there(config, kind) {
        Ok(true) => Finding::Ok(format!("{place} answers and holds a store")),
        Ok(false) => Finding::Ok(format!("{place} answers; `serve` makes a store there")),
        Err(failure) => Finding::Mend(format!(
            "{failure}: `fdbcli -C FILE --exec status` says what the cluster lacks; `serve` waits for it"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_past_a_bank_each_are_held_by_more_banks_and_the_limit_for_one_is_named() {
        let limit = Limit { soft: 20_000, hard: 20_000 };
        let mut config = Config::default();
        assert!(matches!(descriptors(&config, limit, 2), Finding::Ok(text) if text.contains("hold 39968 c")));
        config.core.connections_max = 30_000;
        assert!(matches!(descriptors(&config, limit, 2), Finding::Ok(_)));
        config.core.connections_max = 1_000_000;
        let Finding::Note(text) = descriptors(&config, limit, 2) else { panic!("it works") };
        assert!(
            text.contains("hold 1000000 connections, in 29 banks each") && text.contains("ulimit -Hn 562516"),
            "{text}"
        );
    }

    #[test]
    fn banks_that_the_limit_does_not_give_are_to_be_mended_and_what_is_told_mends_it() {
        let mut config = Config::default();
        config.core.connections_max = 1_000_000;
        let limit = |hard| Limit { soft: hard, hard };
        let Finding::Mend(text) = descriptors(&config, limit(1_000), 2) else { panic!("1,126 banks") };
        let needed = text.split("ulimit -Hn ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
        let mended = descriptors(&config, limit(needed.parse().unwrap()), 2);
        assert!(matches!(mended, Finding::Note(_)), "{mended:?}");
        config.core.connections_max = 100_000_000;
        let Finding::Mend(text) = descriptors(&config, limit(1 << 20), 1) else { panic!("2^24 a shard") };
        assert!(text.contains("core.shards = 6"), "{text}");
    }

    #[test]
    fn a_limit_below_the_process_own_needs_is_to_be_mended() {
        let limit = |hard| Limit { soft: hard, hard };
        let of = |hard| descriptors(&Config::default(), limit(hard), 1);
        let (least, ease) = (process::descriptors_least(1, 1, 1), process::descriptors_ease(1, 1, 1));
        assert!(matches!(of(ease), Finding::Ok(_)));
        assert!(matches!(of(ease - 1), Finding::Note(_)) && matches!(of(least), Finding::Note(_)));
        assert!(matches!(of(least - 1), Finding::Mend(_)));
    }

    /// A host that has `value` for every setting.
    fn host_with(value: u64) -> (Host, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        for setting in SETTINGS {
            let path = directory.path().join(format!("proc/sys/{}", setting.key.replace('.', "/")));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{value} {value} {value}\n")).unwrap();
        }
        (Host::at(directory.path()), directory)
    }

    #[test]
    fn every_setting_is_fine_when_it_is_high_and_told_with_its_command_when_it_is_low() {
        let scale = Scale { connections: 1_000_000, shards: 57, backlog: 65_535, listeners: 1 };
        let (high, _directory) = host_with(u64::MAX);
        let (low, _directory_of_low) = host_with(1);
        for setting in SETTINGS {
            assert!(matches!(of_setting(setting, &scale, &high), Finding::Ok(_)), "{}", setting.key);
            let (Finding::Note(text) | Finding::Mend(text)) = of_setting(setting, &scale, &low) else {
                panic!("{} is low", setting.key)
            };
            assert!(text.contains("`sysctl -w ") && text.contains(setting.key), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_a_note() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::at(directory.path());
        let scale = scale(&Config::default(), Limit { soft: 1_000, hard: 1_000 }, &host, 2);
        assert_eq!(scale.connections, 2 * (1_000 - 16));
        for setting in SETTINGS {
            assert!(matches!(of_setting(setting, &scale, &host), Finding::Note(_)), "{}", setting.key);
        }
        assert!(matches!(table(&scale, &host), Finding::Note(_)));
        assert!(matches!(held(&scale, &host), Finding::Note(_)));
    }

    #[test]
    fn locked_memory_is_told_in_the_units_of_ulimit() {
        let (host, _directory) = host_with(1);
        let of = |hard| locked(Limit { soft: hard, hard }, &host, 2, 1);
        assert!(matches!(of(process::locked_bytes(2, 1)), Finding::Ok(_)));
        let Finding::Mend(text) = of(65_536) else { panic!("two rings lock more") };
        assert!(text.contains("ulimit -Hl 1048"), "{text}");
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
        let findings = findings(&Config::default(), Role::Both, &probe(), &Host::at(Path::new("/")), 2);
        assert!(findings.len() >= 8 + SETTINGS.len());
    }
}
