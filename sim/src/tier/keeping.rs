//! A simulated node's keeper: its requests to the store, the tables that it has for everybody, orders. As
//! `gateway::core::keeping`.

use protocol::envelope::RouterId;
use protocol::placement::Epoch;
use protocol::time::Now;
use router::keeper::{CommandNumber, Keeper, KeeperCompletion, KeeperOperation, Note, RequestNumber};
use storage::request::{Outcome, RequestId};

use super::placement::{Phase, Shared};
use crate::coverage::Mark;
use crate::node::Outside;
use crate::store::{Asker, KEEPERS};

/// Longest time from tick to tick of a keeper, in milliseconds.
const TICK_MS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Retiring,
    Leaving,
    Left,
}

/// A keeper and what it is connected to.
#[derive(Debug)]
pub(super) struct Keeping {
    keeper: Keeper,
    wanted: Epoch,
    stopping: Stopping,
    due_ms: u64,
    orders: u64,
}

impl Keeping {
    pub(super) fn new(keeper: Keeper) -> Self {
        Self { keeper, wanted: Epoch(0), stopping: Stopping::No, due_ms: 0, orders: 0 }
    }

    pub(super) fn outcome(&mut self, now: Now, request: RequestId, outcome: Outcome) {
        let number = RequestNumber(request.0 & !KEEPERS);
        self.keeper.handle(now, KeeperCompletion::Store(number, outcome));
    }

    pub(super) fn has_left(&self) -> bool {
        self.stopping == Stopping::Left
    }

    pub(super) fn invariants(&self) {
        self.keeper.invariants();
    }

    /// Does what is due, and executes what the keeper wants.
    pub(super) fn turn(&mut self, now: Now, shared: &mut Shared, outside: &mut Outside<'_>) {
        self.follow_phase(now, shared);
        if shared.wanted > self.wanted && shared.wanted > shared.table.epoch {
            self.wanted = shared.wanted;
            self.keeper.handle(now, KeeperCompletion::Wanted(shared.wanted));
        }
        while let Some(command) = shared.commands.pop_front() {
            self.orders += 1;
            self.keeper.handle(now, KeeperCompletion::Command(CommandNumber(self.orders), command));
        }
        if now.monotonic_ms >= self.due_ms
            || self.keeper.deadline().is_some_and(|due| due <= now.monotonic_ms)
        {
            self.due_ms = now.monotonic_ms + TICK_MS;
            self.keeper.handle(now, KeeperCompletion::Tick);
        }
        while let Some(operation) = self.keeper.poll_operation() {
            self.execute(now, operation, shared, outside);
        }
    }

    fn execute(
        &mut self,
        now: Now,
        operation: KeeperOperation,
        shared: &mut Shared,
        outside: &mut Outside<'_>,
    ) {
        let world = &mut *outside.world;
        match operation {
            KeeperOperation::Store(number, request) => {
                let asker = Asker { process: shared.process, router: RouterId::new(shared.node, 0) };
                let id = RequestId(number.0 | KEEPERS);
                if outside.store.submit(world, asker, id, request).is_err() {
                    self.keeper.handle(now, KeeperCompletion::StoreFull(number));
                }
            }
            KeeperOperation::Table(table) => {
                world.trace(|| format!("node {} has table {:?}", shared.place, table.epoch));
                shared.replace(table);
            }
            KeeperOperation::Lapsed(lapsed) => {
                world.trace(|| format!("the lease of node {}: lapsed {lapsed}", shared.place));
                if lapsed {
                    world.coverage.hit(Mark::LeaseLapsed);
                }
                shared.lapsed = lapsed;
            }
            KeeperOperation::Replaced(replaced) => {
                world.trace(|| format!("node {} is replaced: {replaced:?}", shared.place));
                shared.lapsed = true;
                shared.given_up = true;
                self.stopping = Stopping::Left;
            }
            KeeperOperation::Left => self.stopping = Stopping::Left,
            KeeperOperation::CommandDone(_, result) => {
                world.trace(|| format!("an order at node {}: {result:?}", shared.place));
            }
            KeeperOperation::Note(note) => {
                world.trace(|| format!("the keeper of node {}: {note:?}", shared.place));
                match note {
                    Note::Dead { .. } => world.coverage.hit(Mark::NodeFoundDead),
                    Note::Moved { .. } => world.coverage.hit(Mark::SlotsMoved),
                    _ => {}
                }
            }
        }
    }

    /// A node that stops is emptied first, and leaves when it is.
    fn follow_phase(&mut self, now: Now, shared: &Shared) {
        if shared.phase >= Phase::Draining && self.stopping == Stopping::No {
            self.stopping = Stopping::Retiring;
            self.keeper.handle(now, KeeperCompletion::Retire);
        }
        let is_empty = || {
            let table = &shared.table;
            let has_slots = table.tenures.iter().any(|tenure| tenure.owner.node() == shared.node);
            let is_last = table.nodes.iter().all(|node| node.id == shared.node || node.draining);
            !has_slots || is_last
        };
        if self.stopping == Stopping::Retiring && (shared.phase >= Phase::Stopping || is_empty()) {
            self.stopping = Stopping::Leaving;
            self.keeper.handle(now, KeeperCompletion::Leave);
        }
    }
}
