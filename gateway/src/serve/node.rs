//! A node: every thread of `serve`, started in order and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use api::metrics::Registry;
use protocol::placement::{Epoch, NodeId, Table};
use ring::listener::Listener;
use ring::signal::Signals;
use ring::{cpu, probe};
use storage::driver::{Driver, State};
use tokio::sync::mpsc;

use super::doors::{Addresses, Doors};
use super::error::ServeError;
use super::names::Names;
use super::pulse::Pulse;
use super::role::{Membership, Role};
use super::start::{self, InCluster, Start};
use super::store::{Registration, Tenancy};
use super::{metrics, settings, store};
use crate::auth::Authenticator;
use crate::config::Config;
use crate::core::{Clock, CommandAnswers, Direction, Exchange, Phase, Seeds};
use crate::credentials;
use crate::log::Logger;

/// Envelopes for the API that wait at most.
const API_ENVELOPES_MAX: usize = 4_096;
/// How often a stopping node looks whether it has drained, and whether a second signal came.
const STOP_LOOK: Duration = Duration::from_millis(20);
/// How long the cores may take to end what is under way, after the drain.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A running node.
pub(super) struct Node {
    config: Config,
    logger: Logger,
    exchange: Exchange,
    direction: Arc<Direction>,
    authenticator: Arc<Authenticator>,
    registry: Arc<Registry>,
    /// `None` for a node without router shards.
    store: Option<Driver>,
    api: api::Handle,
    cores: Vec<thread::JoinHandle<()>>,
    addresses: Addresses,
    began_unix_ms: u64,
    store_state: State,
    pulse: Pulse,
    /// Threads that read keys; they end by themselves.
    reading_keys: Vec<thread::JoinHandle<()>>,
}

impl Node {
    /// Starts every thread; on return the node accepts connections. The API answers before, for those who want to know
    /// what the node waits for; `waiting` is called often while the store is opened.
    pub(super) fn start(
        config: &Config,
        role: Role,
        logger: &Logger,
        signals: &Signals,
        waiting: impl FnMut(),
    ) -> Result<Self, ServeError> {
        probe::probe().ring?;
        let cpus = cpu::allowed().map_err(|error| ServeError::System("the list of CPUs", error))?;
        let shards = settings::shards(config, cpus.len());
        let membership = Membership::of(config, role)?;
        let authenticator = Arc::new(start::authenticator(config, membership.as_ref(), logger)?);
        let Doors { addresses, listeners } = Doors::open(config, role, membership.as_ref(), shards, &cpus)?;
        let (to_api, api_inbox) = mpsc::channel(API_ENVELOPES_MAX);
        let exchange = Exchange::new(settings::exchange(config, shards), to_api, Arc::new(Table::empty()))?;
        let registry = Arc::new(Registry::default());
        let answers = CommandAnswers::default();
        let ordered = role.has_routers().then_some(&answers);
        let api = start::start_api(
            config,
            membership.as_ref(),
            &exchange,
            &authenticator,
            &registry,
            ordered,
            api_inbox,
        )?;
        let seeds = membership.as_ref().map(|membership| seeds(membership, &exchange, logger)).transpose()?;
        let incarnation = start::seed()?;
        let registration = registration(membership.as_ref(), addresses, shards, incarnation);
        let store = if role.has_routers() {
            let opened = start::open_store(config, registration.clone(), logger, signals, waiting)?;
            let epoch = tell_tenancy(&exchange, opened.tenancy, shards);
            Some(store::start(config, opened.engine, epoch, &exchange)?)
        } else {
            None
        };
        let cluster = membership.zip(seeds).map(|(membership, seeds)| InCluster {
            membership,
            seeds,
            registration,
            incarnation,
            answers,
        });
        let start = Arc::new(Start {
            config: config.clone(),
            role,
            exchange,
            direction: Arc::new(Direction::new(shards)),
            authenticator,
            registry,
            logger: logger.clone(),
            store: store.as_ref().map(Driver::handle),
            cluster,
            clock: Clock::start(),
            cpus,
            seats: settings::seats(config),
        });
        Self::run(&start, listeners, store, api, addresses)
    }

