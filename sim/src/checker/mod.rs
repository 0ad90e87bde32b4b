//! The checker: holds every frame that a client gets, and everything in the synced store, against PROTOCOL section 3 and
//! what it says of roles.
//!
//! It is told what happens and never makes anything happen, so that a doctored history can be put to it as well.

mod answers;
#[cfg(test)]
mod doctored;
mod log;
mod pages;
mod sends;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::event::{Event, Role};
use protocol::id::{ConversationId, ConversationKey, DeviceId, UserId, UserKey};

use self::log::Log;
use self::sends::{SendKey, Sends};
use self::view::View;
use crate::asked::Asked;
use crate::coverage::Coverage;
use crate::kernel::ConnectionNumber;
use crate::told::{Told, ToldEvent};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which promise, in a few words.
    pub(crate) promise: &'static str,
    /// What was seen.
    pub(crate) details: String,
}

impl Violation {
    /// A promise and what broke it.
    pub(crate) fn new(promise: &'static str, details: String) -> Self {
        Self { promise, details }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.details)
    }
}

/// Reads a conversation's synced log behind a seq, to its end.
pub(crate) type Durable<'a> = &'a mut dyn FnMut(&ConversationKey, u64) -> Vec<Event>;

/// What the checker knows.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    logs: BTreeMap<ConversationKey, Log>,
    /// Conversations of which each user was ever a member.
    known: BTreeMap<UserKey, BTreeSet<ConversationId>>,
    sends: Sends,
    views: BTreeMap<ConnectionNumber, View>,
    marks: BTreeMap<(ConversationKey, UserId), u64>,
    /// For how long an owner may not know that it is deposed, and when that began to pass, microseconds.
    deposed: Option<(u64, u64)>,
}

impl Checker {
    /// A conversation will be created with these first members.
    pub(crate) fn expect(&mut self, key: ConversationKey, public: bool, members: &[(UserId, Role)]) {
        for (user, _) in members {
            self.know(&key, *user);
        }
        self.logs.insert(key, Log::new(public, members));
    }

    fn know(&mut self, key: &ConversationKey, user: UserId) {
        let user = UserKey { tenant: key.tenant, user };
        self.known.entry(user).or_default().insert(key.conversation);
    }

    /// Conversations change owners. Where nodes die, the word that a user became a member may die with one: such a stream begins later,
    /// at any event. And an owner may not know for as long as its lease lasts, in microseconds, that it is deposed: what it can't commit it
    /// may not acknowledge, but the pages it gives end where it stood.
    pub(crate) fn clustered(&mut self, lease_us: u64) {
        self.logs.values_mut().for_each(Log::clustered);
        self.deposed = Some((lease_us, 0));
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, now_us: u64) {
        if let Some((lease_us, since_us)) = &mut self.deposed
            && now_us >= *since_us + *lease_us
        {
            *since_us = now_us;
            self.logs.values_mut().for_each(Log::age);
        }
    }

    /// Somebody was told that a conversation is there.
    pub(crate) fn created(&mut self, key: &ConversationKey) {
        self.logs.get_mut(key).expect("only the town's are created").create();
    }

    /// Reads what became durable in a conversation.
    pub(crate) fn refresh(&mut self, key: &ConversationKey, durable: Durable<'_>) -> Result<(), Violation> {
        let Some(log) = self.logs.get_mut(key) else { return Ok(()) };
        let mut joined = Vec::new();
        for event in durable(key, log.head()) {
            let event = ToldEvent::of(&event);
            joined.extend(event.joined());
            log.extend(key, event)?;
        }
        joined.into_iter().for_each(|user| self.know(key, user));
        Ok(())
    }

    /// Reads what became durable anywhere.
    pub(crate) fn refresh_all(&mut self, durable: Durable<'_>) -> Result<(), Violation> {
        let keys: Vec<_> = self.logs.keys().copied().collect();
        keys.iter().try_for_each(|key| self.refresh(key, durable))
    }

