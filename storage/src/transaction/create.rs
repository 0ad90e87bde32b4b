//! A new conversation with its first members. A retry finds it and changes nothing.

use std::collections::BTreeMap;

use protocol::envelope::{Conversation, Member};
use protocol::event::Role;
use protocol::id::{UserId, UserKey};

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::request::{Epoch, Outcome};
use crate::value::{self, Head, Meta};

use super::commit::Commit;
use super::fence::{Fence, fenced, get};
use super::load;
use super::remove::{Clears, Remove};
use super::{Answers, Step};

/// Members of one transaction, so that its writes stay below the bound of a commit.
const MEMBERS_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Create {
    epoch: Epoch,
    clears: Clears,
    conversation: Conversation,
    members: BTreeMap<UserId, Role>,
    fence: Fence,
    /// Set while the removal of an earlier life is finished.
    removal: Option<Remove>,
    /// A commit of this request was left without an answer: what is found and looks like it, is its own.
    in_doubt: bool,
}

impl Create {
    pub(super) fn new(
        epoch: Epoch,
        mut conversation: Conversation,
        members: &[Member],
        clears: Clears,
    ) -> Self {
        assert!(members.len() <= MEMBERS_MAX, "the router splits larger lists");
        let members: BTreeMap<UserId, Role> =
            members.iter().map(|member| (member.user, member.role)).collect();
        conversation.head = 0;
        conversation.lamport = conversation.lamport.max(conversation.created);
        conversation.members = members.len() as u64;
        let fence = Fence::new(epoch, std::iter::once(&conversation.key));
        Self { epoch, clears, conversation, members, fence, removal: None, in_doubt: false }
    }

    pub(super) fn begin(&mut self) -> Step {
        if let Some(removal) = &mut self.removal {
            return removal.begin();
        }
        let of = self.conversation.key;
        let mut reads: Vec<_> = self.fence.reads().collect();
        reads.extend([get(&StoreKey::Meta(of), true), get(&StoreKey::Head(of), false)]);
        Step::Read(reads)
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        if let Some(removal) = &mut self.removal {
            let step = removal.found(answers)?;
            return Ok(self.removal_went_on(step));
        }
        if !self.fence.holds(&mut answers)? {
            return Ok(fenced());
        }
        let of = self.conversation.key;
        let (meta, head) = (answers.value(), answers.value());
        if let Some(conversation) = load::conversation(&of, meta.as_ref(), head.as_ref())? {
            let created = self.in_doubt && self.is_own(&conversation);
            return Ok(Step::Done(Outcome::Created { conversation, created }));
        }
        if meta.is_none() {
            return Ok(self.commit());
        }
        let step = self.removal.insert(Remove::new(self.epoch, of, self.clears)).begin();
        Ok(step)
    }

    pub(super) fn doubt(&mut self) {
        self.in_doubt |= self.removal.is_none();
    }

    fn is_own(&self, found: &Conversation) -> bool {
        found.created == self.conversation.created
            && found.kind == self.conversation.kind
            && found.title == self.conversation.title
    }

    fn commit(&mut self) -> Step {
        let Conversation { key: of, kind, title, created, lamport, members, .. } = self.conversation.clone();
        let owners = self.members.values().filter(|role| **role == Role::Owner).count() as u64;
        let mut commit = Commit::default();
        commit.set(&StoreKey::Meta(of), |key| Meta::Alive { kind, title, created }.seal(key));
        let head = Head { seq: 0, lamport, time: created, members, owners, first: 1 };
        commit.set(&StoreKey::Head(of), |key| head.seal(key));
        for (user, role) in &self.members {
            let of_user = UserKey { tenant: of.tenant, user: *user };
            commit.set(&StoreKey::Member(of, *user), |key| value::seal_role(key, *role));
            commit.set(&StoreKey::Membership(of_user, of.conversation), |key| value::seal_role(key, *role));
        }
        commit.step()
    }

    pub(super) fn committed(&mut self) -> Step {
        if let Some(removal) = &mut self.removal {
            let step = removal.committed();
            return self.removal_went_on(step);
        }
        Step::Done(Outcome::Created { conversation: self.conversation.clone(), created: true })
    }

    fn removal_went_on(&mut self, step: Step) -> Step {
        match step {
            Step::Done(Outcome::Removed { .. }) => {
                self.removal = None;
                self.begin()
            }
            other => other,
        }
    }
}
