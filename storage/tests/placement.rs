//! Router nodes that share a store agree by it: numbers stay with names, of two tables one is written, an owner that lost a
//! slot stores nothing for it, a lease that is written anew is not taken away, and a server that takes the whole store
//! leaves no table behind.

mod support;

use std::sync::Arc;

use protocol::envelope::{ConversationKind, RouterId};
use protocol::event::Role;
use protocol::placement::{NODES_MAX, NodeId, RouterNode, Slot, Table};
use storage::engine::{Engine, MemoryEngine};
use storage::kv::EngineError;
use storage::migrate::Migration;
use storage::request::{Appended, Beaten, Epoch, Failure, Holder, Lease, Outcome, Placement, Request, Stale};
use storage::transaction::{Reply, Step, Transaction};
use storage::{claim, leases};

use support::*;

fn lease(name: &str, incarnation: u64) -> Lease {
    let address = "192.0.2.1:8802".parse().unwrap();
    Lease { node: NodeId::NONE, name: name.into(), address, cores: 2, incarnation, beat: 0, draining: false }
}

fn beat(store: &mut Store, lease: &Lease, known: Epoch) -> Beaten {
    match store.run(Request::Beat { lease: lease.clone(), known }) {
        Outcome::Beat(beaten) => beaten,
        other => panic!("{other:?}"),
    }
}

/// A node that has beaten once.
fn join(store: &mut Store, name: &str, incarnation: u64) -> Lease {
    let beaten = beat(store, &lease(name, incarnation), Epoch(0));
    assert!(beaten.held);
    beaten.leases.into_iter().find(|lease| lease.node == beaten.node).unwrap()
}

fn holder(lease: &Lease) -> Holder {
    Holder { node: lease.node, incarnation: lease.incarnation }
}

fn stale(lease: &Lease) -> Stale {
    Stale { holder: holder(lease), beat: lease.beat }
}

/// A table of these nodes, whose router shards have the slots in turn.
fn table(leases: &[&Lease]) -> Table {
    let mut table = Table::empty();
    table.nodes = leases
        .iter()
        .map(|lease| RouterNode {
            id: lease.node,
            name: lease.name.clone(),
            address: lease.address,
            cores: lease.cores,
            draining: false,
        })
        .collect();
    for (slot, tenure) in table.tenures.iter_mut().enumerate() {
        tenure.owner = RouterId::new(leases[slot % leases.len()].node, 0);
    }
    table
}

fn place_request(base: Epoch, table: Table, by: &Lease, removed: &[Stale]) -> Request {
    Request::Place { base, table: Box::new(table), holder: holder(by), removed: removed.into() }
}

fn place(store: &mut Store, base: Epoch, table: Table, by: &Lease, removed: &[Stale]) -> Option<Arc<Table>> {
    match store.run(place_request(base, table, by, removed)) {
        Outcome::Placed(placed) => placed,
        other => panic!("{other:?}"),
    }
}

/// A conversation whose slot the predicate likes.
fn conversation_in(likes: impl Fn(Slot) -> bool) -> protocol::id::ConversationKey {
    let names = (0..1_000).map(|number| conversation(&format!("c{number}")));
    names.into_iter().find(|of| likes(Slot::of_conversation(of))).unwrap()
}

fn create_under(store: &mut Store, of: protocol::id::ConversationKey, under: Epoch) {
    let member = protocol::envelope::Member { user: user_id("alice"), role: Role::Owner };
    let mut request = create_request(of, ConversationKind::Group, Box::from([member]));
    if let Request::Create { epoch, .. } = &mut request {
        *epoch = under;
    }
    assert!(matches!(store.run(request), Outcome::Created { created: true, .. }));
}

fn append_under(store: &mut Store, of: protocol::id::ConversationKey, id: &str, under: Epoch) -> Outcome {
    let mut request = append_request(of, vec![message(of, "alice", id, "x")], 0);
    if let Request::Append(batch) = &mut request {
        batch.epoch = under;
    }
    store.run(request)
}

#[test]
fn a_number_stays_with_its_name_and_is_never_given_twice() {
    for mut store in Store::each() {
        let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
        assert_eq!((a.node, a.beat, b.node), (NodeId(1), 1, NodeId(2)));
        store.reopen();
        let again = join(&mut store, "a", 3);
        assert_eq!((again.node, again.beat), (a.node, 2), "another process of the same name");
        let placed = place(&mut store, Epoch(0), table(&[&again]), &again, &[stale(&b)]).unwrap();
        let c = join(&mut store, "c", 4);
        assert_eq!(c.node, NodeId(3), "the number of a lease that ended is not given");
        let back = beat(&mut store, &b, placed.epoch);
        assert_eq!((back.node, back.held), (b.node, true), "who was removed alive keeps its number");
        assert_eq!(join(&mut store, "d", 5).node, NodeId(4));
        let names: Vec<_> = leases(&mut store.engine).unwrap().into_iter().map(|lease| lease.name).collect();
        assert_eq!(names, [again.name, b.name, c.name, "d".into()]);
        store.verify();
    }
}

