//! A gateway shard's place on its core: what comes in, what goes out, and the rules of giving back.

use std::sync::Arc;

use gateway::auth::Authenticator;
use gateway::shard::{Completion, GatewayShard, Operation, Settings, operation};
use protocol::envelope::{GatewayId, RouterId};
use protocol::placement::{Epoch, Table};
use protocol::time::Now;

use super::{Mailboxes, OPERATIONS_A_TURN_MAX, Outside, kind_of};
use crate::cluster::Event;
use crate::kernel::Happened;
use crate::weather::Weather;
use crate::world::World;

/// The shard and where it stands.
pub(super) struct GatewaySeat {
    pub(super) shard: GatewayShard,
    pub(super) turn_planned: bool,
    polls: u64,
    invariants_every: u64,
    id: GatewayId,
}

pub(crate) fn settings(weather: &Weather) -> Settings {
    let tuning = &weather.tuning;
    let defaults = Settings::default();
    Settings {
        heartbeat_ms: tuning.heartbeat_ms,
        offline_ms: tuning.heartbeat_ms * 2,
        outbox_bytes: tuning.outbox_bytes,
        lag_events_max: tuning.lag_events_max,
        drain_ms: 2_000,
        ..defaults
    }
}

impl GatewaySeat {
    pub(super) fn new(
        id: GatewayId,
        weather: &Weather,
        authenticator: Arc<Authenticator>,
        seed: u64,
    ) -> Self {
        let shape = &weather.shape;
        let shard = GatewayShard::new(
            id,
            &Table::alone(shape.routers, Epoch(0)),
            shape.slots,
            settings(weather),
            authenticator,
            seed,
        );
        Self { shard, turn_planned: false, polls: 0, invariants_every: shape.invariants_every, id }
    }

    /// Takes up to so many completions, then does what the shard wants.
    pub(super) fn turn(&mut self, outside: &mut Outside<'_>, mailboxes: &mut Mailboxes, completions: u64) {
        let index = self.id.0 as usize;
        for _ in 0..completions {
            let socket_first = outside.world.random.coin();
            let happened = if socket_first { outside.kernel.next_happened(index) } else { None };
            let now = outside.world.now();
            if let Some(happened) = happened {
                self.take(outside, happened);
            } else if let Some(envelope) = mailboxes.to_gateways[index].pop() {
                self.shard.handle(now, Completion::Envelope(envelope));
            } else if let Some(happened) = outside.kernel.next_happened(index) {
                self.take(outside, happened);
            } else {
                break;
            }
        }
        self.poll(outside, mailboxes);
    }

    fn take(&mut self, outside: &Outside<'_>, happened: Happened) {
        take(&mut self.shard, outside.world.now(), happened);
    }

    pub(super) fn tick(&mut self, outside: &mut Outside<'_>, mailboxes: &mut Mailboxes) {
        self.shard.handle(outside.world.now(), Completion::Tick);
        self.poll(outside, mailboxes);
    }

    pub(super) fn drain(&mut self, outside: &mut Outside<'_>, mailboxes: &mut Mailboxes) {
        self.shard.handle(outside.world.now(), Completion::Drain);
        self.poll(outside, mailboxes);
    }

    fn poll(&mut self, outside: &mut Outside<'_>, mailboxes: &mut Mailboxes) {
        let mut count = 0;
        while let Some(operation) = self.shard.poll_operation() {
            count += 1;
            assert!(count < OPERATIONS_A_TURN_MAX, "gateway {} has operations without end", self.id.0);
            match operation {
                Operation::Socket(operation) => self.submit(outside, operation),
                Operation::ToRouter(router, envelope) => {
                    outside.world.record("to router", u64::from(router.0), &kind_of(&envelope).to_le_bytes());
                    let result = mailboxes.push_router(outside.world, router, envelope);
                    if let Err(envelope) = result {
                        self.give_back(outside, router, envelope);
                    }
                }
                Operation::ToApi(_) => unreachable!("the office asks the router shards itself"),
            }
        }
        self.polls += 1;
        if self.polls.is_multiple_of(self.invariants_every) {
            self.shard.invariants();
        }
    }

    fn give_back(&mut self, outside: &Outside<'_>, router: RouterId, envelope: protocol::envelope::ToRouter) {
        self.shard.handle(outside.world.now(), Completion::RouterFull(router, envelope));
    }

    fn submit(&self, outside: &mut Outside<'_>, operation: operation::Operation) {
        let world = &mut *outside.world;
        record(world, &operation);
        outside.kernel.submit(world, self.id.0 as usize, operation);
    }
}

/// Tells a shard what happened on a socket.
pub(crate) fn take(shard: &mut GatewayShard, now: Now, happened: Happened) {
    let mut received;
    let completion = match happened {
        Happened::Accepted(token, peer) => operation::Completion::Accepted { token, listener: 0, peer },
        Happened::Received(token, bytes) => {
            received = bytes;
            operation::Completion::Received { token, bytes: &mut received }
        }
        Happened::Ended(token, error) => operation::Completion::Ended { token, error },
        Happened::Sent(token, result, gather) => operation::Completion::Sent { token, result, gather },
        Happened::Closed(token) => operation::Completion::Closed { token },
    };
    shard.handle(now, Completion::Socket(completion));
}

/// Adds what a shard wants of a socket to the hash of the run.
pub(crate) fn record(world: &mut World<Event>, operation: &operation::Operation) {
    match operation {
        operation::Operation::Receive(token) => world.record("receive", token.to_bits(), &[]),
        operation::Operation::Pause(token) => world.record("pause", token.to_bits(), &[]),
        operation::Operation::Send(token, gather) => {
            for packet in &gather.packets {
                world.record("send", token.to_bits(), packet.as_bytes());
            }
        }
        operation::Operation::Shutdown(token) => world.record("shutdown", token.to_bits(), &[]),
        operation::Operation::Close(token) => world.record("close", token.to_bits(), &[]),
        operation::Operation::Abort(token) => world.record("abort", token.to_bits(), &[]),
    }
}
