//! The walk through one conversation's keys, in their order: meta, head, events, client ids, members, received
//! cursors, time index, deletions.

use std::collections::VecDeque;

use protocol::event::{ArchivedContentV1, Event, Role};
use protocol::id::{ClientId, ConversationKey, UserId, UserKey};

use super::{Fault, Lookup, Report, fault};
use crate::content;
use crate::key::StoreKey;
use crate::value::{self, ClientRecord, Head, Meta, TIME_INDEX_STEP};

/// What has been seen of a conversation so far.
#[derive(Debug)]
pub(super) struct Walk {
    of: ConversationKey,
    meta: Option<Meta>,
    head: Option<Head>,
    events: u64,
    /// Time and stamp of the last event.
    last: Option<(u64, u64)>,
    clients: u64,
    members: u64,
    owners: u64,
    /// Entries that the time index must have, in order: (time, seq).
    times: VecDeque<(u64, u64)>,
}

impl Walk {
    pub(super) fn new(of: ConversationKey) -> Self {
        let times = VecDeque::new();
        Self { of, meta: None, head: None, events: 0, last: None, clients: 0, members: 0, owners: 0, times }
    }

    pub(super) fn of(&self) -> &ConversationKey {
        &self.of
    }

    pub(super) fn visit(
        &mut self,
        lookup: &mut Lookup<'_>,
        key: StoreKey,
        bytes: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        if !matches!(key, StoreKey::Meta(_)) && self.meta.is_none() {
            return fault(&StoreKey::Meta(self.of), format_args!("there is none, but {key}"));
        }
        if self.meta == Some(Meta::Removed) {
            return self.visit_removed(&key, bytes, value);
        }
        match key {
            StoreKey::Meta(_) => self.visit_meta(lookup, bytes, value),
            StoreKey::Head(_) => {
                self.head = Some(Head::open(bytes, value)?);
                Ok(())
            }
            StoreKey::Event(_, seq) => self.visit_event(lookup, seq, bytes, value),
            StoreKey::Client(..) => {
                ClientRecord::open(bytes, value)?;
                self.clients += 1;
                Ok(())
            }
            StoreKey::Member(_, user) => self.visit_member(lookup, &key, user, bytes, value),
            StoreKey::Received(_, user, _) => self.visit_received(lookup, &key, user, bytes, value),
            StoreKey::Time(_, time, seq) => {
                value::open_nothing(bytes, value)?;
                self.visit_time(&key, (time, seq))
            }
            StoreKey::Deleted(_, target) => self.visit_deleted(lookup, &key, target, bytes, value),
            other => unreachable!("{other} is no part of a conversation"),
        }
    }

    fn visit_meta(&mut self, lookup: &mut Lookup<'_>, bytes: &[u8], value: &[u8]) -> Result<(), Fault> {
        let meta = Meta::open(bytes, value)?;
        let note = lookup.get(&StoreKey::Removal(self.of))?.is_some();
        if note != (meta == Meta::Removed) {
            return fault(&StoreKey::Meta(self.of), "it and the note of a removal contradict each other");
        }
        self.meta = Some(meta);
        Ok(())
    }

