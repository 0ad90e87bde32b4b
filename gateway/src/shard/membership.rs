//! Membership as this shard sees it: rooms of conversations, attachments of connections. Attach and detach go to the
//! same owner in order; while an attach is not answered the room stays, so that a detach never undoes a later attach.

use protocol::envelope::{AttachItem, AttachedItem, AttachedState, RouterId, ToRouter};
use protocol::error::Refusal;
use protocol::id::{ConversationKey, Tenant};
use protocol::placement::Slot;

use super::GatewayShard;
use super::caller::{Asks, OPENING};
use super::connection::{Flag, NONE, State};
use super::retry::Retry;

impl GatewayShard {
    /// Asks the owners for their conversations' events; how many owners that were.
    pub(super) fn attach(
        &mut self,
        slot: u32,
        reference: i64,
        items: impl Iterator<Item = AttachItem>,
    ) -> usize {
        let actor = self.actor(slot);
        let tenant = actor.key.tenant;
        let groups = self.group(tenant, items);
        let asked = groups.len();
        for (owner, items) in groups {
            for item in &items {
                self.rooms.expect(ConversationKey { tenant, conversation: item.conversation });
            }
            let caller = self.caller(slot, Asks::Session, reference);
            self.tell_owner(owner, ToRouter::Attach { caller, actor, items });
        }
        asked
    }

    /// Conversations by their owner.
    pub(super) fn group(
        &self,
        tenant: Tenant,
        items: impl Iterator<Item = AttachItem>,
    ) -> Vec<(RouterId, Box<[AttachItem]>)> {
        self.owners.group(items.map(|item| {
            let key = ConversationKey { tenant, conversation: item.conversation };
            (Slot::of_conversation(&key), item)
        }))
    }

    fn attach_one(&mut self, slot: u32, key: &ConversationKey, after: u64) {
        let item = AttachItem { conversation: key.conversation, listed: None };
        self.attach(slot, after as i64, [item].into_iter());
    }

    /// An owner's answer: `reference` says for what. `slot` is `None` when the connection is gone.
    pub(super) fn attached(
        &mut self,
        slot: Option<u32>,
        reference: i64,
        tenant: Tenant,
        items: &[AttachedItem],
        refused: Option<Refusal>,
    ) {
        let slot = slot.filter(|&slot| self.slab[slot].flags.has(Flag::Registered));
        let mut opening = slot.and_then(|slot| self.openings.remove(&slot));
        let mut place = 0;
        for item in items {
            let key = ConversationKey { tenant, conversation: item.conversation };
            let Some(room) = self.rooms.find(&key) else { continue };
            self.rooms.room_mut(room).pending -= 1;
            match (slot.filter(|_| refused.is_none()), item.state) {
                (Some(slot), Some(state)) => {
                    let is_clustered = self.cluster.is_some();
                    let after = if reference == OPENING {
                        let opening = opening.as_deref_mut();
                        let noted =
                            opening.map(|opening| note(opening, item, state, &mut place, is_clustered));
                        let after = noted.unwrap_or(state.head);
                        self.begin_where_welcomed(slot, room, after);
                        after
                    } else if is_clustered {
                        // The device has it from here, whatever the owner knows of.
                        reference as u64
                    } else {
                        state.head.min(reference as u64)
                    };
                    self.enter(slot, room, after, state.head);
                }
                (Some(slot), None) => self.go_away(slot, room, u64::try_from(reference).unwrap_or(0)),
                // It is gone, or nothing is known.
                (None, _) => {}
            }
            self.drop_room_if_empty(room);
        }
        let Some(slot) = slot else { return };
        if let Some(mut opening) = opening {
            if reference == OPENING {
                opening.pending -= 1;
            }
            self.openings.insert(slot, opening);
        }
        match refused {
            Some(refusal) if reference == OPENING => {
                self.close_unavailable(slot, refusal.retry_after_ms.unwrap_or(1_000));
            }
            Some(refusal) => {
                for item in items {
                    let key = ConversationKey { tenant, conversation: item.conversation };
                    let token = self.slab[slot].token(slot);
                    let retry = Retry::Attach(token.into(), key, reference as u64);
                    self.retry_after(refusal.retry_after_ms, retry);
                }
            }
            None => self.welcome_if_complete(slot),
        }
    }

    /// A connection that became a member while it opened is in the room already: its events begin where `welcome` says.
    fn begin_where_welcomed(&mut self, slot: u32, room: u32, after: u64) {
        if let Some(at) = self.attachment_in(slot, room) {
            self.rooms.attachment_mut(at).set_position(after);
        }
    }

