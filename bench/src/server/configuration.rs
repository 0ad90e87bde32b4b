//! The configuration of a started server: what every run needs, and what a scenario asks for on top.

use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};

use crate::options::Engine;

/// Connections a server is counted on for, by the places that it has: the kernel spreads connections over listeners by
/// hash, so a shard gets its share and a few per cent; and whoever comes back may be there before its old socket is gone.
const FILL_PER_MILLE: u64 = 965;

/// What a scenario needs of a server that is started for it.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Connections at once.
    pub connections: u32,
    /// Keys of the configuration, as `section.key`, and their values.
    settings: Vec<(&'static str, Value)>,
}

impl Needs {
    /// So many connections at once, and the defaults.
    #[must_use]
    pub fn connections(connections: u32) -> Self {
        Self { connections, settings: Vec::new() }
    }

    /// One more setting, such as `("limits.sends_per_second", 1_000_000)`.
    ///
    /// # Panics
    /// The key names no section.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        assert!(key.contains('.'), "{key} is no section and key");
        self.settings.push((key, value.into()));
        self
    }

    /// The same for each of so many nodes that share the connections.
    pub(super) fn of_each(&self, nodes: u32) -> Self {
        Self { connections: self.connections.div_ceil(nodes.max(1)), ..self.clone() }
    }

    /// What `core.connections_max` must say where the connections are more than shards hold by themselves, which is
    /// `descriptors` each.
    pub(crate) fn connections_max(&self, shards: u16, descriptors: u64) -> Option<u32> {
        let places = u64::from(self.connections) * 1_000 / FILL_PER_MILLE;
        let enough = places <= descriptors.saturating_mul(u64::from(shards));
        (!enough).then(|| u32::try_from(places).unwrap_or(u32::MAX))
    }
}

/// In front of every key of a run in a cluster of FoundationDB: its own, by a port that nobody else has meanwhile.
pub(super) fn key_prefix(port: u16) -> String {
    format!("bench-{}-{port}/", std::process::id())
}

/// A node's place in a cluster.
pub(crate) struct Place<'a> {
    /// Its name.
    pub(crate) node: &'a str,
    /// Where it takes links: a router node.
    pub(crate) listen: Option<SocketAddr>,
    /// Whom it asks first: a gateway node.
    pub(crate) routers: &'a [SocketAddr],
    /// What nodes prove themselves with.
    pub(crate) secret: &'a str,
    /// What makes tickets good at every node.
    pub(crate) ticket_secret: &'a str,
}

/// What a started process is given.
pub(crate) struct Configuration<'a> {
    /// Where clients connect; `None` for a router node.
    pub(crate) client: Option<SocketAddr>,
    pub(crate) api: SocketAddr,
    pub(crate) secret: &'a str,
    pub(crate) api_key: &'a str,
    pub(crate) shards: u16,
    pub(crate) connections_max: Option<u32>,
    pub(crate) engine: Engine,
    pub(crate) cluster_file: Option<&'a Path>,
    pub(crate) key_prefix: &'a str,
    pub(crate) data: &'a Path,
    /// `None` for a server that is all there is.
    pub(crate) place: Option<Place<'a>>,
    pub(crate) needs: &'a Needs,
}

impl Configuration<'_> {
    /// The file's text.
    pub(crate) fn to_toml(&self) -> String {
        let mut file = Table::new();
        if let Some(client) = self.client {
            set(&mut file, "listen.client", client.to_string().into());
        }
        set(&mut file, "listen.api", self.api.to_string().into());
        set(&mut file, "core.shards", i64::from(self.shards).into());
        if let Some(connections_max) = self.connections_max {
            set(&mut file, "core.connections_max", i64::from(connections_max).into());
        }
        set(&mut file, "auth.hs256_secret", self.secret.into());
        set(&mut file, "auth.api_keys", vec![Value::from(self.api_key)].into());
        set(&mut file, "store.engine", self.engine.name().into());
        if self.engine == Engine::Foundationdb {
            set(&mut file, "store.key_prefix", self.key_prefix.into());
        }
        if let Some(cluster_file) = self.cluster_file {
            set(&mut file, "store.cluster_file", cluster_file.to_string_lossy().into_owned().into());
        }
        set(&mut file, "store.path", self.data.to_string_lossy().into_owned().into());
        // The clients are the bench's own: at the end there is nobody to spare a rush of reconnects.
        set(&mut file, "drain.spread_ms", 0.into());
        if let Some(place) = &self.place {
            place.set(&mut file);
        }
        for (key, value) in &self.needs.settings {
            set(&mut file, key, value.clone());
        }
        file.to_string()
    }
}

impl Place<'_> {
    fn set(&self, file: &mut Table) {
        set(file, "cluster.node", self.node.into());
        set(file, "cluster.secret", self.secret.into());
        set(file, "auth.ticket_secret", self.ticket_secret.into());
        if let Some(listen) = self.listen {
            set(file, "cluster.listen", listen.to_string().into());
        }
        if !self.routers.is_empty() {
            let routers: Vec<Value> = self.routers.iter().map(|router| router.to_string().into()).collect();
            set(file, "cluster.routers", routers.into());
        }
        // Nodes of one host would all pin their first shard to its first CPU.
        set(file, "core.pin", false.into());
    }
}

fn set(file: &mut Table, key: &str, value: Value) {
    let (section, key) = key.split_once('.').unwrap_or(("", key));
    let section = file.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_past_what_shards_hold_by_themselves_are_asked_for() {
        assert_eq!(Needs::connections(1_000).connections_max(2, 20_000), None);
        assert_eq!(Needs::connections(1_000_000).connections_max(52, 20_000), None);
        assert_eq!(Needs::connections(1_000_000).connections_max(2, 20_000), Some(1_036_269));
    }

    #[test]
    fn what_a_scenario_asks_for_comes_last() {
        let needs = Needs::connections(1).with("limits.heartbeat_ms", 500).with("drain.spread_ms", 7);
        let configuration = Configuration {
            client: Some("127.0.0.1:1".parse().unwrap()),
            api: "127.0.0.1:2".parse().unwrap(),
            secret: "a \"quoted\" one",
            api_key: "key",
            shards: 3,
            connections_max: Some(99),
            engine: Engine::Memory,
            cluster_file: None,
            key_prefix: "",
            data: Path::new("/tmp/data"),
            place: None,
            needs: &needs,
        };
        let read: Table = configuration.to_toml().parse().unwrap();
        assert_eq!(read["limits"]["heartbeat_ms"].as_integer(), Some(500));
        assert_eq!(read["drain"]["spread_ms"].as_integer(), Some(7));
        assert_eq!(read["auth"]["hs256_secret"].as_str(), Some("a \"quoted\" one"));
        assert_eq!(read["auth"]["api_keys"][0].as_str(), Some("key"));
        assert_eq!(read["core"]["shards"].as_integer(), Some(3));
        assert!(!read.contains_key("cluster") && !read["core"].as_table().unwrap().contains_key("pin"));
    }
}
