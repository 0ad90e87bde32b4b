//! How a ring accepts: as many at once as its settings say, as long as there are slots. The accepts themselves are kept
//! in `accepts`.

use super::Ring;
use super::accepts::Outcome;
use super::tag::{Kind, Tag};
use crate::operation::Completion;

impl Ring {
    pub(super) fn start_accepts(&mut self) {
        self.accepts.end_rest();
        while self.accepts.wants_slot() {
            let Some(slot) = self.slots.reserve() else { break };
            let (index, entry) = self.accepts.start(slot, self.banks.place(slot));
            let entry = entry.user_data(Tag::of_index(Kind::Accept, index).to_bits());
            // SAFETY: `Accepts` keeps the memory of a started accept until `finish`.
            unsafe { self.banks.push(slot, entry) };
        }
    }

    pub(super) fn accepted(&mut self, index: u32, result: i32, handle: &mut impl FnMut(Completion<'_>)) {
        match self.accepts.finish(index, result) {
            Outcome::Connected { slot, listener, peer } => {
                self.counters.accepted += 1;
                let token = self.slots.open(slot);
                handle(Completion::Accepted { token, listener, peer });
            }
            Outcome::Nobody { slot } => self.slots.give_back(slot),
        }
        self.accepts.close_listeners();
        self.start_accepts();
    }
}
