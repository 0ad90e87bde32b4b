//! Memberships that came or went, on their way to the owners of their users: in order, some at a time.

use std::collections::VecDeque;

use protocol::id::{ConversationKey, UserId};

use crate::limits::{ANNOUNCEMENTS_A_ROUND, ANNOUNCEMENTS_SOFT};

/// News of one conversation for some users.
#[derive(Debug)]
struct News {
    conversation: ConversationKey,
    joined: bool,
    after: u64,
    users: std::vec::IntoIter<UserId>,
}

/// News for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// Of which conversation.
    pub(crate) conversation: ConversationKey,
    /// Who.
    pub(crate) user: UserId,
    /// True: became a member.
    pub(crate) joined: bool,
    /// Seq after which the user's events begin, or of the event that says that it left.
    pub(crate) after: u64,
}

/// All news that nobody was told yet.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    news: VecDeque<News>,
    users: usize,
}

impl Announcements {
    /// True when so many wait that no member may change until some went out.
    pub(crate) fn is_full(&self) -> bool {
        self.users >= ANNOUNCEMENTS_SOFT
    }

    /// True when nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.users == 0
    }

    /// Takes news.
    pub(crate) fn add(
        &mut self,
        conversation: ConversationKey,
        users: Vec<UserId>,
        joined: bool,
        after: u64,
    ) {
        if users.is_empty() {
            return;
        }
        self.users += users.len();
        self.news.push_back(News { conversation, joined, after, users: users.into_iter() });
    }

    /// The next ones, as many as go out at once.
    pub(crate) fn take(&mut self) -> Vec<Announcement> {
        let mut taken = Vec::new();
        while taken.len() < ANNOUNCEMENTS_A_ROUND
            && let Some(news) = self.news.front_mut()
        {
            let News { conversation, joined, after, ref mut users } = *news;
            match users.next() {
                Some(user) => taken.push(Announcement { conversation, user, joined, after }),
                None => drop(self.news.pop_front()),
            }
        }
        self.users -= taken.len();
        taken
    }

    /// Asserts that the sum is right.
    pub(crate) fn invariants(&self) {
        assert_eq!(self.users, self.news.iter().map(|news| news.users.len()).sum::<usize>());
    }
}
