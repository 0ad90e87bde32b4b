//! Lag mode: a connection that could not take a conversation's events remembers up to where it has them, and pulls the
//! rest out of the log once its outbox has drained. The same brings a resuming device what it missed, and a room what its
//! shard's full mailbox left out.

use protocol::envelope::{Caller, ToRouter};
use protocol::error::Refusal;
use protocol::event::Event;
use protocol::frame::ServerFrame;
use protocol::id::ConversationKey;

use super::GatewayShard;
use super::caller::{Asks, ROOM};
use super::connection::{Flag, NONE, State};
use super::delivery::Chunk;
use super::retry::Retry;

/// Events asked for at a time; the owner bounds their bytes.
const PULL_EVENTS: u16 = 200;

/// An answer to a pull.
pub(super) struct Backlog {
    pub(super) caller: Caller,
    pub(super) conversation: ConversationKey,
    pub(super) after: u64,
    pub(super) events: Box<[Event]>,
    pub(super) head: u64,
    pub(super) refused: Option<Refusal>,
}

impl GatewayShard {
    /// An outbox is full, or events came that do not follow what the connection was sent: it takes this room's events out
    /// of the log from now on. One that was about to leave leaves.
    pub(super) fn lag(&mut self, at: u32) {
        let attachment = self.rooms.attachment(at);
        let slot = attachment.slot;
        if attachment.is_leaving() {
            self.rooms.detach(&mut self.slab[slot], at);
            return;
        }
        self.counters.lags += 1;
        self.rooms.make_lagging(&mut self.slab[slot], at);
        // One that has nothing unsent is called up by nobody else.
        self.pump(slot);
    }

    /// Makes live what has missed nothing, and pulls for the rest.
    pub(super) fn begin_delivery(&mut self, slot: u32) {
        let lagging: u32 = u32::from(self.slab[slot].attachments);
        let mut at = self.slab[slot].lagging;
        for _ in 0..lagging {
            if at == NONE || !self.rooms.attachment(at).is_lagging() {
                break;
            }
            let next = self.rooms.attachment(at).next_of_connection;
            if self.has_everything(at) {
                self.rooms.make_live(&mut self.slab[slot], at);
            }
            at = next;
        }
        self.pump(slot);
    }

    fn has_everything(&self, at: u32) -> bool {
        let attachment = self.rooms.attachment(at);
        self.rooms.room(attachment.room).last_seq().is_some_and(|last| attachment.position() >= last)
    }

    /// Goes on with the next room that lags, when the outbox has drained and no pull is under way.
    pub(super) fn pump(&mut self, slot: u32) {
        loop {
            let connection = &self.slab[slot];
            let at = connection.lagging;
            if at == NONE
                || connection.state != State::Open
                || connection.flags.has(Flag::Pulling)
                || !self.is_half_empty(slot)
            {
                return;
            }
            let attachment = self.rooms.attachment(at);
            let room = self.rooms.room(attachment.room);
            let (position, last) = (attachment.position(), room.last_seq().unwrap_or(0));
            if position >= last {
                self.rooms.make_live(&mut self.slab[slot], at);
            } else if last - position > self.settings.lag_events_max {
                self.leap(at, last);
            } else {
                let conversation = room.key();
                self.slab[slot].flags.set(Flag::Pulling);
                self.counters.backlog_pulls += 1;
                self.pull(self.caller(slot, Asks::Session, i64::from(at)), conversation, position);
                return;
            }
        }
    }

    fn pull(&mut self, caller: Caller, conversation: ConversationKey, after: u64) {
        self.ask(&conversation, ToRouter::Backlog { caller, conversation, after, limit: PULL_EVENTS });
    }

    /// Tells a connection what it will not be sent, and goes on behind it, if the owner says so: the event of its leaving may be among
    /// what it is not sent, and the news of that be lost with a node.
    fn leap(&mut self, at: u32, to: u64) {
        let attachment = self.rooms.attachment(at);
        let (slot, after) = (attachment.slot, attachment.position());
        let conversation = self.rooms.room(self.rooms.attachment(at).room).key().conversation;
        self.counters.lag_jumps += 1;
        self.answer(slot, &ServerFrame::Lagging { conversation, after, head: to });
        self.ask_again(slot, at, to);
    }

    pub(super) fn backlog(&mut self, backlog: &Backlog) {
        if backlog.caller.reference == ROOM {
            self.room_backlog(backlog);
            return;
        }
        let Some((slot, Asks::Session)) = self.answered(&backlog.caller) else { return };
        self.slab[slot].flags.clear(Flag::Pulling);
        let at = self.rooms.check(backlog.caller.reference, slot, &backlog.conversation);
        if let Some(at) = at {
            let attachment = self.rooms.attachment(at);
            if attachment.is_lagging() && attachment.position() == backlog.after {
                // The next pull is another room's: none of them waits for all of one.
                self.slab[slot].lagging = attachment.next_of_connection;
                if !self.catch_up(slot, at, backlog) {
                    return;
                }
            }
        }
        self.pump(slot);
    }

