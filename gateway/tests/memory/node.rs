//! Gateway and router shards of one node in one thread, with mailboxes that take all, sockets that take all, and a store
//! that knows by arithmetic who is a member of what. Keeps nothing a session of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use gateway::auth::{Authenticator, Identity, Keys, Rules};
use gateway::shard::operation::{Completion as SocketCompletion, Operation as SocketOperation};
use gateway::shard::{Completion, GatewayShard, Operation, Settings};
use protocol::envelope::{Conversation, ConversationKind, GatewayId, RouterId};
use protocol::event::Role;
use protocol::frame::ChatListEntry;
use protocol::id::{ConversationId, DeviceId, Tenant, UserId};
use protocol::placement::Table;
use protocol::time::Now;
use ring::allocation::Counting;
use ring::packet::Gather;
use ring::token::Token;
use router::RouterShard;
use storage::request::{Epoch, LoadedMember, Outcome, Request, RequestId};

use crate::wire::masked;

const START_UNIX_MS: u64 = 1_900_000_000_000;

/// Live bytes of a node's parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) gateways: i64,
    pub(crate) routers: i64,
}

pub(crate) struct Node {
    gateways: Vec<GatewayShard>,
    routers: Vec<RouterShard>,
    authenticator: Arc<Authenticator>,
    now: Now,
    /// Members of each conversation.
    members: u32,
    sends: VecDeque<(u16, Token, Box<Gather>)>,
    closes: VecDeque<(u16, Token)>,
    store: VecDeque<(u16, RequestId, Request)>,
    generation: u32,
}

pub(crate) fn user(number: u32) -> String {
    format!("user-{number:07}")
}

fn conversation(number: u32) -> String {
    format!("conversation-{number:06}")
}

fn number(id: &str) -> u32 {
    id.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok()).expect("ends in a number")
}

impl Node {
    /// A node of `shards` cores, whose conversations have `members` each.
    pub(crate) fn new(shards: u16, members: u32) -> Self {
        let authenticator =
            Arc::new(Authenticator::new(Keys::new(), Rules::default(), b"the secret of tickets"));
        let gateway = |number: u16| {
            let authenticator = Arc::clone(&authenticator);
            GatewayShard::new(
                GatewayId(number.into()),
                &Table::alone(shards, Epoch(1)),
                20_000,
                Settings::default(),
                authenticator,
                7,
            )
        };
        let router = |number| {
            RouterShard::new(
                RouterId(u32::from(number)),
                Arc::new(Table::alone(shards, Epoch(1))),
                router::Settings::default(),
                u64::from(number),
            )
        };
        Self {
            gateways: (0..shards).map(gateway).collect(),
            routers: (0..shards).map(router).collect(),
            authenticator: Arc::clone(&authenticator),
            now: Now { monotonic_ms: 5_000, unix_ms: START_UNIX_MS, monotonic_us: 5_000_000 },
            members,
            sends: VecDeque::new(),
            closes: VecDeque::new(),
            store: VecDeque::new(),
            generation: 0,
        }
    }

    /// Connects users, `at_once` a turn, each with a session on the shard and in the slot that follow from its number.
    pub(crate) fn connect(&mut self, users: std::ops::Range<u32>, at_once: u32) {
        self.generation += 1;
        let mut at = users.start;
        while at < users.end {
            let batch = at..users.end.min(at + at_once);
            for number in batch.clone() {
                let (gateway, token) = self.token(number);
                let peer = "127.0.0.1:4000".parse().unwrap();
                self.socket(gateway, SocketCompletion::Accepted { token, listener: 0, peer });
            }
            for number in batch.clone() {
                let (gateway, token) = self.token(number);
                let mut bytes = UPGRADE.as_bytes().to_vec();
                self.socket(gateway, SocketCompletion::Received { token, bytes: &mut bytes });
            }
            self.turn();
            for number in batch.clone() {
                let (gateway, token) = self.token(number);
                let mut bytes = self.hello(number);
                self.socket(gateway, SocketCompletion::Received { token, bytes: &mut bytes });
            }
            self.settle();
            self.pass_ms(10);
            at = batch.end;
        }
    }

    /// Everybody's connection breaks at the same moment.
    pub(crate) fn break_off(&mut self, users: std::ops::Range<u32>) {
        for number in users {
            let (gateway, token) = self.token(number);
            self.socket(gateway, SocketCompletion::Ended { token, error: 104 });
        }
        self.settle();
    }

    /// Everybody answers a ping.
    pub(crate) fn answer_pings(&mut self, users: std::ops::Range<u32>) {
        for number in users {
            let (gateway, token) = self.token(number);
            self.socket(gateway, SocketCompletion::Received { token, bytes: &mut masked(0x8a, b"") });
            if number % 512 == 0 {
                self.settle();
            }
        }
        self.settle();
    }

    /// Lets time pass, a tick every 100 ms.
    pub(crate) fn pass_ms(&mut self, milliseconds: u64) {
        let until = self.now.monotonic_ms + milliseconds;
        while self.now.monotonic_ms < until {
            let step = (until - self.now.monotonic_ms).min(100);
            self.now.monotonic_ms += step;
            self.now.unix_ms += step;
            self.now.monotonic_us += step * 1_000;
            for at in 0..self.gateways.len() {
                self.gateways[at].handle(self.now, Completion::Tick);
                self.routers[at].handle(self.now, router::Completion::Tick);
            }
            self.settle();
        }
    }

