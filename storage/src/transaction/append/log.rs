//! The appends of a batch to one conversation: what they ask of its log, what they add to it, and what is left out.

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::{ArchivedContentV1, Event};
use protocol::id::{ClientId, ConversationKey, UserId};
use protocol::limits::SEQ_MAX;

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::kv::{Key, Read};
use crate::request::{AppendRule, Appended, ConversationAppend};
use crate::transaction::Answers;
use crate::transaction::commit::Commit;
use crate::transaction::fence::get;
use crate::transaction::membership::{self, Membership};
use crate::value::{self, ClientRecord, Head, Meta, TIME_INDEX_STEP};

use super::item::{Item, Place};

/// One conversation of a batch.
#[derive(Debug)]
pub(super) struct Log {
    of: ConversationKey,
    head_key: Key,
    items: Vec<Item>,
    changes_anything: bool,
}

/// What one attempt knows of the conversation, the batch's own events included.
#[derive(Debug)]
struct State {
    head: Head,
    clients: BTreeMap<(UserId, ClientId), ClientRecord>,
    /// The messages that are targets: their senders; of others, nothing.
    messages: BTreeMap<u64, UserId>,
    deleted: BTreeSet<u64>,
    membership: Membership,
}

impl Log {
    pub(super) fn new(append: ConversationAppend) -> Self {
        let of = append.conversation;
        let items: Vec<Item> = append.items.into_iter().map(|item| Item::new(&of, item)).collect();
        let changes_anything = items.iter().any(|item| matches!(item.rule, AppendRule::Change(_)));
        Self { of, head_key: StoreKey::Head(of).encode(), items, changes_anything }
    }

    /// What to read. Every append and every removal changes the head: it alone is the conflict.
    pub(super) fn begin(&mut self, reads: &mut Vec<Read>) {
        reads.push(Read::Get { key: self.head_key.clone(), conflict: true });
        if self.changes_anything {
            reads.push(get(&StoreKey::Meta(self.of), false));
        }
        for item in &mut self.items {
            item.begin();
            reads.push(Read::Get { key: item.client_key.clone(), conflict: false });
            match &item.rule {
                AppendRule::Free => {}
                AppendRule::Target { target, .. } => {
                    reads.push(get(&StoreKey::Event(self.of, *target), false));
                    reads.push(get(&StoreKey::Deleted(self.of, *target), false));
                }
                AppendRule::Change(change) => {
                    let user = membership::subject(change);
                    reads.extend(user.map(|user| get(&StoreKey::Member(self.of, user), false)));
                }
            }
        }
    }

    /// The places of this attempt may have been stored.
    pub(super) fn doubt(&mut self) {
        self.items.iter_mut().for_each(Item::doubt);
    }

    /// Decides every item, in order, and adds the writes.
    pub(super) fn found(
        &mut self,
        answers: &mut Answers,
        time: u64,
        commit: &mut Commit,
    ) -> Result<(), Damage> {
        match self.open(answers)? {
            None => self.items.iter_mut().for_each(|item| item.settle(Appended::NoConversation)),
            Some(mut state) => {
                let before = state.head.seq;
                for item in &mut self.items {
                    state.decide(&self.of, item, time, commit);
                }
                // Whatever rests on the head that was there is void once it is written, be it the same again.
                if state.head.seq > before || self.items.is_empty() {
                    commit.set_encoded(self.head_key.clone(), |key| state.head.seal(key));
                    state.membership.write(&self.of, commit);
                }
            }
        }
        Ok(())
    }

    pub(super) fn outcome(&mut self) -> Vec<Appended> {
        self.items.iter_mut().map(Item::outcome).collect()
    }

    /// Takes all answers; `None` when there is no such conversation.
    fn open(&self, answers: &mut Answers) -> Result<Option<State>, Damage> {
        let head = answers.value().map(|found| Head::open(&self.head_key, &found)).transpose()?;
        let mut state = State {
            head: head.unwrap_or(Head { seq: 0, lamport: 0, time: 0, members: 0, owners: 0, first: 1 }),
            clients: BTreeMap::new(),
            messages: BTreeMap::new(),
            deleted: BTreeSet::new(),
            membership: Membership::default(),
        };
        if self.changes_anything {
            let key = StoreKey::Meta(self.of).encode();
            if let Some(found) = answers.value() {
                state.membership.found_meta(Meta::open(&key, &found)?);
            }
        }
        for item in &self.items {
            state.open_item(&self.of, item, answers)?;
        }
        Ok(head.map(|_| state))
    }
}

