//! Whatever moves, breaks, comes late or comes twice: each send is answered once, what a connection sends to a conversation is stored in
//! order, each client's events are dense, and in the end each owner knows what is its own and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::shard::{Completion, Settings};
use protocol::envelope::ToGateway;
use protocol::frame::ClientLimits;
use protocol::placement::{NodeId, Slot, Table};
use ring::token::Token;
use serde_json::{Value, json};

use crate::fleet::{clustered, table, user_key};
use crate::wire::Frame;
use crate::world::{World, settings, token};

const USERS: [&str; 5] = ["u0", "u1", "u2", "u3", "u4"];
const CONVERSATIONS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

/// A conversation has all users but one.
fn is_member(user: &str, conversation: &str) -> bool {
    user[1..] != conversation[1..]
}

/// What one client has sent and heard.
#[derive(Default)]
struct Client {
    user: &'static str,
    sent: Vec<String>,
    answered: BTreeMap<String, u32>,
    last: BTreeMap<String, u64>,
    watches: bool,
    closed: bool,
}

struct Chaos {
    world: World,
    state: u64,
    /// The table that the routers follow and the shard was not told of.
    untold: Option<Arc<Table>>,
    nodes: Vec<u16>,
    clients: BTreeMap<u64, (Token, Client)>,
    sent: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let settings = Settings {
            limits: ClientLimits { sends_burst: 1_000_000, ..settings().limits },
            frames_burst: 1_000_000,
            heartbeat_ms: 10_000_000,
            router_queue_max: 24,
            outbox_bytes: 8 * 1024,
            ..clustered()
        };
        let mut world = World::cluster(settings, &[1, 2, 3], |slot| 1 + slot.0 % 3);
        for conversation in CONVERSATIONS {
            let members: Vec<_> = USERS.into_iter().filter(|user| is_member(user, conversation)).collect();
            world.owner.conversation(conversation, &members);
        }
        world.owner.fleet().held = true;
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        Self { world, state, untold: None, nodes: vec![1, 2, 3], clients: BTreeMap::new(), sent: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % end
    }

    fn client(&mut self) -> Option<Token> {
        let open: Vec<_> = self.clients.values().filter(|(_, client)| !client.closed).collect();
        if open.is_empty() {
            return None;
        }
        let tokens: Vec<_> = open.iter().map(|(token, _)| *token).collect();
        let at = self.below(tokens.len());
        Some(tokens[at])
    }

    fn step(&mut self) {
        match self.below(24) {
            0..=5 => self.send(),
            6..=12 => self.answer(),
            13 => self.come(),
            14 if self.below(4) == 0 => self.go(),
            15 => {
                let conversation = CONVERSATIONS[self.below(CONVERSATIONS.len())];
                let body = format!("b{}", self.below(1_000_000));
                self.world.owner.append(conversation, "bob", &body);
            }
            16 | 17 => {
                let pause_ms = if self.below(20) == 0 { 6_500 } else { 1 + self.below(400) as u64 };
                self.world.pass_ms(pause_ms);
            }
            18 => self.table(),
            19 => self.tell_table(),
            20 => self.link(),
            21 => self.world.mailbox_room = [None, None, Some(0), Some(2)][self.below(4)],
            22 => self.stall(),
            23 => self.watch(),
            _ => {}
        }
    }

    fn send(&mut self) {
        let Some(token) = self.client() else { return };
        let conversation = CONVERSATIONS[self.below(CONVERSATIONS.len())];
        let client = &mut self.clients.get_mut(&token.to_bits()).unwrap().1;
        if client.last.is_empty() || !is_member(client.user, conversation) {
            return;
        }
        let id = format!("{}-{:06}", client.user, self.sent);
        self.sent += 1;
        client.sent.push(id.clone());
        self.world.say(token, &json!({"op": "send", "id": id, "conversation": conversation, "body": "b"}));
    }

    fn watch(&mut self) {
        let Some(token) = self.client() else { return };
        let client = &mut self.clients.get_mut(&token.to_bits()).unwrap().1;
        if client.last.is_empty() {
            return;
        }
        client.watches = !client.watches;
        let op = if client.watches { "watch" } else { "unwatch" };
        self.world.say(token, &json!({"op": op, "users": ["w0", "w1"]}));
    }

