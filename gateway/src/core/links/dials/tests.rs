//! Whom a core dials, without anybody who is dialled.

use protocol::link::{Greeting, VERSION, VERSION_OLDEST};
use protocol::placement::{Epoch, RouterNode};
use protocol::time::Now;

use super::*;
use crate::link::{ClusterKey, Common};

const REFUSED: Reason = Reason::Socket(111);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn table(epoch: u64, nodes: &[(u16, u16)]) -> Arc<Table> {
    let node = |&(id, port): &(u16, u16)| RouterNode {
        id: NodeId(id),
        name: format!("router-{id}").into(),
        address: address(port),
        cores: 1,
        draining: false,
    };
    Arc::new(Table { epoch: Epoch(epoch), nodes: nodes.iter().map(node).collect(), ..Table::empty() })
}

/// The dials of a gateway node's core, and sockets for them.
struct World {
    dials: Dials,
    common: Common,
    sockets: u32,
    now_ms: u64,
}

impl World {
    fn new(seeds: &[u16]) -> Self {
        Self::of_node(NodeId::NONE, seeds)
    }

    fn of_node(own: NodeId, seeds: &[u16]) -> Self {
        let greeting = Greeting {
            oldest: VERSION_OLDEST,
            newest: VERSION,
            node: own,
            core: 0,
            cores: 1,
            incarnation: 1,
            name: "this".into(),
        };
        let common = Common::new(ClusterKey::new(&[7; 32]).unwrap(), greeting);
        let mut world = Self { dials: Dials::new(own, 5), common, sockets: 0, now_ms: 1_000 };
        world.name(seeds);
        world
    }

    fn name(&mut self, seeds: &[u16]) {
        self.dials.follow_seeds(&seeds.iter().copied().map(address).collect::<Vec<_>>());
    }

    /// Whose links were to be ended is told of them.
    fn follow(&mut self, table: &Arc<Table>) -> usize {
        let gone = self.dials.let_go(table);
        for number in &gone {
            self.fail(*number, Reason::Socket(0));
        }
        let moved = self.dials.take_in(table);
        for number in &moved {
            self.fail(*number, Reason::Socket(0));
        }
        gone.len() + moved.len()
    }

    /// Everybody who is dialled now, by port.
    fn dial(&mut self) -> Vec<(Number, u16)> {
        let due = core::iter::from_fn(|| self.dials.next_due(self.now_ms));
        let mut dialled: Vec<_> = due.map(|(number, target)| (number, target.port())).collect();
        dialled.sort_unstable_by_key(|(_, port)| *port);
        dialled
    }

    fn ports(&mut self) -> Vec<u16> {
        self.dial().into_iter().map(|(_, port)| port).collect()
    }

    /// This node answers.
    fn answer(&mut self, number: Number, node: u16) -> bool {
        self.sockets += 1;
        let now = Now { monotonic_ms: self.now_ms, ..Now::default() };
        let wanted = self.dials.get(number).unwrap().node();
        let link = Link::dial(now, &mut self.common, wanted, [1; 32]);
        self.dials.connected(number, Token { slot: self.sockets, generation: 1 }, link);
        self.dials.proved(number, NodeId(node), self.now_ms)
    }

    fn fail(&mut self, number: Number, reason: Reason) -> Over {
        self.dials.over(number, reason, self.now_ms).unwrap()
    }

    /// Dials until this is all who is dialled at once, and returns them.
    fn dial_until(&mut self, ports: &[u16]) -> Vec<Number> {
        for _ in 0..100 {
            let dialled = self.dial();
            if dialled.iter().map(|(_, port)| *port).eq(ports.iter().copied()) {
                return dialled.into_iter().map(|(number, _)| number).collect();
            }
            for (number, _) in dialled {
                self.fail(number, REFUSED);
            }
            self.now_ms = self.dials.deadline().unwrap().max(self.now_ms);
        }
        panic!("never dialled: {ports:?}, but {:?}", self.dials);
    }
}

