//! A client's JSON frame, decoded in place: one pass over the text that checks all of it and notes where the known
//! fields lie, then the fields that the `op` asks for.
//!
//! - The order of fields is free. Of a repeated field the last counts. Unknown fields, and fields of other ops, are
//!   checked as JSON and otherwise ignored.
//! - `null` is the same as leaving an optional field out.
//! - A request whose answer carries `ref` must have one: an answer that nobody could match is a fault of the request.
//! - An integer is written as one: `5`, not `5.0` or `5e0`.
//! - `meta` is passed on as its very text.

use super::cursor::{Cursor, Fault, Value};
use super::text::{Short, unescape};
use crate::error::{ErrorCode, Refusal};
use crate::frame::field::{self, Field, bad};
use crate::frame::{ClientFrame, FrameError, Scratch};
use crate::id::{ClientId, ConversationId};
use crate::limits::{
    CONVERSATIONS_LISTED_MAX, CURSORS_MAX, ID_BYTES_MAX, PAGE_EVENTS_DEFAULT, WATCH_USERS_MAX,
};

/// Longest raw text of a field's name that can be one of ours: every letter as `\uXXXX`.
const NAME_BYTES_RAW_MAX: usize = 6 * 12;
/// Longest raw text of an id.
const ID_BYTES_RAW_MAX: usize = 6 * ID_BYTES_MAX;

/// Decodes one frame. `bytes` are UTF-8, as a text message is; they are changed.
pub(crate) fn decode<'a>(
    bytes: &'a mut [u8],
    scratch: &'a mut Scratch,
) -> Result<ClientFrame<'a>, FrameError> {
    let mut values = Values { values: [Value::Absent; Field::COUNT], escaped: false };
    let noted = values.note(bytes);
    if values.escaped {
        values.unescape(bytes);
    }
    let fields = Fields { bytes, values: &values.values };
    let refused = |refusal, garbage| FrameError {
        refusal,
        reference: fields.reference().ok(),
        id: fields.client_id().ok(),
        garbage,
    };
    match noted {
        Ok(()) => fields.frame(scratch).map_err(|refusal| refused(refusal, false)),
        Err(Fault::Syntax) => {
            Err(refused(Refusal::new(ErrorCode::BadRequest, "the frame is not one JSON object"), true))
        }
        Err(Fault::Depth) => {
            Err(refused(Refusal::new(ErrorCode::BadRequest, "the frame is nested too deep"), false))
        }
    }
}

/// Whether a text is one JSON object.
pub(crate) fn is_object(text: &str) -> bool {
    let mut cursor = Cursor::new(text.as_bytes());
    matches!(cursor.value(1), Ok(Value::Object(span)) if span.range() == (0..text.len()))
}

/// Where the known fields lie.
struct Values {
    values: [Value; Field::COUNT],
    /// Some string among them has escapes.
    escaped: bool,
}

impl Values {
    fn note(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(bytes);
        cursor.expect(b'{')?;
        if !cursor.take(b'}')? {
            loop {
                let (name, escaped) = cursor.string()?;
                let field = field_of(cursor.text(name), escaped);
                cursor.expect(b':')?;
                let value = cursor.value(1)?;
                if let Some(field) = field {
                    self.values[field as usize] = value;
                    self.escaped |= matches!(value, Value::String { escaped: true, .. });
                }
                if !cursor.take(b',')? {
                    break;
                }
            }
            cursor.expect(b'}')?;
        }
        cursor.end()
    }

    fn unescape(&mut self, bytes: &mut [u8]) {
        for value in &mut self.values {
            if let Value::String { inside, escaped: true } = value {
                inside.end = inside.start + unescape(&mut bytes[inside.range()]) as u32;
            }
        }
    }
}

fn field_of(name: &[u8], escaped: bool) -> Option<Field> {
    if escaped {
        Field::of_name(Short::<NAME_BYTES_RAW_MAX>::unescaped(name)?.as_bytes())
    } else {
        Field::of_name(name)
    }
}

/// The noted fields of a frame that is no longer changed.
struct Fields<'a, 'v> {
    bytes: &'a [u8],
    values: &'v [Value; Field::COUNT],
}

