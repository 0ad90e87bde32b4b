//! Placement: which slot a conversation or a user hashes to, the same on every node and for ever.

use xxhash_rust::xxh3::Xxh3;

use crate::envelope::RouterId;
use crate::id::{ConversationKey, UserKey};

/// How many slots share all conversations and users. Fixed for the life of a store.
pub const SLOTS: u16 = 4_096;

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

    /// The slot's owner in a node of `routers` router shards (at least 1).
    #[must_use]
    pub fn owner(self, routers: u16) -> RouterId {
        RouterId(self.0 % routers)
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
