//! Publishing: committed events go out in `seq` order, each once, to every gateway shard with interest; what they change
//! takes effect here; and the log is read again when it may hold something that nobody was told of.

use std::collections::BTreeSet;

use protocol::envelope::{GatewayId, ToGateway};
use protocol::event::{ArchivedContentV1, ArchivedRole, Event, Role};
use protocol::frame::Range;
use protocol::id::{ConversationKey, UserId, UserKey};
use protocol::limits::PAGE_EVENTS_MAX;
use storage::request::{AppendBatch, ConversationAppend, Failure, Outcome, Request};

use crate::Operation;
use crate::conversation::{Place, Work};
use crate::limits::{PAGE_BYTES_MAX, STORE_RETRY_MS};
use crate::members::Known;
use crate::refusal::STORE_AWAY;
use crate::shard::RouterShard;
use crate::store::Pending;

/// What an event changes beside the log.
enum Effect {
    None,
    /// A user is now this, or no member.
    Role {
        user: UserId,
        role: Option<Role>,
        joined: bool,
    },
    Title(Option<Box<str>>),
}

const fn role_of(role: ArchivedRole) -> Role {
    match role {
        ArchivedRole::Reader => Role::Reader,
        ArchivedRole::Member => Role::Member,
        ArchivedRole::Moderator => Role::Moderator,
        ArchivedRole::Owner => Role::Owner,
    }
}

impl Effect {
    fn of(event: &Event) -> Self {
        if !event.is_change() {
            return Self::None;
        }
        let user = |text: &str| UserId::parse(text).expect("this shard wrote the event");
        match &event.view().content {
            ArchivedContentV1::Joined { user: who, role } => {
                Self::Role { user: user(who), role: Some(role_of(*role)), joined: true }
            }
            ArchivedContentV1::Left { user: who } => {
                Self::Role { user: user(who), role: None, joined: false }
            }
            ArchivedContentV1::Changed { user: who, role, title } => match (who.as_ref(), role.as_ref()) {
                (Some(who), Some(role)) => {
                    Self::Role { user: user(who), role: Some(role_of(*role)), joined: false }
                }
                _ => Self::Title(title.as_ref().map(|title| Box::from(&**title))),
            },
            ArchivedContentV1::Message { .. }
            | ArchivedContentV1::Edit { .. }
            | ArchivedContentV1::Delete { .. }
            | ArchivedContentV1::Reaction { .. } => Self::None,
        }
    }
}

/// Whose membership an event ends or begins, whether it begins, and what is told of it: see [`crate::announcements`].
pub(crate) fn news_of(event: &Event) -> Option<(UserId, bool, u64)> {
    match Effect::of(event) {
        // The event that says so is the first that the new member gets.
        Effect::Role { user, joined: true, .. } => Some((user, true, event.seq() - 1)),
        Effect::Role { user, role: None, .. } => Some((user, false, event.seq())),
        Effect::Role { .. } | Effect::Title(_) | Effect::None => None,
    }
}

impl RouterShard {
    /// Publishes events that follow the published head without a gap.
    pub(crate) fn publish(&mut self, place: Place, events: Vec<Event>) {
        let head = self.conversations[place].head;
        for (event, seq) in events.iter().zip(head + 1..) {
            assert_eq!(event.seq(), seq, "events are published densely and in order");
            let stamp = event.lamport();
            self.lamport.observe(stamp);
            let conversation = &mut self.conversations[place];
            conversation.head = seq;
            conversation.lamport = stamp;
            self.conversations.remember(place, event.clone());
        }
        let changed: BTreeSet<UserId> =
            events.iter().filter_map(|event| self.take_effect(place, event)).collect();
        let mut all = self.held.take(place);
        let is_second = !all.is_empty();
        all.extend(events);
        if !is_second && changed.is_empty() && self.is_worth_holding(place) {
            self.held.hold(place, all, self.now.monotonic_ms);
        } else {
            self.fan_out(place, &all);
        }
        if !changed.is_empty() {
            self.recheck(place, &changed);
        }
    }

