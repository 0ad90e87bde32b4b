//! One item of an append on its way: a draft that gets its place, loses it when the transaction begins again, and gets
//! another.

use protocol::event::{Draft, Event};
use protocol::id::{ClientId, ConversationKey, UserId};

use crate::content;
use crate::key::StoreKey;
use crate::kv::Key;
use crate::request::{AppendItem, AppendRule, Appended};

#[derive(Debug)]
pub(super) struct Item {
    pub(super) sender: UserId,
    pub(super) id: ClientId,
    /// Where the sender's record of that id lies.
    pub(super) client_key: Key,
    /// Hash of what the client asked for.
    pub(super) content: u128,
    pub(super) lamport: u64,
    pub(super) rule: AppendRule,
    /// True when the event takes its target away.
    pub(super) deletes: bool,
    body: Body,
    /// The places of commits whose answer was lost: at most one an attempt.
    doubted: Vec<Place>,
}

/// Where an event stands in its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) seq: u64,
    /// Milliseconds since the Unix epoch.
    pub(super) time: u64,
    pub(super) lamport: u64,
}

/// What has become of the draft.
#[derive(Debug)]
enum Body {
    /// Not placed.
    Draft(Draft),
    /// Placed by this attempt.
    Event(Event),
    /// Not to be stored, and why.
    Settled(Draft, Appended),
    /// Handed out.
    Taken,
}

impl Item {
    pub(super) fn new(of: &ConversationKey, item: AppendItem) -> Self {
        let view = item.draft.view();
        assert!(*view.conversation == *of.conversation.as_str(), "a draft is appended where it was made for");
        let sender = UserId::parse(view.sender.as_bytes()).expect("a draft's sender is an id");
        let id = ClientId::parse(view.id.as_bytes()).expect("a draft has a client id");
        let deletes = matches!(view.content, protocol::event::ArchivedContentV1::Delete { .. });
        let content = content::hash(view);
        let body = Body::Draft(item.draft);
        Self {
            sender,
            id,
            client_key: StoreKey::Client(*of, sender, id).encode(),
            content,
            lamport: item.lamport,
            rule: item.rule,
            deletes,
            body,
            doubted: Vec::new(),
        }
    }

    /// Forgets the last attempt.
    pub(super) fn begin(&mut self) {
        self.body = match std::mem::replace(&mut self.body, Body::Taken) {
            Body::Draft(draft) | Body::Settled(draft, _) => Body::Draft(draft),
            Body::Event(event) => Body::Draft(event.into_draft()),
            Body::Taken => unreachable!("an outcome ends its transaction"),
        };
    }

    /// The place that this attempt gave may have been stored.
    pub(super) fn doubt(&mut self) {
        if let Body::Event(event) = &self.body {
            let view = event.view();
            let (seq, time, lamport) =
                (view.seq.to_native(), view.time.to_native(), view.lamport.to_native());
            self.doubted.push(Place { seq, time, lamport });
        }
    }

    fn take_draft(&mut self) -> Draft {
        match std::mem::replace(&mut self.body, Body::Taken) {
            Body::Draft(draft) => draft,
            other => unreachable!("an item is decided once an attempt: {other:?}"),
        }
    }

    /// Gives the event its place.
    pub(super) fn place(&mut self, place: Place) -> &Event {
        self.body = Body::Event(self.take_draft().seal(place.seq, place.time, place.lamport));
        match &self.body {
            Body::Event(event) => event,
            _ => unreachable!("placed just now"),
        }
    }

    /// Leaves it out, and says why.
    pub(super) fn settle(&mut self, appended: Appended) {
        self.body = Body::Settled(self.take_draft(), appended);
    }

    /// The place, when a commit of this very transaction that gave it was left without an answer.
    pub(super) fn doubted(&self, seq: u64, time: u64) -> Option<Place> {
        self.doubted.iter().copied().find(|place| place.seq == seq && place.time == time)
    }

    /// What came of it. Once.
    pub(super) fn outcome(&mut self) -> Appended {
        match std::mem::replace(&mut self.body, Body::Taken) {
            Body::Event(event) => Appended::Stored(event),
            Body::Settled(_, appended) => appended,
            other => unreachable!("every item is decided: {other:?}"),
        }
    }
}
