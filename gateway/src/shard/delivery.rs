//! Delivery: what a room's owner publishes goes into the outboxes of its members, encoded once a subprotocol. A member
//! whose outbox is full lags: it is left out from here on, and `lag` brings it back.

use protocol::event::{ArchivedContentV1, Event};
use protocol::frame::{ServerFrame, Subprotocol, encode};
use protocol::id::{ConversationKey, UserId};
use ring::packet::{Packet, PacketPool};

use super::GatewayShard;
use super::connection::{NONE, State};
use super::settings::Settings;

/// Bytes of events from which on a packet takes no more of them; a quarter of an outbox when that is less.
const CHUNK_BYTES: usize = 32 * 1024;

/// Events that leave in one packet.
pub(super) struct Chunk<'a> {
    pub(super) events: &'a [Event],
    /// The seqs of the first and the last of them.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The user that the last of them says is no longer a member.
    pub(super) left: Option<&'a str>,
}

impl<'a> Chunk<'a> {
    /// The front of `events`, which are not empty, and the rest.
    pub(super) fn split(events: &'a [Event], settings: &Settings) -> (Self, &'a [Event]) {
        let bytes_max = CHUNK_BYTES.min(settings.outbox_bytes as usize / 4);
        let mut bytes = 0;
        for (at, event) in events.iter().enumerate() {
            bytes += event.as_bytes().len();
            let left = event.is_change().then(|| left_by(event)).flatten();
            if left.is_some() || bytes >= bytes_max {
                let (events, rest) = events.split_at(at + 1);
                return (Self::new(events, left), rest);
            }
        }
        (Self::new(events, None), &[])
    }

    fn new(events: &'a [Event], left: Option<&'a str>) -> Self {
        let seq = |event: Option<&Event>| event.map_or(0, Event::seq);
        Self { events, first: seq(events.first()), last: seq(events.last()), left }
    }

    /// One packet of all its events.
    pub(super) fn packet(&self, subprotocol: Subprotocol, pool: &mut PacketPool) -> Packet {
        pool.packet(|out| {
            for event in self.events {
                encode(subprotocol, &ServerFrame::Event(event), out);
            }
        })
    }
}

/// The user that an event says is no longer a member.
fn left_by(event: &Event) -> Option<&str> {
    match &event.view().content {
        ArchivedContentV1::Left { user } => Some(user),
        _ => None,
    }
}

/// The same bytes for every member, made when the first of a subprotocol needs them.
#[derive(Default)]
struct Packets([Option<Packet>; 2]);

impl Packets {
    fn get(&mut self, subprotocol: Subprotocol, make: impl FnOnce() -> Packet) -> Packet {
        self.0[subprotocol as usize].get_or_insert_with(make).clone()
    }

    fn release(self, pool: &mut PacketPool) {
        for packet in self.0.into_iter().flatten() {
            pool.release(packet);
        }
    }
}

impl GatewayShard {
    /// Committed events, dense and ascending.
    pub(super) fn publish(&mut self, key: &ConversationKey, events: &[Event]) {
        let Some(room) = self.rooms.find(key) else { return };
        let (Some(first), Some(end)) = (events.first(), events.last()) else { return };
        self.lamport = self.lamport.max(end.lamport());
        self.counters.delivery_ms.record(self.now.unix_ms.saturating_sub(first.time()));
        self.take_events(room, events);
    }

    /// Delivers what of `events` the room does not have yet; what does not follow its last is pulled instead.
    pub(super) fn take_events(&mut self, room: u32, events: &[Event]) {
        let (Some(first), Some(end)) = (events.first(), events.last()) else { return };
        let (first, end) = (first.seq(), end.seq());
        let found = self.rooms.room_mut(room);
        // Nobody is in the room yet: the head that its owner tells covers these.
        let Some(last) = found.last_seq() else { return };
        found.head = found.head.max(end);
        if first <= last + 1 && last < end {
            let new = events.partition_point(|event| event.seq() <= last);
            self.deliver(room, &events[new..]);
        }
        self.pull_room_if_behind(room);
        self.drop_room_if_empty(room);
    }

