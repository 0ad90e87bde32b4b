//! Whatever is asked in whatever order, with retries, crashes and removals between, every engine answers as a plain
//! model of the promises does.

mod support;

use protocol::envelope::{Change, ConversationKind, Member};
use protocol::event::{ContentV1, Role};
use protocol::frame::Range;
use protocol::id::{ConversationKey, DeviceId, UserKey};
use storage::request::{AppendBatch, AppendItem, Appended, ConversationAppend, Mark, Outcome, Request};

use support::model::{Answer, Asked, Log, Model, What};
use support::*;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const CONVERSATIONS: [&str; 4] = ["a", "aa", "b", "direct"];
const ROLES: [Role; 4] = [Role::Reader, Role::Member, Role::Moderator, Role::Owner];

struct Run {
    store: Store,
    model: Model,
    chance: Chance,
    time: u64,
}

impl Run {
    fn user(&mut self) -> &'static str {
        USERS[self.chance.below(4) as usize]
    }

    fn key(&mut self) -> ConversationKey {
        conversation(CONVERSATIONS[self.chance.below(4) as usize])
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=9 => self.append(),
            10 | 11 => self.create(),
            12 => self.mark(),
            13 | 14 => self.page(),
            15 => self.load(),
            16 => self.members(),
            17 => self.chat_list(),
            18 if self.chance.once_in(4) => self.remove(),
            18 => {}
            _ => self.store.reopen(),
        }
    }

    fn create(&mut self) {
        let of = self.key();
        let kind =
            if of == conversation("direct") { ConversationKind::Direct } else { ConversationKind::Group };
        let count = if kind == ConversationKind::Direct { 2 } else { self.chance.below(4) as usize };
        let members: Box<[Member]> = USERS[..count]
            .iter()
            .map(|user| Member { user: user_id(user), role: ROLES[self.chance.below(4) as usize] })
            .collect();
        let created = !self.model.logs.contains_key(&of);
        let log = self.model.logs.entry(of).or_insert_with(|| Log::new(kind, 1_000, &members));
        match self.store.run(create_request(of, kind, members)) {
            Outcome::Created { conversation, created: found } => {
                assert_eq!(found, created);
                assert_eq!(conversation.head, log.events.len() as u64);
                assert_eq!(conversation.members, log.members.len() as u64);
                assert_eq!(conversation.title, log.title);
            }
            other => panic!("{other:?}"),
        }
    }

    /// An item that often names what was stored before: a retry, a conflict, a target.
    fn item(&mut self, of: ConversationKey) -> (Asked, AppendItem) {
        let head = self.model.logs.get(&of).map_or(0, |log| log.events.len() as u64);
        let (sender, id) = (self.user(), format!("m{}", self.chance.below(40)));
        let body = format!("body {}", self.chance.below(2));
        let target = self.chance.below(head + 3);
        let own = self.chance.once_in(2);
        let user = user_id(self.user());
        let role = ROLES[self.chance.below(4) as usize];
        let (what, said, mut item) = match self.chance.below(12) {
            0..=5 => (What::Message, format!("message {body}"), message(of, sender, &id, &body)),
            6 => {
                let item = about(of, sender, &id, ContentV1::Edit { target, body: &body }, own);
                (What::About { target, own, deletes: false }, format!("edit {target} {body}"), item)
            }
            7 => {
                let item = about(of, sender, &id, ContentV1::Delete { target }, own);
                (What::About { target, own, deletes: true }, format!("delete {target}"), item)
            }
            8 => {
                let content = ContentV1::Reaction { target, emoji: "+", remove: false };
                let item = about(of, sender, &id, content, false);
                (What::About { target, own: false, deletes: false }, format!("react {target}"), item)
            }
            number => {
                let wanted = match number {
                    9 => Change::Join { user, role },
                    10 if own => Change::Leave { user },
                    10 => Change::Role { user, role },
                    _ => Change::Title { title: own.then(|| body.as_str().into()) },
                };
                (What::Change(wanted.clone()), format!("{wanted:?}"), change(of, sender, &id, wanted))
            }
        };
        item.lamport = 0;
        (Asked { sender: user_id(sender), id, said, what }, item)
    }

    fn append(&mut self) {
        let mut keys: Vec<ConversationKey> = CONVERSATIONS.iter().map(|id| conversation(id)).collect();
        keys.retain(|_| self.chance.once_in(2));
        self.time = (self.time + self.chance.below(50)).saturating_sub(self.chance.below(20));
        let mut asked = Vec::new();
        let mut conversations = Vec::new();
        for of in keys {
            let count = 1 + self.chance.below(8);
            let (these, items) = (0..count).map(|_| self.item(of)).unzip::<_, _, Vec<_>, Vec<_>>();
            asked.push((of, these));
            conversations.push(ConversationAppend { conversation: of, items });
        }
        let request = Request::Append(AppendBatch { epoch: EPOCH, time: self.time, conversations });
        let Outcome::Appended(outcomes) = self.store.run(request) else { panic!("an append is answered") };
        assert_eq!(outcomes.len(), asked.len());
        for ((of, these), outcomes) in asked.iter().zip(outcomes) {
            assert_eq!(outcomes.len(), these.len());
            for (asked, outcome) in these.iter().zip(outcomes) {
                let expected = match self.model.logs.get_mut(of) {
                    None => Answer::Other(Appended::NoConversation),
                    Some(log) => log.append(asked, self.time),
                };
                let found = match outcome {
                    Appended::Stored(event) => {
                        let time = event.view().time.to_native();
                        assert_eq!(event.view().lamport.to_native(), self.model.logs[of].lamport);
                        Answer::Stored { seq: event.seq(), time }
                    }
                    other => Answer::Other(other),
                };
                assert_eq!(found, expected, "{asked:?} in {of:?}");
            }
        }
    }

    fn page(&mut self) {
        let of = self.key();
        let head = self.model.logs.get(&of).map_or(0, |log| log.events.len() as u64);
        let seq = self.chance.below(head + 3);
        let range = match self.chance.below(5) {
            0 => Range::Newest,
            1 => Range::Before(seq),
            2 => Range::After(seq),
            3 => Range::Around(seq),
            _ => Range::Since(990 + self.chance.below(self.time + 30)),
        };
        let limit = 1 + self.chance.below(12);
        let (expected, expected_more) =
            self.model.logs.get(&of).map_or((Vec::new(), false), |log| log.page(range, limit));
        match self.store.run(page_request(of, range, limit as u16)) {
            Outcome::Page { events, head: found_head, more, trimmed } => {
                let seqs: Vec<u64> = events.iter().map(protocol::event::Event::seq).collect();
                assert_eq!(seqs, expected, "{range:?} limit {limit} head {head}");
                assert_eq!((found_head, more, trimmed), (head, expected_more, None), "{range:?} {limit}");
                for event in events {
                    let stored = &self.model.logs[&of].events[event.seq() as usize - 1];
                    assert_eq!(*event.view().id, *stored.id);
                    assert_eq!(event.view().time.to_native(), stored.time);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn mark(&mut self) {
        let mut marks = Vec::new();
        for _ in 0..1 + self.chance.below(5) {
            let (of, user) = (self.key(), user_id(self.user()));
            let seq = self.chance.below(60);
            let device = DeviceId::parse("phone").unwrap();
            let received = self.chance.once_in(2).then_some(seq);
            marks.push(Mark { conversation: of, user, device, received, read: Some(seq) });
            if let Some(log) = self.model.logs.get_mut(&of)
                && log.members.contains_key(&user)
            {
                let seq = seq.min(log.events.len() as u64);
                let read = log.read.entry(user).or_insert(0);
                *read = seq.max(*read);
            }
        }
        assert!(matches!(self.store.run(Request::Mark { marks: marks.into() }), Outcome::Marked));
    }

    fn load(&mut self) {
        let of = self.key();
        let users = USERS.iter().map(|user| user_id(user)).collect();
        let Outcome::Loaded { conversation, members } =
            self.store.run(Request::Load { conversation: of, users })
        else {
            panic!("a load is answered")
        };
        let log = self.model.logs.get(&of);
        assert_eq!(conversation.is_some(), log.is_some());
        for member in members {
            let role = log.and_then(|log| log.members.get(&member.user).copied());
            let read = log.and_then(|log| log.read.get(&member.user).copied()).unwrap_or(0);
            assert_eq!((member.role, member.read), (role, read), "{:?}", member.user);
        }
        if let (Some(conversation), Some(log)) = (conversation, log) {
            assert_eq!(conversation.head, log.events.len() as u64);
            assert_eq!(conversation.members, log.members.len() as u64);
            assert_eq!((conversation.lamport, &conversation.title), (log.lamport, &log.title));
        }
    }

    fn members(&mut self) {
        let of = self.key();
        let after = self.chance.once_in(2).then(|| user_id(self.user()));
        let limit = 1 + self.chance.below(4) as u16;
        let all = self.model.logs.get(&of).map(|log| log.members.clone()).unwrap_or_default();
        let rest: Vec<Member> = all
            .into_iter()
            .filter(|(user, _)| after.is_none_or(|after| *user > after))
            .map(|(user, role)| Member { user, role })
            .collect();
        match self.store.run(Request::Members { conversation: of, after, limit }) {
            Outcome::Members { members, more } => {
                assert_eq!(members, rest[..rest.len().min(usize::from(limit))]);
                assert_eq!(more, rest.len() > usize::from(limit));
            }
            other => panic!("{other:?}"),
        }
    }

    fn chat_list(&mut self) {
        let user = user_key(self.user());
        let expected = self.model.chat_list(user.user);
        let limit = 1 + self.chance.below(4) as u16;
        let mut found = Vec::new();
        let mut after = None;
        loop {
            match self.store.run(Request::Conversations { user, after, limit }) {
                Outcome::Conversations { entries, more } => {
                    assert!(entries.len() <= usize::from(limit));
                    assert!(!more || entries.len() == usize::from(limit));
                    after = entries.last().map(|entry| (entry.lamport, entry.conversation));
                    found.extend(entries);
                    if !more {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found, expected);
    }

    fn remove(&mut self) {
        let of = self.key();
        let log = self.model.logs.remove(&of);
        match self.store.run(Request::Remove { epoch: EPOCH, conversation: of }) {
            Outcome::Removed { existed, members } => {
                assert_eq!(existed, log.is_some());
                let expected: Vec<_> = log.map(|log| log.members.into_keys().collect()).unwrap_or_default();
                assert_eq!(members, expected);
            }
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self) {
        let report = self.store.verify();
        let logs = self.model.logs.values();
        assert_eq!(report.conversations, self.model.logs.len() as u64);
        assert_eq!(report.events, logs.clone().map(|log| log.events.len() as u64).sum::<u64>());
        assert_eq!(report.members, logs.map(|log| log.members.len() as u64).sum::<u64>());
        for of in CONVERSATIONS.map(conversation) {
            let ids: Vec<String> =
                self.store.log(of).iter().map(|event| event.view().id.to_string()).collect();
            let expected = self.model.logs.get(&of).map_or(Vec::new(), |log| {
                log.events.iter().map(|event| event.id.clone()).collect::<Vec<_>>()
            });
            assert_eq!(ids, expected);
        }
    }
}

fn run_history(store: Store, seed: u64, steps: u32) {
    let mut run = Run { store, model: Model::default(), chance: Chance(seed), time: 1_000 };
    for _ in 0..steps {
        run.step();
    }
    run.finish();
}

#[test]
fn memory_answers_as_the_model_does() {
    with_seeds(100, |seed| run_history(Store::memory(), seed, 200));
}

#[test]
fn the_embedded_engine_answers_as_the_model_does() {
    with_seeds(8, |seed| run_history(Store::embedded(), seed, 300));
}

#[test]
fn foundationdb_answers_as_the_model_does() {
    with_seeds(3, |seed| {
        if let Some(store) = Store::foundationdb() {
            run_history(store, seed, 150);
        }
    });
}

#[test]
fn one_tenant_never_sees_anothers() {
    for mut store in Store::each() {
        let mine = conversation("shared-name");
        let theirs = ConversationKey { tenant: protocol::id::Tenant::parse("other").unwrap(), ..mine };
        store.create(mine, ConversationKind::Group, &[("alice", Role::Owner)]);
        store.append(mine, vec![message(mine, "alice", "1", "secret")]);
        assert_eq!(
            store.append(theirs, vec![message(theirs, "alice", "2", "x")]),
            [Appended::NoConversation]
        );
        let their_alice = UserKey { tenant: theirs.tenant, user: user_id("alice") };
        let list = store.run(Request::Conversations { user: their_alice, after: None, limit: 10 });
        assert!(matches!(list, Outcome::Conversations { entries, more: false } if entries.is_empty()));
        store.create(theirs, ConversationKind::Group, &[]);
        assert_eq!(stored(&store.append(theirs, vec![message(theirs, "alice", "1", "other")])), [1]);
        assert!(matches!(
            store.run(Request::Remove { epoch: EPOCH, conversation: theirs }),
            Outcome::Removed { existed: true, .. }
        ));
        assert_eq!(store.log(mine).len(), 1);
        store.verify();
    }
}
