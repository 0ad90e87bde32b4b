//! The shards that the tests put on a ring, and the loop that runs them until what is promised has come.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ring::listener::{Listener, ListenerSettings};
use ring::operation::{Completion, Operation};
use ring::packet::{Gather, Packet, PacketPool};
use ring::token::Token;
use ring::waker::Waker;
use ring::{Ring, Settings};

/// Longer than anything here takes: what has not come by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// What turns completions into operations.
pub(crate) trait Shard {
    fn handle(&mut self, completion: Completion<'_>, operations: &mut VecDeque<Operation>);
}

/// A shard on a ring.
pub(crate) struct Server<S> {
    pub(crate) ring: Ring,
    pub(crate) shard: S,
    pub(crate) address: SocketAddr,
    operations: VecDeque<Operation>,
}

/// Puts a shard on a small ring with one listener.
pub(crate) fn serve<S: Shard>(shard: S) -> Server<S> {
    serve_with(shard, Settings { slots: 64, ..Settings::default() }, ListenerSettings::default())
}

pub(crate) fn serve_with<S: Shard>(shard: S, settings: Settings, listening: ListenerSettings) -> Server<S> {
    let listeners = Listener::bind("127.0.0.1:0".parse().unwrap(), 1, listening).unwrap();
    let address = listeners[0].address();
    let ring = Ring::new(settings, listeners, Waker::new().unwrap()).unwrap();
    Server { ring, shard, address, operations: VecDeque::new() }
}

impl<S: Shard> Server<S> {
    /// Turns until `done`.
    pub(crate) fn run(&mut self, mut done: impl FnMut(&S) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.shard) {
            assert!(Instant::now() < end, "what was promised did not come");
            self.turn(Duration::from_millis(100));
        }
    }

    /// One turn.
    pub(crate) fn turn(&mut self, timeout: Duration) {
        let Self { ring, shard, operations, .. } = self;
        ring.turn(timeout, || false, |completion| shard.handle(completion, operations)).unwrap();
        while let Some(operation) = operations.pop_front() {
            ring.submit(operation);
        }
        ring.invariants();
    }
}

/// Writes down what happens, and asks for nothing: the test does.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
}

/// A completion, kept.
#[derive(Debug)]
pub(crate) enum Event {
    Accepted { token: Token, listener: u8, peer: SocketAddr },
    Connected { token: Token },
    Refused { token: Token, error: i32 },
    Received { token: Token, bytes: Vec<u8> },
    Ended { token: Token, error: i32 },
    Sent { token: Token, result: i32, gather: Box<Gather> },
    Closed { token: Token },
}

impl Shard for Recorder {
    fn handle(&mut self, completion: Completion<'_>, _: &mut VecDeque<Operation>) {
        self.events.push(match completion {
            Completion::Accepted { token, listener, peer } => Event::Accepted { token, listener, peer },
            Completion::Connected { token } => Event::Connected { token },
            Completion::Refused { token, error } => Event::Refused { token, error },
            Completion::Received { token, bytes } => Event::Received { token, bytes: bytes.to_vec() },
            Completion::Ended { token, error } => Event::Ended { token, error },
            Completion::Sent { token, result, gather } => Event::Sent { token, result, gather },
            Completion::Closed { token } => Event::Closed { token },
        });
    }
}

impl Recorder {
    /// All that came from a socket so far.
    pub(crate) fn bytes_of(&self, socket: Token) -> Vec<u8> {
        let mut all = Vec::new();
        for event in &self.events {
            if let Event::Received { token, bytes } = event
                && *token == socket
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    pub(crate) fn is_closed(&self, socket: Token) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Closed { token } if *token == socket))
    }

    /// The error that a socket ended with, once it has.
    pub(crate) fn end_of(&self, socket: Token) -> Option<i32> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { token, error } if *token == socket => Some(*error),
            _ => None,
        })
    }

    /// The results of a socket's sends so far.
    pub(crate) fn results_of(&self, socket: Token) -> Vec<i32> {
        let result = |event: &Event| match event {
            Event::Sent { token, result, .. } if *token == socket => Some(*result),
            _ => None,
        };
        self.events.iter().filter_map(result).collect()
    }
}

