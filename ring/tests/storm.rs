//! Promise: whatever clients and shard do at whatever moment, streams stay in order, every send comes back, and every
//! accepted or dialled socket is closed once, with nothing after it.

mod shard;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ring::Settings;
use ring::dial::Dial;
use ring::listener::ListenerSettings;
use ring::operation::Operation;
use ring::token::Token;
use shard::{Event, Recorder, Server, connect, gather, serve_with};

const STEPS: u32 = 3_000;
const SEEDS: u64 = 24;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % bound
    }
}

/// The byte at a place of either stream.
fn byte(place: u64) -> u8 {
    (place % 251) as u8
}

fn bytes(from: u64, count: u64) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

/// The test's view of a client.
struct Client {
    stream: TcpStream,
    written: u64,
    read: u64,
}

/// The test's view of an accepted or dialled socket.
#[derive(Default)]
struct Socket {
    /// Not connected yet, or refused.
    dialling: bool,
    received: u64,
    sent: u64,
    sending: bool,
    closing: bool,
    /// No byte may follow.
    shut_down: bool,
}

struct Storm {
    server: Server<Recorder>,
    clients: Vec<Client>,
    sockets: HashMap<Token, Socket>,
    chance: Chance,
    dialled: u64,
    closed: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let submissions = 1 << chance.below(7);
        let settings = Settings {
            slots: 2 + chance.below(90) as u32,
            bank_slots: if seed.is_multiple_of(2) { u32::MAX } else { 3 + seed as u32 },
            submissions,
            completions: submissions << chance.below(3),
            buffers: 1 + chance.below(5) as u16,
            buffer_bytes: 1 + chance.below(2_000) as u32,
            accepts: 1 + chance.below(5) as u16,
            dials: if submissions >= 8 { chance.below(6) as u32 } else { 0 },
        };
        let listening = ListenerSettings {
            send_buffer_bytes: (chance.below(2) == 0).then_some(4_096),
            receive_buffer_bytes: (chance.below(2) == 0).then_some(4_096),
            ..ListenerSettings::default()
        };
        let server = serve_with(Recorder::default(), settings, listening);
        Self { server, clients: Vec::new(), sockets: HashMap::new(), chance, dialled: 0, closed: 0 }
    }

    fn step(&mut self) {
        match self.chance.below(11) {
            0 if self.clients.len() < 40 => self.connect(),
            10 => self.dial(),
            1..=3 => self.client_acts(),
            4..=7 => self.shard_acts(),
            _ => self.turn(),
        }
    }

    fn connect(&mut self) {
        let stream = connect(self.server.address);
        stream.set_nonblocking(true).unwrap();
        self.clients.push(Client { stream, written: 0, read: 0 });
    }

    /// The ring connects to itself, or to a port where nobody listens.
    fn dial(&mut self) {
        let listened = self.chance.below(4) != 0;
        let target = if listened { self.server.address } else { "127.0.0.1:1".parse().unwrap() };
        let source = (self.chance.below(2) == 0).then_some("127.7.8.9:0".parse().unwrap());
        let timeout = Duration::from_secs(10);
        let dial = Dial { target, source, timeout, receive_buffer_bytes: None };
        if let Some(token) = self.server.ring.dial(&dial) {
            self.dialled += 1;
            let socket = Socket { dialling: true, ..Socket::default() };
            assert!(self.sockets.insert(token, socket).is_none(), "a new name");
        }
    }

    fn client_acts(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let place = self.chance.below(self.clients.len() as u64) as usize;
        let count = 1 + self.chance.below(20_000);
        let client = &mut self.clients[place];
        match self.chance.below(12) {
            0 => drop(self.clients.swap_remove(place)),
            1 => _ = client.stream.shutdown(std::net::Shutdown::Write),
            2..=6 => {
                if let Ok(written) = client.stream.write(&bytes(client.written, count)) {
                    client.written += written as u64;
                }
            }
            _ => {
                let mut buffer = vec![0; count as usize];
                if let Ok(read) = client.stream.read(&mut buffer) {
                    assert_eq!(buffer[..read], bytes(client.read, read as u64));
                    client.read += read as u64;
                }
            }
        }
    }

    fn shard_acts(&mut self) {
        let mut tokens: Vec<Token> = self.sockets.keys().copied().collect();
        if tokens.is_empty() {
            return;
        }
        tokens.sort_by_key(|token| token.to_bits());
        let token = tokens[self.chance.below(tokens.len() as u64) as usize];
        let socket = self.sockets.get_mut(&token).unwrap();
        let operation = match self.chance.below(12) {
            _ if socket.closing => return,
            0 => {
                socket.closing = true;
                if self.chance.below(2) == 0 { Operation::Close(token) } else { Operation::Abort(token) }
            }
            _ if socket.dialling => return,
            1 => {
                socket.shut_down = true;
                Operation::Shutdown(token)
            }
            2 | 3 => Operation::Pause(token),
            4..=7 => Operation::Receive(token),
            _ if socket.sending || socket.shut_down => return,
            _ => {
                socket.sending = true;
                let parts: Vec<Vec<u8>> = (0..1 + self.chance.below(5))
                    .scan(socket.sent, |from, _| {
                        let count = 1 + self.chance.below(10_000);
                        *from += count;
                        Some(bytes(*from - count, count))
                    })
                    .collect();
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                Operation::Send(token, gather(&parts))
            }
        };
        self.server.ring.submit(operation);
    }

    fn turn(&mut self) {
        self.server.turn(Duration::ZERO);
        for event in std::mem::take(&mut self.server.shard.events) {
            match event {
                Event::Accepted { token, .. } => {
                    assert!(self.sockets.insert(token, Socket::default()).is_none(), "a new name");
                }
                Event::Connected { token } => {
                    let socket = self.sockets.get_mut(&token).expect("a dial");
                    assert!(!socket.closing && std::mem::take(&mut socket.dialling));
                }
                Event::Refused { token, error } => {
                    let socket = self.sockets.get_mut(&token).expect("a dial");
                    assert!(socket.dialling && !socket.closing && error > 0);
                    socket.closing = true;
                }
                Event::Received { token, bytes: got } => {
                    let socket = self.sockets.get_mut(&token).expect("open");
                    assert!(!socket.closing && !got.is_empty());
                    assert_eq!(got, bytes(socket.received, got.len() as u64));
                    socket.received += got.len() as u64;
                }
                Event::Ended { token, .. } => assert!(!self.sockets[&token].closing),
                Event::Sent { token, result, gather } => {
                    let socket = self.sockets.get_mut(&token).expect("open");
                    assert!(std::mem::take(&mut socket.sending), "a send comes back once");
                    assert!(!gather.packets.is_empty());
                    socket.sent += u64::try_from(result).unwrap_or(0);
                }
                Event::Closed { token } => {
                    let socket = self.sockets.remove(&token).expect("open");
                    assert!(socket.closing && !socket.sending, "closed when asked, and drained");
                    self.closed += 1;
                }
            }
        }
    }

    /// Everyone leaves: every socket closes, every slot is free.
    fn calm(&mut self) {
        self.server.ring.stop_accepting();
        self.clients.clear();
        for _ in 0..100_000 {
            for (token, socket) in &mut self.sockets {
                if !std::mem::replace(&mut socket.closing, true) {
                    self.server.ring.submit(Operation::Close(*token));
                }
            }
            self.turn();
            if self.sockets.is_empty() && self.server.ring.addresses().count() == 0 {
                return;
            }
        }
        panic!("{} sockets did not close", self.sockets.len());
    }
}

#[test]
fn a_storm_of_every_seed_calms_down() {
    let (mut closed, mut dialled) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut storm = Storm::new(seed);
        for _ in 0..STEPS {
            storm.step();
        }
        storm.calm();
        assert_eq!(storm.closed, storm.server.ring.counters().accepted + storm.dialled);
        dialled += storm.dialled;
        closed += storm.closed;
    }
    assert!(closed > SEEDS * 10 && dialled > SEEDS * 5, "there was a storm: {closed}, {dialled}");
}
