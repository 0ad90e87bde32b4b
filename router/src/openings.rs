//! Sessions that begin: their chat list is on its way, and what happens to their memberships meanwhile is kept for them.

use protocol::envelope::{Caller, ToGateway};
use protocol::id::UserKey;
use protocol::placement::Slot;

use crate::limits::{HELD_NEWS_MAX, OPENINGS_MAX};

/// A session that begins, by its number in the table of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpeningNumber(pub(crate) u32);

/// A session that begins.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The connection.
    pub(crate) caller: Caller,
    /// Whose.
    pub(crate) user: UserKey,
    /// True: its gateway shard had announced the session before.
    pub(crate) again: bool,
    /// Memberships that came or went since the chat list was asked for, to be told behind it.
    pub(crate) news: Vec<ToGateway>,
    /// True when there were more than were kept: the list is to be read again.
    pub(crate) stale: bool,
}

impl Opening {
    /// Keeps a piece of news.
    pub(crate) fn keep(&mut self, news: ToGateway) {
        if self.news.len() < HELD_NEWS_MAX {
            self.news.push(news);
        } else {
            self.stale = true;
        }
    }
}

/// All sessions that begin.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    openings: Vec<Option<Opening>>,
    free: Vec<OpeningNumber>,
}

impl Openings {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.openings.len() - self.free.len()
    }

    /// Takes one; `None` when there are too many.
    pub(crate) fn begin(&mut self, caller: Caller, user: UserKey, again: bool) -> Option<OpeningNumber> {
        if self.len() >= OPENINGS_MAX {
            return None;
        }
        let opening = Some(Opening { caller, user, again, news: Vec::new(), stale: false });
        let Some(number) = self.free.pop() else {
            self.openings.push(opening);
            return Some(OpeningNumber((self.openings.len() - 1) as u32));
        };
        self.openings[number.0 as usize] = opening;
        Some(number)
    }

    /// One that was begun and not ended.
    pub(crate) fn get_mut(&mut self, number: OpeningNumber) -> &mut Opening {
        self.openings[number.0 as usize].as_mut().expect("an opening that is referred to is under way")
    }

    /// Takes it out: its list is here.
    pub(crate) fn end(&mut self, number: OpeningNumber) -> Opening {
        self.free.push(number);
        self.openings[number.0 as usize].take().expect("an opening that is referred to is under way")
    }

    /// True when it was begun and not ended.
    pub(crate) fn contains(&self, number: OpeningNumber) -> bool {
        self.openings.get(number.0 as usize).is_some_and(Option::is_some)
    }

    /// Takes out those of such users; gives who asked for them.
    pub(crate) fn give_up(&mut self, given_up: impl Fn(&UserKey) -> bool) -> Vec<Caller> {
        let mut callers = Vec::new();
        for (at, opening) in self.openings.iter_mut().enumerate() {
            if let Some(ended) = opening.take_if(|opening| given_up(&opening.user)) {
                self.free.push(OpeningNumber(at as u32));
                callers.push(ended.caller);
            }
        }
        callers
    }

    /// Gives back memory that a storm took, once none is left.
    pub(crate) fn trim(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    /// Asserts the bounds, and that all are of slots that the shard has.
    pub(crate) fn invariants(&self, owns: impl Fn(Slot) -> bool) {
        assert!(self.openings.iter().flatten().all(|opening| owns(Slot::of_user(&opening.user))));
        assert!(self.len() <= OPENINGS_MAX);
        assert!(self.openings.iter().flatten().all(|opening| opening.news.len() <= HELD_NEWS_MAX));
    }
}
