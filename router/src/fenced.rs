//! The store refuses what another owner's fence bars: a table that is not here yet has taken the slot away. Whoever asked is
//! told that it is misplaced, never that something failed.
//!
//! The conversations stay until that table comes: it says what else is to be given up. A transaction may hold conversations
//! of several slots, and is refused as a whole when one of them is gone. Then nobody is told anything yet: each of its
//! conversations is tried again by itself, in its order, so that those that are still here notice nothing.

use protocol::placement::Slot;

use crate::appends::Origin;
use crate::conversation::Place;
use crate::orphans::Landing;
use crate::shard::RouterShard;

impl RouterShard {
    /// A transaction of appends was refused.
    pub(crate) fn appends_fenced(&mut self, landings: &[Landing]) {
        self.counters.appends_fenced += 1;
        let slot = |landing: &Landing| match landing {
            Landing::Here(place) => self.conversations.slot(*place),
            Landing::Elsewhere(key) => Slot::of_conversation(key),
        };
        let first = landings.first().map(slot);
        let sure = landings.iter().all(|landing| Some(slot(landing)) == first);
        for place in landings.iter().filter_map(Landing::place) {
            if sure {
                self.misplace_appends(place);
                self.after_batch(place);
            } else {
                self.counters.tried_alone += 1;
                self.conversations[place].appends.put_back();
                self.list_batch(place);
            }
            self.touched.push(place);
        }
    }

    /// Whoever waits for an append here, or for a creation that appends, has to ask another shard. What is known of the
    /// members is not to be relied upon any more.
    pub(crate) fn misplace_appends(&mut self, place: Place) {
        self.release(place);
        let appends = std::mem::take(&mut self.conversations[place].appends);
        let (count, bytes) = appends.load();
        self.appends -= count;
        self.append_bytes -= bytes;
        let mut founding = false;
        for origin in appends.origins() {
            match origin {
                Origin::Caller(caller) => self.misplace(caller),
                Origin::Founding => founding = true,
            }
        }
        // The conversation may stand in the list of those with a batch.
        self.conversations[place].appends.listed = appends.listed;
        if founding {
            self.misplace_creation(place);
        }
        self.conversations.clear_members(place);
    }

    /// Whoever waits for a creation has to ask another shard.
    pub(crate) fn misplace_creation(&mut self, place: Place) {
        let caller = self.end_creation(place).caller;
        self.conversations[place].work = crate::conversation::Work::None;
        self.misplace(caller);
    }

    /// Nothing of this shard can land any more in a log that was in doubt, and what the log holds is another's to tell.
    pub(crate) fn doubt_fenced(&mut self, place: Place) {
        let conversation = &mut self.conversations[place];
        conversation.doubtful = false;
        conversation.unbarred = false;
        conversation.unanswered = false;
        self.misplace_appends(place);
        self.after_batch(place);
    }
}
