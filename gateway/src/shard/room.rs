//! Rooms: which connections of this shard take a conversation's events, and up to where each was sent them. Who may is
//! the router's to know.

use core::hash::BuildHasher;
use core::num::NonZeroU64;

use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;
use protocol::id::ConversationKey;
use protocol::pair::PackedConversation;
use router::chunks::Chunks;

use super::connection::{Connection, NONE};

/// Bytes of a conversation's key that lie in its room; longer ones take memory of their own.
const KEY_BYTES_INLINE: usize = 37;
/// Rooms and attachments of one chunk of their tables.
const ROOMS_CHUNK: usize = 256;
const ATTACHMENTS_CHUNK: usize = 1_024;

/// A conversation's members on this shard: 72 bytes, which may be one member's.
#[derive(Debug)]
pub(super) struct Room {
    key: PackedConversation<KEY_BYTES_INLINE>,
    /// One more than the last seq that went to the members; `None` until its owner has told a head.
    next_seq: Option<NonZeroU64>,
    /// Last seq that is known to be published.
    pub(super) head: u64,
    /// First attachment.
    pub(super) members: u32,
    pub(super) member_count: u32,
    /// Attaches that are not answered: the room stays, whoever leaves.
    pub(super) pending: u32,
    /// A pull of what the room missed is in flight, or waits to be tried again.
    pub(super) pulling: bool,
}

const _: () = assert!(size_of::<Option<Room>>() <= 72, "a session may hold one alone for each conversation");

impl Room {
    pub(super) fn key(&self) -> ConversationKey {
        self.key.key()
    }

    /// Last seq that went to the members; `None` until its owner has told a head.
    pub(super) fn last_seq(&self) -> Option<u64> {
        self.next_seq.map(|next| next.get() - 1)
    }

    pub(super) fn set_last_seq(&mut self, seq: u64) {
        self.next_seq = NonZeroU64::new(seq + 1);
    }

    fn is(&self, key: &ConversationKey) -> bool {
        self.key.is(&key.tenant, &key.conversation)
    }
}

/// Top bit of [`Attachment::position`]: takes events out of the log, not as they are published.
const LAGGING: u64 = 1 << 63;
/// Second bit: goes away with the event that says so, which is still to come.
const LEAVING: u64 = 1 << 62;
/// Third bit: was leaving and is back, while the event that says that it left is still to come.
const RETURNED: u64 = 1 << 61;
/// Fourth bit: its owner is asked whether it is a member still, and it is sent nothing until the owner says so.
const ASKED: u64 = 1 << 60;
const MARKS: u64 = LAGGING | LEAVING | RETURNED | ASKED;

/// One connection in one room: 32 bytes, one for each conversation of each session.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) slot: u32,
    pub(super) room: u32,
    pub(super) next_in_room: u32,
    previous_in_room: u32,
    pub(super) next_of_connection: u32,
    previous_of_connection: u32,
    position: u64,
}

const _: () = assert!(size_of::<Attachment>() <= 32, "every session holds one a conversation");

impl Attachment {
    /// Last seq that the connection was sent, or began after.
    pub(super) const fn position(&self) -> u64 {
        self.position & !MARKS
    }

    pub(super) const fn set_position(&mut self, seq: u64) {
        self.position = seq | self.position & MARKS;
    }

    pub(super) const fn is_lagging(&self) -> bool {
        self.position & LAGGING != 0
    }

    /// True when it is not sent what is published.
    pub(super) const fn is_apart(&self) -> bool {
        self.position & (LAGGING | ASKED) != 0
    }

    pub(super) const fn is_asked(&self) -> bool {
        self.position & ASKED != 0
    }

    const fn set_asked(&mut self) {
        self.position = self.position & !(LEAVING | RETURNED) | ASKED;
    }

    pub(super) const fn clear_asked(&mut self) {
        self.position &= !ASKED;
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.position & LEAVING != 0
    }

    pub(super) const fn set_leaving(&mut self) {
        self.position |= LEAVING;
    }

    pub(super) const fn set_returned(&mut self) {
        self.position = self.position & !LEAVING | RETURNED;
    }

    pub(super) const fn has_returned(&self) -> bool {
        self.position & RETURNED != 0
    }
}

/// All rooms of a shard, and all attachments.
#[derive(Debug)]
pub(super) struct Rooms {
    hasher: SeedableRandomState,
    index: HashTable<u32>,
    rooms: Chunks<Option<Room>, ROOMS_CHUNK>,
    rooms_free: Vec<u32>,
    attachments: Chunks<Attachment, ATTACHMENTS_CHUNK>,
    free: u32,
    attached: u32,
}

