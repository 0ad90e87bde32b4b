//! What owners answer to announcements: rooms go on with what they missed, sessions with what their users joined and left meanwhile.

use protocol::envelope::AttachedItem;
use protocol::error::Refusal;
use protocol::frame::ChatListEntry;
use protocol::id::{ConversationId, ConversationKey, Tenant};

use super::GatewayShard;
use super::connection::{Flag, NONE, State};
use super::retry::Retry;

impl GatewayShard {
    /// An owner knows rooms of this shard again, and tells where their logs end. A conversation that is gone has no member.
    pub(super) fn rooms_announced(
        &mut self,
        tenant: Tenant,
        items: &[AttachedItem],
        refused: Option<Refusal>,
    ) {
        for item in items {
            let key = ConversationKey { tenant, conversation: item.conversation };
            let Some(room) = self.rooms.find(&key) else { continue };
            let found = self.rooms.room_mut(room);
            found.pending -= 1;
            match item.state {
                _ if refused.is_some() => self.announce_room_later(&key),
                Some(state) if found.last_seq().is_some() => {
                    found.head = found.head.max(state.head);
                    self.pull_room_if_behind(room);
                }
                Some(_) => {}
                None => self.empty_room(room),
            }
            self.drop_room_if_empty(room);
        }
    }

    fn empty_room(&mut self, room: u32) {
        let mut at = self.rooms.room(room).members;
        while at != NONE {
            let attachment = self.rooms.attachment(at);
            let (slot, next) = (attachment.slot, attachment.next_in_room);
            self.rooms.detach(&mut self.slab[slot], at);
            at = next;
        }
    }

    /// The user's owner knows a session again; this is what the user is a member of.
    ///
    /// What was joined meanwhile is attached from the event on with which its log ended when the list was read: by that the client
    /// learns of the conversation, and everything behind it follows without a gap; what lies before is history, as for a device that
    /// connects. What is attached goes on where it is. Of what is listed no more its owner is asked: the list may be older than a
    /// membership.
    pub(super) fn session_known_again(&mut self, slot: u32, list: &[ChatListEntry], more: bool) {
        if self.slab[slot].state != State::Open {
            // While it opens it asks for its conversations itself, maybe from an older list.
            self.announce_session_later(slot, None);
            return;
        }
        if self.slab[slot].flags.has(Flag::Silent) {
            self.tell_heard(slot, false);
        }
        let most = self.settings.limits.conversations_attached as usize;
        if !more && list.len() <= most {
            self.leave_unlisted(slot, list);
        }
        let tenant = self.user_key(slot).tenant;
        for entry in list.iter().take(most) {
            let key = ConversationKey { tenant, conversation: entry.conversation };
            let known = self.rooms.find(&key).and_then(|room| self.attachment_in(slot, room));
            match known.map(|at| self.rooms.attachment_mut(at)) {
                // It may have left and come back meanwhile: the event of its leaving, still to come, ends nothing then.
                Some(attachment) if attachment.position() < entry.head => attachment.set_returned(),
                Some(_) => {}
                None if usize::from(self.slab[slot].attachments) < most => {
                    self.joined(slot, &key, entry.head.saturating_sub(1));
                }
                None => {}
            }
        }
    }

    fn leave_unlisted(&mut self, slot: u32, list: &[ChatListEntry]) {
        let mut listed: Vec<ConversationId> = list.iter().map(|entry| entry.conversation).collect();
        listed.sort_unstable();
        let is_listed = |at: &u32| {
            let key = self.rooms.room(self.rooms.attachment(*at).room).key();
            listed.binary_search(&key.conversation).is_ok()
        };
        let attached = self.rooms.attachments_of(&self.slab[slot]);
        // One that leaves is to see the event that says so first.
        let unlisted: Vec<u32> =
            attached.filter(|at| !is_listed(at) && !self.rooms.attachment(*at).is_leaving()).collect();
        for at in unlisted {
            self.ask_again(slot, at, self.rooms.attachment(at).position());
        }
    }

    /// A session could not be told of: once more, in a while.
    pub(super) fn announce_session_later(&mut self, slot: u32, retry_after_ms: Option<u32>) {
        if self.slab[slot].flags.has(Flag::Registered) {
            let token = self.slab[slot].token(slot);
            self.retry_after(retry_after_ms, Retry::Session(token.into()));
        }
    }
}
