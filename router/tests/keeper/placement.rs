//! Plans are fair, move only what must move, and are the same wherever they are made.

use std::collections::BTreeMap;

use protocol::envelope::RouterId;
use protocol::placement::{Epoch, NodeId, RouterNode, SLOTS, Slot, Table, Tenure};
use router::keeper::plan::{Plan, Situation, plan};

use crate::world::Chance;

fn node(id: u16, cores: u16) -> RouterNode {
    let address = format!("192.0.2.1:{id}").parse().unwrap();
    RouterNode { id: NodeId(id), name: format!("n{id}").into(), address, cores, draining: false }
}

fn situation<'a>(table: Option<&'a Table>, nodes: &'a [RouterNode]) -> Situation<'a> {
    Situation { table, nodes, restarted: None, rebalance: true, moves_max: usize::MAX }
}

/// Without rebalancing.
fn calm<'a>(table: &'a Table, nodes: &'a [RouterNode]) -> Situation<'a> {
    Situation { rebalance: false, ..situation(Some(table), nodes) }
}

fn next(table: Option<&Table>, nodes: &[RouterNode]) -> Plan {
    let plan = plan(&situation(table, nodes)).expect("something changes");
    check(&plan.table, nodes);
    assert_eq!(plan.left, 0);
    let moved =
        |table: &Table| Slot::all().filter(|slot| table.owner(*slot) != plan.table.owner(*slot)).count();
    assert_eq!(plan.moved, table.map_or(usize::from(SLOTS), moved));
    plan
}

fn slots_of_nodes(table: &Table) -> BTreeMap<NodeId, usize> {
    let mut slots = BTreeMap::new();
    table.tenures.iter().for_each(|tenure| *slots.entry(tenure.owner.node()).or_default() += 1);
    slots
}

/// Every router shard has its share to within one slot, and so has every node; nobody else has anything.
fn check(table: &Table, nodes: &[RouterNode]) {
    assert_eq!(table.nodes, nodes);
    let takers: Vec<_> = nodes.iter().filter(|node| !node.draining).collect();
    let cores: usize = takers.iter().map(|node| usize::from(node.cores)).sum();
    let mut slots = BTreeMap::<RouterId, usize>::new();
    table.tenures.iter().for_each(|tenure| *slots.entry(tenure.owner).or_default() += 1);
    let mut seen = 0;
    for node in takers {
        let of_core = |core| slots.get(&RouterId::new(node.id, core)).copied().unwrap_or(0);
        let of_cores: Vec<usize> = (0..node.cores).map(of_core).collect();
        let share = usize::from(SLOTS) / cores;
        assert!(of_cores.iter().all(|&slots| slots == share || slots == share + 1), "{of_cores:?}, {share}");
        let of_node: usize = of_cores.iter().sum();
        let exact = usize::from(SLOTS) * usize::from(node.cores);
        assert!(of_node == exact / cores || of_node == exact.div_ceil(cores), "{of_node} of {exact}/{cores}");
        seen += of_node;
    }
    assert_eq!(seen, usize::from(SLOTS));
}

#[test]
fn a_first_table_gives_everything_and_the_same_input_gives_the_same_table() {
    let nodes = [node(1, 4), node(2, 4), node(7, 1)];
    let first = next(None, &nodes);
    assert_eq!(first.table.epoch, Epoch(1));
    assert!(first.table.tenures.iter().all(|tenure| tenure.since == Epoch(1)));
    assert_eq!(plan(&situation(None, &nodes)).unwrap(), first);
    assert_eq!(plan(&situation(Some(&first.table), &nodes)), None, "and then there is nothing to do");
}

#[test]
fn a_hundred_nodes_of_64_cores_come_leave_and_die_and_only_their_shares_move() {
    let mut nodes: Vec<RouterNode> = (1..=100).map(|id| node(id, 64)).collect();
    let mut table = next(None, &nodes).table;
    assert!(slots_of_nodes(&table).values().all(|&slots| slots == 40 || slots == 41));
    // One after another comes: each takes its share, nothing else moves.
    for id in 101..=110 {
        nodes.push(node(id, 64));
        let plan = next(Some(&table), &nodes);
        let share = slots_of_nodes(&plan.table)[&NodeId(id)];
        assert_eq!(plan.moved, share, "node {id} comes");
        assert!(share == 4_096 / nodes.len() || share == 4_096 / nodes.len() + 1);
        table = plan.table;
    }
    // One after another goes: what it had moves, nothing else.
    for id in (1..=60).rev() {
        nodes.retain(|node| node.id != NodeId(id));
        let had = slots_of_nodes(&table)[&NodeId(id)];
        let plan = next(Some(&table), &nodes);
        assert_eq!(plan.moved, had, "node {id} goes");
        table = plan.table;
    }
    // A third of them at once.
    let gone = nodes.split_off(33);
    let of_nodes = slots_of_nodes(&table);
    let had: usize = gone.iter().map(|node| of_nodes[&node.id]).sum();
    assert_eq!(next(Some(&table), &nodes).moved, had);
}

