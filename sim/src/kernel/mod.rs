//! The simulated kernel: sockets whose bytes split and join anywhere, whose sends are short, stall and fail, and whose
//! closes drain what is under way first. It holds the gateway shards to the rules of `ring::operation` as well.
//!
//! Has no rings and no threads.

mod client_end;
mod connection;

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::ops::Range;

use ring::operation::Operation;
use ring::packet::{GATHER_PACKETS_MAX, Gather};
use ring::token::Token;

pub(crate) use self::client_end::Read;
use self::connection::Connection;
pub(crate) use self::connection::{first_bytes, unsent_bytes};
use crate::cluster::Event;
use crate::coverage::Mark;
use crate::random::Span;
use crate::weather::Network;
use crate::world::World;

const CONNECTION_RESET: i32 = 104;
const BROKEN_PIPE: i32 = 32;
const CANCELED: i32 = 125;

/// A connection, by its number in the run; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionNumber(pub(crate) usize);

/// What is to come in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KernelEvent {
    /// A connection reaches the listener.
    Arrive(ConnectionNumber),
    /// The server's end may have something to tell.
    Receive(ConnectionNumber),
    /// A send makes progress.
    Send(ConnectionNumber),
    /// A close has drained.
    Close(ConnectionNumber),
}

/// What a gateway shard is told: `ring::operation::Completion` with bytes of its own.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A client connected.
    Accepted(Token, SocketAddr),
    /// Bytes came.
    Received(Token, Vec<u8>),
    /// The peer sends no more.
    Ended(Token, i32),
    /// A send ended.
    Sent(Token, i32, Box<Gather>),
    /// The slot is free.
    Closed(Token),
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    generation: u32,
    tenant: Option<ConnectionNumber>,
}

/// The descriptor table of one gateway shard, and what waits for it.
#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    backlog: VecDeque<ConnectionNumber>,
    happened: VecDeque<Happened>,
}

impl Table {
    fn new(slots: u32) -> Self {
        Self {
            slots: vec![Slot::default(); slots as usize],
            free: (0..slots).rev().collect(),
            backlog: VecDeque::new(),
            happened: VecDeque::new(),
        }
    }
}

/// The kernel of a node, and the network around it.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// How it behaves.
    pub(crate) network: Network,
    slots: u32,
    tables: Vec<Table>,
    connections: Vec<Connection>,
    /// By gateway shard.
    listening: Vec<bool>,
}

impl Kernel {
    /// A kernel for so many gateway shards with so many slots each.
    pub(crate) fn new(network: Network, gateways: u16, slots: u32) -> Self {
        let tables = (0..gateways).map(|_| Table::new(slots)).collect();
        Self { network, slots, tables, connections: Vec::new(), listening: vec![true; usize::from(gateways)] }
    }

    /// Whether the connection's completions wait for this gateway shard.
    pub(crate) fn has_happened(&self, gateway: usize) -> bool {
        !self.tables[gateway].happened.is_empty()
    }

    /// The next completion of a gateway shard.
    pub(crate) fn next_happened(&mut self, gateway: usize) -> Option<Happened> {
        self.tables[gateway].happened.pop_front()
    }

    /// Sockets that a gateway shard holds.
    pub(crate) fn open_sockets(&self, gateway: usize) -> usize {
        self.tables[gateway].slots.iter().filter(|slot| slot.tenant.is_some()).count()
    }

    /// The node is gone: every socket is cut, nothing listens until [`Kernel::listen`].
    pub(crate) fn node_gone(&mut self, world: &mut World<Event>) {
        self.gateways_gone(world, 0..self.tables.len());
    }

    /// A process with these gateway shards is gone.
    pub(crate) fn gateways_gone(&mut self, world: &mut World<Event>, gateways: Range<usize>) {
        for gateway in gateways.clone() {
            self.listening[gateway] = false;
            self.tables[gateway] = Table::new(self.slots);
        }
        for number in (0..self.connections.len()).map(ConnectionNumber) {
            let connection = &mut self.connections[number.0];
            if !connection.server.closed && gateways.contains(&connection.gateway) {
                connection.server.sending = None;
                connection.server.send_waits = false;
                connection.server.closed = true;
                connection.cut();
                self.notify_client(world, number);
            }
        }
    }

    /// A new node listens.
    pub(crate) fn listen(&mut self) {
        self.listening.fill(true);
    }