impl State {
    fn open_item(&mut self, of: &ConversationKey, item: &Item, answers: &mut Answers) -> Result<(), Damage> {
        if let Some(found) = answers.value() {
            self.clients.insert((item.sender, item.id), ClientRecord::open(&item.client_key, &found)?);
        }
        match &item.rule {
            AppendRule::Free => {}
            AppendRule::Target { target, .. } => {
                let key = StoreKey::Event(*of, *target).encode();
                if let Some(found) = answers.value() {
                    self.know_message(&value::open_event_of(of, *target, &key, &found)?);
                }
                let key = StoreKey::Deleted(*of, *target).encode();
                if let Some(found) = answers.value() {
                    value::open_number(&key, &found)?;
                    self.deleted.insert(*target);
                }
            }
            AppendRule::Change(change) => {
                if let Some(user) = membership::subject(change) {
                    let key = StoreKey::Member(*of, user).encode();
                    let role = answers.value().map(|found| value::open_role(&key, &found)).transpose()?;
                    self.membership.found_member(user, role);
                }
            }
        }
        Ok(())
    }

    /// Remembers a message as a possible target.
    fn know_message(&mut self, event: &Event) {
        let view = event.view();
        if let ArchivedContentV1::Message { .. } = view.content {
            let sender = UserId::parse(view.sender.as_bytes()).expect("an event's sender is an id");
            self.messages.insert(event.seq(), sender);
        }
    }

    /// Gives the item its place, or settles why it gets none.
    fn decide(&mut self, of: &ConversationKey, item: &mut Item, time: u64, commit: &mut Commit) {
        if let Some(record) = self.clients.get(&(item.sender, item.id)) {
            return settle_known(item, *record);
        }
        match self.allow(item) {
            Err(appended) => item.settle(appended),
            Ok(()) => self.append(of, item, time, commit),
        }
    }

    fn allow(&mut self, item: &Item) -> Result<(), Appended> {
        assert!(self.head.seq < SEQ_MAX, "no log outlives its numbers");
        match &item.rule {
            AppendRule::Free => Ok(()),
            AppendRule::Target { target, own } => match self.messages.get(target) {
                _ if self.deleted.contains(target) => Err(Appended::NoTarget),
                None => Err(Appended::NoTarget),
                Some(sender) if *own && *sender != item.sender => Err(Appended::Forbidden),
                Some(_) => Ok(()),
            },
            AppendRule::Change(change) => self.membership.change(&mut self.head, change),
        }
    }

    fn append(&mut self, of: &ConversationKey, item: &mut Item, time: u64, commit: &mut Commit) {
        let head = &mut self.head;
        head.seq += 1;
        head.time = head.time.max(time);
        head.lamport = head.lamport.max(item.lamport).saturating_add(1);
        let (seq, time) = (head.seq, head.time);
        let event = item.place(Place { seq, time, lamport: head.lamport });
        commit.set(&StoreKey::Event(*of, seq), |key| value::seal_event(key, event));
        self.know_message(event);

        let record = ClientRecord { seq, time, content: item.content };
        self.clients.insert((item.sender, item.id), record);
        commit.set_encoded(item.client_key.clone(), |key| record.seal(key));
        if seq % TIME_INDEX_STEP == 1 {
            commit.set(&StoreKey::Time(*of, time, seq), |key| value::seal_nothing(key));
        }
        if let (true, AppendRule::Target { target, .. }) = (item.deletes, &item.rule) {
            self.deleted.insert(*target);
            commit.set(&StoreKey::Deleted(*of, *target), |key| value::seal_number(key, seq));
        }
    }
}

/// An item whose client id is in the log already, or earlier in the batch.
fn settle_known(item: &mut Item, record: ClientRecord) {
    if item.content != record.content {
        item.settle(Appended::Conflict);
    } else if let Some(place) = item.doubted(record.seq, record.time) {
        // The commit whose answer was lost did happen: this request stored it, and nobody was told yet.
        item.place(place);
    } else {
        item.settle(Appended::Duplicate { seq: record.seq, time: record.time });
    }
}
