//! Attaching and detaching: which gateway shards get a conversation's events.
//!
//! Interest begins when the answer goes out, so that the head in it and the publishes behind it fit together.

use protocol::envelope::{
    Actor, AttachItem, AttachedItem, AttachedState, Authority, Caller, GatewayId, Listed, ToGateway,
};
use protocol::error::Refusal;
use protocol::event::Role;
use protocol::id::{ConversationKey, UserKey};

use crate::admission::NoPlace;
use crate::attaches::{Attach, Decision, Item};
use crate::conversation::{AttachNumber, Place, Waiting, Work};
use crate::limits::ATTACH_ITEMS_MAX;
use crate::members::Known;
use crate::refusal::{BUSY, LAPSED, bad_request};
use crate::shard::RouterShard;

impl RouterShard {
    /// A session wants the events of some conversations.
    pub(crate) fn attach(&mut self, caller: Caller, actor: Actor, items: &[AttachItem]) {
        if items.is_empty() || items.len() > ATTACH_ITEMS_MAX {
            let refused = Some(bad_request("an attach names 1 to 4,096 conversations"));
            return self.answer_attach(caller, &actor.key, without_states(items), refused);
        }
        if self.lapsed {
            self.count_refusal(&LAPSED);
            return self.answer_attach(caller, &actor.key, without_states(items), Some(LAPSED));
        }
        let Some(number) = self.attaches.begin(caller, actor.key, actor.authority, items) else {
            self.count_refusal(&BUSY);
            return self.answer_attach(caller, &actor.key, without_states(items), Some(BUSY));
        };
        let user = (actor.authority == Authority::User).then_some(actor.key);
        for (item, AttachItem { conversation, listed }) in items.iter().enumerate() {
            let key = ConversationKey { tenant: actor.key.tenant, conversation: *conversation };
            self.attach_one(number, item, &key, user, *listed);
        }
    }

    fn attach_one(
        &mut self,
        number: AttachNumber,
        item: usize,
        key: &ConversationKey,
        user: Option<UserKey>,
        listed: Option<Listed>,
    ) {
        if self.attaches.get_mut(number).misplaced {
            return self.attach_close(number, item, Decision::Stranger);
        }
        let place = match self.open(key) {
            Ok(place) => place,
            Err(NoPlace::Full) => return self.attach_refuse(number, item, BUSY),
            Err(NoPlace::Misplaced) => {
                self.attach_misplace(number);
                return self.attach_close(number, item, Decision::Stranger);
            }
        };
        if let Some(user) = user {
            self.learn_listed(place, user, listed);
        }
        if self.is_next(place) && self.is_known(place, [user, None]) {
            self.attach_decide(place, number, item);
        } else if self.has_room_to_wait(place) {
            self.wait(place, Waiting::Attach { attach: number, item, user });
        } else {
            self.attach_refuse(number, item, BUSY);
        }
    }

    /// One of an attach's conversations is another shard's: whoever asked is told so at once, and asks anew for all of them.
    /// The others are left as they are, and come to nothing in their turn.
    pub(crate) fn attach_misplace(&mut self, number: AttachNumber) {
        let attach = self.attaches.get_mut(number);
        if !std::mem::replace(&mut attach.misplaced, true) {
            let caller = attach.caller;
            self.misplace(caller);
        }
    }

    /// Believes a chat list in what a user is here, when nothing can have happened to the membership since: the log, and the
    /// life of the conversation, are what they were, and no change is under way.
    fn learn_listed(&mut self, place: Place, user: UserKey, listed: Option<Listed>) {
        let Some(Listed { head, lamport, read, role }) = listed else { return };
        let hash = self.keys.user(&user);
        let conversation = &self.conversations[place];
        let is_current = conversation.meta().is_some()
            && (conversation.head, conversation.lamport) == (head, lamport)
            && conversation.work == Work::None
            && !conversation.doubtful
            && !conversation.appends.has_changes();
        if is_current && conversation.members.get(hash).is_none() {
            self.conversations.make_room_for_members(place);
            self.conversations.learn(place, hash, Known { role: Some(role), read, received: 0 });
        }
    }

    /// The same for an attach that has waited.
    pub(crate) fn learn_waiting(&mut self, place: Place) {
        if let Some(&Waiting::Attach { attach, item, user: Some(user) }) =
            self.conversations[place].waiting.front()
        {
            let listed = self.attaches.get_mut(attach).items[item].listed;
            self.learn_listed(place, user, listed);
        }
    }

    /// Decides one conversation of an attach, now that the actor's role there is known.
    pub(crate) fn attach_decide(&mut self, place: Place, number: AttachNumber, item: usize) {
        let Attach { user, authority, .. } = *self.attaches.get_mut(number);
        let decision = match self.attached_role(place, &user, authority) {
            Some((role, _)) => Decision::Member { place, role, detached: false },
            None => Decision::Stranger,
        };
        if matches!(decision, Decision::Member { .. }) {
            self.conversations[place].attaching.push(number);
        }
        self.attach_close(number, item, decision);
    }