    /// Starts the cores: everything else is there.
    fn run(
        start: &Arc<Start>,
        listeners: Vec<Vec<Listener>>,
        store: Option<Driver>,
        api: api::Handle,
        addresses: Addresses,
    ) -> Result<Self, ServeError> {
        let cores = match start::start_cores(start, listeners) {
            Ok(cores) => cores,
            Err(error) => {
                // The store was opened for nothing: close it in order, so that the next start need not doubt it.
                let _ = store.map(Driver::stop);
                return Err(error);
            }
        };
        api.open();
        let node = Self {
            config: start.config.clone(),
            logger: start.logger.clone(),
            exchange: start.exchange.clone(),
            direction: Arc::clone(&start.direction),
            authenticator: Arc::clone(&start.authenticator),
            registry: Arc::clone(&start.registry),
            store,
            api,
            cores,
            addresses,
            began_unix_ms: ring::clock::realtime_ms(),
            store_state: State::Healthy,
            pulse: Pulse::new(start.direction.beats(), Instant::now()),
            reading_keys: Vec::new(),
        };
        node.say_accepting(start.exchange.cores());
        Ok(node)
    }

    fn say_accepting(&self, shards: u16) {
        let api = self.api.local_addr();
        let Addresses { client, echo, link } = self.addresses;
        let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![("api", &api), ("shards", &shards)];
        let addresses = [("client", client.as_ref()), ("link", link.as_ref())];
        for (name, address) in addresses {
            if let Some(address) = address {
                fields.push((name, address));
            }
        }
        self.logger.info("accepting", &fields);
        if let Some(echo) = echo {
            self.logger.warn("echoing for tests", &[("echo", &echo)]);
        }
    }

    /// Whether the node knows who owns what: before, nothing that a client asks can be answered.
    pub(super) fn is_placed(&self) -> bool {
        self.exchange.placement().epoch() > Epoch(0)
    }

    /// True when the process must stop, since somebody else runs in its place.
    pub(super) fn has_given_up(&self) -> bool {
        self.direction.has_given_up()
    }

    /// Where the node listens, with the real ports.
    pub(super) const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Where the API listens, with the real port.
    pub(super) const fn api_address(&self) -> SocketAddr {
        self.api.local_addr()
    }

    /// What is to be done about once a second: the node's own samples, and a word when the store changed its state.
    pub(super) fn look_after(&mut self) {
        let store = self.store.as_ref().map(Driver::handle);
        metrics::publish(&self.registry, store.as_ref(), &self.logger, self.began_unix_ms);
        let Some(store) = store else { return };
        let state = store.metrics().state();
        if state != self.store_state {
            self.store_state = state;
            let fields: crate::log::Fields<'_> = &[("state", &store::state_name(state))];
            match state {
                State::Healthy => self.logger.info("the store is back", fields),
                _ => self.logger.error("the store changed its state", fields),
            }
        }
        if let Some(why) = store.metrics().setbacks.take_notice() {
            self.logger.error("the store refused a request", &[("why", &why)]);
        }
    }

    /// How long the most silent core has given no sign of life.
    pub(super) fn silence(&mut self) -> Duration {
        self.pulse.silence(self.direction.beats(), Instant::now())
    }

    /// True until the keys have been read that [`Node::reload_keys`] was called for.
    pub(super) fn is_reading_keys(&mut self) -> bool {
        self.reading_keys.retain(|thread| !thread.is_finished());
        !self.reading_keys.is_empty()
    }

