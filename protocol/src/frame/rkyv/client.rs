//! A client's frame as an archive, version 1: its frozen types, how a gateway decodes it in place, and how a native
//! client encodes it. The rules for what fields hold are those of every subprotocol.

use ::rkyv::option::ArchivedOption;
use ::rkyv::primitive::ArchivedU64;
use ::rkyv::rancor::Failure;
use ::rkyv::with::{InlineAsBox, Map};
use ::rkyv::{Archive, Serialize};

use super::{AsV1, CLIENT_FRAME_V1, Each, write};
use crate::error::{ErrorCode, Refusal};
use crate::frame::field::{self, Field, bad};
use crate::frame::{ClientFrame, FrameError, Range, Scratch, json};
use crate::id::{ClientId, ConversationId, UserId};
use crate::limits::{CONVERSATIONS_LISTED_MAX, CURSORS_MAX, PAGE_EVENTS_DEFAULT, WATCH_USERS_MAX};

/// A frame of a client, version 1. Frozen: a change is a new version. The fields are those of
/// [`crate::frame::ClientFrame`].
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub enum ClientFrameV1<'a> {
    /// The first frame.
    Hello {
        /// Which device of the user.
        #[rkyv(with = InlineAsBox)]
        device: &'a str,
        /// A token, when the upgrade had none.
        #[rkyv(with = Map<InlineAsBox>)]
        token: Option<&'a str>,
        /// A resume ticket.
        #[rkyv(with = Map<InlineAsBox>)]
        resume: Option<&'a str>,
        /// What this device has.
        #[rkyv(with = Each)]
        cursors: &'a [(ConversationId, u64)],
    },
    /// A message.
    Send {
        /// Client id.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where to.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Sort of message; `text` when not given.
        #[rkyv(with = Map<InlineAsBox>)]
        kind: Option<&'a str>,
        /// The message.
        #[rkyv(with = InlineAsBox)]
        body: &'a str,
        /// The text of a JSON object.
        #[rkyv(with = Map<InlineAsBox>)]
        meta: Option<&'a str>,
        /// The message it answers.
        reply_to: Option<u64>,
        /// True: never stored.
        ephemeral: bool,
    },
    /// A new body for a message.
    Edit {
        /// Client id.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Which message.
        target: u64,
        /// Its new body.
        #[rkyv(with = InlineAsBox)]
        body: &'a str,
    },
    /// A message goes away.
    Delete {
        /// Client id.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Which message.
        target: u64,
    },
    /// A reaction, or its removal.
    React {
        /// Client id.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// To which message.
        target: u64,
        /// With what.
        #[rkyv(with = InlineAsBox)]
        emoji: &'a str,
        /// True: taken back.
        remove: bool,
    },
    /// A page of the log.
    History {
        /// Echoed in the answer.
        reference: i64,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// From where.
        range: RangeV1,
        /// At most so many events; 50 when not given.
        limit: Option<u16>,
    },
    /// What came after each of these.
    Sync {
        /// Echoed in the answers.
        reference: i64,
        /// What this device has.
        #[rkyv(with = Each)]
        cursors: &'a [(ConversationId, u64)],
        /// At most so many events a conversation; 50 when not given.
        limit: Option<u16>,
    },
    /// Everything up to `seq` is on this device.
    Received {
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Up to where.
        seq: u64,
    },
    /// Everything up to `seq` is read by this user.
    Read {
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Up to where.
        seq: u64,
    },
    /// The user began or stopped typing.
    Typing {
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// True: began.
        on: bool,
    },
    /// Tell me of these users' presence.
    Watch {
        /// Whose.
        #[rkyv(with = Each)]
        users: &'a [UserId],
    },
    /// No longer.
    Unwatch {
        /// Whose.
        #[rkyv(with = Each)]
        users: &'a [UserId],
    },
    /// The chat list.
    Conversations {
        /// Echoed in the answer.
        reference: i64,
        /// Where the last answer ended.
        #[rkyv(with = Map<InlineAsBox>)]
        after: Option<&'a str>,
        /// At most so many; 200 when not given.
        limit: Option<u16>,
    },
    /// A newer token.
    Refresh {
        /// The token.
        #[rkyv(with = InlineAsBox)]
        token: &'a str,
    },
    /// Are you there?
    Ping {
        /// Echoed in the answer.
        reference: i64,
    },
}