    /// A router shard lets an event or an ack of this seq go: it is durable.
    pub(crate) fn published(
        &mut self,
        key: &ConversationKey,
        seq: u64,
        event: Option<&Event>,
        durable: Durable<'_>,
    ) -> Result<(), Violation> {
        // A change that changes nothing is answered with the head, which may be 0.
        if seq == 0 {
            return Ok(());
        }
        if self.logs.get(key).is_some_and(|log| log.head() < seq) {
            self.refresh(key, durable)?;
        }
        let stored = self.logs.get(key).and_then(|log| log.at(seq));
        let told = event.map(ToldEvent::of);
        if stored.is_none() || told.as_ref().is_some_and(|told| Some(told) != stored) {
            let details = format!("{key:?}: {seq} left as {told:?}, the synced log has {stored:?}");
            return Err(Violation::new("persist, then publish", details));
        }
        Ok(())
    }

    /// A client opened a connection.
    pub(crate) fn opened(&mut self, connection: ConnectionNumber, user: UserKey, device: DeviceId) {
        self.views.insert(connection, View::new(user, device));
    }

    /// A connection is gone: nothing is expected on it any more.
    pub(crate) fn gone(&mut self, connection: ConnectionNumber) {
        self.views.remove(&connection);
    }

    /// A client asks something.
    pub(crate) fn asked(&mut self, connection: ConnectionNumber, asked: &Asked) {
        let Some(view) = self.views.get_mut(&connection) else { return };
        let user = view.user;
        match asked {
            Asked::Send { id, conversation, content, ephemeral } => {
                let key = SendKey { user, conversation: *conversation, id: *id };
                self.sends.attempt(key, content, *ephemeral);
            }
            Asked::Read(conversation, seq) => {
                let key = ConversationKey { tenant: user.tenant, conversation: *conversation };
                let mark = self.marks.entry((key, user.user)).or_default();
                *mark = (*mark).max(*seq);
            }
            _ => {}
        }
        view.ask(asked, &self.logs);
    }

    /// The requests of a connection that wait for their answer.
    pub(crate) fn unanswered(&self, connection: ConnectionNumber) -> usize {
        self.views.get(&connection).map_or(0, View::unanswered)
    }

    /// The same in words.
    pub(crate) fn waiting(&self, connection: ConnectionNumber) -> String {
        self.views.get(&connection).map_or_else(String::new, View::waiting)
    }

    /// Where a connection's stream of a conversation stands; `None` when it has none.
    pub(crate) fn position(&self, connection: ConnectionNumber, conversation: ConversationId) -> Option<u64> {
        self.views.get(&connection)?.position(conversation)
    }

    /// A client was told something.
    pub(crate) fn told(
        &mut self,
        connection: ConnectionNumber,
        told: &Told,
        durable: Durable<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let Some(view) = self.views.get_mut(&connection) else { return Ok(()) };
        let user = view.user;
        for conversation in mentioned(told) {
            let key = ConversationKey { tenant: user.tenant, conversation };
            let Some(log) = self.logs.get(&key) else {
                let details = format!("{user:?} was told of {conversation:?}, which it can't know: {told:?}");
                return Err(Violation::new("strangers see nothing", details));
            };
            let behind = newest(told).is_none_or(|seq| log.head() < seq);
            if behind {
                self.refresh(&key, durable)?;
            }
        }
        if matches!(told, Told::Error { .. }) {
            // An owner that came after a crash goes by what is durable, published or not.
            self.refresh_all(durable)?;
        }
        let view = self.views.get_mut(&connection).expect("found above");
        match told {
            Told::Welcome { conversations, .. } => view.welcome(conversations, &self.logs),
            Told::Event(event) => view.event(event, &mut self.logs, coverage),
            Told::Lagging { conversation, after, head } => {
                view.lagging(*conversation, *after, *head, &self.logs)
            }
            Told::Signal(event) => check_signal(user, event, &self.sends, &self.logs),
            Told::Receipt { conversation, user: Some(reader), read: Some(read), .. } => {
                let key = ConversationKey { tenant: user.tenant, conversation: *conversation };
                let marked = self.marks.get(&(key, *reader)).copied().unwrap_or_default();
                check_receipt(&key, *reader, *read, marked)
            }
            Told::Receipt { .. } | Told::Typing { .. } | Told::Presence { .. } | Told::Goaway { .. } => {
                Ok(())
            }
            answer => view.answer(answer, &mut self.logs, &mut self.sends, coverage),
        }
    }

