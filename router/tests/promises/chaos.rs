//! Any interleaving, from a seed: clients, slow and failing stores, full mailboxes. Dense order everywhere, every request
//! answered once, every ack found in the log, and after the faults everything comes to rest.

use std::collections::BTreeMap;

use protocol::envelope::{Actor, Caller, Change, GatewayId, Lane, ToGateway, ToRouter};
use protocol::event::{Event, Role};
use protocol::frame::Range;
use protocol::id::{ClientId, ConversationKey, DeviceId, UserId};
use router::{Completion, Settings};
use storage::request::{Failure, Outcome, Request};

use crate::world::{Fate, World, actor, draft, message, user};

/// Chance from a seed (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

const GATEWAYS: u32 = 3;
const NAMES: [&str; 6] = ["olga", "mona", "alice", "bob", "rita", "stranger"];

/// What a gateway shard makes of what it gets: a room that takes only the next event, and pulls what is missing.
#[derive(Default)]
struct Room {
    last: Option<u64>,
    pulling: bool,
}

/// A send: where, by whom, under which id.
type Sent = (ConversationKey, String, String);

struct Chaos {
    world: World,
    chance: Chance,
    rooms: Vec<ConversationKey>,
    seen: BTreeMap<(GatewayId, ConversationKey), Room>,
    /// Requests without an answer, by reference; for a send also what was sent.
    open: BTreeMap<i64, (Caller, Option<Sent>)>,
    acks: Vec<(Sent, u64)>,
    sent: u64,
    taken: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let settings = Settings {
            held_members_min: 2,
            conversations_idle_max: chance.below(4) as u32,
            members_max: chance.pick(&[1, 1_000_000]),
            recent_bytes_max: chance.pick(&[0, 3_000, 1 << 20]),
            ..Settings::default()
        };
        let mut world = World::with(1 + chance.below(3) as u16, settings);
        let rooms = (0..4).map(|number| world.group(&format!("room{number}"))).collect();
        world.mail.clear();
        Self {
            world,
            chance,
            rooms,
            seen: BTreeMap::new(),
            open: BTreeMap::new(),
            acks: Vec::new(),
            sent: 0,
            taken: 0,
        }
    }

    fn caller(&mut self) -> Caller {
        let gateway = GatewayId(self.chance.below(u64::from(GATEWAYS)) as u32);
        self.world.caller(gateway)
    }

    fn ask(&mut self, caller: Caller, request: ToRouter) {
        self.open.insert(caller.reference, (caller, None));
        self.world.send(request);
    }

    fn client(&mut self) {
        let key = self.chance.pick(&self.rooms);
        let who = self.chance.pick(&NAMES);
        let caller = self.caller();
        match self.chance.below(12) {
            0..=4 => self.append(caller, who, key),
            5 => self.attach(caller, who, key),
            6 => self.detach(caller.gateway, key),
            7 => {
                let range = match self.chance.below(5) {
                    0 => Range::Newest,
                    1 => Range::Before(self.chance.below(50)),
                    2 => Range::After(self.chance.below(50)),
                    3 => Range::Around(self.chance.below(50)),
                    _ => Range::Since(self.chance.below(2) * self.world.now.unix_ms),
                };
                let limit = 1 + self.chance.below(60) as u16;
                self.ask(
                    caller,
                    ToRouter::History { caller, actor: actor(who), conversation: key, range, limit },
                );
            }
            8 => self.change(caller, key),
            9 => {
                let device = DeviceId::parse("d").unwrap();
                let read = Some(self.chance.below(50));
                self.world.send(ToRouter::Mark {
                    actor: actor(who),
                    device,
                    conversation: key,
                    received: read,
                    read,
                });
            }
            10 => {
                let on = self.chance.one_in(2);
                self.world.send(ToRouter::Typing { actor: actor(who), conversation: key, on });
            }
            _ => self.session(caller, who),
        }
    }

    fn append(&mut self, caller: Caller, who: &str, key: ConversationKey) {
        self.sent += 1;
        // Sometimes the id of an earlier send again: a retry.
        let number = if self.chance.one_in(4) { self.chance.below(self.sent) } else { self.sent };
        let id = format!("{number}");
        let draft = draft(&key, who, &id, message(&id));
        self.open.insert(caller.reference, (caller, Some((key, who.to_owned(), id))));
        let actor: Actor = actor(who);
        self.world.send(ToRouter::Append { caller, actor, conversation: key, draft, lamport: number });
    }

    fn attach(&mut self, caller: Caller, who: &str, key: ConversationKey) {
        let items: Vec<_> = self
            .rooms
            .iter()
            .filter(|other| self.world.shards.len() == 1 || **other == key)
            .map(|key| protocol::envelope::AttachItem { conversation: key.conversation, listed: None })
            .collect();
        self.ask(caller, ToRouter::Attach { caller, actor: actor(who), items: items.into() });
    }

    /// A gateway shard's last member leaves a room. One that waits for an attach of its own does not say so.
    fn detach(&mut self, gateway: GatewayId, key: ConversationKey) {
        let busy = self.open.values().any(|(caller, append)| caller.gateway == gateway && append.is_none());
        if !busy && self.seen.remove(&(gateway, key)).is_some() {
            self.world.send(ToRouter::Detach { gateway, conversation: key });
        }
    }

    fn change(&mut self, caller: Caller, key: ConversationKey) {
        let who = self.chance.pick(&["olga", "mona", "bob"]);
        let whom = UserId::parse(self.chance.pick(&["bob", "rita", "carl"])).unwrap();
        let role = self.chance.pick(&[Role::Reader, Role::Member]);
        let change = match self.chance.below(4) {
            0 => Change::Join { user: whom, role },
            1 => Change::Leave { user: whom },
            2 => Change::Role { user: whom, role },
            _ => Change::Title { title: Some(format!("{}", self.sent).into()) },
        };
        let id = ClientId::parse(format!("change{}", caller.reference)).unwrap();
        self.ask(
            caller,
            ToRouter::Change { caller, actor: actor(who), conversation: key, id, change, lamport: 0 },
        );
    }

    fn session(&mut self, caller: Caller, who: &str) {
        let caller = Caller { connection: caller.reference as u64, ..caller };
        match self.chance.below(3) {
            0 => {
                let device = DeviceId::parse(self.chance.pick(&["phone", "laptop"])).unwrap();
                self.ask(caller, ToRouter::SessionOpen { caller, user: user(who), device, again: false });
            }
            1 => {
                let connection = self.chance.below(caller.connection + 1);
                let normal = self.chance.one_in(2);
                for gateway in (0..GATEWAYS).map(GatewayId) {
                    let caller = Caller { gateway, connection, reference: 0 };
                    self.world.send(ToRouter::SessionClose { caller, user: user(who), normal });
                }
            }
            _ => self.world.send(ToRouter::Watch { gateway: caller.gateway, users: [user(who)].into() }),
        }
    }

    fn faults(&mut self) {
        self.world.fate = match self.chance.below(12) {
            0 => Fate::DoneUnknown,
            1 => Fate::Failed(Failure::Unknown),
            2 => Fate::Failed(Failure::Unavailable),
            _ => Fate::Done,
        };
        self.world.store_full = self.chance.one_in(10);
        self.world.routers_full = self.chance.one_in(6);
        for gateway in (0..GATEWAYS).map(GatewayId) {
            match self.chance.below(20) {
                0 => self.world.full.insert(gateway, Lane::Ephemeral),
                1 => self.world.full.insert(gateway, Lane::Publish),
                2 => self.world.full.insert(gateway, Lane::Required),
                3..=8 => self.world.full.remove(&gateway),
                _ => None,
            };
        }
    }

    fn step(&mut self) {
        match self.chance.below(10) {
            0..=3 => self.client(),
            4..=5 => self.world.turn(),
            6..=7 if !self.world.store.is_empty() => {
                let index = self.chance.below(self.world.store.len() as u64) as usize;
                self.world.do_request(index);
            }
            8 => self.faults(),
            _ => {
                self.world.now.monotonic_ms += self.chance.below(40);
                self.world.now.unix_ms += self.chance.below(40);
                for number in 0..self.world.shards.len() {
                    self.world.handle(self.world.ids[number], Completion::Tick);
                }
            }
        }
        self.take_mail();
    }

    /// What the gateway shards do with what they got.
    fn take_mail(&mut self) {
        let mail: Vec<_> = self.world.mail.drain(..).collect();
        self.taken += mail.len();
        for (gateway, envelope) in mail {
            self.close_request(&envelope);
            match envelope {
                ToGateway::Attached { tenant, items, .. } => {
                    for item in items {
                        let key = ConversationKey { tenant, conversation: item.conversation };
                        if let Some(state) = item.state {
                            let room = self.seen.entry((gateway, key)).or_default();
                            assert!(room.last.is_none_or(|last| last <= state.head || room.pulling));
                            room.last.get_or_insert(state.head);
                            self.pull(gateway, key, state.head);
                        }
                    }
                }
                ToGateway::Publish { conversation, events } => {
                    self.take_publish(gateway, conversation, &events)
                }
                ToGateway::Head { conversation, head } => self.pull(gateway, conversation, head),
                ToGateway::Backlog { conversation, events, head, refused, .. } => {
                    let Some(room) = self.seen.get_mut(&(gateway, conversation)) else { continue };
                    room.pulling = false;
                    assert!(refused.is_some() || events.len() as u64 <= head);
                    self.take_events(gateway, conversation, &events);
                    self.pull(gateway, conversation, head);
                }
                ToGateway::Page { events, head, .. } => {
                    let seqs: Vec<_> = events.iter().map(Event::seq).collect();
                    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "pages are dense");
                    assert!(seqs.last().is_none_or(|&last| last <= head));
                }
                _ => {}
            }
        }
    }

    fn close_request(&mut self, envelope: &ToGateway) {
        let Some(caller) = envelope.caller() else { return };
        if caller.reference == 0 {
            return;
        }
        let (asked, append) = self.open.remove(&caller.reference).expect("answered once");
        assert_eq!(asked.gateway, caller.gateway);
        if let (ToGateway::Appended { seq, .. }, Some((key, sender, id))) = (envelope, append) {
            assert_ne!(sender, "stranger");
            self.acks.push(((key, sender, id), *seq));
        }
    }

    fn take_publish(&mut self, gateway: GatewayId, key: ConversationKey, events: &[Event]) {
        let Some(last) = self.seen.get(&(gateway, key)).and_then(|room| room.last) else { return };
        let first = events[0].seq();
        assert!(events.windows(2).all(|pair| pair[0].seq() + 1 == pair[1].seq()), "publishes are dense");
        if first > last + 1 {
            return self.pull(gateway, key, first);
        }
        self.take_events(gateway, key, events);
    }

    fn take_events(&mut self, gateway: GatewayId, key: ConversationKey, events: &[Event]) {
        let room = self.seen.get_mut(&(gateway, key)).expect("a room");
        for event in events {
            let last = room.last.expect("attached");
            if event.seq() == last + 1 {
                room.last = Some(event.seq());
            }
        }
    }

    fn pull(&mut self, gateway: GatewayId, key: ConversationKey, head: u64) {
        let Some(room) = self.seen.get_mut(&(gateway, key)) else { return };
        let Some(last) = room.last.filter(|&last| last < head && !room.pulling) else { return };
        room.pulling = true;
        let caller = Caller { gateway, connection: 0, reference: 0 };
        self.world.send(ToRouter::Backlog { caller, conversation: key, after: last, limit: 20 });
    }

    /// The faults end, and everything comes to rest.
    fn calm(&mut self) {
        self.world.fate = Fate::Done;
        self.world.store_full = false;
        self.world.routers_full = false;
        self.world.full.clear();
        for _ in 0..60 {
            self.world.pass(500);
            self.take_mail();
        }
        self.world.settle();
        self.world.assert_idle();
        assert!(self.open.is_empty(), "unanswered: {:?}", self.open.values().next());
    }

    fn check(&mut self) {
        for key in self.rooms.clone() {
            let (bytes_max, range, limit) = (10_000_000, Range::After(0), 200);
            let mut log = Vec::new();
            loop {
                let range = if log.is_empty() { range } else { Range::After(log.len() as u64) };
                let request = Request::Page { conversation: key, range, limit, bytes_max };
                let Outcome::Page { events, more, .. } = storage::run(&mut self.world.engine, request) else {
                    panic!("a page")
                };
                log.extend(events);
                if !more {
                    break;
                }
            }
            for ((gateway, room_key), room) in &self.seen {
                if *room_key == key {
                    assert_eq!(room.last, Some(log.len() as u64), "{gateway:?} has all of {key:?}");
                }
            }
            let mut ids = BTreeMap::new();
            for event in &log {
                let view = event.view();
                let id = (view.sender.to_string(), view.id.to_string());
                assert!(ids.insert(id, event.seq()).is_none(), "stored once");
            }
            for ((_, sender, id), seq) in self.acks.iter().filter(|ack| ack.0.0 == key) {
                assert_eq!(ids.get(&(sender.clone(), id.clone())), Some(seq), "every ack is in the log");
            }
        }
    }
}

fn run(seed: u64) -> (usize, usize) {
    let mut chaos = Chaos::new(seed);
    for _ in 0..1_500 {
        chaos.step();
    }
    chaos.calm();
    chaos.check();
    (chaos.acks.len(), chaos.taken)
}

#[test]
fn any_interleaving_keeps_every_promise() {
    let mut acks = 0;
    for seed in 0..60 {
        let done = std::panic::catch_unwind(|| run(seed));
        acks += done.unwrap_or_else(|_| panic!("seed {seed} fails: run(seed) alone repeats it")).0;
    }
    assert!(acks > 2_000, "the seeds did real work: {acks} acks");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    assert_eq!(run(12_345), run(12_345));
}