    /// One conversation of an attach can't be decided: nothing of it is attached.
    pub(crate) fn attach_refuse(&mut self, number: AttachNumber, item: usize, refusal: Refusal) {
        self.attaches.get_mut(number).refused = Some(refusal);
        self.attach_close(number, item, Decision::Stranger);
    }

    /// One conversation of an attach is decided; the last one answers it.
    pub(crate) fn attach_close(&mut self, number: AttachNumber, item: usize, decision: Decision) {
        let attach = self.attaches.get_mut(number);
        attach.items[item].decision = decision;
        attach.open -= 1;
        if attach.open == 0 {
            self.attach_end(number);
        }
    }

    /// The role and the read cursor with which somebody attaches; `None`: no member. The server attaches as a reader.
    fn attached_role(&self, place: Place, user: &UserKey, authority: Authority) -> Option<(Role, u64)> {
        let conversation = &self.conversations[place];
        conversation.meta()?;
        let known = conversation.members.get(self.keys.user(user));
        match (authority, known.and_then(|known| known.role.map(|role| (role, known.read)))) {
            (_, Some(member)) => Some(member),
            (Authority::Server, None) => Some((Role::Reader, 0)),
            (Authority::User, None) => None,
        }
    }

    fn attach_end(&mut self, number: AttachNumber) {
        let Attach { caller, user, authority, items, refused, misplaced, .. } = self.attaches.end(number);
        // Interest of a gateway shard that is gone would end never.
        let attaches = refused.is_none() && !misplaced && self.outgoing.reaches(caller.gateway);
        let mut answer = Vec::with_capacity(items.len());
        for Item { conversation, decision, .. } in items {
            let state = self.attach_item(number, &caller, &user, authority, decision, attaches);
            answer.push(AttachedItem { conversation, state: state.filter(|_| refused.is_none()) });
        }
        if misplaced {
            return;
        }
        if let Some(refusal) = &refused {
            self.count_refusal(refusal);
        }
        self.answer_attach(caller, &user, answer.into(), refused);
    }

    fn attach_item(
        &mut self,
        number: AttachNumber,
        caller: &Caller,
        user: &UserKey,
        authority: Authority,
        decision: Decision,
        attaches: bool,
    ) -> Option<AttachedState> {
        let Decision::Member { place, role, detached } = decision else { return None };
        self.touched.push(place);
        let attaching = &mut self.conversations[place].attaching;
        let at = attaching.iter().position(|&other| other == number).expect("it was noted when decided");
        attaching.swap_remove(at);
        let conversation = &self.conversations[place];
        conversation.meta()?;
        // The role may have changed, or been forgotten, while other conversations were loaded.
        let known = conversation.members.get(self.keys.user(user));
        let (role, read) = match known {
            None => (role, 0),
            Some(_) => self.attached_role(place, user, authority)?,
        };
        // The head in the answer, and what was published before it, fit together.
        self.release(place);
        let conversation = &mut self.conversations[place];
        if attaches
            && !detached
            && let Err(at) = conversation.interest.binary_search(&caller.gateway)
        {
            conversation.interest.insert(at, caller.gateway);
        }
        Some(AttachedState { head: conversation.head, read, role })
    }

    fn answer_attach(
        &mut self,
        caller: Caller,
        user: &UserKey,
        items: Box<[AttachedItem]>,
        refused: Option<Refusal>,
    ) {
        let answer = ToGateway::Attached { caller, tenant: user.tenant, items, refused };
        self.outgoing.answer(caller.gateway, answer);
    }

    /// A gateway shard has no member of a conversation any more; behind whatever it asked for before.
    pub(crate) fn detach(&mut self, gateway: GatewayId, key: ConversationKey) {
        let Some(place) = self.conversations.find(&key) else { return };
        self.touched.push(place);
        if self.is_next(place) || !self.has_room_to_wait(place) {
            self.detach_now(place, gateway);
        } else {
            let detach = protocol::envelope::ToRouter::Detach { gateway, conversation: key };
            self.wait(place, Waiting::Request(Box::new(detach)));
        }
    }

    /// The same, now that its turn has come.
    pub(crate) fn detach_now(&mut self, place: Place, gateway: GatewayId) {
        self.behind.remove(gateway, place);
        let conversation = &mut self.conversations[place];
        conversation.interest.retain(|&other| other != gateway);
        for &number in &conversation.attaching {
            let attach = self.attaches.get_mut(number);
            if attach.caller.gateway != gateway {
                continue;
            }
            for item in &mut attach.items {
                if let Decision::Member { place: there, detached, .. } = &mut item.decision
                    && *there == place
                {
                    *detached = true;
                }
            }
        }
    }
}

/// The answer to an attach of which nothing can be told.
fn without_states(items: &[AttachItem]) -> Box<[AttachedItem]> {
    items.iter().map(|item| AttachedItem { conversation: item.conversation, state: None }).collect()
}
