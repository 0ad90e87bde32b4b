//! When users were last heard: told, and asked for.

use std::collections::BTreeMap;

use protocol::id::UserKey;

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::request::Outcome;
use crate::value;

use super::commit::Commit;
use super::fence::get;
use super::{Answers, Step};

/// Users were heard at these times; the latest of old and new stays.
#[derive(Debug)]
pub(super) struct Seen {
    seen: BTreeMap<UserKey, u64>,
}

impl Seen {
    pub(super) fn new(seen: Box<[(UserKey, u64)]>) -> Self {
        let mut latest = BTreeMap::new();
        for (user, time) in seen {
            let known = latest.entry(user).or_insert(time);
            *known = time.max(*known);
        }
        Self { seen: latest }
    }

    pub(super) fn begin(&mut self) -> Step {
        Step::Read(self.seen.keys().map(|user| get(&StoreKey::Seen(*user), true)).collect())
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let mut commit = Commit::default();
        for (user, time) in &self.seen {
            let key = StoreKey::Seen(*user);
            let old = answers.value().map(|found| value::open_number(&key.encode(), &found)).transpose()?;
            if old.is_none_or(|old| old < *time) {
                commit.set(&key, |key| value::seal_number(key, *time));
            }
        }
        Ok(if commit.is_empty() { self.committed() } else { commit.step() })
    }

    pub(super) fn committed(&mut self) -> Step {
        Step::Done(Outcome::Seen)
    }
}

/// When a user was last heard.
#[derive(Debug)]
pub(super) struct LastSeen {
    key: StoreKey,
}

impl LastSeen {
    pub(super) fn new(user: UserKey) -> Self {
        Self { key: StoreKey::Seen(user) }
    }

    pub(super) fn begin(&mut self) -> Step {
        Step::Read(vec![get(&self.key, false)])
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let time = answers.value().map(|found| value::open_number(&self.key.encode(), &found)).transpose()?;
        Ok(Step::Done(Outcome::LastSeen(time)))
    }
}
