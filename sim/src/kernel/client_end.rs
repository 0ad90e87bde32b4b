//! The client's end of simulated connections: connect, write, read, and the ways in which a client goes.

use super::{Connection, ConnectionNumber, Kernel, KernelEvent};
use crate::cluster::Event;
use crate::world::World;

/// What a client finds at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing for now.
    Nothing,
    /// The server sends no more.
    End,
    /// The connection is cut.
    Reset,
}

impl Kernel {
    /// A client connects to a gateway shard's listener.
    pub(crate) fn connect(&mut self, world: &mut World<Event>, gateway: usize) -> ConnectionNumber {
        let number = ConnectionNumber(self.connections.len());
        self.connections.push(Connection { gateway, ..Connection::default() });
        world.plan_within(self.network.delay_us, KernelEvent::Arrive(number).into());
        number
    }

    /// A client writes; what does not fit the window waits at its end.
    pub(crate) fn write(&mut self, world: &mut World<Event>, number: ConnectionNumber, bytes: &[u8]) {
        let connection = &mut self.connections[number.0];
        if connection.reset || connection.client.gone || connection.client.finishing {
            return;
        }
        if connection.server.closed {
            return;
        }
        connection.client.unsent.extend(bytes);
        connection.fill(self.network.window_bytes);
        self.plan_receive(world, number);
    }

    /// Bytes that wait at the client's end because the server does not read.
    pub(crate) fn unsent(&self, number: ConnectionNumber) -> usize {
        self.connections[number.0].client.unsent.len()
    }

    /// A client reads up to `count` bytes.
    pub(crate) fn read(&mut self, world: &mut World<Event>, number: ConnectionNumber, count: usize) -> Read {
        let connection = &mut self.connections[number.0];
        connection.client.notice_planned = false;
        if connection.reset {
            return Read::Reset;
        }
        let bytes = connection.to_client.take(count);
        if bytes.is_empty() {
            return if connection.to_client.ended { Read::End } else { Read::Nothing };
        }
        if connection.server.send_waits {
            connection.server.send_waits = false;
            world.plan_within(self.network.delay_us, KernelEvent::Send(number).into());
        }
        self.notify_client(world, number);
        Read::Bytes(bytes)
    }

    /// Plans a notice to the client when there is something for it.
    pub(super) fn notify_client(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        let news = connection.reset || connection.to_client.ended || !connection.to_client.bytes.is_empty();
        if news && !connection.client.gone && !connection.client.notice_planned {
            connection.client.notice_planned = true;
            world.plan_within(self.network.delay_us, Event::ClientReadable(number));
        }
    }

    /// A client ends its half of the stream, behind what it wrote.
    pub(crate) fn finish(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        connection.client.finishing = true;
        connection.fill(self.network.window_bytes);
        self.plan_receive(world, number);
    }

    /// A client closes in order: it reads no more, and its half of the stream ends behind what it wrote.
    pub(crate) fn leave(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        if self.connections[number.0].client.gone {
            return;
        }
        self.finish(world, number);
        self.connections[number.0].client.gone = true;
        self.wake_waiting_send(world, number);
    }

    /// A client cuts the connection.
    pub(crate) fn reset(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let connection = &mut self.connections[number.0];
        connection.cut();
        connection.client.gone = true;
        self.plan_receive(world, number);
        self.wake_waiting_send(world, number);
    }

    /// A client vanishes: the server is told nothing, and nobody reads.
    pub(crate) fn vanish(&mut self, number: ConnectionNumber) {
        let client = &mut self.connections[number.0].client;
        client.gone = true;
        client.unsent.clear();
    }

    fn wake_waiting_send(&mut self, world: &mut World<Event>, number: ConnectionNumber) {
        let server = &mut self.connections[number.0].server;
        if server.send_waits {
            server.send_waits = false;
            world.plan_within(self.network.delay_us, KernelEvent::Send(number).into());
        }
    }
}
