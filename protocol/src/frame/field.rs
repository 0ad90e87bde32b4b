//! The fields of client frames and the rules for what they hold, the same for every way to write a frame. Limits that
//! an operator chooses are not here: the gateway knows them.

use super::Range;
use crate::error::{ErrorCode, Refusal};
use crate::id::{ClientId, ConversationId, DeviceId, UserId};
use crate::limits::{EMOJI_BYTES_MAX, KIND_BYTES_MAX, PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, SEQ_MAX};

macro_rules! fields {
    ($($field:ident $name:literal $must_be:literal)*) => {
        /// A field of a client frame, under its name in JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Field { $($field),* }

        impl Field {
            /// How many there are.
            pub(super) const COUNT: usize = [$(Self::$field),*].len();

            /// The field of a name; `None` for names that no frame has.
            pub(super) fn of_name(name: &[u8]) -> Option<Self> {
                match name {
                    $(_ if name == $name.as_bytes() => Some(Self::$field),)*
                    _ => None,
                }
            }

            /// What the field must be: one sentence for a person.
            pub(super) const fn must_be(self) -> &'static str {
                match self {
                    $(Self::$field => concat!("`", $name, "` must be ", $must_be)),*
                }
            }
        }
    };
}

fields! {
    Op "op" "a string"
    Ref "ref" "an integer"
    Id "id" "1 to 64 characters of A-Z a-z 0-9 . _ : @ | ~ -"
    Device "device" "1 to 64 characters of A-Z a-z 0-9 . _ : @ | ~ -"
    Token "token" "a string"
    Resume "resume" "a string"
    Cursors "cursors" "a list of at most 1,000 pairs [conversation, last seq]"
    Conversation "conversation" "1 to 64 characters of A-Z a-z 0-9 . _ : @ | ~ -"
    Body "body" "a string"
    Kind "kind" "a string of 1 to 64 bytes"
    Meta "meta" "an object"
    ReplyTo "reply_to" "the seq of a message"
    Ephemeral "ephemeral" "true or false"
    Target "target" "the seq of a message"
    Emoji "emoji" "a string of 1 to 64 bytes"
    Remove "remove" "true or false"
    Before "before" "a seq"
    After "after" "a seq"
    Around "around" "a seq"
    Since "since" "a time in milliseconds since the Unix epoch"
    Limit "limit" "an integer from 1 to 200"
    Seq "seq" "a seq"
    On "on" "true or false"
    Users "users" "a list of at most 500 user ids"
}

/// The refusal of a field that is missing or is not what it must be.
pub(super) const fn bad(field: Field) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, field.must_be())
}

/// A client id.
pub(super) fn client_id(text: &[u8]) -> Result<ClientId, Refusal> {
    ClientId::parse(text).map_err(|_| bad(Field::Id))
}

/// A conversation, of a request or of a cursor.
pub(super) fn conversation(field: Field, text: &[u8]) -> Result<ConversationId, Refusal> {
    ConversationId::parse(text).map_err(|_| bad(field))
}

/// A device.
pub(super) fn device(text: &[u8]) -> Result<DeviceId, Refusal> {
    DeviceId::parse(text).map_err(|_| bad(Field::Device))
}

/// One of `users`.
pub(super) fn user(text: &[u8]) -> Result<UserId, Refusal> {
    UserId::parse(text).map_err(|_| bad(Field::Users))
}

/// A position in a log: 0 is in front of its first event.
pub(super) fn position(field: Field, seq: u64) -> Result<u64, Refusal> {
    if seq <= SEQ_MAX { Ok(seq) } else { Err(bad(field)) }
}

/// The seq of an event.
pub(super) fn event(field: Field, seq: u64) -> Result<u64, Refusal> {
    if seq >= 1 { position(field, seq) } else { Err(bad(field)) }
}

/// At most so many: `limit`, or `default` when there is none.
pub(super) fn limit(limit: Option<u64>, default: u16) -> Result<u16, Refusal> {
    const _: () = assert!(PAGE_EVENTS_MAX == 200 && PAGE_EVENTS_DEFAULT <= PAGE_EVENTS_MAX);
    match limit {
        None => Ok(default),
        Some(limit @ 1..=200) => Ok(limit as u16),
        Some(_) => Err(bad(Field::Limit)),
    }
}

/// The range of a history request, of which at most one end is given.
pub(super) fn range(
    before: Option<u64>,
    after: Option<u64>,
    around: Option<u64>,
    since: Option<u64>,
) -> Result<Range, Refusal> {
    match (before, after, around, since) {
        (None, None, None, None) => Ok(Range::Newest),
        (Some(seq), None, None, None) => position(Field::Before, seq).map(Range::Before),
        (None, Some(seq), None, None) => position(Field::After, seq).map(Range::After),
        (None, None, Some(seq), None) => position(Field::Around, seq).map(Range::Around),
        (None, None, None, Some(time)) => position(Field::Since, time).map(Range::Since),
        _ => Err(Refusal::new(
            ErrorCode::BadRequest,
            "of `before`, `after`, `around` and `since` at most one may be given",
        )),
    }
}

/// The sort of a message.
pub(super) fn kind(kind: &str) -> Result<&str, Refusal> {
    if (1..=KIND_BYTES_MAX).contains(&kind.len()) { Ok(kind) } else { Err(bad(Field::Kind)) }
}

/// What a reaction says.
pub(super) fn emoji(emoji: &str) -> Result<&str, Refusal> {
    if (1..=EMOJI_BYTES_MAX).contains(&emoji.len()) { Ok(emoji) } else { Err(bad(Field::Emoji)) }
}
