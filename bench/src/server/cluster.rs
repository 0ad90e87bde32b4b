//! A cluster that is started to be measured: which nodes there are, where each listens, and what each is told. One host,
//! one set of secrets and limits; the nodes' processes are the server's.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ring::limit::Limit;

use super::configuration::{Configuration, Needs, Place};
use super::node::{self, Node, Role};
use super::{Api, Child, ServerError, port, random_text, wait_until_ready, write_private};
use crate::options::ServerOptions;

/// How many nodes a cluster has, and how many shards each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Gateway nodes.
    pub gateways: u16,
    /// Router nodes.
    pub routers: u16,
    /// Shards of each gateway node.
    pub gateway_shards: u16,
    /// Shards of each router node.
    pub router_shards: u16,
}

impl Layout {
    /// As the options say, with one shard a CPU where they say nothing.
    pub(super) fn of(options: &ServerOptions, cpus: u16) -> Self {
        let shards = options.shards.unwrap_or(cpus);
        Self {
            gateways: options.gateways,
            routers: options.routers.max(1),
            gateway_shards: options.gateway_shards.unwrap_or(shards),
            router_shards: options.router_shards.unwrap_or(shards),
        }
    }
}

/// A node that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    role: Role,
    name: String,
    /// Where clients connect, of a gateway; where links come in, of a router.
    door: SocketAddr,
    api: SocketAddr,
    shards: u16,
    data: PathBuf,
}

/// A cluster that is to be started.
pub(super) struct Plan<'a> {
    options: &'a ServerOptions,
    needs: Needs,
    layout: Layout,
    /// Routers first: in this order they are started.
    nodes: Vec<Planned>,
    run: String,
    secret: String,
    api_key: String,
    cluster_secret: String,
    ticket_secret: String,
}

