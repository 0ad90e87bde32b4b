//! Keyed hashes: small names for users and devices, and tables that nobody outside can steer into collisions.

use core::hash::Hasher;

use protocol::id::{DeviceId, UserKey};
use siphasher::sip128::{Hasher128, SipHasher13};

/// A table whose order depends on nothing but its content's history and the seed.
pub(crate) type Table<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// A user, in 16 bytes: a keyed 128-bit hash, so that two users never share one in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserHash([u64; 2]);

impl UserHash {
    /// Half of it, for tables: uniform, and keyed already.
    pub(crate) const fn word(self) -> u64 {
        self.0[0]
    }
}

/// The keys of one shard's hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    key: [u64; 2],
    seed: u64,
}

impl Keys {
    /// The keys that follow from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let key = [seed ^ 0x736f_6d65_7073_6575, seed.rotate_left(32) ^ 0x646f_7261_6e64_6f6d];
        Self { key, seed }
    }

    /// An empty table.
    pub(crate) fn table<K, V>(&self) -> Table<K, V> {
        Table::with_hasher(self.hasher())
    }

    /// What hashes the keys of tables.
    pub(crate) fn hasher(&self) -> foldhash::fast::FixedState {
        foldhash::fast::FixedState::with_seed(self.seed)
    }

    /// A user's hash.
    pub(crate) fn user(&self, user: &UserKey) -> UserHash {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(user.tenant.as_str().as_bytes());
        hasher.write_u8(b'/');
        hasher.write(user.user.as_str().as_bytes());
        let hash = hasher.finish128();
        UserHash([hash.h1, hash.h2])
    }

    /// A device's hash, to tell apart the few devices of one user.
    pub(crate) fn device(&self, device: &DeviceId) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key[1], self.key[0]);
        hasher.write(device.as_str().as_bytes());
        hasher.finish128().h1
    }
}