/// Where to begin or end a page, version 1. Frozen.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub enum RangeV1 {
    /// The newest events.
    Newest,
    /// Events with a smaller seq.
    Before(u64),
    /// Events with a larger seq.
    After(u64),
    /// Events on both sides.
    Around(u64),
    /// Events of that time and later.
    Since(u64),
}

/// What a device has of a conversation, version 1. Frozen.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct CursorV1<'a> {
    /// Where.
    #[rkyv(with = InlineAsBox)]
    pub conversation: &'a str,
    /// The last seq.
    pub seq: u64,
}

/// A user of a list, version 1. Frozen.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct UserV1<'a> {
    /// Who.
    #[rkyv(with = InlineAsBox)]
    pub user: &'a str,
}

impl AsV1 for (ConversationId, u64) {
    type V1<'a> = CursorV1<'a>;

    fn as_v1(&self) -> CursorV1<'_> {
        CursorV1 { conversation: self.0.as_str(), seq: self.1 }
    }
}

impl AsV1 for UserId {
    type V1<'a> = UserV1<'a>;

    fn as_v1(&self) -> UserV1<'_> {
        UserV1 { user: self.as_str() }
    }
}

/// Appends the payload of a client's frame, for native clients.
pub fn encode_client(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    let frame = match *frame {
        ClientFrame::Hello { ref device, token, resume, cursors } => {
            ClientFrameV1::Hello { device: device.as_str(), token, resume, cursors }
        }
        ClientFrame::Send { ref id, ref conversation, kind, body, meta, reply_to, ephemeral } => {
            ClientFrameV1::Send {
                id: id.as_str(),
                conversation: conversation.as_str(),
                kind: Some(kind),
                body,
                meta,
                reply_to,
                ephemeral,
            }
        }
        ClientFrame::Edit { ref id, ref conversation, target, body } => {
            ClientFrameV1::Edit { id: id.as_str(), conversation: conversation.as_str(), target, body }
        }
        ClientFrame::Delete { ref id, ref conversation, target } => {
            ClientFrameV1::Delete { id: id.as_str(), conversation: conversation.as_str(), target }
        }
        ClientFrame::React { ref id, ref conversation, target, emoji, remove } => ClientFrameV1::React {
            id: id.as_str(),
            conversation: conversation.as_str(),
            target,
            emoji,
            remove,
        },
        ClientFrame::History { reference, ref conversation, range, limit } => ClientFrameV1::History {
            reference,
            conversation: conversation.as_str(),
            range: range.into(),
            limit: Some(limit),
        },
        ClientFrame::Sync { reference, cursors, limit } => {
            ClientFrameV1::Sync { reference, cursors, limit: Some(limit) }
        }
        ClientFrame::Received { ref conversation, seq } => {
            ClientFrameV1::Received { conversation: conversation.as_str(), seq }
        }
        ClientFrame::Read { ref conversation, seq } => {
            ClientFrameV1::Read { conversation: conversation.as_str(), seq }
        }
        ClientFrame::Typing { ref conversation, on } => {
            ClientFrameV1::Typing { conversation: conversation.as_str(), on }
        }
        ClientFrame::Watch { users } => ClientFrameV1::Watch { users },
        ClientFrame::Unwatch { users } => ClientFrameV1::Unwatch { users },
        ClientFrame::Conversations { reference, after, limit } => {
            ClientFrameV1::Conversations { reference, after, limit: Some(limit) }
        }
        ClientFrame::Refresh { token } => ClientFrameV1::Refresh { token },
        ClientFrame::Ping { reference } => ClientFrameV1::Ping { reference },
    };
    write(CLIENT_FRAME_V1, &frame, out);
}

