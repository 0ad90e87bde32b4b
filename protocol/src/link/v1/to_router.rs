//! Envelopes to router shards, version 1: their frozen types, how they are written and how they are validated.

use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};

use super::check;
use super::parts::{
    ActorV1, ArchivedAttachItemV1, ArchivedKeyV1, ArchivedMemberV1, CallerV1, ChangeV1, ConversationKindV1,
    KeyV1,
};
use crate::envelope::{AttachItem, GatewayId, Member, ToRouter};
use crate::frame::rkyv::{Each, RangeV1};
use crate::id::{ClientId, ConversationId, DeviceId, UserKey};
use crate::link::Malformed;

/// An envelope to a router shard, version 1. Frozen. The fields are those of [`ToRouter`], without gateway shards.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) enum ToRouterV1<'a> {
    Append {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        draft: &'a [u8],
        lamport: u64,
    },
    Signal {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        draft: &'a [u8],
    },
    History {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        range: RangeV1,
        limit: u16,
    },
    Backlog {
        caller: CallerV1,
        conversation: KeyV1<'a>,
        after: u64,
        limit: u16,
    },
    Attach {
        caller: CallerV1,
        actor: ActorV1<'a>,
        #[rkyv(with = Each)]
        items: &'a [AttachItem],
    },
    Detach {
        conversation: KeyV1<'a>,
    },
    Mark {
        actor: ActorV1<'a>,
        #[rkyv(with = InlineAsBox)]
        device: &'a [u8],
        conversation: KeyV1<'a>,
        received: Option<u64>,
        read: Option<u64>,
    },
    Typing {
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        on: bool,
    },
    Create {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        kind: ConversationKindV1,
        #[rkyv(with = Map<InlineAsBox>)]
        title: Option<&'a str>,
        #[rkyv(with = Each)]
        members: &'a [Member],
    },
    Show {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
    },
    Change {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        id: &'a [u8],
        change: ChangeV1<'a>,
        lamport: u64,
    },
    Remove {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
    },
    Members {
        caller: CallerV1,
        actor: ActorV1<'a>,
        conversation: KeyV1<'a>,
        #[rkyv(with = Map<InlineAsBox>)]
        after: Option<&'a [u8]>,
        limit: u16,
    },
    SessionOpen {
        caller: CallerV1,
        user: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        device: &'a [u8],
        again: bool,
    },
    SessionHeard {
        caller: CallerV1,
        user: KeyV1<'a>,
        heard: bool,
    },
    SessionClose {
        caller: CallerV1,
        user: KeyV1<'a>,
        normal: bool,
    },
    Watch {
        #[rkyv(with = Each)]
        users: &'a [UserKey],
    },
    Unwatch {
        #[rkyv(with = Each)]
        users: &'a [UserKey],
    },
    PresenceOf {
        caller: CallerV1,
        user: KeyV1<'a>,
    },
    Conversations {
        caller: CallerV1,
        user: KeyV1<'a>,
        after: Option<LineV1<'a>>,
        limit: u16,
    },
    Membership {
        user: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        conversation: &'a [u8],
        joined: bool,
        after: u64,
    },
}

/// A line of a chat list, as the place behind which to go on.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) struct LineV1<'a> {
    lamport: u64,
    #[rkyv(with = InlineAsBox)]
    conversation: &'a [u8],
}

