//! Nodes come, leave, die, start again: the slots are where they should be soon, and whoever was replaced stops.

use protocol::placement::{NodeId, Slot};
use router::keeper::{KeeperCompletion, Note, Replaced};

use crate::world::World;

const SEEDS: u64 = 20;

#[test]
fn nodes_that_begin_together_agree_and_share_evenly() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.delay_ms_max = world.chance.below(100);
        for number in 0..5 {
            world.start(&format!("n{number}"), 1 + number);
        }
        let took = world.run_until(10_000, World::is_settled);
        assert!(took < 8_000, "seed {seed}: {took} ms");
        world.run_for(5_000);
        let epoch = world.newest().unwrap().epoch;
        world.run_for(5_000);
        assert_eq!(world.newest().unwrap().epoch, epoch, "seed {seed}: and then nothing changes");
        world.check();
    }
}

#[test]
fn who_comes_takes_its_share_and_nothing_else_moves() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        world.run_for(3_000);
        let before = world.newest().unwrap();
        let at = world.start("new", 2);
        world.run_until(6_000, |world| world.slots(at) > 0 && world.is_settled());
        let after = world.newest().unwrap();
        let moved: Vec<Slot> = Slot::all().filter(|slot| before.owner(*slot) != after.owner(*slot)).collect();
        assert_eq!(moved.len(), world.slots(at), "seed {seed}");
        assert_eq!(before.moved(&after).count(), moved.len());
        assert_eq!(moved.len(), 1_024);
        world.check();
    }
}

#[test]
fn a_death_is_repaired_within_five_seconds_and_nobody_else_loses_anything() {
    for seed in 0..SEEDS {
        for nodes in [2, 5, 12] {
            let mut world = World::of(seed, nodes);
            world.delay_ms_max = 100;
            let wait = world.chance.below(2_000);
            world.run_for(wait);
            let before = world.newest().unwrap();
            let at = world.chance.below(nodes as u64) as usize;
            let (slots, dead) = (world.slots(at), world.processes[at].node);
            world.kill(at);
            let took = world.run_until(10_000, World::is_whole);
            assert!(took >= 1_400, "seed {seed}: not before its lease was over: {took} ms");
            assert!(took <= 5_000, "seed {seed}: {took} ms");
            let after = world.newest().unwrap();
            assert_eq!(before.moved(&after).count(), slots, "seed {seed}");
            assert!(Slot::all().all(|slot| after.owner(slot).node() != dead));
            world.run_until(10_000, World::is_settled);
            world.check();
            let told = |note: &Note| matches!(note, Note::Dead { node, .. } if *node == dead);
            let tellers = world.alive().filter(|process| process.notes.iter().any(told)).count();
            assert_eq!(tellers, 1, "seed {seed}: who took its slots says so");
        }
    }
}

#[test]
fn all_but_one_die_at_once() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 6);
        let last = world.chance.below(6) as usize;
        (0..6).filter(|at| *at != last).for_each(|at| world.kill(at));
        let took = world.run_until(10_000, World::is_settled);
        assert!(took <= 5_000, "seed {seed}: {took} ms");
        assert_eq!(world.slots(last), 4_096);
        world.check();
    }
}

#[test]
fn a_process_that_starts_again_keeps_its_slots_and_number_under_a_new_tenure() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        world.run_for(1_000);
        let before = world.newest().unwrap();
        let node = world.processes[1].node;
        world.kill(1);
        let again = world.start("n1", 2);
        world.run_until(3_000, |world| world.processes[again].table.is_some() && world.is_settled());
        assert_eq!(world.processes[again].node, node);
        let after = world.newest().unwrap();
        for slot in Slot::all() {
            assert_eq!(before.owner(slot), after.owner(slot), "seed {seed}");
            let is_its = after.owner(slot).node() == node;
            assert_eq!(after.tenure(slot).since > before.epoch, is_its, "seed {seed}");
        }
        // The first table that it was told has the new tenures already.
        assert_eq!(world.processes[again].tables, 1);
        world.check();
    }
}

#[test]
fn all_start_again_at_once_and_nobody_serves_under_a_tenure_of_before() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        world.doubt_once_in = 5;
        let before = world.newest().unwrap();
        (0..3).for_each(|at| world.kill(at));
        for number in 0..3 {
            world.start(&format!("n{number}"), 2);
        }
        world.run_until(10_000, |world| world.alive().all(|process| process.table.is_some()));
        for process in world.alive() {
            let table = process.table.as_ref().unwrap();
            let old = |slot: &Slot| table.tenure(*slot).since <= before.epoch;
            let own = |slot: &Slot| table.owner(*slot).node() == process.node;
            assert_eq!(Slot::all().filter(|slot| own(slot) && old(slot)).count(), 0, "seed {seed}");
        }
        world.doubt_once_in = 0;
        world.run_until(10_000, World::is_settled);
        world.run_for(3_000);
        world.check();
    }
}