    /// What is left of a removed conversation only has to be whole, and must not have a head.
    fn visit_removed(&self, key: &StoreKey, bytes: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            StoreKey::Head(_) => fault(key, "a removed conversation has one"),
            StoreKey::Event(..) => Ok(value::open_event(bytes, value).map(|_| ())?),
            StoreKey::Client(..) => Ok(ClientRecord::open(bytes, value).map(|_| ())?),
            StoreKey::Member(..) => Ok(value::open_role(bytes, value).map(|_| ())?),
            StoreKey::Time(..) => Ok(value::open_nothing(bytes, value)?),
            _ => Ok(value::open_number(bytes, value).map(|_| ())?),
        }
    }

    fn head(&self, key: &StoreKey) -> Result<Head, Fault> {
        match self.head {
            Some(head) => Ok(head),
            None => fault(&StoreKey::Head(self.of), format_args!("there is none, but {key}")),
        }
    }

    fn visit_event(
        &mut self,
        lookup: &mut Lookup<'_>,
        seq: u64,
        bytes: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        let key = StoreKey::Event(self.of, seq);
        let head = self.head(&key)?;
        let expected = head.first + self.events;
        if seq != expected {
            return fault(
                &StoreKey::Event(self.of, expected),
                format_args!("there is none, but event {seq}"),
            );
        }
        if seq > head.seq {
            return fault(&key, format_args!("it lies behind the head, which says {}", head.seq));
        }
        let event = value::open_event(bytes, value)?;
        let view = event.view();
        let (time, lamport) = (view.time.to_native(), view.lamport.to_native());
        if let Some((last_time, last_lamport)) = self.last
            && (time < last_time || lamport <= last_lamport)
        {
            return fault(&key, "its time or its stamp goes back behind the event before it");
        }
        if seq % TIME_INDEX_STEP == 1 {
            self.times.push_back((time, seq));
        }
        self.last = Some((time, lamport));
        self.events += 1;
        self.check_client(lookup, &key, &event)
    }

    /// Each event has its client id, which says the very same. As many ids as events make it one each.
    fn check_client(&self, lookup: &mut Lookup<'_>, key: &StoreKey, event: &Event) -> Result<(), Fault> {
        let view = event.view();
        let ids =
            UserId::parse(view.sender.as_bytes()).and_then(|s| Ok((s, ClientId::parse(view.id.as_bytes())?)));
        let Ok((sender, id)) = ids else { return fault(key, "its sender or its client id is no id") };
        let client = StoreKey::Client(self.of, sender, id);
        let expected = ClientRecord {
            seq: view.seq.to_native(),
            time: view.time.to_native(),
            content: content::hash(view),
        };
        match lookup.open(&client, ClientRecord::open)? {
            Some(record) if record == expected => Ok(()),
            Some(record) => fault(&client, format_args!("it says event {}, but {key} has it", record.seq)),
            None => fault(&client, format_args!("there is none for {key}")),
        }
    }

    fn visit_member(
        &mut self,
        lookup: &mut Lookup<'_>,
        key: &StoreKey,
        user: UserId,
        bytes: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        let role = value::open_role(bytes, value)?;
        self.members += 1;
        self.owners += u64::from(role == Role::Owner);
        let of_user = UserKey { tenant: self.of.tenant, user };
        let membership = StoreKey::Membership(of_user, self.of.conversation);
        match lookup.open(&membership, value::open_role)? {
            Some(other) if other == role => Ok(()),
            Some(other) => fault(key, format_args!("role {role:?} here, {other:?} in the user's list")),
            None => fault(key, "the user's list does not have the conversation"),
        }
    }

    fn visit_received(
        &self,
        lookup: &mut Lookup<'_>,
        key: &StoreKey,
        user: UserId,
        bytes: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        let seq = value::open_number(bytes, value)?;
        if lookup.get(&StoreKey::Member(self.of, user))?.is_none() {
            return fault(key, "its user is no member");
        }
        let head = self.head(key)?;
        if seq > head.seq {
            return fault(key, format_args!("it says {seq}, the log ends with {}", head.seq));
        }
        Ok(())
    }

    fn visit_time(&mut self, key: &StoreKey, entry: (u64, u64)) -> Result<(), Fault> {
        // Entries of events that retention took may stay.
        if entry.1 < self.head(key)?.first {
            return Ok(());
        }
        if self.times.pop_front() == Some(entry) {
            return Ok(());
        }
        fault(key, "it does not agree with the events")
    }

    fn visit_deleted(
        &self,
        lookup: &mut Lookup<'_>,
        key: &StoreKey,
        target: u64,
        bytes: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        let deletion = StoreKey::Event(self.of, value::open_number(bytes, value)?);
        let Some(event) = lookup.open(&deletion, value::open_event)? else {
            return if target < self.head(key)?.first {
                Ok(())
            } else {
                fault(key, "its deletion is in no log")
            };
        };
        match event.view().content {
            ArchivedContentV1::Delete { target: found } if found.to_native() == target => Ok(()),
            _ => fault(key, format_args!("{deletion} is not its deletion")),
        }
    }

    /// Nothing more comes of the conversation.
    pub(super) fn end(self, report: &mut Report) -> Result<(), Fault> {
        let key = StoreKey::Head(self.of);
        if self.meta == Some(Meta::Removed) {
            return Ok(());
        }
        let Some(head) = self.head else { return fault(&key, "there is none") };
        let next = head.first + self.events;
        if next <= head.seq {
            return fault(
                &StoreKey::Event(self.of, next),
                format_args!("there is none, the head says {}", head.seq),
            );
        }
        if self.last.is_some_and(|last| last != (head.time, head.lamport)) {
            return fault(&key, "its time or its stamp is not the last event's");
        }
        if (self.members, self.owners) != (head.members, head.owners) {
            let (members, owners) = (self.members, self.owners);
            return fault(
                &key,
                format_args!(
                    "it counts {} members and {} owners, there are {members} and {owners}",
                    head.members, head.owners
                ),
            );
        }
        if self.clients < self.events || (self.clients > self.events && head.first == 1) {
            return fault(&key, format_args!("{} events, but {} client ids", self.events, self.clients));
        }
        if let Some((time, seq)) = self.times.front() {
            return fault(&StoreKey::Time(self.of, *time, *seq), "there is none");
        }
        report.conversations += 1;
        report.events += self.events;
        Ok(())
    }
}
