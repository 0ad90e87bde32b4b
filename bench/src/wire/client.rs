//! What a client says (PROTOCOL, section 2), once for both subprotocols: the serde derive writes the JSON object, the rkyv
//! derive the archive. The order of variants and fields is that of the archive, and frozen with it.

use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};
use serde::ser::{Error as _, SerializeMap as _};

/// One frame of a client.
#[derive(Archive, Serialize, serde::Serialize, Clone, Copy, Debug)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame<'a> {
    /// The first frame.
    Hello {
        /// Which device of the user.
        #[rkyv(with = InlineAsBox)]
        device: &'a str,
        /// A token, when the upgrade had none.
        #[rkyv(with = Map<InlineAsBox>)]
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        /// A resume ticket.
        #[rkyv(with = Map<InlineAsBox>)]
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<&'a str>,
        /// What this device has.
        #[rkyv(with = InlineAsBox)]
        #[serde(skip_serializing_if = "<[Cursor<'_>]>::is_empty")]
        cursors: &'a [Cursor<'a>],
    },
    /// A message.
    Send {
        /// Client message id.
        #[rkyv(with = InlineAsBox)]
        id: &'a str,
        /// Where to.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// Sort of message.
        #[rkyv(with = Map<InlineAsBox>)]
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'a str>,
        /// The message.
        #[rkyv(with = InlineAsBox)]
        body: &'a str,
        /// The text of a JSON object.
        #[rkyv(with = Map<InlineAsBox>)]
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json_text")]
        meta: Option<&'a str>,
        /// The message it answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
        /// True: never stored.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        ephemeral: bool,
    },
    /// A new body for a message.
    Edit {
        /// Client message id.
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
        /// Client message id.
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
        /// Client message id.
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
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        remove: bool,
    },
    /// A page of the log.
    History {
        /// Echoed in the answer.
        #[serde(rename = "ref")]
        reference: i64,
        /// Where.
        #[rkyv(with = InlineAsBox)]
        conversation: &'a str,
        /// From where.
        #[serde(flatten)]
        range: Range,
        /// At most so many events, up to 200; 50 when not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
    },
    /// What came after each of these.
    Sync {
        /// Echoed in the answers.
        #[serde(rename = "ref")]
        reference: i64,
        /// What this device has.
        #[rkyv(with = InlineAsBox)]
        cursors: &'a [Cursor<'a>],
        /// At most so many events a conversation, up to 200; 50 when not given.
        #[serde(skip_serializing_if = "Option::is_none")]
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
        #[rkyv(with = InlineAsBox)]
        users: &'a [User<'a>],
    },
    /// No longer.
    Unwatch {
        /// Whose.
        #[rkyv(with = InlineAsBox)]
        users: &'a [User<'a>],
    },
    /// The chat list.
    Conversations {
        /// Echoed in the answer.
        #[serde(rename = "ref")]
        reference: i64,
        /// Where the last answer ended.
        #[rkyv(with = Map<InlineAsBox>)]
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<&'a str>,
        /// At most so many, up to 200.
        #[serde(skip_serializing_if = "Option::is_none")]
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
        #[serde(rename = "ref")]
        reference: i64,
    },
}

/// Where to begin or end a page.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest events.
    Newest,
    /// Events with a smaller seq, the nearest ones.
    Before(u64),
    /// Events with a larger seq, the nearest ones.
    After(u64),
    /// Events on both sides, the seq itself included.
    Around(u64),
    /// Events of that time (milliseconds since the Unix epoch) and later, the oldest ones.
    Since(u64),
}

impl serde::Serialize for Range {
    /// As the member of a `history` frame that it is, or as none.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let member = match *self {
            Self::Newest => None,
            Self::Before(seq) => Some(("before", seq)),
            Self::After(seq) => Some(("after", seq)),
            Self::Around(seq) => Some(("around", seq)),
            Self::Since(time) => Some(("since", time)),
        };
        let mut object = serializer.serialize_map(Some(usize::from(member.is_some())))?;
        if let Some((name, value)) = member {
            object.serialize_entry(name, &value)?;
        }
        object.end()
    }
}

/// What a device has of a conversation: its id, and the last seq.
#[derive(Archive, Serialize, serde::Serialize, Clone, Copy, Debug)]
pub struct Cursor<'a>(#[rkyv(with = InlineAsBox)] pub &'a str, pub u64);

/// A user of a list.
#[derive(Archive, Serialize, serde::Serialize, Clone, Copy, Debug)]
pub struct User<'a>(#[rkyv(with = InlineAsBox)] pub &'a str);

/// The text of a JSON object as that object.
fn json_text<S: serde::Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    let object = text.map(serde_json::from_str::<serde_json::Value>).transpose();
    serde::Serialize::serialize(&object.map_err(S::Error::custom)?, serializer)
}
