//! The users that a shard knows of, found by their hash: records in chunks and an index of four bytes each, so that a table
//! that has just grown is not half empty.

use hashbrown::HashTable;
use protocol::placement::Slot;

use crate::chunks::Chunks;
use crate::hash::UserHash;

/// Users of one chunk.
const CHUNK: usize = 512;
/// The end of the list of free records.
const NONE: u32 = u32::MAX;

/// One user with sessions, or with one that broke off a moment ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    hash: UserHash,
    /// The newest session; of a free record the next free one.
    pub(crate) first: u32,
    /// The node in the list of those who leave that may end this user's time online; 0: none.
    pub(crate) lingering: u32,
    pub(crate) sessions: u16,
    pub(crate) heard: u16,
    /// The user's slot: none can be made from the hash.
    pub(crate) slot: Slot,
}

const _: () = assert!(size_of::<User>() <= 32);

impl User {
    pub(crate) const fn is_online(&self) -> bool {
        self.heard > 0 || self.lingering != 0
    }
}

/// All users that a shard knows of.
#[derive(Debug)]
pub(crate) struct People {
    index: HashTable<u32>,
    users: Chunks<User, CHUNK>,
    free: u32,
}

impl People {
    /// Nobody.
    pub(crate) const fn new() -> Self {
        Self { index: HashTable::new(), users: Chunks::new(), free: NONE }
    }

    fn find(&self, hash: UserHash) -> Option<u32> {
        self.index.find(hash.word(), |&at| self.users[at].hash == hash).copied()
    }

    /// A user's record.
    pub(crate) fn get(&self, hash: UserHash) -> Option<&User> {
        self.find(hash).map(|at| &self.users[at])
    }

    /// A user's record, to be changed.
    pub(crate) fn get_mut(&mut self, hash: UserHash) -> Option<&mut User> {
        self.find(hash).map(|at| &mut self.users[at])
    }

    /// A user's record, made without sessions when there is none.
    pub(crate) fn open(&mut self, hash: UserHash, slot: Slot) -> &mut User {
        let at = self.find(hash).unwrap_or_else(|| self.make(hash, slot));
        &mut self.users[at]
    }

    fn make(&mut self, hash: UserHash, slot: Slot) -> u32 {
        let user = User { hash, first: NONE, lingering: 0, sessions: 0, heard: 0, slot };
        let at = if self.free == NONE {
            self.users.push(user)
        } else {
            let at = self.free;
            self.free = std::mem::replace(&mut self.users[at], user).first;
            at
        };
        let users = &self.users;
        self.index.insert_unique(hash.word(), at, |&other| users[other].hash.word());
        at
    }

    /// Forgets a user.
    pub(crate) fn remove(&mut self, hash: UserHash) {
        let found = self.index.find_entry(hash.word(), |&at| self.users[at].hash == hash);
        let Ok(entry) = found else { return };
        let (at, _) = entry.remove();
        let user = &mut self.users[at];
        (user.sessions, user.heard, user.lingering) = (0, 0, 0);
        user.first = std::mem::replace(&mut self.free, at);
    }

    /// How many records there are, free ones as well.
    pub(crate) fn records(&self) -> usize {
        self.users.len()
    }

    /// The user of a record; `None` when it is free.
    pub(crate) fn at(&self, at: usize) -> Option<(UserHash, &User)> {
        let user = self.users.get(at as u32)?;
        (user.sessions > 0 || user.lingering != 0).then_some((user.hash, user))
    }

    /// Everybody.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserHash, &User)> {
        self.index.iter().map(|&at| (self.users[at].hash, &self.users[at]))
    }
}
