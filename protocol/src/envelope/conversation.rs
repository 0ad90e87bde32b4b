//! Conversations, members and their changes, as envelopes and the store speak of them.

use crate::event::Role;
use crate::id::{ConversationKey, UserId};

/// What sort of conversation (PROTOCOL, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConversationKind {
    /// Two users; its id is made from theirs.
    Direct = 0,
    /// Members only.
    Group = 1,
    /// Anyone of the tenant may join and read.
    Public = 2,
}

impl ConversationKind {
    /// The kind's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Public => "public",
        }
    }

    /// The kind of a name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Direct, Self::Group, Self::Public].into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of its number in the store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Direct),
            1 => Some(Self::Group),
            2 => Some(Self::Public),
            _ => None,
        }
    }
}

/// A conversation, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub key: ConversationKey,
    /// What sort.
    pub kind: ConversationKind,
    /// For people.
    pub title: Option<Box<str>>,
    /// When it was created, milliseconds since the Unix epoch.
    pub created: u64,
    /// Its last seq; 0 when nothing was sent yet.
    pub head: u64,
    /// Lamport stamp of its last event.
    pub lamport: u64,
    /// How many members.
    pub members: u64,
}

/// A member and its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
}

/// A change to the members of a conversation, or to the conversation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a user; a user who is a member already keeps its role. Public conversations: anyone adds itself.
    Join {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// Removes a user; anyone removes itself.
    Leave {
        /// Who.
        user: UserId,
    },
    /// Gives a member another role.
    Role {
        /// Who.
        user: UserId,
        /// The new role.
        role: Role,
    },
    /// Gives the conversation another title.
    Title {
        /// The new title; `None` takes it away.
        title: Option<Box<str>>,
    },
}
