//! A node: every thread of `serve`, started in order and stopped in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread;
use std::time::{Duration, Instant};

use api::metrics::Registry;
use protocol::envelope::{GatewayId, RouterId};
use protocol::placement::{NodeId, Table};
use ring::listener::{Listener, ListenerSettings};
use ring::setup::SetupError;
use ring::signal::Signals;
use ring::{Ring, cpu, probe};
use router::RouterShard;
use storage::driver::{Driver, State};
use storage::request::Epoch;
use tokio::sync::mpsc;

use super::error::ServeError;
use super::pulse::Pulse;
use super::{metrics, settings, store};
use crate::auth::{Authenticator, Rules};
use crate::config::{Config, EngineKind, Secret};
use crate::core::{Clock, Core, Direction, Exchange, Parts, Phase};
use crate::credentials::{self, Signing};
use crate::log::Logger;
use crate::secret::{self, TICKET_SECRET};
use crate::shard::{GatewayShard, Seats};

/// Envelopes for the API that wait at most.
const API_ENVELOPES_MAX: usize = 4_096;
/// How often a stopping node looks whether it has drained, and whether a second signal came.
const STOP_LOOK: Duration = Duration::from_millis(20);
/// How long an address may be in use before that is an error.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
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
    store: Driver,
    api: api::Handle,
    cores: Vec<thread::JoinHandle<()>>,
    client_address: SocketAddr,
    began_unix_ms: u64,
    store_state: State,
    pulse: Pulse,
    /// Threads that read keys; they end by themselves.
    reading_keys: Vec<thread::JoinHandle<()>>,
}

/// What all cores are started with.
struct Start {
    config: Config,
    exchange: Exchange,
    direction: Arc<Direction>,
    authenticator: Arc<Authenticator>,
    registry: Arc<Registry>,
    store: storage::driver::Handle,
    table: Arc<Table>,
    clock: Clock,
    cpus: Vec<usize>,
    seats: Seats,
}

impl Node {
    /// Starts every thread; on return the node accepts connections. The API answers before, for those who want to know
    /// what the node waits for; `waiting` is called often while the store is opened.
    pub(super) fn start(
        config: &Config,
        logger: &Logger,
        signals: &Signals,
        waiting: impl FnMut(),
    ) -> Result<Self, ServeError> {
        probe::probe().ring?;
        let cpus = cpu::allowed().map_err(|error| ServeError::System("the list of CPUs", error))?;
        let shards = settings::shards(config, cpus.len());
        let authenticator = Arc::new(authenticator(config, logger)?);
        let mut listeners = listen(config, shards, &cpus)?;
        let client_address = listeners[0][0].address();
        let (to_api, api_inbox) = mpsc::channel(API_ENVELOPES_MAX);
        let exchange = Exchange::new(shards, config.core.mailbox_envelopes as usize, to_api)?;
        let registry = Arc::new(Registry::default());
        let api = start_api(config, &exchange, &authenticator, &registry, api_inbox)?;
        let (engine, epoch) = open_store(config, logger, signals, waiting)?;
        let table = Arc::new(Table::alone(shards, epoch));
        let store = store::start(config, engine, epoch, &exchange)?;
        let start = Arc::new(Start {
            config: config.clone(),
            exchange: exchange.clone(),
            direction: Arc::new(Direction::new(shards)),
            authenticator: Arc::clone(&authenticator),
            registry: Arc::clone(&registry),
            store: store.handle(),
            table: Arc::clone(&table),
            clock: Clock::start(),
            cpus,
            seats: settings::seats(config),
        });
        let echo = listeners[0].get(1).map(Listener::address);
        let cores = match start_cores(&start, &mut listeners) {
            Ok(cores) => cores,
            Err(error) => {
                // The store was opened for nothing: close it in order, so that the next start need not doubt it.
                let _ = store.stop();
                return Err(error);
            }
        };
        api.open();
        let fields: crate::log::Fields<'_> =
            &[("client", &client_address), ("api", &api.local_addr()), ("shards", &shards)];
        logger.info("accepting", fields);
        if let Some(echo) = echo {
            logger.warn("echoing for tests", &[("echo", &echo)]);
        }
        Ok(Self {
            config: config.clone(),
            logger: logger.clone(),
            exchange,
            direction: Arc::clone(&start.direction),
            authenticator,
            registry,
            store,
            api,
            cores,
            client_address,
            began_unix_ms: ring::clock::realtime_ms(),
            store_state: State::Healthy,
            pulse: Pulse::new(start.direction.beats(), Instant::now()),
            reading_keys: Vec::new(),
        })
    }

