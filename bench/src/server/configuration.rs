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

    /// What `core.connections_max` must say where the connections are more than shards hold by themselves, which is
    /// `descriptors` each.
    pub(crate) fn connections_max(&self, shards: u16, descriptors: u64) -> Option<u32> {
        let places = u64::from(self.connections) * 1_000 / FILL_PER_MILLE;
        let enough = places <= descriptors.saturating_mul(u64::from(shards));
        (!enough).then(|| u32::try_from(places).unwrap_or(u32::MAX))
    }
}

/// What a started server is given.
pub(crate) struct Configuration<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) secret: &'a str,
    pub(crate) api_key: &'a str,
    pub(crate) shards: u16,
    pub(crate) connections_max: Option<u32>,
    pub(crate) engine: Engine,
    pub(crate) cluster_file: Option<&'a Path>,
    pub(crate) data: &'a Path,
    pub(crate) needs: &'a Needs,
}

impl Configuration<'_> {
    /// The file's text.
    pub(crate) fn to_toml(&self) -> String {
        let mut file = Table::new();
        set(&mut file, "listen.client", self.client.to_string().into());
        set(&mut file, "listen.api", self.api.to_string().into());
        set(&mut file, "core.shards", i64::from(self.shards).into());
        if let Some(connections_max) = self.connections_max {
            set(&mut file, "core.connections_max", i64::from(connections_max).into());
        }
        set(&mut file, "auth.hs256_secret", self.secret.into());
        set(&mut file, "auth.api_keys", vec![Value::from(self.api_key)].into());
        set(&mut file, "store.engine", self.engine.name().into());
        if self.engine == Engine::Foundationdb {
            let run = format!("bench-{}-{}/", std::process::id(), self.client.port());
            set(&mut file, "store.key_prefix", run.into());
        }
        if let Some(cluster_file) = self.cluster_file {
            set(&mut file, "store.cluster_file", cluster_file.to_string_lossy().into_owned().into());
        }
        set(&mut file, "store.path", self.data.to_string_lossy().into_owned().into());
        // The clients are the bench's own: at the end there is nobody to spare a rush of reconnects.
        set(&mut file, "drain.spread_ms", 0.into());
        for (key, value) in &self.needs.settings {
            set(&mut file, key, value.clone());
        }
        file.to_string()
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
            client: "127.0.0.1:1".parse().unwrap(),
            api: "127.0.0.1:2".parse().unwrap(),
            secret: "a \"quoted\" one",
            api_key: "key",
            shards: 3,
            connections_max: Some(99),
            engine: Engine::Memory,
            cluster_file: None,
            data: Path::new("/tmp/data"),
            needs: &needs,
        };
        let read: Table = configuration.to_toml().parse().unwrap();
        assert_eq!(read["limits"]["heartbeat_ms"].as_integer(), Some(500));
        assert_eq!(read["drain"]["spread_ms"].as_integer(), Some(7));
        assert_eq!(read["auth"]["hs256_secret"].as_str(), Some("a \"quoted\" one"));
        assert_eq!(read["auth"]["api_keys"][0].as_str(), Some("key"));
        assert_eq!(read["core"]["shards"].as_integer(), Some(3));
    }
}
