//! What is known of a conversation's members: roles and cursors, filled on demand, forgotten at will.

use protocol::event::Role;

use crate::hash::{Keys, Table, UserHash};

/// One user, as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// As what; `None`: not a member.
    pub(crate) role: Option<Role>,
    /// Read up to here.
    pub(crate) read: u64,
    /// On one of its devices up to here, as far as this shard has heard.
    pub(crate) received: u64,
}

/// Some members, and some users who are known to be none.
#[derive(Debug)]
pub(crate) struct Members {
    known: Table<UserHash, Known>,
}

impl Members {
    /// Nobody is known.
    pub(crate) fn new(keys: &Keys) -> Self {
        Self { known: keys.table() }
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What is known of a user; `None`: ask the store.
    pub(crate) fn get(&self, user: UserHash) -> Option<Known> {
        self.known.get(&user).copied()
    }

    /// What is known of a user, to be changed.
    pub(crate) fn get_mut(&mut self, user: UserHash) -> Option<&mut Known> {
        self.known.get_mut(&user)
    }

    /// Takes what a load or an event said. True when the user was unknown. Who is no member has no cursors.
    pub(crate) fn learn(&mut self, user: UserHash, known: Known) -> bool {
        match self.known.get_mut(&user) {
            Some(before) if known.role.is_none() => {
                *before = known;
                false
            }
            Some(before) => {
                before.role = known.role;
                before.read = before.read.max(known.read);
                false
            }
            None => {
                self.known.insert(user, known);
                true
            }
        }
    }

    /// How many known members have read up to `read`, and how many received up to `received`.
    pub(crate) fn count_up_to(&self, received: u64, read: u64) -> (u32, u32) {
        let members = self.known.values().filter(|known| known.role.is_some());
        members.fold((0, 0), |(has_received, has_read), known| {
            (has_received + u32::from(known.received >= received), has_read + u32::from(known.read >= read))
        })
    }

    /// Forgets everybody.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.known.shrink_to_fit();
    }
}
