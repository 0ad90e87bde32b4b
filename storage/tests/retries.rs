//! A transaction that is refused, interrupted or left without an answer begins again and stores everything once; and
//! several at a time, of one owner or of two, end as if they had run one after another.

mod support;

use std::collections::BTreeMap;

use protocol::envelope::{ConversationKind, Member};
use protocol::event::Role;
use protocol::frame::Range;
use protocol::placement::{SLOTS, Slot};
use storage::engine::{Engine, MemoryEngine};
use storage::kv::{EngineError, Key, Read, Write};
use storage::request::{AppendBatch, Appended, ConversationAppend, Epoch, Failure, Outcome, Request};
use storage::transaction::{ATTEMPTS_MAX, Reply, Step, Transaction};

use support::*;

/// Runs a request over an engine that fails one step in `every`, in any way that an engine may.
fn run_with_faults(engine: &mut MemoryEngine, chance: &mut Chance, every: u64, request: Request) -> Outcome {
    let (mut transaction, mut step) = Transaction::begin(request);
    loop {
        let result = match step {
            Step::Done(outcome) => return outcome,
            Step::Read(_) if chance.once_in(every) => Err(match chance.below(3) {
                0 => EngineError::TooOld,
                1 => EngineError::Unknown,
                _ => EngineError::Unavailable,
            }),
            Step::Read(reads) => Ok(Reply::Found(engine.read(&reads))),
            Step::Commit(writes) if chance.once_in(every) => match chance.below(4) {
                0 => Err(EngineError::Conflict),
                1 => Err(EngineError::Unknown),
                2 => {
                    engine.commit(writes).unwrap();
                    Err(EngineError::Unknown)
                }
                _ => Err(EngineError::Unavailable),
            },
            Step::Commit(writes) => engine.commit(writes).map(|()| Reply::Committed),
        };
        step = transaction.resume(result);
    }
}

fn group(engine: &mut MemoryEngine) {
    let of = conversation("c");
    let members = Box::from([Member { user: user_id("alice"), role: Role::Owner }]);
    run_with_faults(engine, &mut Chance(0), u64::MAX, create_request(of, ConversationKind::Group, members));
}

