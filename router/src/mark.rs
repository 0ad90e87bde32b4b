//! Cursors: what members have received and read, into the store and, gathered, to the room as receipts.

use protocol::envelope::{Actor, Authority, ToGateway};
use protocol::id::{DeviceId, UserId};
use storage::request::{Mark, Outcome, Request};

use crate::Operation;
use crate::conversation::Place;
use crate::receipts::Moved;
use crate::shard::RouterShard;
use crate::store::Pending;

impl RouterShard {
    /// Takes cursors that moved up. Of strangers, and backwards, nothing is taken.
    pub(crate) fn mark(
        &mut self,
        place: Place,
        actor: Actor,
        device: DeviceId,
        received: Option<u64>,
        read: Option<u64>,
    ) {
        let conversation = &mut self.conversations[place];
        let head = conversation.head;
        let (received, read) = (received.map(|seq| seq.min(head)), read.map(|seq| seq.min(head)));
        let mut moved = Moved { received: None, read };
        if actor.authority == Authority::User {
            let hash = self.keys.user(&actor.key);
            let known = conversation.members.get(hash);
            let Some(known) = known.filter(|known| known.role.is_some()) else { return };
            moved.received = received.filter(|&seq| seq > known.received);
            moved.read = read.filter(|&seq| seq > known.read);
            conversation.members.moved(hash, moved.received, moved.read);
        }
        // A cursor of a device may move behind the one that the user has reached on another.
        if received.is_none() && moved.read.is_none() {
            return;
        }
        let user = actor.key.user;
        let mark = Mark { conversation: conversation.key(), user, device, received, read: moved.read };
        self.counters.marks_dropped += u64::from(!self.marks.add(mark));
        if actor.authority == Authority::User && moved != Moved::default() {
            self.receipt(place, user, moved);
        }
    }

    fn receipt(&mut self, place: Place, user: UserId, moved: Moved) {
        let meta = self.conversations[place].meta();
        let large = meta.is_some_and(|meta| meta.members > self.settings.large_members);
        let due = self.now.monotonic_ms + self.settings.receipt_batch_ms;
        let was_quiet = self.receipts.is_quiet(place);
        if self.receipts.add(place, (!large).then_some(user), moved, due) {
            self.conversations[place].pins += u32::from(was_quiet);
        } else {
            self.counters.ephemeral_dropped += 1;
        }
    }

    /// Tells the rooms what has moved since the last batch.
    pub(crate) fn flush_receipts(&mut self) {
        for (place, receipts) in self.receipts.take(self.now.monotonic_ms) {
            self.conversations[place].pins -= 1;
            self.touched.push(place);
            for (user, moved) in receipts {
                self.tell_receipt(place, user, moved);
            }
        }
    }

    fn tell_receipt(&mut self, place: Place, user: Option<UserId>, moved: Moved) {
        let Moved { received, read } = moved;
        let counts = match user {
            Some(_) => (None, None),
            None => {
                let members = &self.conversations[place].members;
                let (has_received, has_read) =
                    members.count_up_to(received.unwrap_or(u64::MAX), read.unwrap_or(u64::MAX));
                (received.map(|_| has_received), read.map(|_| has_read))
            }
        };
        let (received_count, read_count) = counts;
        self.tell_room(place, |conversation| ToGateway::Receipt {
            conversation,
            user,
            received,
            read,
            received_count,
            read_count,
        });
    }

    /// Sends the cursors that wait, one request at a time.
    pub(crate) fn flush_marks(&mut self) {
        if self.store.has_room()
            && let Some(marks) = self.marks.take(self.now.monotonic_ms)
        {
            let id = self.store.begin(Pending::Mark);
            self.outgoing.push(Operation::Store(id, Request::Mark { marks }));
        }
    }

    /// Cursors are stored, or wait again.
    pub(crate) fn mark_outcome(&mut self, outcome: &Outcome) {
        let stored = matches!(outcome, Outcome::Marked);
        let (stored, dropped) = self.marks.end(stored, self.now.monotonic_ms);
        self.counters.marks += stored as u64;
        self.counters.marks_dropped += dropped as u64;
    }
}
