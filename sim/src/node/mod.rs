//! One node: its gateway and router shards with their mailboxes, driven in turns as an event loop does it.
//!
//! The kernel, the store and the API are handed in for the length of a turn.

pub(crate) mod gateway_seat;
pub(crate) mod router_seat;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gateway::auth::Authenticator;
use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::error::CloseCode;
use storage::request::Epoch;

use self::gateway_seat::GatewaySeat;
use self::router_seat::RouterSeat;
use crate::checker::{Checker, Violation};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::kernel::Kernel;
use crate::mailbox::Mailbox;
use crate::random::Chance;
use crate::store::Store;
use crate::weather::{Network, Shape, Weather};
use crate::world::World;

/// Most operations of one shard in one turn: more is an endless loop.
pub(crate) const OPERATIONS_A_TURN_MAX: usize = 100_000;

/// A shard of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A gateway shard.
    Gateway(u16),
    /// A router shard.
    Router(u16),
}

/// How many times the node was started; what was planned for an earlier one is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tenure(pub(crate) u32);

/// What a turn may touch besides its node.
pub(crate) struct Outside<'a> {
    /// Time, chance, plans.
    pub(crate) world: &'a mut World<Event>,
    /// Sockets.
    pub(crate) kernel: &'a mut Kernel,
    /// The store.
    pub(crate) store: &'a mut Store,
    /// What was promised.
    pub(crate) checker: &'a mut Checker,
}

/// The mailboxes between the shards of a node, and the API's.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    to_gateways: Vec<Mailbox<ToGateway>>,
    to_routers: Vec<Mailbox<ToRouter>>,
    /// To the API.
    pub(crate) to_api: Mailbox<ToGateway>,
    refuses: Chance,
}

/// Envelopes that the API's mailbox holds.
const API_MAILBOX: usize = 64;

impl Mailboxes {
    fn new(shape: &Shape, network: &Network) -> Self {
        Self {
            to_gateways: (0..shape.gateways).map(|_| Mailbox::new(shape.gateway_mailbox)).collect(),
            to_routers: (0..shape.routers).map(|_| Mailbox::new(shape.router_mailbox)).collect(),
            to_api: Mailbox::new(API_MAILBOX),
            refuses: network.mailbox_refuses,
        }
    }

    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    fn push_gateway(
        &mut self,
        world: &mut World<Event>,
        to: GatewayId,
        envelope: ToGateway,
    ) -> Result<(), ToGateway> {
        let lane = envelope.lane();
        let result = if world.random.happens(self.refuses) {
            Err(envelope)
        } else if to == GatewayId::API {
            self.to_api.push(lane, envelope)
        } else {
            self.to_gateways[to.0 as usize].push(lane, envelope)
        };
        if result.is_err() {
            world.coverage.hit(Mark::GatewayFull);
        }
        result
    }

    /// Puts an envelope into a router shard's mailbox, or gives it back.
    #[expect(clippy::result_large_err, reason = "what does not fit comes back as it is")]
    pub(crate) fn push_router(
        &mut self,
        world: &mut World<Event>,
        to: RouterId,
        envelope: ToRouter,
    ) -> Result<(), ToRouter> {
        let result = if world.random.happens(self.refuses) {
            Err(envelope)
        } else {
            self.to_routers[to.0 as usize].push(envelope.lane(), envelope)
        };
        if result.is_err() {
            world.coverage.hit(Mark::RouterFull);
        }
        result
    }
}

/// The shards and what lies between them.
pub(crate) struct Node {
    tenure: Tenure,
    gateways: Vec<GatewaySeat>,
    routers: Vec<RouterSeat>,
    /// Between the shards.
    pub(crate) mailboxes: Mailboxes,
    shape: Shape,
    network: Network,
}

impl Node {
    /// Starts a node with new shards.
    pub(crate) fn start(
        weather: &Weather,
        tenure: Tenure,
        epoch: Epoch,
        authenticator: &Arc<Authenticator>,
        world: &mut World<Event>,
    ) -> Self {
        let shape = weather.shape;
        let gateways = (0..shape.gateways)
            .map(|id| {
                GatewaySeat::new(
                    GatewayId(id.into()),
                    weather,
                    Arc::clone(authenticator),
                    world.random.next(),
                )
            })
            .collect();
        let routers = (0..shape.routers)
            .map(|id| RouterSeat::new(RouterId(id.into()), weather, epoch, world.random.next()))
            .collect();
        let mailboxes = Mailboxes::new(&shape, &weather.network);
        let node = Self { tenure, gateways, routers, mailboxes, shape, network: weather.network };
        for seat in node.seats() {
            world.plan_within(weather.network.turn_us, Event::Tick(tenure, seat));
        }
        node
    }