impl Rooms {
    pub(super) fn new(hasher: SeedableRandomState) -> Self {
        Self {
            hasher,
            index: HashTable::new(),
            rooms: Chunks::new(),
            rooms_free: Vec::new(),
            attachments: Chunks::new(),
            free: NONE,
            attached: 0,
        }
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many attachments there are.
    pub(super) const fn attached(&self) -> u32 {
        self.attached
    }

    /// The room of a conversation.
    pub(super) fn find(&self, key: &ConversationKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&room| self.room(room).is(key)).copied()
    }

    pub(super) fn room(&self, room: u32) -> &Room {
        self.rooms[room].as_ref().expect("a numbered room is there")
    }

    pub(super) fn room_mut(&mut self, room: u32) -> &mut Room {
        self.rooms[room].as_mut().expect("a numbered room is there")
    }

    pub(super) fn attachment(&self, attachment: u32) -> &Attachment {
        &self.attachments[attachment]
    }

    pub(super) fn attachment_mut(&mut self, attachment: u32) -> &mut Attachment {
        &mut self.attachments[attachment]
    }

    /// An attachment by a number that came from outside, if it is still this connection's and this conversation's.
    pub(super) fn check(&self, attachment: i64, slot: u32, key: &ConversationKey) -> Option<u32> {
        let at = u32::try_from(attachment).ok()?;
        let found = self.attachments.get(at)?;
        (found.slot == slot && self.room(found.room).is(key)).then_some(at)
    }

    /// One more attach of this conversation is under way: its room, made when there is none.
    pub(super) fn expect(&mut self, key: ConversationKey) -> u32 {
        let room = self.find(&key).unwrap_or_else(|| self.make(&key));
        self.room_mut(room).pending += 1;
        room
    }

    fn make(&mut self, key: &ConversationKey) -> u32 {
        let room = Room {
            key: key.into(),
            next_seq: None,
            head: 0,
            members: NONE,
            member_count: 0,
            pending: 0,
            pulling: false,
        };
        let at = match self.rooms_free.pop() {
            Some(at) => {
                self.rooms[at] = Some(room);
                at
            }
            None => self.rooms.push(Some(room)),
        };
        let Self { hasher, rooms, index, .. } = self;
        index.insert_unique(hasher.hash_one(key), at, |&other| {
            hasher.hash_one(&rooms[other].as_ref().expect("an indexed room is there").key)
        });
        at
    }

