//! Any interleaving, from a seed, in a cluster: tables that change at random moments and reach each shard at another, slots
//! that come back, gateway shards that go, stores that fail. Whoever asks in a cluster asks again what is misplaced, and
//! anew what moved: then every request is answered, every ack is in the log once, each sender's sends are in their order where nothing is refused,
//! every room has all of its log in the end, and no shard holds what is not its own.

use std::collections::BTreeMap;

use protocol::envelope::{AttachItem, Caller, Change, GatewayId, Lane, ToGateway, ToRouter};
use protocol::event::{Event, Role};
use protocol::frame::Range;
use protocol::id::{ClientId, ConversationKey, DeviceId, UserId};
use protocol::placement::Slot;
use router::{Completion, Settings};
use storage::request::{Failure, Outcome, Request};

use crate::chaos::Chance;
use crate::cluster::shard;
use crate::world::{Fate, World, actor, draft, message, server, user};

const GATEWAYS: usize = 3;
const NAMES: [&str; 4] = ["olga", "mona", "alice", "bob"];

/// Where a gateway shard's room stands; its number is that of the attach under way.
#[derive(Default)]
struct Room {
    last: Option<u64>,
    pulling: bool,
}

/// A send: by which gateway shard, where, by whom, and the how manieth.
type Sent = (GatewayId, ConversationKey, &'static str, u64);

struct Moves {
    world: World,
    chance: Chance,
    /// True: the store never fails. Then each sender's sends are in their order; a refusal that was under way when a slot
    /// moved may be lost, and what it had refused is sent behind what came after it.
    reliable: bool,
    /// How many nodes there are.
    nodes: u16,
    rooms: Vec<ConversationKey>,
    gateways: Vec<GatewayId>,
    next_gateway: u32,
    /// The table that the gateway shards follow.
    table: std::sync::Arc<protocol::placement::Table>,
    seen: BTreeMap<(GatewayId, ConversationKey), Room>,
    /// Unanswered requests by their number; true: misplaced, and not asked again yet.
    open: BTreeMap<i64, (ToRouter, Option<Sent>, bool)>,
    acks: Vec<(Sent, u64)>,
    sent: u64,
}

impl Moves {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let settings = Settings {
            held_members_min: 2,
            conversations_idle_max: chance.below(4) as u32,
            recent_bytes_max: chance.pick(&[0, 3_000, 1 << 20]),
            ..Settings::default()
        };
        let reliable = chance.one_in(2);
        let nodes = 1 + chance.below(3) as u16;
        let mut world = World::cluster(nodes, settings);
        let rooms = (0..5).map(|number| world.group(&format!("room{number}"))).collect();
        world.mail.clear();
        let table = world.table.clone();
        let gateways = (0..GATEWAYS as u32).map(|number| GatewayId(GatewayId::REMOTE.0 + number)).collect();
        let next_gateway = GatewayId::REMOTE.0 + GATEWAYS as u32;
        let (seen, open, acks) = Default::default();
        Self {
            world,
            chance,
            reliable,
            nodes,
            rooms,
            gateways,
            next_gateway,
            table,
            seen,
            open,
            acks,
            sent: 0,
        }
    }

    /// Sends a request to the owner by the gateways' table, unless there is one of its slot that waits to be asked again.
    fn ask(&mut self, request: ToRouter, sent: Option<Sent>) {
        let number = number_of(&request);
        let slot = request.slot();
        let waits = self.open.values().any(|(other, _, misplaced)| *misplaced && other.slot() == slot);
        self.open.insert(number, (request.clone(), sent, waits));
        if !waits {
            self.give(request);
        }
    }

    fn give(&mut self, envelope: ToRouter) {
        let owner = self.table.owner(envelope.slot().expect("about somebody"));
        if self.world.number(owner).is_some() {
            let epoch = self.table.epoch;
            self.world.handle(owner, Completion::Routed(epoch, envelope));
        }
    }

    /// Asks again, in their order and under new numbers, the unanswered requests that this picks.
    fn ask_again(&mut self, picks: impl Fn(&ToRouter, bool) -> bool) {
        let numbers: Vec<i64> =
            self.open.iter().filter(|(_, open)| picks(&open.0, open.2)).map(|(&n, _)| n).collect();
        for number in numbers {
            let (mut request, sent, _) = self.open.remove(&number).expect("open");
            self.world.references += 1;
            renumber(&mut request, self.world.references);
            self.open.insert(self.world.references, (request.clone(), sent, false));
            self.give(request);
        }
    }

    fn client(&mut self) {
        let gateway = self.chance.pick(&self.gateways);
        let caller = self.world.caller(gateway);
        let (key, who) = (self.chance.pick(&self.rooms), self.chance.pick(&NAMES));
        let device = DeviceId::parse(self.chance.pick(&["phone", "laptop"])).unwrap();
        let actor = actor(who);
        match self.chance.below(12) {
            0..=4 => {
                self.sent += 1;
                let id = format!("{}", self.sent);
                let draft = draft(&key, who, &id, message(&id));
                let append = ToRouter::Append { caller, actor, conversation: key, draft, lamport: 0 };
                self.ask(append, Some((gateway, key, who, self.sent)));
            }
            5 => self.attach(gateway, key),
            6 => {
                let (range, limit) = (Range::Newest, 20);
                self.ask(ToRouter::History { caller, actor, conversation: key, range, limit }, None);
            }
            7 => {
                let user = UserId::parse("carl").unwrap();
                let change = match self.chance.one_in(2) {
                    true => Change::Join { user, role: Role::Member },
                    false => Change::Leave { user },
                };
                let id = ClientId::parse(format!("change{}", caller.reference)).unwrap();
                let actor = server();
                self.ask(ToRouter::Change { caller, actor, conversation: key, id, change, lamport: 0 }, None);
            }
            8 => {
                let read = Some(self.chance.below(50));
                let to = self.chance.below(u64::from(self.nodes)) as u16;
                let mark = ToRouter::Mark { actor, device, conversation: key, received: read, read };
                self.world.send_to(shard(to), mark);
            }
            9 => self.give(ToRouter::Typing { actor, conversation: key, on: true }),
            10 => self.give(ToRouter::Watch { gateway, users: [user(who)].into() }),
            _ => {
                let again = self.chance.one_in(2);
                let caller = Caller { connection: caller.reference as u64, ..caller };
                self.ask(ToRouter::SessionOpen { caller, user: user(who), device, again }, None);
            }
        }
    }

    fn attach(&mut self, gateway: GatewayId, key: ConversationKey) {
        let caller = self.world.caller(gateway);
        let owner = self.table.owner(Slot::of_conversation(&key));
        let mine = |other: &&ConversationKey| self.table.owner(Slot::of_conversation(other)) == owner;
        let all = self.chance.one_in(2);
        let rooms = self.rooms.iter().filter(|other| **other == key || all).filter(mine);
        let items: Vec<_> =
            rooms.map(|key| AttachItem { conversation: key.conversation, listed: None }).collect();
        self.ask(ToRouter::Attach { caller, actor: server(), items: items.into() }, None);
    }

    /// Slots get other owners, or the same anew.
    fn place(&mut self) {
        let (share, turn) = (1 + self.chance.below(4) as u16, self.chance.below(7) as u16);
        let nodes = self.nodes;
        self.world.place(|slot| (slot.0 % share == 0).then(|| shard((slot.0 / share + turn) % nodes)));
    }

    /// The gateway shards get the newest table, if all router shards have it: no link would be read before.
    fn follow(&mut self) {
        let newest = self.world.table.clone();
        if newest.epoch == self.table.epoch || self.world.told.iter().any(|&told| told < newest.epoch) {
            return;
        }
        let older = std::mem::replace(&mut self.table, newest.clone());
        let moved = |slot: Slot| older.tenure(slot) != newest.tenure(slot);
        let moves = |request: &ToRouter| match request {
            // Lists are sorted anew: here they just come back as misplaced and are split.
            ToRouter::Attach { actor, items, .. } => items.iter().any(|item| {
                let (tenant, conversation) = (actor.key.tenant, item.conversation);
                moved(Slot::of_conversation(&ConversationKey { tenant, conversation }))
            }),
            request => request.slot().is_some_and(moved),
        };
        self.split_attaches();
        self.ask_again(|request, misplaced| misplaced || moves(request));
        let rooms: Vec<_> = self.seen.keys().copied().collect();
        for (gateway, key) in rooms.into_iter().filter(|(_, key)| moved(Slot::of_conversation(key))) {
            self.seen.get_mut(&(gateway, key)).expect("a room").pulling = false;
            self.announce(gateway, key);
        }
    }

    fn announce(&mut self, gateway: GatewayId, key: ConversationKey) {
        let caller = self.world.caller(gateway);
        let items = [AttachItem { conversation: key.conversation, listed: None }].into();
        self.ask(ToRouter::Attach { caller, actor: server(), items }, None);
    }

    /// Attaches over several conversations become one each.
    fn split_attaches(&mut self) {
        let attaches =
            self.open.iter().filter(|(_, (request, ..))| matches!(request, ToRouter::Attach { .. }));
        let numbers: Vec<i64> = attaches.map(|(&number, _)| number).collect();
        for number in numbers {
            let (request, ..) = self.open.remove(&number).expect("open");
            let ToRouter::Attach { caller, actor, items } = request else { unreachable!() };
            for item in &items {
                let caller = self.world.caller(caller.gateway);
                let request = ToRouter::Attach { caller, actor, items: [*item].into() };
                self.open.insert(caller.reference, (request, None, true));
            }
        }
    }

    /// A gateway shard's link ends; a new one takes its seat.
    fn lose_gateway(&mut self) {
        let seat = self.chance.below(GATEWAYS as u64) as usize;
        let gone = std::mem::replace(&mut self.gateways[seat], GatewayId(self.next_gateway));
        self.next_gateway += 1;
        for id in self.world.ids.clone() {
            self.world.handle(id, Completion::Envelope(ToRouter::GatewayGone { gateway: gone }));
        }
        self.open.retain(|_, (request, ..)| request.gateway() != Some(gone));
        self.seen.retain(|(gateway, _), _| *gateway != gone);
        self.world.full.remove(&gone);
        self.world.mail.retain(|(gateway, _)| *gateway != gone);
    }

    fn faults(&mut self) {
        self.world.fate = match self.chance.below(16) {
            0 if !self.reliable => Fate::DoneUnknown,
            1 if !self.reliable => Fate::Failed(Failure::Unavailable),
            _ => Fate::Done,
        };
        self.world.store_full = self.chance.one_in(12) && !self.reliable;
        self.world.routers_full = self.chance.one_in(6);
        let gateway = self.chance.pick(&self.gateways);
        let lane = self.chance.pick(&[Lane::Ephemeral, Lane::Publish, Lane::Required]);
        if self.chance.one_in(4) {
            self.world.full.insert(gateway, lane);
        } else {
            self.world.full.remove(&gateway);
        }
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=6 => self.client(),
            7..=10 => self.world.turn(),
            11..=14 if !self.world.store.is_empty() => {
                let index = self.chance.below(self.world.store.len() as u64) as usize;
                self.world.do_request(index);
            }
            15 => self.faults(),
            16 if self.chance.one_in(3) => self.place(),
            17 => {
                let number = self.chance.below(u64::from(self.nodes)) as usize;
                self.world.tell_table(number);
            }
            18 => self.follow(),
            19 if self.chance.one_in(8) => self.lose_gateway(),
            _ => {
                self.world.now.monotonic_ms += self.chance.below(40);
                self.world.now.unix_ms += self.chance.below(40);
                for id in self.world.ids.clone() {
                    self.world.handle(id, Completion::Tick);
                }
            }
        }
        self.take_mail();
    }

    fn take_mail(&mut self) {
        let mail: Vec<_> = self.world.mail.drain(..).collect();
        for (gateway, envelope) in mail {
            assert!(self.gateways.contains(&gateway), "nothing is told to who is gone: {envelope:?}");
            if let Some(caller) = envelope.caller()
                && !self.close_request(&caller, &envelope)
            {
                continue;
            }
            match envelope {
                ToGateway::Attached { tenant, items, refused, .. } => {
                    for item in items {
                        let key = ConversationKey { tenant, conversation: item.conversation };
                        if refused.is_some() && self.seen.contains_key(&(gateway, key)) {
                            self.announce(gateway, key);
                        }
                        if let Some(state) = item.state {
                            self.seen.entry((gateway, key)).or_default().last.get_or_insert(state.head);
                            self.pull(gateway, key, state.head);
                        }
                    }
                }
                ToGateway::Publish { conversation, events } => {
                    let seqs: Vec<_> = events.iter().map(Event::seq).collect();
                    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "publishes are dense");
                    self.take_events(gateway, conversation, &events);
                    self.pull(gateway, conversation, *seqs.last().expect("never empty"));
                }
                ToGateway::Head { conversation, head } => self.pull(gateway, conversation, head),
                ToGateway::Backlog { conversation, events, head, refused, .. } => {
                    if let Some(room) = self.seen.get_mut(&(gateway, conversation)) {
                        room.pulling = false;
                        self.take_events(gateway, conversation, &events);
                        // Refused: it is tried again.
                        self.pull(gateway, conversation, if refused.is_some() { u64::MAX } else { head });
                    }
                }
                _ => {}
            }
        }
    }

    /// False: an answer that nobody waits for any more.
    fn close_request(&mut self, caller: &Caller, envelope: &ToGateway) -> bool {
        let Some(open) = self.open.get_mut(&caller.reference) else { return false };
        if let ToGateway::Misplaced { .. } = envelope {
            assert!(!std::mem::replace(&mut open.2, true), "told once");
            return false;
        }
        let (request, sent, misplaced) = self.open.remove(&caller.reference).expect("open");
        assert!(!misplaced, "what was misplaced is not answered: {request:?} {envelope:?}");
        if let (ToGateway::Appended { seq, .. }, Some(sent)) = (envelope, sent) {
            self.acks.push((sent, *seq));
        }
        true
    }

    fn take_events(&mut self, gateway: GatewayId, key: ConversationKey, events: &[Event]) {
        let Some(room) = self.seen.get_mut(&(gateway, key)) else { return };
        for event in events {
            if room.last == Some(event.seq() - 1) {
                room.last = Some(event.seq());
            }
        }
    }

    fn pull(&mut self, gateway: GatewayId, key: ConversationKey, head: u64) {
        let Some(room) = self.seen.get_mut(&(gateway, key)) else { return };
        let Some(after) = room.last.filter(|&last| last < head && !room.pulling) else { return };
        room.pulling = true;
        let caller = self.world.caller(gateway);
        self.ask(ToRouter::Backlog { caller, conversation: key, after, limit: 20 }, None);
    }

    /// The faults end, every table arrives, and everything comes to rest.
    fn calm(&mut self) {
        self.world.fate = Fate::Done;
        (self.world.store_full, self.world.routers_full) = (false, false);
        self.world.full.clear();
        (0..self.world.shards.len()).for_each(|number| self.world.tell_table(number));
        self.take_mail();
        self.follow();
        for _ in 0..40 {
            self.world.pass(500);
            self.take_mail();
            self.split_attaches();
            self.ask_again(|_, misplaced| misplaced);
        }
        self.world.settle();
        self.take_mail();
        assert!(self.open.is_empty(), "unanswered: {:?}", self.open.values().next());
        self.world.assert_idle();
    }

    fn check(&mut self) {
        for key in self.rooms.clone() {
            let mut log: Vec<Event> = Vec::new();
            loop {
                let (range, limit) = (Range::After(log.len() as u64), 200);
                let request = Request::Page { conversation: key, range, limit, bytes_max: 10_000_000 };
                let outcome = storage::run(&mut self.world.engine, request);
                let Outcome::Page { events, more, .. } = outcome else { panic!("a page") };
                log.extend(events);
                if !more {
                    break;
                }
            }
            for ((gateway, other), room) in &self.seen {
                assert!(
                    *other != key || room.last == Some(log.len() as u64),
                    "{gateway:?} has all of {key:?}"
                );
            }
            let id = |event: &Event| (event.view().sender.to_string(), event.view().id.to_string());
            let seqs: BTreeMap<_, _> = log.iter().map(|event| (id(event), event.seq())).collect();
            assert_eq!(seqs.len(), log.len(), "stored once");
            let mut newest: BTreeMap<(GatewayId, &str), u64> = BTreeMap::new();
            let mut acks: Vec<_> = self.acks.iter().filter(|((_, other, ..), _)| *other == key).collect();
            acks.sort_by_key(|((_, _, _, number), _)| *number);
            for ((gateway, _, who, number), seq) in acks {
                assert_eq!(
                    seqs.get(&((*who).to_owned(), number.to_string())),
                    Some(seq),
                    "an ack is in the log"
                );
                let last = newest.insert((*gateway, who), *seq).unwrap_or(0);
                assert!(last < *seq || !self.reliable, "what a sender sent first is first: {who} {number}");
            }
        }
    }
}