    /// Reads key files and the JWKS address again, on a thread of its own; on a fault the old keys stay.
    pub(super) fn reload_keys(&mut self) {
        let (config, logger) = (self.config.clone(), self.logger.clone());
        let authenticator = Arc::clone(&self.authenticator);
        let reload = move || {
            let keys = credentials::signing(&config)
                .and_then(|signing| credentials::keys(&config.auth, signing.as_ref()));
            match keys {
                Ok(keys) => {
                    logger.info("read the keys again", &[("keys", &keys.len())]);
                    authenticator.replace_keys(keys);
                }
                Err(error) => logger.error("the old keys stay", &[("error", &error)]),
            }
        };
        self.reading_keys.retain(|thread| !thread.is_finished());
        match thread::Builder::new().name("keys".into()).spawn(reload) {
            Ok(thread) => self.reading_keys.push(thread),
            Err(error) => self.logger.error("the old keys stay", &[("error", &error)]),
        }
    }

    /// Drains and stops everything in order. `hurry` says whether a second signal came: then this returns at once.
    pub(super) fn stop(self, mut hurry: impl FnMut(Duration) -> bool) {
        let Self { api, direction, exchange, logger, store, cores, config, .. } = self;
        api.drain();
        direction.set(Phase::Draining);
        exchange.wake_all();
        let deadline = Instant::now() + Duration::from_millis(u64::from(config.drain.deadline_ms));
        while !direction.is_drained() {
            if hurry(STOP_LOOK) {
                return;
            }
            if Instant::now() > deadline {
                logger.warn("some connections did not close in time", &[]);
                break;
            }
        }
        logger.info("connections are closed", &[]);
        api.shutdown();
        direction.set(Phase::Stopping);
        exchange.wake_all();
        let deadline = Instant::now() + STOP_DEADLINE;
        while !cores.iter().all(thread::JoinHandle::is_finished) {
            if hurry(STOP_LOOK) {
                return;
            }
            if Instant::now() > deadline {
                logger.warn("some requests did not end in time", &[]);
                break;
            }
        }
        match store.map_or(Ok(()), Driver::stop) {
            Ok(()) => logger.info("stopped", &[]),
            Err(error) => {
                logger.error("the store did not close in order", &[("error", &format_args!("{error:?}"))])
            }
        }
    }
}

/// Where the router nodes are that the configuration names, from now on.
fn seeds(membership: &Membership, exchange: &Exchange, logger: &Logger) -> Result<Arc<Seeds>, ServeError> {
    let names = Names::of(&membership.routers, logger);
    let seeds = Arc::new(Seeds::new(names.addresses()));
    names.keep(Arc::clone(&seeds), exchange.clone())?;
    Ok(seeds)
}

/// How a router node registers with its store.
fn registration(
    membership: Option<&Membership>,
    addresses: Addresses,
    cores: u16,
    incarnation: u64,
) -> Option<Registration> {
    let membership = membership?;
    let address = reached_at(membership.advertise?, addresses.link?);
    Some(Registration { name: membership.name.clone(), address, cores, incarnation })
}

/// The address that other nodes are told: with the port that listening gave, where none was chosen.
fn reached_at(advertise: SocketAddr, bound: SocketAddr) -> SocketAddr {
    let port = if advertise.port() == 0 { bound.port() } else { advertise.port() };
    SocketAddr::new(advertise.ip(), port)
}

/// Says who this node is, and what it owns where nobody else may; under which tenure the store finishes what was begun.
fn tell_tenancy(exchange: &Exchange, tenancy: Tenancy, shards: u16) -> Epoch {
    let placement = exchange.placement();
    match tenancy {
        Tenancy::Alone(epoch) => {
            placement.name(NodeId::ALONE);
            placement.replace(Arc::new(Table::alone(shards, epoch)));
            epoch
        }
        Tenancy::Registered(node) => {
            placement.name(node);
            // A removal goes on wherever it was begun: it ends where somebody else has finished it.
            Epoch(u64::MAX)
        }
    }
}