    /// Whether a gateway shard's process is there.
    pub(crate) fn is_listening(&self, gateway: usize) -> bool {
        self.listening[gateway]
    }

    /// A new process with these gateway shards listens.
    pub(crate) fn gateways_listen(&mut self, gateways: Range<usize>) {
        self.listening[gateways].fill(true);
    }

    /// Does what a gateway shard asks for; panics when the shard breaks a rule of `ring::operation`.
    pub(crate) fn submit(&mut self, world: &mut World<Event>, gateway: usize, operation: Operation) {
        match operation {
            Operation::Receive(token) => {
                let number = self.named(gateway, token);
                self.connections[number.0].server.armed = true;
                self.plan_receive(world, number);
            }
            Operation::Pause(token) => {
                let number = self.named(gateway, token);
                self.connections[number.0].server.armed = false;
            }
            Operation::Send(token, gather) => self.submit_send(world, gateway, token, gather),
            Operation::Shutdown(token) => {
                let number = self.named(gateway, token);
                self.connections[number.0].server.shut_down = true;
                self.end_shut_down(world, number);
            }
            Operation::Close(token) | Operation::Abort(token) => {
                let number = self.named(gateway, token);
                self.connections[number.0].server.closing = true;
                world.plan_within(self.network.turn_us, KernelEvent::Close(number).into());
            }
        }
    }

    /// The connection that a token names, for an operation: it is open, and its close was not asked for.
    fn named(&self, gateway: usize, token: Token) -> ConnectionNumber {
        let slot = self.tables[gateway].slots[token.slot as usize];
        assert_eq!(slot.generation, token.generation, "an operation names a former tenant of a slot");
        let number = slot.tenant.expect("an operation names a closed socket");
        assert!(!self.connections[number.0].server.closing, "an operation follows the close of its socket");
        number
    }

    fn submit_send(&mut self, world: &mut World<Event>, gateway: usize, token: Token, gather: Box<Gather>) {
        let number = self.named(gateway, token);
        assert!(gather.packets.len() <= GATHER_PACKETS_MAX, "a gather is bounded");
        assert!(unsent_bytes(&gather) > 0, "a send has bytes");
        let server = &mut self.connections[number.0].server;
        assert!(server.sending.is_none(), "one send is under way at a time");
        assert!(!server.shut_down, "no send follows a shutdown");
        server.sending = Some(gather);
        world.plan_within(self.network.turn_us, KernelEvent::Send(number).into());
    }

    /// The gateway shard that something planned is about.
    pub(crate) fn gateway_of(&self, event: KernelEvent) -> usize {
        let (KernelEvent::Arrive(number)
        | KernelEvent::Receive(number)
        | KernelEvent::Send(number)
        | KernelEvent::Close(number)) = event;
        self.connections[number.0].gateway
    }

    /// Something planned is due.
    pub(crate) fn handle(&mut self, world: &mut World<Event>, event: KernelEvent) {
        match event {
            KernelEvent::Arrive(number) => self.arrive(world, number),
            KernelEvent::Receive(number) => self.receive(world, number),
            KernelEvent::Send(number) => self.send(world, number),
            KernelEvent::Close(number) => self.close(world, number),
        }
    }

    fn arrive(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        if connection.server.closed {
            return;
        }
        if !self.listening[connection.gateway] {
            connection.server.closed = true;
            connection.cut();
            self.notify_client(world, number);
            return;
        }
        let gateway = connection.gateway;
        self.tables[gateway].backlog.push_back(number);
        self.accept(gateway);
    }

    fn accept(&mut self, gateway: usize) {
        let table = &mut self.tables[gateway];
        while !table.backlog.is_empty()
            && let Some(slot) = table.free.pop()
        {
            let number = table.backlog.pop_front().expect("checked");
            let entry = &mut table.slots[slot as usize];
            entry.tenant = Some(number);
            let token = Token { slot, generation: entry.generation };
            self.connections[number.0].server.token = Some(token);
            let peer = SocketAddr::from(([127, 0, 0, 1], 20_000 + (number.0 % 40_000) as u16));
            table.happened.push_back(Happened::Accepted(token, peer));
        }
    }

    fn plan_receive(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        let server = &mut connection.server;
        if server.armed && !server.receive_planned && !server.closed && connection.has_news() {
            connection.server.receive_planned = true;
            world.plan_within(self.network.delay_us, KernelEvent::Receive(number).into());
        }
    }

