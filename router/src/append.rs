//! Appends: what a request becomes, the transactions that hold many of them, and what comes of each.

use std::collections::BTreeSet;

use protocol::envelope::{Actor, Authority, Caller, Change, ToGateway};
use protocol::error::Refusal;
use protocol::event::{ArchivedContentV1, ArchivedEventV1, Draft, Event};
use protocol::id::{ClientId, UserId, UserKey};
use storage::kv::COMMIT_BYTES_MAX;
use storage::request::{AppendBatch, AppendRule, Appended, ConversationAppend, Failure, Outcome, Request};

use crate::Operation;
use crate::appends::{Flying, Origin, Queued};
use crate::conversation::Place;
use crate::limits::{APPENDS_MAX, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, CONVERSATION_BYTES, EVENT_FLOOR_BYTES};
use crate::orphans::Landing;
use crate::refusal::{BUSY, CONFLICT, NO_TARGET, NOT_FOUND, STORE_AWAY, bad_request, forbidden, of_failure};
use crate::request;
use crate::roles::Access;
use crate::shard::RouterShard;
use crate::store::Pending;

/// What an event of a client depends on; an error when it may not send it.
fn rule_of(access: Access, content: &ArchivedContentV1<'_>) -> Result<AppendRule, Refusal> {
    access.send()?;
    match content {
        ArchivedContentV1::Message { .. } => Ok(AppendRule::Free),
        ArchivedContentV1::Edit { target, .. } => {
            Ok(AppendRule::Target { target: target.to_native(), own: access != Access::Server })
        }
        ArchivedContentV1::Delete { target } => {
            Ok(AppendRule::Target { target: target.to_native(), own: !access.deletes_of_others() })
        }
        ArchivedContentV1::Reaction { target, .. } => {
            Ok(AppendRule::Target { target: target.to_native(), own: false })
        }
        ArchivedContentV1::Joined { .. }
        | ArchivedContentV1::Left { .. }
        | ArchivedContentV1::Changed { .. } => Err(bad_request("members change by requests of their own")),
    }
}

impl RouterShard {
    /// Takes an event of a client into the conversation's next batch.
    pub(crate) fn append(&mut self, place: Place, caller: Caller, actor: Actor, draft: Draft, lamport: u64) {
        self.counters.appends += 1;
        let event = draft.view();
        let Ok(id) = ClientId::parse(&*event.id) else {
            return self.refuse_caller(caller, None, bad_request("the event has no valid id"));
        };
        let rule = self.check_names(place, &actor, event);
        let rule = rule.and_then(|()| rule_of(self.access(place, &actor), &event.content));
        let rule = rule.and_then(|rule| self.has_room_to_append(place).map(|()| rule));
        match rule {
            Ok(rule) => {
                let Actor { key: actor, authority } = actor;
                let origin = Origin::Caller(caller);
                self.enqueue(place, Queued { origin, actor, authority, id, draft, lamport, rule });
            }
            Err(refusal) => self.refuse_caller(caller, Some(id), self.denial(place, refusal)),
        }
    }

    /// An event has to name the conversation that it goes to, and whom it comes from.
    pub(crate) fn check_names(
        &self,
        place: Place,
        actor: &Actor,
        event: &ArchivedEventV1<'_>,
    ) -> Result<(), Refusal> {
        let here = self.conversations[place].key().conversation;
        if event.conversation.as_bytes() == here.as_bytes()
            && event.sender.as_bytes() == actor.key.user.as_bytes()
        {
            Ok(())
        } else {
            Err(bad_request("the event names another conversation or sender"))
        }
    }

    /// Is there room for one more event, and a store to put it into?
    pub(crate) fn has_room_to_append(&self, place: Place) -> Result<(), Refusal> {
        if self.conversations[place].unanswered {
            return Err(STORE_AWAY);
        }
        let full = self.conversations[place].appends.is_full()
            || self.appends + self.founding >= APPENDS_MAX
            || self.append_bytes >= 2 * self.settings.pending_bytes_max;
        if full { Err(BUSY) } else { Ok(()) }
    }

    /// Puts an event behind the others of its conversation.
    pub(crate) fn enqueue(&mut self, place: Place, mut queued: Queued) {
        self.lamport.observe(queued.lamport);
        queued.lamport = self.lamport.floor(self.now.unix_ms);
        self.appends += 1;
        self.append_bytes += queued.bytes();
        self.conversations[place].appends.push(queued);
        self.list_batch(place);
    }

    /// A conversation that has a batch to send joins the list of those.
    pub(crate) fn list_batch(&mut self, place: Place) {
        let conversation = &mut self.conversations[place];
        if conversation.has_batch() && !std::mem::replace(&mut conversation.appends.listed, true) {
            self.batches.push_back(place);
        }
    }

    /// Sends transactions of what has gathered, as many as may be under way.
    pub(crate) fn flush_appends(&mut self) {
        while self.store.has_room_for_appends() && !self.batches.is_empty() {
            self.send_batch();
        }
    }

