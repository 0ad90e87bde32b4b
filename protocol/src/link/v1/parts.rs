//! What envelopes are made of, version 1. Frozen. Ids are their bytes, so that an alphabet is all that is checked of them.
//! Elements of lists are public for the sake of [`AsV1`] alone: nobody outside can name them.

use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};

use super::check;
use crate::envelope::{
    Actor, AttachItem, AttachedItem, AttachedState, Authority, Caller, Change, Conversation,
    ConversationKind, GatewayId, Listed, Member,
};
use crate::error::{ErrorCode, Refusal};
use crate::event::Role;
use crate::frame::ChatListEntry;
use crate::frame::rkyv::{ArchivedChatListEntryV1, AsV1};
use crate::id::{ConversationId, ConversationKey, UserId, UserKey};
use crate::link::{Malformed, Sentences};

/// A user or a conversation, in full.
#[derive(Archive, Serialize, Clone, Copy)]
pub struct KeyV1<'a> {
    #[rkyv(with = InlineAsBox)]
    tenant: &'a [u8],
    #[rkyv(with = InlineAsBox)]
    id: &'a [u8],
}

/// Who asks, but for the gateway shard: the frame says which.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) struct CallerV1 {
    connection: u64,
    reference: i64,
}

/// In whose name something is asked.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) struct ActorV1<'a> {
    key: KeyV1<'a>,
    authority: AuthorityV1,
}

#[derive(Archive, Serialize, Clone, Copy)]
enum AuthorityV1 {
    User,
    Server,
}

/// One conversation of an attach.
#[derive(Archive, Serialize, Clone, Copy)]
pub struct AttachItemV1<'a> {
    #[rkyv(with = InlineAsBox)]
    conversation: &'a [u8],
    listed: Option<ListedV1>,
}

#[derive(Archive, Serialize, Clone, Copy)]
struct ListedV1 {
    head: u64,
    lamport: u64,
    read: u64,
    role: Role,
}

/// One answer of an attach.
#[derive(Archive, Serialize, Clone, Copy)]
pub struct AttachedItemV1<'a> {
    #[rkyv(with = InlineAsBox)]
    conversation: &'a [u8],
    state: Option<AttachedStateV1>,
}

#[derive(Archive, Serialize, Clone, Copy)]
struct AttachedStateV1 {
    head: u64,
    read: u64,
    role: Role,
}

/// A member and its role.
#[derive(Archive, Serialize, Clone, Copy)]
pub struct MemberV1<'a> {
    #[rkyv(with = InlineAsBox)]
    user: &'a [u8],
    role: Role,
}

/// A conversation, as the API shows it.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) struct ConversationV1<'a> {
    key: KeyV1<'a>,
    kind: ConversationKindV1,
    #[rkyv(with = Map<InlineAsBox>)]
    title: Option<&'a str>,
    created: u64,
    head: u64,
    lamport: u64,
    members: u64,
}

#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) enum ConversationKindV1 {
    Direct,
    Group,
    Public,
}

/// A change to a conversation or its members.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) enum ChangeV1<'a> {
    Join {
        #[rkyv(with = InlineAsBox)]
        user: &'a [u8],
        role: Role,
    },
    Leave {
        #[rkyv(with = InlineAsBox)]
        user: &'a [u8],
    },
    Role {
        #[rkyv(with = InlineAsBox)]
        user: &'a [u8],
        role: Role,
    },
    Title {
        #[rkyv(with = Map<InlineAsBox>)]
        title: Option<&'a str>,
    },
}

/// Why a request was refused.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) struct RefusalV1<'a> {
    /// The code's place in [`ErrorCode::ALL`].
    code: u8,
    #[rkyv(with = InlineAsBox)]
    message: &'a str,
    retry_after_ms: Option<u32>,
}

impl<'a> From<&'a UserKey> for KeyV1<'a> {
    fn from(key: &'a UserKey) -> Self {
        Self { tenant: key.tenant.as_bytes(), id: key.user.as_bytes() }
    }
}

