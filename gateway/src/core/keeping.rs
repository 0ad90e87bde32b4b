//! The keeper of a router node, on its first core: its requests to the store, the tables that it has for everybody, orders of
//! operators and what came of them. What a keeper decides stands in `router::keeper`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use api::OrderError;
use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId};
use protocol::time::Now;
use router::keeper::{
    Answer, Command, CommandError, CommandNumber, Keeper, KeeperCompletion, KeeperOperation, Note, Replaced,
    RequestNumber,
};
use storage::driver::Handle;
use storage::request::{Outcome, RequestId};
use tokio::sync::oneshot;

use super::exchange::Outgoing;
use super::phase::{Direction, Phase};
use super::shared::Placement;
use crate::log::Logger;

/// In the number of a request: it is the keeper's, and not the router shard's.
const KEEPERS: u64 = 1 << 63;

type Waiting = oneshot::Sender<Result<(), OrderError>>;

/// Whoever waits for the end of an order.
#[derive(Clone, Default)]
pub struct CommandAnswers {
    next: Arc<AtomicU64>,
    waiting: Arc<Mutex<HashMap<u64, Waiting>>>,
}

impl CommandAnswers {
    /// One more waits: the number of its order, and where the answer comes.
    #[must_use]
    pub fn expect(&self) -> (u64, oneshot::Receiver<Result<(), OrderError>>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (number, receiver)
    }

    /// The order was not taken.
    pub fn forget(&self, number: u64) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn answer(&self, number: u64, result: Result<(), OrderError>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone.
            let _ = waiting.send(result);
        }
    }
}

/// What a keeper has told since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Whether the node's lease is not renewed in time, now.
    pub(super) lapsed: bool,
    /// Times that it began not to be.
    pub(super) lapses: u64,
    /// Router nodes that this one found gone.
    pub(super) nodes_dead: u64,
    /// Slots that tables gave to other owners, or anew to the same, whoever made them.
    pub(super) slots_moved: u64,
    /// Times that the store began to fail.
    pub(super) store_failures: u64,
}

/// A keeper and what it is connected to.
pub struct Keeping {
    keeper: Keeper,
    node: NodeId,
    answers: CommandAnswers,
    logger: Logger,
    wanted: Epoch,
    stopping: Stopping,
    due_ms: u64,
    counters: Counters,
}

/// How far a node that stops is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// It asked to be emptied.
    Retiring,
    /// What it still has goes to others at once.
    Leaving,
    /// It has no lease any more.
    Left,
}

impl Keeping {
    /// A keeper of this node that has not begun.
    #[must_use]
    pub fn new(keeper: Keeper, node: NodeId, answers: CommandAnswers, logger: Logger) -> Self {
        let (wanted, stopping, due_ms, counters) = (Epoch(0), Stopping::No, 0, Counters::default());
        Self { keeper, node, answers, logger, wanted, stopping, due_ms, counters }
    }

    /// Whether a request to the store was the keeper's.
    pub(super) const fn asked(&self, request: RequestId) -> bool {
        request.0 & KEEPERS != 0
    }

    /// The store has answered.
    pub(super) fn outcome(&mut self, now: Now, request: RequestId, outcome: Outcome) {
        let number = RequestNumber(request.0 & !KEEPERS);
        self.keeper.handle(now, KeeperCompletion::Store(number, outcome));
    }

    /// An operator orders something.
    pub(super) fn command(&mut self, now: Now, number: u64, command: Command) {
        self.keeper.handle(now, KeeperCompletion::Command(CommandNumber(number), command));
    }

