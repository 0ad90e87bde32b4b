//! What no log holds: signals and typing. To the room at once, dropped first.

use protocol::envelope::{Actor, Caller, ToGateway};
use protocol::event::{ArchivedContentV1, Draft};
use protocol::id::ClientId;

use crate::conversation::Place;
use crate::refusal::bad_request;
use crate::shard::RouterShard;
use crate::typing::{Over, Typed};

impl RouterShard {
    /// Publishes an event and stores nothing.
    pub(crate) fn signal(&mut self, place: Place, caller: Caller, actor: Actor, draft: Draft) {
        let event = draft.view();
        let Ok(id) = ClientId::parse(&*event.id) else {
            return self.refuse_caller(caller, None, bad_request("the event has no valid id"));
        };
        let is_message = matches!(event.content, ArchivedContentV1::Message { .. });
        let kind = if is_message { Ok(()) } else { Err(bad_request("only messages can be ephemeral")) };
        let allowed = self.access(place, &actor).send().and(kind);
        if let Err(refusal) = allowed.and_then(|()| self.check_names(place, &actor, event)) {
            return self.refuse_caller(caller, Some(id), self.denial(place, refusal));
        }
        let time = self.now.unix_ms;
        let event = draft.seal(0, time, self.lamport.next(time));
        let conversation = self.conversations[place].key();
        self.outgoing.answer(caller.gateway, ToGateway::Signalled { caller, conversation, id, time });
        self.tell_room(place, |conversation| ToGateway::Signal { conversation, event: event.clone() });
    }

    /// Somebody types, or stopped. Of whoever may not send nothing is told.
    pub(crate) fn typing(&mut self, place: Place, actor: Actor, on: bool) {
        if self.access(place, &actor).send().is_err() {
            return;
        }
        let (user, hash) = (actor.key.user, self.keys.user(&actor.key));
        let known = self.typing.knows(place, hash);
        let typed = if on {
            self.typing.on(place, hash, user, self.now.monotonic_ms)
        } else {
            self.typing.off(place, hash)
        };
        if !known && self.typing.knows(place, hash) {
            self.conversations[place].pins += 1;
        }
        match typed {
            Typed::Tell => self.tell_room(place, |conversation| ToGateway::Typing { conversation, user, on }),
            Typed::Hush => {}
            Typed::Full => self.counters.ephemeral_dropped += 1,
        }
    }

    /// Ends the typing of those who were not heard of for a while.
    pub(crate) fn flush_typing(&mut self) {
        while let Some(Over { place, tell }) = self.typing.over(self.now.monotonic_ms) {
            if let Some(user) = tell {
                self.tell_room(place, |conversation| ToGateway::Typing { conversation, user, on: false });
            }
            self.conversations[place].pins -= 1;
            self.touched.push(place);
        }
    }
}
