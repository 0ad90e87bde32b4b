//! Changes of members and of the conversation: each is an event of the log, and takes effect where that is published.

use protocol::envelope::{Actor, Caller, Change};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::{ContentV1, Draft, EventV1};
use protocol::id::{ClientId, ConversationKey};
use protocol::limits::TITLE_BYTES_MAX;
use storage::request::AppendRule;

use crate::appends::{Origin, Queued};
use crate::conversation::Place;
use crate::refusal::BUSY;
use crate::shard::RouterShard;

/// The device of events that no device sent.
const API_DEVICE: &str = "api";

/// The event that says that something changed.
pub(crate) fn event_of(
    key: &ConversationKey,
    sender: &str,
    id: &ClientId,
    change: &Change,
) -> Result<Draft, Refusal> {
    let content = match change {
        Change::Join { user, role } => ContentV1::Joined { user: user.as_str(), role: *role },
        Change::Leave { user } => ContentV1::Left { user: user.as_str() },
        Change::Role { user, role } => {
            ContentV1::Changed { title: None, user: Some(user.as_str()), role: Some(*role) }
        }
        Change::Title { title } => ContentV1::Changed { title: title.as_deref(), user: None, role: None },
    };
    let (conversation, id) = (key.conversation.as_str(), id.as_str());
    let event =
        EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device: API_DEVICE, id, content };
    Draft::encode(&event)
        .map_err(|_| Refusal::new(ErrorCode::TooLarge, "the change is too large for an event"))
}

/// Checks a title's length.
pub(crate) fn check_title(title: Option<&str>) -> Result<(), Refusal> {
    if title.is_some_and(|title| title.len() > TITLE_BYTES_MAX) {
        return Err(Refusal::new(ErrorCode::TooLarge, "a title has at most 256 bytes"));
    }
    Ok(())
}

impl RouterShard {
    /// Takes a change into the conversation's next batch.
    pub(crate) fn change(
        &mut self,
        place: Place,
        caller: Caller,
        actor: Actor,
        id: ClientId,
        change: Change,
        lamport: u64,
    ) {
        match self.check_change(place, &actor, &id, &change) {
            Ok(draft) => {
                let rule = AppendRule::Change(change);
                let origin = Origin::Caller(caller);
                let Actor { key: actor, authority } = actor;
                self.enqueue(place, Queued { origin, actor, authority, id, draft, lamport, rule });
            }
            Err(refusal) => self.refuse_caller(caller, Some(id), self.denial(place, refusal)),
        }
    }

    fn check_change(
        &self,
        place: Place,
        actor: &Actor,
        id: &ClientId,
        change: &Change,
    ) -> Result<Draft, Refusal> {
        self.may_change(place, self.access(place, actor), actor, change)?;
        if let Change::Title { title } = change {
            check_title(title.as_deref())?;
        }
        if self.announcements.is_full() {
            return Err(BUSY);
        }
        self.has_room_to_append(place)?;
        event_of(&self.conversations[place].key(), actor.key.user.as_str(), id, change)
    }
}
