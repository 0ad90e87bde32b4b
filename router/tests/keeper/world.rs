//! Keepers of many nodes over one store, in virtual time: each has a clock of its own, requests take a random time on
//! their way there and back, and the store may be away for everybody or for one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId, SLOTS, Slot, Table};
use protocol::time::Now;
use router::keeper::{
    Answer, Command, CommandError, CommandNumber, Keeper, KeeperCompletion, KeeperOperation, KeeperSettings,
    Note, Replaced, RequestNumber, Status,
};
use storage::engine::{Engine, MemoryEngine};
use storage::request::{Failure, Lease, Outcome, Request};
use storage::{leases, run, verify};

/// How often a world is looked at, in milliseconds.
const LOOK_MS: u64 = 5;

/// Chance from a seed (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A process of a node.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) keeper: Keeper,
    clock_ms: u64,
    unix_ms: u64,
    ticked_ms: u64,
    /// Does nothing until then; what is answered meanwhile waits.
    paused_until_ms: u64,
    pub(crate) alive: bool,
    /// What its node was told.
    pub(crate) node: NodeId,
    pub(crate) table: Option<Arc<Table>>,
    pub(crate) tables: usize,
    pub(crate) lapsed: bool,
    pub(crate) replaced: Option<Replaced>,
    pub(crate) left: bool,
    pub(crate) notes: Vec<Note>,
    pub(crate) done: BTreeMap<u64, Result<Answer, CommandError>>,
    incarnation: u64,
}

