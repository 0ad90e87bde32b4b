//! Creating conversations: idempotent by their id. What one transaction can't hold of the members follows as joins, and
//! the answer waits for the last of them; a retry goes on where a failure ended it.

use core::hash::Hasher;

use protocol::envelope::{
    Actor, Authority, Caller, Change, Conversation, ConversationKind, Member, ToGateway,
};
use protocol::error::{ErrorCode, Refusal};
use protocol::event::Role;
use protocol::id::{ClientId, UserId, UserKey};
use siphasher::sip128::{Hasher128, SipHasher13};
use storage::request::{AppendRule, Failure, Outcome, Request};

use crate::Operation;
use crate::appends::{Origin, Queued};
use crate::change::{check_title, event_of};
use crate::conversation::{Meta, Place, Standing, Work};
use crate::limits::{APPENDS_SOFT, CREATE_MEMBERS_A_TRANSACTION, CREATE_MEMBERS_MAX};
use crate::members::Known;
use crate::refusal::{BUSY, NOT_FOUND, TAKEN, bad_request};
use crate::roles::creatable;
use crate::shard::RouterShard;
use crate::store::Pending;

/// A creation under way.
#[derive(Debug)]
pub(crate) struct Creation {
    /// Who asks.
    pub(crate) caller: Caller,
    actor: Actor,
    kind: ConversationKind,
    title: Option<Box<str>>,
    members: Vec<Member>,
    /// True when the conversation was not there before.
    created: bool,
    /// Joins that are not in the log yet; `None` while the store has yet to create the conversation.
    joins: Option<usize>,
    /// Why one of them is not.
    refused: Option<Refusal>,
}

impl Creation {
    /// The members that the conversation begins with.
    pub(crate) fn first(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().take(CREATE_MEMBERS_A_TRANSACTION)
    }

    /// Joins that it has yet to append.
    pub(crate) fn reserved(&self) -> usize {
        if self.joins.is_some() { 0 } else { self.members.len().saturating_sub(CREATE_MEMBERS_A_TRANSACTION) }
    }
}

impl RouterShard {
    /// Creates a conversation, or shows the one that has the id already.
    pub(crate) fn create(
        &mut self,
        place: Place,
        caller: Caller,
        actor: Actor,
        kind: ConversationKind,
        title: Option<Box<str>>,
        members: Vec<Member>,
    ) {
        let members = match self.check_create(place, &actor, kind, title.as_deref(), members) {
            Ok(members) => members,
            Err(refusal) => return self.refuse_caller(caller, None, refusal),
        };
        let creation =
            Creation { caller, actor, kind, title, members, created: false, joins: None, refused: None };
        match self.conversations[place].standing {
            Standing::Present(_) => self.create_again(place, creation),
            Standing::Absent | Standing::Unknown => {
                self.conversations[place].work = Work::Create;
                self.founding += creation.reserved();
                self.creations.insert(place, creation);
                self.creates.push_back(place);
            }
        }
    }

