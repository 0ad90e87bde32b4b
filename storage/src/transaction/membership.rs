//! What a change does to a conversation and its members, and when it may not: the rules that need the store's truth.
//!
//! Who may ask for a change is the router's.

use std::collections::BTreeMap;

use protocol::envelope::{Change, ConversationKind};
use protocol::event::Role;
use protocol::id::{ConversationKey, UserId, UserKey};

use crate::key::{self, StoreKey};
use crate::request::Appended;
use crate::value::{self, Head, Meta};

use super::commit::Commit;

/// What a conversation is and who is in it, as far as a batch asks for it and changes it.
#[derive(Debug, Default)]
pub(super) struct Membership {
    meta: Option<Meta>,
    meta_changed: bool,
    members: BTreeMap<UserId, Standing>,
}

/// A user in a conversation.
#[derive(Clone, Copy, Debug)]
struct Standing {
    before: Option<Role>,
    now: Option<Role>,
    /// Left in this batch, and may have come back.
    left: bool,
}

/// The user whose membership a change is about.
pub(super) fn subject(change: &Change) -> Option<UserId> {
    match change {
        Change::Join { user, .. } | Change::Leave { user } | Change::Role { user, .. } => Some(*user),
        Change::Title { .. } => None,
    }
}

impl Membership {
    pub(super) fn found_meta(&mut self, meta: Meta) {
        self.meta = Some(meta);
    }

    pub(super) fn found_member(&mut self, user: UserId, role: Option<Role>) {
        self.members.insert(user, Standing { before: role, now: role, left: false });
    }

    /// Makes a change, or says why not.
    pub(super) fn change(&mut self, head: &mut Head, change: &Change) -> Result<(), Appended> {
        match change {
            Change::Join { user, role } => self.join(head, *user, *role),
            Change::Leave { user } => self.leave(head, *user),
            Change::Role { user, role } => self.give_role(head, *user, *role),
            Change::Title { title } => self.give_title(title.as_deref()),
        }
    }

    fn standing(&mut self, user: UserId) -> &mut Standing {
        self.members.get_mut(&user).expect("each change's member was read")
    }

    fn refuse_direct(&self) -> Result<(), Appended> {
        match &self.meta {
            Some(Meta::Alive { kind: ConversationKind::Direct, .. }) => {
                Err(Appended::Refused("the members of a direct conversation never change"))
            }
            _ => Ok(()),
        }
    }

    fn join(&mut self, head: &mut Head, user: UserId, role: Role) -> Result<(), Appended> {
        if self.standing(user).now.is_some() {
            return Err(Appended::Unchanged);
        }
        self.refuse_direct()?;
        self.standing(user).now = Some(role);
        head.members += 1;
        head.owners += u64::from(role == Role::Owner);
        Ok(())
    }

    fn leave(&mut self, head: &mut Head, user: UserId) -> Result<(), Appended> {
        let Some(role) = self.standing(user).now else { return Err(Appended::Unchanged) };
        self.refuse_direct()?;
        if role == Role::Owner && head.owners == 1 && head.members > 1 {
            return Err(Appended::Refused("the last owner can't leave while others are members"));
        }
        let standing = self.standing(user);
        (standing.now, standing.left) = (None, true);
        head.members -= 1;
        head.owners -= u64::from(role == Role::Owner);
        Ok(())
    }

    fn give_role(&mut self, head: &mut Head, user: UserId, role: Role) -> Result<(), Appended> {
        let Some(old) = self.standing(user).now else {
            return Err(Appended::Refused("only a member has a role"));
        };
        if old == role {
            return Err(Appended::Unchanged);
        }
        self.refuse_direct()?;
        if old == Role::Owner && head.owners == 1 {
            return Err(Appended::Refused("the last owner keeps that role"));
        }
        self.standing(user).now = Some(role);
        head.owners += u64::from(role == Role::Owner);
        head.owners -= u64::from(old == Role::Owner);
        Ok(())
    }

    fn give_title(&mut self, new: Option<&str>) -> Result<(), Appended> {
        let Some(Meta::Alive { title, .. }) = &mut self.meta else { return Err(Appended::NoConversation) };
        if title.as_deref() == new {
            return Err(Appended::Unchanged);
        }
        *title = new.map(Box::from);
        self.meta_changed = true;
        Ok(())
    }

    /// Writes what changed. Who left keeps no cursor: a new life in the conversation begins without.
    pub(super) fn write(&self, of: &ConversationKey, commit: &mut Commit) {
        if let Some(meta) = self.meta.as_ref().filter(|_| self.meta_changed) {
            commit.set(&StoreKey::Meta(*of), |key| meta.seal(key));
        }
        for (user, standing) in &self.members {
            let of_user = UserKey { tenant: of.tenant, user: *user };
            let (member, membership) =
                (StoreKey::Member(*of, *user), StoreKey::Membership(of_user, of.conversation));
            match standing.now {
                Some(role) if standing.before != Some(role) => {
                    commit.set(&member, |key| value::seal_role(key, role));
                    commit.set(&membership, |key| value::seal_role(key, role));
                }
                None if standing.before.is_some() => {
                    commit.clear(&member);
                    commit.clear(&membership);
                }
                _ => {}
            }
            if standing.left && standing.before.is_some() {
                commit.clear(&StoreKey::Read(of_user, of.conversation));
                commit.clear_range(key::received_of(of, user));
            }
        }
    }
}