#[test]
fn of_two_processes_of_a_name_the_later_has_the_lease_and_the_earlier_learns_of_it() {
    for mut store in Store::each() {
        let earlier = join(&mut store, "a", 1);
        let later = join(&mut store, "a", 2);
        let told = beat(&mut store, &earlier, Epoch(0));
        assert!(!told.held);
        assert_eq!(told.leases, std::slice::from_ref(&later), "and nothing was written");
        assert_eq!(place(&mut store, Epoch(0), table(&[&earlier]), &earlier, &[]), None);
        assert!(beat(&mut store, &later, Epoch(0)).held);
        // Numbers are given again one day: then the name decides.
        let other = Lease { name: "b".into(), ..earlier };
        assert!(!beat(&mut store, &other, Epoch(0)).held);
    }
}

#[test]
fn a_beat_tells_of_all_others_and_of_a_table_only_when_it_is_newer() {
    for mut store in Store::each() {
        let a = join(&mut store, "a", 1);
        let b = beat(&mut store, &lease("b", 2), Epoch(0));
        assert_eq!((b.leases.len(), &b.placement), (2, &Placement::Absent));
        let placed = place(&mut store, Epoch(0), table(&[&a]), &a, &[]).unwrap();
        let told = beat(&mut store, &a, Epoch(0));
        assert_eq!(told.leases[0].beat, 2);
        assert_eq!(told.placement, Placement::Newer(Arc::clone(&placed)));
        assert_eq!(beat(&mut store, &a, placed.epoch).placement, Placement::Known);
        let next = place(&mut store, placed.epoch, table(&[&a]), &a, &[]).unwrap();
        assert_eq!(next.epoch, Epoch(placed.epoch.0 + 1));
        store.reopen();
        assert_eq!(beat(&mut store, &a, placed.epoch).placement, Placement::Newer(next));
    }
}

#[test]
fn who_lost_a_slot_stores_nothing_for_it_and_goes_on_with_the_others() {
    for mut store in Store::each() {
        let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
        let first = place(&mut store, Epoch(0), table(&[&a]), &a, &[]).unwrap();
        let mut wanted = (*first).clone();
        let moves = |slot: Slot| slot.0 % 2 == 1;
        for slot in Slot::all().filter(|slot| moves(*slot)) {
            wanted.tenures[usize::from(slot.0)].owner = RouterId::new(b.node, 1);
        }
        let (moved, kept) = (conversation_in(moves), conversation_in(|slot| !moves(slot)));
        for of in [moved, kept] {
            create_under(&mut store, of, first.epoch);
        }
        let second = place(&mut store, first.epoch, wanted, &b, &[]).unwrap();
        let since: Vec<Epoch> = second.tenures.iter().take(2).map(|tenure| tenure.since).collect();
        assert_eq!(since, [first.epoch, second.epoch], "a tenure that stays is as old as it was");
        let fenced = append_under(&mut store, moved, "1", first.epoch);
        assert!(matches!(fenced, Outcome::Failed(Failure::Fenced)), "{fenced:?}");
        for (of, epoch) in [(kept, first.epoch), (moved, second.epoch), (kept, second.epoch)] {
            let stored = append_under(&mut store, of, &format!("m{}", epoch.0), epoch);
            assert!(matches!(stored, Outcome::Appended(_)), "{stored:?}");
        }
        assert_eq!((store.log(moved).len(), store.log(kept).len()), (1, 2));
        store.verify();
    }
}

#[test]
fn of_two_tables_made_from_the_same_one_is_written() {
    for mut store in Store::each() {
        let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
        for base in [0, 1] {
            let won = place(&mut store, Epoch(base), table(&[&a, &b]), &a, &[]).unwrap();
            assert_eq!(won.epoch, Epoch(base + 1));
            assert_eq!(place(&mut store, Epoch(base), table(&[&b, &a]), &b, &[]), None);
            assert_eq!(beat(&mut store, &b, Epoch(0)).placement, Placement::Newer(won));
        }
        store.verify();
    }
}