    /// The members as they are to be stored: each once, the creator as owner; those of a direct conversation as members.
    fn check_create(
        &self,
        place: Place,
        actor: &Actor,
        kind: ConversationKind,
        title: Option<&str>,
        mut members: Vec<Member>,
    ) -> Result<Vec<Member>, Refusal> {
        let mut seen = std::collections::BTreeSet::new();
        members.retain(|member| seen.insert(member.user));
        creatable(self.conversations[place].key().conversation.as_str(), kind, members.len())?;
        check_title(title)?;
        if members.len() > CREATE_MEMBERS_MAX {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                "a conversation is created with at most 10,000 members",
            ));
        }
        if actor.authority == Authority::User && !seen.contains(&actor.key.user) {
            return Err(bad_request("whoever creates a conversation is one of its members"));
        }
        for member in &mut members {
            if kind == ConversationKind::Direct {
                member.role = Role::Member;
            } else if actor.authority == Authority::User && member.user == actor.key.user {
                member.role = Role::Owner;
            }
        }
        let full =
            self.announcements.is_full() || self.appends + self.founding + members.len() > APPENDS_SOFT;
        if full { Err(BUSY) } else { Ok(members) }
    }

    /// The id is in use: that is fine for whoever may see it, if it is that sort of conversation.
    fn create_again(&mut self, place: Place, creation: Creation) {
        let Creation { caller, actor, kind, .. } = creation;
        let access = self.access(place, &actor);
        let same = self.conversations[place].meta().is_some_and(|meta| meta.kind == kind);
        if access.read().is_err() || !same {
            return self.refuse_caller(caller, None, TAKEN);
        }
        let owns = access.remove().is_ok();
        self.founding += creation.reserved();
        self.creations.insert(place, creation);
        self.conversations[place].work = Work::Create;
        if owns {
            // A creation whose result was lost told nobody. Who was told, or left since, loses nothing by hearing it again:
            // its gateway asks before it attaches.
            self.announce_first(place, 0);
            self.join_rest(place);
        } else {
            self.answer_create(place);
        }
    }

    /// Sends the creations that wait, as many as the store may have under way.
    pub(crate) fn flush_creates(&mut self) {
        while self.store.has_room()
            && let Some(place) = self.creates.pop_front()
        {
            let key = self.conversations[place].key();
            let Creation { kind, title, members, .. } = &self.creations[&place];
            let first = &members[..members.len().min(CREATE_MEMBERS_A_TRANSACTION)];
            let conversation = Conversation {
                key,
                kind: *kind,
                title: title.clone(),
                created: self.now.unix_ms,
                head: 0,
                // Larger than any of an earlier life: no chat list of that one is taken for one of this.
                lamport: self.lamport.floor(self.now.unix_ms),
                members: members.len() as u64,
            };
            let request = Request::Create { epoch: self.table.epoch, conversation, members: first.into() };
            let id = self.store.begin(Pending::Create(place));
            self.outgoing.push(Operation::Store(id, request));
        }
    }

    /// The store has created a conversation, or not.
    pub(crate) fn create_outcome(&mut self, place: Place, outcome: Outcome) {
        match outcome {
            Outcome::Created { conversation, created: true } => {
                self.begin_life(place, conversation);
                self.join_rest(place);
            }
            Outcome::Created { created: false, .. } => self.create_from_anew(place),
            Outcome::Failed(failure) => self.fail_create(place, &failure),
            other => unreachable!("a creation is answered as one, not by {other:?}"),
        }
    }

    fn begin_life(&mut self, place: Place, created: Conversation) {
        let creation = self.creations.get_mut(&place).expect("its creation is under way");
        creation.created = true;
        let first: Vec<Member> = creation.first().copied().collect();
        let conversation = &mut self.conversations[place];
        conversation.head = created.head;
        conversation.lamport = created.lamport;
        conversation.standing = Standing::Present(Meta::of(created));
        let (key, head) = (conversation.key(), conversation.head);
        for member in &first {
            let user = self.keys.user(&UserKey { tenant: key.tenant, user: member.user });
            self.conversations.make_room_for_members(place);
            let known = Known { role: Some(member.role), read: 0, received: 0 };
            self.conversations.learn(place, user, known);
        }
        self.announce_first(place, head);
    }

    /// Tells the members of the first transaction that they are.
    fn announce_first(&mut self, place: Place, after: u64) {
        let users = self.creations[&place].first().map(|member| member.user).collect();
        self.announcements.add(self.conversations[place].key(), users, true, after);
    }

    /// Adds the members that one transaction could not. Those who are members already change nothing.
    fn join_rest(&mut self, place: Place) {
        let creation = self.creations.get_mut(&place).expect("its creation is under way");
        let rest: Vec<Member> = creation.members.iter().skip(CREATE_MEMBERS_A_TRANSACTION).copied().collect();
        let actor = creation.actor.key;
        self.founding -= creation.reserved();
        creation.joins = Some(rest.len());
        if rest.is_empty() {
            return self.answer_create(place);
        }
        let key = self.conversations[place].key();
        for Member { user, role } in rest {
            let id = founding_id(&user);
            let change = Change::Join { user, role };
            let draft = event_of(&key, actor.user.as_str(), &id, &change).expect("four ids fit an event");
            let (origin, authority) = (Origin::Founding, Authority::Server);
            let rule = AppendRule::Change(change);
            self.enqueue(place, Queued { origin, actor, authority, id, draft, lamport: 0, rule });
        }
    }

    /// One of the further joins came to its end.
    pub(crate) fn founded(&mut self, place: Place, refused: Option<Refusal>) {
        let creation = self.creations.get_mut(&place).expect("joins of a creation end before it does");
        // Who joined and left since, or joined with another role, stays as it is.
        let failed =
            refused.filter(|refusal| matches!(refusal.code, ErrorCode::Unavailable | ErrorCode::NotFound));
        creation.refused = creation.refused.or(failed);
        creation.joins = creation.joins.map(|joins| joins - 1);
    }

    /// Answers a creation whose last join is in the log. To be called when a batch of the conversation has ended.
    pub(crate) fn finish_create(&mut self, place: Place) {
        if self.creations.get(&place).is_some_and(|creation| creation.joins == Some(0)) {
            self.answer_create(place);
        }
    }

    fn answer_create(&mut self, place: Place) {
        let Creation { caller, created, refused, .. } = self.end_creation(place);
        self.conversations[place].work = Work::None;
        let result = match refused {
            Some(refusal) => Err(refusal),
            None => self.conversations[place].show().ok_or(NOT_FOUND),
        };
        match result {
            Ok(conversation) => {
                let answer = ToGateway::Created { caller, conversation, created };
                self.outgoing.answer(caller.gateway, answer);
            }
            Err(refusal) => self.refuse_caller(caller, None, refusal),
        }
        self.touched.push(place);
    }

    /// Takes a creation out.
    pub(crate) fn end_creation(&mut self, place: Place) -> Creation {
        let creation = self.creations.remove(&place).expect("its creation is under way");
        self.founding -= creation.reserved();
        creation
    }

    /// It was there although a load had said that it was not: an earlier attempt got through. The load is made again.
    fn create_from_anew(&mut self, place: Place) {
        let Creation { caller, actor, kind, title, members, .. } = self.end_creation(place);
        let conversation = &mut self.conversations[place];
        conversation.standing = Standing::Unknown;
        conversation.work = Work::None;
        let request = protocol::envelope::ToRouter::Create {
            caller,
            actor,
            conversation: conversation.key(),
            kind,
            title,
            members: members.into(),
        };
        conversation.waiting.push_front(crate::conversation::Waiting::Request(Box::new(request)));
        self.waiting += 1;
        self.advance(place);
    }

    fn fail_create(&mut self, place: Place, failure: &Failure) {
        self.conversations[place].standing = Standing::Unknown;
        if *failure == Failure::Fenced && self.has_peers() {
            self.misplace_creation(place);
        } else {
            let Creation { caller, .. } = self.end_creation(place);
            self.conversations[place].work = Work::None;
            self.refuse_caller(caller, None, crate::refusal::of_failure(failure));
        }
        self.advance(place);
    }
}

/// The client id of a further member's join: the same in each retry, on every node.
fn founding_id(user: &UserId) -> ClientId {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(user.as_str().as_bytes());
    let text = format!("founding:{:032x}", hasher.finish128().as_u128());
    ClientId::parse(text).expect("41 bytes of the alphabet")
}
