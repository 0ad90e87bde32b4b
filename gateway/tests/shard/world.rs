//! A world for one gateway shard: sockets that are byte queues, a clock that tests move, and the owner of everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gateway::auth::{Authenticator, Keys, Rules, TokenRequest, sign_hs256};
use gateway::shard::operation::{Completion as SocketCompletion, Operation as SocketOperation};
use gateway::shard::{Completion, GatewayShard, ListenerKind, Operation, Settings};
use protocol::envelope::{GatewayId, RouterId, ToGateway, ToRouter};
use protocol::id::{Tenant, UserId};
use protocol::placement::{Epoch, Table};
use protocol::time::Now;
use ring::packet::Gather;
use ring::token::Token;
use serde_json::{Value, json};

use crate::owner::Owner;
use crate::wire::{Frame, frames, masked};

pub(crate) const SECRET: &[u8] = b"a secret of the tests, 32 bytes long";
pub(crate) const START_UNIX_MS: u64 = 1_900_000_000_000;

/// The kernel's side of one socket, and the peer's.
#[derive(Default)]
pub(crate) struct Socket {
    /// What the peer has received.
    pub(crate) output: Vec<u8>,
    /// What the peer has sent and the shard has not taken.
    input: VecDeque<Vec<u8>>,
    pub(crate) receiving: bool,
    /// The peer does not read: sends do not complete.
    pub(crate) stalled: bool,
    sending: Option<Box<Gather>>,
    /// Most bytes that the kernel takes of one send; 0: all.
    pub(crate) send_max: usize,
    pub(crate) shut_down: bool,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
}

pub(crate) struct World {
    pub(crate) shard: GatewayShard,
    pub(crate) now: Now,
    pub(crate) owner: Owner,
    /// What the API was handed.
    pub(crate) to_api: Vec<ToGateway>,
    /// Mailboxes take so many envelopes until the next round; `None`: all.
    pub(crate) mailbox_room: Option<usize>,
    pub(crate) sockets: BTreeMap<u32, (Token, Socket)>,
    next_slot: u32,
    generation: u32,
}

pub(crate) fn authenticator() -> Arc<Authenticator> {
    let mut keys = Keys::new();
    keys.add_hs256_secret(SECRET).unwrap();
    Arc::new(Authenticator::new(keys, Rules::default(), b"the secret of tickets"))
}

pub(crate) fn token_for(user: &str, tenant: &str, ttl_s: u64) -> String {
    let request = TokenRequest {
        user: UserId::parse(user).unwrap(),
        tenant: Tenant::parse(tenant).unwrap(),
        admin: false,
        expires_s: START_UNIX_MS / 1_000 + ttl_s,
        audience: None,
        issuer: None,
    };
    sign_hs256(SECRET, &request)
}

pub(crate) fn token(user: &str) -> String {
    token_for(user, "default", 3_600 * 24 * 30)
}

