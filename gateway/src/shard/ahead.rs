//! Cursors ahead of the log. Of a server that is all there is, an owner knows where its log ends, and a cursor beyond that is the end. In a
//! cluster an owner may have been deposed without having heard of it, for as long as its lease lasts: the device may well have what the new
//! owner has published. It keeps its cursor, and is sent nothing twice; if nobody knows of more when that time is over, the log was cut off,
//! by a backup that was restored or a conversation that was made anew, and its events come from the end on that the owner had told.

use protocol::id::ConversationKey;

use super::GatewayShard;
use super::retry::Retry;

impl GatewayShard {
    /// Behind which seq a connection's events begin, which has those up to `after`; the log ends at `head`, as its owner says.
    pub(super) fn begins_after(&mut self, slot: u32, key: &ConversationKey, after: u64, head: u64) -> u64 {
        if after <= head || self.cluster.is_none() {
            return after.min(head);
        }
        let token = self.slab[slot].token(slot);
        self.retry_after(Some(self.settings.request_patience_ms), Retry::Ahead(token.into(), *key, head));
        after
    }

    /// Since a connection came that was ahead of the log, time enough has passed for every owner to know its place.
    pub(super) fn look_back(&mut self, slot: u32, key: &ConversationKey, head: u64) {
        let Some(room) = self.rooms.find(key) else { return };
        let Some(at) = self.attachment_in(slot, room) else { return };
        let last = self.rooms.room(room).last_seq().unwrap_or(0);
        let attachment = self.rooms.attachment_mut(at);
        if attachment.position() > last.max(head) {
            attachment.set_position(head);
            if head < last && !attachment.is_apart() {
                self.lag(at);
            }
        }
    }
}