    fn send_batch(&mut self) {
        let mut conversations = Vec::new();
        let mut places = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        let spares = self.has_peers();
        while events < BATCH_EVENTS_MAX
            && bytes + EVENT_FLOOR_BYTES <= BATCH_BYTES_MAX
            && let Some(place) = self.batches.pop_front()
        {
            let conversation = &mut self.conversations[place];
            conversation.appends.listed = false;
            if !conversation.has_batch() {
                continue;
            }
            let alone = conversation.appends.alone;
            if alone && !places.is_empty() {
                conversation.appends.listed = true;
                self.batches.push_front(place);
                break;
            }
            conversation.appends.alone = false;
            let room = BATCH_BYTES_MAX - bytes - CONVERSATION_BYTES;
            let items = conversation.appends.take_batch(BATCH_EVENTS_MAX - events, room, spares);
            if items.is_empty() {
                // Its first event does not fit behind the others: it opens the next transaction.
                conversation.appends.listed = true;
                self.batches.push_front(place);
                break;
            }
            events += items.len();
            bytes += CONVERSATION_BYTES + conversation.appends.flying_bytes();
            places.push(Landing::Here(place));
            conversations.push(ConversationAppend { conversation: conversation.key(), items });
            if alone {
                break;
            }
        }
        if conversations.is_empty() {
            return;
        }
        self.counters.batch_events.record(events as u64);
        let id = self.store.begin(Pending::Append { places, sent_us: self.now.monotonic_us });
        let batch = AppendBatch { epoch: self.table.epoch, time: self.now.unix_ms, conversations };
        assert!(batch.store_bytes() <= COMMIT_BYTES_MAX, "this shard reckons no less than the store does");
        self.outgoing.push(Operation::Store(id, Request::Append(batch)));
    }

    /// A transaction came to its end.
    pub(crate) fn append_outcome(&mut self, places: Vec<Landing>, sent_us: u64, outcome: Outcome) {
        self.counters.commit_us.record(self.now.monotonic_us.saturating_sub(sent_us));
        match outcome {
            Outcome::Appended(all) => {
                assert_eq!(all.len(), places.len(), "the store answers for each conversation");
                for (landing, results) in places.into_iter().zip(all) {
                    match landing {
                        Landing::Here(place) => self.land(place, results),
                        Landing::Elsewhere(key) => self.landed_elsewhere(&key, &results),
                    }
                }
            }
            Outcome::Failed(Failure::Fenced) if self.has_peers() => {
                self.counters.commits_failed += 1;
                self.appends_fenced(&places);
            }
            Outcome::Failed(failure) => {
                self.counters.commits_failed += 1;
                for place in places.iter().filter_map(Landing::place) {
                    self.crash(place, &failure);
                }
            }
            other => unreachable!("an append is answered as one, not by {other:?}"),
        }
    }

    /// A conversation's batch is durable: answers first, then what everybody gets to see.
    fn land(&mut self, place: Place, results: Vec<Appended>) {
        let landed = self.take_landed(place);
        assert_eq!(landed.len(), results.len(), "the store answers for each event");
        let mut stored = Vec::new();
        let (mut newest, mut gone) = (0, false);
        for (flying, appended) in landed.into_iter().zip(results) {
            gone |= appended == Appended::NoConversation;
            if let Appended::Duplicate { seq, .. } = appended {
                newest = newest.max(seq);
            }
            self.answer_append(place, &flying, &appended);
            if let Appended::Stored(event) = appended {
                stored.push(event);
            }
        }
        if gone {
            self.vanish(place);
        } else if self.conversations[place].meta().is_some() {
            self.publish_stored(place, stored, newest);
        }
        self.after_batch(place);
    }

    /// A conversation's batch failed: nothing of it is promised, and everybody is told.
    fn crash(&mut self, place: Place, failure: &Failure) {
        self.release(place);
        let landed = self.take_landed(place);
        for flying in &landed {
            self.end_append(place, flying, Err(of_failure(failure)));
        }
        // What may have been stored comes to light when the log is read again. A poisoned store's log is not to be
        // believed: it may show what it could not make durable.
        if *failure == Failure::Unknown {
            self.conversations[place].unbarred = true;
            self.doubt(place, self.now.monotonic_ms);
        }
        self.after_batch(place);
    }

    /// Takes out what was under way, which has come to its end.
    pub(crate) fn take_landed(&mut self, place: Place) -> Vec<Flying> {
        let landed = self.conversations[place].appends.land();
        self.appends -= landed.len();
        self.append_bytes -= landed.iter().map(|flying| flying.bytes).sum::<usize>();
        landed
    }

    /// Goes on with a conversation whose batch has come to its end.
    pub(crate) fn after_batch(&mut self, place: Place) {
        self.finish_create(place);
        self.list_batch(place);
        self.advance(place);
    }

    /// Publishes what was stored just now. When something before or between it was not published, the log tells all of it in order; so it does
    /// when the second attempt of a transaction, whose first was stored after all, has added what the first had refused.
    fn publish_stored(&mut self, place: Place, stored: Vec<Event>, newest: u64) {
        let head = self.conversations[place].head;
        let is_next = stored.iter().map(Event::seq).eq((head + 1..).take(stored.len()));
        if !is_next || newest > head + stored.len() as u64 {
            self.release(place);
            return self.doubt(place, self.now.monotonic_ms);
        }
        if stored.is_empty() {
            self.release(place);
        } else {
            self.publish(place, stored);
        }
    }

