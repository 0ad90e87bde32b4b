//! Announcing: an owner that has just got a slot, or that a link has just reached, knows of no room, session or watch here. Cursors go
//! through all of them, a piece at a time, and tell it what is true by now; when there is much to do already they wait.

use protocol::envelope::{Actor, AttachItem, Authority, Caller, RouterId, ToRouter};
use protocol::id::{ConversationKey, Tenant, UserId, UserKey};
use protocol::placement::Slot;

use super::GatewayShard;
use super::caller::{AGAIN, ANNOUNCED, Asks};
use super::connection::Flag;
use super::slots::SlotSet;

/// Looked at in one piece, and told of at most.
const LOOKED_AT_MAX: u32 = 2_048;
const TOLD_MAX: usize = 256;
/// Milliseconds after which it is looked again whether owners are as busy.
const PAUSE_MS: u64 = 5;
/// Milliseconds that all wait for a busy owner, and sessions, each of which is a request, for owners that have much to answer. A piece
/// goes even then: one slow owner is not to keep others from what they must know, and while its owner does not know it, a session hears
/// nothing of what its user joins, and the user is offline.
const PAUSE_MS_MAX: u64 = 50;
/// Milliseconds after which watches are told: they are no requests, and an owner that does not know yet that it is one forgets them.
const WATCHES_AFTER_MS: u64 = 500;
/// When all sessions are told of again, each has its chat list read: so many places of the table in so many milliseconds. A shard of 30,000
/// is through in a minute, and the shards of ten million sessions ask the store for 160,000 lists a second.
const EVERYBODY_STEP: u32 = 50;
const EVERYBODY_STEP_MS: u64 = 100;
/// Milliseconds after which what was refused is told again.
const AGAIN_AFTER_MS: u64 = 1_000;

/// A way through a table, for the sake of some slots.
#[derive(Debug, Default)]
struct Cursor {
    /// The slots of this time, and of the next.
    slots: SlotSet,
    next: SlotSet,
    active: bool,
    waits: bool,
    /// What lies below was looked at.
    at: u32,
    /// When the next time begins.
    begin_ms: u64,
}

impl Cursor {
    fn add(&mut self, slots: &SlotSet, begin_ms: u64) {
        if !slots.is_empty() {
            self.next.unite(slots);
            // What comes again and again must not postpone it again and again.
            self.begin_ms = if self.waits { self.begin_ms.min(begin_ms) } else { begin_ms };
            self.waits = true;
        }
    }

    /// Once more for a slot, in a while.
    fn add_later(&mut self, slot: Slot, now_ms: u64) {
        self.next.insert(slot);
        if !self.waits {
            self.begin_ms = now_ms + AGAIN_AFTER_MS;
            self.waits = true;
        }
    }

    /// What to look at now: up to where.
    fn piece(&mut self, end: u32, now_ms: u64) -> Option<core::ops::Range<u32>> {
        if !self.active && self.waits && self.begin_ms <= now_ms {
            self.slots = core::mem::take(&mut self.next);
            (self.active, self.waits, self.at) = (true, false, 0);
        }
        self.active.then(|| self.at..end.min(self.at.saturating_add(LOOKED_AT_MAX)))
    }

    /// Everything below `at` was looked at, of `end`.
    const fn advance(&mut self, at: u32, end: u32) {
        self.at = at;
        self.active = at < end;
    }

    fn due_ms(&self, now_ms: u64) -> Option<u64> {
        if self.active { Some(now_ms) } else { self.waits.then_some(self.begin_ms) }
    }
}

/// What is still to be announced.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    rooms: Cursor,
    sessions: Cursor,
    watches: Cursor,
    /// Where all sessions are being told of again, whatever their slots, and how many places are still to be looked at.
    everybody: Option<(u32, u32)>,
    everybody_ms: u64,
    /// Since when something waits for owners.
    paused_ms: Option<u64>,
    due_ms: Option<u64>,
}

impl Announcements {
    /// The owners of these slots know nothing.
    pub(super) fn moved(&mut self, slots: &SlotSet, now_ms: u64) {
        self.rooms.add(slots, now_ms);
        self.sessions.add(slots, now_ms);
        self.watches.add(slots, now_ms + WATCHES_AFTER_MS);
    }

    /// The owners of these slots did not know that they are: what is no request they have forgotten.
    pub(super) fn settled(&mut self, slots: &SlotSet, now_ms: u64) {
        self.watches.add(slots, now_ms + WATCHES_AFTER_MS);
    }

    /// News of memberships may be lost: every session's list is read, those first that have not been since it was said last.
    pub(super) fn everybody(&mut self, now_ms: u64) {
        let at = self.everybody.map_or(0, |(at, _)| at);
        (self.everybody, self.everybody_ms) = (Some((at, u32::MAX)), now_ms);
    }

    pub(super) const fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let cursors = [&self.rooms, &self.sessions, &self.watches].map(|cursor| cursor.due_ms(now_ms));
        let everybody = self.everybody.map(|_| self.everybody_ms);
        cursors.into_iter().flatten().chain(everybody).min()
    }
}

