//! A gateway shard with its surroundings: sockets that take every byte at once, and an owner that answers at once with
//! what it always answers. Small beside the shard's own work.

use std::hint::black_box;

use gateway::shard::operation::{Completion as Received, Operation as SocketOperation};
use gateway::shard::{Completion, GatewayShard, Operation, Settings};
use protocol::envelope::{AttachedItem, AttachedState, GatewayId, ToGateway, ToRouter};
use protocol::event::Role;
use protocol::frame::{ChatListEntry, ClientFrame, ClientLimits, Subprotocol};
use protocol::id::{ClientId, ConversationId};
use protocol::time::Now;
use ring::token::Token;

use crate::{sample, token};

/// More than any path opens.
const SLOTS: u32 = 20_000;

pub(crate) struct Gateway {
    shard: GatewayShard,
    pub(crate) now: Now,
    /// Sockets so far.
    accepted: u32,
    /// Answers of the owner so far to appends, all under one id.
    appended: u64,
    id: ClientId,
    /// Sockets whose last packet was a ping.
    pinged: Vec<Token>,
}

fn settings() -> Settings {
    Settings {
        limits: ClientLimits {
            sends_per_second: 1_000_000_000,
            sends_burst: 1_000_000_000,
            ..sample::limits()
        },
        frames_per_second: 1_000_000_000,
        frames_burst: 1_000_000_000,
        ..Settings::default()
    }
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let shard = GatewayShard::new(
            GatewayId(0),
            &protocol::placement::Table::alone(1, protocol::placement::Epoch(1)),
            SLOTS,
            settings(),
            token::authenticator(),
            7,
        );
        let id = sample::client_id("m-000000123");
        Self { shard, now: sample::now(), accepted: 0, appended: 0, id, pinged: Vec::new() }
    }

    /// A shard with so many sessions of one user, each in the one conversation there is.
    pub(crate) fn with_sessions(subprotocol: Subprotocol, sessions: u32) -> (Self, Vec<Token>) {
        let mut gateway = Self::new();
        let head = head(subprotocol, Some(&token::token(sample::SENDER)));
        let sessions = (0..sessions)
            .map(|slot| {
                let connection = gateway.accept(slot);
                gateway.receive(connection, &mut head.clone().into_bytes());
                gateway.receive(connection, &mut hello(subprotocol, None));
                connection
            })
            .collect();
        (gateway, sessions)
    }

    /// A client connects.
    pub(crate) fn accept(&mut self, slot: u32) -> Token {
        self.accepted += 1;
        let token = Token { slot, generation: self.accepted };
        let peer = core::net::SocketAddr::from(([127, 0, 0, 1], 40_000));
        self.complete(Completion::Socket(Received::Accepted { token, listener: 0, peer }));
        token
    }

    /// Bytes come from a client.
    pub(crate) fn receive(&mut self, token: Token, bytes: &mut [u8]) {
        self.complete(Completion::Socket(Received::Received { token, bytes }));
    }

    /// A client is gone.
    pub(crate) fn end(&mut self, token: Token) {
        self.complete(Completion::Socket(Received::Ended { token, error: 0 }));
    }

    /// Time passes in steps of 100 ms; every ping is answered.
    pub(crate) fn pass(&mut self, milliseconds: u64, pong: &[u8; 6]) {
        for _ in 0..milliseconds / 100 {
            self.now.monotonic_ms += 100;
            self.now.monotonic_us += 100_000;
            self.now.unix_ms += 100;
            self.complete(Completion::Tick);
            while let Some(token) = self.pinged.pop() {
                self.receive(token, &mut pong.clone());
            }
        }
    }

    /// Hands in a completion, and does what follows.
    pub(crate) fn complete(&mut self, completion: Completion<'_>) {
        self.shard.handle(self.now, completion);
        loop {
            // As a core does: taken apart where it comes.
            match self.shard.poll_operation() {
                None => return,
                Some(Operation::Socket(operation)) => self.execute(operation),
                Some(Operation::ToRouter(_, envelope)) => self.answer(envelope),
                Some(Operation::ToApi(_)) => unreachable!("the API asks nothing"),
            }
        }
    }

    fn execute(&mut self, operation: SocketOperation) {
        match operation {
            SocketOperation::Send(token, gather) => {
                let bytes: usize = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
                if gather.packets[0].as_bytes() == [0x89, 0] {
                    self.pinged.push(token);
                }
                let result = (bytes - gather.skip) as i32;
                let sent = Received::Sent { token, result, gather: black_box(gather) };
                self.shard.handle(self.now, Completion::Socket(sent));
            }
            SocketOperation::Close(token) | SocketOperation::Abort(token) => {
                self.shard.handle(self.now, Completion::Socket(Received::Closed { token }));
            }
            SocketOperation::Receive(_) | SocketOperation::Pause(_) | SocketOperation::Shutdown(_) => {}
        }
    }

    fn answer(&mut self, envelope: ToRouter) {
        let answer = match envelope {
            ToRouter::SessionOpen { caller, .. } => {
                ToGateway::SessionOpened { caller, conversations: [entry()].into(), more: false }
            }
            ToRouter::Attach { caller, actor, items } => ToGateway::Attached {
                caller,
                tenant: actor.key.tenant,
                items: items.iter().map(|item| attached(item.conversation)).collect(),
                refused: None,
            },
            ToRouter::Append { caller, conversation, draft, .. } => {
                black_box(draft);
                self.appended += 1;
                let (seq, time) = (self.appended, sample::UNIX_MS);
                ToGateway::Appended { caller, conversation, id: self.id, seq, time, duplicate: false }
            }
            _ => return,
        };
        self.shard.handle(self.now, Completion::Envelope(answer));
    }

    /// What the shard has delivered so far.
    pub(crate) fn deliveries(&self) -> u64 {
        self.shard.counters().deliveries
    }

    /// Open sockets.
    pub(crate) fn connections(&self) -> u32 {
        self.shard.connections()
    }
}

fn entry() -> ChatListEntry {
    let conversation = sample::conversation(sample::CONVERSATION);
    ChatListEntry { conversation, head: 0, read: 0, role: Role::Member, lamport: 0 }
}

fn attached(conversation: ConversationId) -> AttachedItem {
    AttachedItem { conversation, state: Some(AttachedState { head: 0, read: 0, role: Role::Member }) }
}

/// An upgrade request for a subprotocol, perhaps with a token.
pub(crate) fn head(subprotocol: Subprotocol, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    sample::upgrade_head(&format!("Sec-WebSocket-Protocol: {}\r\n{authorization}", subprotocol.name()))
}

/// The first frame of a session, masked.
pub(crate) fn hello(subprotocol: Subprotocol, resume: Option<&str>) -> Vec<u8> {
    match subprotocol {
        Subprotocol::Json => {
            let resume = resume.map(|ticket| format!(r#","resume":"{ticket}""#)).unwrap_or_default();
            let hello = format!(r#"{{"op":"hello","device":"{}"{resume}}}"#, sample::DEVICE);
            sample::masked(0x81, hello.as_bytes())
        }
        Subprotocol::Rkyv => {
            let hello = ClientFrame::Hello { device: sample::device(), token: None, resume, cursors: &[] };
            sample::masked(0x82, &sample::rkyv_frame(&hello))
        }
    }
}
