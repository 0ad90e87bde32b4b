//! Placement: which slot a conversation or a user hashes to, the same on every node and for ever; and which router shard
//! has a slot, which a [`Table`] says until the next one does.

mod bytes;
mod table;

use xxhash_rust::xxh3::Xxh3;

use crate::id::{ConversationKey, UserKey};

pub use bytes::{InvalidTable, TABLE_BYTES_MAX};
pub use table::{NAME_BYTES_MAX, NODES_MAX, NodeId, RouterNode, Table, Tenure};

/// How many slots share all conversations and users. Fixed for the life of a store.
pub const SLOTS: u16 = 4_096;

/// Which tenure of a slot something belongs to: the number of the table that gave the slot to its owner, or of one that left
/// it there. A larger one in the store means that another owner took over. 0 comes before all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A share of all conversations and users: below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

fn slot(domain: u8, tenant: &[u8], id: &[u8]) -> Slot {
    let mut hash = Xxh3::new();
    hash.update(&[domain]);
    hash.update(tenant);
    hash.update(&[0]);
    hash.update(id);
    Slot((hash.digest() % u64::from(SLOTS)) as u16)
}

impl Slot {
    /// Every slot, ascending.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The slot of a conversation.
    #[must_use]
    pub fn of_conversation(key: &ConversationKey) -> Self {
        slot(b'c', key.tenant.as_bytes(), key.conversation.as_bytes())
    }

    /// The slot of a user.
    #[must_use]
    pub fn of_user(key: &UserKey) -> Self {
        slot(b'u', key.tenant.as_bytes(), key.user.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConversationId, Tenant};

    #[test]
    fn a_conversations_slot_never_changes() {
        let key = ConversationKey {
            tenant: Tenant::default_tenant(),
            conversation: ConversationId::parse("general").unwrap(),
        };
        assert_eq!(Slot::of_conversation(&key), Slot(GOLDEN));
    }

    /// Stores and other nodes hold what was placed by this function: the number may never change.
    const GOLDEN: u16 = 2_140;
}
