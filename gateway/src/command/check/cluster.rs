//! What `[cluster]` says, against what a process in its role needs. Asks a server of names, and no other node.

use std::net::SocketAddr;

use ring::probe::Probe;

use super::Finding;
use crate::config::{Config, EngineKind};
use crate::link::SILENCE_MS;
use crate::serve::{self, Role};

/// The first Linux whose rings can dial.
const KERNEL_DIALS: (u32, u32) = (6, 11);

/// Nothing for a server that is all there is.
pub(super) fn findings(config: &Config, role: Role, probe: &Probe) -> Vec<Finding> {
    let cluster = &config.cluster;
    let listen = role.listens_for_links(config);
    if role == Role::Both && listen.is_none() {
        let is_meant = !cluster.routers.is_empty() || cluster.advertise.is_some();
        let text = "[cluster] says something, but `serve` without cluster.listen is a server of its own: set it, or run \
                    `gateway` or `router`";
        return if is_meant { vec![Finding::Note(text.to_owned())] } else { Vec::new() };
    }
    let mut findings = vec![kernel(probe), name(config, listen), secret(config, role), tokens(config)];
    if let Some(listen) = listen {
        findings.push(reached_at(config, listen));
        findings.push(shared_store(config));
    }
    if role == Role::Gateway && cluster.routers.is_empty() {
        findings.push(Finding::Mend("cluster.routers is empty: name a router node, `host:port`".to_owned()));
    }
    findings.extend(cluster.routers.iter().map(|router| of_router(router, listen)));
    findings.push(times(config));
    findings
}

fn kernel(probe: &Probe) -> Finding {
    let (major, minor) = KERNEL_DIALS;
    let text = format!("kernel {}", probe.kernel);
    match probe.kernel_version {
        Some(version) if version >= KERNEL_DIALS => Finding::Ok(format!("{text} can dial other nodes")),
        Some(_) => {
            Finding::Mend(format!("{text} can't dial other nodes: run Linux {major}.{minor} or newer"))
        }
        None => Finding::Note(format!("{text}: to dial other nodes, {major}.{minor} or newer is needed")),
    }
}

/// A router node is known by its name: under another it is another, and leaves its slots to be taken.
fn name(config: &Config, listen: Option<SocketAddr>) -> Finding {
    let name = serve::name(config, listen);
    if config.cluster.node.is_empty() && listen.is_some() {
        return Finding::Note(format!(
            "cluster.node is empty: this node is {name} for as long as its host has this name and it this port"
        ));
    }
    Finding::Ok(format!("cluster.node {name}"))
}

fn secret(config: &Config, role: Role) -> Finding {
    match serve::configured_secret(config) {
        Ok(Some(secret)) => Finding::Ok(format!("cluster.secret has {} bytes", secret.reveal().len())),
        Ok(None) if role == Role::Gateway && config.cluster.routers.iter().any(|router| is_elsewhere(router)) => {
            Finding::Mend(
                "there is no cluster.secret, and router nodes of other hosts can't know one that is made here: \
                 `openssl rand -hex 32` makes one for all nodes"
                    .to_owned(),
            )
        }
        Ok(None) => Finding::Note(format!(
            "there is no cluster.secret: one is made and kept in {}, for nodes of this host that share the directory",
            config.store.path
        )),
        Err(error) => Finding::Mend(error.to_string()),
    }
}

/// Whether an address is another host's, as far as it can be told without looking it up.
fn is_elsewhere(router: &str) -> bool {
    let host = router.rsplit_once(':').map_or(router, |(host, _)| host);
    host != "localhost" && router.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
}

/// Tokens are checked wherever a client connects, and where the API is called.
fn tokens(config: &Config) -> Finding {
    if config.auth.is_configured() {
        return Finding::Ok(
            "[auth] says what tokens are checked with: it must be the same everywhere".to_owned(),
        );
    }
    Finding::Note(
        "[auth] has no secret and no key: each node makes a development secret, and no other takes its tokens"
            .to_owned(),
    )
}

fn reached_at(config: &Config, listen: SocketAddr) -> Finding {
    let address = config.cluster.advertise.unwrap_or(listen);
    if address.ip().is_loopback() {
        return Finding::Note(format!(
            "other nodes are told {address}, which only nodes of this host reach: say otherwise with cluster.advertise"
        ));
    }
    Finding::Ok(format!("other nodes are told {address}"))
}