    /// Publishes were left out: the room pulls them.
    pub(super) fn head(&mut self, key: &ConversationKey, head: u64) {
        if let Some(room) = self.rooms.find(key) {
            let found = self.rooms.room_mut(room);
            found.head = found.head.max(head);
            self.pull_room_if_behind(room);
        }
    }

    fn deliver(&mut self, room: u32, events: &[Event]) {
        let mut rest = events;
        while !rest.is_empty() {
            let (chunk, later) = Chunk::split(rest, &self.settings);
            self.deliver_chunk(room, &chunk);
            rest = later;
        }
    }

    fn deliver_chunk(&mut self, room: u32, chunk: &Chunk<'_>) {
        self.rooms.room_mut(room).set_last_seq(chunk.last);
        let mut packets = Packets::default();
        let mut reached = 0;
        let mut at = self.rooms.room(room).members;
        while at != NONE {
            let next = self.rooms.attachment(at).next_in_room;
            reached += u64::from(self.deliver_to(at, chunk, &mut packets));
            at = next;
        }
        packets.release(&mut self.pool);
        self.counters.deliveries += reached * chunk.events.len() as u64;
        self.counters.fan_out.record(reached);
    }

    fn deliver_to(&mut self, at: u32, chunk: &Chunk<'_>, packets: &mut Packets) -> bool {
        let attachment = self.rooms.attachment(at);
        let (slot, position) = (attachment.slot, attachment.position());
        if attachment.is_apart() || position >= chunk.last {
            return false;
        }
        if position + 1 == chunk.first {
            let subprotocol = self.slab[slot].subprotocol;
            let packet = packets.get(subprotocol, || chunk.packet(subprotocol, &mut self.pool));
            if self.has_room(slot, packet.as_bytes().len()) {
                self.push(slot, packet);
                self.rooms.attachment_mut(at).set_position(chunk.last);
                if let Some(user) = chunk.left {
                    self.leave_with(at, user, chunk.last);
                }
                return true;
            }
            self.pool.release(packet);
        }
        self.lag(at);
        false
    }

    /// Takes a connection out of a room now that it was sent the event that says so. One that lags meets it later, and one that began
    /// behind it has come back since.
    fn leave_with(&mut self, at: u32, user: &str, seq: u64) {
        let attachment = self.rooms.attachment(at);
        let slot = attachment.slot;
        if !self.slab[slot].is_user(user) {
            return;
        }
        if attachment.has_returned() {
            self.ask_again(slot, at, seq);
        } else {
            self.rooms.detach(&mut self.slab[slot], at);
        }
    }

    /// Puts a frame that may be lost into the outboxes of a room's members, less those of `except`, and of those whose
    /// outbox is half full.
    pub(super) fn ephemeral(
        &mut self,
        key: &ConversationKey,
        except: Option<UserId>,
        frame: &ServerFrame<'_>,
    ) {
        let Some(room) = self.rooms.find(key) else { return };
        let mut packets = Packets::default();
        let mut at = self.rooms.room(room).members;
        while at != NONE {
            let attachment = self.rooms.attachment(at);
            let (slot, next) = (attachment.slot, attachment.next_in_room);
            at = next;
            let is_asked = attachment.is_asked();
            let connection = &self.slab[slot];
            if connection.state != State::Open
                || is_asked
                || except.is_some_and(|user| connection.is_user(user.as_str()))
            {
                continue;
            }
            if !self.is_half_empty(slot) {
                self.counters.ephemeral_dropped += 1;
                continue;
            }
            let subprotocol = connection.subprotocol;
            let packet = packets.get(subprotocol, || self.pool.packet(|out| encode(subprotocol, frame, out)));
            self.push(slot, packet);
        }
        packets.release(&mut self.pool);
    }
}