    /// Delivers the next answers of some link, sometimes twice.
    fn answer(&mut self) {
        self.world.owner.sort();
        for _ in 0..1 + self.below(4) {
            let lanes = self.world.owner.fleet().lanes.len();
            if lanes == 0 {
                return;
            }
            let at = self.below(lanes);
            let lane = self.world.owner.fleet().lanes.values_mut().nth(at).unwrap();
            let Some(answer) = lane.pop_front() else { continue };
            let again = if self.below(3) == 0 { copy(&answer) } else { None };
            self.world.envelope(answer);
            if let Some(again) = again {
                self.world.envelope(again);
            }
        }
    }

    fn come(&mut self) {
        let taken: Vec<_> =
            self.clients.values().filter(|(_, c)| !c.closed).map(|(_, client)| client.user).collect();
        let Some(user) = USERS.into_iter().find(|user| !taken.contains(user)) else { return };
        let connection = self.world.websocket();
        self.world.say(connection, &json!({"op": "hello", "device": "d", "token": token(user)}));
        self.clients.insert(connection.to_bits(), (connection, Client { user, ..Client::default() }));
    }

    fn go(&mut self) {
        let Some(token) = self.client() else { return };
        self.hear();
        if !self.clients[&token.to_bits()].1.closed {
            self.world.end(token, 104);
            self.clients.get_mut(&token.to_bits()).unwrap().1.closed = true;
        }
    }

    fn stall(&mut self) {
        let Some(token) = self.client() else { return };
        let socket = self.world.socket(token);
        socket.stalled = !socket.stalled;
        self.world.run();
    }

    fn table(&mut self) {
        self.tell_table();
        let salt = self.below(1 << 20) as u16;
        if self.below(3) == 0 {
            self.nodes = (1..=4).filter(|_| self.below(3) > 0).collect();
            if self.nodes.is_empty() {
                self.nodes.push(2);
            }
        }
        let nodes = self.nodes.clone();
        let before = Arc::clone(&self.world.owner.fleet().table);
        let kept = self.below(2) as u16;
        let place = |slot: Slot| {
            let owner = before.owner(slot).node().0;
            if nodes.contains(&owner) && slot.0 % 2 == kept {
                return owner;
            }
            nodes[usize::from(slot.0.wrapping_mul(31).wrapping_add(salt)) % nodes.len()]
        };
        let newer = table(&before, &nodes, place);
        self.world.owner.follow(Arc::clone(&newer));
        self.untold = Some(newer);
        if self.below(2) == 0 {
            self.tell_table();
        }
    }

    fn tell_table(&mut self) {
        if let Some(table) = self.untold.take() {
            self.world.complete(Completion::Table(table));
            self.world.run();
        }
    }

    fn link(&mut self) {
        let node = 1 + self.below(4) as u16;
        let id = NodeId(node);
        let (cut, down) =
            (self.world.owner.fleet().cut.contains(&id), self.world.owner.fleet().down.contains(&id));
        match (cut, down, self.below(3)) {
            (false, _, 0) => self.world.owner.cut(id),
            (_, false, 1) => self.world.down(node),
            (true, ..) => self.world.up(node),
            _ => {}
        }
    }

    /// Notes what clients have heard.
    fn hear(&mut self) {
        for (token, client) in self.clients.values_mut() {
            if client.closed {
                continue;
            }
            for frame in self.world.take_frames(*token) {
                match frame {
                    Frame::Text(text) => client.hear(&serde_json::from_str(&text).unwrap()),
                    Frame::Close(code, _) => {
                        assert_eq!(code, 4503, "a hello that nobody answered");
                        assert!(client.last.is_empty());
                        client.closed = true;
                    }
                    _ => {}
                }
            }
            // One that was refused while it did not read is closed when the time for that is over.
            if self.world.socket(*token).closing && !client.closed {
                assert!(client.last.is_empty(), "a session is never closed");
                client.closed = true;
            }
        }
    }

    /// All is well again, and time passes.
    fn calm_down(&mut self) {
        self.tell_table();
        self.world.mailbox_room = None;
        for (_, socket) in self.world.sockets.values_mut() {
            socket.stalled = false;
        }
        self.world.owner.fleet().held = false;
        for node in 1..=4 {
            self.world.up(node);
        }
        self.world.pass_ms(20_000);
        self.hear();
    }