    /// Whether more of the conversation is about to follow, to enough members for them to get both at once.
    fn is_worth_holding(&self, place: Place) -> bool {
        let conversation = &self.conversations[place];
        conversation.has_batch()
            && conversation.meta().is_some_and(|meta| meta.members >= self.settings.held_members_min)
            && self.held.has_room()
            && self.store.has_room_for_appends()
    }

    /// Publishes what waits in a conversation: whatever is told of it next must come behind that.
    pub(crate) fn release(&mut self, place: Place) {
        let held = self.held.take(place);
        if !held.is_empty() {
            self.fan_out(place, &held);
        }
    }

    /// Publishes what has waited long enough.
    pub(crate) fn flush_held(&mut self) {
        while let Some(place) = self.held.due(self.now.monotonic_ms) {
            self.release(place);
        }
    }

    fn fan_out(&mut self, place: Place, events: &[Event]) {
        let (key, interest) = (self.conversations[place].key(), self.conversations[place].interest.clone());
        self.counters.fan_out.record(interest.len() as u64);
        for gateway in interest {
            if self.behind.contains(gateway, place) || !self.outgoing.reaches(gateway) {
                continue;
            }
            if self.outgoing.is_open(gateway) {
                self.counters.publishes += 1;
                let publish = ToGateway::Publish { conversation: key, events: events.into() };
                self.outgoing.push(Operation::ToGateway(gateway, publish));
            } else {
                self.behind.add(gateway, place, self.now.monotonic_ms);
            }
        }
    }

    /// The user whose role the event changes.
    fn take_effect(&mut self, place: Place, event: &Event) -> Option<UserId> {
        match Effect::of(event) {
            Effect::None => None,
            Effect::Title(title) => {
                if let Some(meta) = self.conversations[place].meta_mut() {
                    meta.title = title;
                }
                None
            }
            Effect::Role { user, role, joined } => {
                self.take_role(place, user, role, joined);
                if let Some((user, joined, after)) = news_of(event) {
                    self.announcements.add(self.conversations[place].key(), vec![user], joined, after);
                }
                Some(user)
            }
        }
    }

    fn take_role(&mut self, place: Place, user: UserId, role: Option<Role>, joined: bool) {
        let key = self.conversations[place].key();
        let user_key = UserKey { tenant: key.tenant, user };
        if self.conversations[place].work == Work::Load {
            self.conversations[place].work = Work::StaleLoad;
        }
        self.conversations.make_room_for_members(place);
        self.conversations.learn(place, self.keys.user(&user_key), Known { role, read: 0, received: 0 });
        if let Some(meta) = self.conversations[place].meta_mut() {
            let left = role.is_none();
            meta.members = (meta.members + u64::from(joined)).saturating_sub(u64::from(left));
        }
    }

    /// A publish or a head did not reach a gateway shard.
    pub(crate) fn missed(&mut self, gateway: GatewayId, key: &ConversationKey) {
        let Some(place) = self.conversations.find(key) else { return };
        if self.outgoing.reaches(gateway) && self.conversations[place].interest.contains(&gateway) {
            self.behind.add(gateway, place, self.now.monotonic_ms);
        }
    }

    /// An answer to an attach did not reach its gateway shard: what is published before it does would be overlooked there.
    pub(crate) fn attached_returned(&mut self, gateway: GatewayId, envelope: &ToGateway) {
        let ToGateway::Attached { tenant, items, .. } = envelope else { return };
        for item in items.iter().filter(|item| item.state.is_some()) {
            self.missed(gateway, &ConversationKey { tenant: *tenant, conversation: item.conversation });
        }
    }

    /// Tells those who missed something where the log ends now.
    pub(crate) fn flush_heads(&mut self) {
        let outgoing = &self.outgoing;
        let told = self
            .behind
            .take(self.now.monotonic_ms, |gateway| outgoing.reaches(gateway) && outgoing.is_open(gateway));
        for (gateway, place) in told {
            let conversation = &self.conversations[place];
            let head = ToGateway::Head { conversation: conversation.key(), head: conversation.head };
            self.counters.heads += 1;
            self.outgoing.push(Operation::ToGateway(gateway, head));
        }
    }

