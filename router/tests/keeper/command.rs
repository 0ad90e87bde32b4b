//! Commands are answered once, with what came of them or why nothing did.

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, SLOTS, Slot};
use router::keeper::{
    Answer, COMMAND_PATIENCE_MS, COMMANDS_MAX, Command, CommandError, KeeperCompletion, Target,
};

use crate::world::World;

fn done(world: &mut World, at: usize, command: Command) -> Result<Answer, CommandError> {
    let number = world.processes[at].done.len() as u64;
    world.command(at, number, command);
    world.run_until(COMMAND_PATIENCE_MS + 1_000, |world| world.processes[at].done.contains_key(&number));
    world.processes[at].done[&number].clone()
}

#[test]
fn a_slot_that_was_moved_by_hand_stays_until_nodes_come_or_go() {
    let mut world = World::of(1, 3);
    world.run_for(3_000);
    let slot = Slot(77);
    let owner = world.newest().unwrap().owner(slot);
    let to = world.alive().map(|process| process.node).find(|node| *node != owner.node()).unwrap();
    let shard = RouterId::new(to, 1);
    let placed = done(&mut world, 2, Command::Move { slot, to: Target::Shard(shard) });
    let Ok(Answer::Placed(epoch)) = placed else { panic!("{placed:?}") };
    world.run_for(5_000);
    let newest = world.newest().unwrap();
    assert_eq!((newest.epoch, newest.owner(slot), newest.tenure(slot).since), (epoch, shard, epoch));
    let same = done(&mut world, 0, Command::Move { slot, to: Target::Shard(shard) });
    assert_eq!(same, Ok(Answer::Placed(epoch)));
    let name = newest.node(owner.node()).unwrap().name.clone();
    done(&mut world, 1, Command::Move { slot, to: Target::Node(name) }).unwrap();
    assert_eq!(world.newest().unwrap().owner(slot).node(), owner.node());
    world.check();
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let mut world = World::of(2, 2);
    let node = world.processes[0].node;
    let to_shard = |slot, shard| Command::Move { slot: Slot(slot), to: Target::Shard(shard) };
    for (command, error) in [
        (Command::Drain("who".into()), CommandError::NoNode),
        (Command::Undrain("who".into()), CommandError::NoNode),
        (to_shard(SLOTS, RouterId::new(node, 0)), CommandError::NoSlot),
        (to_shard(0, RouterId::new(node, 2)), CommandError::NoShard),
        (to_shard(0, RouterId::NOBODY), CommandError::NoNode),
        (Command::Move { slot: Slot(0), to: Target::Node("who".into()) }, CommandError::NoNode),
    ] {
        assert_eq!(done(&mut world, 1, command.clone()), Err(error), "{command:?}");
    }
    done(&mut world, 1, Command::Drain("n0".into())).unwrap();
    assert_eq!(done(&mut world, 1, Command::Drain("n1".into())), Err(CommandError::LastNode));
    world.run_until(5_000, |world| world.slots(0) == 0);
    let refused = done(&mut world, 1, to_shard(0, RouterId::new(node, 0)));
    assert_eq!(refused, Err(CommandError::Draining));
    world.give(1, KeeperCompletion::Retire);
    world.run_for(1_000);
    assert_eq!(done(&mut world, 0, Command::Undrain("n1".into())), Err(CommandError::Leaving));
}

#[test]
fn commands_wait_for_the_store_and_no_more_than_a_bound_of_them() {
    let mut world = World::of(3, 2);
    world.away_until_ms = world.now_ms + 60_000;
    world.run_for(1_000);
    for number in 0..=COMMANDS_MAX as u64 {
        world.command(0, number, Command::Drain("n1".into()));
    }
    assert_eq!(world.processes[0].done.len(), 1);
    assert_eq!(world.processes[0].done[&(COMMANDS_MAX as u64)], Err(CommandError::Busy));
    assert!(!world.status(0).nodes.is_empty(), "a status waits for nothing");
    world.run_for(COMMAND_PATIENCE_MS + 200);
    assert_eq!(world.processes[0].done.len(), COMMANDS_MAX + 1);
    assert_eq!(world.processes[0].done[&0], Err(CommandError::Unavailable));
    assert!(world.status(0).lapsed);
}

#[test]
fn commands_at_two_keepers_at_once_both_happen() {
    for seed in 0..10 {
        let mut world = World::of(seed, 4);
        world.delay_ms_max = 50;
        world.command(0, 0, Command::Drain("n2".into()));
        world.command(1, 0, Command::Drain("n3".into()));
        world.run_until(10_000, |world| world.slots(2) + world.slots(3) == 0 && world.is_settled());
        for at in [0, 1] {
            assert!(matches!(world.processes[at].done[&0], Ok(Answer::Placed(epoch)) if epoch > Epoch(0)));
        }
        world.check();
    }
}

#[test]
fn a_link_that_tells_of_a_newer_table_brings_it_at_once() {
    let mut world = World::of(5, 3);
    world.run_for(3_000);
    let known = world.newest().unwrap().epoch;
    let owner = world.newest().unwrap().owner(Slot(0)).node();
    let other = world.alive().find(|process| process.node != owner).unwrap().name.clone();
    done(&mut world, 0, Command::Move { slot: Slot(0), to: Target::Node(other.into()) }).unwrap();
    let epoch = world.newest().unwrap().epoch;
    assert!(epoch > known);
    for at in [1, 2] {
        world.give(at, KeeperCompletion::Wanted(epoch));
        // One that no store has, too: it is asked for once, not for ever.
        world.give(at, KeeperCompletion::Wanted(Epoch(epoch.0 + 100)));
    }
    let took = world.run_until(1_000, |world| {
        world.processes.iter().all(|process| process.table.as_ref().unwrap().epoch >= epoch)
    });
    assert!(took <= 50, "{took} ms");
    world.run_for(1_000);
}