pub(crate) fn settings() -> Settings {
    Settings { listeners: vec![ListenerKind::Client, ListenerKind::Echo], ..Settings::default() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::with_table(settings, &Table::alone(2, Epoch(1)))
    }

    pub(crate) fn with_table(settings: Settings, table: &Table) -> Self {
        let shard = GatewayShard::new(GatewayId(3), table, 20_000, settings, authenticator(), 7);
        let now = Now { monotonic_ms: 5_000, unix_ms: START_UNIX_MS, monotonic_us: 5_000_000 };
        Self {
            shard,
            now,
            owner: Owner::default(),
            to_api: Vec::new(),
            mailbox_room: None,
            sockets: BTreeMap::new(),
            next_slot: 0,
            generation: 0,
        }
    }

    pub(crate) fn complete(&mut self, completion: Completion<'_>) {
        self.shard.handle(self.now, completion);
    }

    pub(crate) fn accept(&mut self, listener: u8) -> Token {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.accept_in(slot, listener)
    }

    pub(crate) fn accept_in(&mut self, slot: u32, listener: u8) -> Token {
        self.generation += 1;
        let token = Token { slot, generation: self.generation };
        self.sockets.insert(slot, (token, Socket::default()));
        let peer = "127.0.0.1:4000".parse().unwrap();
        self.complete(Completion::Socket(SocketCompletion::Accepted { token, listener, peer }));
        self.run();
        token
    }

    pub(crate) fn socket(&mut self, token: Token) -> &mut Socket {
        &mut self.sockets.get_mut(&token.slot).unwrap().1
    }

    /// The peer sends bytes, which arrive as one piece.
    pub(crate) fn send_bytes(&mut self, token: Token, bytes: &[u8]) {
        self.socket(token).input.push_back(bytes.to_vec());
        self.run();
    }

    /// The peer ends its side of the stream.
    pub(crate) fn end(&mut self, token: Token, error: i32) {
        self.complete(Completion::Socket(SocketCompletion::Ended { token, error }));
        self.run();
    }

    /// Executes and delivers until nothing moves.
    pub(crate) fn run(&mut self) {
        self.run_at_most(usize::MAX);
    }

    /// The same, so many rounds at most.
    pub(crate) fn run_at_most(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let mut moved = self.execute();
            moved |= self.deliver_input();
            moved |= self.deliver_sends();
            moved |= self.deliver_envelopes();
            self.shard.invariants();
            if !moved {
                return;
            }
        }
    }

    fn execute(&mut self) -> bool {
        let mut moved = false;
        let mut room = self.mailbox_room;
        while let Some(operation) = self.shard.poll_operation() {
            match operation {
                Operation::Socket(operation) => {
                    moved = true;
                    self.execute_socket(operation);
                }
                Operation::ToRouter(router, envelope) => {
                    if room == Some(0) {
                        self.complete(Completion::RouterFull(router, envelope));
                        continue;
                    }
                    moved = true;
                    room = room.map(|room| room - 1);
                    self.owner.take(router, envelope);
                }
                Operation::ToApi(envelope) => self.to_api.push(envelope),
            }
        }
        moved
    }

    fn execute_socket(&mut self, operation: SocketOperation) {
        let (SocketOperation::Receive(token)
        | SocketOperation::Pause(token)
        | SocketOperation::Send(token, _)
        | SocketOperation::Shutdown(token)
        | SocketOperation::Close(token)
        | SocketOperation::Abort(token)) = &operation;
        let token = *token;
        let (current, socket) = self.sockets.get_mut(&token.slot).expect("a socket");
        assert!(*current == token && !socket.closing, "an operation on a closed socket: {operation:?}");
        match operation {
            SocketOperation::Receive(_) => socket.receiving = true,
            SocketOperation::Pause(_) => socket.receiving = false,
            SocketOperation::Send(_, gather) => {
                assert!(socket.sending.is_none() && !socket.shut_down, "one send in flight");
                assert!(!gather.packets.is_empty());
                socket.sending = Some(gather);
            }
            SocketOperation::Shutdown(_) => socket.shut_down = true,
            SocketOperation::Close(_) | SocketOperation::Abort(_) => socket.closing = true,
        }
    }

    fn deliver_input(&mut self) -> bool {
        let ready = self
            .sockets
            .values()
            .find(|(_, socket)| socket.receiving && !socket.closing && !socket.input.is_empty());
        let Some(&(token, _)) = ready else { return false };
        let mut bytes = self.socket(token).input.pop_front().unwrap();
        self.complete(Completion::Socket(SocketCompletion::Received { token, bytes: &mut bytes }));
        true
    }

    fn deliver_sends(&mut self) -> bool {
        let mut completions = Vec::new();
        for (token, socket) in self.sockets.values_mut() {
            let cancelled = socket.closing && !socket.closed;
            if let Some(gather) = &socket.sending
                && (!socket.stalled || cancelled)
            {
                let bytes: Vec<u8> =
                    gather.packets.iter().flat_map(|p| p.as_bytes()).copied().skip(gather.skip).collect();
                let most = if socket.send_max == 0 { bytes.len() } else { socket.send_max };
                let sent = if cancelled { 0 } else { bytes.len().min(most) };
                socket.output.extend_from_slice(&bytes[..sent]);
                let result = if cancelled { -125 } else { sent as i32 };
                let gather = socket.sending.take().unwrap();
                completions.push(SocketCompletion::Sent { token: *token, result, gather });
            }
            if cancelled {
                socket.closed = true;
                completions.push(SocketCompletion::Closed { token: *token });
            }
        }
        let moved = !completions.is_empty();
        for completion in completions {
            self.complete(Completion::Socket(completion));
        }
        moved
    }

    fn deliver_envelopes(&mut self) -> bool {
        let next = match &self.owner.fleet {
            Some(_) => self.owner.next_in_fleet(),
            None => self.owner.answers.pop_front(),
        };
        let Some(envelope) = next else { return false };
        self.complete(Completion::Envelope(envelope));
        true
    }

    pub(crate) fn envelope(&mut self, envelope: ToGateway) {
        self.complete(Completion::Envelope(envelope));
        self.run();
    }

    /// Lets time pass, a tick every 100 ms.
    pub(crate) fn pass_ms(&mut self, milliseconds: u64) {
        let until = self.now.monotonic_ms + milliseconds;
        while self.now.monotonic_ms < until {
            let step = (until - self.now.monotonic_ms).min(100);
            self.now.monotonic_ms += step;
            self.now.unix_ms += step;
            self.now.monotonic_us += step * 1_000;
            self.complete(Completion::Tick);
            self.run();
        }
    }

    // The client's side of a connection.

    pub(crate) fn upgrade(&mut self, headers: &str) -> Token {
        let token = self.accept(0);
        self.send_bytes(token, request("/v1/connect", headers).as_bytes());
        token
    }

    /// A WebSocket without a session.
    pub(crate) fn websocket(&mut self) -> Token {
        let connection = self.upgrade("");
        let head = self.take_head(connection);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        connection
    }

    /// A session of `user` on `device`, welcomed.
    pub(crate) fn session(&mut self, user: &str, device: &str) -> Token {
        let connection = self.websocket();
        self.say(connection, &json!({"op": "hello", "device": device, "token": token(user)}));
        let welcome = self.hear(connection);
        assert_eq!(welcome[0]["op"], "welcome", "{welcome:?}");
        connection
    }

    pub(crate) fn say(&mut self, token: Token, frame: &Value) {
        self.send_bytes(token, &masked(0x81, frame.to_string().as_bytes()));
    }

    /// What the peer has received of HTTP.
    pub(crate) fn take_head(&mut self, token: Token) -> String {
        let output = std::mem::take(&mut self.socket(token).output);
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        self.socket(token).output = output[end..].to_vec();
        String::from_utf8(output[..end].to_vec()).unwrap()
    }

    /// The frames that the peer has received, taken off.
    pub(crate) fn take_frames(&mut self, token: Token) -> Vec<Frame> {
        frames(&mut self.socket(token).output)
    }

    /// The JSON frames that the peer has received.
    pub(crate) fn hear(&mut self, token: Token) -> Vec<Value> {
        self.take_frames(token)
            .into_iter()
            .map(|frame| match frame {
                Frame::Text(text) => serde_json::from_str(&text).expect("JSON"),
                other => panic!("not text: {other:?}"),
            })
            .collect()
    }

    /// The close code that the peer has received as its last frame, and the reason.
    pub(crate) fn close_code(&mut self, token: Token) -> (u16, String) {
        match self.take_frames(token).pop() {
            Some(Frame::Close(code, reason)) => (code, reason),
            other => panic!("not a close: {other:?}"),
        }
    }

    /// Envelopes that went to any owner since the last call.
    pub(crate) fn asked(&mut self) -> Vec<(RouterId, ToRouter)> {
        std::mem::take(&mut self.owner.unanswered)
    }
}

pub(crate) fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}