impl<'a> Plan<'a> {
    /// Works out who is where. `directory` is the run's own.
    ///
    /// # Errors
    /// No port is free, or the host gives no random bytes.
    pub(super) fn new(
        options: &'a ServerOptions,
        needs: &Needs,
        layout: Layout,
        directory: &Path,
    ) -> Result<Self, ServerError> {
        let mut nodes = Vec::new();
        for (role, count) in [(Role::Router, layout.routers), (Role::Gateway, layout.gateways)] {
            for number in 0..count {
                nodes.push(planned(options, layout, role, number, directory)?);
            }
        }
        let run = nodes.first().map_or(0, |first| first.door.port());
        Ok(Self {
            options,
            needs: needs.of_each(u32::from(layout.gateways)),
            layout,
            nodes,
            run: super::configuration::key_prefix(run),
            secret: random_text()?,
            api_key: random_text()?,
            cluster_secret: random_text()?,
            ticket_secret: random_text()?,
        })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Where clients connect: at each gateway.
    pub(super) fn clients(&self) -> Vec<SocketAddr> {
        self.doors(Role::Gateway)
    }

    fn doors(&self, role: Role) -> Vec<SocketAddr> {
        self.nodes.iter().filter(|node| node.role == role).map(|node| node.door).collect()
    }

    /// The text of a node's file.
    fn configuration(&self, node: &Planned) -> String {
        let routers = self.doors(Role::Router);
        let is_router = node.role == Role::Router;
        let descriptors = Limit::descriptors().hard;
        let places = || self.needs.connections_max(node.shards, descriptors);
        let configuration = Configuration {
            client: (!is_router).then_some(node.door),
            api: node.api,
            secret: &self.secret,
            api_key: &self.api_key,
            shards: node.shards,
            connections_max: if is_router { None } else { places() },
            engine: self.options.engine,
            cluster_file: self.options.cluster_file.as_deref(),
            key_prefix: &self.run,
            data: &node.data,
            place: Some(Place {
                node: &node.name,
                listen: is_router.then_some(node.door),
                routers: if is_router { &[] } else { &routers },
                secret: &self.cluster_secret,
                ticket_secret: &self.ticket_secret,
            }),
            needs: &self.needs,
        };
        configuration.to_toml()
    }

    /// Starts all nodes, each when the one before is ready: gateways find their routers, and who fails is known by name.
    /// Gives them in the order in which they are to be stopped: the gateways first.
    ///
    /// # Errors
    /// One of them did not start; the others are ended.
    pub(super) fn start(&self, program: &Path, directory: &Path) -> Result<Vec<Node>, ServerError> {
        let start = |planned: &Planned| {
            self.start_one(planned, program, directory).map_err(|error| error.of_node(&planned.name))
        };
        let mut nodes = self.nodes.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by_key(Node::role);
        Ok(nodes)
    }

    fn start_one(&self, planned: &Planned, program: &Path, directory: &Path) -> Result<Node, ServerError> {
        let file = directory.join(format!("{}.toml", planned.name));
        write_private(&file, &self.configuration(planned))?;
        let log = directory.join(format!("{}.stderr", planned.name));
        let mut child = Child::start(&mut node::command(program, planned.role, &file), &log)?;
        wait_until_ready(&mut child)?;
        let api = Api::new(planned.api, &self.api_key);
        Ok(Node::started(planned.name.clone(), planned.role, Some(api), child))
    }
}

fn planned(
    options: &ServerOptions,
    layout: Layout,
    role: Role,
    number: u16,
    directory: &Path,
) -> Result<Planned, ServerError> {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let name = format!("{role}-{number}");
    let shards = if role == Role::Router { layout.router_shards } else { layout.gateway_shards };
    // The store is the only router's; several keep theirs elsewhere, and a gateway has none.
    let data = match &options.data {
        Some(data) if role == Role::Router && layout.routers == 1 => data.clone(),
        Some(data) if role == Role::Router => data.join(&name),
        Some(_) | None => directory.join(format!("{name}.data")),
    };
    let (door, api) = (port::free(loopback)?, port::free(loopback)?);
    Ok(Planned { role, name, door, api, shards, data })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use toml::Table;

    use super::*;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        server: ServerOptions,
    }

    fn options(words: &str) -> ServerOptions {
        CommandLine::try_parse_from(["bench"].into_iter().chain(words.split_whitespace())).unwrap().server
    }

    fn files(words: &str) -> Vec<(Role, Table)> {
        let options = options(words);
        let needs = Needs::connections(1_000_000).with("limits.heartbeat_ms", 500);
        let layout = Layout::of(&options, 2);
        let plan = Plan::new(&options, &needs, layout, Path::new("/run")).unwrap();
        plan.nodes.iter().map(|node| (node.role, plan.configuration(node).parse().unwrap())).collect()
    }

    fn of_role(files: &[(Role, Table)], role: Role) -> Vec<&Table> {
        files.iter().filter(|(of, _)| *of == role).map(|(_, file)| file).collect()
    }

    #[test]
    fn nodes_of_a_cluster_have_secrets_limits_and_store_in_common() {
        let files = files("--gateways 3 --routers 2 --engine foundationdb --cluster-file /etc/fdb.cluster");
        assert_eq!(files.len(), 5);
        for (section, key) in [
            ("cluster", "secret"),
            ("auth", "hs256_secret"),
            ("auth", "ticket_secret"),
            ("auth", "api_keys"),
            ("store", "engine"),
            ("store", "cluster_file"),
            ("store", "key_prefix"),
            ("limits", "heartbeat_ms"),
            ("drain", "spread_ms"),
            ("core", "pin"),
        ] {
            let first = &files[0].1[section][key];
            assert!(files.iter().all(|(_, file)| file[section][key] == *first), "{section}.{key}");
        }
        let secrets = ["cluster.secret", "auth.hs256_secret", "auth.ticket_secret"].map(|key| {
            let (section, key) = key.split_once('.').unwrap();
            files[0].1[section][key].as_str().unwrap().to_owned()
        });
        assert!(secrets.iter().all(|secret| secret.len() == 64) && secrets[0] != secrets[1]);
    }

