//! The owner of every conversation and user: what a router shard answers, without a store and without rules.

use std::collections::{BTreeMap, HashSet, VecDeque};

use protocol::envelope::{AttachedItem, AttachedState, Authority, Caller, RouterId, ToGateway, ToRouter};
use protocol::error::Refusal;
use protocol::event::{ContentV1, Draft, Event, EventV1, Role};
use protocol::frame::{ChatListEntry, Range};
use protocol::id::{ConversationId, ConversationKey, Tenant, UserId};

use crate::world::START_UNIX_MS;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) members: HashSet<UserId>,
    /// Some gateway shard wants the events.
    pub(crate) interest: bool,
    /// Events in the store that this owner does not know of: it was deposed.
    pub(crate) newer: u64,
}

#[derive(Default)]
pub(crate) struct Owner {
    pub(crate) logs: BTreeMap<(Tenant, ConversationId), Log>,
    pub(crate) answers: VecDeque<ToGateway>,
    /// Everything that was asked, for tests to look at.
    pub(crate) unanswered: Vec<(RouterId, ToRouter)>,
    /// Answer nothing: tests do.
    pub(crate) silent: bool,
    /// Refuse what has an answer.
    pub(crate) away: Option<Refusal>,
    /// Publish nothing, as if every mailbox were full.
    pub(crate) mute: bool,
    /// In a cluster: who has what.
    pub(crate) fleet: Option<crate::fleet::Fleet>,
}

pub(crate) fn key(conversation: &str) -> ConversationKey {
    ConversationKey {
        tenant: Tenant::default_tenant(),
        conversation: ConversationId::parse(conversation).unwrap(),
    }
}

pub(crate) fn draft(conversation: &str, sender: &str, id: &str, content: ContentV1<'_>) -> Draft {
    Draft::encode(&EventV1 { seq: 0, time: 0, lamport: 0, conversation, sender, device: "d", id, content })
        .unwrap()
}

pub(crate) fn message(body: &str) -> ContentV1<'_> {
    ContentV1::Message { kind: "text", body, meta: None, reply_to: None }
}

impl Owner {
    pub(crate) fn log(&mut self, conversation: &str) -> &mut Log {
        let key = key(conversation);
        self.logs.entry((key.tenant, key.conversation)).or_default()
    }

    pub(crate) fn conversation(&mut self, conversation: &str, members: &[&str]) {
        self.log(conversation).members = members.iter().map(|user| UserId::parse(user).unwrap()).collect();
    }

    /// Appends a message of somebody, and publishes it where somebody wants it.
    pub(crate) fn append(&mut self, conversation: &str, sender: &str, body: &str) {
        let draft = draft(conversation, sender, &format!("{body:.8}-x").replace(' ', "_"), message(body));
        self.append_draft(conversation, draft);
    }

    pub(crate) fn append_draft(&mut self, conversation: &str, draft: Draft) -> u64 {
        let mute = self.mute;
        let log = self.log(conversation);
        let seq = log.events.len() as u64 + 1;
        let event = draft.seal(seq, START_UNIX_MS, seq);
        log.events.push(event.clone());
        if log.interest && !mute {
            self.answers
                .push_back(ToGateway::Publish { conversation: key(conversation), events: [event].into() });
        }
        seq
    }

    /// Keeps what was asked, and answers it.
    pub(crate) fn take(&mut self, router: RouterId, envelope: ToRouter) {
        if self.fleet.is_some() {
            self.take_in_fleet(router, envelope);
            return;
        }
        self.take_one(&envelope);
        self.unanswered.push((router, envelope));
    }

    pub(crate) fn take_one(&mut self, envelope: &ToRouter) {
        if !self.silent {
            match (self.away, caller(envelope)) {
                (Some(refusal), Some(caller)) => self.refuse(envelope, caller, refusal),
                _ => self.answer(envelope),
            }
        }
    }

    fn refuse(&mut self, envelope: &ToRouter, caller: Caller, refusal: Refusal) {
        self.answers.push_back(match envelope {
            ToRouter::Attach { actor, items, .. } => ToGateway::Attached {
                caller,
                tenant: actor.key.tenant,
                items: items
                    .iter()
                    .map(|item| AttachedItem { conversation: item.conversation, state: None })
                    .collect(),
                refused: Some(refusal),
            },
            ToRouter::Backlog { conversation, after, .. } => ToGateway::Backlog {
                caller,
                conversation: *conversation,
                after: *after,
                events: [].into(),
                head: 0,
                refused: Some(refusal),
            },
            ToRouter::Append { draft, .. } | ToRouter::Signal { draft, .. } => {
                let id = protocol::id::ClientId::parse(&*draft.view().id).ok();
                ToGateway::Refused { caller, id, refusal }
            }
            _ => ToGateway::Refused { caller, id: None, refusal },
        });
    }

