//! The first seconds after a slot came to this shard by a table: the sessions of its users are still being announced, so
//! nobody of it is told to be offline yet. Who is online may be told at once.

use std::collections::{BTreeMap, VecDeque};

use protocol::envelope::Caller;
use protocol::id::UserKey;
use protocol::placement::Slot;

use crate::limits::READS_SOFT;

/// Until when to wait, and who asked meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    /// By slot, in monotonic milliseconds.
    until: BTreeMap<Slot, u64>,
    /// Who asked for a user's presence once, in the order in which they are answered.
    asked: VecDeque<(u64, Caller, UserKey)>,
}

impl Grace {
    /// These slots came.
    pub(crate) fn begin(&mut self, slots: &[Slot], until: u64) {
        self.until.extend(slots.iter().map(|&slot| (slot, until)));
    }

    /// Until when nobody of a slot is told to be offline; `None`: not any more.
    pub(crate) fn until(&self, slot: impl FnOnce() -> Slot, now_ms: u64) -> Option<u64> {
        if self.until.is_empty() {
            return None;
        }
        self.until.get(&slot()).copied().filter(|&until| now_ms < until)
    }

    /// Lets somebody wait who asked. False: too many do.
    pub(crate) fn ask(&mut self, until: u64, caller: Caller, user: UserKey) -> bool {
        let room = self.asked.len() < READS_SOFT;
        if room {
            self.asked.push_back((until, caller, user));
        }
        room
    }

    /// The next who has waited long enough.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<(Caller, UserKey)> {
        if self.deadline()? > now_ms {
            return None;
        }
        self.asked.pop_front().map(|(_, caller, user)| (caller, user))
    }

    /// When the next has, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.asked.front().map(|&(until, ..)| until)
    }

    /// Takes out those who asked for such users.
    pub(crate) fn give_up(&mut self, given_up: impl Fn(&UserKey) -> bool) -> Vec<Caller> {
        let mut callers = Vec::new();
        self.asked.retain(|(_, caller, user)| {
            let stays = !given_up(user);
            if !stays {
                callers.push(*caller);
            }
            stays
        });
        callers
    }

    /// Forgets what is over.
    pub(crate) fn trim(&mut self, now_ms: u64) {
        if !self.until.is_empty() {
            self.until.retain(|_, &mut until| now_ms < until);
        }
    }

    /// Asserts the bound, and that everybody asked for users of slots that the shard has.
    pub(crate) fn invariants(&self, owns: impl Fn(Slot) -> bool) {
        assert!(self.asked.len() <= READS_SOFT);
        assert!(self.asked.iter().all(|(_, _, user)| owns(Slot::of_user(user))));
    }
}
