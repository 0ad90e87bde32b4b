//! Roles: the one place where a send, a read or a change is allowed (PROTOCOL, section 5).
//!
//! Pure decisions over what is known. A *stranger* (no member of a conversation that is not public) learns nothing:
//! every answer is the one that a conversation which does not exist gives.

use protocol::envelope::{Authority, Change, ConversationKind};
use protocol::error::Refusal;
use protocol::event::Role;

use crate::refusal::{NO_MEMBER, NOT_FOUND, bad_request, forbidden};

/// How an actor stands to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The server itself: neither membership nor role is asked for.
    Server,
    /// A member.
    Member(Role),
    /// Not a member of a public conversation: may read it and join it.
    Visitor,
    /// Not a member of any other: may not even know of it.
    Stranger,
}

impl Access {
    /// How somebody stands to a conversation of this kind, where it has this role (`None`: no member).
    pub(crate) const fn new(authority: Authority, kind: ConversationKind, role: Option<Role>) -> Self {
        match (authority, role, kind) {
            (Authority::Server, _, _) => Self::Server,
            (Authority::User, Some(role), _) => Self::Member(role),
            (Authority::User, None, ConversationKind::Public) => Self::Visitor,
            (Authority::User, None, _) => Self::Stranger,
        }
    }

    /// May it read the log, the conversation and the list of members?
    pub(crate) const fn read(self) -> Result<(), Refusal> {
        match self {
            Self::Server | Self::Member(_) | Self::Visitor => Ok(()),
            Self::Stranger => Err(NOT_FOUND),
        }
    }

    /// May it send: a message, an edit, a reaction, a signal, typing?
    pub(crate) const fn send(self) -> Result<(), Refusal> {
        match self {
            Self::Server | Self::Member(Role::Member | Role::Moderator | Role::Owner) => Ok(()),
            Self::Member(Role::Reader) => Err(forbidden("a reader may not send")),
            Self::Visitor => Err(forbidden("join the conversation to send")),
            Self::Stranger => Err(NOT_FOUND),
        }
    }

    /// May it delete messages of others? Who may not still deletes its own, if it may send.
    pub(crate) fn deletes_of_others(self) -> bool {
        match self {
            Self::Server => true,
            Self::Member(role) => role >= Role::Moderator,
            Self::Visitor | Self::Stranger => false,
        }
    }

    /// May it remove the conversation?
    pub(crate) const fn remove(self) -> Result<(), Refusal> {
        match self {
            Self::Server | Self::Member(Role::Owner) => Ok(()),
            Self::Member(_) | Self::Visitor => Err(forbidden("only an owner may remove the conversation")),
            Self::Stranger => Err(NOT_FOUND),
        }
    }

    /// May it make this change? `oneself`: the change is about the actor; `target`: the present role of whom it is about.
    pub(crate) fn change(
        self,
        kind: ConversationKind,
        oneself: bool,
        target: Option<Role>,
        change: &Change,
    ) -> Result<(), Refusal> {
        self.read()?;
        match change {
            Change::Title { .. } => return self.title(),
            Change::Join { .. } | Change::Leave { .. } | Change::Role { .. } => {}
        }
        if kind == ConversationKind::Direct {
            return Err(forbidden("the two members of a direct conversation never change"));
        }
        match *change {
            Change::Join { role, .. } => self.join(oneself, role),
            Change::Leave { .. } => self.leave(oneself, target),
            Change::Role { role, .. } => self.role(target, role),
            Change::Title { .. } => self.title(),
        }
    }

    const fn title(self) -> Result<(), Refusal> {
        match self {
            Self::Server | Self::Member(Role::Owner) => Ok(()),
            _ => Err(forbidden("only an owner may change the conversation")),
        }
    }

    fn join(self, oneself: bool, granted: Role) -> Result<(), Refusal> {
        match self {
            Self::Server => Ok(()),
            Self::Visitor if oneself && granted <= Role::Member => Ok(()),
            // Whoever is a member already keeps its role: the store finds nothing to change.
            Self::Member(_) if oneself => Ok(()),
            Self::Member(own) => manages(own, None, granted),
            Self::Visitor | Self::Stranger => Err(forbidden("whoever is no member may only join as member")),
        }
    }

    fn leave(self, oneself: bool, target: Option<Role>) -> Result<(), Refusal> {
        let Some(target) = target else { return Err(NO_MEMBER) };
        match self {
            Self::Server => Ok(()),
            Self::Member(_) if oneself => Ok(()),
            Self::Member(own) => manages(own, Some(target), Role::Reader),
            Self::Visitor | Self::Stranger => Err(forbidden("only members manage members")),
        }
    }

    fn role(self, target: Option<Role>, granted: Role) -> Result<(), Refusal> {
        let Some(target) = target else { return Err(NO_MEMBER) };
        match self {
            Self::Server => Ok(()),
            Self::Member(own) => manages(own, Some(target), granted),
            Self::Visitor | Self::Stranger => Err(forbidden("only members manage members")),
        }
    }
}

/// Moderators and owners manage members; nobody anybody above itself, or to above itself.
fn manages(own: Role, target: Option<Role>, granted: Role) -> Result<(), Refusal> {
    if own < Role::Moderator {
        return Err(forbidden("only moderators and owners manage members"));
    }
    if target.is_some_and(|target| target > own) {
        return Err(forbidden("an owner is managed by owners only"));
    }
    if granted > own {
        return Err(forbidden("nobody grants a role above its own"));
    }
    Ok(())
}

/// Ids of direct conversations begin like this, and no others do.
const DIRECT_PREFIX: &str = "direct:";

/// Is this a valid pair of id and kind, with so many members?
pub(crate) fn creatable(id: &str, kind: ConversationKind, members: usize) -> Result<(), Refusal> {
    let direct = kind == ConversationKind::Direct;
    if direct && members != 2 {
        return Err(bad_request("a direct conversation has exactly two members"));
    }
    match (direct, id.starts_with(DIRECT_PREFIX)) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(bad_request("the id of a direct conversation is made from its two users")),
        (false, true) => Err(bad_request("ids that begin with `direct:` are for direct conversations")),
    }
}
