//! The upgrade: the one HTTP request of a connection, answered with 101 or with the end of the connection.

use protocol::upgrade::{Answer, CONNECT_PATH, HEAD_BYTES_MAX, Request, Status, Upgrade, parse};

use super::GatewayShard;
use super::connection::{Flag, NONE, State};
use super::settings::ListenerKind;
use super::wheel::{tick_of, ticks};

/// Milliseconds told to a client that found no seat.
const SEAT_RETRY_MS: u32 = 5_000;

impl GatewayShard {
    pub(super) fn read_head(&mut self, slot: u32, bytes: &mut [u8]) {
        if !self.slab[slot].flags.take(Flag::Input) {
            match parse(bytes) {
                Ok(Some(request)) => {
                    let head_bytes = request.head_bytes;
                    self.answer_head(slot, &request);
                    if head_bytes < bytes.len() && self.slab[slot].is_websocket() {
                        self.read_messages(slot, &mut bytes[head_bytes..]);
                    }
                }
                Ok(None) => self.keep_head(slot, bytes),
                Err(answer) => self.answer_http(slot, answer),
            }
            return;
        }
        let mut input = self.inputs.take(slot, true);
        input.assembly.extend_from_slice(bytes);
        let mut head = core::mem::take(&mut input.assembly);
        self.inputs.put(slot, input);
        // A head can only end, or turn out wrong, at the end of a line: trickled bytes are not parsed one by one.
        let parsed =
            if bytes.contains(&b'\n') || head.len() >= HEAD_BYTES_MAX { parse(&head) } else { Ok(None) };
        match parsed {
            Ok(Some(request)) => {
                let head_bytes = request.head_bytes;
                self.answer_head(slot, &request);
                if head_bytes < head.len() && self.slab[slot].is_websocket() {
                    self.read_messages(slot, &mut head[head_bytes..]);
                }
            }
            Ok(None) => self.keep_head(slot, &head),
            Err(answer) => self.answer_http(slot, answer),
        }
    }

    fn keep_head(&mut self, slot: u32, head: &[u8]) {
        let mut input = self.inputs.take(slot, false);
        input.assembly.extend_from_slice(head);
        if self.inputs.put(slot, input) {
            self.slab[slot].flags.set(Flag::Input);
        }
        if self.inputs.bytes() > self.settings.input_total_bytes {
            let answer = Answer::retry(Status::Unavailable, "too many unfinished requests", 1_000);
            self.answer_http(slot, answer);
        }
    }

    fn answer_head(&mut self, slot: u32, request: &Request<'_>) {
        match self.decide(slot, request) {
            Ok(upgrade) => self.accept(slot, &upgrade),
            Err(answer) => self.answer_http(slot, answer),
        }
    }

    fn decide(&mut self, slot: u32, request: &Request<'_>) -> Result<Upgrade, Answer> {
        if let Some(drain) = &self.drain {
            return Err(Answer::retry(Status::Unavailable, "the server stops", drain.retry_after_ms()));
        }
        let protocol = self.slab[slot].listener == ListenerKind::Client;
        if protocol && request.path != CONNECT_PATH {
            return Err(Answer::not_found());
        }
        let upgrade = request.upgrade()?;
        if protocol && let Some(token) = &request.token {
            match self.authenticator.verify(&token.text, self.now.unix_ms) {
                Ok(identity) => self.identify(slot, &identity),
                Err(error) => {
                    self.counters.tokens_refused += 1;
                    return Err(Answer::new(Status::Unauthorized, error.message()));
                }
            }
        }
        Ok(upgrade)
    }

    fn accept(&mut self, slot: u32, upgrade: &Upgrade) {
        self.counters.upgrades += 1;
        let tick = tick_of(self.now.monotonic_ms);
        let connection = &mut self.slab[slot];
        connection.subprotocol = upgrade.subprotocol;
        connection.heard_tick = tick;
        connection.state_tick = tick + ticks(self.settings.hello_timeout_ms);
        connection.state = match connection.listener {
            ListenerKind::Client => State::AwaitHello,
            ListenerKind::Echo => State::Echo,
        };
        let packet = self.pool.packet(|out| upgrade.write(out));
        self.push(slot, packet);
        self.arm_timer(slot);
        if !self.take_seat(slot) {
            self.close_over_limit(slot, "all connections of this server are taken", SEAT_RETRY_MS);
        }
    }

    fn take_seat(&mut self, slot: u32) -> bool {
        let taken = self.seated < self.settings.connections_max && self.settings.seats.take();
        if taken {
            self.seated += 1;
            self.slab[slot].flags.set(Flag::Seated);
        }
        taken
    }

    /// The socket is closed.
    pub(super) fn leave_seat(&mut self, slot: u32) {
        if self.slab[slot].flags.take(Flag::Seated) {
            self.seated -= 1;
            self.settings.seats.give_back();
        }
    }

    /// Answers with anything but 101, and ends the connection behind it.
    fn answer_http(&mut self, slot: u32, answer: Answer) {
        self.counters.upgrades_refused += 1;
        let packet = self.pool.packet(|out| answer.write(out));
        let connection = &mut self.slab[slot];
        debug_assert!(connection.outbox.head == NONE);
        self.outboxes.push(&mut connection.outbox, packet);
        self.mark_dirty(slot);
        self.end(slot);
    }
}