impl<'a> From<&'a ConversationKey> for KeyV1<'a> {
    fn from(key: &'a ConversationKey) -> Self {
        Self { tenant: key.tenant.as_bytes(), id: key.conversation.as_bytes() }
    }
}

impl ArchivedKeyV1<'_> {
    pub(super) fn user(&self) -> Result<UserKey, Malformed> {
        Ok(UserKey { tenant: check::tenant(&self.tenant)?, user: UserId::parse(&*self.id)? })
    }

    pub(super) fn conversation(&self) -> Result<ConversationKey, Malformed> {
        Ok(ConversationKey {
            tenant: check::tenant(&self.tenant)?,
            conversation: ConversationId::parse(&*self.id)?,
        })
    }
}

impl From<&Caller> for CallerV1 {
    fn from(caller: &Caller) -> Self {
        Self { connection: caller.connection, reference: caller.reference }
    }
}

impl ArchivedCallerV1 {
    pub(super) const fn of(&self, gateway: GatewayId) -> Caller {
        let (connection, reference) = (self.connection.to_native(), self.reference.to_native());
        Caller { gateway, connection, reference }
    }
}

impl<'a> From<&'a Actor> for ActorV1<'a> {
    fn from(actor: &'a Actor) -> Self {
        let authority = match actor.authority {
            Authority::User => AuthorityV1::User,
            Authority::Server => AuthorityV1::Server,
        };
        Self { key: (&actor.key).into(), authority }
    }
}

impl ArchivedActorV1<'_> {
    pub(super) fn read(&self) -> Result<Actor, Malformed> {
        let authority = match self.authority {
            ArchivedAuthorityV1::User => Authority::User,
            ArchivedAuthorityV1::Server => Authority::Server,
        };
        Ok(Actor { key: self.key.user()?, authority })
    }
}

impl AsV1 for UserKey {
    type V1<'a> = KeyV1<'a>;

    fn as_v1(&self) -> KeyV1<'_> {
        self.into()
    }
}

impl AsV1 for AttachItem {
    type V1<'a> = AttachItemV1<'a>;

    fn as_v1(&self) -> AttachItemV1<'_> {
        let listed = |&Listed { head, lamport, read, role }: &Listed| ListedV1 { head, lamport, read, role };
        AttachItemV1 { conversation: self.conversation.as_bytes(), listed: self.listed.as_ref().map(listed) }
    }
}

impl ArchivedAttachItemV1<'_> {
    pub(super) fn read(&self) -> Result<AttachItem, Malformed> {
        Ok(AttachItem {
            conversation: ConversationId::parse(&*self.conversation)?,
            listed: self.listed.as_ref().map(ArchivedListedV1::read).transpose()?,
        })
    }
}

impl ArchivedListedV1 {
    fn read(&self) -> Result<Listed, Malformed> {
        let (head, read) = (check::seq(&self.head)?, check::seq(&self.read)?);
        Ok(Listed { head, lamport: self.lamport.to_native(), read, role: self.role.into() })
    }
}

impl AsV1 for AttachedItem {
    type V1<'a> = AttachedItemV1<'a>;

    fn as_v1(&self) -> AttachedItemV1<'_> {
        let state =
            |&AttachedState { head, read, role }: &AttachedState| AttachedStateV1 { head, read, role };
        AttachedItemV1 { conversation: self.conversation.as_bytes(), state: self.state.as_ref().map(state) }
    }
}

impl ArchivedAttachedItemV1<'_> {
    pub(super) fn read(&self) -> Result<AttachedItem, Malformed> {
        Ok(AttachedItem {
            conversation: ConversationId::parse(&*self.conversation)?,
            state: self.state.as_ref().map(ArchivedAttachedStateV1::read).transpose()?,
        })
    }
}

impl ArchivedAttachedStateV1 {
    fn read(&self) -> Result<AttachedState, Malformed> {
        let (head, read) = (check::seq(&self.head)?, check::seq(&self.read)?);
        Ok(AttachedState { head, read, role: self.role.into() })
    }
}