    /// An ephemeral envelope to everybody in the conversation. Where there is no room it is dropped.
    pub(crate) fn tell_room(&mut self, place: Place, envelope: impl Fn(ConversationKey) -> ToGateway) {
        let (key, interest) = (self.conversations[place].key(), self.conversations[place].interest.clone());
        for gateway in interest {
            if !self.outgoing.reaches(gateway) {
                continue;
            }
            if self.outgoing.is_open(gateway) {
                self.outgoing.push(Operation::ToGateway(gateway, envelope(key)));
            } else {
                self.counters.ephemeral_dropped += 1;
            }
        }
    }

    /// The log may hold more than was published: nothing newer is appended or published before that is read.
    pub(crate) fn doubt(&mut self, place: Place, due: u64) {
        if !std::mem::replace(&mut self.conversations[place].doubtful, true) {
            self.counters.catch_ups += 1;
            self.doubts.insert((due, place));
        }
    }

    /// Reads the logs that are in doubt, once nothing can land there behind the reading.
    pub(crate) fn flush_catch_ups(&mut self) {
        while self.store.has_room()
            && self.doubts.first().is_some_and(|&(due, _)| due <= self.now.monotonic_ms)
            && let Some((_, place)) = self.doubts.pop_first()
        {
            let conversation = &mut self.conversations[place];
            conversation.pins += 1;
            let key = conversation.key();
            let (pending, request) = if conversation.unbarred {
                let bar = vec![ConversationAppend { conversation: key, items: Vec::new() }];
                let (epoch, time) = (self.table.epoch, self.now.unix_ms);
                (Pending::Bar(place), Request::Append(AppendBatch { epoch, time, conversations: bar }))
            } else {
                let (range, bytes_max) = (Range::After(conversation.head), PAGE_BYTES_MAX as u32);
                let page = Request::Page { conversation: key, range, limit: PAGE_EVENTS_MAX, bytes_max };
                (Pending::CatchUp(place), page)
            };
            let id = self.store.begin(pending);
            self.outgoing.push(Operation::Store(id, request));
        }
    }

    /// Nothing lands any more that was under way, and the log is read; or the store is asked again.
    pub(crate) fn bar_outcome(&mut self, place: Place, outcome: &Outcome) {
        let fenced = self.has_peers() && matches!(outcome, Outcome::Failed(Failure::Fenced));
        let conversation = &mut self.conversations[place];
        conversation.pins -= 1;
        self.touched.push(place);
        if !conversation.doubtful {
            return;
        }
        if fenced {
            return self.doubt_fenced(place);
        }
        // A newer owner's fence bars this one's appends as well.
        let barred = matches!(outcome, Outcome::Appended(_) | Outcome::Failed(Failure::Fenced));
        conversation.unbarred = !barred;
        if barred {
            self.doubts.insert((self.now.monotonic_ms, place));
        } else {
            self.doubt_unanswered(place);
        }
    }

    /// The store does not say what a log in doubt holds: it is asked again, and whoever waits for that is told at once.
    fn doubt_unanswered(&mut self, place: Place) {
        self.doubts.insert((self.now.monotonic_ms + STORE_RETRY_MS, place));
        self.withdraw_all(place, STORE_AWAY);
        self.conversations[place].unanswered = true;
        self.finish_create(place);
        self.refuse_waiting(place);
    }

    /// The log behind the published head is here, or the store is asked again.
    pub(crate) fn catch_up_outcome(&mut self, place: Place, outcome: Outcome) {
        let conversation = &mut self.conversations[place];
        conversation.pins -= 1;
        self.touched.push(place);
        if !conversation.doubtful {
            return;
        }
        let Outcome::Page { events, head: stored_head, .. } = outcome else {
            return self.doubt_unanswered(place);
        };
        conversation.unanswered = false;
        let head = self.conversations[place].head;
        let moved = events.first().is_some_and(|event| event.seq() == head + 1);
        if moved {
            self.publish(place, events);
        }
        if self.conversations[place].head < stored_head {
            let pause = if moved { 0 } else { STORE_RETRY_MS };
            self.doubts.insert((self.now.monotonic_ms + pause, place));
            return;
        }
        self.conversations[place].doubtful = false;
        self.list_batch(place);
        self.advance(place);
    }
}