fn shared_store(config: &Config) -> Finding {
    match config.store.engine {
        EngineKind::Foundationdb => {
            Finding::Ok("store.engine foundationdb: several router nodes may share it".to_owned())
        }
        EngineKind::Embedded | EngineKind::Memory => Finding::Note(
            "store.engine is of this process alone: it is the only router node of its cluster".to_owned(),
        ),
    }
}

fn of_router(router: &str, listen: Option<SocketAddr>) -> Finding {
    match serve::look_up(router) {
        Ok(addresses) if addresses.iter().all(|address| Some(*address) == listen) => {
            Finding::Note(format!("cluster.routers {router} is this node itself"))
        }
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            Finding::Ok(format!("cluster.routers {router}: {}", addresses.join(", ")))
        }
        Err(error) => Finding::Note(format!(
            "cluster.routers {router} has no address now ({error}): `getent hosts` asks the same; it is looked up again \
             while the node runs"
        )),
    }
}

/// Requests should outlive the death of a router node, and of the way to one: then nobody is refused anything.
fn times(config: &Config) -> Finding {
    let (lease_ms, patience_ms) = (u64::from(config.cluster.lease_ms), u64::from(config.cluster.patience_ms));
    let least_ms = (2 * lease_ms).max(SILENCE_MS + lease_ms / 4);
    let text = format!("cluster.patience_ms {patience_ms}, cluster.lease_ms {lease_ms}");
    if patience_ms >= least_ms {
        return Finding::Ok(format!("{text}: they should be the same everywhere"));
    }
    Finding::Note(format!(
        "{text}: requests are refused before a dead node's slots have others, or a silent link is given up ({SILENCE_MS} \
         ms): {least_ms} of patience would do"
    ))
}

#[cfg(test)]
mod tests {
    use ring::probe::probe;

    use super::*;
    use crate::config::Secret;

    fn all(config: &Config, role: Role) -> String {
        format!("{:#?}", findings(config, role, &probe()))
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.cluster.secret = Secret::new("s".repeat(32));
        config.auth.hs256_secret = Secret::new("t".repeat(32));
        config.cluster.node = "router-1".into();
        config
    }

    #[test]
    fn a_server_of_its_own_is_told_nothing_but_that_it_is_one() {
        assert!(findings(&Config::default(), Role::Both, &probe()).is_empty());
        let mut config = config();
        config.cluster.routers = vec!["10.0.0.1:8802".into()];
        let found = findings(&config, Role::Both, &probe());
        assert!(matches!(&found[..], [Finding::Note(text)] if text.contains("server of its own")));
    }

    #[test]
    fn a_cluster_that_is_complete_has_nothing_to_be_noted() {
        let mut config = config();
        config.store.engine = EngineKind::Foundationdb;
        config.cluster.listen = "10.0.0.1:8802".parse().ok();
        config.cluster.routers = vec!["10.0.0.2:8802".into()];
        for role in [Role::Both, Role::Router, Role::Gateway] {
            let found = findings(&config, role, &probe());
            let kernel = found[0] == kernel(&probe());
            assert!(
                kernel && found[1..].iter().all(|finding| matches!(finding, Finding::Ok(_))),
                "{found:#?}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_told() {
        let mut config = Config::default();
        assert!(all(&config, Role::Gateway).contains("cluster.routers is empty"));
        config.cluster.routers = vec!["10.0.0.1:8802".into(), "no-such-host.invalid:8802".into()];
        let found = all(&config, Role::Gateway);
        for text in
            ["no cluster.secret, and router nodes of other hosts", "no-such-host.invalid:8802 has no address"]
        {
            assert!(found.contains(text), "{found}");
        }
        config.cluster.listen = "127.0.0.1:8802".parse().ok();
        config.cluster.routers = vec!["127.0.0.1:8802".into()];
        config.cluster.secret_file = "no-such-file".into();
        let found = all(&config, Role::Router);
        for text in [
            "no-such-file",
            "only nodes of this host",
            "is this node itself",
            "only router node",
            "cluster.node is empty",
        ] {
            assert!(found.contains(text), "{text}: {found}");
        }
    }

    #[test]
    fn patience_is_to_outlive_a_lease_and_a_silent_link() {
        let mut config = config();
        assert!(matches!(times(&config), Finding::Ok(_)), "the defaults");
        config.cluster.patience_ms = 4_000;
        assert!(matches!(times(&config), Finding::Note(text) if text.contains("4500 of patience")));
        config.cluster.lease_ms = 10_000;
        assert!(matches!(times(&config), Finding::Note(text) if text.contains("20000 of patience")));
    }
}