    /// Puts a connection into a room behind `after`; the room's log ends at `head`.
    fn enter(&mut self, slot: u32, room: u32, after: u64, head: u64) {
        let found = self.rooms.room_mut(room);
        if found.last_seq().is_none() {
            found.set_last_seq(head);
        }
        found.head = found.head.max(head);
        let at = if let Some(at) = self.attachment_in(slot, room) {
            self.come_back(at);
            self.go_on(at, after, head);
            at
        } else {
            if u32::from(self.slab[slot].attachments) >= self.settings.limits.conversations_attached {
                return;
            }
            self.rooms.attach(&mut self.slab[slot], slot, room, after)
        };
        let attachment = self.rooms.attachment_mut(at);
        if attachment.position() < head {
            // An event of its leaving up to there is older than that it is a member.
            attachment.set_returned();
        }
        self.pull_room_if_behind(room);
        if self.slab[slot].state == State::Open {
            self.begin_delivery(slot);
        }
    }

    /// A member that was about to leave is back before it was sent the event that says that it left, which ends nothing then.
    fn come_back(&mut self, at: u32) {
        let attachment = self.rooms.attachment_mut(at);
        if attachment.is_leaving() {
            attachment.set_returned();
        }
    }

    /// The connection's attachment to a room, looked for in the shorter of the two lists.
    pub(super) fn attachment_in(&self, slot: u32, room: u32) -> Option<u32> {
        let connection = &self.slab[slot];
        if u32::from(connection.attachments) <= self.rooms.room(room).member_count {
            return self.rooms.attachment_to(connection, room);
        }
        let mut at = self.rooms.room(room).members;
        while at != NONE && self.rooms.attachment(at).slot != slot {
            at = self.rooms.attachment(at).next_in_room;
        }
        (at != NONE).then_some(at)
    }

    /// The user of a session became a member: its events begin after `after`.
    pub(super) fn joined(&mut self, slot: u32, key: &ConversationKey, after: u64) {
        if self.slab[slot].flags.has(Flag::Registered) {
            self.attach_one(slot, key, after);
        }
    }

    /// The user of a session is no longer a member; `seq` 0: since there is no such conversation any more. The event that
    /// says so is still the member's to see: one that takes events as they come goes with it. One that lags goes now, and
    /// one that has that event already can only be back since: the news may be older than the attachment, and the owner is
    /// asked.
    pub(super) fn left(&mut self, slot: u32, key: &ConversationKey, seq: u64) {
        let Some(room) = self.rooms.find(key) else { return };
        let Some(at) = self.attachment_in(slot, room) else { return };
        let attachment = self.rooms.attachment_mut(at);
        let position = attachment.position();
        if seq == 0 {
            self.detach(at);
        } else if seq > position && !attachment.is_lagging() {
            attachment.set_leaving();
        } else {
            self.ask_again(slot, at, position);
        }
    }

    /// Takes one connection out of one room, and the room away when it was the last.
    pub(super) fn detach(&mut self, at: u32) {
        let (slot, room) = (self.rooms.attachment(at).slot, self.rooms.attachment(at).room);
        self.rooms.detach(&mut self.slab[slot], at);
        self.drop_room_if_empty(room);
    }

    pub(super) fn detach_all(&mut self, slot: u32) {
        loop {
            let next = self.rooms.attachments_of(&self.slab[slot]).next();
            let Some(at) = next else { return };
            self.detach(at);
        }
    }

    pub(super) fn drop_room_if_empty(&mut self, room: u32) {
        let key = self.rooms.room(room).key();
        if self.rooms.remove_if_empty(room) {
            self.ask(&key, ToRouter::Detach { gateway: self.id, conversation: key });
        }
    }
}

/// Brings the chat list up to date with an owner's answer, and tells behind which seq the device's events begin: its cursor, and the end
/// of the log if it has none or one beyond that. Owners answer in the order that they were asked in, so `place` only moves on.
///
/// In a cluster an owner may have been deposed without having heard of it, for as long as its lease lasts, and not know of what its
/// successor has published. The list does: it was read from the store after the device had said what it has.
fn note(
    opening: &mut super::session::Opening,
    item: &AttachedItem,
    state: AttachedState,
    place: &mut usize,
    is_clustered: bool,
) -> u64 {
    let same = |at: &usize| opening.list[*at].conversation == item.conversation;
    let found = (*place..opening.list.len()).find(same).or_else(|| (0..*place).find(same));
    let mut head = state.head;
    if let Some(at) = found {
        *place = at + 1;
        let entry = &mut opening.list[at];
        if is_clustered {
            head = head.max(entry.head);
        }
        (entry.head, entry.read, entry.role) = (head, state.read, state.role);
        opening.attached[at] = true;
    }
    opening.cursor(&item.conversation).map_or(head, |cursor| cursor.min(head))
}