#[test]
fn whatever_fails_each_message_is_stored_once_and_its_event_is_handed_out_once() {
    with_seeds(60, |seed| {
        let of = conversation("c");
        let mut chance = Chance(seed);
        let mut engine = MemoryEngine::new();
        group(&mut engine);
        let mut handed_out = BTreeMap::new();
        for number in 0..60 {
            let id = format!("m{number}");
            // The same request again, as a client does that got `unavailable`, until it is told.
            for _ in 0..200 {
                let items =
                    vec![message(of, "alice", &id, "hello"), message(of, "alice", &format!("{id}b"), "x")];
                let outcome =
                    run_with_faults(&mut engine, &mut chance, 3, append_request(of, items, 10 * number));
                match outcome {
                    Outcome::Appended(appended) => {
                        for one in &appended[0] {
                            match one {
                                Appended::Stored(event) => {
                                    assert!(handed_out.insert(event.seq(), event.clone()).is_none());
                                }
                                Appended::Duplicate { .. } => {}
                                other => panic!("{other:?}"),
                            }
                        }
                        break;
                    }
                    Outcome::Failed(Failure::Unavailable | Failure::Unknown) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        engine.sync().unwrap();
        let mut store = Store::memory();
        store.engine = Engine::Memory(engine);
        store.verify();
        let log = store.log(of);
        assert_eq!(log.len(), 120);
        for event in log {
            // What was handed out is what lies in the log: place, time and stamp, too.
            if let Some(handed) = handed_out.get(&event.seq()) {
                assert_eq!(handed, &event);
            }
        }
    });
}

#[test]
fn whatever_fails_a_removal_clears_every_key_and_a_creation_is_whole() {
    with_seeds(40, |seed| {
        let of = conversation("c");
        let mut chance = Chance(seed);
        let mut engine = MemoryEngine::new();
        let ids: Vec<String> = (0..450).map(|number| format!("u{number:03}")).collect();
        let members: Box<[Member]> =
            ids.iter().map(|id| Member { user: user_id(id), role: Role::Member }).collect();
        for _ in 0..3 {
            let create = || create_request(of, ConversationKind::Group, members.clone());
            let mut created = 0;
            while created == 0 {
                if let Outcome::Created { conversation, .. } =
                    run_with_faults(&mut engine, &mut chance, 3, create())
                {
                    created = conversation.members;
                }
            }
            assert_eq!(created, 450);
            for number in 0..20 {
                let item = message(of, "u001", &format!("m{number}"), "hello");
                run_with_faults(&mut engine, &mut chance, 50, append_request(of, vec![item], 0));
            }
            loop {
                let request = Request::Remove { epoch: EPOCH, conversation: of };
                if let Outcome::Removed { .. } = run_with_faults(&mut engine, &mut chance, 6, request) {
                    break;
                }
            }
            assert_eq!(engine.pairs().count(), 0);
        }
    });
}

#[test]
fn a_commit_without_an_answer_that_happened_is_handed_out_as_stored() {
    let of = conversation("c");
    let mut engine = MemoryEngine::new();
    group(&mut engine);
    let request = append_request(of, vec![message(of, "alice", "1", "hello")], 5_000);
    let (mut transaction, step) = Transaction::begin(request);
    let Step::Read(reads) = step else { panic!("{step:?}") };
    let Step::Commit(writes) = transaction.resume(Ok(Reply::Found(engine.read(&reads)))) else { panic!() };
    engine.commit(writes).unwrap();
    let Step::Read(reads) = transaction.resume(Err(EngineError::Unknown)) else { panic!() };
    match transaction.resume(Ok(Reply::Found(engine.read(&reads)))) {
        Step::Done(Outcome::Appended(appended)) => match &appended[0][..] {
            [Appended::Stored(event)] => assert_eq!((event.seq(), event.view().time.to_native()), (1, 5_000)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_gives_up_says_whether_it_may_have_been_stored() {
    let of = conversation("c");
    for (error, failure, attempts) in [
        (EngineError::Conflict, Failure::Unavailable, ATTEMPTS_MAX),
        (EngineError::TooOld, Failure::Unavailable, ATTEMPTS_MAX),
        (EngineError::Unknown, Failure::Unknown, ATTEMPTS_MAX),
        (EngineError::Unavailable, Failure::Unavailable, 1),
        (EngineError::Poisoned("why".into()), Failure::Poisoned("why".into()), 1),
    ] {
        let mut engine = MemoryEngine::new();
        group(&mut engine);
        let (mut transaction, mut step) =
            Transaction::begin(append_request(of, vec![message(of, "alice", "1", "hello")], 0));
        let mut commits = 0;
        let outcome = loop {
            step = match step {
                Step::Read(reads) => transaction.resume(Ok(Reply::Found(engine.read(&reads)))),
                Step::Commit(_) => {
                    commits += 1;
                    transaction.resume(Err(error.clone()))
                }
                Step::Done(outcome) => break outcome,
            };
        };
        assert_eq!(commits, attempts, "{error:?}");
        assert!(matches!(outcome, Outcome::Failed(found) if found == failure), "{error:?}");
    }
}

/// A key-value store that runs transactions side by side as FoundationDB does: each reads at one version, and a commit
/// fails when a key that it read with `conflict` was changed since.
#[derive(Default)]
struct Optimistic {
    engine: MemoryEngine,
    version: u64,
    changed: BTreeMap<Key, u64>,
    conflicts: u64,
}

struct Session {
    transaction: Transaction,
    step: Step,
    snapshot: Option<(u64, MemoryEngine)>,
    read: Vec<Key>,
}

impl Session {
    fn new(request: Request) -> Self {
        let (transaction, step) = Transaction::begin(request);
        Self { transaction, step, snapshot: None, read: Vec::new() }
    }
}

impl Optimistic {
    fn commit(&mut self, session: &Session, writes: Vec<Write>) -> Result<Reply, EngineError> {
        let (version, _) = session.snapshot.as_ref().unwrap();
        let newer = |key: &Key| self.changed.get(key).is_some_and(|changed| changed > version);
        if session.read.iter().any(newer) {
            self.conflicts += 1;
            return Err(EngineError::Conflict);
        }
        self.version += 1;
        for write in &writes {
            match write {
                Write::Set(key, _) | Write::Clear(key) => {
                    self.changed.insert(key.clone(), self.version);
                }
                Write::ClearRange(begin, end) => {
                    for (_, changed) in self.changed.range_mut(begin.clone()..end.clone()) {
                        *changed = self.version;
                    }
                }
            }
        }
        self.engine.commit(writes).unwrap();
        Ok(Reply::Committed)
    }

    /// One step of a transaction; its outcome, when that was the last.
    fn step(&mut self, session: &mut Session) -> Option<Outcome> {
        let step = std::mem::replace(&mut session.step, Step::Read(Vec::new()));
        let result = match step {
            Step::Done(outcome) => return Some(outcome),
            Step::Read(reads) => {
                let (_, snapshot) =
                    session.snapshot.get_or_insert_with(|| (self.version, self.engine.clone()));
                let conflict = |read: &Read| match read {
                    Read::Get { key, conflict: true } => Some(key.clone()),
                    _ => None,
                };
                session.read.extend(reads.iter().filter_map(conflict));
                Ok(Reply::Found(snapshot.read(&reads)))
            }
            Step::Commit(writes) => {
                let result = self.commit(session, writes);
                session.snapshot = None;
                session.read.clear();
                result
            }
        };
        session.step = session.transaction.resume(result);
        None
    }

    fn run(&mut self, request: Request) -> Outcome {
        let mut session = Session::new(request);
        loop {
            if let Some(outcome) = self.step(&mut session) {
                return outcome;
            }
        }
    }
}

#[test]
fn transactions_side_by_side_end_as_if_one_after_another() {
    with_seeds(40, |seed| {
        let mut chance = Chance(seed);
        let mut store = Optimistic::default();
        let keys = ["a", "b", "c"].map(conversation);
        for of in keys {
            let members = Box::from([Member { user: user_id("alice"), role: Role::Owner }]);
            store.run(create_request(of, ConversationKind::Group, members));
        }
        let mut sessions: Vec<Session> = Vec::new();
        let mut seqs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut begun = 0;
        while begun < 80 || !sessions.is_empty() {
            if begun < 80 && sessions.len() < 6 {
                begun += 1;
                let mut conversations = Vec::new();
                for (index, of) in keys.into_iter().enumerate() {
                    if chance.once_in(2) || index == begun % 3 {
                        // Client ids come twice now and then, in flight at the same time.
                        let item = message(of, "alice", &format!("m{}", begun / 2), "hello");
                        conversations.push(ConversationAppend { conversation: of, items: vec![item] });
                    }
                }
                let batch = AppendBatch { epoch: EPOCH, time: 0, conversations };
                sessions.push(Session::new(Request::Append(batch)));
            }
            let index = chance.below(sessions.len() as u64) as usize;
            match store.step(&mut sessions[index]) {
                None => {}
                Some(Outcome::Appended(appended)) => {
                    drop(sessions.swap_remove(index));
                    for one in appended.iter().flatten() {
                        match one {
                            Appended::Stored(event) => {
                                let of = keys
                                    .iter()
                                    .find(|key| *key.conversation.as_str() == *event.view().conversation);
                                seqs.entry(of.unwrap().conversation.as_str().to_owned().leak())
                                    .or_default()
                                    .push(event.seq());
                            }
                            Appended::Duplicate { .. } => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
                // Who lost sixteen times in a row says so, and nothing of it was stored.
                Some(Outcome::Failed(Failure::Unavailable)) => drop(sessions.swap_remove(index)),
                Some(other) => panic!("{other:?}"),
            }
        }
        assert!(store.conflicts > 0, "nothing happened at the same time");
        for (of, mut seqs) in seqs {
            seqs.sort_unstable();
            assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{of}: {seqs:?}");
        }
        let mut plain = Store::memory();
        plain.engine = Engine::Memory(store.engine);
        plain.verify();
    });
}

#[test]
fn a_deposed_owner_commits_nothing_not_even_what_was_under_way() {
    let of = conversation("c");
    let mut store = Optimistic::default();
    let claim = || Request::Claim { slots: (0..SLOTS).map(Slot).collect() };
    assert!(matches!(store.run(claim()), Outcome::Claimed(Epoch(1))));
    store.run(create_request(of, ConversationKind::Group, Box::from([])));
    // The old owner has read everything, and then another one takes over.
    let mut under_way = Session::new(append_request(of, vec![message(of, "alice", "1", "x")], 0));
    assert!(store.step(&mut under_way).is_none());
    assert!(matches!(under_way.step, Step::Commit(_)));
    assert!(matches!(store.run(claim()), Outcome::Claimed(Epoch(2))));
    let outcome = loop {
        if let Some(outcome) = store.step(&mut under_way) {
            break outcome;
        }
    };
    assert!(matches!(outcome, Outcome::Failed(Failure::Fenced)), "{outcome:?}");
    for request in [
        append_request(of, vec![message(of, "alice", "2", "x")], 0),
        create_request(conversation("d"), ConversationKind::Group, Box::from([])),
        Request::Remove { epoch: EPOCH, conversation: of },
    ] {
        assert!(matches!(store.run(request), Outcome::Failed(Failure::Fenced)));
    }
    let page = store.run(page_request(of, Range::Newest, 10));
    assert!(matches!(page, Outcome::Page { events, head: 0, .. } if events.is_empty()));
}
