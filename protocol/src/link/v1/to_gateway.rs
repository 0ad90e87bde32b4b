//! Envelopes to gateway shards, version 1: their frozen types, how they are written and how they are validated.

use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};

use super::check;
use super::parts::{
    ArchivedAttachedItemV1, ArchivedMemberV1, CallerV1, ConversationV1, KeyV1, RefusalV1, chat_list_entry,
};
use crate::envelope::{AttachedItem, GatewayId, Member, ToGateway};
use crate::error::CloseCode;
use crate::event::Event;
use crate::frame::ChatListEntry;
use crate::frame::rkyv::Each;
use crate::id::{ClientId, UserId};
use crate::link::{Malformed, Sentences};

/// An envelope to a gateway shard, version 1. Frozen. The fields are those of [`ToGateway`], without gateway shards.
#[derive(Archive, Serialize, Clone, Copy)]
pub(in crate::link) enum ToGatewayV1<'a> {
    Appended {
        caller: CallerV1,
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        id: &'a [u8],
        seq: u64,
        time: u64,
        duplicate: bool,
    },
    Signalled {
        caller: CallerV1,
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        id: &'a [u8],
        time: u64,
    },
    Refused {
        caller: CallerV1,
        #[rkyv(with = Map<InlineAsBox>)]
        id: Option<&'a [u8]>,
        refusal: RefusalV1<'a>,
    },
    Misplaced {
        caller: CallerV1,
    },
    Publish {
        conversation: KeyV1<'a>,
        #[rkyv(with = Each)]
        events: &'a [Event],
    },
    Head {
        conversation: KeyV1<'a>,
        head: u64,
    },
    Page {
        caller: CallerV1,
        conversation: KeyV1<'a>,
        #[rkyv(with = Each)]
        events: &'a [Event],
        head: u64,
        more: bool,
        trimmed: Option<u64>,
    },
    Backlog {
        caller: CallerV1,
        conversation: KeyV1<'a>,
        after: u64,
        #[rkyv(with = Each)]
        events: &'a [Event],
        head: u64,
        refused: Option<RefusalV1<'a>>,
    },
    Attached {
        caller: CallerV1,
        #[rkyv(with = InlineAsBox)]
        tenant: &'a [u8],
        #[rkyv(with = Each)]
        items: &'a [AttachedItem],
        refused: Option<RefusalV1<'a>>,
    },
    Signal {
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        event: &'a [u8],
    },
    Typing {
        conversation: KeyV1<'a>,
        #[rkyv(with = InlineAsBox)]
        user: &'a [u8],
        on: bool,
    },
    Receipt {
        conversation: KeyV1<'a>,
        #[rkyv(with = Map<InlineAsBox>)]
        user: Option<&'a [u8]>,
        received: Option<u64>,
        read: Option<u64>,
        received_count: Option<u32>,
        read_count: Option<u32>,
    },
    Presence {
        user: KeyV1<'a>,
        online: bool,
        last_seen: Option<u64>,
    },
    PresenceOf {
        caller: CallerV1,
        user: KeyV1<'a>,
        online: bool,
        last_seen: Option<u64>,
    },
    SessionOpened {
        caller: CallerV1,
        #[rkyv(with = Each)]
        conversations: &'a [ChatListEntry],
        more: bool,
    },
    CloseSession {
        connection: u64,
        code: u16,
    },
    Joined {
        connection: u64,
        conversation: KeyV1<'a>,
        after: u64,
    },
    Left {
        connection: u64,
        conversation: KeyV1<'a>,
        seq: u64,
    },
    Conversations {
        caller: CallerV1,
        #[rkyv(with = Each)]
        conversations: &'a [ChatListEntry],
        more: bool,
    },
    Created {
        caller: CallerV1,
        conversation: ConversationV1<'a>,
        created: bool,
    },
    Conversation {
        caller: CallerV1,
        conversation: ConversationV1<'a>,
    },
    Removed {
        caller: CallerV1,
    },
    Members {
        caller: CallerV1,
        #[rkyv(with = Each)]
        members: &'a [Member],
        more: bool,
    },
}