impl From<Range> for RangeV1 {
    fn from(range: Range) -> Self {
        match range {
            Range::Newest => Self::Newest,
            Range::Before(seq) => Self::Before(seq),
            Range::After(seq) => Self::After(seq),
            Range::Around(seq) => Self::Around(seq),
            Range::Since(time) => Self::Since(time),
        }
    }
}

/// Decodes one frame.
pub(crate) fn decode<'a>(payload: &'a [u8], scratch: &'a mut Scratch) -> Result<ClientFrame<'a>, FrameError> {
    let garbage = FrameError {
        refusal: Refusal::new(ErrorCode::BadRequest, "the frame is not an archive of version 1"),
        reference: None,
        id: None,
        garbage: true,
    };
    let Some((&CLIENT_FRAME_V1, archive)) = payload.split_first() else { return Err(garbage) };
    let frame = ::rkyv::access::<ArchivedClientFrameV1<'_>, Failure>(archive).map_err(|_| garbage)?;
    frame.checked(scratch).map_err(|refusal| FrameError {
        refusal,
        reference: frame.reference(),
        id: frame.client_id(),
        garbage: false,
    })
}

impl<'a> ArchivedClientFrameV1<'a> {
    /// `ref` of a request that has one.
    fn reference(&self) -> Option<i64> {
        match self {
            Self::History { reference, .. }
            | Self::Sync { reference, .. }
            | Self::Conversations { reference, .. }
            | Self::Ping { reference } => Some(reference.to_native()),
            _ => None,
        }
    }

