//! A core of a simulated node: a gateway shard, a router shard, links, on the first one the keeper, and the turn between them,
//! as `gateway::core` takes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway::shard::{self, GatewayShard};
use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway, ToRouter};
use protocol::placement::Epoch;
use protocol::time::Now;
use router::RouterShard;
use storage::request::{Failure, Outcome};

use super::doctor::Doctor;
use super::keeping::Keeping;
use super::links::{Hands, Links};
use super::placement::{Phase, Shared};
use super::wires::{Place, Wires};
use crate::checker::Violation;
use crate::coverage::Mark;
use crate::node::gateway_seat::{record, take};
use crate::node::router_seat::check_durable;
use crate::node::{OPERATIONS_A_TURN_MAX, Outside, kind_of};
use crate::store::{Asker, KEEPERS};

/// Longest time from tick to tick of the shards, in milliseconds.
const TICK_MS: u64 = 100;
/// Rounds of executing what the shards want a turn.
const ROUNDS_MAX: usize = 16;

/// What a turn touches besides its core.
pub(super) struct Turn<'a, 'b> {
    pub(super) now: Now,
    pub(super) shared: &'a mut Shared,
    pub(super) wires: &'a mut Wires,
    pub(super) outside: &'a mut Outside<'b>,
    /// How much of each sort a turn takes.
    pub(super) completions: u64,
    pub(super) doctor: Doctor,
}

/// A core.
pub(super) struct Core {
    pub(super) number: u16,
    /// Its table of sockets; `None` on a node without clients.
    pub(super) sockets: Option<usize>,
    pub(super) gateway: GatewayShard,
    pub(super) router: RouterShard,
    pub(super) links: Links,
    pub(super) keeping: Option<Keeping>,
    pub(super) phase: Phase,
    pub(super) table: Epoch,
    pub(super) lapsed: bool,
    pub(super) turn_planned: bool,
    /// Something did not fit, or was not taken: go on soon.
    pub(super) unfinished: bool,
    pub(super) polls: u64,
    pub(super) invariants_every: u64,
    pub(super) returned: Vec<router::Completion>,
    pub(super) full_gateways: BTreeSet<GatewayId>,
    pub(super) full_routers: BTreeSet<RouterId>,
    pub(super) ticked_ms: u64,
}

impl Core {
    /// One turn.
    pub(super) fn turn(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Violation> {
        self.unfinished = false;
        self.take_completions(turn);
        self.follow_phase(turn);
        self.follow_placement(turn);
        self.take_mail(turn);
        self.tick(turn.now);
        self.execute(turn)?;
        if let Some(keeping) = &mut self.keeping {
            keeping.turn(turn.now, turn.shared, turn.outside);
        }
        let (links, mut hands) = self.hands(turn);
        let waits = links.turn(&mut hands);
        self.unfinished |= waits;
        self.polls += 1;
        if self.polls.is_multiple_of(self.invariants_every) {
            self.invariants();
        }
        Ok(())
    }

    fn invariants(&self) {
        self.gateway.invariants();
        self.router.invariants();
        self.links.invariants();
        self.keeping.iter().for_each(Keeping::invariants);
    }

    fn hands<'a>(&'a mut self, turn: &'a mut Turn<'_, '_>) -> (&'a mut Links, Hands<'a>) {
        let Self { gateway, router, links, number, .. } = self;
        let Turn { now, shared, wires, outside, .. } = turn;
        (links, Hands { now: *now, core: *number, gateway, router, shared, wires, world: outside.world })
    }

    fn take_completions(&mut self, turn: &mut Turn<'_, '_>) {
        let place = Place { node: turn.shared.place, core: self.number };
        for _ in 0..turn.completions {
            if let Some(happened) = turn.wires.next_happened(place) {
                let (links, mut hands) = self.hands(turn);
                links.complete(happened, &mut hands);
            }
            let Some(sockets) = self.sockets else { continue };
            if let Some(happened) = turn.outside.kernel.next_happened(sockets) {
                take(&mut self.gateway, turn.now, happened);
            }
        }
    }

    fn follow_phase(&mut self, turn: &Turn<'_, '_>) {
        if turn.shared.phase >= Phase::Draining && self.phase < Phase::Draining {
            self.gateway.handle(turn.now, shard::Completion::Drain);
        }
        self.phase = turn.shared.phase;
    }