#[test]
fn nodes_get_their_share_by_cores_whatever_comes_and_goes() {
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut nodes = vec![node(1, 1 + chance.below(16) as u16)];
        let mut table = next(None, &nodes).table;
        for id in 2..60 {
            let before = nodes.clone();
            match chance.below(5) {
                0 if nodes.len() > 1 => drop(nodes.remove(chance.below(nodes.len() as u64) as usize)),
                1 => {
                    let at = chance.below(nodes.len() as u64) as usize;
                    nodes[at].draining ^= true;
                    if nodes.iter().all(|node| node.draining) {
                        nodes[at].draining = false;
                    }
                }
                2 => {
                    let at = chance.below(nodes.len() as u64) as usize;
                    nodes[at].cores = 1 + chance.below(16) as u16;
                }
                _ => nodes.push(node(id, 1 + chance.below(16) as u16)),
            }
            if nodes.iter().all(|node| node.draining) {
                nodes[0].draining = false;
            }
            if nodes != before {
                let plan = next(Some(&table), &nodes);
                assert_eq!(plan.table.epoch, Epoch(table.epoch.0 + 1), "seed {seed}");
                for slot in Slot::all() {
                    let (old, new) = (table.tenure(slot), plan.table.tenure(slot));
                    assert!(old == new || new.since == plan.table.epoch && new.owner != old.owner);
                }
                table = plan.table;
            }
        }
    }
}

#[test]
fn what_is_taken_from_the_living_comes_in_pieces_and_the_rest_at_once() {
    let mut nodes = vec![node(1, 2), node(2, 2), node(3, 2), node(4, 2)];
    let mut table = next(None, &nodes).table;
    nodes.push(node(5, 2));
    nodes[0].draining = true;
    nodes.retain(|node| node.id != NodeId(2));
    let of_nodes = slots_of_nodes(&table);
    let mut steps = 0;
    let mut moved = 0;
    loop {
        let gentle = Situation { moves_max: 100, ..situation(Some(&table), &nodes) };
        let Some(step) = plan(&gentle) else { break };
        moved += step.moved;
        let of_dead = if steps == 0 { of_nodes[&NodeId(2)] } else { 0 };
        assert!(step.moved <= of_dead + 100);
        assert!(!step.table.tenures.iter().any(|tenure| tenure.owner.node() == NodeId(2)));
        assert_eq!(step.left == 0, plan(&situation(Some(&step.table), &nodes)).is_none());
        table = step.table;
        steps += 1;
    }
    check(&table, &nodes);
    assert!(steps > 10, "{steps}");
    let at_once = 4_096 - of_nodes[&NodeId(3)] - of_nodes[&NodeId(4)];
    assert_eq!(moved, at_once, "in pieces as much moves as at once");
}

#[test]
fn without_rebalancing_only_what_has_no_place_moves() {
    let mut nodes = vec![node(1, 2), node(2, 2)];
    let mut table = next(None, &nodes).table;
    // An operator has moved some by hand.
    for tenure in table.tenures.iter_mut().filter(|tenure| tenure.owner.node() == NodeId(1)).take(50) {
        tenure.owner = RouterId::new(NodeId(2), 0);
    }
    assert_eq!(plan(&calm(&table, &nodes)), None);
    nodes[1].cores = 1;
    let moved = plan(&calm(&table, &nodes)).unwrap();
    assert!(moved.table.tenures.iter().all(|tenure| tenure.owner != RouterId::new(NodeId(2), 1)));
    let of_core = table.tenures.iter().filter(|tenure| tenure.owner == RouterId::new(NodeId(2), 1)).count();
    assert_eq!(moved.moved, of_core);
}

#[test]
fn who_started_anew_keeps_its_slots_under_a_new_tenure() {
    let nodes = [node(1, 2), node(2, 2)];
    let table = next(None, &nodes).table;
    let again = Situation { restarted: Some((NodeId(2), Epoch(1))), ..situation(Some(&table), &nodes) };
    let renewed = plan(&again).unwrap();
    assert_eq!(renewed.moved, 0);
    for (old, new) in table.tenures.iter().zip(&renewed.table.tenures) {
        let since = if old.owner.node() == NodeId(2) { Epoch(2) } else { Epoch(1) };
        assert_eq!(*new, Tenure { owner: old.owner, since });
    }
    let once_more = Situation { table: Some(&renewed.table), ..again };
    assert_eq!(plan(&once_more), None, "what was renewed is not renewed again");
}

#[test]
fn where_nobody_is_left_nobody_has_anything_and_the_last_to_be_emptied_keeps_all() {
    let mut nodes = vec![node(1, 2)];
    let table = next(None, &nodes).table;
    let empty = plan(&situation(Some(&table), &[])).unwrap();
    assert!(empty.table.tenures.iter().all(|tenure| tenure.owner == RouterId::NOBODY));
    assert_eq!(plan(&situation(Some(&empty.table), &[])), None);
    let back = next(Some(&empty.table), &nodes);
    assert_eq!(back.moved, usize::from(SLOTS));
    nodes[0].draining = true;
    assert_eq!(plan(&situation(Some(&back.table), &nodes)).unwrap().moved, 0);
}