    pub(crate) fn sessions(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.counters().sessions).sum()
    }

    pub(crate) fn pings(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.counters().pings).sum()
    }

    pub(crate) fn rooms(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.counters().rooms).sum()
    }

    /// Takes the node apart and weighs each part.
    pub(crate) fn weigh(self) -> Bytes {
        let Self { gateways, routers, sends, closes, store, .. } = self;
        assert!(sends.is_empty() && closes.is_empty() && store.is_empty());
        let before = Counting::live();
        drop(gateways);
        let between = Counting::live();
        drop(routers);
        Bytes { gateways: before - between, routers: between - Counting::live() }
    }

    fn token(&self, number: u32) -> (u16, Token) {
        let shards = self.gateways.len() as u32;
        let token = Token { slot: number / shards, generation: self.generation };
        ((number % shards) as u16, token)
    }

    fn hello(&self, number: u32) -> Vec<u8> {
        let user = user(number);
        let device = DeviceId::parse(format!("phone-{number:07}")).unwrap();
        let identity = Identity {
            tenant: Tenant::default_tenant(),
            user: UserId::parse(&user).unwrap(),
            admin: false,
            expires_ms: START_UNIX_MS + 86_400_000,
        };
        let ticket = self.authenticator.issue_ticket(&identity, &device, START_UNIX_MS, 86_400_000);
        let hello = format!(r#"{{"op":"hello","device":"{device}","resume":"{}"}}"#, ticket.as_str());
        masked(0x81, hello.as_bytes())
    }

    fn socket(&mut self, gateway: u16, completion: SocketCompletion<'_>) {
        self.gateways[usize::from(gateway)].handle(self.now, Completion::Socket(completion));
    }

    fn settle(&mut self) {
        while self.turn() {}
        (self.sends, self.closes, self.store) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
    }

    /// What a turn of each core's loop does.
    fn turn(&mut self) -> bool {
        let mut moved = self.sockets_moved();
        for _ in 0..self.store.len() {
            let (router, id, request) = self.store.pop_front().expect("counted");
            let outcome = self.outcome(&request);
            self.routers[usize::from(router)].handle(self.now, router::Completion::Store(id, outcome));
        }
        for at in 0..self.gateways.len() {
            while let Some(operation) = self.gateways[at].poll_operation() {
                moved = true;
                self.execute(at as u16, operation);
            }
            while let Some(operation) = self.routers[at].poll_operation() {
                moved = true;
                self.execute_router(at as u16, operation);
            }
        }
        moved
    }

    fn sockets_moved(&mut self) -> bool {
        let moved = !self.sends.is_empty() || !self.closes.is_empty();
        while let Some((gateway, token, gather)) = self.sends.pop_front() {
            let bytes: usize = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
            let result = (bytes - gather.skip) as i32;
            self.socket(gateway, SocketCompletion::Sent { token, result, gather });
        }
        while let Some((gateway, token)) = self.closes.pop_front() {
            self.socket(gateway, SocketCompletion::Closed { token });
        }
        moved
    }

    fn execute(&mut self, gateway: u16, operation: Operation) {
        match operation {
            Operation::Socket(SocketOperation::Send(token, gather)) => {
                self.sends.push_back((gateway, token, gather));
            }
            Operation::Socket(SocketOperation::Close(token)) => self.closes.push_back((gateway, token)),
            Operation::Socket(_) | Operation::ToApi(_) => {}
            Operation::ToRouter(to, envelope) => {
                self.routers[to.0 as usize].handle(self.now, router::Completion::Envelope(envelope));
            }
        }
    }

    fn execute_router(&mut self, from: u16, operation: router::Operation) {
        match operation {
            router::Operation::ToGateway(to, envelope) => {
                self.gateways[to.0 as usize].handle(self.now, Completion::Envelope(envelope));
            }
            router::Operation::ToRouter(to, envelope) => {
                self.routers[to.0 as usize].handle(self.now, router::Completion::Envelope(envelope));
            }
            router::Operation::Cut(gateway) => unreachable!("{gateway:?} is of this node"),
            router::Operation::Store(id, request) => self.store.push_back((from, id, request)),
        }
    }

    fn outcome(&self, request: &Request) -> Outcome {
        match request {
            Request::Conversations { user, .. } => {
                let conversation = conversation(number(user.user.as_str()) / self.members);
                let conversation = ConversationId::parse(conversation).unwrap();
                let entry = ChatListEntry { conversation, head: 0, read: 0, role: Role::Member, lamport: 0 };
                Outcome::Conversations { entries: vec![entry], more: false }
            }
            Request::Load { conversation: key, users } => {
                let member = |user: &UserId| LoadedMember { user: *user, role: Some(Role::Member), read: 0 };
                let conversation = Conversation {
                    key: *key,
                    kind: ConversationKind::Group,
                    title: None,
                    created: START_UNIX_MS,
                    head: 0,
                    lamport: 0,
                    members: u64::from(self.members),
                };
                let members = users.iter().map(member).collect();
                Outcome::Loaded { conversation: Some(conversation), members }
            }
            Request::Seen { .. } => Outcome::Seen,
            other => panic!("nobody asks for {other:?}"),
        }
    }
}

const UPGRADE: &str = "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