enum Event {
    /// A request reaches the store.
    Asked(usize, RequestNumber, Request),
    /// Its answer reaches the process.
    Answered(usize, RequestNumber, Outcome),
}

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) chance: Chance,
    pub(crate) engine: Engine,
    pub(crate) processes: Vec<Process>,
    events: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    /// One way takes up to so long, in milliseconds.
    pub(crate) delay_ms_max: u64,
    /// Until then nobody reaches the store.
    pub(crate) away_until_ms: u64,
    /// Until then this process does not.
    pub(crate) cut_until_ms: BTreeMap<usize, u64>,
    /// One request in so many is lost in doubt; 0: none.
    pub(crate) doubt_once_in: u64,
    /// Every table that any node was told, by epoch.
    pub(crate) tables: BTreeMap<Epoch, Arc<Table>>,
    /// Which process was told that it has a tenure, by node and since when.
    holders: BTreeMap<(NodeId, Epoch), u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now_ms: 0,
            chance: Chance(seed),
            engine: Engine::Memory(MemoryEngine::new()),
            processes: Vec::new(),
            events: BTreeMap::new(),
            last_event: 0,
            delay_ms_max: 10,
            away_until_ms: 0,
            cut_until_ms: BTreeMap::new(),
            doubt_once_in: 0,
            tables: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    /// So many nodes, all in the table and in balance.
    pub(crate) fn of(seed: u64, nodes: usize) -> Self {
        let mut world = Self::new(seed);
        for number in 0..nodes {
            world.start(&format!("n{number}"), 2);
        }
        world.run_until(10_000, |world| world.is_settled());
        world
    }

    /// Starts a process; says its place.
    pub(crate) fn start(&mut self, name: &str, cores: u16) -> usize {
        self.start_with(name, cores, false)
    }

    pub(crate) fn start_with(&mut self, name: &str, cores: u16, exclusive: bool) -> usize {
        let incarnation = self.chance.below(u64::MAX);
        let address = "192.0.2.1:8802".parse().unwrap();
        let node = self.register(name, address, cores, incarnation);
        let settings =
            KeeperSettings { exclusive, ..KeeperSettings::new(node, name, address, cores, incarnation) };
        self.processes.push(Process {
            name: name.to_owned(),
            keeper: Keeper::new(settings, incarnation),
            // Clocks of different machines have nothing to do with each other.
            clock_ms: self.chance.below(1 << 40),
            unix_ms: self.chance.below(1 << 42),
            ticked_ms: self.now_ms,
            paused_until_ms: 0,
            alive: true,
            node,
            table: None,
            tables: 0,
            lapsed: false,
            replaced: None,
            left: false,
            notes: Vec::new(),
            done: BTreeMap::new(),
            incarnation,
        });
        let at = self.processes.len() - 1;
        self.give(at, KeeperCompletion::Tick);
        at
    }

    /// As a process does before it has a keeper.
    fn register(&mut self, name: &str, address: SocketAddr, cores: u16, incarnation: u64) -> NodeId {
        let (node, name, draining) = (NodeId::NONE, name.into(), false);
        let lease = Lease { node, name, address, cores, incarnation, beat: 0, draining };
        match run(&mut self.engine, Request::Beat { lease, known: Epoch(0) }) {
            Outcome::Beat(beaten) => beaten.node,
            other => panic!("{other:?}"),
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, at: usize) {
        self.processes[at].alive = false;
    }

    /// The process stands still for so long.
    pub(crate) fn pause(&mut self, at: usize, for_ms: u64) {
        self.processes[at].paused_until_ms = self.now_ms + for_ms;
    }

    pub(crate) fn give(&mut self, at: usize, completion: KeeperCompletion) {
        let process = &mut self.processes[at];
        if !process.alive {
            return;
        }
        let now =
            Now { monotonic_ms: process.clock_ms + self.now_ms, unix_ms: process.unix_ms, monotonic_us: 0 };
        process.unix_ms = process.unix_ms.wrapping_add(self.chance.below(2_000)).wrapping_sub(900);
        process.keeper.handle(now, completion);
        process.keeper.invariants();
        while let Some(operation) = self.processes[at].keeper.poll_operation() {
            self.execute(at, operation);
        }
    }

    fn execute(&mut self, at: usize, operation: KeeperOperation) {
        let process = &mut self.processes[at];
        assert!(!process.left && process.replaced.is_none(), "nothing comes after the end");
        match operation {
            KeeperOperation::Store(number, request) => {
                let delay = self.chance.below(self.delay_ms_max + 1);
                self.later(delay, Event::Asked(at, number, request));
            }
            KeeperOperation::Table(table) => {
                assert!(process.table.as_ref().is_none_or(|known| known.epoch < table.epoch));
                let known = self.tables.entry(table.epoch).or_insert_with(|| Arc::clone(&table));
                assert_eq!(*known, table, "two tables of one epoch");
                let own = |owner: RouterId| owner.node() == process.node;
                for tenure in table.tenures.iter().filter(|tenure| own(tenure.owner)) {
                    let holder = self.holders.entry((tenure.owner.node(), tenure.since));
                    let holder = *holder.or_insert(process.incarnation);
                    assert_eq!(holder, process.incarnation, "a tenure of two processes");
                }
                process.table = Some(table);
                process.tables += 1;
            }
            KeeperOperation::Lapsed(lapsed) => {
                assert_ne!(process.lapsed, lapsed);
                process.lapsed = lapsed;
            }
            KeeperOperation::Replaced(why) => process.replaced = Some(why),
            KeeperOperation::Left => process.left = true,
            KeeperOperation::CommandDone(number, done) => {
                assert!(process.done.insert(number.0, done).is_none(), "a command is answered once");
            }
            KeeperOperation::Note(note) => process.notes.push(note),
        }
        let process = &mut self.processes[at];
        if process.left || process.replaced.is_some() {
            process.alive = false;
        }
    }

    fn later(&mut self, delay_ms: u64, event: Event) {
        self.last_event += 1;
        self.events.insert((self.now_ms + delay_ms, self.last_event), event);
    }

    fn ask(&mut self, at: usize, request: Request) -> Outcome {
        let cut = self.cut_until_ms.get(&at).is_some_and(|until| self.now_ms < *until);
        if self.now_ms < self.away_until_ms || cut {
            return Outcome::Failed(Failure::Unavailable);
        }
        if self.doubt_once_in > 0 && self.chance.below(self.doubt_once_in) == 0 {
            if self.chance.below(2) == 0 {
                run(&mut self.engine, request);
            }
            return Outcome::Failed(Failure::Unknown);
        }
        run(&mut self.engine, request)
    }

    /// One millisecond.
    fn step(&mut self) {
        while let Some(first) = self.events.first_entry().filter(|first| first.key().0 <= self.now_ms) {
            match first.remove() {
                Event::Asked(at, number, request) => {
                    let outcome = self.ask(at, request);
                    let delay = self.chance.below(self.delay_ms_max + 1);
                    self.later(delay, Event::Answered(at, number, outcome));
                }
                Event::Answered(at, number, outcome) => {
                    let until = self.processes[at].paused_until_ms;
                    if self.now_ms < until {
                        self.later(until - self.now_ms, Event::Answered(at, number, outcome));
                    } else {
                        self.give(at, KeeperCompletion::Store(number, outcome));
                    }
                }
            }
        }
        for at in 0..self.processes.len() {
            let process = &self.processes[at];
            let clock = process.clock_ms + self.now_ms;
            let due = process.keeper.deadline().is_some_and(|deadline| deadline <= clock)
                || self.now_ms >= process.ticked_ms + 100;
            if process.alive && due && self.now_ms >= process.paused_until_ms {
                self.processes[at].ticked_ms = self.now_ms;
                self.give(at, KeeperCompletion::Tick);
            }
        }
        self.now_ms += 1;
    }

    pub(crate) fn run_for(&mut self, for_ms: u64) {
        for _ in 0..for_ms {
            self.step();
        }
    }

    /// Runs until it is so, which is looked at now and then; says how long it took.
    pub(crate) fn run_until(&mut self, patience_ms: u64, is_so: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now_ms;
        while !is_so(self) {
            assert!(self.now_ms < begin + patience_ms, "not within {patience_ms} ms");
            self.run_for(LOOK_MS);
        }
        self.now_ms - begin
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.alive)
    }

    /// The newest table that any living node has.
    pub(crate) fn newest(&self) -> Option<Arc<Table>> {
        self.alive().filter_map(|process| process.table.clone()).max_by_key(|table| table.epoch)
    }

    /// Slots of a node by the newest table.
    pub(crate) fn slots(&self, at: usize) -> usize {
        let node = self.processes[at].node;
        let Some(table) = self.newest() else { return 0 };
        table.tenures.iter().filter(|tenure| tenure.owner.node() == node).count()
    }

    /// True when all living nodes have one table, in which each slot belongs to one of them.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(newest) = self.newest() else { return false };
        let is_told = self.alive().all(|process| process.table.as_ref() == Some(&newest) && !process.lapsed);
        let alive: Vec<_> = self.alive().map(|process| process.node).collect();
        is_told && newest.tenures.iter().all(|tenure| alive.contains(&tenure.owner.node()))
    }

    /// [`Self::is_whole`], and everybody who may have slots has a fair share.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(newest) = self.newest() else { return false };
        if !self.is_whole() || newest.nodes.len() != self.alive().count() {
            return false;
        }
        let mut slots = BTreeMap::<RouterId, usize>::new();
        newest.tenures.iter().for_each(|tenure| *slots.entry(tenure.owner).or_default() += 1);
        let takers: Vec<_> = newest.nodes.iter().filter(|node| !node.draining).collect();
        let cores: usize = takers.iter().map(|node| usize::from(node.cores)).sum();
        takers.iter().all(|node| {
            (0..node.cores).all(|core| {
                let shard = RouterId::new(node.id, core);
                let slots = slots.get(&shard).copied().unwrap_or(0);
                slots.abs_diff(usize::from(SLOTS) / cores) <= 1
            })
        })
    }

    pub(crate) fn command(&mut self, at: usize, number: u64, command: Command) {
        self.give(at, KeeperCompletion::Command(CommandNumber(number), command));
    }

    pub(crate) fn status(&mut self, at: usize) -> Status {
        self.command(at, u64::MAX, Command::Status);
        match self.processes[at].done.remove(&u64::MAX) {
            Some(Ok(Answer::Status(status))) => status,
            other => panic!("{other:?}"),
        }
    }

    /// How things are, as a living process sees them.
    pub(crate) fn status_of_any(&mut self) -> Option<Status> {
        let at = self.processes.iter().position(|process| process.alive)?;
        Some(self.status(at))
    }

    /// What must hold at the end of everything.
    pub(crate) fn check(&mut self) {
        verify::verify(&mut self.engine).unwrap_or_else(|fault| panic!("{fault}"));
        let leases = leases(&mut self.engine).unwrap();
        for process in self.alive() {
            let own = leases.iter().find(|lease| lease.node == process.node);
            assert_eq!(own.map(|lease| lease.incarnation), Some(process.incarnation), "{}", process.name);
        }
        assert_eq!(leases.len(), self.alive().count(), "no lease of a process that has gone");
        // A tenure that goes on from table to table keeps its beginning, another one begins with its table.
        for (before, after) in self.tables.values().zip(self.tables.values().skip(1)) {
            for slot in Slot::all() {
                let (old, new) = (before.tenure(slot), after.tenure(slot));
                assert!(old == new || new.since > before.epoch, "{slot:?}: {old:?}, then {new:?}");
            }
        }
    }
}
