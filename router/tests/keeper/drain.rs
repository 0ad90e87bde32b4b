//! A drain is gentle: some slots at a time, to the end, whoever dies meanwhile; and it can be taken back.

use router::keeper::{Answer, Command, GENTLE_PAUSE_MS, GENTLE_SLOTS_MAX, KeeperCompletion};

use crate::world::World;

#[test]
fn a_drained_node_is_emptied_piece_by_piece() {
    for seed in 0..10 {
        let mut world = World::of(seed, 3);
        world.run_for(3_000);
        let (before, slots) = (world.newest().unwrap(), world.slots(2));
        world.command(0, 1, Command::Drain("n2".into()));
        let took = world.run_until(10_000, |world| world.slots(2) == 0 && world.is_settled());
        let pieces = slots.div_ceil(GENTLE_SLOTS_MAX) as u64;
        assert!(took >= (pieces - 1) * GENTLE_PAUSE_MS, "seed {seed}: {took} ms");
        assert!(took <= 3_000, "seed {seed}: {took} ms");
        let after = world.newest().unwrap();
        assert_eq!(before.moved(&after).count(), slots);
        let mut tables = world.tables.range(before.epoch..).map(|(_, table)| table);
        let mut last = tables.next().unwrap();
        for table in tables {
            assert!(last.moved(table).count() <= GENTLE_SLOTS_MAX);
            last = table;
        }
        assert!(matches!(world.processes[0].done[&1], Ok(Answer::Placed(_))));
        let node = world.processes[2].node;
        let of_node = world.status(1).nodes.into_iter().find(|status| status.node == node).unwrap();
        assert!(of_node.draining && of_node.placed && of_node.slots == 0 && &*of_node.name == "n2");
        // It gets its slots again.
        world.command(1, 2, Command::Undrain("n2".into()));
        world.run_until(10_000, |world| world.slots(2) > 0 && world.is_settled());
        assert!(world.slots(2).abs_diff(slots) <= 1, "as many as it had");
        world.check();
    }
}

#[test]
fn a_drain_goes_on_when_who_carries_it_out_dies() {
    for seed in 0..10 {
        let mut world = World::of(seed, 5);
        world.command(0, 1, Command::Drain("n3".into()));
        world.run_for(250);
        assert!(world.slots(3) > 0);
        world.kill(0);
        world.run_until(10_000, |world| world.slots(3) == 0 && world.is_settled());
        world.check();
    }
}

#[test]
fn a_node_that_dies_while_it_is_drained_is_replaced_at_once() {
    let mut world = World::of(3, 4);
    world.command(0, 1, Command::Drain("n3".into()));
    world.run_for(150);
    world.kill(3);
    world.run_until(5_000, World::is_settled);
    world.check();
}

#[test]
fn who_retires_is_emptied_and_starts_again_with_slots() {
    let mut world = World::of(4, 3);
    world.give(1, KeeperCompletion::Retire);
    world.run_until(5_000, |world| world.slots(1) == 0 && world.is_whole());
    world.give(1, KeeperCompletion::Leave);
    world.run_until(1_000, |world| world.processes[1].left);
    let again = world.start("n1", 2);
    world.run_until(5_000, |world| world.slots(again) > 0 && world.is_settled());
    // And without having left.
    world.command(0, 1, Command::Drain("n1".into()));
    world.run_until(5_000, |world| world.slots(again) == 0 && world.is_settled());
    world.kill(again);
    let again = world.start("n1", 2);
    world.run_until(5_000, |world| world.slots(again) > 0 && world.is_settled());
    world.check();
}
