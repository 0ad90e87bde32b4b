//! The population of a run: each client's user in one conversation of a chosen size, made through the HTTP API before
//! anything is measured.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::Progress;
use crate::server::ServerError;
use crate::server::api::{Api, each_parallel};
use crate::swarm::name;

/// Calls at the same time: each waits for the disk.
const CALLS: usize = 32;

/// Users and the conversations they are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// Users 0 up to, but not, this.
    pub users: u32,
    /// Members of each conversation; the last one has what is left.
    pub members: u32,
}

impl Population {
    /// Conversations.
    #[must_use]
    pub fn conversations(&self) -> u32 {
        self.users.div_ceil(self.members.max(1))
    }

    /// The users of a conversation.
    #[must_use]
    pub fn members_of(&self, conversation: u32) -> Range<u32> {
        let first = conversation * self.members;
        first..(first + self.members).min(self.users)
    }

    /// The conversation of a user.
    #[must_use]
    pub fn conversation_of(&self, user: u32) -> u32 {
        user / self.members.max(1)
    }

    /// A conversation's id.
    #[must_use]
    pub fn id(conversation: u32) -> String {
        format!("c{conversation:08}")
    }

    /// Creates all conversations; those that are there already stay as they are.
    ///
    /// # Errors
    /// A call failed for good.
    pub fn create(&self, api: &Api) -> Result<(), ServerError> {
        let (done, mut progress) = (AtomicU64::new(0), Progress::new());
        let all = self.conversations();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                each_parallel(0..all, CALLS, &done, |conversation| {
                    let users: Vec<String> = self.members_of(conversation).map(name::user).collect();
                    api.create(&Self::id(conversation), &users)
                })
            });
            while !work.is_finished() {
                progress
                    .show(|| format!("creating: {} of {all} conversations", done.load(Ordering::Relaxed)));
                std::thread::sleep(super::GLANCE);
            }
            work.join().expect("creating does not panic")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Population;

    #[test]
    fn every_user_is_in_one_conversation() {
        let population = Population { users: 25, members: 10 };
        assert_eq!(population.conversations(), 3);
        let members: Vec<u32> = (0..3).flat_map(|conversation| population.members_of(conversation)).collect();
        assert_eq!(members, (0..25).collect::<Vec<_>>());
        assert!((0..25).all(|user| population.members_of(population.conversation_of(user)).contains(&user)));
    }
}