impl Server<Recorder> {
    /// The token of the next client that connects.
    pub(crate) fn accept(&mut self) -> Token {
        let before = self.shard.events.len();
        let accepted = |event: &Event| match event {
            Event::Accepted { token, .. } => Some(*token),
            _ => None,
        };
        self.run(|recorder| recorder.events[before..].iter().any(|event| accepted(event).is_some()));
        self.shard.events[before..].iter().find_map(accepted).unwrap()
    }

    /// Closes a socket and waits until it is.
    pub(crate) fn close(&mut self, token: Token) {
        self.ring.submit(Operation::Close(token));
        self.run(|recorder| recorder.is_closed(token));
    }
}

/// A gather of packets with these bytes.
pub(crate) fn gather(packets: &[&[u8]]) -> Box<Gather> {
    let mut pool = PacketPool::new(0, 0, 0);
    let packets = packets.iter().map(|bytes| pool.packet(|packet| packet.extend_from_slice(bytes))).collect();
    Box::new(Gather { packets, skip: 0 })
}

/// A client that fails rather than waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends back what it receives, in order, and closes at the end.
pub(crate) struct Echo {
    pub(crate) accepted: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) closed: u64,
    pool: PacketPool,
    /// By slot: what waits to be sent, whether a send is in flight, and whether the end came.
    connections: Vec<Connection>,
    #[expect(clippy::vec_box, reason = "gathers travel boxed")]
    gathers: Vec<Box<Gather>>,
}

#[derive(Default)]
struct Connection {
    outbox: VecDeque<Packet>,
    sending: bool,
    ended: bool,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            accepted: 0,
            received: 0,
            sent: 0,
            closed: 0,
            pool: PacketPool::new(1_024, 1 << 30, 1 << 20),
            connections: Vec::new(),
            gathers: Vec::new(),
        }
    }
}

impl Echo {
    fn connection(&mut self, token: Token) -> &mut Connection {
        let slot = token.slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, Connection::default);
        }
        &mut self.connections[slot]
    }

    fn flush(&mut self, token: Token, operations: &mut VecDeque<Operation>) {
        let mut gather = self.gathers.pop().unwrap_or_default();
        let connection = self.connection(token);
        if connection.sending {
            self.gathers.push(gather);
            return;
        }
        if connection.outbox.is_empty() {
            if connection.ended {
                operations.push_back(Operation::Close(token));
            }
            self.gathers.push(gather);
            return;
        }
        connection.sending = true;
        let count = connection.outbox.len().min(ring::packet::GATHER_PACKETS_MAX);
        gather.skip = 0;
        gather.packets.extend(connection.outbox.drain(..count));
        operations.push_back(Operation::Send(token, gather));
    }

    fn sent(
        &mut self,
        token: Token,
        result: i32,
        mut gather: Box<Gather>,
        operations: &mut VecDeque<Operation>,
    ) {
        self.connection(token).sending = false;
        let Ok(mut left) = usize::try_from(result) else {
            gather.packets.clear();
            self.connection(token).outbox.clear();
            self.gathers.push(gather);
            return;
        };
        self.sent += left as u64;
        while !gather.packets.is_empty() {
            let length = gather.packets[0].as_bytes().len() - gather.skip;
            if left < length {
                gather.skip += left;
                self.connection(token).sending = true;
                operations.push_back(Operation::Send(token, gather));
                return;
            }
            left -= length;
            gather.skip = 0;
            let packet = gather.packets.remove(0);
            self.pool.release(packet);
        }
        self.gathers.push(gather);
        self.flush(token, operations);
    }
}

impl Shard for Echo {
    fn handle(&mut self, completion: Completion<'_>, operations: &mut VecDeque<Operation>) {
        match completion {
            Completion::Accepted { token, .. } => {
                self.accepted += 1;
                *self.connection(token) = Connection::default();
                operations.push_back(Operation::Receive(token));
            }
            Completion::Received { token, bytes } => {
                self.received += bytes.len() as u64;
                let packet = self.pool.packet(|packet| packet.extend_from_slice(bytes));
                self.connection(token).outbox.push_back(packet);
                self.flush(token, operations);
            }
            Completion::Ended { token, .. } => {
                self.connection(token).ended = true;
                self.flush(token, operations);
            }
            Completion::Sent { token, result, gather } => self.sent(token, result, gather, operations),
            Completion::Closed { .. } => self.closed += 1,
            Completion::Connected { .. } | Completion::Refused { .. } => unreachable!("an echo dials nobody"),
        }
    }
}
