//! A conversation's state, and what some users are in it.

use protocol::envelope::Conversation;
use protocol::id::{ConversationKey, UserId, UserKey};

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::kv::Value;
use crate::request::{LoadedMember, Outcome};
use crate::value::{self, Head, Meta};

use super::fence::get;
use super::{Answers, Step};

#[derive(Debug)]
pub(super) struct Load {
    of: ConversationKey,
    users: Box<[UserId]>,
}

/// A conversation as it is shown, from its two values; `None` when it is not there.
pub(super) fn conversation(
    of: &ConversationKey,
    meta: Option<&Value>,
    head: Option<&Value>,
) -> Result<Option<Conversation>, Damage> {
    let Some(meta) = meta else {
        return match head {
            None => Ok(None),
            Some(_) => Err(Damage(format!("{}: there is none, but a head", StoreKey::Meta(*of)))),
        };
    };
    let Meta::Alive { kind, title, created } = Meta::open(&StoreKey::Meta(*of).encode(), meta)? else {
        return Ok(None);
    };
    let Some(head) = head else {
        return Err(Damage(format!("{}: there is none", StoreKey::Head(*of))));
    };
    let Head { seq, lamport, members, .. } = Head::open(&StoreKey::Head(*of).encode(), head)?;
    Ok(Some(Conversation { key: *of, kind, title, created, head: seq, lamport, members }))
}

impl Load {
    pub(super) fn new(of: ConversationKey, users: Box<[UserId]>) -> Self {
        Self { of, users }
    }

    fn keys(&self, user: UserId) -> (StoreKey, StoreKey) {
        let user_key = UserKey { tenant: self.of.tenant, user };
        (StoreKey::Member(self.of, user), StoreKey::Read(user_key, self.of.conversation))
    }

    pub(super) fn begin(&mut self) -> Step {
        let mut reads = vec![get(&StoreKey::Meta(self.of), false), get(&StoreKey::Head(self.of), false)];
        for user in &self.users {
            let (member, read) = self.keys(*user);
            reads.extend([get(&member, false), get(&read, false)]);
        }
        Step::Read(reads)
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let (meta, head) = (answers.value(), answers.value());
        let conversation = conversation(&self.of, meta.as_ref(), head.as_ref())?;
        let mut members = Vec::with_capacity(self.users.len());
        for user in &self.users {
            let (member, read) = self.keys(*user);
            let role = answers.value().map(|found| value::open_role(&member.encode(), &found)).transpose()?;
            let read = answers.value().map(|found| value::open_number(&read.encode(), &found)).transpose()?;
            members.push(match &conversation {
                Some(_) => LoadedMember { user: *user, role, read: read.unwrap_or(0) },
                None => LoadedMember { user: *user, role: None, read: 0 },
            });
        }
        Ok(Step::Done(Outcome::Loaded { conversation, members: members.into() }))
    }
}