    fn check(&mut self) {
        assert_eq!(self.world.shard.counters().requests, 0);
        let heads: BTreeMap<String, u64> = CONVERSATIONS
            .iter()
            .map(|c| ((*c).to_owned(), self.world.owner.log(c).events.len() as u64))
            .collect();
        let (mut users, mut watched) = (Vec::new(), false);
        for (token, client) in self.clients.values().filter(|(_, client)| !client.closed) {
            assert!(client.sent.iter().all(|id| client.answered.get(id) == Some(&1)), "one answer a send");
            for conversation in CONVERSATIONS.iter().filter(|c| is_member(client.user, c)) {
                assert_eq!(
                    client.last[*conversation], heads[*conversation],
                    "{} {conversation}",
                    client.user
                );
            }
            users.push((user_key(client.user), token.to_bits()));
            watched |= client.watches;
        }
        let fleet = self.world.owner.fleet();
        assert_eq!(fleet.sessions, users.iter().copied().collect::<std::collections::HashMap<_, _>>());
        assert_eq!(fleet.watched.len(), if watched { 2 } else { 0 });
        for conversation in CONVERSATIONS {
            let wanted = users.iter().any(|(user, _)| is_member(user.user.as_str(), conversation));
            let log = self.world.owner.log(conversation);
            assert_eq!(log.interest, wanted, "{conversation}");
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            for event in log.events.iter().filter(|event| *event.view().sender != *"bob") {
                let id = event.view().id.to_string();
                let before = last.insert(event.view().sender.to_string(), id.clone());
                assert!(before.is_none_or(|before| before < id), "stored in order: {id}");
            }
        }
    }
}

impl Client {
    fn hear(&mut self, frame: &Value) {
        let text = |field: &str| frame[field].as_str().unwrap().to_owned();
        match frame["op"].as_str().unwrap() {
            "welcome" => {
                for entry in frame["conversations"].as_array().unwrap() {
                    let conversation = entry["conversation"].as_str().unwrap().to_owned();
                    self.last.insert(conversation, entry["head"].as_u64().unwrap());
                }
            }
            "ack" => *self.answered.entry(text("id")).or_default() += 1,
            "error" if frame["id"].is_string() => {
                assert_eq!(frame["code"], "unavailable");
                *self.answered.entry(text("id")).or_default() += 1;
            }
            "event" => {
                let seq = frame["seq"].as_u64().unwrap();
                let last = self.last.insert(text("conversation"), seq);
                assert_eq!(last.map(|last| last + 1), Some(seq), "{} {}", self.user, frame["conversation"]);
            }
            _ => {}
        }
    }
}

fn copy(answer: &ToGateway) -> Option<ToGateway> {
    match answer {
        ToGateway::Misplaced { caller } => Some(ToGateway::Misplaced { caller: *caller }),
        &ToGateway::Appended { caller, conversation, id, seq, time, duplicate } => {
            Some(ToGateway::Appended { caller, conversation, id, seq, time, duplicate })
        }
        _ => None,
    }
}

fn play(seed: u64) -> [u64; 6] {
    let mut chaos = Chaos::new(seed);
    for _ in 0..3 {
        for _ in 0..250 {
            chaos.step();
            chaos.hear();
        }
        chaos.calm_down();
        chaos.check();
        chaos.world.owner.fleet().held = true;
    }
    let counters = chaos.world.shard.counters();
    [
        counters.acks,
        counters.reasked,
        counters.misplaced,
        counters.patience_over,
        counters.late_answers,
        counters.announced,
    ]
}

#[test]
fn nothing_is_lost_repeated_or_out_of_order_whatever_moves_and_breaks() {
    let seeds =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..100, |seed| seed..seed + 1);
    let mut all = [0; 6];
    for seed in seeds {
        let played = std::panic::catch_unwind(|| play(seed));
        match played {
            Ok(counts) => all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            Err(fault) => {
                eprintln!("SEED={seed}");
                std::panic::resume_unwind(fault);
            }
        }
    }
    assert!(std::env::var("SEED").is_ok() || all.iter().all(|&count| count > 100), "it is chaos: {all:?}");
}