#[test]
fn of_two_processes_of_one_name_the_later_goes_on() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        let later = world.start("n0", 2);
        world.run_until(3_000, |world| world.processes[0].replaced.is_some());
        assert_eq!(world.processes[0].replaced, Some(Replaced::ByName));
        world.run_until(5_000, World::is_settled);
        assert_eq!(world.processes[later].node, world.processes[0].node);
        // From when on the later one serves, the earlier one was never told a table.
        let told = world.processes[0].table.as_ref().unwrap().epoch;
        let node = world.processes[later].node;
        let newest = world.newest().unwrap();
        let since = newest.tenures.iter().filter(|tenure| tenure.owner.node() == node);
        assert!(since.map(|tenure| tenure.since).min().unwrap() > told, "seed {seed}");
        world.check();
    }
}

#[test]
fn a_paused_process_lapses_is_removed_and_joins_anew_under_its_number() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        let node = world.processes[2].node;
        let pause = 6_000 + world.chance.below(5_000);
        world.pause(2, pause);
        world.run_for(5_500);
        assert_eq!(world.slots(2), 0, "seed {seed}");
        world.run_until(15_000, World::is_settled);
        let paused = &world.processes[2];
        assert!(world.slots(2) > 1_000);
        assert_eq!((paused.node, paused.lapsed, paused.replaced), (node, false, None));
        world.check();
    }
}

#[test]
fn who_is_cut_off_between_registration_and_first_beat_keeps_its_number() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        let cut_until_ms = world.now_ms + 6_000;
        world.cut_until_ms.insert(3, cut_until_ms);
        let late = world.start("late", 2);
        let node = world.processes[late].node;
        world.run_for(5_500);
        let dead = |note: &Note| matches!(note, Note::Dead { node: dead, .. } if *dead == node);
        assert!(world.processes[..3].iter().any(|process| process.notes.iter().any(dead)), "seed {seed}");
        world.run_until(15_000, World::is_settled);
        assert!(world.slots(late) > 500, "seed {seed}");
        world.check();
    }
}

#[test]
fn a_short_pause_costs_nothing() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 3);
        world.run_for(3_000);
        let epoch = world.newest().unwrap().epoch;
        for _ in 0..5 {
            let at = world.chance.below(3) as usize;
            world.pause(at, 1_200);
            world.run_for(3_000);
        }
        assert_eq!(world.newest().unwrap().epoch, epoch, "seed {seed}");
    }
}

#[test]
fn who_leaves_in_order_is_gone_at_once() {
    for seed in 0..SEEDS {
        let mut world = World::of(seed, 4);
        world.run_for(3_000);
        let before = world.newest().unwrap();
        let slots = world.slots(3);
        world.give(3, KeeperCompletion::Leave);
        let left = world.run_until(1_000, |world| world.processes[3].left);
        assert!(left < 100, "seed {seed}: {left} ms");
        let given = world.processes[3].table.clone().unwrap();
        assert_eq!(before.moved(&given).count(), slots, "its own router shards are told, too");
        let took = world.run_until(1_000, World::is_settled);
        assert!(took <= 600, "seed {seed}: {took} ms");
        assert_eq!(before.moved(&world.newest().unwrap()).count(), slots);
        world.check();
        // The last one leaves as well, and a first one comes.
        (0..3).for_each(|at| world.give(at, KeeperCompletion::Leave));
        world.run_until(4_000, |world| world.alive().count() == 0);
        let next = world.start("next", 2);
        world.run_until(3_000, World::is_settled);
        assert_eq!(world.processes[next].node, NodeId(5), "seed {seed}");
        world.check();
    }
}

#[test]
fn a_server_that_is_all_there_is_stops_all_of_them() {
    let mut world = World::of(1, 3);
    storage::claim(&mut world.engine).unwrap();
    let took = world.run_until(3_000, |world| world.alive().count() == 0);
    assert!(took <= 600, "{took} ms");
    assert!(world.processes.iter().all(|process| process.replaced == Some(Replaced::ByClaim)));
    world.check();
}

#[test]
fn where_the_store_is_its_own_a_node_waits_for_nobody() {
    let mut world = World::of(1, 1);
    world.kill(0);
    let at = world.start_with("another name", 2, true);
    let took = world.run_until(3_000, World::is_settled);
    assert!(took <= 200, "{took} ms");
    assert_eq!(world.slots(at), 4_096);
    world.check();
}