impl<'a> From<&'a ToRouter> for ToRouterV1<'a> {
    #[expect(clippy::too_many_lines, reason = "one arm a variant, nothing else")]
    fn from(envelope: &'a ToRouter) -> Self {
        match envelope {
            ToRouter::Append { caller, actor, conversation, draft, lamport } => Self::Append {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                draft: draft.as_bytes(),
                lamport: *lamport,
            },
            ToRouter::Signal { caller, actor, conversation, draft } => Self::Signal {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                draft: draft.as_bytes(),
            },
            ToRouter::History { caller, actor, conversation, range, limit } => Self::History {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                range: (*range).into(),
                limit: *limit,
            },
            ToRouter::Backlog { caller, conversation, after, limit } => Self::Backlog {
                caller: caller.into(),
                conversation: conversation.into(),
                after: *after,
                limit: *limit,
            },
            ToRouter::Attach { caller, actor, items } => {
                Self::Attach { caller: caller.into(), actor: actor.into(), items }
            }
            ToRouter::Detach { gateway: _, conversation } => {
                Self::Detach { conversation: conversation.into() }
            }
            ToRouter::Mark { actor, device, conversation, received, read } => Self::Mark {
                actor: actor.into(),
                device: device.as_bytes(),
                conversation: conversation.into(),
                received: *received,
                read: *read,
            },
            ToRouter::Typing { actor, conversation, on } => {
                Self::Typing { actor: actor.into(), conversation: conversation.into(), on: *on }
            }
            ToRouter::Create { caller, actor, conversation, kind, title, members } => Self::Create {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                kind: (*kind).into(),
                title: title.as_deref(),
                members,
            },
            ToRouter::Show { caller, actor, conversation } => {
                Self::Show { caller: caller.into(), actor: actor.into(), conversation: conversation.into() }
            }
            ToRouter::Change { caller, actor, conversation, id, change, lamport } => Self::Change {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                id: id.as_bytes(),
                change: change.into(),
                lamport: *lamport,
            },
            ToRouter::Remove { caller, actor, conversation } => {
                Self::Remove { caller: caller.into(), actor: actor.into(), conversation: conversation.into() }
            }
            ToRouter::Members { caller, actor, conversation, after, limit } => Self::Members {
                caller: caller.into(),
                actor: actor.into(),
                conversation: conversation.into(),
                after: after.as_ref().map(|user| user.as_bytes()),
                limit: *limit,
            },
            ToRouter::SessionOpen { caller, user, device, again } => Self::SessionOpen {
                caller: caller.into(),
                user: user.into(),
                device: device.as_bytes(),
                again: *again,
            },
            ToRouter::SessionHeard { caller, user, heard } => {
                Self::SessionHeard { caller: caller.into(), user: user.into(), heard: *heard }
            }
            ToRouter::SessionClose { caller, user, normal } => {
                Self::SessionClose { caller: caller.into(), user: user.into(), normal: *normal }
            }
            ToRouter::Watch { gateway: _, users } => Self::Watch { users },
            ToRouter::Unwatch { gateway: _, users } => Self::Unwatch { users },
            ToRouter::PresenceOf { caller, user } => {
                Self::PresenceOf { caller: caller.into(), user: user.into() }
            }
            ToRouter::Conversations { caller, user, after, limit } => Self::Conversations {
                caller: caller.into(),
                user: user.into(),
                after: after.as_ref().map(|(lamport, conversation)| LineV1 {
                    lamport: *lamport,
                    conversation: conversation.as_bytes(),
                }),
                limit: *limit,
            },
            ToRouter::Membership { user, conversation, joined, after } => Self::Membership {
                user: user.into(),
                conversation: conversation.as_bytes(),
                joined: *joined,
                after: *after,
            },
            ToRouter::GatewayGone { .. } => unreachable!("a node tells its own router shards alone"),
        }
    }
}