    #[test]
    fn every_gateway_is_told_of_every_router_and_no_two_nodes_share_an_address_or_a_name() {
        let files = files("--gateways 3 --routers 2 --engine foundationdb");
        let (gateways, routers) = (of_role(&files, Role::Gateway), of_role(&files, Role::Router));
        let links: Vec<&str> =
            routers.iter().map(|file| file["cluster"]["listen"].as_str().unwrap()).collect();
        for gateway in &gateways {
            let told = gateway["cluster"]["routers"].as_array().unwrap();
            assert_eq!(told.iter().map(|link| link.as_str().unwrap()).collect::<Vec<_>>(), links);
            assert!(!gateway["cluster"].as_table().unwrap().contains_key("listen"));
        }
        assert!(routers.iter().all(|file| !file["listen"].as_table().unwrap().contains_key("client")));
        let clients = gateways.iter().map(|file| &file["listen"]["client"]);
        let apis = files.iter().map(|(_, file)| &file["listen"]["api"]);
        let names = files.iter().map(|(_, file)| &file["cluster"]["node"]);
        let data = files.iter().map(|(_, file)| &file["store"]["path"]);
        let mut all: Vec<&str> =
            clients.chain(apis).chain(names).chain(data).map(|value| value.as_str().unwrap()).collect();
        all.extend(links);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), count), (20, 20), "{all:?}");
    }

    #[test]
    fn each_gateway_has_places_for_its_share_and_each_role_its_shards() {
        let files = files("--gateways 4 --shards 3 --router-shards 1");
        let gateway = of_role(&files, Role::Gateway)[0];
        let router = of_role(&files, Role::Router)[0];
        assert_eq!(gateway["core"]["shards"].as_integer(), Some(3));
        assert_eq!(router["core"]["shards"].as_integer(), Some(1));
        assert!(!router["core"].as_table().unwrap().contains_key("connections_max"));
        let places = gateway["core"].as_table().unwrap().get("connections_max");
        assert!(places.is_none_or(|places| places.as_integer() == Some(259_067)), "{places:?}");
    }

    #[test]
    fn the_only_router_has_the_named_data_directory_itself() {
        let files = files("--gateways 1 --data /kept");
        let path = |role| of_role(&files, role)[0]["store"]["path"].as_str().unwrap().to_owned();
        assert_eq!(path(Role::Router), "/kept");
        assert!(path(Role::Gateway).starts_with("/run/"));
    }

    #[test]
    fn options_of_nodes_need_a_cluster_and_several_routers_a_shared_store() {
        for wrong in [
            "--routers 2",
            "--gateway-shards 1",
            "--gateways 1 --routers 0",
            "--gateways 1 --connect 127.0.0.1:1 --api 127.0.0.1:2",
            "--gateways x",
        ] {
            let words = ["bench"].into_iter().chain(wrong.split_whitespace());
            assert!(CommandLine::try_parse_from(words).is_err(), "{wrong}");
        }
        assert!(options("--gateways 1 --routers 2").check().is_err());
        assert!(options("--gateways 0 --routers 2 --engine foundationdb").check().is_err());
        assert!(options("--gateways 1 --routers 2 --engine foundationdb").check().is_ok());
        assert!(options("").check().is_ok() && !options("").is_cluster());
    }

    #[test]
    fn what_is_attached_to_may_have_many_addresses() {
        let attached =
            options("--connect 127.0.0.1:1,127.0.0.1:2 --api 127.0.0.1:3,127.0.0.1:4,127.0.0.1:5 --pid 6,7");
        assert_eq!((attached.connect.len(), attached.api.len(), &*attached.pid), (2, 3, &[6, 7][..]));
    }
}