    /// `id` of a request that has a good one.
    fn client_id(&self) -> Option<ClientId> {
        match self {
            Self::Send { id, .. }
            | Self::Edit { id, .. }
            | Self::Delete { id, .. }
            | Self::React { id, .. } => field::client_id(id.as_bytes()).ok(),
            _ => None,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm a frame, nothing else")]
    fn checked(&'a self, scratch: &'a mut Scratch) -> Result<ClientFrame<'a>, Refusal> {
        match self {
            Self::Hello { device, token, resume, cursors: list } => Ok(ClientFrame::Hello {
                device: field::device(device.as_bytes())?,
                token: token.as_deref(),
                resume: resume.as_deref(),
                cursors: cursors(list, scratch)?,
            }),
            Self::Send { id, conversation: at, kind, body, meta, reply_to, ephemeral } => {
                Ok(ClientFrame::Send {
                    id: field::client_id(id.as_bytes())?,
                    conversation: conversation(at)?,
                    kind: kind.as_deref().map_or(Ok("text"), field::kind)?,
                    body,
                    meta: meta.as_deref().map(object).transpose()?,
                    reply_to: native(reply_to).map(|seq| field::event(Field::ReplyTo, seq)).transpose()?,
                    ephemeral: *ephemeral,
                })
            }
            Self::Edit { id, conversation: at, target: seq, body } => Ok(ClientFrame::Edit {
                id: field::client_id(id.as_bytes())?,
                conversation: conversation(at)?,
                target: target(*seq)?,
                body,
            }),
            Self::Delete { id, conversation: at, target: seq } => Ok(ClientFrame::Delete {
                id: field::client_id(id.as_bytes())?,
                conversation: conversation(at)?,
                target: target(*seq)?,
            }),
            Self::React { id, conversation: at, target: seq, emoji, remove } => Ok(ClientFrame::React {
                id: field::client_id(id.as_bytes())?,
                conversation: conversation(at)?,
                target: target(*seq)?,
                emoji: field::emoji(emoji)?,
                remove: *remove,
            }),
            Self::History { reference, conversation: at, range, limit } => Ok(ClientFrame::History {
                reference: reference.to_native(),
                conversation: conversation(at)?,
                range: range.checked()?,
                limit: field::limit(
                    limit.as_ref().map(|limit| limit.to_native().into()),
                    PAGE_EVENTS_DEFAULT,
                )?,
            }),
            Self::Sync { reference, cursors: list, limit } => Ok(ClientFrame::Sync {
                reference: reference.to_native(),
                cursors: cursors(list, scratch)?,
                limit: field::limit(
                    limit.as_ref().map(|limit| limit.to_native().into()),
                    PAGE_EVENTS_DEFAULT,
                )?,
            }),
            Self::Conversations { reference, after, limit } => Ok(ClientFrame::Conversations {
                reference: reference.to_native(),
                after: after.as_deref(),
                limit: field::limit(
                    limit.as_ref().map(|limit| limit.to_native().into()),
                    CONVERSATIONS_LISTED_MAX as u16,
                )?,
            }),
            Self::Ping { reference } => Ok(ClientFrame::Ping { reference: reference.to_native() }),
            Self::Received { conversation: at, seq } => {
                Ok(ClientFrame::Received { conversation: conversation(at)?, seq: position(*seq)? })
            }
            Self::Read { conversation: at, seq } => {
                Ok(ClientFrame::Read { conversation: conversation(at)?, seq: position(*seq)? })
            }
            Self::Typing { conversation: at, on } => {
                Ok(ClientFrame::Typing { conversation: conversation(at)?, on: *on })
            }
            Self::Watch { users: list } => Ok(ClientFrame::Watch { users: users(list, scratch)? }),
            Self::Unwatch { users: list } => Ok(ClientFrame::Unwatch { users: users(list, scratch)? }),
            Self::Refresh { token } => Ok(ClientFrame::Refresh { token }),
        }
    }
}

impl ArchivedRangeV1 {
    /// The range, when its position is one.
    pub(crate) fn checked(&self) -> Result<Range, Refusal> {
        let seq = |value: &ArchivedU64| Some(value.to_native());
        match self {
            Self::Newest => field::range(None, None, None, None),
            Self::Before(value) => field::range(seq(value), None, None, None),
            Self::After(value) => field::range(None, seq(value), None, None),
            Self::Around(value) => field::range(None, None, seq(value), None),
            Self::Since(value) => field::range(None, None, None, seq(value)),
        }
    }
}

fn native(value: &ArchivedOption<ArchivedU64>) -> Option<u64> {
    value.as_ref().map(|value| value.to_native())
}

fn conversation(text: &str) -> Result<ConversationId, Refusal> {
    field::conversation(Field::Conversation, text.as_bytes())
}

fn target(seq: ArchivedU64) -> Result<u64, Refusal> {
    field::event(Field::Target, seq.to_native())
}

fn position(seq: ArchivedU64) -> Result<u64, Refusal> {
    field::position(Field::Seq, seq.to_native())
}

fn object(text: &str) -> Result<&str, Refusal> {
    if json::is_object(text) { Ok(text) } else { Err(bad(Field::Meta)) }
}

fn cursors<'a>(
    list: &[ArchivedCursorV1<'_>],
    scratch: &'a mut Scratch,
) -> Result<&'a [(ConversationId, u64)], Refusal> {
    scratch.cursors.clear();
    if list.len() > CURSORS_MAX {
        return Err(bad(Field::Cursors));
    }
    for cursor in list {
        let conversation = field::conversation(Field::Cursors, cursor.conversation.as_bytes())?;
        scratch.cursors.push((conversation, field::position(Field::Cursors, cursor.seq.to_native())?));
    }
    Ok(&scratch.cursors)
}

fn users<'a>(list: &[ArchivedUserV1<'_>], scratch: &'a mut Scratch) -> Result<&'a [UserId], Refusal> {
    scratch.users.clear();
    if list.len() > WATCH_USERS_MAX {
        return Err(bad(Field::Users));
    }
    for user in list {
        scratch.users.push(field::user(user.user.as_bytes())?);
    }
    Ok(&scratch.users)
}