#[test]
fn a_lease_that_is_written_anew_is_not_taken_away() {
    for mut store in Store::each() {
        let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
        let first = place(&mut store, Epoch(0), table(&[&a, &b]), &a, &[]).unwrap();
        assert!(beat(&mut store, &b, first.epoch).held);
        assert_eq!(place(&mut store, first.epoch, table(&[&a]), &a, &[stale(&b)]), None);
        let now = leases(&mut store.engine).unwrap()[1].clone();
        assert_eq!((now.node, now.beat), (b.node, 2));
        let again = join(&mut store, "b", 3);
        let same_beat = Stale { holder: holder(&b), beat: again.beat };
        assert_eq!(place(&mut store, first.epoch, table(&[&a]), &a, &[same_beat]), None);
        assert!(place(&mut store, first.epoch, table(&[&a]), &a, &[stale(&again)]).is_some());
        assert_eq!(leases(&mut store.engine).unwrap().len(), 1);
    }
}

#[test]
fn a_server_that_takes_the_store_takes_the_table_away_and_fences_all_of_it() {
    for mut store in Store::each() {
        let alone = claim(&mut store.engine).unwrap();
        let a = join(&mut store, "a", 1);
        let mut placed = place(&mut store, Epoch(0), table(&[&a]), &a, &[]).unwrap();
        assert!(placed.epoch > alone, "a table is above the fences of whoever had the store");
        let of = conversation("c");
        create_under(&mut store, of, placed.epoch);
        assert!(matches!(append_under(&mut store, of, "0", alone), Outcome::Failed(Failure::Fenced)));
        // A table that moves nothing is newer than all fences; the claim is newer still.
        placed = place(&mut store, placed.epoch, (*placed).clone(), &a, &[]).unwrap();
        let taken = claim(&mut store.engine).unwrap();
        assert!(taken > placed.epoch);
        let outcome = append_under(&mut store, of, "1", placed.epoch);
        assert!(matches!(outcome, Outcome::Failed(Failure::Fenced)), "{outcome:?}");
        assert!(matches!(append_under(&mut store, of, "2", taken), Outcome::Appended(_)));
        let told = beat(&mut store, &a, placed.epoch);
        assert_eq!((told.held, told.placement, told.leases.len()), (false, Placement::Absent, 0));
        assert_eq!(leases(&mut store.engine).unwrap(), []);
        assert_eq!(place(&mut store, placed.epoch, table(&[&a]), &a, &[]), None);
        store.verify();
        // The numbers of the old cluster are not those of the next.
        let next = join(&mut store, "a", 7);
        assert_eq!(next.node, NodeId(2));
        assert!(place(&mut store, Epoch(0), table(&[&next]), &next, &[]).unwrap().epoch > taken);
    }
}

#[test]
fn there_are_no_more_leases_than_nodes_of_a_table() {
    let mut store = Store::memory();
    for number in 0..NODES_MAX {
        join(&mut store, &format!("n{number}"), 1);
    }
    let refused = |store: &mut Store, lease: Lease| {
        let outcome = store.run(Request::Beat { lease, known: Epoch(0) });
        assert!(matches!(outcome, Outcome::Failed(Failure::Refused(_))), "{outcome:?}");
    };
    refused(&mut store, lease("one more", 1));
    refused(&mut store, lease("", 1));
    refused(&mut store, Lease { cores: 0, ..lease("n1", 2) });
    assert_eq!(join(&mut store, "n1", 2).node, NodeId(2), "a known name finds its place");
}

#[test]
fn a_migration_leaves_the_cluster_behind_and_takes_the_fences_along() {
    let (mut from, mut to) = (Store::memory(), Store::embedded());
    let a = join(&mut from, "a", 1);
    let placed = place(&mut from, Epoch(0), table(&[&a]), &a, &[]).unwrap();
    let placed = place(&mut from, placed.epoch, table(&[&a]), &a, &[]).unwrap();
    create_under(&mut from, conversation("c"), placed.epoch);
    let migration = Migration::begin(&mut to.engine).unwrap();
    migration.run(&mut from.engine, &mut to.engine, &mut |_| ()).unwrap();
    assert_eq!(leases(&mut to.engine).unwrap(), []);
    assert_eq!(leases(&mut from.engine).unwrap().len(), 1);
    let told = beat(&mut to, &lease("a", 2), Epoch(0));
    assert_eq!((told.node, told.placement), (NodeId(1), Placement::Absent));
    assert!(claim(&mut to.engine).unwrap() > placed.tenures[0].since);
}