    /// Tells the shards of a newer table, and of the node's lease.
    fn follow_placement(&mut self, turn: &mut Turn<'_, '_>) {
        if turn.shared.lapsed != self.lapsed {
            self.lapsed = turn.shared.lapsed;
            self.router.handle(turn.now, router::Completion::Lapsed(self.lapsed));
        }
        if turn.shared.table.epoch == self.table {
            return;
        }
        let table = Arc::clone(&turn.shared.table);
        self.table = table.epoch;
        self.router.handle(turn.now, router::Completion::Table(Arc::clone(&table)));
        let (links, mut hands) = self.hands(turn);
        links.follow(&mut hands, &table);
        self.gateway.handle(turn.now, shard::Completion::Table(table));
    }

    /// Outcomes first, then the gateway shard's mail and that of links, then the router shard's while it wants any.
    fn take_mail(&mut self, turn: &mut Turn<'_, '_>) {
        let core = usize::from(self.number);
        for _ in 0..turn.completions {
            let Some((request, outcome)) = turn.shared.mail[core].outcomes.pop_front() else { break };
            if matches!(outcome, Outcome::Failed(Failure::Fenced)) {
                turn.outside.world.coverage.hit(Mark::Fenced);
            }
            match &mut self.keeping {
                Some(keeping) if request.0 & KEEPERS != 0 => keeping.outcome(turn.now, request, outcome),
                _ => self.router.handle(turn.now, router::Completion::Store(request, outcome)),
            }
        }
        for _ in 0..turn.completions {
            let Some(envelope) = turn.shared.mail[core].gateway.pop() else { break };
            self.gateway.handle(turn.now, shard::Completion::Envelope(envelope));
        }
        for _ in 0..turn.completions {
            let Some((gateway, envelope)) = turn.shared.mail[core].links.pop_front() else { break };
            self.follow_placement(turn);
            self.links.take_mail(gateway, envelope, turn.shared);
        }
        while self.number == 0
            && let Some(envelope) = turn.shared.from_api.pop()
        {
            self.gateway.handle(turn.now, shard::Completion::FromApi(envelope));
        }
        for _ in 0..turn.completions {
            if !self.router.wants_input() {
                break;
            }
            let Some((by, envelope)) = turn.shared.mail[core].router.pop() else { break };
            self.follow_placement(turn);
            self.router.handle(turn.now, router::Completion::Routed(by, envelope));
        }
    }

