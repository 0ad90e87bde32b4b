//! The pieces that a node is started from, each made in the order that `node` wants: its doors, its keys, its cores, its API.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread;
use std::time::{Duration, Instant};

use api::metrics::Registry;
use protocol::envelope::{GatewayId, RouterId};
use protocol::link::{self, Greeting};
use protocol::placement::NodeId;
use ring::listener::Listener;
use ring::signal::Signals;
use ring::{Ring, cpu};
use router::RouterShard;
use router::keeper::{Command, Keeper, Target};
use tokio::sync::mpsc;

use super::error::ServeError;
use super::role::{Membership, Role};
use super::store::{self, Opened, Registration, Tenancy};
use super::{asks_to_stop, settings};
use crate::auth::{Authenticator, Rules};
use crate::config::{Config, EngineKind, Secret};
use crate::core::{
    Clock, CommandAnswers, Core, Direction, Exchange, Keeping, LinkSettings, Links, Parts, Seeds,
};
use crate::credentials::{self, Signing};
use crate::link::ClusterKey;
use crate::log::Logger;
use crate::secret::{self, TICKET_SECRET};
use crate::shard::{GatewayShard, Seats};

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What tokens and tickets are checked with.
pub(super) fn authenticator(
    config: &Config,
    membership: Option<&Membership>,
    logger: &Logger,
) -> Result<Authenticator, ServeError> {
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
    let ticket = ticket_secret(config, membership)?;
    Ok(Authenticator::new(keys, rules, ticket.reveal().as_bytes()))
}

/// The configured secret, or the cluster's, so that a ticket is good at any node of it, or one that is kept as long as the
/// messages are.
fn ticket_secret(config: &Config, membership: Option<&Membership>) -> Result<Secret, ServeError> {
    if !config.auth.ticket_secret.is_empty() {
        return Ok(config.auth.ticket_secret.clone());
    }
    if let Some(membership) = membership {
        return Ok(membership.secret.clone());
    }
    if config.store.engine == EngineKind::Memory {
        let bytes = ring::random::bytes::<32>().map_err(|error| ServeError::System("random bytes", error))?;
        return Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()));
    }
    let kept = secret::keep(Path::new(&config.store.path), TICKET_SECRET).map_err(ServeError::Ticket)?;
    Ok(kept.secret)
}

/// Opens the store on a thread of its own, since reading it all may take long, and a signal should end that.
pub(super) fn open_store(
    config: &Config,
    registration: Option<Registration>,
    logger: &Logger,
    signals: &Signals,
    mut waiting: impl FnMut(),
) -> Result<Opened, ServeError> {
    let begin = Instant::now();
    let (done, opened) = threads::channel();
    let (config, for_thread) = (config.clone(), logger.clone());
    let open = move || {
        // Nobody listens any more when a signal came: then the process ends.
        let _ = done.send(store::open(&config, registration.as_ref(), &for_thread));
    };
    let spawned = thread::Builder::new().name("open".into()).spawn(open);
    spawned.map_err(|error| ServeError::System("a thread to open the store", error))?;
    loop {
        match opened.recv_timeout(LOOK) {
            Ok(result) => {
                let opened = result?;
                let time_ms = begin.elapsed().as_millis();
                match opened.tenancy {
                    Tenancy::Alone(epoch) => {
                        logger.info("the store is open", &[("epoch", &epoch.0), ("time_ms", &time_ms)]);
                    }
                    Tenancy::Registered(node) => {
                        logger.info("the store is open", &[("node", &node.0), ("time_ms", &time_ms)]);
                    }
                }
                return Ok(opened);
            }
            Err(threads::RecvTimeoutError::Timeout) => {
                if asks_to_stop(signals, Duration::ZERO) {
                    return Err(ServeError::Interrupted);
                }
                waiting();
            }
            Err(threads::RecvTimeoutError::Disconnected) => unreachable!("a panic ends the process"),
        }
    }
}

/// What all cores are started with.
pub(super) struct Start {
    pub(super) config: Config,
    pub(super) role: Role,
    pub(super) exchange: Exchange,
    pub(super) direction: Arc<Direction>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) registry: Arc<Registry>,
    pub(super) logger: Logger,
    /// `None` for a node without router shards.
    pub(super) store: Option<storage::driver::Handle>,
    /// `None` for a server that is all there is.
    pub(super) cluster: Option<InCluster>,
    pub(super) clock: Clock,
    pub(super) cpus: Vec<usize>,
    pub(super) seats: Seats,
}

/// What cores need to know of the cluster.
pub(super) struct InCluster {
    pub(super) membership: Membership,
    /// Where the router nodes are that the configuration names.
    pub(super) seeds: Arc<Seeds>,
    /// The router node's own, when the process is one.
    pub(super) registration: Option<Registration>,
    pub(super) incarnation: u64,
    pub(super) answers: CommandAnswers,
}