impl GatewayShard {
    /// Tells the next piece.
    pub(super) fn announce(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let announcements = &mut cluster.announcements;
        announcements.due_ms = announcements.next_ms(now_ms);
        if announcements.due_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return;
        }
        let paused_ms = *announcements.paused_ms.get_or_insert(now_ms);
        let is_pause = now_ms < paused_ms + PAUSE_MS_MAX;
        if is_pause && self.owners.are_busy() {
            announcements.due_ms = Some(now_ms + PAUSE_MS);
            return;
        }
        let are_held_up = is_pause && self.owners.are_laden();
        if !are_held_up {
            announcements.paused_ms = None;
        }
        self.announce_rooms(now_ms);
        self.announce_watches(now_ms);
        if !are_held_up {
            self.announce_sessions(now_ms);
            self.announce_everybody(now_ms);
        }
        if let Some(cluster) = &mut self.cluster {
            let next_ms = cluster.announcements.next_ms(now_ms);
            let earliest_ms = if are_held_up { now_ms + PAUSE_MS } else { now_ms };
            cluster.announcements.due_ms = next_ms.map(|next_ms| next_ms.max(earliest_ms));
        }
    }

    fn announce_rooms(&mut self, now_ms: u64) {
        let end = self.rooms.end();
        let Some(cluster) = &mut self.cluster else { return };
        let cursor = &mut cluster.announcements.rooms;
        let Some(piece) = cursor.piece(end, now_ms) else { return };
        let (mut told, mut at) = (Vec::new(), piece.start);
        while at < piece.end && told.len() < TOLD_MAX {
            if let Some(room) = self.rooms.numbered(at).filter(|room| room.member_count > 0) {
                let key = room.key();
                let slot = Slot::of_conversation(&key);
                // Of a node out of reach it is told when that is up.
                if cursor.slots.has(slot) && self.owners.is_up(slot) {
                    told.push((self.owners.owner_of(slot), key));
                }
            }
            at += 1;
        }
        cursor.advance(at, end);
        self.counters.announced += told.len() as u64;
        told.sort_unstable_by_key(|(owner, key)| (*owner, key.tenant));
        for told in told.chunk_by(|a, b| (a.0, a.1.tenant) == (b.0, b.1.tenant)) {
            self.announce_rooms_to(told[0].0, told[0].1.tenant, told.iter().map(|(_, key)| *key));
        }
    }

    fn announce_rooms_to(
        &mut self,
        owner: RouterId,
        tenant: Tenant,
        keys: impl Iterator<Item = ConversationKey>,
    ) {
        let item = |key: ConversationKey| {
            self.rooms.expect(key);
            AttachItem { conversation: key.conversation, listed: None }
        };
        let items = keys.map(item).collect();
        let user = UserId::parse("system").expect("a valid id");
        let actor = Actor { key: UserKey { tenant, user }, authority: Authority::Server };
        let caller = Caller { gateway: self.id, connection: 0, reference: ANNOUNCED };
        self.tell_owner(owner, ToRouter::Attach { caller, actor, items });
    }

    /// A room could not be announced: once more, in a while.
    pub(super) fn announce_room_later(&mut self, key: &ConversationKey) {
        let now_ms = self.now.monotonic_ms;
        if let Some(cluster) = &mut self.cluster {
            cluster.announcements.rooms.add_later(Slot::of_conversation(key), now_ms);
        }
    }

    fn announce_sessions(&mut self, now_ms: u64) {
        let end = self.slab.end();
        let Some(cluster) = &mut self.cluster else { return };
        let Some(piece) = cluster.announcements.sessions.piece(end, now_ms) else { return };
        let (mut told, mut at) = (0, piece.start);
        while at < piece.end && told < TOLD_MAX {
            if self.slab[at].flags.has(Flag::Registered) {
                let slot = Slot::of_user(&self.user_key(at));
                let meant = self
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| cluster.announcements.sessions.slots.has(slot));
                if meant && self.owners.is_up(slot) {
                    self.announce_session(at);
                    told += 1;
                }
            }
            at += 1;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.announcements.sessions.advance(at, end);
        }
    }

    /// Registers a session again: the answer says of what the user is a member.
    pub(super) fn announce_session(&mut self, slot: u32) {
        if !self.slab[slot].flags.has(Flag::Registered) {
            return;
        }
        self.counters.announced += 1;
        let user = self.user_key(slot);
        let device = self.slab[slot].device();
        let caller = self.caller(slot, Asks::Session, AGAIN);
        self.tell_slot(Slot::of_user(&user), ToRouter::SessionOpen { caller, user, device, again: true });
    }

    fn announce_watches(&mut self, now_ms: u64) {
        let end = self.watches.end();
        let Some(cluster) = &mut self.cluster else { return };
        let cursor = &mut cluster.announcements.watches;
        let Some(piece) = cursor.piece(end, now_ms) else { return };
        let (mut told, mut at) = (Vec::new(), piece.start);
        while at < piece.end && told.len() < TOLD_MAX {
            if let Some(key) = self.watches.numbered(at) {
                let slot = Slot::of_user(key);
                if cursor.slots.has(slot) && self.owners.is_up(slot) {
                    told.push(*key);
                }
            }
            at += 1;
        }
        cursor.advance(at, end);
        self.counters.announced += told.len() as u64;
        let gateway = self.id;
        self.tell_owners(told, |users| ToRouter::Watch { gateway, users });
    }

    /// The next of all sessions.
    fn announce_everybody(&mut self, now_ms: u64) {
        let end = self.slab.end();
        let Some(announcements) = self.cluster.as_mut().map(|cluster| &mut cluster.announcements) else {
            return;
        };
        let Some((at, left)) = announcements.everybody.filter(|_| announcements.everybody_ms <= now_ms)
        else {
            return;
        };
        let at = if at < end { at } else { 0 };
        let left = left.min(end);
        let until = at + EVERYBODY_STEP.min(left).min(end - at);
        let left = left - (until - at);
        announcements.everybody = (left > 0).then_some((until, left));
        announcements.everybody_ms = now_ms + EVERYBODY_STEP_MS;
        for slot in at..until {
            self.announce_session(slot);
        }
    }
}