impl<'a> From<&'a ToGateway> for ToGatewayV1<'a> {
    #[expect(clippy::too_many_lines, reason = "one arm a variant, nothing else")]
    fn from(envelope: &'a ToGateway) -> Self {
        match envelope {
            ToGateway::Appended { caller, conversation, id, seq, time, duplicate } => Self::Appended {
                caller: caller.into(),
                conversation: conversation.into(),
                id: id.as_bytes(),
                seq: *seq,
                time: *time,
                duplicate: *duplicate,
            },
            ToGateway::Signalled { caller, conversation, id, time } => Self::Signalled {
                caller: caller.into(),
                conversation: conversation.into(),
                id: id.as_bytes(),
                time: *time,
            },
            ToGateway::Refused { caller, id, refusal } => Self::Refused {
                caller: caller.into(),
                id: id.as_ref().map(|id| id.as_bytes()),
                refusal: refusal.into(),
            },
            ToGateway::Misplaced { caller } => Self::Misplaced { caller: caller.into() },
            ToGateway::Publish { conversation, events } => {
                Self::Publish { conversation: conversation.into(), events }
            }
            ToGateway::Head { conversation, head } => {
                Self::Head { conversation: conversation.into(), head: *head }
            }
            ToGateway::Page { caller, conversation, events, head, more, trimmed } => Self::Page {
                caller: caller.into(),
                conversation: conversation.into(),
                events,
                head: *head,
                more: *more,
                trimmed: *trimmed,
            },
            ToGateway::Backlog { caller, conversation, after, events, head, refused } => Self::Backlog {
                caller: caller.into(),
                conversation: conversation.into(),
                after: *after,
                events,
                head: *head,
                refused: refused.as_ref().map(Into::into),
            },
            ToGateway::Attached { caller, tenant, items, refused } => Self::Attached {
                caller: caller.into(),
                tenant: tenant.as_bytes(),
                items,
                refused: refused.as_ref().map(Into::into),
            },
            ToGateway::Signal { conversation, event } => {
                Self::Signal { conversation: conversation.into(), event: event.as_bytes() }
            }
            ToGateway::Typing { conversation, user, on } => {
                Self::Typing { conversation: conversation.into(), user: user.as_bytes(), on: *on }
            }
            ToGateway::Receipt { conversation, user, received, read, received_count, read_count } => {
                Self::Receipt {
                    conversation: conversation.into(),
                    user: user.as_ref().map(|user| user.as_bytes()),
                    received: *received,
                    read: *read,
                    received_count: *received_count,
                    read_count: *read_count,
                }
            }
            ToGateway::Presence { user, online, last_seen } => {
                Self::Presence { user: user.into(), online: *online, last_seen: *last_seen }
            }
            ToGateway::PresenceOf { caller, user, online, last_seen } => Self::PresenceOf {
                caller: caller.into(),
                user: user.into(),
                online: *online,
                last_seen: *last_seen,
            },
            ToGateway::SessionOpened { caller, conversations, more } => {
                Self::SessionOpened { caller: caller.into(), conversations, more: *more }
            }
            ToGateway::CloseSession { connection, code } => {
                Self::CloseSession { connection: *connection, code: code.0 }
            }
            ToGateway::Joined { connection, conversation, after } => {
                Self::Joined { connection: *connection, conversation: conversation.into(), after: *after }
            }
            ToGateway::Left { connection, conversation, seq } => {
                Self::Left { connection: *connection, conversation: conversation.into(), seq: *seq }
            }
            ToGateway::Conversations { caller, conversations, more } => {
                Self::Conversations { caller: caller.into(), conversations, more: *more }
            }
            ToGateway::Created { caller, conversation, created } => {
                Self::Created { caller: caller.into(), conversation: conversation.into(), created: *created }
            }
            ToGateway::Conversation { caller, conversation } => {
                Self::Conversation { caller: caller.into(), conversation: conversation.into() }
            }
            ToGateway::Removed { caller } => Self::Removed { caller: caller.into() },
            ToGateway::Members { caller, members, more } => {
                Self::Members { caller: caller.into(), members, more: *more }
            }
        }
    }
}

