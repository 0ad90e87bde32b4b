//! The keeper's state machine: one request to the store at a time, first the beat that is due, then what is to be placed.
//!
//! A table that could not be placed is not tried again before a beat has told what there is now.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::placement::{Epoch, NodeId, Table};
use protocol::time::Now;
use storage::request::{Beaten, Failure, Holder, Lease, Outcome, Placement, Request, Stale};

use super::command::{self, Answer, Command, CommandError, CommandNumber, Status};
use super::commands::Commands;
use super::placing::{has_tenure, shape};
use super::watch::Watch;
use super::{
    KeeperCompletion, KeeperOperation, KeeperSettings, LEAVE_PATIENCE_MS, Note, Replaced, RequestNumber,
};

/// The one request under way.
#[derive(Debug)]
pub(super) enum Flight {
    /// Sent when, monotonic milliseconds.
    Beat {
        sent_ms: u64,
    },
    Place {
        purpose: Purpose,
        removed: Vec<Stale>,
    },
}

/// What a table is placed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nodes came, went or changed, or slots are still to move.
    Plan,
    /// The first command that waits.
    Command,
    /// This node leaves.
    Leave,
}

/// What is to be placed.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) table: Table,
    pub(super) removed: Vec<Stale>,
}

/// Holds the lease of a router node, and places slots. Pure: no clock, no I/O, chance from a seed.
#[derive(Debug)]
pub struct Keeper {
    pub(super) settings: KeeperSettings,
    pub(super) chance: u64,
    pub(super) now_ms: u64,
    unix_ms: u64,
    pub(super) node: NodeId,
    pub(super) table: Option<Arc<Table>>,
    /// As the last beat found them.
    pub(super) leases: Vec<Lease>,
    pub(super) watch: Watch,
    pub(super) last_request: RequestNumber,
    pub(super) flight: Option<Flight>,
    /// When the next beat is due.
    pub(super) beat_at_ms: u64,
    /// When the request was sent that renewed the lease last.
    pub(super) renewed_ms: Option<u64>,
    /// When a beat was answered last.
    pub(super) answered_ms: u64,
    pub(super) lapsed: bool,
    /// What is known may be outdated: nothing is placed before the next beat.
    pub(super) stale: bool,
    /// The newest table of an earlier process of this name: its tenures are to be renewed before anybody here sees a table.
    pub(super) restarted: Option<Epoch>,
    /// An earlier process of this name was being emptied, and the table still says so.
    pub(super) undrains: bool,
    /// Nodes came or went, and shares may not be even yet.
    pub(super) uneven: bool,
    /// What is to be placed, made from the newest table and the leases.
    pub(super) next: Option<Next>,
    /// A newer table was spoken of while a beat was under way.
    pub(super) wanted: Option<Epoch>,
    /// Since when something is to be placed.
    pub(super) need_ms: Option<u64>,
    /// How long it is left to the node that comes first.
    pub(super) patience_ms: u64,
    /// When the newest table came.
    pub(super) placed_ms: u64,
    pub(super) commands: Commands,
    pub(super) retiring: bool,
    /// Until when this node tries to leave in order.
    pub(super) leaving_until_ms: Option<u64>,
    pub(super) stopped: bool,
    pub(super) failing: bool,
    pub(super) operations: VecDeque<KeeperOperation>,
}

impl Keeper {
    /// A keeper that has asked for nothing yet: it does with the first completion.
    #[must_use]
    pub fn new(settings: KeeperSettings, seed: u64) -> Self {
        Self {
            node: settings.node,
            settings,
            chance: seed,
            now_ms: 0,
            unix_ms: 0,
            table: None,
            leases: Vec::new(),
            watch: Watch::default(),
            last_request: RequestNumber(0),
            flight: None,
            beat_at_ms: 0,
            renewed_ms: None,
            answered_ms: 0,
            lapsed: false,
            stale: true,
            restarted: None,
            undrains: false,
            uneven: false,
            next: None,
            wanted: None,
            need_ms: None,
            patience_ms: 0,
            placed_ms: 0,
            commands: Commands::default(),
            retiring: false,
            leaving_until_ms: None,
            stopped: false,
            failing: false,
            operations: VecDeque::new(),
        }
    }