    /// Where clients connect, with the real port.
    pub(super) const fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where the API listens, with the real port.
    pub(super) const fn api_address(&self) -> SocketAddr {
        self.api.local_addr()
    }

    /// What is to be done about once a second: the node's own samples, and a word when the store changed its state.
    pub(super) fn look_after(&mut self) {
        let store = self.store.handle();
        metrics::publish(&self.registry, &store, &self.logger, self.began_unix_ms);
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
        match store.stop() {
            Ok(()) => logger.info("stopped", &[]),
            Err(error) => {
                logger.error("the store did not close in order", &[("error", &format_args!("{error:?}"))])
            }
        }
    }
}

fn authenticator(config: &Config, logger: &Logger) -> Result<Authenticator, ServeError> {
    let signing = credentials::signing(config)?;
    if let Some(Signing { development: Some((path, _)), .. }) = &signing {
        let fields: crate::log::Fields<'_> = &[("file", &path.display())];
        logger.warn(
            "no secret is configured: tokens are signed with a development secret, for loopback only",
            fields,
        );
    }
    let keys = credentials::keys(&config.auth, signing.as_ref())?;
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let rules = Rules { audience: text(&config.auth.audience), issuer: text(&config.auth.issuer) };
    let ticket = ticket_secret(config)?;
    Ok(Authenticator::new(keys, rules, ticket.reveal().as_bytes()))
}

/// The configured secret, or one that is kept as long as the messages are.
fn ticket_secret(config: &Config) -> Result<Secret, ServeError> {
    if !config.auth.ticket_secret.is_empty() {
        return Ok(config.auth.ticket_secret.clone());
    }
    if config.store.engine == EngineKind::Memory {
        let bytes = ring::random::bytes::<32>().map_err(|error| ServeError::System("random bytes", error))?;
        return Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()));
    }
    let kept = secret::keep(Path::new(&config.store.path), TICKET_SECRET).map_err(ServeError::Ticket)?;
    Ok(kept.secret)
}

/// The listening sockets of each core.
fn listen(config: &Config, shards: u16, cpus: &[usize]) -> Result<Vec<Vec<Listener>>, ServeError> {
    let mut of_cores: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
    for address in [Some(config.listen.client), config.debug.echo].into_iter().flatten() {
        let listeners = bind(address, usize::from(shards), settings::listener(config))?;
        if config.listen.steer_by_cpu && settings::pins(config, shards, cpus.len()) {
            let steered = Listener::steer(&listeners, cpus);
            steered.map_err(|error| ServeError::System("listen.steer_by_cpu", error))?;
        }
        for (core, listener) in of_cores.iter_mut().zip(listeners) {
            core.push(listener);
        }
    }
    Ok(of_cores)
}

/// Binds an address. Whoever follows a killed server finds its port taken for a moment: the kernel ends the requests
/// of a ring, and so its listening sockets, a little after the process.
fn bind(address: SocketAddr, count: usize, listening: ListenerSettings) -> Result<Vec<Listener>, ServeError> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match Listener::bind(address, count, listening) {
            Err(SetupError::AddressInUse { .. }) if Instant::now() < deadline => thread::sleep(STOP_LOOK),
            result => return Ok(result?),
        }
    }
}

/// Opens the store on a thread of its own, since reading it all may take long, and a signal should end that.
fn open_store(
    config: &Config,
    logger: &Logger,
    signals: &Signals,
    mut waiting: impl FnMut(),
) -> Result<(storage::engine::Engine, Epoch), ServeError> {
    let begin = Instant::now();
    let (done, opened) = threads::channel();
    let (config, for_thread) = (config.clone(), logger.clone());
    let open = move || {
        // Nobody listens any more when a signal came: then the process ends.
        let _ = done.send(store::open(&config, &for_thread));
    };
    let spawned = thread::Builder::new().name("open".into()).spawn(open);
    spawned.map_err(|error| ServeError::System("a thread to open the store", error))?;
    loop {
        match opened.recv_timeout(STOP_LOOK) {
            Ok(result) => {
                let (engine, epoch) = result?;
                let time_ms = begin.elapsed().as_millis();
                logger.info("the store is open", &[("epoch", &epoch.0), ("time_ms", &time_ms)]);
                return Ok((engine, epoch));
            }
            Err(threads::RecvTimeoutError::Timeout) => {
                if super::asks_to_stop(signals, Duration::ZERO) {
                    return Err(ServeError::Interrupted);
                }
                waiting();
            }
            Err(threads::RecvTimeoutError::Disconnected) => unreachable!("a panic ends the process"),
        }
    }
}