    /// What every member may know is told only to those who ever were members.
    pub(crate) fn may_look(&self, key: &ConversationKey, user: UserId) -> bool {
        self.logs.get(key).is_some_and(|log| log.may_look(user))
    }

    /// Every conversation of a user, with the head of its log.
    pub(crate) fn memberships(&self, user: UserKey) -> Vec<(ConversationId, u64)> {
        let known = self.known.get(&user).into_iter().flatten();
        let logs = known.map(|conversation| (*conversation, &self.logs[&key_of(user, *conversation)]));
        logs.filter(|(_, log)| log.is_member(user.user)).map(|(id, log)| (id, log.head())).collect()
    }

    /// Where a conversation's log ends, as far as it was read.
    pub(crate) fn head(&self, key: &ConversationKey) -> u64 {
        self.logs.get(key).map_or(0, Log::head)
    }

    /// How many sends were acknowledged so far.
    pub(crate) fn acked(&self) -> usize {
        self.sends.acked()
    }

    /// The end of the run: every log is read whole, and everything acknowledged is in its place.
    pub(crate) fn finish(&mut self, durable: Durable<'_>, coverage: &mut Coverage) -> Result<(), Violation> {
        self.refresh_all(durable)?;
        self.logs.keys().try_for_each(|key| self.explain(key))?;
        let logs = &self.logs;
        let log = |key: &SendKey| logs.get(&key_of(key.user, key.conversation));
        self.sends.finish(log, coverage)
    }

    /// Everything in a log was sent by somebody, who was not refused.
    fn explain(&self, key: &ConversationKey) -> Result<(), Violation> {
        for event in self.logs[key].events() {
            if !event.content.is_change() {
                let user = UserKey { tenant: key.tenant, user: event.sender };
                let send = SendKey { user, conversation: key.conversation, id: event.id };
                self.sends.explain(send, event)?;
            }
        }
        Ok(())
    }
}

fn key_of(user: UserKey, conversation: ConversationId) -> ConversationKey {
    ConversationKey { tenant: user.tenant, conversation }
}

/// The conversations that a frame tells something of.
fn mentioned(told: &Told) -> Vec<ConversationId> {
    match told {
        Told::Welcome { conversations, .. } | Told::Conversations { conversations, .. } => {
            conversations.iter().map(|entry| entry.conversation).collect()
        }
        Told::Ack { conversation, .. }
        | Told::Page { conversation, .. }
        | Told::Receipt { conversation, .. }
        | Told::Typing { conversation, .. }
        | Told::Lagging { conversation, .. } => vec![*conversation],
        Told::Event(event) | Told::Signal(event) => vec![event.conversation],
        _ => Vec::new(),
    }
}

/// The seq up to which the log must be known to judge a frame; `None`: all of it.
fn newest(told: &Told) -> Option<u64> {
    match told {
        Told::Event(event) => Some(event.seq),
        Told::Ack { seq, .. } => *seq,
        Told::Page { head, .. } | Told::Lagging { head, .. } => Some(*head),
        Told::Signal(_) | Told::Typing { .. } | Told::Receipt { .. } => Some(0),
        _ => None,
    }
}

fn check_signal(
    user: UserKey,
    event: &ToldEvent,
    sends: &Sends,
    logs: &BTreeMap<ConversationKey, Log>,
) -> Result<(), Violation> {
    let sender = UserKey { tenant: user.tenant, user: event.sender };
    let key = SendKey { user: sender, conversation: event.conversation, id: event.id };
    let seen = logs.get(&key_of(user, event.conversation)).is_some_and(|log| log.may_look(user.user));
    if !seen || event.seq != 0 || !sends.is_signal(key, &event.content) {
        return Err(Violation::new("signals", format!("{user:?} got {event:?}")));
    }
    Ok(())
}

fn check_receipt(key: &ConversationKey, reader: UserId, read: u64, marked: u64) -> Result<(), Violation> {
    if read > marked {
        let details = format!("{key:?}: {reader:?} is said to have read {read}, marked {marked}");
        return Err(Violation::new("receipts", details));
    }
    Ok(())
}
