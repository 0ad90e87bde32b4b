//! Events: the entries of a conversation's log, as the bytes that are stored, sent between nodes, and put on the
//! wire of an rkyv client. One version byte, then one rkyv archive of [`EventV1`], whose types are frozen.
//!
//! An event is encoded once, as a *draft* on the sender's gateway core; the append transaction *seals* it: it writes
//! `seq`, `time` and `lamport` into their places in the archive. Nobody encodes it again.

#![expect(
    missing_docs,
    reason = "rkyv's derive leaves the fields of archived types bare; ours all have theirs"
)]

use core::mem::offset_of;
use std::sync::Arc;

use rkyv::rancor::Failure;
use rkyv::with::{InlineAsBox, Map};
use rkyv::{Archive, Serialize};

use crate::limits::EVENT_BYTES_MAX;

/// The first byte of every encoded event: which frozen types follow.
pub const EVENT_VERSION: u8 = 1;

/// What a member may do in a conversation (PROTOCOL, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Archive, Serialize)]
#[rkyv(derive(Clone, Copy, Debug))]
#[repr(u8)]
pub enum Role {
    /// May not send.
    Reader = 0,
    /// Sends; edits and deletes its own.
    Member = 1,
    /// Deletes anybody's, manages members.
    Moderator = 2,
    /// Changes the conversation.
    Owner = 3,
}

impl Role {
    /// The role's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Owner => "owner",
        }
    }

    /// The role of a name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Reader, Self::Member, Self::Moderator, Self::Owner]
            .into_iter()
            .find(|role| role.name() == name)
    }

    /// The role of its number in the store.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Reader),
            1 => Some(Self::Member),
            2 => Some(Self::Moderator),
            3 => Some(Self::Owner),
            _ => None,
        }
    }
}

impl From<ArchivedRole> for Role {
    fn from(role: ArchivedRole) -> Self {
        match role {
            ArchivedRole::Reader => Self::Reader,
            ArchivedRole::Member => Self::Member,
            ArchivedRole::Moderator => Self::Moderator,
            ArchivedRole::Owner => Self::Owner,
        }
    }
}

/// One event, version 1, as it is before it is archived. Frozen: a change is a new version.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub struct EventV1<'a> {
    /// Dense from 1 in its conversation; 0 in a draft and in a signal.
    pub seq: u64,
    /// Milliseconds since the Unix epoch, set by the owner.
    pub time: u64,
    /// Lamport stamp: larger than that of everything its sender had seen.
    pub lamport: u64,
    /// Conversation id.
    #[rkyv(with = InlineAsBox)]
    pub conversation: &'a str,
    /// User id of the sender; `system` for the server's own.
    #[rkyv(with = InlineAsBox)]
    pub sender: &'a str,
    /// Device id of the sender; `api` for what came over HTTP.
    #[rkyv(with = InlineAsBox)]
    pub device: &'a str,
    /// Client id: what makes a retry harmless.
    #[rkyv(with = InlineAsBox)]
    pub id: &'a str,
    /// What happened.
    pub content: ContentV1<'a>,
}

/// What an event says, version 1. Frozen: a change is a new version.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
pub enum ContentV1<'a> {
    /// A message.
    Message {
        /// Client's word for the sort of message; `text` by default.
        #[rkyv(with = InlineAsBox)]
        kind: &'a str,
        /// The message.
        #[rkyv(with = InlineAsBox)]
        body: &'a str,
        /// The text of a JSON object.
        #[rkyv(with = Map<InlineAsBox>)]
        meta: Option<&'a str>,
        /// The message that this one answers.
        reply_to: Option<u64>,
    },
    /// A message got another body.
    Edit {
        /// Which message.
        target: u64,
        /// Its new body.
        #[rkyv(with = InlineAsBox)]
        body: &'a str,
    },
    /// A message is gone.
    Delete {
        /// Which message.
        target: u64,
    },
    /// Somebody reacts to a message, or takes the reaction back.
    Reaction {
        /// Which message.
        target: u64,
        /// With what.
        #[rkyv(with = InlineAsBox)]
        emoji: &'a str,
        /// True: taken back.
        remove: bool,
    },
    /// A user became a member, or got another role.
    Joined {
        /// Who.
        #[rkyv(with = InlineAsBox)]
        user: &'a str,
        /// As what.
        role: Role,
    },
    /// A user is no longer a member.
    Left {
        /// Who.
        #[rkyv(with = InlineAsBox)]
        user: &'a str,
    },
    /// The conversation itself, or a member's role, changed.
    Changed {
        /// The conversation's new title.
        #[rkyv(with = Map<InlineAsBox>)]
        title: Option<&'a str>,
        /// Whose role changed.
        #[rkyv(with = Map<InlineAsBox>)]
        user: Option<&'a str>,
        /// To what.
        role: Option<Role>,
    },
}