    /// When it has something to do of itself, in milliseconds of the monotonic clock.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.keeper.deadline()
    }

    /// True once the node has given its slots and its lease away.
    pub(super) fn has_left(&self) -> bool {
        self.stopping == Stopping::Left
    }

    /// What the keeper has told.
    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Does what is due, and executes what it wants.
    pub(super) fn turn(
        &mut self,
        now: Now,
        direction: &Direction,
        store: &Handle,
        placement: &Placement,
        outgoing: &Outgoing,
    ) {
        self.follow_direction(now, direction.phase(), placement);
        let wanted = placement.wanted();
        if wanted > self.wanted && wanted > placement.epoch() {
            self.wanted = wanted;
            self.keeper.handle(now, KeeperCompletion::Wanted(wanted));
        }
        if now.monotonic_ms >= self.due_ms
            || self.keeper.deadline().is_some_and(|due| due <= now.monotonic_ms)
        {
            self.due_ms = now.monotonic_ms + super::TICK_MS;
            self.keeper.handle(now, KeeperCompletion::Tick);
        }
        while let Some(operation) = self.keeper.poll_operation() {
            match operation {
                KeeperOperation::Store(number, request) => {
                    let id = RequestId(number.0 | KEEPERS);
                    if store.try_submit(RouterId::new(self.node, 0), id, request).is_err() {
                        self.keeper.handle(now, KeeperCompletion::StoreFull(number));
                    }
                }
                KeeperOperation::Table(table) => {
                    if placement.replace(table) {
                        outgoing.wake_all();
                    }
                }
                KeeperOperation::Lapsed(lapsed) => {
                    placement.set_lapsed(lapsed);
                    outgoing.wake_all();
                    self.counters.lapsed = lapsed;
                    self.counters.lapses += u64::from(lapsed);
                    self.tell_lapsed(lapsed);
                }
                KeeperOperation::Replaced(replaced) => {
                    placement.set_lapsed(true);
                    outgoing.wake_all();
                    self.tell_replaced(replaced);
                    direction.give_up();
                    self.stopping = Stopping::Left;
                }
                KeeperOperation::Left => self.stopping = Stopping::Left,
                KeeperOperation::CommandDone(number, result) => {
                    let result = result.map(|_: Answer| ()).map_err(order_error);
                    self.answers.answer(number.0, result);
                }
                KeeperOperation::Note(note) => self.note(&note),
            }
        }
    }

    /// A node that stops is emptied first, and leaves when it is.
    fn follow_direction(&mut self, now: Now, phase: Phase, placement: &Placement) {
        if phase >= Phase::Draining && self.stopping == Stopping::No {
            self.stopping = Stopping::Retiring;
            self.keeper.handle(now, KeeperCompletion::Retire);
        }
        let is_empty = || {
            let table = placement.table();
            let has_slots = table.tenures.iter().any(|tenure| tenure.owner.node() == self.node);
            let is_last = table.nodes.iter().all(|node| node.id == self.node || node.draining);
            !has_slots || is_last
        };
        if self.stopping == Stopping::Retiring && (phase >= Phase::Stopping || is_empty()) {
            self.stopping = Stopping::Leaving;
            self.keeper.handle(now, KeeperCompletion::Leave);
        }
    }

    fn tell_lapsed(&self, lapsed: bool) {
        if lapsed {
            self.logger.error("the node's lease was not renewed in time: its slots may be others' now", &[]);
        } else {
            self.logger.info("the node's lease is renewed again", &[]);
        }
    }

    fn tell_replaced(&self, replaced: Replaced) {
        let why = match replaced {
            Replaced::ByName => "another process runs under this node's name",
            Replaced::ByClaim => "a server that is no node of this cluster has taken the store",
        };
        self.logger.error("the node stops", &[("why", &why)]);
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Joined { node, name } => {
                self.logger.info("a router node has joined", &[("node", name), ("number", &node.0)]);
            }
            Note::Gone { node, name } => {
                self.logger.info("a router node is gone", &[("node", name), ("number", &node.0)]);
            }
            Note::Dead { node, silent_ms } => {
                self.counters.nodes_dead += 1;
                let fields: crate::log::Fields<'_> = &[("number", &node.0), ("silent_ms", silent_ms)];
                self.logger.warn("a router node does not renew its lease", fields);
            }
            Note::Moved { epoch, slots } => {
                self.counters.slots_moved += *slots as u64;
                self.logger.info("slots have moved", &[("epoch", &epoch.0), ("slots", slots)]);
            }
            Note::StoreFails(failure) => {
                self.counters.store_failures += 1;
                let why = format!("{failure:?}");
                self.logger.error("the keeper can't reach the store", &[("why", &why)]);
            }
            Note::StoreAnswers => self.logger.info("the keeper reaches the store again", &[]),
        }
    }
}

fn order_error(error: CommandError) -> OrderError {
    let words = words(error).to_owned();
    match error {
        CommandError::Busy | CommandError::Unavailable => OrderError::Unavailable(words),
        CommandError::NoNode
        | CommandError::NoSlot
        | CommandError::NoShard
        | CommandError::Draining
        | CommandError::LastNode
        | CommandError::Leaving => OrderError::Refused(words),
    }
}

const fn words(error: CommandError) -> &'static str {
    match error {
        CommandError::NoNode => "no router node has this name",
        CommandError::NoSlot => "no slot has this number",
        CommandError::NoShard => "the node has no such core",
        CommandError::Draining => "the node is being emptied: it gets no slot",
        CommandError::LastNode => "no other node could take the slots",
        CommandError::Leaving => "the node is about to leave",
        CommandError::Busy => "too many orders wait",
        CommandError::Unavailable => "the store did not answer in time; the state tells whether it was done",
    }
}
