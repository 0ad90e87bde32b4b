//! Reading: received bytes become messages, in place. A connection that may not go on for now is paused, and what has
//! come is put aside; whatever it waits for calls it up again.

use protocol::error::CloseCode;
use protocol::frame::{Subprotocol, decode};
use protocol::websocket::{Message, Opcode, write};
use ring::operation;

use super::GatewayShard;
use super::connection::{Flag, State};
use super::input::Input;
use super::settings::ListenerKind;
use super::wheel::tick_of;

/// Most bytes put aside of one connection: what a paused socket may still bring is a few of the ring's buffers.
const STASH_BYTES_MAX: usize = 1 << 20;
/// Connections taken up again at the end of one completion; the rest at the next.
const TAKE_UP_MAX: usize = 64;
/// Milliseconds told to a client that is closed since the shard is short of memory.
const MEMORY_RETRY_MS: u32 = 1_000;
/// Frames over the rate, without a pause that fills the bucket, at which a client is closed.
const STRIKES_MAX: u16 = 1_000;

/// Why a connection's next message is not taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// For something of its own: the welcome, answers of routers, room in the outbox or, in a cluster, on the way to an owner.
    Own,
    /// For room on the way to an owner.
    Owner,
    /// For its turn to open a session.
    Lobby,
}

impl GatewayShard {
    pub(super) fn received(&mut self, slot: u32, bytes: &mut [u8]) {
        self.counters.bytes_in += bytes.len() as u64;
        match self.slab[slot].state {
            State::Upgrading => self.read_head(slot, bytes),
            State::AwaitHello | State::Opening | State::Open | State::Echo => self.read_messages(slot, bytes),
            // Taken off the socket so that the peer's end of the stream is seen, and thrown away.
            State::Closing | State::Closed | State::Free => {}
        }
    }

    pub(super) fn read_messages(&mut self, slot: u32, bytes: &mut [u8]) {
        let mut input = self.take_input(slot);
        let mut rest = bytes;
        if input.stash.is_empty() {
            self.run(slot, &mut rest, &mut input.assembly);
        }
        input.stash.extend_from_slice(rest);
        self.put_input(slot, input);
    }

    /// Goes on with what was put aside.
    fn take_up(&mut self, slot: u32) {
        if !self.slab[slot].is_websocket() {
            return;
        }
        let mut input = self.take_input(slot);
        let mut stash = core::mem::take(&mut input.stash);
        let stashed = stash.len();
        let mut rest = &mut stash[..];
        self.run(slot, &mut rest, &mut input.assembly);
        let taken = stashed - rest.len();
        stash.drain(..taken);
        input.stash = stash;
        self.put_input(slot, input);
        if !self.slab[slot].flags.has(Flag::Stalled) {
            self.listen(slot);
        }
    }

    fn take_input(&mut self, slot: u32) -> Input {
        let present = self.slab[slot].flags.take(Flag::Input);
        self.inputs.take(slot, present)
    }

    /// Keeps what is left of a connection's input, or closes the connection when that is too much.
    fn put_input(&mut self, slot: u32, mut input: Input) {
        if self.slab[slot].is_websocket() {
            self.slab[slot].reader.settle(&mut input.assembly);
        } else if self.slab[slot].state != State::Upgrading {
            input.assembly.clear();
            input.stash.clear();
        }
        let stashed = input.stash.len();
        if self.inputs.put(slot, input) {
            self.slab[slot].flags.set(Flag::Input);
        }
        if stashed > 0 {
            self.pause(slot);
        }
        let short = self.inputs.bytes() > self.settings.input_total_bytes;
        if self.slab[slot].flags.has(Flag::Input) && (short || stashed > STASH_BYTES_MAX) {
            self.close_over_limit(slot, "too much unfinished input", MEMORY_RETRY_MS);
        }
    }

    /// Takes messages off the front of `rest`, until there are none or the connection has to wait.
    fn run(&mut self, slot: u32, rest: &mut &mut [u8], assembly: &mut Vec<u8>) {
        self.slab[slot].flags.clear(Flag::Stalled);
        while !rest.is_empty() {
            if let Some(wait) = self.wait(slot) {
                self.stall(slot, wait);
                return;
            }
            let connection = &mut self.slab[slot];
            if !connection.is_reading() {
                *rest = &mut [];
                return;
            }
            let bytes_max = match connection.listener {
                ListenerKind::Client => self.settings.limits.frame_bytes,
                ListenerKind::Echo => self.settings.echo_message_bytes,
            };
            match connection.reader.read(rest, assembly, bytes_max) {
                Ok(Some(message)) => self.message(slot, message),
                Ok(None) => return,
                Err(violation) => self.close(slot, violation.close_code(), violation.message()),
            }
        }
    }

    fn wait(&self, slot: u32) -> Option<Wait> {
        let connection = &self.slab[slot];
        // When all outboxes together are full, one answer at a time.
        let short = self.outboxes.bytes() >= self.settings.outbox_total_bytes;
        let busy = connection.requests >= self.settings.requests_in_flight_max
            || connection.outbox.bytes > self.settings.outbox_bytes
            || short && (connection.requests > 0 || connection.outbox.bytes > 0);
        match connection.state {
            State::Opening => Some(Wait::Own),
            _ if busy || self.is_held_up(slot) => Some(Wait::Own),
            State::AwaitHello if self.openings.len() >= self.settings.openings_max as usize => {
                Some(Wait::Lobby)
            }
            State::AwaitHello | State::Open if self.is_congested() => Some(Wait::Owner),
            _ => None,
        }
    }