/// Starts one thread a core, and waits until each has its ring.
pub(super) fn start_cores(
    start: &Arc<Start>,
    listeners: Vec<Vec<Listener>>,
) -> Result<Vec<thread::JoinHandle<()>>, ServeError> {
    let (ready, results) = threads::channel();
    let mut cores = Vec::new();
    for (number, listeners) in (0..).zip(listeners) {
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
    let Start { config, role, exchange, cluster, .. } = start;
    let shards = exchange.cores();
    if settings::pins(config, shards, start.cpus.len()) {
        // A core that can't be pinned still works.
        let _ = cpu::pin(start.cpus[usize::from(number)]);
    }
    let settings = settings::ring(config, *role, cluster.is_some(), shards);
    let ring = Ring::new(settings, listeners, exchange.waker(number))?;
    let (node, table) = (exchange.placement().node(), exchange.placement().table());
    let gateway = GatewayShard::new(
        GatewayId(number.into()),
        &table,
        settings.slots,
        settings::gateway(
            config,
            *role,
            cluster.is_some().then_some(node),
            shards,
            settings.slots,
            &start.seats,
        ),
        Arc::clone(&start.authenticator),
        seed()?,
    );
    let router =
        RouterShard::new(RouterId::new(node, number), table, settings::router(config, shards), seed()?);
    let links = cluster.as_ref().map(|cluster| links(start, cluster, number)).transpose()?;
    let keeper = cluster.as_ref().and_then(|cluster| cluster.registration.as_ref()).filter(|_| number == 0);
    Ok(Core::new(Parts {
        number,
        node,
        ring,
        gateway,
        router,
        links,
        keeping: keeper.map(|registration| keeping(start, registration, node)).transpose()?,
        inbox: exchange.inbox(number),
        outgoing: exchange.outgoing(),
        placement: Arc::clone(exchange.placement()),
        store: start.store.clone(),
        clock: start.clock,
        direction: Arc::clone(&start.direction),
        metrics: Arc::clone(&start.registry),
    }))
}

/// The links of a core.
fn links(start: &Start, cluster: &InCluster, core: u16) -> Result<Links, ServeError> {
    let InCluster { membership, seeds, registration, incarnation, .. } = cluster;
    let placement = start.exchange.placement();
    let key = ClusterKey::new(membership.secret.reveal().as_bytes());
    let greeting = Greeting {
        oldest: link::VERSION_OLDEST,
        newest: link::VERSION,
        node: placement.node(),
        core,
        cores: start.exchange.cores(),
        incarnation: *incarnation,
        name: membership.name.as_str().into(),
    };
    let listener = registration.as_ref().map(|_| settings::listeners(&start.config, start.role).len() as u8);
    Ok(Links::new(LinkSettings {
        key: key.map_err(|_| ServeError::SecretTooShort)?,
        greeting,
        listener,
        seeds: Arc::clone(seeds),
        seed: seed()?,
        remotes: Arc::clone(start.exchange.remotes()),
        brim: settings::exchange(&start.config, start.exchange.cores()).brim,
        logger: start.logger.clone(),
    }))
}

/// The keeper of a router node.
fn keeping(start: &Start, registration: &Registration, node: NodeId) -> Result<Keeping, ServeError> {
    let answers = start.cluster.as_ref().map(|cluster| cluster.answers.clone()).unwrap_or_default();
    let keeper = Keeper::new(settings::keeper(&start.config, registration, node), seed()?);
    Ok(Keeping::new(keeper, node, answers, start.logger.clone()))
}

/// Hands operators' orders to the keeper of this process, where there is one.
fn give_order(exchange: &Exchange, answers: Option<&CommandAnswers>) -> api::GiveOrder {
    let (exchange, answers) = (exchange.clone(), answers.cloned());
    Arc::new(move |order| {
        let answers = answers.as_ref()?;
        let command = match order {
            api::Order::Drain { node } => Command::Drain(node.into()),
            api::Order::Undrain { node } => Command::Undrain(node.into()),
            api::Order::Move { slot, node, core: None } => {
                Command::Move { slot, to: Target::Node(node.into()) }
            }
            api::Order::Move { slot, node, core: Some(core) } => {
                let table = exchange.placement().table();
                let of = table.nodes.iter().find(|of| *of.name == *node);
                // A node that is not there is refused like one that has no such core.
                let shard = of.map_or(RouterId::NOBODY, |of| RouterId::new(of.id, core));
                Command::Move { slot, to: Target::Shard(shard) }
            }
        };
        let (number, answer) = answers.expect();
        if exchange.command(number, command).is_err() {
            answers.forget(number);
            return None;
        }
        Some(answer)
    })
}

/// A random number.
pub(super) fn seed() -> Result<u64, ServeError> {
    let bytes = ring::random::bytes().map_err(|error| ServeError::System("random bytes", error))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Starts the API: it answers before there is anybody to ask.
pub(super) fn start_api(
    config: &Config,
    membership: Option<&Membership>,
    exchange: &Exchange,
    authenticator: &Arc<Authenticator>,
    registry: &Arc<Registry>,
    answers: Option<&CommandAnswers>,
    inbox: mpsc::Receiver<protocol::envelope::ToGateway>,
) -> Result<api::Handle, ServeError> {
    let (pushing, verifying) = (exchange.clone(), Arc::clone(authenticator));
    let placement = Arc::clone(exchange.placement());
    let clustered = membership.is_some();
    let port = api::Port {
        push: Arc::new(move |envelope| pushing.push_from_api(envelope, clustered)),
        table: Arc::new(move || (placement.node(), placement.table())),
        name: membership.map(|membership| membership.name.clone()).unwrap_or_default(),
        give_order: give_order(exchange, answers.filter(|_| clustered)),
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
