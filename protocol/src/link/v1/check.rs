//! What a peer's numbers, lists and events must be. An archive that is one in form may still say nonsense; what passes
//! here is as good as what this process made itself.

use rkyv::boxed::ArchivedBox;
use rkyv::option::ArchivedOption;
use rkyv::primitive::ArchivedU64;
use rkyv::vec::ArchivedVec;

use crate::event::{self, ArchivedContentV1, ArchivedEventV1, Draft, Event};
use crate::frame::rkyv::ArchivedEventBytesV1;
use crate::id::{ClientId, ConversationId, ConversationKey, DeviceId, Tenant, UserId};
use crate::limits::{EVENT_BYTES_MAX, SEQ_MAX};
use crate::link::Malformed;

/// A tenant; the server's own, which has no name, is one between nodes.
pub(super) fn tenant(text: &[u8]) -> Result<Tenant, Malformed> {
    if text.is_empty() { Ok(Tenant::SYSTEM) } else { Ok(Tenant::parse(text)?) }
}

/// A user or none.
pub(super) fn user(text: &ArchivedOption<ArchivedBox<[u8]>>) -> Result<Option<UserId>, Malformed> {
    text.as_ref().map(|text| UserId::parse(&**text).map_err(Malformed::from)).transpose()
}

/// A seq, or the place in front of the first one.
pub(super) fn seq(number: &ArchivedU64) -> Result<u64, Malformed> {
    let number = number.to_native();
    if number <= SEQ_MAX { Ok(number) } else { Err(Malformed::Number) }
}

/// A seq or none.
pub(super) fn seq_or_none(number: &ArchivedOption<ArchivedU64>) -> Result<Option<u64>, Malformed> {
    number.as_ref().map(seq).transpose()
}

/// Each element of a list.
pub(super) fn list<A, T>(
    list: &ArchivedVec<A>,
    element: impl Fn(&A) -> Result<T, Malformed>,
) -> Result<Box<[T]>, Malformed> {
    list.iter().map(element).collect()
}

/// A draft of this conversation that changes no membership: those are the owner's to make.
pub(super) fn draft(bytes: &[u8], conversation: &ConversationKey) -> Result<Draft, Malformed> {
    let fields = view(bytes, conversation)?;
    let is_change = matches!(
        fields.content,
        ArchivedContentV1::Joined { .. } | ArchivedContentV1::Left { .. } | ArchivedContentV1::Changed { .. }
    );
    if is_change || fields.seq != 0 || fields.time != 0 || fields.lamport != 0 {
        return Err(Malformed::Event);
    }
    Ok(Draft::of_valid(bytes))
}

/// An event of this conversation that is in no log.
pub(super) fn signal(bytes: &[u8], conversation: &ConversationKey) -> Result<Event, Malformed> {
    if view(bytes, conversation)?.seq != 0 {
        return Err(Malformed::Event);
    }
    Ok(Event::of_valid(bytes))
}

/// Events of this conversation's log, ascending by seq.
pub(super) fn events(
    list: &ArchivedVec<ArchivedEventBytesV1<'_>>,
    conversation: &ConversationKey,
) -> Result<Box<[Event]>, Malformed> {
    let events = self::list(list, |event| logged(&event.bytes, conversation))?;
    if events.is_sorted_by(|a, b| a.seq() < b.seq()) { Ok(events) } else { Err(Malformed::Order) }
}

/// Events of this conversation's log, each with the seq that follows the last one's.
pub(super) fn dense_events(
    list: &ArchivedVec<ArchivedEventBytesV1<'_>>,
    conversation: &ConversationKey,
) -> Result<Box<[Event]>, Malformed> {
    let events = self::list(list, |event| logged(&event.bytes, conversation))?;
    if events.is_sorted_by(|a, b| a.seq() + 1 == b.seq()) { Ok(events) } else { Err(Malformed::Order) }
}

fn logged(bytes: &[u8], conversation: &ConversationKey) -> Result<Event, Malformed> {
    if seq(&view(bytes, conversation)?.seq)? == 0 {
        return Err(Malformed::Event);
    }
    Ok(Event::of_valid(bytes))
}

/// The fields of an event of this conversation, its ids checked.
fn view<'a>(bytes: &'a [u8], conversation: &ConversationKey) -> Result<&'a ArchivedEventV1<'a>, Malformed> {
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(Malformed::Event);
    }
    let fields = event::view(bytes)?;
    if ConversationId::parse(&*fields.conversation)? != conversation.conversation {
        return Err(Malformed::Event);
    }
    UserId::parse(&*fields.sender)?;
    DeviceId::parse(&*fields.device)?;
    ClientId::parse(&*fields.id)?;
    let user = match &fields.content {
        ArchivedContentV1::Joined { user, .. } | ArchivedContentV1::Left { user } => Some(user),
        ArchivedContentV1::Changed { user, .. } => user.as_ref(),
        ArchivedContentV1::Message { .. }
        | ArchivedContentV1::Edit { .. }
        | ArchivedContentV1::Delete { .. }
        | ArchivedContentV1::Reaction { .. } => None,
    };
    user.map(|user| UserId::parse(&**user)).transpose()?;
    Ok(fields)
}
