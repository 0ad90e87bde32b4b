//! What a store must answer, kept in plain maps: written from the promises of `request.rs`, without keys or transactions.

use std::collections::{BTreeMap, BTreeSet};

use protocol::envelope::{Change, ConversationKind, Member};
use protocol::event::Role;
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationKey, UserId};
use storage::request::Appended;

/// What was asked of an append, in the words of the model.
#[derive(Clone, Debug)]
pub struct Asked {
    pub sender: UserId,
    pub id: String,
    /// What the client said: equal for a retry.
    pub said: String,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Message,
    About { target: u64, own: bool, deletes: bool },
    Change(Change),
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub sender: UserId,
    pub id: String,
    pub said: String,
    pub time: u64,
    pub is_message: bool,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub kind: ConversationKind,
    pub title: Option<Box<str>>,
    pub events: Vec<Stored>,
    pub time: u64,
    pub lamport: u64,
    pub deleted: BTreeSet<u64>,
    pub members: BTreeMap<UserId, Role>,
    pub read: BTreeMap<UserId, u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub logs: BTreeMap<ConversationKey, Log>,
}

/// What an append must answer.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Stored { seq: u64, time: u64 },
    Other(Appended),
}

impl Log {
    pub fn new(kind: ConversationKind, created: u64, members: &[Member]) -> Self {
        Self {
            kind,
            title: None,
            events: Vec::new(),
            time: created,
            lamport: created,
            deleted: BTreeSet::new(),
            members: members.iter().map(|member| (member.user, member.role)).collect(),
            read: BTreeMap::new(),
        }
    }

    pub fn append(&mut self, asked: &Asked, time: u64) -> Answer {
        let known = self.events.iter().position(|event| event.sender == asked.sender && event.id == asked.id);
        if let Some(index) = known {
            let event = &self.events[index];
            let duplicate = Appended::Duplicate { seq: index as u64 + 1, time: event.time };
            return Answer::Other(if event.said == asked.said { duplicate } else { Appended::Conflict });
        }
        if let Err(refused) = self.allow(asked) {
            return Answer::Other(refused);
        }
        self.time = self.time.max(time);
        self.lamport += 1;
        let is_message = matches!(asked.what, What::Message);
        let Asked { sender, id, said, .. } = asked.clone();
        self.events.push(Stored { sender, id, said, time: self.time, is_message });
        if let What::About { target, deletes: true, .. } = asked.what {
            self.deleted.insert(target);
        }
        Answer::Stored { seq: self.events.len() as u64, time: self.time }
    }

    fn allow(&mut self, asked: &Asked) -> Result<(), Appended> {
        match &asked.what {
            What::Message => Ok(()),
            What::About { target, own, .. } => {
                let message = (*target as usize).checked_sub(1).and_then(|index| self.events.get(index));
                match message.filter(|event| event.is_message && !self.deleted.contains(target)) {
                    None => Err(Appended::NoTarget),
                    Some(event) if *own && event.sender != asked.sender => Err(Appended::Forbidden),
                    Some(_) => Ok(()),
                }
            }
            What::Change(change) => self.change(change),
        }
    }

    fn owners(&self) -> usize {
        self.members.values().filter(|role| **role == Role::Owner).count()
    }

    fn change(&mut self, change: &Change) -> Result<(), Appended> {
        let direct = self.kind == ConversationKind::Direct;
        let never = Err(Appended::Refused("the members of a direct conversation never change"));
        match change {
            Change::Join { user, role } => {
                if self.members.contains_key(user) {
                    return Err(Appended::Unchanged);
                }
                if direct {
                    return never;
                }
                self.members.insert(*user, *role);
            }
            Change::Leave { user } => {
                let Some(role) = self.members.get(user) else { return Err(Appended::Unchanged) };
                if direct {
                    return never;
                }
                if *role == Role::Owner && self.owners() == 1 && self.members.len() > 1 {
                    return Err(Appended::Refused("the last owner can't leave while others are members"));
                }
                self.members.remove(user);
                self.read.remove(user);
            }
            Change::Role { user, role } => {
                let Some(old) = self.members.get(user).copied() else {
                    return Err(Appended::Refused("only a member has a role"));
                };
                if old == *role {
                    return Err(Appended::Unchanged);
                }
                if direct {
                    return never;
                }
                if old == Role::Owner && self.owners() == 1 {
                    return Err(Appended::Refused("the last owner keeps that role"));
                }
                self.members.insert(*user, *role);
            }
            Change::Title { title } => {
                if self.title == *title {
                    return Err(Appended::Unchanged);
                }
                self.title.clone_from(title);
            }
        }
        Ok(())
    }

    /// Seqs of a page without a bound of bytes, and whether there are more.
    pub fn page(&self, range: Range, limit: u64) -> (Vec<u64>, bool) {
        let head = self.events.len() as u64;
        let all = 1..=head;
        let newest = |last: u64| (last.saturating_sub(limit) + 1..=last).collect::<Vec<u64>>();
        match range {
            Range::Newest => (newest(head), head > limit),
            Range::Before(seq) => {
                let last = head.min(seq.saturating_sub(1));
                (newest(last), last > limit)
            }
            Range::After(seq) => {
                let page: Vec<u64> = all.filter(|one| *one > seq).take(limit as usize).collect();
                let more = page.last().is_some_and(|last| *last < head);
                (page, more)
            }
            Range::Since(time) => {
                let first = self.events.iter().position(|event| event.time >= time);
                match first {
                    None => (Vec::new(), false),
                    Some(first) => self.page(Range::After(first as u64), limit),
                }
            }
            Range::Around(seq) => {
                let center = seq.clamp(1, head.max(1));
                let first = center.saturating_sub(limit / 2).max(1);
                let last = head.min(first + limit - 1);
                let first = first.min((last + 1).saturating_sub(limit).max(1));
                let page: Vec<u64> = (first..=last).collect();
                (page, first > 1 && head > 0 || last < head)
            }
        }
    }
}

impl Model {
    pub fn chat_list(&self, user: UserId) -> Vec<ChatListEntry> {
        let mut entries: Vec<ChatListEntry> = Vec::new();
        for (of, log) in &self.logs {
            if let Some(role) = log.members.get(&user) {
                entries.push(ChatListEntry {
                    conversation: of.conversation,
                    head: log.events.len() as u64,
                    read: log.read.get(&user).copied().unwrap_or(0),
                    role: *role,
                    lamport: log.lamport,
                });
            }
        }
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.lamport), entry.conversation));
        entries
    }
}
