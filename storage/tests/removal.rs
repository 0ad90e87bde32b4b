//! A removed conversation vanishes at once, whatever happens then is cleared to the last key, and a conversation that is
//! created anew under its name has nothing of it.

mod support;

use protocol::envelope::ConversationKind;
use protocol::event::Role;
use protocol::id::DeviceId;
use storage::driver::{self, Driver};
use storage::engine::{Engine, MemoryEngine};
use storage::request::{Appended, Mark, Outcome, Request};
use storage::transaction::{Reply, Step, Transaction};
use storage::{claim, run};

use support::*;

const MEMBERS: usize = 450;

fn populated() -> Store {
    let mut store = Store::memory();
    let of = conversation("c");
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("u{number:03}")).collect();
    let members: Vec<(&str, Role)> = names.iter().map(|name| (name.as_str(), Role::Member)).collect();
    store.create(of, ConversationKind::Group, &members);
    for piece in 0..13 {
        let items = (0..100).map(|n| message(of, "u001", &format!("m{piece}-{n}"), "hello")).collect();
        store.append(of, items);
    }
    let device = DeviceId::parse("phone").unwrap();
    let mark =
        |user| Mark { conversation: of, user: user_id(user), device, received: Some(9), read: Some(7) };
    store.run(Request::Mark { marks: Box::from([mark("u001"), mark("u449")]) });
    store.create(conversation("other"), ConversationKind::Group, &[("u001", Role::Owner)]);
    store.verify();
    store
}

fn remove() -> Request {
    Request::Remove { epoch: EPOCH, conversation: conversation("c") }
}

/// Runs a removal for so many commits and stops; true when it was over before.
fn run_commits(engine: &mut MemoryEngine, commits: usize) -> bool {
    let (mut transaction, mut step) = Transaction::begin(remove());
    let mut done = 0;
    loop {
        step = match step {
            Step::Read(reads) => transaction.resume(Ok(Reply::Found(engine.read(&reads)))),
            Step::Commit(_) if done == commits => return false,
            Step::Commit(writes) => {
                engine.commit(writes).unwrap();
                done += 1;
                transaction.resume(Ok(Reply::Committed))
            }
            Step::Done(_) => return true,
        };
    }
}

fn assert_gone(store: &mut Store) {
    let of = conversation("c");
    let loaded = store.run(Request::Load { conversation: of, users: Box::from([user_id("u001")]) });
    match loaded {
        Outcome::Loaded { conversation: None, members } => {
            assert_eq!((members[0].role, members[0].read), (None, 0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.append(of, vec![message(of, "u001", "m0-1", "x")]), [Appended::NoConversation]);
    assert_eq!(store.log(of).len(), 0);
    match store.run(Request::Members { conversation: of, after: None, limit: 10 }) {
        Outcome::Members { members, more: false } => assert_eq!(members, []),
        other => panic!("{other:?}"),
    }
    match store.run(Request::Conversations { user: user_key("u001"), after: None, limit: 10 }) {
        Outcome::Conversations { entries, more: false } => assert_eq!(entries.len(), 1, "only the other one"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_crash_behind_any_commit_leaves_it_gone_and_the_rest_is_cleared_later() {
    let whole = populated();
    let Engine::Memory(whole) = &whole.engine else { unreachable!() };
    let mut commits = 0;
    loop {
        commits += 1;
        let mut engine = whole.clone();
        let over = run_commits(&mut engine, commits);
        engine.sync().unwrap();
        let mut store = Store::memory();
        store.engine = Engine::Memory(engine);
        store.verify();
        assert_gone(&mut store);
        if over {
            break;
        }
        // The next start finishes it.
        let epoch = claim(&mut store.engine).unwrap();
        let engine = std::mem::replace(&mut store.engine, Engine::Memory(MemoryEngine::new()));
        let settings = driver::Settings::default();
        let (sender, finished) = std::sync::mpsc::channel();
        let driver = Driver::start(
            engine,
            epoch,
            settings,
            Box::new(|_, _, _| ()),
            Box::new(move || {
                let _ = sender.send(());
            }),
        )
        .unwrap();
        finished.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        driver.stop().unwrap();
    }
    assert!(commits > 5, "a removal of many commits: {commits}");
}

#[test]
fn nothing_of_a_removed_conversation_is_left_and_a_new_one_begins_at_one() {
    for stopped_after in [1, 2, 4, usize::MAX] {
        let mut store = populated();
        let of = conversation("c");
        {
            let Engine::Memory(engine) = &mut store.engine else { unreachable!() };
            run_commits(engine, stopped_after);
        }
        store.create(of, ConversationKind::Group, &[("u001", Role::Owner)]);
        let report = store.verify();
        assert_eq!((report.removals, report.conversations, report.members), (0, 2, 2));
        let again = store.append(of, vec![message(of, "u001", "m0-1", "hello")]);
        assert_eq!(stored(&again), [1], "its client ids are free again");
        match store.run(Request::Load { conversation: of, users: Box::from([user_id("u001")]) }) {
            Outcome::Loaded { members, .. } => assert_eq!(members[0].read, 0),
            other => panic!("{other:?}"),
        }
        store.run(remove());
        store.run(Request::Remove { epoch: EPOCH, conversation: conversation("other") });
        assert_eq!(store.verify().keys, 0, "not one key is left");
    }
}

#[test]
fn the_outcome_names_every_member_once_and_a_second_removal_finds_nothing() {
    let mut store = populated();
    match run(&mut store.engine, remove()) {
        Outcome::Removed { existed: true, members } => {
            assert_eq!(members.len(), MEMBERS);
            assert!(members.is_sorted());
        }
        other => panic!("{other:?}"),
    }
    match run(&mut store.engine, remove()) {
        Outcome::Removed { existed: false, members } => assert_eq!(members, []),
        other => panic!("{other:?}"),
    }
}
