//! What is known of a conversation's members: roles and cursors, filled on demand, forgotten at will. About 40 bytes a
//! member.

use hashbrown::HashTable;
use protocol::event::Role;

use crate::hash::UserHash;
use crate::limits::MEMBERS_OF_ONE_MAX;

/// So few are searched one after another; more have an index.
const SEARCHED_MAX: usize = 16;
/// The lowest bit of a role behind a cursor: seqs are below 2^53.
const ROLE_SHIFT: u32 = 56;
const SEQ_MASK: u64 = (1 << ROLE_SHIFT) - 1;

const _: () = assert!(MEMBERS_OF_ONE_MAX <= 1 << u16::BITS, "the index has two bytes for each");

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

/// One user in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Packed {
    user: UserHash,
    /// The role's number and one, or 0 for none, above the read cursor.
    role_read: u64,
    received: u64,
}

const _: () = assert!(size_of::<Packed>() <= 32);

impl Packed {
    fn new(user: UserHash, known: Known) -> Self {
        debug_assert!(known.read <= SEQ_MASK);
        let role = known.role.map_or(0, |role| role as u64 + 1);
        Self { user, role_read: role << ROLE_SHIFT | known.read & SEQ_MASK, received: known.received }
    }

    fn known(&self) -> Known {
        let role = (self.role_read >> ROLE_SHIFT).checked_sub(1);
        Known {
            role: role.and_then(|number| Role::from_number(number as u8)),
            read: self.role_read & SEQ_MASK,
            received: self.received,
        }
    }
}

/// Some members, and some users who are known to be none.
#[derive(Debug, Default)]
pub(crate) struct Members {
    known: Vec<Packed>,
    /// Places in `known`, once those are many.
    index: HashTable<u16>,
}

impl Members {
    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn find(&self, user: UserHash) -> Option<usize> {
        if self.index.is_empty() {
            return self.known.iter().position(|packed| packed.user == user);
        }
        let found = self.index.find(user.word(), |&at| self.known[usize::from(at)].user == user);
        found.map(|&at| usize::from(at))
    }

    /// What is known of a user; `None`: ask the store.
    pub(crate) fn get(&self, user: UserHash) -> Option<Known> {
        self.find(user).map(|at| self.known[at].known())
    }

    /// Moves a known user's cursors up.
    pub(crate) fn moved(&mut self, user: UserHash, received: Option<u64>, read: Option<u64>) {
        let Some(at) = self.find(user) else { return };
        let known = self.known[at].known();
        let (received, read) = (known.received.max(received.unwrap_or(0)), known.read.max(read.unwrap_or(0)));
        self.known[at] = Packed::new(user, Known { received, read, ..known });
    }

    /// Takes what a load or an event said. True when the user was unknown. Who is no member has no cursors.
    pub(crate) fn learn(&mut self, user: UserHash, known: Known) -> bool {
        let Some(at) = self.find(user) else {
            self.add(Packed::new(user, known));
            return true;
        };
        let before = self.known[at].known();
        let after = match known.role {
            None => known,
            Some(_) => Known { role: known.role, read: before.read.max(known.read), ..before },
        };
        self.known[at] = Packed::new(user, after);
        false
    }

    fn add(&mut self, packed: Packed) {
        if self.known.len() == self.known.capacity() {
            // By an eighth: twice as much would leave a quarter of all memory of members empty.
            self.known.reserve_exact((self.known.len() / 8).max(2));
        }
        self.known.push(packed);
        let first = if self.index.is_empty() { 0 } else { self.known.len() - 1 };
        if self.known.len() > SEARCHED_MAX {
            for at in first..self.known.len() {
                let known = &self.known;
                let word = |&at: &u16| known[usize::from(at)].user.word();
                self.index.insert_unique(word(&(at as u16)), at as u16, word);
            }
        }
    }

    /// How many known members have read up to `read`, and how many received up to `received`.
    pub(crate) fn count_up_to(&self, received: u64, read: u64) -> (u32, u32) {
        let members = self.known.iter().map(Packed::known).filter(|known| known.role.is_some());
        members.fold((0, 0), |(has_received, has_read), known| {
            (has_received + u32::from(known.received >= received), has_read + u32::from(known.read >= read))
        })
    }

    /// Forgets everybody.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{Tenant, UserId, UserKey};

    use super::*;
    use crate::hash::Keys;

    #[test]
    fn what_is_learnt_is_known_whether_few_or_many() {
        let keys = Keys::new(1);
        let user = |number: u64| {
            let user = UserId::parse(format!("u{number}")).unwrap();
            keys.user(&UserKey { tenant: Tenant::default_tenant(), user })
        };
        let roles = [None, Some(Role::Reader), Some(Role::Member), Some(Role::Moderator), Some(Role::Owner)];
        let mut members = Members::default();
        for number in 0..200 {
            let known = Known { role: roles[number as usize % 5], read: number << 40, received: 0 };
            assert!(members.learn(user(number), known));
            for other in 0..=number {
                let known = members.get(user(other)).unwrap();
                assert_eq!((known.role, known.read), (roles[other as usize % 5], other << 40));
            }
            assert_eq!(members.get(user(number + 1)), None);
        }
        members.moved(user(7), Some(5), Some(1));
        assert_eq!(members.get(user(7)).map(|known| (known.received, known.read)), Some((5, 7 << 40)));
        members.clear();
        assert_eq!((members.len(), members.get(user(7))), (0, None));
    }

    #[test]
    fn who_leaves_loses_cursors_and_who_stays_keeps_the_higher() {
        let user = Keys::new(1)
            .user(&UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("u").unwrap() });
        let mut members = Members::default();
        members.learn(user, Known { role: Some(Role::Member), read: 9, received: 0 });
        members.moved(user, Some(11), None);
        assert!(!members.learn(user, Known { role: Some(Role::Owner), read: 5, received: 0 }));
        assert_eq!(members.get(user), Some(Known { role: Some(Role::Owner), read: 9, received: 11 }));
        members.learn(user, Known { role: None, read: 0, received: 0 });
        assert_eq!(members.get(user), Some(Known { role: None, read: 0, received: 0 }));
    }
}