    fn answer_append(&mut self, place: Place, flying: &Flying, appended: &Appended) {
        let head = self.conversations[place].head;
        let result = match appended {
            Appended::Stored(event) => {
                self.counters.stored += 1;
                Ok((event.seq(), event.time(), false))
            }
            Appended::Duplicate { seq, time } => {
                self.counters.duplicates += 1;
                Ok((*seq, *time, true))
            }
            // Nothing to say about it in the log: it is as the caller wants it.
            Appended::Unchanged => Ok((head, self.now.unix_ms, true)),
            Appended::Conflict => Err(CONFLICT),
            Appended::NoTarget => Err(NO_TARGET),
            Appended::Forbidden => Err(forbidden("the message is somebody else's")),
            Appended::Refused(message) => Err(forbidden(message)),
            Appended::NoConversation => Err(NOT_FOUND),
        };
        self.end_append(place, flying, result);
    }

    /// Tells whoever waits for an append what came of it: seq, time, and whether it had been stored before.
    fn end_append(&mut self, place: Place, flying: &Flying, result: Result<(u64, u64, bool), Refusal>) {
        let (caller, id) = match flying.origin {
            Origin::Caller(caller) => (caller, flying.id),
            Origin::Founding => return self.founded(place, result.err()),
        };
        match result {
            Ok((seq, time, duplicate)) => {
                let conversation = self.conversations[place].key();
                let answer = ToGateway::Appended { caller, conversation, id, seq, time, duplicate };
                self.outgoing.answer(caller.gateway, answer);
            }
            Err(refusal) => self.refuse_caller(caller, Some(id), refusal),
        }
    }

    /// Takes out of the next batches what is no longer allowed, now that the roles of these users have changed.
    pub(crate) fn recheck(&mut self, place: Place, changed: &BTreeSet<UserId>) {
        let mut appends = std::mem::take(&mut self.conversations[place].appends);
        let concerns = |queued: &Queued| {
            let target = match &queued.rule {
                AppendRule::Change(change) => request::target(change),
                AppendRule::Free | AppendRule::Target { .. } => None,
            };
            // Most that wait by the thousands are a server's, whom nothing forbids.
            queued.authority == Authority::User
                && (changed.contains(&queued.actor.user)
                    || target.is_some_and(|user| changed.contains(&user)))
        };
        let mut refusals = Vec::new();
        let withdrawn = appends.withdraw(|queued| {
            let refusal = if concerns(queued) { self.is_still_allowed(place, queued).err() } else { None };
            refusals.extend(refusal);
            refusal.is_some()
        });
        self.conversations[place].appends = appends;
        for (queued, refusal) in withdrawn.iter().zip(refusals) {
            self.refuse_queued(place, queued, refusal);
        }
    }

    /// Takes everything out that waits, and says why.
    pub(crate) fn withdraw_all(&mut self, place: Place, refusal: Refusal) {
        let withdrawn = self.conversations[place].appends.withdraw(|_| true);
        for queued in &withdrawn {
            self.refuse_queued(place, queued, refusal);
        }
    }

    fn refuse_queued(&mut self, place: Place, queued: &Queued, refusal: Refusal) {
        self.appends -= 1;
        self.append_bytes -= queued.bytes();
        match queued.origin {
            Origin::Caller(caller) => self.refuse_caller(caller, Some(queued.id), refusal),
            Origin::Founding => self.founded(place, Some(refusal)),
        }
    }

    fn is_still_allowed(&self, place: Place, queued: &Queued) -> Result<(), Refusal> {
        if queued.authority == Authority::Server {
            return Ok(());
        }
        let members = &self.conversations[place].members;
        if members.get(self.keys.user(&queued.actor)).is_none() {
            return Err(BUSY);
        }
        let actor = Actor { key: queued.actor, authority: queued.authority };
        let access = self.access(place, &actor);
        match &queued.rule {
            AppendRule::Change(change) => self.may_change(place, access, &actor, change),
            rule @ (AppendRule::Free | AppendRule::Target { .. }) => {
                let now = rule_of(access, &queued.draft.view().content)?;
                if now == *rule { Ok(()) } else { Err(forbidden("the role has changed meanwhile")) }
            }
        }
    }

    /// May an actor make this change, by the roles as they are known now?
    pub(crate) fn may_change(
        &self,
        place: Place,
        access: Access,
        actor: &Actor,
        change: &Change,
    ) -> Result<(), Refusal> {
        let conversation = &self.conversations[place];
        let Some(meta) = conversation.meta() else { return Err(NOT_FOUND) };
        let target = match request::target(change) {
            None => None,
            Some(user) => {
                let key = UserKey { tenant: actor.key.tenant, user };
                conversation.members.get(self.keys.user(&key)).ok_or(BUSY)?.role
            }
        };
        let oneself = request::target(change) == Some(actor.key.user);
        access.change(meta.kind, oneself, target, change)
    }
}
