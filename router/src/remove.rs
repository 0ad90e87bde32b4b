//! Removing a conversation: what was asked for before is in the log first, what comes after finds nothing.

use protocol::envelope::{Actor, Caller, ToGateway};
use storage::request::{Failure, Outcome, Request};

use crate::Operation;
use crate::conversation::{Place, Standing, Work};
use crate::refusal::{BUSY, NOT_FOUND, STORE_AWAY, of_failure};
use crate::shard::RouterShard;
use crate::store::Pending;

impl RouterShard {
    /// Takes a removal to the store.
    pub(crate) fn remove(&mut self, place: Place, caller: Caller, actor: Actor) {
        let allowed = self.access(place, &actor).remove();
        let room = if self.announcements.is_full() { Err(BUSY) } else { Ok(()) };
        match allowed.and(room) {
            Ok(()) => {
                self.conversations[place].work = Work::Remove;
                self.removes.push_back((place, caller));
            }
            Err(refusal) => self.refuse_caller(caller, None, refusal),
        }
    }

    /// Sends the removals that wait, as many as the store may have under way.
    pub(crate) fn flush_removes(&mut self) {
        while self.store.has_room()
            && let Some((place, caller)) = self.removes.pop_front()
        {
            let conversation = self.conversations[place].key();
            let id = self.store.begin(Pending::Remove(place, caller));
            let request = Request::Remove { epoch: self.table.epoch, conversation };
            self.outgoing.push(Operation::Store(id, request));
        }
    }

    /// The store has removed a conversation, or not.
    pub(crate) fn remove_outcome(&mut self, place: Place, caller: Caller, outcome: Outcome) {
        self.conversations[place].work = Work::None;
        match outcome {
            Outcome::Removed { existed, members } => {
                let key = self.conversations[place].key();
                self.vanish(place);
                self.announcements.add(key, members, false, 0);
                if existed {
                    self.outgoing.answer(caller.gateway, ToGateway::Removed { caller });
                } else {
                    self.refuse_caller(caller, None, NOT_FOUND);
                }
            }
            Outcome::Failed(Failure::Fenced) if self.has_peers() => self.misplace(caller),
            Outcome::Failed(failure) => {
                // It may be gone: the next request asks the store.
                self.conversations[place].standing = Standing::Unknown;
                self.refuse_caller(caller, None, of_failure(&failure));
            }
            _ => self.refuse_caller(caller, None, STORE_AWAY),
        }
        self.advance(place);
    }

    /// There is no such conversation, or not any more: forgets all of it.
    pub(crate) fn vanish(&mut self, place: Place) {
        self.release(place);
        self.withdraw_all(place, NOT_FOUND);
        self.conversations.clear_recent(place);
        self.conversations.clear_members(place);
        for gateway in std::mem::take(&mut self.conversations[place].interest) {
            self.behind.remove(gateway, place);
        }
        let conversation = &mut self.conversations[place];
        self.lamport.observe(conversation.lamport + 1);
        conversation.standing = Standing::Absent;
        conversation.head = 0;
        conversation.lamport = 0;
        conversation.unbarred = false;
        conversation.unanswered = false;
        if std::mem::take(&mut conversation.doubtful) {
            self.doubts.retain(|&(_, doubtful)| doubtful != place);
        }
        self.touched.push(place);
    }
}
