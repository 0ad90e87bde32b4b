//! What a process is in its cluster: its role, its name, whom it links to and by which secret. Worked out of the
//! configuration before anything is opened.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use protocol::id::DeviceId;

use super::error::ServeError;
use crate::config::{Config, NODE_NAME_BYTES_MAX, Secret};
use crate::link::SECRET_BYTES_MIN;
use crate::secret::{self, CLUSTER_SECRET};

/// What a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gateway shards and router shards: `serve`.
    Both,
    /// Gateway shards alone, and links to router nodes.
    Gateway,
    /// Router shards alone, and links from everybody.
    Router,
}

/// Where `router` takes links unless it is told.
const LINKS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8802);

/// A process's place in a cluster.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// Its name.
    pub(super) name: String,
    /// Where it takes links, when it has router shards.
    pub(super) listen: Option<SocketAddr>,
    /// Where others are told that it does; the port is 0 when it is the one that listening gives.
    pub(super) advertise: Option<SocketAddr>,
    /// Router nodes to ask first, as `host:port`.
    pub(super) routers: Vec<String>,
    /// What nodes prove themselves with.
    pub(super) secret: Secret,
}

impl Role {
    /// Whether it accepts clients.
    pub(crate) const fn has_clients(self) -> bool {
        matches!(self, Self::Both | Self::Gateway)
    }

    /// Whether it owns conversations and users, and so has a store.
    pub(crate) const fn has_routers(self) -> bool {
        matches!(self, Self::Both | Self::Router)
    }

    /// Where it takes links of other nodes, if it does.
    pub(crate) fn listens_for_links(self, config: &Config) -> Option<SocketAddr> {
        match self {
            Self::Gateway => None,
            Self::Router => Some(config.cluster.listen.unwrap_or(LINKS)),
            Self::Both => config.cluster.listen,
        }
    }
}

impl Membership {
    /// What the configuration says of a process in this role; `None` for a server that is all there is.
    ///
    /// # Errors
    /// Something is missing, or the secret can't be read or kept.
    pub(super) fn of(config: &Config, role: Role) -> Result<Option<Self>, ServeError> {
        let cluster = &config.cluster;
        let listen = role.listens_for_links(config);
        if role == Role::Both && listen.is_none() {
            return Ok(None);
        }
        if role == Role::Gateway && cluster.routers.is_empty() {
            return Err(ServeError::NoRouters);
        }
        Ok(Some(Self {
            name: name(config, listen),
            advertise: listen.map(|listen| cluster.advertise.unwrap_or(listen)),
            listen,
            routers: cluster.routers.clone(),
            secret: cluster_secret(config)?,
        }))
    }
}

/// The configured name, or one that is this host's and this process's.
pub(crate) fn name(config: &Config, listen: Option<SocketAddr>) -> String {
    if !config.cluster.node.is_empty() {
        return config.cluster.node.clone();
    }
    let port = listen.unwrap_or(config.listen.api).port();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|letter| is_of_id(*letter)).collect();
    let mut name = if host.is_empty() { "node".to_owned() } else { host };
    name.truncate(NODE_NAME_BYTES_MAX - 6);
    format!("{name}-{port}")
}

fn is_of_id(letter: char) -> bool {
    let mut bytes = [0; 4];
    DeviceId::parse(letter.encode_utf8(&mut bytes).as_bytes()).is_ok()
}

/// The configured secret, or one that is kept in the data directory: for nodes of one host that share it.
fn cluster_secret(config: &Config) -> Result<Secret, ServeError> {
    if let Some(secret) = configured_secret(config)? {
        return Ok(secret);
    }
    let kept = secret::keep(Path::new(&config.store.path), CLUSTER_SECRET).map_err(ServeError::Secret)?;
    Ok(kept.secret)
}

/// The secret of the configuration or of the file that it names.
pub(crate) fn configured_secret(config: &Config) -> Result<Option<Secret>, ServeError> {
    let cluster = &config.cluster;
    if !cluster.secret.is_empty() {
        return Ok(Some(cluster.secret.clone()));
    }
    if cluster.secret_file.is_empty() {
        return Ok(None);
    }
    let text = fs::read_to_string(&cluster.secret_file);
    let text = text.map_err(|error| ServeError::SecretFile(cluster.secret_file.clone(), error))?;
    let text = text.trim();
    if text.len() < SECRET_BYTES_MIN {
        let error =
            io::Error::other(format!("it holds {} bytes, and {SECRET_BYTES_MIN} are needed", text.len()));
        return Err(ServeError::SecretFile(cluster.secret_file.clone(), error));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.cluster.secret = Secret::new("s".repeat(32));
        config
    }

    #[test]
    fn a_server_without_an_address_for_links_is_all_there_is() {
        assert!(Membership::of(&config(), Role::Both).unwrap().is_none());
        let router = Membership::of(&config(), Role::Router).unwrap().unwrap();
        assert_eq!((router.listen, router.advertise), (Some(LINKS), Some(LINKS)));
    }

    #[test]
    fn a_gateway_without_routers_is_refused() {
        let mut config = config();
        assert!(matches!(Membership::of(&config, Role::Gateway), Err(ServeError::NoRouters)));
        config.cluster.routers = vec!["localhost:8802".into()];
        let gateway = Membership::of(&config, Role::Gateway).unwrap().unwrap();
        assert_eq!((gateway.routers, gateway.listen), (config.cluster.routers, None));
    }

    #[test]
    fn a_node_without_a_name_gets_one_that_is_an_id() {
        let name = name(&Config::default(), Some(LINKS));
        assert!(name.ends_with("-8802") && name.len() <= NODE_NAME_BYTES_MAX, "{name}");
        assert!(DeviceId::parse(&name).is_ok(), "{name}");
    }
}
