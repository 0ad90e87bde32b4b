//! rkyv frames of the server, read with `protocol`'s decoder for native clients.

use protocol::event::Event;
use protocol::frame::rkyv::{ArchivedChatListEntryV1, ArchivedServerFrameV1, ServerArchive, decode_server};
use protocol::id::{ClientId, ConversationId, UserId};

use super::{Told, ToldEntry, ToldEvent};

fn conversation(text: &str) -> Option<ConversationId> {
    ConversationId::parse(text).ok()
}

fn entries(list: &[ArchivedChatListEntryV1<'_>]) -> Option<Vec<ToldEntry>> {
    let entry = |entry: &ArchivedChatListEntryV1<'_>| {
        Some(ToldEntry {
            conversation: conversation(&entry.conversation)?,
            head: entry.head.to_native(),
            read: entry.read.to_native(),
        })
    };
    list.iter().map(entry).collect()
}

impl Told {
    /// An rkyv frame; `None` when it is not what the archive's types say.
    pub(crate) fn rkyv(payload: &[u8]) -> Option<Self> {
        match decode_server(payload).ok()? {
            ServerArchive::Event(event) => Some(Self::Event(ToldEvent::archived(event))),
            ServerArchive::Signal(event) => Some(Self::Signal(ToldEvent::archived(event))),
            ServerArchive::Frame(frame) => Self::archived(frame),
        }
    }

    fn archived(frame: &ArchivedServerFrameV1<'_>) -> Option<Self> {
        use ArchivedServerFrameV1 as Frame;
        Some(match frame {
            Frame::Welcome { user, resume, conversations, more, .. } => Self::Welcome {
                user: UserId::parse(&**user).ok()?,
                resume: resume.to_string(),
                conversations: entries(conversations)?,
                more: *more,
            },
            Frame::Ack { id, conversation: place, seq, time, duplicate } => Self::Ack {
                id: ClientId::parse(&**id).ok()?,
                conversation: conversation(place)?,
                seq: seq.as_ref().map(|seq| seq.to_native()),
                time: time.to_native(),
                duplicate: *duplicate,
            },
            Frame::Page { reference, conversation: place, events, head, more, .. } => Self::Page {
                reference: reference.to_native(),
                conversation: conversation(place)?,
                events: events
                    .iter()
                    .map(|event| Some(ToldEvent::of(&Event::from_bytes(&event.bytes).ok()?)))
                    .collect::<Option<_>>()?,
                head: head.to_native(),
                more: *more,
            },
            Frame::Synced { reference } => Self::Synced { reference: reference.to_native() },
            Frame::Conversations { reference, conversations, next } => Self::Conversations {
                reference: reference.to_native(),
                conversations: entries(conversations)?,
                next: next.as_ref().map(ToString::to_string),
            },
            Frame::Lagging { conversation: place, after, head } => Self::Lagging {
                conversation: conversation(place)?,
                after: after.to_native(),
                head: head.to_native(),
            },
            Frame::Refreshed => Self::Refreshed,
            Frame::Pong { reference } => Self::Pong { reference: reference.to_native() },
            Frame::Goaway { reconnect_after_ms, .. } => {
                Self::Goaway { reconnect_after_ms: reconnect_after_ms.to_native().into() }
            }
            Frame::Error { reference, id, code, retry_after_ms, .. } => Self::Error {
                reference: reference.as_ref().map(|reference| reference.to_native()),
                id: match id.as_ref() {
                    Some(id) => Some(ClientId::parse(&**id).ok()?),
                    None => None,
                },
                code: code.to_string(),
                retry_after_ms: retry_after_ms.as_ref().map(|wait| wait.to_native().into()),
            },
            notice => return Self::archived_notice(notice),
        })
    }

    /// The ephemeral frames.
    fn archived_notice(frame: &ArchivedServerFrameV1<'_>) -> Option<Self> {
        use ArchivedServerFrameV1 as Frame;
        Some(match frame {
            Frame::Receipt { conversation: place, user, received, read, .. } => Self::Receipt {
                conversation: conversation(place)?,
                user: match user.as_ref() {
                    Some(user) => Some(UserId::parse(&**user).ok()?),
                    None => None,
                },
                received: received.as_ref().map(|seq| seq.to_native()),
                read: read.as_ref().map(|seq| seq.to_native()),
            },
            Frame::Typing { conversation: place, user, .. } => {
                Self::Typing { conversation: conversation(place)?, user: UserId::parse(&**user).ok()? }
            }
            Frame::Presence { user, online, .. } => {
                Self::Presence { user: UserId::parse(&**user).ok()?, online: *online }
            }
            _ => return None,
        })
    }
}