impl ArchivedToGatewayV1<'_> {
    /// The envelope, which answers `gateway` where it is an answer.
    #[expect(clippy::too_many_lines, reason = "one arm a variant, nothing else")]
    pub(super) fn envelope(
        &self,
        gateway: GatewayId,
        sentences: &mut Sentences,
    ) -> Result<ToGateway, Malformed> {
        Ok(match self {
            Self::Appended { caller, conversation, id, seq, time, duplicate } => ToGateway::Appended {
                caller: caller.of(gateway),
                conversation: conversation.conversation()?,
                id: ClientId::parse(&**id)?,
                seq: check::seq(seq)?,
                time: time.to_native(),
                duplicate: *duplicate,
            },
            Self::Signalled { caller, conversation, id, time } => ToGateway::Signalled {
                caller: caller.of(gateway),
                conversation: conversation.conversation()?,
                id: ClientId::parse(&**id)?,
                time: time.to_native(),
            },
            Self::Refused { caller, id, refusal } => ToGateway::Refused {
                caller: caller.of(gateway),
                id: id.as_ref().map(|id| ClientId::parse(&**id)).transpose()?,
                refusal: refusal.read(sentences)?,
            },
            Self::Misplaced { caller } => ToGateway::Misplaced { caller: caller.of(gateway) },
            Self::Publish { conversation, events } => {
                let conversation = conversation.conversation()?;
                let events = check::dense_events(events, &conversation)?;
                if events.is_empty() {
                    return Err(Malformed::Order);
                }
                ToGateway::Publish { conversation, events }
            }
            Self::Head { conversation, head } => {
                ToGateway::Head { conversation: conversation.conversation()?, head: check::seq(head)? }
            }
            Self::Page { caller, conversation, events, head, more, trimmed } => {
                let conversation = conversation.conversation()?;
                ToGateway::Page {
                    caller: caller.of(gateway),
                    events: check::events(events, &conversation)?,
                    conversation,
                    head: check::seq(head)?,
                    more: *more,
                    trimmed: check::seq_or_none(trimmed)?,
                }
            }
            Self::Backlog { caller, conversation, after, events, head, refused } => {
                let (conversation, after) = (conversation.conversation()?, check::seq(after)?);
                let events = check::dense_events(events, &conversation)?;
                if events.first().is_some_and(|first| first.seq() <= after) {
                    return Err(Malformed::Order);
                }
                ToGateway::Backlog {
                    caller: caller.of(gateway),
                    conversation,
                    after,
                    events,
                    head: check::seq(head)?,
                    refused: refused.as_ref().map(|refusal| refusal.read(sentences)).transpose()?,
                }
            }
            Self::Attached { caller, tenant, items, refused } => ToGateway::Attached {
                caller: caller.of(gateway),
                tenant: check::tenant(tenant)?,
                items: check::list(items, ArchivedAttachedItemV1::read)?,
                refused: refused.as_ref().map(|refusal| refusal.read(sentences)).transpose()?,
            },
            Self::Signal { conversation, event } => {
                let conversation = conversation.conversation()?;
                ToGateway::Signal { event: check::signal(event, &conversation)?, conversation }
            }
            Self::Typing { conversation, user, on } => ToGateway::Typing {
                conversation: conversation.conversation()?,
                user: UserId::parse(&**user)?,
                on: *on,
            },
            Self::Receipt { conversation, user, received, read, received_count, read_count } => {
                ToGateway::Receipt {
                    conversation: conversation.conversation()?,
                    user: check::user(user)?,
                    received: check::seq_or_none(received)?,
                    read: check::seq_or_none(read)?,
                    received_count: received_count.as_ref().map(|count| count.to_native()),
                    read_count: read_count.as_ref().map(|count| count.to_native()),
                }
            }
            Self::Presence { user, online, last_seen } => ToGateway::Presence {
                user: user.user()?,
                online: *online,
                last_seen: last_seen.as_ref().map(|time| time.to_native()),
            },
            Self::PresenceOf { caller, user, online, last_seen } => ToGateway::PresenceOf {
                caller: caller.of(gateway),
                user: user.user()?,
                online: *online,
                last_seen: last_seen.as_ref().map(|time| time.to_native()),
            },
            Self::SessionOpened { caller, conversations, more } => ToGateway::SessionOpened {
                caller: caller.of(gateway),
                conversations: check::list(conversations, chat_list_entry)?,
                more: *more,
            },
            Self::CloseSession { connection, code } => ToGateway::CloseSession {
                connection: connection.to_native(),
                code: CloseCode(code.to_native()),
            },
            Self::Joined { connection, conversation, after } => ToGateway::Joined {
                connection: connection.to_native(),
                conversation: conversation.conversation()?,
                after: check::seq(after)?,
            },
            Self::Left { connection, conversation, seq } => ToGateway::Left {
                connection: connection.to_native(),
                conversation: conversation.conversation()?,
                seq: check::seq(seq)?,
            },
            Self::Conversations { caller, conversations, more } => ToGateway::Conversations {
                caller: caller.of(gateway),
                conversations: check::list(conversations, chat_list_entry)?,
                more: *more,
            },
            Self::Created { caller, conversation, created } => ToGateway::Created {
                caller: caller.of(gateway),
                conversation: conversation.read()?,
                created: *created,
            },
            Self::Conversation { caller, conversation } => {
                ToGateway::Conversation { caller: caller.of(gateway), conversation: conversation.read()? }
            }
            Self::Removed { caller } => ToGateway::Removed { caller: caller.of(gateway) },
            Self::Members { caller, members, more } => ToGateway::Members {
                caller: caller.of(gateway),
                members: check::list(members, ArchivedMemberV1::read)?,
                more: *more,
            },
        })
    }
}
