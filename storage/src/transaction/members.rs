//! A page of a conversation's members, ascending by id.

use protocol::envelope::Member;
use protocol::id::{ConversationKey, UserId};

use crate::damage::Damage;
use crate::key::{self, StoreKey};
use crate::kv::{Key, Read, Value};
use crate::request::Outcome;
use crate::value;

use super::fence::get;
use super::{Answers, Step};

/// Bytes of keys and values that one page of members may reach: more than 1,000 of the largest.
const PAGE_BYTES_MAX: usize = 512 * 1024;

#[derive(Debug)]
pub(super) struct Members {
    of: ConversationKey,
    after: Option<UserId>,
    limit: u16,
}

/// A read of members with ids larger than `after`.
pub(super) fn read(of: &ConversationKey, after: Option<UserId>, limit: usize) -> Read {
    let (begin, end) = key::members(of, after);
    Read::Range { begin, end, limit, bytes_max: PAGE_BYTES_MAX, reverse: false }
}

/// The member of a pair.
pub(super) fn open(of: &ConversationKey, (key, value): &(Key, Value)) -> Result<Member, Damage> {
    match StoreKey::decode(key)? {
        StoreKey::Member(found, user) if found == *of => {
            Ok(Member { user, role: value::open_role(key, value)? })
        }
        other => Err(Damage(format!("{other}: it lies among the members of {}", key::Named(of)))),
    }
}

impl Members {
    pub(super) fn new(of: ConversationKey, after: Option<UserId>, limit: u16) -> Self {
        Self { of, after, limit: limit.max(1) }
    }

    pub(super) fn begin(&mut self) -> Step {
        let head = get(&StoreKey::Head(self.of), false);
        Step::Read(vec![head, read(&self.of, self.after, usize::from(self.limit))])
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        // Without a head the conversation is gone, whatever of it is still to be cleared.
        if answers.value().is_none() {
            return Ok(Step::Done(Outcome::Members { members: Vec::new(), more: false }));
        }
        let (pairs, more) = answers.pairs();
        let members = pairs.iter().map(|pair| open(&self.of, pair)).collect::<Result<_, _>>()?;
        Ok(Step::Done(Outcome::Members { members, more }))
    }
}
