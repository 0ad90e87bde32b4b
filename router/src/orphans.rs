//! Store requests that outlive what they were for, because a table took its slot away. Whoever asked was told to ask the new
//! owner, who reads in the log what came of them. What the new owner can't see is that somebody's membership changed just
//! now: that is told from here.

use protocol::id::{ConversationKey, UserId};
use storage::request::{Appended, Outcome};

use crate::conversation::Place;
use crate::publish::news_of;
use crate::shard::RouterShard;

/// Where a batch of appends lands.
#[derive(Debug)]
pub(crate) enum Landing {
    /// In a conversation of this shard.
    Here(Place),
    /// In one that was given up.
    Elsewhere(Box<ConversationKey>),
}

impl Landing {
    /// Its place here, where it has one.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::Here(place) => Some(*place),
            Self::Elsewhere(_) => None,
        }
    }
}

/// What a request was for.
#[derive(Debug)]
pub(crate) enum Orphan {
    /// Nothing that matters any more.
    Nothing,
    /// The creation of a conversation.
    Creation {
        /// Which.
        key: Box<ConversationKey>,
        /// The members that it begins with.
        members: Vec<UserId>,
    },
    /// The removal of a conversation.
    Removal(Box<ConversationKey>),
}

impl RouterShard {
    /// A request came to its end after what it was for was given up.
    pub(crate) fn orphan_outcome(&mut self, orphan: Orphan, outcome: Outcome) {
        match (orphan, outcome) {
            (Orphan::Creation { key, members }, Outcome::Created { conversation, created: true }) => {
                self.announcements.add(*key, members, true, conversation.head);
            }
            (Orphan::Removal(key), Outcome::Removed { members, .. }) => {
                self.announcements.add(*key, members, false, 0);
            }
            _ => {}
        }
    }

    /// A conversation's batch was stored after the conversation was given up.
    pub(crate) fn landed_elsewhere(&mut self, key: &ConversationKey, results: &[Appended]) {
        for appended in results {
            if let Appended::Stored(event) = appended
                && let Some((user, joined, after)) = news_of(event)
            {
                self.announcements.add(*key, vec![user], joined, after);
            }
        }
    }
}