#[test]
fn whoever_is_named_is_dialled_until_one_answers_and_the_others_are_left_alone() {
    let mut world = World::new(&[1, 2]);
    let dialled = world.dial();
    assert_eq!(dialled.iter().map(|(_, port)| *port).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(world.dial(), [], "who is dialled is not dialled twice");
    let over = world.fail(dialled[0].0, REFUSED);
    assert_eq!((over.address, over.down, over.is_old), (address(1), None, false));
    assert!(world.answer(dialled[1].0, 7));
    world.now_ms += 60_000;
    assert_eq!(world.dial(), [], "who is linked tells the others");
    assert_eq!(world.dials.ready_count(), 1);
    let over = world.fail(dialled[1].0, Reason::Silent);
    assert_eq!(over.down, Some(NodeId(7)));
    world.now_ms += 60_000;
    assert_eq!(world.ports(), [1, 2]);
}

#[test]
fn dials_that_fail_come_later_and_later_and_never_later_than_two_seconds() {
    let mut world = World::new(&[1]);
    let mut pauses = Vec::new();
    for round in 0..12 {
        let dialled = world.dial();
        let over = world.fail(dialled[0].0, REFUSED);
        assert_eq!(over.is_old, round > 0, "told once");
        assert!(over.is_doubtful, "perhaps the name has another address by now");
        let due_ms = world.dials.deadline().unwrap();
        assert_eq!(world.dial(), []);
        pauses.push(due_ms - world.now_ms);
        world.now_ms = due_ms;
    }
    assert!((50..=100).contains(&pauses[0]) && (1_000..=2_000).contains(&pauses[11]), "{pauses:?}");
}

#[test]
fn a_dial_without_room_is_tried_again_soon() {
    let mut world = World::new(&[1]);
    let number = world.dial()[0].0;
    world.dials.put_off(number, world.now_ms);
    assert_eq!(world.dial(), []);
    world.now_ms += NO_ROOM_MS;
    assert_eq!(world.ports(), [1]);
}

#[test]
fn who_is_in_the_table_is_dialled_and_whoever_leaves_it_is_not() {
    let mut world = World::new(&[1]);
    let first = world.dial()[0].0;
    assert!(world.answer(first, 1));
    assert_eq!(world.follow(&table(1, &[(1, 1), (2, 2), (3, 3)])), 0);
    let dialled = world.dial();
    assert_eq!(dialled.iter().map(|(_, port)| *port).collect::<Vec<_>>(), [2, 3]);
    assert!(world.answer(dialled[0].0, 2));
    assert_eq!(world.follow(&table(2, &[(1, 1)])), 1, "the link to the second is ended");
    let over = world.fail(dialled[1].0, REFUSED);
    assert_eq!(over.down, None);
    world.now_ms += 60_000;
    assert_eq!(world.dial(), []);
    assert_eq!((world.dials.ready_count(), world.dials.dialled.len()), (1, 1));
}

#[test]
fn whoever_was_left_alone_is_dialled_as_soon_as_the_table_has_it() {
    let mut world = World::new(&[1]);
    let first = world.dial()[0].0;
    assert!(world.answer(first, 1));
    world.name(&[1, 2]);
    assert_eq!(world.dial(), [], "one is enough to be told a table");
    world.follow(&table(1, &[(1, 1), (2, 2)]));
    assert_eq!(world.ports(), [2]);
}

#[test]
fn a_node_never_dials_itself() {
    let mut world = World::of_node(NodeId(1), &[1, 2]);
    assert_eq!(world.follow(&table(1, &[(1, 1), (2, 2)])), 0);
    // It does not know that the first address is its own until it is told by itself.
    let dialled = world.dial();
    assert_eq!(dialled.len(), 2);
    assert!(!world.answer(dialled[0].0, 1));
    assert!(world.fail(dialled[0].0, Reason::Socket(0)).is_old, "that is nothing to tell");
    assert!(world.answer(dialled[1].0, 2));
    world.now_ms += 60_000;
    assert_eq!(world.dial(), []);
}

#[test]
fn a_node_that_two_addresses_lead_to_is_linked_once() {
    let mut world = World::new(&[1, 2]);
    let dialled = world.dial();
    assert!(world.answer(dialled[0].0, 9) && !world.answer(dialled[1].0, 9));
    let over = world.fail(dialled[1].0, Reason::Socket(0));
    assert_eq!(over.down, None, "the other link stays");
    assert_eq!(world.dials.of_node(NodeId(9)).unwrap().0, dialled[0].0);
    world.now_ms += 60_000;
    assert_eq!(world.dial(), []);
}

#[test]
fn a_node_that_moved_is_found_where_the_table_says() {
    let mut world = World::new(&[1]);
    let seed = world.dial()[0].0;
    assert!(world.answer(seed, 1));
    world.follow(&table(1, &[(1, 1), (2, 2)]));
    let second = world.dial()[0].0;
    assert!(world.answer(second, 2));
    // It starts again elsewhere: the link to where it was is of no use.
    assert_eq!(world.follow(&table(2, &[(1, 1), (2, 22)])), 1);
    assert_eq!(world.dials.ready_count(), 1);
    world.now_ms += 2_000;
    let again = world.dial();
    assert_eq!(again, [(second, 22)]);
    assert!(world.answer(second, 2));
    // The one that the configuration names moves too: its own address and the table's are tried by turns.
    world.fail(seed, Reason::Silent);
    world.follow(&table(3, &[(1, 11), (2, 22)]));
    let found = world.dial_until(&[11]);
    assert!(world.answer(found[0], 1));
    world.now_ms += 60_000;
    assert_eq!((world.dial(), world.dials.ready_count()), (Vec::new(), 2));
}

#[test]
fn another_node_at_a_named_address_is_taken_for_what_it_is() {
    let mut world = World::new(&[1]);
    let seed = world.dial()[0].0;
    assert!(world.answer(seed, 1));
    world.follow(&table(1, &[(1, 1)]));
    // The node is replaced by another at its address, and the table that says so can't come from anybody else.
    world.fail(seed, Reason::Socket(0));
    world.now_ms += 2_000;
    assert_eq!(world.ports(), [1]);
    assert_eq!(world.dials.get(seed).unwrap().node(), Some(NodeId(1)));
    world.fail(seed, Reason::OtherNode(NodeId(2)));
    world.now_ms += 2_000;
    assert_eq!(world.ports(), [1]);
    assert!(world.answer(seed, 2), "whoever is there is welcome");
    world.follow(&table(2, &[(2, 1)]));
    world.now_ms += 60_000;
    assert_eq!((world.dial(), world.dials.ready_count()), (Vec::new(), 1));
}

#[test]
fn a_node_of_the_table_is_looked_for_there_when_another_has_its_named_address() {
    let mut world = World::new(&[1]);
    let seed = world.dial()[0].0;
    assert!(world.answer(seed, 1));
    world.follow(&table(1, &[(1, 11), (2, 2)]));
    let second = world.dial()[0].0;
    assert!(world.answer(second, 2));
    world.fail(seed, Reason::Silent);
    let found = world.dial_until(&[1]);
    world.fail(found[0], Reason::OtherNode(NodeId(2)));
    let found = world.dial_until(&[11]);
    assert!(world.answer(found[0], 1));
    world.now_ms += 60_000;
    assert_eq!((world.dial(), world.dials.ready_count()), (Vec::new(), 2));
}

#[test]
fn whoever_was_left_alone_is_dialled_when_nobody_else_is_linked_any_more() {
    let mut world = World::new(&[1]);
    let first = world.dial()[0].0;
    assert!(world.answer(first, 1));
    world.name(&[1, 2]);
    assert_eq!(world.dial(), []);
    world.fail(first, Reason::Silent);
    assert_eq!(world.ports(), [2]);
}

#[test]
fn names_with_other_addresses_are_dialled_there() {
    let mut world = World::new(&[]);
    assert_eq!((world.dial(), world.dials.deadline()), (Vec::new(), None));
    world.name(&[1, 2]);
    let dialled = world.dial();
    world.fail(dialled[0].0, REFUSED);
    // The first is elsewhere by now; the second is being dialled, and then no more.
    world.name(&[3]);
    assert_eq!(world.ports(), [3]);
    world.fail(dialled[1].0, REFUSED);
    world.now_ms += 60_000;
    assert_eq!((world.dial(), world.dials.dialled.len()), (Vec::new(), 1));
}

#[test]
fn a_link_outlives_the_name_that_led_to_it() {
    let mut world = World::new(&[1]);
    let seed = world.dial()[0].0;
    assert!(world.answer(seed, 1));
    world.follow(&table(1, &[(1, 1)]));
    world.name(&[5]);
    world.now_ms += 60_000;
    assert_eq!((world.dial(), world.dials.ready_count()), (Vec::new(), 1));
    assert!(!world.fail(seed, Reason::Silent).is_doubtful);
    world.now_ms += 60_000;
    assert_eq!(world.ports(), [1, 5], "the table has it there still, and the name leads elsewhere");
}