impl ArchivedToRouterV1<'_> {
    /// The envelope, in which `gateway` asks.
    #[expect(clippy::too_many_lines, reason = "one arm a variant, nothing else")]
    pub(super) fn envelope(&self, gateway: GatewayId) -> Result<ToRouter, Malformed> {
        Ok(match self {
            Self::Append { caller, actor, conversation, draft, lamport } => {
                let conversation = conversation.conversation()?;
                ToRouter::Append {
                    caller: caller.of(gateway),
                    actor: actor.read()?,
                    draft: check::draft(draft, &conversation)?,
                    conversation,
                    lamport: lamport.to_native(),
                }
            }
            Self::Signal { caller, actor, conversation, draft } => {
                let conversation = conversation.conversation()?;
                let draft = check::draft(draft, &conversation)?;
                ToRouter::Signal { caller: caller.of(gateway), actor: actor.read()?, conversation, draft }
            }
            Self::History { caller, actor, conversation, range, limit } => ToRouter::History {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
                range: range.checked().map_err(|_| Malformed::Number)?,
                limit: limit.to_native(),
            },
            Self::Backlog { caller, conversation, after, limit } => ToRouter::Backlog {
                caller: caller.of(gateway),
                conversation: conversation.conversation()?,
                after: check::seq(after)?,
                limit: limit.to_native(),
            },
            Self::Attach { caller, actor, items } => ToRouter::Attach {
                caller: caller.of(gateway),
                actor: actor.read()?,
                items: check::list(items, ArchivedAttachItemV1::read)?,
            },
            Self::Detach { conversation } => {
                ToRouter::Detach { gateway, conversation: conversation.conversation()? }
            }
            Self::Mark { actor, device, conversation, received, read } => ToRouter::Mark {
                actor: actor.read()?,
                device: DeviceId::parse(&**device)?,
                conversation: conversation.conversation()?,
                received: check::seq_or_none(received)?,
                read: check::seq_or_none(read)?,
            },
            Self::Typing { actor, conversation, on } => {
                ToRouter::Typing { actor: actor.read()?, conversation: conversation.conversation()?, on: *on }
            }
            Self::Create { caller, actor, conversation, kind, title, members } => ToRouter::Create {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
                kind: kind.read(),
                title: title.as_ref().map(|title| Box::from(&**title)),
                members: check::list(members, ArchivedMemberV1::read)?,
            },
            Self::Show { caller, actor, conversation } => ToRouter::Show {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
            },
            Self::Change { caller, actor, conversation, id, change, lamport } => ToRouter::Change {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
                id: ClientId::parse(&**id)?,
                change: change.read()?,
                lamport: lamport.to_native(),
            },
            Self::Remove { caller, actor, conversation } => ToRouter::Remove {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
            },
            Self::Members { caller, actor, conversation, after, limit } => ToRouter::Members {
                caller: caller.of(gateway),
                actor: actor.read()?,
                conversation: conversation.conversation()?,
                after: check::user(after)?,
                limit: limit.to_native(),
            },
            Self::SessionOpen { caller, user, device, again } => ToRouter::SessionOpen {
                caller: caller.of(gateway),
                user: user.user()?,
                device: DeviceId::parse(&**device)?,
                again: *again,
            },
            Self::SessionHeard { caller, user, heard } => {
                ToRouter::SessionHeard { caller: caller.of(gateway), user: user.user()?, heard: *heard }
            }
            Self::SessionClose { caller, user, normal } => {
                ToRouter::SessionClose { caller: caller.of(gateway), user: user.user()?, normal: *normal }
            }
            Self::Watch { users } => {
                ToRouter::Watch { gateway, users: check::list(users, ArchivedKeyV1::user)? }
            }
            Self::Unwatch { users } => {
                ToRouter::Unwatch { gateway, users: check::list(users, ArchivedKeyV1::user)? }
            }
            Self::PresenceOf { caller, user } => {
                ToRouter::PresenceOf { caller: caller.of(gateway), user: user.user()? }
            }
            Self::Conversations { caller, user, after, limit } => ToRouter::Conversations {
                caller: caller.of(gateway),
                user: user.user()?,
                after: after.as_ref().map(ArchivedLineV1::read).transpose()?,
                limit: limit.to_native(),
            },
            Self::Membership { user, conversation, joined, after } => ToRouter::Membership {
                user: user.user()?,
                conversation: ConversationId::parse(&**conversation)?,
                joined: *joined,
                after: check::seq(after)?,
            },
        })
    }
}

impl ArchivedLineV1<'_> {
    fn read(&self) -> Result<(u64, ConversationId), Malformed> {
        // Clients make up stamps as they like: none is out of range.
        Ok((self.lamport.to_native(), ConversationId::parse(&*self.conversation)?))
    }
}