    /// Takes one completion; what follows from it comes out of [`Self::poll_operation`].
    pub fn handle(&mut self, now: Now, completion: KeeperCompletion) {
        self.now_ms = self.now_ms.max(now.monotonic_ms);
        self.unix_ms = now.unix_ms;
        if self.stopped {
            return self.refuse(completion);
        }
        match completion {
            KeeperCompletion::Store(number, outcome) => self.answered(number, outcome),
            KeeperCompletion::StoreFull(number) => {
                self.answered(number, Outcome::Failed(Failure::Unavailable));
            }
            KeeperCompletion::Command(number, command) => self.command(number, command),
            KeeperCompletion::Wanted(epoch) => {
                if epoch > self.known() {
                    self.wanted = self.wanted.max(Some(epoch)).filter(|_| self.flight.is_some());
                    self.beat_at_ms = self.beat_at_ms.min(self.now_ms);
                }
            }
            KeeperCompletion::Retire => {
                self.retiring = true;
                self.beat_at_ms = self.beat_at_ms.min(self.now_ms);
            }
            KeeperCompletion::Leave => {
                self.leaving_until_ms.get_or_insert(self.now_ms + LEAVE_PATIENCE_MS);
            }
            KeeperCompletion::Tick => {}
        }
        self.settle();
    }

    /// The next thing to do.
    pub fn poll_operation(&mut self) -> Option<KeeperOperation> {
        self.operations.pop_front()
    }

