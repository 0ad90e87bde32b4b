//! A store that goes away takes nobody's slots, and whatever happens, all agree in the end and never disagree before.

use router::keeper::{KeeperCompletion, Note};

use crate::world::World;

#[test]
fn an_outage_of_the_store_kills_nobody() {
    for seed in 0..20 {
        let mut world = World::of(seed, 5);
        world.run_for(3_000);
        let epoch = world.newest().unwrap().epoch;
        for _ in 0..4 {
            world.away_until_ms = world.now_ms + 500 + world.chance.below(15_000);
            let until = world.away_until_ms;
            let for_ms = until - world.now_ms;
            world.run_for(for_ms);
            if for_ms > 3_000 {
                assert!(world.processes.iter().all(|process| process.lapsed), "seed {seed}");
            }
            world.run_for(6_000);
            assert!(world.processes.iter().all(|process| !process.lapsed), "seed {seed}");
            assert_eq!(world.newest().unwrap().epoch, epoch, "seed {seed}");
        }
        let notes = &world.processes[0].notes;
        assert!(notes.contains(&Note::StoreAnswers));
        world.check();
    }
}

#[test]
fn who_alone_is_cut_off_lapses_before_others_take_its_slots() {
    for seed in 0..20 {
        let mut world = World::of(seed, 3);
        world.run_for(world_wait(seed));
        let until = world.now_ms + 9_000;
        world.cut_until_ms.insert(1, until);
        world.run_until(5_000, |world| world.processes[1].lapsed);
        assert!(world.slots(1) > 0, "seed {seed}: it lapsed before others took what it had");
        world.run_until(4_000, |world| world.slots(1) == 0);
        world.run_until(15_000, World::is_settled);
        assert!(world.slots(1) > 0 && !world.processes[1].lapsed);
        world.check();
    }
}

const fn world_wait(seed: u64) -> u64 {
    1_000 + seed * 37
}

#[test]
fn whatever_happens_tables_never_disagree_and_all_agree_in_the_end() {
    for seed in 0..60 {
        let mut world = World::of(seed, 4);
        world.doubt_once_in = 3 + world.chance.below(20);
        world.delay_ms_max = world.chance.below(400);
        for number in 0..30 {
            let count = world.processes.len() as u64;
            let at = world.chance.below(count) as usize;
            match world.chance.below(9) {
                0 if world.alive().count() > 2 => world.kill(at),
                1 if world.alive().count() > 2 => world.give(at, KeeperCompletion::Leave),
                2 => {
                    let pause = world.chance.below(8_000);
                    world.pause(at, pause);
                }
                3 => {
                    let until = world.now_ms + world.chance.below(6_000);
                    world.cut_until_ms.insert(at, until);
                }
                4 => world.away_until_ms = world.now_ms + world.chance.below(5_000),
                5 => {
                    let name = world.processes[at].name.clone();
                    world.start(&name, 1 + number % 4);
                }
                6 if world.alive().count() < 10 => drop(world.start(&format!("m{number}"), 1 + number % 4)),
                7 => world.give(at, KeeperCompletion::Retire),
                _ => {}
            }
            let wait = world.chance.below(3_000);
            world.run_for(wait);
        }
        world.doubt_once_in = 0;
        world.delay_ms_max = 20;
        world.away_until_ms = 0;
        world.cut_until_ms.clear();
        world.start("last", 2);
        world.run_for(20_000);
        assert!(world.is_settled(), "seed {seed}: {:?}", world.status_of_any());
        world.check();
    }
}
