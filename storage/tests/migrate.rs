//! A migration copies everything, proves it, goes on where it was interrupted, and never takes a store that holds
//! something for an empty one.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::envelope::ConversationKind;
use protocol::event::Role;
use storage::engine::Engine;
use storage::kv::Write;
use storage::migrate::{MigrateError, Migration, Progress, Stage, is_unfinished};
use storage::verify::Report;

use support::*;

fn migrate(
    from: &mut Engine,
    to: &mut Engine,
    told: &mut impl FnMut(Progress),
) -> Result<Report, MigrateError> {
    Migration::begin(to)?.run(from, to, told)
}

/// A store with so many messages in each of three conversations.
fn fill(store: &mut Store, messages: u64) {
    for name in ["a", "b", "c"] {
        let of = conversation(name);
        store.create(of, ConversationKind::Group, &[("alice", Role::Owner), ("bob", Role::Member)]);
        for first in (0..messages).step_by(50) {
            let items = (first..messages.min(first + 50))
                .map(|number| message(of, "alice", &format!("m{number}"), "hello hello hello"));
            store.append(of, items.collect());
        }
    }
}

/// Each kind into each other kind.
fn ways() -> Vec<(Store, Store)> {
    let mut ways = Vec::new();
    for from in 0..Store::each().len() {
        for to in 0..Store::each().len() {
            if from != to {
                ways.push((Store::each().swap_remove(from), Store::each().swap_remove(to)));
            }
        }
    }
    ways
}

#[test]
fn everything_arrives_and_the_source_stays() {
    for (mut from, mut to) in ways() {
        fill(&mut from, 700);
        let before = from.verify();
        let report = migrate(&mut from.engine, &mut to.engine, &mut |_| ()).unwrap();
        assert_eq!(report, before);
        assert_eq!((from.verify(), to.verify()), (before, before));
        assert!(!is_unfinished(&mut to.engine).unwrap());
        to.reopen();
        let of = conversation("b");
        assert_eq!(to.log(of), from.log(of));
        assert_eq!(stored(&to.append(of, vec![message(of, "bob", "next", "x")])), [701]);
    }
}

#[test]
fn an_interrupted_one_goes_on_and_until_then_the_copy_is_no_store() {
    for (mut from, mut to) in ways() {
        fill(&mut from, 900);
        let expected = from.verify();
        let mut copied_before = 0;
        for stop_at in [2, 1, 4] {
            let mut calls = 0;
            let interrupted = catch_unwind(AssertUnwindSafe(|| {
                migrate(&mut from.engine, &mut to.engine, &mut |progress| {
                    calls += 1;
                    copied_before += progress.keys;
                    assert!(calls < stop_at, "for the test");
                })
            }));
            assert!(interrupted.is_err());
            assert!(is_unfinished(&mut to.engine).unwrap());
        }
        assert!(copied_before > 0);
        let mut first = None;
        let report = migrate(&mut from.engine, &mut to.engine, &mut |progress| {
            first.get_or_insert(progress);
        });
        assert_eq!(report.unwrap(), expected);
        let first = first.unwrap();
        assert!(first.stage != Stage::Copy || first.keys < expected.keys, "it began anew: {first:?}");
        assert!(!is_unfinished(&mut to.engine).unwrap());
    }
}

#[test]
fn a_source_that_went_on_meanwhile_is_copied_as_it_is_now() {
    let (mut from, mut to) = (Store::embedded(), Store::memory());
    fill(&mut from, 900);
    let mut calls = 0;
    let interrupted = catch_unwind(AssertUnwindSafe(|| {
        migrate(&mut from.engine, &mut to.engine, &mut |_| {
            calls += 1;
            assert!(calls < 3, "for the test");
        })
    }));
    assert!(interrupted.is_err());
    let of = conversation("a");
    from.append(of, vec![message(of, "alice", "later", "x")]);
    let report = migrate(&mut from.engine, &mut to.engine, &mut |_| ()).unwrap();
    assert_eq!(report, from.verify());
    assert_eq!(to.log(of), from.log(of));
}

#[test]
fn a_store_that_holds_something_is_left_alone() {
    let (mut from, mut to) = (Store::memory(), Store::embedded());
    fill(&mut from, 10);
    fill(&mut to, 3);
    let before = to.verify();
    let refused = migrate(&mut from.engine, &mut to.engine, &mut |_| ());
    assert!(matches!(refused, Err(MigrateError::Occupied)), "{refused:?}");
    assert_eq!(to.verify(), before);
}

#[test]
fn damage_in_the_source_is_named_and_the_copy_does_not_become_a_store() {
    let (mut from, mut to) = (Store::memory(), Store::embedded());
    fill(&mut from, 10);
    let key = storage::key::StoreKey::Event(conversation("a"), 3).encode();
    from.engine.commit(vec![Write::Clear(key)]).unwrap();
    let refused = migrate(&mut from.engine, &mut to.engine, &mut |_| ());
    assert!(matches!(refused, Err(MigrateError::Damaged(_))), "{refused:?}");
    assert!(is_unfinished(&mut to.engine).unwrap());
}