impl AsV1 for Member {
    type V1<'a> = MemberV1<'a>;

    fn as_v1(&self) -> MemberV1<'_> {
        MemberV1 { user: self.user.as_bytes(), role: self.role }
    }
}

impl ArchivedMemberV1<'_> {
    pub(super) fn read(&self) -> Result<Member, Malformed> {
        Ok(Member { user: UserId::parse(&*self.user)?, role: self.role.into() })
    }
}

/// A line of a chat list, which is a client's type, too.
pub(super) fn chat_list_entry(entry: &ArchivedChatListEntryV1<'_>) -> Result<ChatListEntry, Malformed> {
    Ok(ChatListEntry {
        conversation: ConversationId::parse(&*entry.conversation)?,
        head: check::seq(&entry.head)?,
        read: check::seq(&entry.read)?,
        role: entry.role.into(),
        lamport: entry.lamport.to_native(),
    })
}

impl<'a> From<&'a Conversation> for ConversationV1<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        let Conversation { key, kind, title, created, head, lamport, members } = conversation;
        Self {
            key: key.into(),
            kind: (*kind).into(),
            title: title.as_deref(),
            created: *created,
            head: *head,
            lamport: *lamport,
            members: *members,
        }
    }
}

impl ArchivedConversationV1<'_> {
    pub(super) fn read(&self) -> Result<Conversation, Malformed> {
        Ok(Conversation {
            key: self.key.conversation()?,
            kind: self.kind.read(),
            title: self.title.as_ref().map(|title| Box::from(&**title)),
            created: self.created.to_native(),
            head: check::seq(&self.head)?,
            lamport: self.lamport.to_native(),
            members: self.members.to_native(),
        })
    }
}

impl From<ConversationKind> for ConversationKindV1 {
    fn from(kind: ConversationKind) -> Self {
        match kind {
            ConversationKind::Direct => Self::Direct,
            ConversationKind::Group => Self::Group,
            ConversationKind::Public => Self::Public,
        }
    }
}

impl ArchivedConversationKindV1 {
    pub(super) const fn read(&self) -> ConversationKind {
        match self {
            Self::Direct => ConversationKind::Direct,
            Self::Group => ConversationKind::Group,
            Self::Public => ConversationKind::Public,
        }
    }
}

impl<'a> From<&'a Change> for ChangeV1<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Join { user, role } => Self::Join { user: user.as_bytes(), role: *role },
            Change::Leave { user } => Self::Leave { user: user.as_bytes() },
            Change::Role { user, role } => Self::Role { user: user.as_bytes(), role: *role },
            Change::Title { title } => Self::Title { title: title.as_deref() },
        }
    }
}

impl ArchivedChangeV1<'_> {
    pub(super) fn read(&self) -> Result<Change, Malformed> {
        Ok(match self {
            Self::Join { user, role } => Change::Join { user: UserId::parse(&**user)?, role: (*role).into() },
            Self::Leave { user } => Change::Leave { user: UserId::parse(&**user)? },
            Self::Role { user, role } => Change::Role { user: UserId::parse(&**user)?, role: (*role).into() },
            Self::Title { title } => Change::Title { title: title.as_ref().map(|title| Box::from(&**title)) },
        })
    }
}

impl<'a> From<&'a Refusal> for RefusalV1<'a> {
    fn from(refusal: &'a Refusal) -> Self {
        let Refusal { code, message, retry_after_ms } = *refusal;
        Self { code: code as u8, message, retry_after_ms }
    }
}

impl ArchivedRefusalV1<'_> {
    pub(super) fn read(&self, sentences: &mut Sentences) -> Result<Refusal, Malformed> {
        let code = *ErrorCode::ALL.get(usize::from(self.code)).ok_or(Malformed::Number)?;
        let retry_after_ms = self.retry_after_ms.as_ref().map(|time| time.to_native());
        Ok(sentences.refusal(code, &self.message, retry_after_ms))
    }
}