    /// Removes a room that has no members and expects none; true when it did.
    pub(super) fn remove_if_empty(&mut self, room: u32) -> bool {
        let found = self.room(room);
        if found.member_count > 0 || found.pending > 0 {
            return false;
        }
        let hash = self.hasher.hash_one(&found.key);
        match self.index.find_entry(hash, |&other| other == room) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("a room is in the index"),
        };
        self.rooms[room] = None;
        self.rooms_free.push(room);
        true
    }

    /// Puts a connection into a room, after `position`, lagging: it is sent nothing before somebody makes it live.
    pub(super) fn attach(&mut self, connection: &mut Connection, slot: u32, room: u32, position: u64) -> u32 {
        let next_in_room = self.room(room).members;
        let at = self.allocate(Attachment {
            slot,
            room,
            next_in_room,
            previous_in_room: NONE,
            next_of_connection: NONE,
            previous_of_connection: NONE,
            position: position | LAGGING,
        });
        if next_in_room != NONE {
            self.attachments[next_in_room].previous_in_room = at;
        }
        let room = self.room_mut(room);
        room.members = at;
        room.member_count += 1;
        self.attached += 1;
        connection.attachments += 1;
        self.link_lagging(connection, at);
        at
    }

    fn allocate(&mut self, attachment: Attachment) -> u32 {
        if self.free == NONE {
            return self.attachments.push(attachment);
        }
        let at = self.free;
        self.free = core::mem::replace(&mut self.attachments[at], attachment).next_in_room;
        at
    }

    /// Takes a connection out of a room.
    pub(super) fn detach(&mut self, connection: &mut Connection, at: u32) {
        self.unlink_of_connection(connection, at);
        let Attachment { room, next_in_room, previous_in_room, .. } = *self.attachment(at);
        if next_in_room != NONE {
            self.attachment_mut(next_in_room).previous_in_room = previous_in_room;
        }
        if previous_in_room == NONE {
            self.room_mut(room).members = next_in_room;
        } else {
            self.attachment_mut(previous_in_room).next_in_room = next_in_room;
        }
        self.room_mut(room).member_count -= 1;
        self.attached -= 1;
        connection.attachments -= 1;
        let free = self.free;
        let attachment = self.attachment_mut(at);
        attachment.slot = NONE;
        attachment.next_in_room = free;
        self.free = at;
    }

    /// From now on the connection takes this room's events as they are published.
    pub(super) fn make_live(&mut self, connection: &mut Connection, at: u32) {
        self.unlink_of_connection(connection, at);
        let next = connection.live;
        let attachment = self.attachment_mut(at);
        attachment.position &= !LAGGING;
        attachment.next_of_connection = next;
        attachment.previous_of_connection = NONE;
        if next != NONE {
            self.attachment_mut(next).previous_of_connection = at;
        }
        connection.live = at;
    }

    /// From now on the connection takes this room's events out of the log, after those of the rooms that lag already.
    pub(super) fn make_lagging(&mut self, connection: &mut Connection, at: u32) {
        self.unlink_of_connection(connection, at);
        self.attachment_mut(at).position |= LAGGING;
        self.link_lagging(connection, at);
    }

    /// From now on it is sent nothing: it has what lies up to `position`, and its owner is asked about the rest.
    pub(super) fn make_asked(&mut self, connection: &mut Connection, at: u32, position: u64) {
        if self.attachment(at).is_lagging() {
            self.make_live(connection, at);
        }
        let attachment = self.attachment_mut(at);
        attachment.set_position(position);
        attachment.set_asked();
    }

    /// Lagging attachments are a ring, so that one link in the record reaches both its ends.
    fn link_lagging(&mut self, connection: &mut Connection, at: u32) {
        let first = if connection.lagging == NONE { at } else { connection.lagging };
        let last =
            if connection.lagging == NONE { at } else { self.attachment(first).previous_of_connection };
        let attachment = self.attachment_mut(at);
        attachment.next_of_connection = first;
        attachment.previous_of_connection = last;
        self.attachment_mut(last).next_of_connection = at;
        self.attachment_mut(first).previous_of_connection = at;
        connection.lagging = first;
    }

    fn unlink_of_connection(&mut self, connection: &mut Connection, at: u32) {
        let attachment = self.attachment(at);
        let (next, previous) = (attachment.next_of_connection, attachment.previous_of_connection);
        if attachment.is_lagging() {
            self.attachment_mut(next).previous_of_connection = previous;
            self.attachment_mut(previous).next_of_connection = next;
            if connection.lagging == at {
                connection.lagging = if next == at { NONE } else { next };
            }
            return;
        }
        if next != NONE {
            self.attachment_mut(next).previous_of_connection = previous;
        }
        if previous == NONE {
            connection.live = next;
        } else {
            self.attachment_mut(previous).next_of_connection = next;
        }
    }

    /// The connection's attachment to a room; looks through all of its attachments.
    pub(super) fn attachment_to(&self, connection: &Connection, room: u32) -> Option<u32> {
        self.attachments_of(connection).find(|&at| self.attachment(at).room == room)
    }

    /// The connection's attachments, those that lag first.
    pub(super) fn attachments_of(&self, connection: &Connection) -> impl Iterator<Item = u32> + '_ {
        let first = connection.lagging;
        let some = |at: u32| (at != NONE).then_some(at);
        let lagging = core::iter::successors(some(first), move |&at| {
            some(self.attachment(at).next_of_connection).filter(|&next| next != first)
        });
        let live = core::iter::successors(some(connection.live), move |&at| {
            some(self.attachment(at).next_of_connection)
        });
        lagging.chain(live)
    }

    /// Numbers of rooms lie below.
    pub(super) fn end(&self) -> u32 {
        self.rooms.len() as u32
    }

    /// The room of a number, if there is one.
    pub(super) fn numbered(&self, at: u32) -> Option<&Room> {
        self.rooms.get(at)?.as_ref()
    }

    /// All rooms.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().flatten()
    }

    /// Asserts the links of every room.
    pub(super) fn invariants(&self) {
        let mut attached = 0;
        for room in self.iter() {
            let (mut at, mut previous, mut count) = (room.members, NONE, 0);
            while at != NONE {
                let attachment = self.attachment(at);
                assert_eq!(self.room(attachment.room).key, room.key);
                assert_eq!(attachment.previous_in_room, previous);
                assert!(room.last_seq().is_some(), "a room has a head before it has members");
                let behind = room.last_seq().is_some_and(|last| attachment.position() < last);
                assert!(attachment.is_apart() || !behind, "a live member has every event of its room");
                (previous, at) = (at, attachment.next_in_room);
                count += 1;
            }
            assert_eq!(count, room.member_count);
            assert!(count + room.pending > 0, "an empty room is removed");
            assert!(room.last_seq().is_none_or(|last| last <= room.head));
            attached += count;
        }
        assert_eq!(attached, self.attached);
        assert_eq!(self.index.len() + self.rooms_free.len(), self.rooms.len());
    }
}
