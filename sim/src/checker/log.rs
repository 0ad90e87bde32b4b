//! The durable log of one conversation, as the checker has read it from the synced store, and who was a member when.

use std::collections::BTreeMap;

use protocol::event::Role;
use protocol::id::{ClientId, ConversationKey, UserId};

use super::Violation;
use crate::told::{Content, ToldEvent};

/// A stretch of a log during which a user was a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    /// Seq of the event that began it; 0: a first member.
    from: u64,
    /// Seq of the event that ended it.
    to: Option<u64>,
}

/// One conversation's log and members.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Vec<ToldEvent>,
    places: BTreeMap<(UserId, ClientId), u64>,
    members: BTreeMap<UserId, Vec<Membership>>,
    readers: BTreeMap<UserId, ()>,
    /// What the members are at the log's end.
    roles: BTreeMap<UserId, Role>,
    public: bool,
    /// Somebody was told that the conversation is there.
    created: bool,
    /// The largest seq that anybody was told of: no later answer may know less, or, where owners change, none that is later by as long as
    /// an owner may not know that it is deposed.
    told: u64,
    /// The same, when it was looked at last, and the time before.
    told_before: [u64; 2],
    /// Conversations change owners: a user may learn late of a membership, and a page may end early for a while.
    clustered: bool,
}

impl Log {
    /// From now on the conversation may change owners.
    pub(crate) fn clustered(&mut self) {
        self.clustered = true;
    }

    /// As long as an owner may not know that it is deposed has passed since this was said last.
    pub(crate) fn age(&mut self) {
        self.told_before = [self.told, self.told_before[0]];
    }

    /// The log of a conversation that is to be created with these members.
    pub(crate) fn new(public: bool, members: &[(UserId, Role)]) -> Self {
        let mut log = Self { public, ..Self::default() };
        for (user, role) in members {
            log.begin(*user, 0, *role);
        }
        log
    }

    fn begin(&mut self, user: UserId, from: u64, role: Role) {
        if role == Role::Reader {
            self.readers.insert(user, ());
        }
        self.roles.insert(user, role);
        let memberships = self.members.entry(user).or_default();
        if memberships.last().is_none_or(|last| last.to.is_some()) {
            memberships.push(Membership { from, to: None });
        }
    }

    /// Takes the next event of the synced log.
    pub(crate) fn extend(&mut self, key: &ConversationKey, event: ToldEvent) -> Result<(), Violation> {
        let expected = self.head() + 1;
        if event.seq != expected {
            return Err(Violation::new(
                "dense order",
                format!("{key:?}: {event:?} at {expected} in the log"),
            ));
        }
        if event.conversation != key.conversation {
            return Err(Violation::new("the log", format!("{key:?} holds {event:?}")));
        }
        if let Some(last) = self.events.last()
            && (event.time < last.time || event.lamport <= last.lamport)
        {
            return Err(Violation::new("monotone stamps", format!("{key:?}: {event:?} behind {last:?}")));
        }
        if let Some(first) = self.places.insert((event.sender, event.id), event.seq) {
            return Err(Violation::new("effectively once", format!("{key:?}: {event:?} is at {first} too")));
        }
        let sends = self.roles.get(&event.sender).is_some_and(|role| *role >= Role::Member);
        if !event.content.is_change() && !sends {
            let details = format!("{key:?}: {event:?} of one who may not send");
            return Err(Violation::new("only members send", details));
        }
        self.follow_members(&event);
        self.events.push(event);
        Ok(())
    }

    fn follow_members(&mut self, event: &ToldEvent) {
        let parse = |user: &String| UserId::parse(user).expect("the log holds ids");
        match &event.content {
            Content::Joined { user, role } => self.begin(parse(user), event.seq, *role),
            Content::Left { user } => {
                self.roles.remove(&parse(user));
                let last = self.members.entry(parse(user)).or_default().last_mut();
                if let Some(last) = last {
                    last.to = Some(event.seq);
                }
            }
            Content::Changed { user: Some(user), role: Some(role), .. } => {
                self.roles.insert(parse(user), *role);
                if *role == Role::Reader {
                    self.readers.insert(parse(user), ());
                }
            }
            _ => {}
        }
    }

    /// Last seq known to be durable.
    pub(crate) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    /// The event at a place, from 1.
    pub(crate) fn at(&self, seq: u64) -> Option<&ToldEvent> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// Where something of a sender is.
    pub(crate) fn place(&self, sender: UserId, id: ClientId) -> Option<u64> {
        self.places.get(&(sender, id)).copied()
    }

    /// Every event, in order.
    pub(crate) fn events(&self) -> &[ToldEvent] {
        &self.events
    }

    /// Somebody was told that the conversation is there.
    pub(crate) fn create(&mut self) {
        self.created = true;
    }

    /// Where the log ends, when anybody was told that the conversation is there.
    pub(crate) fn known_head(&self) -> Option<u64> {
        self.created.then(|| self.head())
    }

    /// Somebody was told of this seq.
    pub(crate) fn tell(&mut self, seq: u64) {
        self.told = self.told.max(seq);
    }

    /// The largest seq that whoever answers must know.
    pub(crate) fn told(&self) -> u64 {
        if self.clustered { self.told_before[1] } else { self.told }
    }

    /// Whether the user ever was a member, or anyone may look.
    pub(crate) fn may_look(&self, user: UserId) -> bool {
        self.public || self.members.contains_key(&user)
    }

    /// Whether the user was a member when this event happened, or became one later: members read what was before.
    pub(crate) fn may_see(&self, user: UserId, seq: u64) -> bool {
        let memberships = self.members.get(&user).map_or(&[][..], Vec::as_slice);
        memberships.iter().any(|membership| membership.to.is_none_or(|to| seq <= to))
    }

    /// Whether a stream of events may begin or go on at `seq`, because the user joined there, behind `after`.
    pub(crate) fn joined_at(&self, user: UserId, after: Option<u64>, seq: u64) -> bool {
        let memberships = self.members.get(&user).map_or(&[][..], Vec::as_slice);
        memberships.iter().any(|membership| {
            let late = self.clustered && membership.from <= seq && membership.to.is_none_or(|to| seq <= to);
            let begins = membership.from == seq || membership.from + 1 == seq || late;
            begins && after.is_none_or(|after| membership.from > after)
        })
    }

    /// Whether the user is a member now, and has been since the log ended at `head`.
    pub(crate) fn member_since(&self, user: UserId, head: u64) -> bool {
        let last = self.members.get(&user).and_then(|memberships| memberships.last());
        last.is_some_and(|last| last.to.is_none() && last.from <= head)
    }

    /// Whether the user is a member now.
    pub(crate) fn is_member(&self, user: UserId) -> bool {
        self.member_since(user, u64::MAX)
    }

    /// Whether the user ever was a reader, who may not send.
    pub(crate) fn was_reader(&self, user: UserId) -> bool {
        self.readers.contains_key(&user)
    }
}