fn number_of(request: &ToRouter) -> i64 {
    let mut request = request.clone();
    caller_mut(&mut request).reference
}

fn renumber(request: &mut ToRouter, number: i64) {
    caller_mut(request).reference = number;
}

fn caller_mut(request: &mut ToRouter) -> &mut Caller {
    match request {
        ToRouter::Append { caller, .. }
        | ToRouter::History { caller, .. }
        | ToRouter::Backlog { caller, .. }
        | ToRouter::Attach { caller, .. }
        | ToRouter::Change { caller, .. }
        | ToRouter::SessionOpen { caller, .. } => caller,
        other => panic!("not asked here: {other:?}"),
    }
}

fn run(seed: u64) -> (usize, u64) {
    let mut moves = Moves::new(seed);
    for _ in 0..1_500 {
        moves.step();
    }
    moves.calm();
    moves.check();
    let misplaced = moves.world.shards.iter().map(|shard| shard.counters().misplaced).sum();
    (moves.acks.len(), misplaced)
}

#[test]
fn any_interleaving_of_moves_keeps_every_promise() {
    let (mut acks, mut misplaced) = (0, 0);
    for seed in 0..60 {
        let done = std::panic::catch_unwind(|| run(seed));
        let done = done.unwrap_or_else(|_| panic!("seed {seed} fails: run(seed) alone repeats it"));
        (acks, misplaced) = (acks + done.0, misplaced + done.1);
    }
    assert!(acks > 2_000 && misplaced > 1_000, "the seeds did real work: {acks} acks, {misplaced} misplaced");
}

#[test]
fn the_same_seed_gives_the_same_moves() {
    assert_eq!(run(4_711), run(4_711));
}
