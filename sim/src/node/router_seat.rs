//! A router shard's place on its core: what comes in, what goes out, and the rules of giving back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use protocol::envelope::{GatewayId, Lane, RouterId, ToGateway};
use protocol::placement::Table;
use router::{Completion, Operation, RouterShard, Settings};
use storage::request::{Epoch, Outcome, RequestId};

use super::{Mailboxes, OPERATIONS_A_TURN_MAX, Outside, kind_of};
use crate::checker::Violation;
use crate::coverage::Mark;
use crate::store::Asker;
use crate::weather::{Tuning, Weather};

/// How often a turn polls anew after it gave envelopes back.
const ROUNDS_MAX: usize = 4;

/// The shard and where it stands.
pub(super) struct RouterSeat {
    pub(super) shard: RouterShard,
    pub(super) answers: VecDeque<(RequestId, Outcome)>,
    pub(super) turn_planned: bool,
    polls: u64,
    invariants_every: u64,
    id: RouterId,
}

/// What came back in one round of polling.
#[derive(Default)]
struct Returned {
    completions: Vec<Completion>,
    gateways: BTreeSet<GatewayId>,
    routers: BTreeSet<RouterId>,
}

pub(crate) fn settings(weather: &Weather) -> Settings {
    let Tuning { heartbeat_ms, large_members, held_members_min, .. } = weather.tuning;
    let offline_ms = u64::from(heartbeat_ms) * 2;
    Settings { offline_ms, large_members, held_members_min, ..Settings::default() }
}

impl RouterSeat {
    pub(super) fn new(id: RouterId, weather: &Weather, epoch: Epoch, seed: u64) -> Self {
        let shard = RouterShard::new(
            id,
            Arc::new(Table::alone(weather.shape.routers, epoch)),
            settings(weather),
            seed,
        );
        let invariants_every = weather.shape.invariants_every;
        Self { shard, answers: VecDeque::new(), turn_planned: false, polls: 0, invariants_every, id }
    }

    /// Takes up to so many completions, then does what the shard wants.
    pub(super) fn turn(
        &mut self,
        outside: &mut Outside<'_>,
        mailboxes: &mut Mailboxes,
        completions: u64,
    ) -> Result<(), Violation> {
        let now = outside.world.now();
        for _ in 0..completions {
            let answer_first = outside.world.random.coin();
            let mail = &mut mailboxes.to_routers[self.id.0 as usize];
            let answer = if answer_first { self.answers.pop_front() } else { None };
            if let Some((id, outcome)) = answer {
                self.shard.handle(now, Completion::Store(id, outcome));
            } else if self.shard.wants_input()
                && let Some(envelope) = mail.pop()
            {
                self.shard.handle(now, Completion::Envelope(envelope));
            } else if let Some((id, outcome)) = self.answers.pop_front() {
                self.shard.handle(now, Completion::Store(id, outcome));
            } else {
                break;
            }
        }
        self.poll(outside, mailboxes)
    }

    pub(super) fn tick(
        &mut self,
        outside: &mut Outside<'_>,
        mailboxes: &mut Mailboxes,
    ) -> Result<(), Violation> {
        self.shard.handle(outside.world.now(), Completion::Tick);
        self.poll(outside, mailboxes)
    }

    /// Polls until nothing came back, or the round's bound.
    fn poll(&mut self, outside: &mut Outside<'_>, mailboxes: &mut Mailboxes) -> Result<(), Violation> {
        for _ in 0..ROUNDS_MAX {
            let returned = self.poll_round(outside, mailboxes)?;
            if returned.completions.is_empty() {
                break;
            }
            for completion in returned.completions {
                self.shard.handle(outside.world.now(), completion);
            }
        }
        self.polls += 1;
        if self.polls.is_multiple_of(self.invariants_every) {
            self.shard.invariants();
        }
        Ok(())
    }

    fn poll_round(
        &mut self,
        outside: &mut Outside<'_>,
        mailboxes: &mut Mailboxes,
    ) -> Result<Returned, Violation> {
        let mut returned = Returned::default();
        let mut count = 0;
        while let Some(operation) = self.shard.poll_operation() {
            count += 1;
            assert!(count < OPERATIONS_A_TURN_MAX, "router {} has operations without end", self.id.0);
            let world = &mut *outside.world;
            match operation {
                Operation::ToGateway(to, envelope) => {
                    world.record("to gateway", u64::from(to.0), &kind_of(&envelope).to_le_bytes());
                    check_durable(outside, &envelope)?;
                    returned.push_gateway(outside, mailboxes, to, envelope);
                }
                Operation::ToRouter(to, envelope) => {
                    world.record("to router", u64::from(to.0), &kind_of(&envelope).to_le_bytes());
                    let blocked = envelope.lane() == Lane::Required && returned.routers.contains(&to);
                    let result =
                        if blocked { Err(envelope) } else { mailboxes.push_router(world, to, envelope) };
                    if let Err(envelope) = result {
                        returned.routers.insert(to);
                        returned.completions.push(Completion::RouterFull(to, envelope));
                    }
                }
                Operation::Cut(gateway) => unreachable!("{gateway:?} is no gateway shard of another node"),
                Operation::Store(id, request) => {
                    let asker = Asker { process: 0, router: self.id };
                    world.record("store", id.0, &kind_of(&request).to_le_bytes());
                    if let Err(request) = outside.store.submit(world, asker, id, request) {
                        world.coverage.hit(Mark::StoreFull);
                        returned.completions.push(Completion::StoreFull(id, request));
                    }
                }
            }
        }
        Ok(returned)
    }
}

impl Returned {
    /// Once an envelope came back, every later required one to the same mailbox comes back too.
    fn push_gateway(
        &mut self,
        outside: &mut Outside<'_>,
        mailboxes: &mut Mailboxes,
        to: GatewayId,
        envelope: ToGateway,
    ) {
        let blocked = envelope.lane() == Lane::Required && self.gateways.contains(&to);
        let result =
            if blocked { Err(envelope) } else { mailboxes.push_gateway(outside.world, to, envelope) };
        if let Err(envelope) = result {
            self.gateways.insert(to);
            self.completions.push(Completion::GatewayFull(to, envelope));
        }
    }
}

/// What a router shard lets go is durable at that very moment.
pub(crate) fn check_durable(outside: &mut Outside<'_>, envelope: &ToGateway) -> Result<(), Violation> {
    let Outside { store, checker, .. } = outside;
    let durable = &mut |key: &_, after| store.synced_log(key, after);
    match envelope {
        ToGateway::Appended { conversation, seq, .. } => checker.published(conversation, *seq, None, durable),
        ToGateway::Publish { conversation, events }
        | ToGateway::Backlog { conversation, events, .. }
        | ToGateway::Page { conversation, events, .. } => {
            for event in events {
                checker.published(conversation, event.seq(), Some(event), durable)?;
            }
            Ok(())
        }
        ToGateway::Head { conversation, head } if *head > 0 => {
            checker.published(conversation, *head, None, durable)
        }
        _ => Ok(()),
    }
}