impl<'a> Fields<'a, '_> {
    fn frame(&self, scratch: &'a mut Scratch) -> Result<ClientFrame<'a>, Refusal> {
        match self.bytes(Field::Op)? {
            b"hello" => Ok(ClientFrame::Hello {
                device: field::device(self.bytes(Field::Device)?)?,
                token: self.string(Field::Token)?,
                resume: self.string(Field::Resume)?,
                cursors: self.cursors(false, scratch)?,
            }),
            b"send" => self.send(),
            b"edit" => Ok(ClientFrame::Edit {
                id: self.client_id()?,
                conversation: self.conversation()?,
                target: self.event(Field::Target)?,
                body: self.text(Field::Body)?,
            }),
            b"delete" => Ok(ClientFrame::Delete {
                id: self.client_id()?,
                conversation: self.conversation()?,
                target: self.event(Field::Target)?,
            }),
            b"react" => Ok(ClientFrame::React {
                id: self.client_id()?,
                conversation: self.conversation()?,
                target: self.event(Field::Target)?,
                emoji: field::emoji(self.text(Field::Emoji)?)?,
                remove: self.boolean(Field::Remove)?.unwrap_or(false),
            }),
            b"history" => self.history(),
            b"sync" => Ok(ClientFrame::Sync {
                reference: self.reference()?,
                cursors: self.cursors(true, scratch)?,
                limit: self.limit(PAGE_EVENTS_DEFAULT)?,
            }),
            b"received" => Ok(ClientFrame::Received {
                conversation: self.conversation()?,
                seq: self.position(Field::Seq)?,
            }),
            b"read" => {
                Ok(ClientFrame::Read { conversation: self.conversation()?, seq: self.position(Field::Seq)? })
            }
            b"typing" => Ok(ClientFrame::Typing {
                conversation: self.conversation()?,
                on: self.boolean(Field::On)?.ok_or(bad(Field::On))?,
            }),
            b"watch" => Ok(ClientFrame::Watch { users: self.users(scratch)? }),
            b"unwatch" => Ok(ClientFrame::Unwatch { users: self.users(scratch)? }),
            b"conversations" => Ok(ClientFrame::Conversations {
                reference: self.reference()?,
                after: self.string(Field::After).map_err(|_| AFTER_IS_A_CURSOR)?,
                limit: self.limit(CONVERSATIONS_LISTED_MAX as u16)?,
            }),
            b"refresh" => Ok(ClientFrame::Refresh { token: self.text(Field::Token)? }),
            b"ping" => Ok(ClientFrame::Ping { reference: self.reference()? }),
            _ => Err(Refusal::new(ErrorCode::UnknownOp, "there is no such `op`")),
        }
    }

    fn send(&self) -> Result<ClientFrame<'a>, Refusal> {
        Ok(ClientFrame::Send {
            id: self.client_id()?,
            conversation: self.conversation()?,
            kind: self.string(Field::Kind)?.map_or(Ok("text"), field::kind)?,
            body: self.text(Field::Body)?,
            meta: self.object(Field::Meta)?,
            reply_to: self
                .unsigned(Field::ReplyTo)?
                .map(|seq| field::event(Field::ReplyTo, seq))
                .transpose()?,
            ephemeral: self.boolean(Field::Ephemeral)?.unwrap_or(false),
        })
    }

    fn history(&self) -> Result<ClientFrame<'a>, Refusal> {
        Ok(ClientFrame::History {
            reference: self.reference()?,
            conversation: self.conversation()?,
            range: field::range(
                self.unsigned(Field::Before)?,
                self.unsigned(Field::After)?,
                self.unsigned(Field::Around)?,
                self.unsigned(Field::Since)?,
            )?,
            limit: self.limit(PAGE_EVENTS_DEFAULT)?,
        })
    }

    fn value(&self, field: Field) -> Value {
        self.values[field as usize]
    }

    fn string(&self, field: Field) -> Result<Option<&'a str>, Refusal> {
        match self.value(field) {
            Value::Absent | Value::Null => Ok(None),
            Value::String { inside, .. } => {
                core::str::from_utf8(&self.bytes[inside.range()]).map(Some).map_err(|_| bad(field))
            }
            _ => Err(bad(field)),
        }
    }

    /// A string that must be there and is compared, or checked for more than UTF-8.
    fn bytes(&self, field: Field) -> Result<&'a [u8], Refusal> {
        match self.value(field) {
            Value::String { inside, .. } => Ok(&self.bytes[inside.range()]),
            _ => Err(bad(field)),
        }
    }

    /// A string that must be there.
    fn text(&self, field: Field) -> Result<&'a str, Refusal> {
        self.string(field)?.ok_or(bad(field))
    }

    fn object(&self, field: Field) -> Result<Option<&'a str>, Refusal> {
        match self.value(field) {
            Value::Absent | Value::Null => Ok(None),
            Value::Object(span) => {
                core::str::from_utf8(&self.bytes[span.range()]).map(Some).map_err(|_| bad(field))
            }
            _ => Err(bad(field)),
        }
    }

    fn boolean(&self, field: Field) -> Result<Option<bool>, Refusal> {
        match self.value(field) {
            Value::Absent | Value::Null => Ok(None),
            Value::Boolean(value) => Ok(Some(value)),
            _ => Err(bad(field)),
        }
    }

    fn unsigned(&self, field: Field) -> Result<Option<u64>, Refusal> {
        match self.value(field) {
            Value::Absent | Value::Null => Ok(None),
            Value::Integer(integer) => u64::try_from(integer).map(Some).map_err(|_| bad(field)),
            _ => Err(bad(field)),
        }
    }

    fn reference(&self) -> Result<i64, Refusal> {
        match self.value(Field::Ref) {
            Value::Integer(integer) => Ok(integer),
            _ => Err(bad(Field::Ref)),
        }
    }

    fn client_id(&self) -> Result<ClientId, Refusal> {
        field::client_id(self.bytes(Field::Id)?)
    }

    fn conversation(&self) -> Result<ConversationId, Refusal> {
        field::conversation(Field::Conversation, self.bytes(Field::Conversation)?)
    }

    fn position(&self, field: Field) -> Result<u64, Refusal> {
        field::position(field, self.unsigned(field)?.ok_or(bad(field))?)
    }

    fn event(&self, field: Field) -> Result<u64, Refusal> {
        field::event(field, self.unsigned(field)?.ok_or(bad(field))?)
    }

    fn limit(&self, default: u16) -> Result<u16, Refusal> {
        field::limit(self.unsigned(Field::Limit)?, default)
    }

    fn cursors(
        &self,
        required: bool,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [(ConversationId, u64)], Refusal> {
        scratch.cursors.clear();
        self.list(Field::Cursors, required, |cursor| {
            let pair = pair(cursor).ok_or(bad(Field::Cursors))?;
            if scratch.cursors.len() == CURSORS_MAX {
                return Err(bad(Field::Cursors));
            }
            scratch.cursors.push(pair);
            Ok(())
        })?;
        Ok(&scratch.cursors)
    }

    fn users(&self, scratch: &'a mut Scratch) -> Result<&'a [crate::id::UserId], Refusal> {
        scratch.users.clear();
        self.list(Field::Users, true, |cursor| {
            let user = short_text(cursor, field::user).ok_or(bad(Field::Users))?;
            if scratch.users.len() == WATCH_USERS_MAX {
                return Err(bad(Field::Users));
            }
            scratch.users.push(user);
            Ok(())
        })?;
        Ok(&scratch.users)
    }

    /// Calls `take` in front of each element of an array, which it reads.
    fn list(
        &self,
        field: Field,
        required: bool,
        mut take: impl FnMut(&mut Cursor<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let span = match self.value(field) {
            Value::Absent | Value::Null if !required => return Ok(()),
            Value::Array(span) => span,
            _ => return Err(bad(field)),
        };
        let mut cursor = Cursor::new(&self.bytes[span.range()]);
        let mut more = cursor.take(b'[') == Ok(true) && cursor.take(b']') == Ok(false);
        while more {
            take(&mut cursor)?;
            more = cursor.take(b',') == Ok(true);
        }
        Ok(())
    }
}

const AFTER_IS_A_CURSOR: Refusal =
    Refusal::new(ErrorCode::BadRequest, "`after` must be the `next` of an earlier answer");

/// One `[conversation, last seq]`.
fn pair(cursor: &mut Cursor<'_>) -> Option<(ConversationId, u64)> {
    cursor.expect(b'[').ok()?;
    let conversation = short_text(cursor, |text| field::conversation(Field::Cursors, text))?;
    cursor.expect(b',').ok()?;
    let Ok(Value::Integer(seq)) = cursor.value(1) else { return None };
    cursor.expect(b']').ok()?;
    let seq = field::position(Field::Cursors, u64::try_from(seq).ok()?).ok()?;
    Some((conversation, seq))
}

/// A string of at most an id's length, read by `rule`.
fn short_text<T>(cursor: &mut Cursor<'_>, rule: impl FnOnce(&[u8]) -> Result<T, Refusal>) -> Option<T> {
    let (inside, escaped) = cursor.string().ok()?;
    let raw = cursor.text(inside);
    if !escaped {
        return rule(raw).ok();
    }
    let short = Short::<ID_BYTES_RAW_MAX>::unescaped(raw)?;
    rule(short.as_bytes()).ok()
}