    fn receive(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        connection.server.receive_planned = false;
        let Some(token) = connection.server.token.filter(|_| !connection.server.closed) else { return };
        let late = !connection.server.armed || connection.server.closing;
        if late && (world.random.coin() || connection.to_server.bytes.is_empty()) {
            return;
        }
        if world.random.happens(self.network.buffers_exhausted) {
            world.coverage.hit(Mark::BuffersExhausted);
            connection.server.receive_planned = true;
            world.plan_within(self.network.delay_us, KernelEvent::Receive(number).into());
            return;
        }
        let happened = &mut self.tables[connection.gateway].happened;
        let there = connection.to_server.bytes.len();
        if there > 0 {
            let bytes = connection.to_server.take(piece(world, &self.network, there));
            connection.fill(self.network.window_bytes);
            if late {
                world.coverage.hit(Mark::ReceiveLate);
            }
            happened.push_back(Happened::Received(token, bytes));
        } else if connection.has_news() {
            connection.server.armed = false;
            let error = if connection.reset { CONNECTION_RESET } else { 0 };
            happened.push_back(Happened::Ended(token, error));
        }
        self.plan_receive(world, number);
    }

    fn send(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        if connection.server.closing || connection.server.closed {
            return;
        }
        let Some(gather) = connection.server.sending.take() else { return };
        let token = connection.server.token.expect("only an accepted socket sends");
        connection.server.send_waits = false;
        let room = self.network.window_bytes - connection.to_client.bytes.len();
        let result = if connection.reset {
            -CONNECTION_RESET
        } else if connection.client.gone && connection.to_server.ended {
            -BROKEN_PIPE
        } else if room == 0 {
            world.coverage.hit(Mark::SendStalled);
            connection.server.sending = Some(gather);
            connection.server.send_waits = true;
            return;
        } else {
            let count = sent_piece(world, &self.network, unsent_bytes(&gather).min(room));
            if count < unsent_bytes(&gather) {
                world.coverage.hit(Mark::SendShort);
            }
            connection.to_client.bytes.extend(first_bytes(&gather, count));
            count as i32
        };
        self.tables[connection.gateway].happened.push_back(Happened::Sent(token, result, gather));
        self.end_shut_down(world, number);
        self.notify_client(world, number);
    }

    /// The end of the stream leaves behind the last send.
    fn end_shut_down(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        if connection.server.shut_down && connection.server.sending.is_none() {
            connection.to_client.ended = true;
            self.notify_client(world, number);
        }
    }

    fn close(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        if connection.server.closed {
            return;
        }
        let token = connection.server.token.expect("only an accepted socket closes");
        let table = &mut self.tables[connection.gateway];
        if let Some(gather) = connection.server.sending.take() {
            connection.server.send_waits = false;
            table.happened.push_back(Happened::Sent(token, -CANCELED, gather));
        }
        table.happened.push_back(Happened::Closed(token));
        let slot = &mut table.slots[token.slot as usize];
        *slot = Slot { generation: slot.generation.wrapping_add(1), tenant: None };
        table.free.push(token.slot);
        connection.server.closed = true;
        // TCP: a close with unread bytes answers with a reset, which may overtake what was sent.
        if !connection.to_server.bytes.is_empty() && world.random.coin() {
            connection.cut();
        }
        connection.to_client.ended = true;
        let gateway = connection.gateway;
        self.notify_client(world, number);
        self.accept(gateway);
    }

    /// Checks every bound of every connection.
    pub(crate) fn invariants(&self) {
        for connection in &self.connections {
            connection.invariants(self.network.window_bytes);
        }
        for table in &self.tables {
            let held = table.slots.iter().filter(|slot| slot.tenant.is_some()).count();
            assert_eq!(held + table.free.len(), table.slots.len(), "a slot is held or free");
        }
    }
}

/// How many of `there` bytes a receive takes.
fn piece(world: &mut World<Event>, network: &Network, there: usize) -> usize {
    let most = there.min(network.buffer_bytes);
    if most > 1 && world.random.happens(network.receive_split) {
        world.coverage.hit(Mark::ReceiveSplit);
        return world.random.within(Span::new(1, most as u64 - 1)) as usize;
    }
    most
}

/// How many of `possible` bytes a send takes.
fn sent_piece(world: &mut World<Event>, network: &Network, possible: usize) -> usize {
    if possible > 1 && world.random.happens(network.send_short) {
        return world.random.within(Span::new(1, possible as u64 - 1)) as usize;
    }
    possible
}