    fn answer(&mut self, envelope: &ToRouter) {
        match envelope {
            ToRouter::SessionOpen { caller, user, .. } => {
                let list = self
                    .logs
                    .iter()
                    .filter(|((tenant, _), log)| *tenant == user.tenant && log.members.contains(&user.user));
                let conversations = list
                    .map(|((_, conversation), log)| ChatListEntry {
                        conversation: *conversation,
                        head: log.events.len() as u64 + log.newer,
                        read: 0,
                        role: Role::Member,
                        lamport: 0,
                    })
                    .collect();
                self.answers.push_back(ToGateway::SessionOpened {
                    caller: *caller,
                    conversations,
                    more: false,
                });
            }
            ToRouter::Attach { caller, actor, items } => {
                let mut answered = Vec::new();
                for item in items {
                    let log = self.logs.get_mut(&(actor.key.tenant, item.conversation));
                    let log = log.filter(|log| {
                        actor.authority == Authority::Server || log.members.contains(&actor.key.user)
                    });
                    let state = log.map(|log| {
                        log.interest = true;
                        AttachedState { head: log.events.len() as u64, read: 0, role: Role::Member }
                    });
                    answered.push(AttachedItem { conversation: item.conversation, state });
                }
                self.answers.push_back(ToGateway::Attached {
                    caller: *caller,
                    tenant: actor.key.tenant,
                    items: answered.into(),
                    refused: None,
                });
            }
            ToRouter::Detach { conversation, .. } => {
                if let Some(log) = self.logs.get_mut(&(conversation.tenant, conversation.conversation)) {
                    log.interest = false;
                }
            }
            ToRouter::Append { caller, conversation, draft, .. } => {
                self.answer_append(*caller, conversation, draft)
            }
            _ => self.answer_read(envelope),
        }
    }

    fn answer_append(&mut self, caller: Caller, conversation: &ConversationKey, given: &Draft) {
        let view = given.view();
        let copy = EventV1 {
            seq: 0,
            time: 0,
            lamport: 0,
            conversation: &view.conversation,
            sender: &view.sender,
            device: &view.device,
            id: &view.id,
            content: content(given),
        };
        let id = protocol::id::ClientId::parse(&*view.id).unwrap();
        if let Some(first) = self.stored(conversation, &id) {
            self.answers.push_back(ToGateway::Appended {
                caller,
                conversation: *conversation,
                id,
                seq: first,
                time: START_UNIX_MS,
                duplicate: true,
            });
            return;
        }
        let at = self.answers.len();
        let name = conversation.conversation;
        let seq = self.append_draft(name.as_str(), Draft::encode(&copy).unwrap());
        let ack = ToGateway::Appended {
            caller,
            conversation: *conversation,
            id,
            seq,
            time: START_UNIX_MS,
            duplicate: false,
        };
        self.answers.insert(at, ack);
    }

    /// Seq of the event with this client id, in a cluster, where appends are asked twice.
    fn stored(&self, conversation: &ConversationKey, id: &protocol::id::ClientId) -> Option<u64> {
        self.fleet.as_ref()?;
        let log = self.logs.get(&(conversation.tenant, conversation.conversation))?;
        let first = log.events.iter().find(|event| *event.view().id == *id.as_str());
        first.map(protocol::event::Event::seq)
    }

    fn answer_read(&mut self, envelope: &ToRouter) {
        match envelope {
            ToRouter::History { caller, conversation, range, limit, .. } => {
                let log = &self.logs[&(conversation.tenant, conversation.conversation)];
                let head = log.events.len() as u64;
                let after = match range {
                    Range::After(seq) => (*seq).min(head) as usize,
                    _ => (head as usize).saturating_sub(usize::from(*limit)),
                };
                let end = log.events.len().min(after + usize::from(*limit));
                self.answers.push_back(ToGateway::Page {
                    caller: *caller,
                    conversation: *conversation,
                    events: log.events[after..end].into(),
                    head,
                    more: end < log.events.len(),
                    trimmed: None,
                });
            }
            ToRouter::Backlog { caller, conversation, after, limit } => {
                let log = &self.logs[&(conversation.tenant, conversation.conversation)];
                let end = log.events.len().min(*after as usize + usize::from(*limit));
                self.answers.push_back(ToGateway::Backlog {
                    caller: *caller,
                    conversation: *conversation,
                    after: *after,
                    events: log.events[*after as usize..end].into(),
                    head: log.events.len() as u64,
                    refused: None,
                });
            }
            ToRouter::PresenceOf { caller, user } => {
                let (caller, user) = (*caller, *user);
                self.answers.push_back(ToGateway::PresenceOf { caller, user, online: true, last_seen: None });
            }
            _ => {}
        }
    }
}

fn content(draft: &Draft) -> ContentV1<'_> {
    use protocol::event::ArchivedContentV1 as Archived;
    match &draft.view().content {
        Archived::Message { kind, body, meta, reply_to } => ContentV1::Message {
            kind,
            body,
            meta: meta.as_deref(),
            reply_to: reply_to.as_ref().map(|seq| seq.to_native()),
        },
        Archived::Edit { target, body } => ContentV1::Edit { target: target.to_native(), body },
        Archived::Delete { target } => ContentV1::Delete { target: target.to_native() },
        Archived::Reaction { target, emoji, remove } => {
            ContentV1::Reaction { target: target.to_native(), emoji, remove: *remove }
        }
        _ => panic!("a client sent a membership event"),
    }
}

fn caller(envelope: &ToRouter) -> Option<Caller> {
    match envelope {
        ToRouter::SessionOpen { caller, .. }
        | ToRouter::Attach { caller, .. }
        | ToRouter::Append { caller, .. }
        | ToRouter::Signal { caller, .. }
        | ToRouter::History { caller, .. }
        | ToRouter::Backlog { caller, .. }
        | ToRouter::Conversations { caller, .. } => Some(*caller),
        _ => None,
    }
}