/// Runs a request whose first commit happens and is answered with `Unknown`; then `meanwhile` happens.
fn run_in_doubt(
    engine: &mut MemoryEngine,
    request: Request,
    mut meanwhile: impl FnMut(&mut MemoryEngine),
) -> Outcome {
    let (mut transaction, mut step) = Transaction::begin(request);
    let mut doubted = false;
    loop {
        step = match step {
            Step::Read(reads) => transaction.resume(Ok(Reply::Found(engine.read(&reads)))),
            Step::Commit(writes) => {
                engine.commit(writes).unwrap();
                if doubted {
                    transaction.resume(Ok(Reply::Committed))
                } else {
                    doubted = true;
                    meanwhile(engine);
                    transaction.resume(Err(EngineError::Unknown))
                }
            }
            Step::Done(outcome) => return outcome,
        }
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_told_as_it_came_out() {
    let mut store = Store::memory();
    let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
    let Engine::Memory(engine) = &store.engine else { unreachable!() };
    let mut engine = engine.clone();
    let request = || place_request(Epoch(0), table(&[&a]), &a, &[stale(&b)]);
    match run_in_doubt(&mut engine.clone(), request(), |_| ()) {
        Outcome::Placed(Some(table)) => assert_eq!(table.epoch, Epoch(1)),
        other => panic!("{other:?}"),
    }
    let overtaken = run_in_doubt(&mut engine, request(), |engine| {
        let mut later = Store::memory();
        later.engine = Engine::Memory(engine.clone());
        assert!(place(&mut later, Epoch(1), table(&[&a]), &a, &[]).is_some());
        let Engine::Memory(changed) = later.engine else { unreachable!() };
        *engine = changed;
    });
    assert!(matches!(overtaken, Outcome::Placed(None)), "{overtaken:?}");
    let first = Request::Beat { lease: lease("c", 3), known: Epoch(0) };
    match run_in_doubt(&mut engine, first, |_| ()) {
        Outcome::Beat(beaten) => {
            assert_eq!((beaten.node, beaten.leases.last().unwrap().beat), (NodeId(3), 2));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_append_that_was_under_way_when_its_slot_moved_is_fenced() {
    for mut store in Store::each() {
        let (a, b) = (join(&mut store, "a", 1), join(&mut store, "b", 2));
        let first = place(&mut store, Epoch(0), table(&[&a]), &a, &[]).unwrap();
        let of = conversation("c");
        create_under(&mut store, of, first.epoch);
        let stored = append_under(&mut store, of, "1", first.epoch);
        assert!(matches!(&stored, Outcome::Appended(all) if matches!(all[0][0], Appended::Stored(_))));
        place(&mut store, first.epoch, table(&[&b]), &b, &[stale(&a)]).unwrap();
        // Asking again for what is stored is refused as well: the new owner answers.
        for id in ["1", "2"] {
            let outcome = append_under(&mut store, of, id, first.epoch);
            assert!(matches!(outcome, Outcome::Failed(Failure::Fenced)), "{outcome:?}");
        }
    }
}

#[cfg(feature = "foundationdb")]
mod at_once {
    use std::thread;

    use super::*;

    #[test]
    fn nodes_that_begin_at_once_get_numbers_of_their_own_and_agree_on_each_table() {
        const NODES: u64 = 6;
        const TABLES: u64 = 5;
        let Some(store) = Store::foundationdb() else { return };
        let Engine::Foundationdb(engine) = &store.engine else { unreachable!() };
        let nodes: Vec<_> = (0..NODES)
            .map(|number| {
                let engine = Engine::Foundationdb(engine.clone());
                thread::spawn(move || {
                    let mut store = Store::of_engine(engine);
                    let own = join(&mut store, &format!("n{number}"), number);
                    let (mut known, mut won) = (Epoch(0), Vec::new());
                    while known.0 < TABLES {
                        let placed = place(&mut store, known, table(&[&own]), &own, &[]);
                        won.extend(placed.iter().map(|table| table.epoch));
                        if let Placement::Newer(table) = beat(&mut store, &own, known).placement {
                            known = table.epoch;
                        }
                    }
                    (own.node, won)
                })
            })
            .collect();
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.join().unwrap()).collect();
        let mut numbers: Vec<_> = nodes.iter().map(|(node, _)| node.0).collect();
        let mut won: Vec<_> = nodes.iter().flat_map(|(_, won)| won).map(|epoch| epoch.0).collect();
        numbers.sort_unstable();
        won.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(won.iter().copied().eq(1..=won.len() as u64), "each table has one author: {won:?}");
        let mut store = store;
        store.verify();
    }
}
