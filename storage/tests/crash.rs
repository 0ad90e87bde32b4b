//! A process that is killed at any moment, again and again, under the store's own thread: everything that was answered is
//! there afterwards exactly once, and the store is whole.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use protocol::envelope::{ConversationKind, RouterId};
use protocol::event::Role;
use storage::driver::{self, Driver};
use storage::engine::{Engine, MemoryEngine};
use storage::request::{Appended, Outcome, RequestId};

use support::*;

const DIRECTORY: &str = "STORAGE_CRASH_DIRECTORY";
const ROUND: &str = "STORAGE_CRASH_ROUND";

/// Appends for ever, several requests at a time, and says on its output what was answered.
#[test]
#[ignore = "the process that is killed, started by the promise below"]
fn writes_until_it_is_killed() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let round = std::env::var(ROUND).unwrap();
    let mut engine = open(Path::new(&directory));
    let epoch = storage::claim(&mut engine).unwrap();
    let (sender, answers) = mpsc::channel();
    let answer = Box::new(move |_, id: RequestId, outcome| sender.send((id, outcome)).unwrap());
    let driver = Driver::start(engine, epoch, driver::Settings::default(), answer, Box::new(|| ())).unwrap();
    let handle = driver.handle();
    let submit = |number: u64| {
        let of = conversation(["a", "b"][number as usize % 2]);
        let items =
            vec![message(of, "alice", &format!("r{round}-{number}"), &"x".repeat(number as usize % 400))];
        let storage::request::Request::Append(mut batch) = append_request(of, items, 0) else {
            unreachable!()
        };
        batch.epoch = epoch;
        handle.try_submit(RouterId(0), RequestId(number), storage::request::Request::Append(batch)).unwrap();
    };
    (0..8).for_each(submit);
    for number in 8.. {
        let (id, outcome) = answers.recv().unwrap();
        let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
        let [Appended::Stored(event)] = &appended[0][..] else { panic!("{appended:?}") };
        println!("ack {} r{round}-{} {}", event.view().conversation, id.0, event.seq());
        submit(number);
    }
}

#[test]
fn what_was_answered_survives_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut engine = open(&path);
    for id in ["a", "b"] {
        let members = Box::from([protocol::envelope::Member { user: user_id("alice"), role: Role::Owner }]);
        storage::run(&mut engine, create_request(conversation(id), ConversationKind::Group, members));
    }
    engine.sync().unwrap();
    drop(engine);
    let mut acked: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut chance = Chance(std::process::id().into());
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writes_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, &path)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let stop_after = 1 + chance.below(400) as usize;
        let pause = Duration::from_micros(chance.below(3_000));
        for (number, line) in output.lines().map_while(Result::ok).enumerate() {
            if let ["ack", of, id, seq] = line.split(' ').collect::<Vec<_>>()[..] {
                acked.insert((of.to_owned(), id.to_owned()), seq.parse().unwrap());
            }
            if number == stop_after {
                std::thread::sleep(pause);
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        check(&path, &acked);
    }
    assert!(acked.len() > 500, "only {} answers", acked.len());
}

fn check(path: &Path, acked: &BTreeMap<(String, String), u64>) {
    let mut store = Store::memory();
    store.engine = open(path);
    store.verify();
    let mut found = BTreeMap::new();
    for of in ["a", "b"] {
        for event in store.log(conversation(of)) {
            let view = event.view();
            found.insert((of.to_owned(), view.id.to_string()), event.seq());
        }
    }
    for (key, seq) in acked {
        assert_eq!(found.get(key), Some(seq), "{key:?} was answered");
    }
}

#[test]
fn of_commits_that_were_not_synced_a_crash_keeps_whole_ones_from_the_first_on() {
    let of = conversation("c");
    let mut store = Engine::Memory(MemoryEngine::new());
    storage::run(&mut store, create_request(of, ConversationKind::Group, Box::from([])));
    store.sync().unwrap();
    for number in 0..9 {
        let items = (0..3).map(|item| message(of, "alice", &format!("m{number}-{item}"), "hello")).collect();
        storage::run(&mut store, append_request(of, items, 0));
    }
    let Engine::Memory(engine) = store else { unreachable!() };
    assert_eq!(engine.unsynced(), 9);
    for kept in 0..=9 {
        let mut crashed = engine.clone();
        crashed.crash(kept);
        crashed.invariants();
        let mut store = Store::memory();
        store.engine = Engine::Memory(crashed);
        assert_eq!(store.verify().events, 3 * kept as u64);
        let appended = store.append(of, vec![message(of, "alice", "m0-0", "hello")]);
        assert_eq!(stored(&appended).is_empty(), kept > 0, "a retry is stored when the first was lost");
    }
}