    /// Sends a lagging connection what was pulled. False when it is called up again later.
    fn catch_up(&mut self, slot: u32, at: u32, backlog: &Backlog) -> bool {
        let Some(first) = backlog.events.first() else {
            self.slab[slot].flags.set(Flag::Pulling);
            let token = self.slab[slot].token(slot);
            let retry_after_ms = backlog.refused.and_then(|refusal| refusal.retry_after_ms);
            self.retry_after(retry_after_ms, Retry::Pull(token.into()));
            return false;
        };
        if first.seq() > backlog.after + 1 {
            // Retention has let go of what lies between.
            self.leap(at, first.seq() - 1);
            return true;
        }
        let subprotocol = self.slab[slot].subprotocol;
        let mut rest = &backlog.events[..];
        while !rest.is_empty() {
            let (chunk, later) = Chunk::split(rest, &self.settings);
            let packet = chunk.packet(subprotocol, &mut self.pool);
            if !self.has_room(slot, packet.as_bytes().len()) {
                self.pool.release(packet);
                // Something is on its way, or there would be room: when that is sent the connection is called up again.
                return false;
            }
            self.push(slot, packet);
            self.counters.deliveries += chunk.events.len() as u64;
            self.rooms.attachment_mut(at).set_position(chunk.last);
            if chunk.left.is_some_and(|user| self.slab[slot].is_user(user)) {
                self.ask_again(slot, at, chunk.last);
                return true;
            }
            rest = later;
        }
        if self.has_everything(at) {
            self.rooms.make_live(&mut self.slab[slot], at);
        }
        true
    }

    /// Something says that the member left. It may be long ago, and the member back since: the owner knows. Its events go on
    /// after `seq` if so. It keeps its place in the room meanwhile: what else was asked for it may be answered first, and is
    /// not to begin again what it was sent.
    pub(super) fn ask_again(&mut self, slot: u32, at: u32, seq: u64) {
        let room = self.rooms.attachment(at).room;
        let key = self.rooms.room(room).key();
        self.rooms.make_asked(&mut self.slab[slot], at, seq);
        self.joined(slot, &key, seq);
    }

    /// An owner says that a member is one: it has what lies up to `after`, and the log ends at `head`. What was asked before the member was
    /// sent as much says nothing of now.
    pub(super) fn go_on(&mut self, at: u32, after: u64, head: u64) {
        let is_right = self.cluster.is_none();
        let attachment = self.rooms.attachment_mut(at);
        let position = attachment.position();
        if !attachment.is_asked() || after < position && !(is_right && after == head) {
            return;
        }
        if is_right {
            // The log may be another one, of a conversation that was made anew.
            attachment.set_position(position.min(head));
        }
        attachment.clear_asked();
        let slot = attachment.slot;
        if self.slab[slot].state != State::Open || !self.has_everything(at) {
            self.lag(at);
        }
    }

    /// An owner says that there is no such member, as asked for one that has what lies up to `after`.
    pub(super) fn go_away(&mut self, slot: u32, room: u32, after: u64) {
        if let Some(at) = self.attachment_in(slot, room) {
            let attachment = self.rooms.attachment(at);
            if attachment.is_asked() && after >= attachment.position() {
                self.rooms.detach(&mut self.slab[slot], at);
            }
        }
    }

    /// One pull a room, until it has what is known to be published.
    pub(super) fn pull_room_if_behind(&mut self, room: u32) {
        let found = self.rooms.room_mut(room);
        let Some(last) = found.last_seq() else { return };
        if found.pulling || found.head <= last || found.member_count == 0 {
            return;
        }
        found.pulling = true;
        let conversation = found.key();
        self.counters.room_pulls += 1;
        let caller = Caller { gateway: self.id, connection: 0, reference: ROOM };
        self.pull(caller, conversation, last);
    }

    fn room_backlog(&mut self, backlog: &Backlog) {
        let Some(room) = self.rooms.find(&backlog.conversation) else { return };
        let found = self.rooms.room_mut(room);
        let Some(last) = found.last_seq() else { return };
        found.head = found.head.max(backlog.head);
        match backlog.events.first() {
            None if found.head > last => {
                let retry_after_ms = backlog.refused.and_then(|refusal| refusal.retry_after_ms);
                self.retry_after(retry_after_ms, Retry::Room(backlog.conversation));
            }
            None => found.pulling = false,
            Some(first) => {
                found.pulling = false;
                if first.seq() > last + 1 {
                    self.skip(room, first.seq() - 1);
                }
                self.take_events(room, &backlog.events);
            }
        }
    }

    /// Retention has let go of what a room missed: its members lag, and each is told what it will not be sent.
    fn skip(&mut self, room: u32, to: u64) {
        self.rooms.room_mut(room).set_last_seq(to);
        let mut at = self.rooms.room(room).members;
        while at != NONE {
            let attachment = self.rooms.attachment(at);
            let next = attachment.next_in_room;
            if !attachment.is_apart() && attachment.position() < to {
                self.lag(at);
            }
            at = next;
        }
    }

    pub(super) fn retry_room(&mut self, key: &ConversationKey) {
        if let Some(room) = self.rooms.find(key) {
            self.rooms.room_mut(room).pulling = false;
            self.pull_room_if_behind(room);
        }
    }
}