/// Starts one thread a core, and waits until each has its ring.
fn start_cores(
    start: &Arc<Start>,
    listeners: &mut Vec<Vec<Listener>>,
) -> Result<Vec<thread::JoinHandle<()>>, ServeError> {
    let (ready, results) = threads::channel();
    let mut cores = Vec::new();
    for (number, listeners) in (0..).zip(listeners.drain(..)) {
        let (start, ready) = (Arc::clone(start), ready.clone());
        let body = move || match core(&start, number, listeners) {
            Ok(core) => {
                // The main thread waits for every core's word.
                let _ = ready.send(Ok(()));
                drop(ready);
                core.run();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name(format!("core-{number}")).spawn(body);
        cores.push(thread.map_err(|error| ServeError::System("a core's thread", error))?);
    }
    drop(ready);
    for result in results {
        result?;
    }
    Ok(cores)
}

/// Makes a core, on its thread.
fn core(start: &Start, number: u16, listeners: Vec<Listener>) -> Result<Core, ServeError> {
    let shards = start.exchange.cores();
    if settings::pins(&start.config, shards, start.cpus.len()) {
        // A core that can't be pinned still works.
        let _ = cpu::pin(start.cpus[usize::from(number)]);
    }
    let settings = settings::ring(&start.config, shards);
    let ring = Ring::new(settings, listeners, start.exchange.waker(number))?;
    let gateway = GatewayShard::new(
        GatewayId(number.into()),
        &start.table,
        settings.slots,
        settings::gateway(&start.config, shards, settings.slots, &start.seats),
        Arc::clone(&start.authenticator),
        seed()?,
    );
    let router = RouterShard::new(
        RouterId::new(NodeId::ALONE, number),
        Arc::clone(&start.table),
        settings::router(&start.config, shards),
        seed()?,
    );
    Ok(Core::new(Parts {
        number,
        ring,
        gateway,
        router,
        inbox: start.exchange.inbox(number),
        outgoing: start.exchange.outgoing(),
        store: start.store.clone(),
        clock: start.clock,
        direction: Arc::clone(&start.direction),
        metrics: Arc::clone(&start.registry),
    }))
}

fn seed() -> Result<u64, ServeError> {
    let bytes = ring::random::bytes().map_err(|error| ServeError::System("random bytes", error))?;
    Ok(u64::from_ne_bytes(bytes))
}

fn start_api(
    config: &Config,
    exchange: &Exchange,
    authenticator: &Arc<Authenticator>,
    registry: &Arc<Registry>,
    inbox: mpsc::Receiver<protocol::envelope::ToGateway>,
) -> Result<api::Handle, ServeError> {
    let (pushing, verifying) = (exchange.clone(), Arc::clone(authenticator));
    let table = Arc::new(Table::alone(exchange.cores(), Epoch(0)));
    let owners = Arc::clone(&table);
    let port = api::Port {
        push: Arc::new(move |envelope| {
            let owner = envelope.slot().map_or(RouterId::NOBODY, |slot| owners.owner(slot));
            pushing.push_from_api(owner, envelope)
        }),
        table: Arc::new(move || Arc::clone(&table)),
        node: NodeId::ALONE,
        name: String::new(),
        inbox,
    };
    let authenticate: api::Authenticate =
        Arc::new(move |token, unix_ms| match verifying.verify(token, unix_ms) {
            Ok(identity) => {
                Ok(api::Claims { tenant: identity.tenant, user: identity.user, admin: identity.admin })
            }
            Err(error) => {
                Err(protocol::error::Refusal::new(protocol::error::ErrorCode::Unauthorized, error.message()))
            }
        });
    let server = api::Server::start(settings::api(config), port, authenticate, Arc::clone(registry));
    server.map_err(|error| ServeError::Api(config.listen.api, error))
}