    fn stall(&mut self, slot: u32, wait: Wait) {
        let connection = &mut self.slab[slot];
        connection.flags.set(Flag::Stalled);
        if wait == Wait::Own || connection.flags.has(Flag::Parked) {
            return;
        }
        connection.flags.set(Flag::Parked);
        let token = connection.token(slot);
        if wait == Wait::Lobby { self.lobby.push_back(token) } else { self.parked.push_back(token) }
    }

    /// What a stalled connection waited for may have come.
    pub(super) fn wake(&mut self, slot: u32) {
        let connection = &mut self.slab[slot];
        if connection.flags.has(Flag::Stalled) && !connection.flags.has(Flag::Ready) {
            connection.flags.set(Flag::Ready);
            self.ready.push_back(connection.token(slot));
        }
    }

    /// Goes on with connections that were called up.
    #[inline]
    pub(super) fn take_up_ready(&mut self) {
        if !self.ready.is_empty() || !self.parked.is_empty() || !self.lobby.is_empty() {
            self.take_up_some();
        }
    }

    fn take_up_some(&mut self) {
        for _ in 0..TAKE_UP_MAX {
            let Some((token, flag)) = self.next_ready() else { return };
            if let Some(slot) = self.slab.slot(token)
                && self.slab[slot].flags.take(flag)
            {
                self.take_up(slot);
            }
        }
    }

    fn next_ready(&mut self) -> Option<(ring::token::Token, Flag)> {
        if let Some(token) = self.ready.pop_front() {
            return Some((token, Flag::Ready));
        }
        if self.is_congested() {
            return None;
        }
        if let Some(token) = self.parked.pop_front() {
            return Some((token, Flag::Parked));
        }
        let free = self.openings.len() < self.settings.openings_max as usize;
        free.then(|| self.lobby.pop_front()).flatten().map(|token| (token, Flag::Parked))
    }

    /// True when [`GatewayShard::take_up_ready`] has something to do at once.
    pub(super) fn has_ready(&self) -> bool {
        let lobby = !self.lobby.is_empty() && self.openings.len() < self.settings.openings_max as usize;
        !self.ready.is_empty()
            || self.has_eased()
            || (!self.parked.is_empty() || lobby) && !self.is_congested()
    }

    /// Arms the socket.
    pub(super) fn listen(&mut self, slot: u32) {
        let connection = &mut self.slab[slot];
        if connection.state != State::Closed
            && !connection.flags.has(Flag::Receiving)
            && !connection.flags.has(Flag::PeerEnded)
        {
            connection.flags.set(Flag::Receiving);
            let token = connection.token(slot);
            self.sockets.push_back(operation::Operation::Receive(token));
        }
    }

    fn pause(&mut self, slot: u32) {
        let connection = &mut self.slab[slot];
        if connection.flags.take(Flag::Receiving) {
            let token = connection.token(slot);
            self.sockets.push_back(operation::Operation::Pause(token));
        }
    }

    fn message(&mut self, slot: u32, message: Message<'_>) {
        self.counters.frames_in += 1;
        self.heard(slot);
        match message {
            Message::Text(payload) => self.data(slot, Opcode::Text, payload),
            Message::Binary(payload) => self.data(slot, Opcode::Binary, payload),
            Message::Ping(payload) => {
                if self.admit(slot).is_ok() {
                    let packet = self.pool.packet(|out| write(Opcode::Pong, payload, out));
                    self.push(slot, packet);
                }
            }
            Message::Pong(_) => {
                let _ = self.admit(slot);
            }
            Message::Close { code, .. } => self.answer_close(slot, code),
        }
    }

    fn heard(&mut self, slot: u32) {
        let tick = tick_of(self.now.monotonic_ms);
        let connection = &mut self.slab[slot];
        connection.heard_tick = tick;
        connection.pings = 0;
        if connection.flags.take(Flag::Silent) {
            self.tell_heard(slot, true);
        }
    }

    /// Takes a frame from the connection's rate.
    ///
    /// # Errors
    /// Milliseconds to wait; a client that goes on long enough is closed.
    fn admit(&mut self, slot: u32) -> Result<(), u32> {
        let (rate, now_us) = (self.frame_rate, self.now.monotonic_us);
        let connection = &mut self.slab[slot];
        if connection.state == State::Echo {
            return Ok(());
        }
        if connection.frames.is_full(now_us) {
            connection.strikes = 0;
        }
        let admitted = connection.frames.take(rate, now_us);
        if let Err(retry_after_ms) = admitted {
            connection.strikes += 1;
            self.counters.rate_limited += 1;
            if self.slab[slot].strikes >= STRIKES_MAX {
                self.close_over_limit(slot, "too many frames", retry_after_ms);
            }
        }
        admitted
    }

    fn data(&mut self, slot: u32, opcode: Opcode, payload: &mut [u8]) {
        if self.slab[slot].state == State::Echo {
            let packet = self.pool.packet(|out| write(opcode, payload, out));
            self.push(slot, packet);
            return;
        }
        let subprotocol = self.slab[slot].subprotocol;
        let expected = match subprotocol {
            Subprotocol::Json => Opcode::Text,
            Subprotocol::Rkyv => Opcode::Binary,
        };
        if opcode != expected {
            self.close(slot, CloseCode::UNSUPPORTED, "the subprotocol has the other kind of frame");
            return;
        }
        let admitted = self.admit(slot);
        if !self.slab[slot].is_reading() {
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        match decode(subprotocol, payload, &mut scratch) {
            Ok(frame) => self.frame(slot, &frame, admitted),
            Err(error) => self.frame_error(slot, &error),
        }
        self.scratch = scratch;
    }
}