    /// Every shard of the node.
    pub(crate) fn seats(&self) -> impl Iterator<Item = Seat> + use<> {
        let gateways = (0..self.shape.gateways).map(Seat::Gateway);
        gateways.chain((0..self.shape.routers).map(Seat::Router))
    }

    /// Which start of the node this is.
    pub(crate) fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// Faults end.
    pub(crate) fn calm(&mut self, weather: &Weather) {
        self.network = weather.network;
        self.mailboxes.refuses = weather.network.mailbox_refuses;
    }

    /// The router shards' answers from the store come in.
    pub(crate) fn answer(&mut self, store: &mut Store) {
        while let Some((asker, id, outcome)) = store.next_answer() {
            self.routers[asker.router.0 as usize].answers.push_back((id, outcome));
        }
    }

    /// Plans a turn for every shard that has something to take and none planned.
    pub(crate) fn plan_turns(&mut self, world: &mut World<Event>, kernel: &Kernel) {
        for (index, seat) in self.gateways.iter_mut().enumerate() {
            let waits = kernel.has_happened(index) || self.mailboxes.to_gateways[index].len() > 0;
            if waits && !seat.turn_planned {
                seat.turn_planned = true;
                world
                    .plan_within(self.network.turn_us, Event::Turn(self.tenure, Seat::Gateway(index as u16)));
            }
        }
        for (index, seat) in self.routers.iter_mut().enumerate() {
            let mail = self.mailboxes.to_routers[index].len() > 0 && seat.shard.wants_input();
            if (mail || !seat.answers.is_empty()) && !seat.turn_planned {
                seat.turn_planned = true;
                world.plan_within(self.network.turn_us, Event::Turn(self.tenure, Seat::Router(index as u16)));
            }
        }
    }

    /// One turn of a shard.
    pub(crate) fn turn(&mut self, outside: &mut Outside<'_>, seat: Seat) -> Result<(), Violation> {
        let completions = self.shape.turn_completions;
        match seat {
            Seat::Gateway(index) => {
                let seat = &mut self.gateways[usize::from(index)];
                seat.turn_planned = false;
                seat.turn(outside, &mut self.mailboxes, completions);
                Ok(())
            }
            Seat::Router(index) => {
                let seat = &mut self.routers[usize::from(index)];
                seat.turn_planned = false;
                seat.turn(outside, &mut self.mailboxes, completions)
            }
        }
    }

    /// Time passes for a shard.
    pub(crate) fn tick(&mut self, outside: &mut Outside<'_>, seat: Seat) -> Result<(), Violation> {
        match seat {
            Seat::Gateway(index) => {
                self.gateways[usize::from(index)].tick(outside, &mut self.mailboxes);
                Ok(())
            }
            Seat::Router(index) => self.routers[usize::from(index)].tick(outside, &mut self.mailboxes),
        }
    }

    /// The node begins to drain.
    pub(crate) fn drain(&mut self, outside: &mut Outside<'_>) {
        for seat in &mut self.gateways {
            seat.drain(outside, &mut self.mailboxes);
        }
    }

    /// Whether every gateway shard has drained.
    pub(crate) fn is_drained(&self) -> bool {
        self.gateways.iter().all(|seat| seat.shard.is_drained())
    }

    /// Adds what the shards counted to what the run met.
    pub(crate) fn count(&self, world: &mut World<Event>) {
        for seat in &self.gateways {
            let counters = seat.shard.counters();
            world.coverage.add(Mark::Lagged, counters.lags);
            for (code, count) in counters.close_codes() {
                match code {
                    CloseCode::REPLACED => world.coverage.add(Mark::Replaced, count),
                    CloseCode::HEARTBEAT => world.coverage.add(Mark::HeartbeatMissed, count),
                    _ => {}
                }
            }
        }
    }

    /// Sockets, mail and work that is still there, for a node that should have none.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (index, seat) in self.gateways.iter().enumerate() {
            let mail = self.mailboxes.to_gateways[index].len();
            if seat.shard.connections() > 0 || mail > 0 {
                left.push(format!(
                    "gateway {index}: {} connections, {mail} envelopes",
                    seat.shard.connections()
                ));
            }
        }
        for (index, seat) in self.routers.iter().enumerate() {
            let mail = self.mailboxes.to_routers[index].len();
            if !seat.shard.is_idle() || mail > 0 || !seat.shard.wants_input() {
                left.push(format!("router {index}: idle {}, {mail} envelopes", seat.shard.is_idle()));
            }
        }
        left
    }
}

/// Hashes what kind of thing an operation is.
pub(crate) fn kind_of<T>(operation: &T) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    std::mem::discriminant(operation).hash(&mut hasher);
    hasher.finish()
}
