//! Words: what is said to a router shard, is answered by nobody, and would be missed: cursors and memberships. The dialling end
//! keeps each until the accepting end says that it has taken it, and has them back when the link ends before. One may then be
//! said twice, which changes nothing.

use std::collections::VecDeque;

use protocol::envelope::{RouterId, ToRouter};
use protocol::placement::NodeId;

/// Words of one link that are not taken, at most: past it they find no room.
pub(super) const WORDS_MAX: usize = 8_192;

/// Whether an envelope is a word.
pub(super) const fn is_word(envelope: &ToRouter) -> bool {
    matches!(envelope, ToRouter::Mark { .. } | ToRouter::Membership { .. })
}

/// The words of one link, at either end.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// At the dialling end: the core and the word, in the order in which they were sent.
    sent: VecDeque<(u16, ToRouter)>,
    /// At the dialling end: how many the peer has said to have taken.
    confirmed: u64,
    /// At the accepting end: how many were taken, and how many of them the peer was told of.
    taken: u64,
    told: u64,
}

impl Words {
    pub(super) fn are_full(&self) -> bool {
        self.sent.len() >= WORDS_MAX
    }

    /// One more was sent.
    pub(super) fn keep(&mut self, to_core: u16, word: ToRouter) {
        self.sent.push_back((to_core, word));
    }

    /// The peer has taken so many since the link began; false when it can't have.
    pub(super) fn were_taken(&mut self, count: u64) -> bool {
        let newly = count.checked_sub(self.confirmed).and_then(|newly| usize::try_from(newly).ok());
        let Some(newly) = newly.filter(|newly| *newly <= self.sent.len()) else { return false };
        self.sent.drain(..newly);
        self.confirmed = count;
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
        true
    }

    /// One more was taken here.
    pub(super) const fn take(&mut self) {
        self.taken += 1;
    }

    /// How many were taken, when the peer was not told.
    pub(super) const fn news(&mut self) -> Option<u64> {
        if self.told == self.taken {
            return None;
        }
        self.told = self.taken;
        Some(self.taken)
    }

    /// The words that nobody has taken, with the router shards of the peer's node that they were for.
    pub(super) fn give_back(&mut self, node: NodeId) -> Vec<(RouterId, ToRouter)> {
        self.sent.drain(..).map(|(core, word)| (RouterId::new(node, core), word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{ConversationId, Tenant, UserId, UserKey};

    use super::*;

    fn word(after: u64) -> ToRouter {
        let user = UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("u").unwrap() };
        ToRouter::Membership { user, conversation: ConversationId::parse("c").unwrap(), joined: true, after }
    }

    #[test]
    fn what_was_not_taken_comes_back_in_order() {
        let mut words = Words::default();
        (0..5).for_each(|after| words.keep(after as u16, word(after)));
        assert!(words.were_taken(2) && words.were_taken(2));
        assert!(
            !words.were_taken(1) && !words.were_taken(6),
            "none is untaken, and none taken before it was sent"
        );
        assert_eq!(words.news(), None, "who is told has nothing to tell");
        let back = words.give_back(NodeId(3));
        let numbers = back.iter().map(|(to, word)| match word {
            ToRouter::Membership { after, .. } => (to.node().0, u64::from(to.core()), *after),
            _ => panic!("{word:?}"),
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [(3, 2, 2), (3, 3, 3), (3, 4, 4)]);
        assert!(words.give_back(NodeId(3)).is_empty());
    }

    #[test]
    fn the_peer_is_told_of_what_is_new_alone() {
        let mut words = Words::default();
        assert_eq!(words.news(), None);
        words.take();
        words.take();
        assert_eq!((words.news(), words.news()), (Some(2), None));
    }
}