impl ArchivedContentV1<'_> {
    /// `type` of the event on the wire.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
            Self::Reaction { .. } => "reaction",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Changed { .. } => "changed",
        }
    }
}

impl EventV1<'_> {
    /// Bytes that the encoding has at most: its texts, unpadded, the root, and the version.
    fn encoded_bytes_max(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, str::len);
        let texts = match self.content {
            ContentV1::Message { kind, body, meta, .. } => kind.len() + body.len() + text(meta),
            ContentV1::Edit { body, .. } => body.len(),
            ContentV1::Delete { .. } => 0,
            ContentV1::Reaction { emoji, .. } => emoji.len(),
            ContentV1::Joined { user, .. } | ContentV1::Left { user } => user.len(),
            ContentV1::Changed { title, user, .. } => text(title) + text(user),
        };
        let ids = self.conversation.len() + self.sender.len() + self.device.len() + self.id.len();
        1 + ids + texts + ROOT_BYTES
    }
}

// Where an event's numbers lie: rkyv puts the root last; our features fix every integer as little-endian at any address.
const ROOT_BYTES: usize = size_of::<ArchivedEventV1<'_>>();
const SEQ: usize = offset_of!(ArchivedEventV1<'_>, seq);
const TIME: usize = offset_of!(ArchivedEventV1<'_>, time);
const LAMPORT: usize = offset_of!(ArchivedEventV1<'_>, lamport);
// An archived enum begins with its variant's number, in the order of the declaration.
const CONTENT: usize = offset_of!(ArchivedEventV1<'_>, content);
const CONTENT_JOINED: u8 = 4;

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEvent {
    /// No bytes, or another version's.
    Version,
    /// Not an archive of this version's types.
    Archive,
    /// Larger than [`EVENT_BYTES_MAX`].
    TooLarge,
}

/// A sealed event: immutable bytes that a store, a mailbox and many packets share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    bytes: Arc<[u8]>,
}

/// An event before the store gave it its place: `seq`, `time` and `lamport` are still 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    bytes: Arc<[u8]>,
}

/// The fields of an event's bytes, checked. Free of copies: for a process that holds the bytes in another form.
///
/// # Errors
/// When the bytes are not one whole event of a known version.
pub fn view(bytes: &[u8]) -> Result<&ArchivedEventV1<'_>, InvalidEvent> {
    match bytes.split_first() {
        Some((&EVENT_VERSION, archive)) => {
            rkyv::access::<ArchivedEventV1<'_>, Failure>(archive).map_err(|_| InvalidEvent::Archive)
        }
        _ => Err(InvalidEvent::Version),
    }
}

impl Draft {
    /// Encodes an event; its `seq`, `time` and `lamport` are taken as 0.
    ///
    /// # Errors
    /// [`InvalidEvent::TooLarge`] when the bytes exceed [`EVENT_BYTES_MAX`].
    pub fn encode(event: &EventV1<'_>) -> Result<Self, InvalidEvent> {
        let unsealed = EventV1 { seq: 0, time: 0, lamport: 0, ..*event };
        let mut bytes = Vec::with_capacity(event.encoded_bytes_max());
        bytes.push(EVENT_VERSION);
        let bytes = rkyv::api::high::to_bytes_in::<_, Failure>(&unsealed, bytes)
            .map_err(|_| InvalidEvent::Archive)?;
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(InvalidEvent::TooLarge);
        }
        Ok(Self { bytes: bytes.into() })
    }

    /// The draft that these bytes are: [`view`] took them, and found no place in them.
    pub(crate) fn of_valid(bytes: &[u8]) -> Self {
        debug_assert!(view(bytes).is_ok_and(|event| event.seq == 0 && event.time == 0 && event.lamport == 0));
        Self { bytes: bytes.into() }
    }

    /// The draft's fields.
    #[must_use]
    pub fn view(&self) -> &ArchivedEventV1<'_> {
        view(&self.bytes).expect("encoded by this process")
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the event its place. Copies nothing, unless somebody keeps the draft.
    #[must_use]
    pub fn seal(mut self, seq: u64, time: u64, lamport: u64) -> Event {
        let bytes = Arc::make_mut(&mut self.bytes);
        for (offset, value) in [(SEQ, seq), (TIME, time), (LAMPORT, lamport)] {
            let at = bytes.len() - ROOT_BYTES + offset;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        Event { bytes: self.bytes }
    }
}

impl Event {
    /// Takes an event from outside of the process: the store, another node.
    ///
    /// # Errors
    /// When the bytes are not one whole event of a known version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidEvent> {
        view(bytes)?;
        Ok(Self { bytes: bytes.into() })
    }

    /// The event that these bytes are: [`view`] took them.
    pub(crate) fn of_valid(bytes: &[u8]) -> Self {
        debug_assert!(view(bytes).is_ok());
        Self { bytes: bytes.into() }
    }

    /// Takes the event's place away again, so that it can be sealed for another. Copies only what others hold, too.
    #[must_use]
    pub fn into_draft(mut self) -> Draft {
        if Arc::get_mut(&mut self.bytes).is_none() {
            self.bytes = Arc::from(&*self.bytes);
        }
        let unplaced = Draft { bytes: self.bytes }.seal(0, 0, 0);
        Draft { bytes: unplaced.bytes }
    }

    /// The version byte and the archive: what the store keeps and an rkyv client gets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All of the event's fields. Checks the whole archive again, about 1,200 instructions: for once a packet or a
    /// record, not once a member.
    #[must_use]
    pub fn view(&self) -> &ArchivedEventV1<'_> {
        view(&self.bytes).expect("validated when it was made")
    }

    /// Place in the log, from 1; 0 for a signal. Looks at nothing else: whoever delivers asks for it again and again.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.number(SEQ)
    }

    /// When its owner took it, milliseconds since the Unix epoch.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.number(TIME)
    }

    /// Its Lamport stamp.
    #[must_use]
    pub fn lamport(&self) -> u64 {
        self.number(LAMPORT)
    }

    /// Whether the event changes who is a member, or the conversation: joined, left, changed. Read where it stands, like
    /// the numbers: what it says exactly is in [`Event::view`].
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.bytes[self.bytes.len() - ROOT_BYTES + CONTENT] >= CONTENT_JOINED
    }

    /// One of the numbers of the root, read where it stands.
    fn number(&self, offset: usize) -> u64 {
        let at = self.bytes.len() - ROOT_BYTES + offset;
        let bytes = self.bytes[at..].first_chunk().expect("validated when it was made");
        u64::from_le_bytes(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_members_or_the_conversation_is_a_change() {
        let user = "bob";
        let contents = [
            (ContentV1::Message { kind: "text", body: "", meta: None, reply_to: None }, false),
            (ContentV1::Edit { target: 1, body: "" }, false),
            (ContentV1::Delete { target: 1 }, false),
            (ContentV1::Reaction { target: 1, emoji: "+", remove: false }, false),
            (ContentV1::Joined { user, role: Role::Member }, true),
            (ContentV1::Left { user }, true),
            (ContentV1::Changed { title: None, user: None, role: None }, true),
        ];
        for (content, is_change) in contents {
            let (conversation, sender, device, id) = ("c", "alice", "d", "1");
            let event = EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device, id, content };
            assert_eq!(Draft::encode(&event).unwrap().seal(1, 2, 3).is_change(), is_change, "{content:?}");
        }
    }

    #[test]
    fn sealing_writes_seq_time_and_lamport_and_nothing_else() {
        let content =
            ContentV1::Message { kind: "text", body: "a longer body", meta: Some("{}"), reply_to: Some(7) };
        let event = EventV1 {
            seq: 9,
            time: 9,
            lamport: 9,
            conversation: "c",
            sender: "alice",
            device: "d",
            id: "1",
            content,
        };
        let draft = Draft::encode(&event).unwrap();
        assert_eq!(draft.view().seq, 0);
        let sealed = draft.seal(1 << 40, 2, 3);
        let view = sealed.view();
        assert_eq!((view.seq.to_native(), view.time.to_native(), view.lamport.to_native()), (1 << 40, 2, 3));
        assert_eq!((sealed.seq(), sealed.time(), sealed.lamport()), (1 << 40, 2, 3));
        assert_eq!(&*view.sender, "alice");
        let ArchivedContentV1::Message { body, meta, reply_to, .. } = &view.content else {
            panic!("a message")
        };
        assert_eq!(&**body, "a longer body");
        assert_eq!(meta.as_deref(), Some("{}"));
        assert_eq!(reply_to.as_ref().map(|seq| seq.to_native()), Some(7));
        let held = sealed.clone();
        assert_eq!(sealed.into_draft(), Draft::encode(&event).unwrap());
        assert_eq!(held.seq(), 1 << 40, "who else holds it sees no change");
        assert_eq!(held.clone().into_draft().seal(1 << 40, 2, 3), held);
    }
}