    /// When time alone changes something, in monotonic milliseconds.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.stopped {
            return None;
        }
        let idle = self.flight.is_none();
        let lapses = self.renewed_ms.filter(|_| !self.lapsed).map(|at| at + self.settings.lease_ms);
        let places = self.need_ms.filter(|_| idle && !self.stale).map(|since| self.place_at_ms(since));
        let command = self.commands.first().map(|first| first.until_ms);
        let beat = idle.then_some(self.beat_at_ms);
        [lapses, places, command, beat, self.leaving_until_ms].into_iter().flatten().min()
    }

    /// The newest table.
    #[must_use]
    pub const fn table(&self) -> Option<&Arc<Table>> {
        self.table.as_ref()
    }

    /// Asserts what always holds.
    pub fn invariants(&self) {
        self.commands.invariants();
        assert!(self.leases.is_sorted_by(|a, b| a.node < b.node));
        assert!(!self.lapsed || self.renewed_ms.is_some(), "only what was held lapses");
        assert!(
            self.stopped || self.flight.is_some() || self.beat_at_ms <= self.now_ms + self.settings.beat_ms
        );
        if let Some(table) = &self.table {
            assert!(table.nodes.is_sorted_by(|a, b| a.id < b.id));
        }
    }

    pub(super) fn known(&self) -> Epoch {
        self.table.as_ref().map_or(Epoch(0), |table| table.epoch)
    }

    fn note(&mut self, note: Note) {
        self.operations.push_back(KeeperOperation::Note(note));
    }

    /// After the end only commands are answered.
    fn refuse(&mut self, completion: KeeperCompletion) {
        if let KeeperCompletion::Command(number, _) = completion {
            self.command_done(number, Err(CommandError::Unavailable));
        }
    }

    pub(super) fn stop(&mut self, last: KeeperOperation) {
        while let Some(number) = self.commands.pop() {
            self.command_done(number, Err(CommandError::Unavailable));
        }
        self.stopped = true;
        self.flight = None;
        self.operations.push_back(last);
    }

    // What the store answers.

    fn answered(&mut self, number: RequestNumber, outcome: Outcome) {
        if number != self.last_request {
            return;
        }
        match (self.flight.take(), outcome) {
            (Some(Flight::Beat { sent_ms }), Outcome::Beat(beaten)) => self.beaten(sent_ms, beaten),
            (Some(Flight::Place { purpose, removed }), Outcome::Placed(placed)) => {
                self.placed(purpose, &removed, placed);
            }
            (Some(flight), Outcome::Failed(failure)) => self.failed(&flight, failure),
            // A store that answers something else is not this keeper's fault to die of.
            (Some(flight), _) => self.failed(&flight, Failure::Unknown),
            (None, _) => {}
        }
    }

    fn failed(&mut self, flight: &Flight, failure: Failure) {
        if matches!(flight, Flight::Beat { .. }) {
            self.watch.interrupt(self.now_ms);
        }
        self.stale = true;
        self.beat_at_ms = self.now_ms + self.settings.beat_ms / 4;
        if !self.failing {
            self.failing = true;
            self.note(Note::StoreFails(failure));
        }
    }

    fn beaten(&mut self, sent_ms: u64, beaten: Beaten) {
        if std::mem::take(&mut self.failing) {
            self.note(Note::StoreAnswers);
        }
        if !beaten.held {
            let claimed = beaten.placement == Placement::Absent && self.known() > Epoch(0);
            let why = if claimed { Replaced::ByClaim } else { Replaced::ByName };
            return self.stop(KeeperOperation::Replaced(why));
        }
        let first = self.renewed_ms.is_none();
        if self.now_ms >= self.answered_ms + self.settings.lease_ms {
            self.watch.interrupt(self.now_ms);
        }
        self.renewed_ms = Some(sent_ms);
        self.answered_ms = self.now_ms;
        self.beat_at_ms = (sent_ms + self.settings.beat_ms).max(self.now_ms + self.settings.beat_ms / 4);
        self.watch.look(&beaten.leases, self.now_ms);
        self.leases = beaten.leases;
        self.stale = false;
        if let Placement::Newer(table) = beaten.placement {
            if first {
                self.restarted = Some(table.epoch).filter(|upto| has_tenure(&table, self.node, *upto));
                self.undrains = true;
            }
            self.adopt(table, self.table.is_some());
        }
        if self.wanted.take().is_some_and(|wanted| wanted > self.known()) {
            self.beat_at_ms = self.now_ms;
        }
        if self.lapsed && !self.is_overdue() {
            self.lapsed = false;
            self.operations.push_back(KeeperOperation::Lapsed(false));
        }
        self.review();
    }

    fn placed(&mut self, purpose: Purpose, removed: &[Stale], placed: Option<Arc<Table>>) {
        let Some(table) = placed else {
            self.stale = true;
            self.beat_at_ms = self.now_ms;
            return;
        };
        let epoch = table.epoch;
        let gone: Vec<NodeId> = removed.iter().map(|stale| stale.holder.node).collect();
        self.leases.retain(|lease| !gone.contains(&lease.node));
        let own = self.node;
        for node in gone.into_iter().filter(|node| *node != own) {
            let silent_ms = self.watch.silent_ms(node, self.now_ms).unwrap_or(0);
            self.note(Note::Dead { node, silent_ms });
        }
        self.adopt(table, true);
        match purpose {
            Purpose::Plan => {}
            Purpose::Command => {
                if let Some(number) = self.commands.pop() {
                    self.command_done(number, Ok(Answer::Placed(epoch)));
                }
            }
            Purpose::Leave => return self.stop(KeeperOperation::Left),
        }
        self.review();
    }

    /// Takes a newer table for the newest. `told`: what it changes is news.
    fn adopt(&mut self, table: Arc<Table>, told: bool) {
        if table.epoch <= self.known() {
            return;
        }
        let before = self.table.replace(Arc::clone(&table)).unwrap_or_else(|| Arc::new(Table::empty()));
        self.placed_ms = self.now_ms;
        self.need_ms = None;
        self.uneven |= (told || table.node(self.node).is_none()) && shape(&before) != shape(&table);
        if self.restarted.is_some_and(|upto| !has_tenure(&table, self.node, upto)) {
            self.restarted = None;
        }
        self.undrains &= table.node(self.node).is_some_and(|node| node.draining);
        if told {
            self.tell_changes(&before, &table);
        }
        if self.restarted.is_none() {
            self.operations.push_back(KeeperOperation::Table(table));
        }
    }

    fn tell_changes(&mut self, before: &Table, table: &Table) {
        for node in table.nodes.iter().filter(|node| before.node(node.id).is_none()) {
            self.note(Note::Joined { node: node.id, name: node.name.clone() });
        }
        for node in before.nodes.iter().filter(|node| table.node(node.id).is_none()) {
            self.note(Note::Gone { node: node.id, name: node.name.clone() });
        }
        let slots = before.moved(table).count();
        if slots > 0 {
            self.note(Note::Moved { epoch: table.epoch, slots });
        }
    }

    /// A number below `end`, by chance (splitmix64).
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    // What is due.

    fn is_overdue(&self) -> bool {
        self.renewed_ms.is_some_and(|at| self.now_ms >= at + self.settings.lease_ms)
    }

    fn settle(&mut self) {
        if self.stopped {
            return;
        }
        if !self.lapsed && self.is_overdue() {
            self.lapsed = true;
            self.operations.push_back(KeeperOperation::Lapsed(true));
        }
        let flies = matches!(self.flight, Some(Flight::Place { purpose: Purpose::Command, .. }));
        while let Some(number) = (!flies).then(|| self.commands.pop_late(self.now_ms)).flatten() {
            self.command_done(number, Err(CommandError::Unavailable));
        }
        if self.leaving_until_ms.is_some_and(|until| until <= self.now_ms) {
            return self.stop(KeeperOperation::Left);
        }
        if self.flight.is_some() {
            return;
        }
        if self.beat_at_ms <= self.now_ms {
            self.beat();
        } else if !self.stale {
            self.place_next();
        }
    }

    fn beat(&mut self) {
        let lease = Lease {
            node: self.node,
            name: self.settings.name.clone(),
            address: self.settings.address,
            cores: self.settings.cores,
            incarnation: self.settings.incarnation,
            beat: 0,
            draining: self.retiring,
        };
        self.send(Flight::Beat { sent_ms: self.now_ms }, Request::Beat { lease, known: self.known() });
    }

    fn place_next(&mut self) {
        if self.leaving_until_ms.is_some() {
            return self.leave();
        }
        if self.restarted.is_none() && self.place_command() {
            return;
        }
        let due = self.need_ms.is_some_and(|since| self.place_at_ms(since) <= self.now_ms);
        if let Some(next) = due.then(|| self.next.take()).flatten() {
            self.place(Purpose::Plan, next.table, next.removed);
        }
    }

    pub(super) fn place(&mut self, purpose: Purpose, table: Table, removed: Vec<Stale>) {
        let holder = Holder { node: self.node, incarnation: self.settings.incarnation };
        let (base, mut table) = (self.known(), Box::new(table));
        table.epoch = table.epoch.max(epoch_of_clock(base, self.unix_ms));
        let request = Request::Place { base, table, holder, removed: removed.clone().into() };
        self.send(Flight::Place { purpose, removed }, request);
    }

    fn send(&mut self, flight: Flight, request: Request) {
        self.last_request.0 += 1;
        self.flight = Some(flight);
        self.operations.push_back(KeeperOperation::Store(self.last_request, request));
    }

    // What the control API asks.

    fn command(&mut self, number: CommandNumber, command: Command) {
        if command == Command::Status {
            let status = self.status();
            self.command_done(number, Ok(Answer::Status(status)));
        } else if !self.commands.push(number, command, self.now_ms) {
            self.command_done(number, Err(CommandError::Busy));
        }
    }

    pub(super) fn command_done(&mut self, number: CommandNumber, done: Result<Answer, CommandError>) {
        self.operations.push_back(KeeperOperation::CommandDone(number, done));
    }

    fn status(&self) -> Status {
        let empty = Table::empty();
        let table = self.table.as_deref().unwrap_or(&empty);
        let silent_ms = |node| self.watch.silent_ms(node, self.now_ms);
        command::status(self.node, self.lapsed, table, &self.leases, silent_ms)
    }
}

/// Seconds of the clock as an epoch, so that the tables of a store that was begun anew, or set back to a former state, are newer than
/// those that gateways still have. A clock that is out of its mind counts for nothing: epochs grow by themselves.
fn epoch_of_clock(base: Epoch, unix_ms: u64) -> Epoch {
    let unix_s = unix_ms / 1_000;
    let sane = unix_s < CLOCK_S_MAX && (base == Epoch(0) || unix_s < base.0 + CLOCK_S_AHEAD_MAX);
    if sane { Epoch(unix_s) } else { Epoch(0) }
}

/// The year 2242, and 68 years: ages of tenures are told in 32 bits.
const CLOCK_S_MAX: u64 = 1 << 33;
const CLOCK_S_AHEAD_MAX: u64 = 1 << 31;