    fn tick(&mut self, now: Now) {
        let over = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now.monotonic_ms);
        let due = now.monotonic_ms >= self.ticked_ms + TICK_MS;
        if due || over(self.gateway.deadline()) || over(self.router.deadline()) {
            self.gateway.handle(now, shard::Completion::Tick);
            self.router.handle(now, router::Completion::Tick);
            self.ticked_ms = now.monotonic_ms;
        }
    }

    fn execute(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), Violation> {
        for _ in 0..ROUNDS_MAX {
            let gateway_wanted = self.execute_gateway(turn);
            let router_wanted = self.execute_router(turn)?;
            if !gateway_wanted && !router_wanted {
                return Ok(());
            }
        }
        self.unfinished = true;
        Ok(())
    }

    /// False when it wanted nothing.
    fn execute_gateway(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let own = RouterId::new(turn.shared.node, self.number);
        let mut count = 0;
        let mut refused = false;
        while let Some(operation) = self.gateway.poll_operation() {
            count += 1;
            assert!(count < OPERATIONS_A_TURN_MAX, "a gateway shard has operations without end");
            let (to, envelope) = match operation {
                shard::Operation::Socket(operation) => {
                    let sockets = self.sockets.expect("only clients have sockets");
                    record(turn.outside.world, &operation);
                    turn.outside.kernel.submit(turn.outside.world, sockets, operation);
                    continue;
                }
                shard::Operation::ToApi(envelope) => {
                    let lane = envelope.lane();
                    if let Err(lost) = turn.shared.to_api.push(lane, envelope) {
                        turn.outside.world.trace(|| format!("the API does not read {lost:?}"));
                    }
                    continue;
                }
                shard::Operation::ToRouter(to, envelope) => (to, envelope),
            };
            let world = &mut *turn.outside.world;
            world.record("to router", u64::from(to.0), &kind_of(&envelope).to_le_bytes());
            world.trace(|| format!("{own:?} to {to:?}: {envelope:?}"));
            if turn.doctor.loses_to_router(&envelope) {
                continue;
            }
            let back = if to.node() != turn.shared.node {
                self.links.send_to_router(to, envelope).err()
            } else if to != own {
                turn.shared.push_router(world, to.core(), self.table, envelope).err()
            } else if self.router.wants_input() {
                self.router.handle(turn.now, router::Completion::Envelope(envelope));
                None
            } else {
                Some(envelope)
            };
            if let Some(envelope) = back {
                self.gateway.handle(turn.now, shard::Completion::RouterFull(to, envelope));
                refused = true;
            }
        }
        self.unfinished |= refused;
        count > 0
    }

    /// False when it wanted nothing.
    fn execute_router(&mut self, turn: &mut Turn<'_, '_>) -> Result<bool, Violation> {
        let mut count = 0;
        while let Some(operation) = self.router.poll_operation() {
            count += 1;
            assert!(count < OPERATIONS_A_TURN_MAX, "a router shard has operations without end");
            match operation {
                router::Operation::ToGateway(to, envelope) => {
                    let world = &mut *turn.outside.world;
                    world.record("to gateway", u64::from(to.0), &kind_of(&envelope).to_le_bytes());
                    check_durable(turn.outside, &envelope)?;
                    if !turn.doctor.loses_to_gateway(&envelope) {
                        self.deliver_to_gateway(turn, to, envelope);
                    }
                }
                router::Operation::ToRouter(to, envelope) => self.deliver_to_router(turn, to, envelope),
                router::Operation::Cut(gateway) => {
                    if let Some(remote) = turn.shared.remote_mut(gateway) {
                        remote.cut = true;
                    }
                }
                router::Operation::Store(id, request) => {
                    let router = RouterId::new(turn.shared.node, self.number);
                    let asker = Asker { process: turn.shared.process, router };
                    let world = &mut *turn.outside.world;
                    world.record("store", id.0, &kind_of(&request).to_le_bytes());
                    if let Err(request) = turn.outside.store.submit(world, asker, id, request) {
                        world.coverage.hit(Mark::StoreFull);
                        self.returned.push(router::Completion::StoreFull(id, request));
                        self.unfinished = true;
                    }
                }
            }
        }
        self.full_gateways.clear();
        self.full_routers.clear();
        for completion in self.returned.drain(..) {
            self.router.handle(turn.now, completion);
        }
        Ok(count > 0)
    }

    fn deliver_to_gateway(&mut self, turn: &mut Turn<'_, '_>, to: GatewayId, envelope: ToGateway) {
        turn.outside.world.trace(|| format!("node {} to {to:?}: {envelope:?}", turn.shared.place));
        if to == GatewayId(u32::from(self.number)) {
            self.gateway.handle(turn.now, shard::Completion::Envelope(envelope));
            return;
        }
        let required = envelope.lane() == Lane::Required;
        let result = if required && self.full_gateways.contains(&to) {
            Err(envelope)
        } else if self.links.has_gateway(to) {
            self.links.send_to_gateway(to, envelope)
        } else {
            turn.shared.push_gateway(turn.outside.world, to, envelope)
        };
        if let Err(envelope) = result {
            if required {
                self.full_gateways.insert(to);
            }
            self.returned.push(router::Completion::GatewayFull(to, envelope));
            self.unfinished = true;
        }
    }

    fn deliver_to_router(&mut self, turn: &mut Turn<'_, '_>, to: RouterId, envelope: ToRouter) {
        let world = &mut *turn.outside.world;
        world.record("to router", u64::from(to.0), &kind_of(&envelope).to_le_bytes());
        let full = self.full_routers.contains(&to);
        let result = if to == RouterId::new(turn.shared.node, self.number) {
            if self.router.wants_input() && !full {
                self.returned.push(router::Completion::Envelope(envelope));
                return;
            }
            Err(envelope)
        } else if full && envelope.lane() == Lane::Required {
            Err(envelope)
        } else if to.node() != turn.shared.node {
            self.links.send_to_router(to, envelope)
        } else {
            turn.shared.push_router(world, to.core(), self.table, envelope)
        };
        if let Err(envelope) = result {
            if envelope.lane() == Lane::Required {
                self.full_routers.insert(to);
            }
            self.returned.push(router::Completion::RouterFull(to, envelope));
            self.unfinished = true;
        }
    }
}
