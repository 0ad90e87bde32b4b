//! What a client hears: bytes become messages; pings are answered, closes obeyed, the rest is the script's.

use ring::operation::Operation;

use super::client::{State, flag};
use super::departure::told_ms;
use super::script::{Frame, Script};
use super::timer::Timer;
use super::{Crowd, Departure};
use crate::options::Subprotocol;
use crate::wire::{Close, Message, Opcode, write_control};

impl Crowd {
    pub(super) fn received(&mut self, place: usize, bytes: &[u8], script: &mut impl Script) {
        self.now_ns = ring::clock::monotonic_ns();
        self.counters.received_bytes += bytes.len() as u64;
        if self.clients[place].has(flag::SLOW) {
            self.read_slowly(place, bytes.len());
        }
        match self.clients[place].state {
            State::Upgrading => {
                if let Some(rest) = self.upgraded(place, bytes, script) {
                    self.take_messages(place, rest, script);
                }
            }
            State::Greeting | State::Online => self.take_messages(place, bytes, script),
            State::Leaving => {}
            State::Away | State::Dialling => unreachable!("bytes come from a socket that is connected"),
        }
    }

    fn take_messages(&mut self, place: usize, mut input: &[u8], script: &mut impl Script) {
        let mut reader = std::mem::take(&mut self.clients[place].reader);
        while matches!(self.clients[place].state, State::Greeting | State::Online) {
            match reader.next(&mut input) {
                Ok(Some(message)) => self.take_message(place, &message, script),
                Ok(None) => {
                    self.clients[place].reader = reader;
                    return;
                }
                Err(violation) => self.depart(place, Departure::Framing(violation), script),
            }
        }
    }

    fn take_message(&mut self, place: usize, message: &Message<'_>, script: &mut impl Script) {
        let data = match self.settings.subprotocol {
            Subprotocol::Json => Opcode::Text,
            Subprotocol::Rkyv => Opcode::Binary,
        };
        match message.opcode {
            Opcode::Ping => self.answer_ping(place, message.payload),
            Opcode::Pong => {}
            Opcode::Close => self.obey_close(place, message.payload, script),
            opcode if opcode != data && !self.settings.is_plain => {
                self.depart(place, Departure::Frame, script)
            }
            _ if self.clients[place].state == State::Greeting => self.greeted(place, message.payload, script),
            _ => {
                self.counters.messages += 1;
                let frame = Frame { subprotocol: self.settings.subprotocol, payload: message.payload };
                script.heard(self.first + place as u32, frame, self);
            }
        }
    }

    fn answer_ping(&mut self, place: usize, payload: &[u8]) {
        let mask = self.masks.key();
        let packet = self.pool.packet(|out| write_control(Opcode::Pong, payload, mask, out));
        self.counters.pongs += u64::from(self.put(place, packet));
    }

    fn obey_close(&mut self, place: usize, payload: &[u8], script: &mut impl Script) {
        let close = Close::parse(payload);
        if let Some(ms) = told_ms(close.reason) {
            self.told(place, ms);
        }
        self.say_last(place, close.code);
        self.depart(place, Departure::Closed(close.code), script);
    }

    /// Reads no more until what was read has taken its time.
    fn read_slowly(&mut self, place: usize, bytes: usize) {
        let Some(pace) = self.paces.get_mut(&(place as u32)) else { return };
        let takes_ns = bytes as u64 * 1_000_000_000 / u64::from(pace.bytes_per_second);
        pace.until_ns = pace.until_ns.max(self.now_ns) + takes_ns;
        self.operations.push(Operation::Pause(self.clients[place].token));
        self.timers.set(pace.until_ns, place as u32, Timer::Receive);
    }

    /// The time of what was read slowly is over.
    pub(super) fn read_on(&mut self, place: usize) {
        let client = &self.clients[place];
        let connected = !matches!(client.state, State::Away | State::Dialling | State::Leaving);
        // Two reads of one turn set two timers, and the second is the one that counts.
        let early = self.paces.get(&(place as u32)).is_some_and(|pace| pace.until_ns > self.now_ns);
        if connected && !early && !client.has(flag::PAUSED) {
            self.operations.push(Operation::Receive(client.token));
        }
    }
}
