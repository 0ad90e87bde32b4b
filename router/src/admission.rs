//! Requests to a conversation, in their order: what can't be decided yet waits, first in first out, for a load.
//!
//! One order for all of a conversation: what a connection sent first is decided first, whether or not somebody's
//! role had to be loaded in between. No change of a membership is under way while a load is, and the other way round,
//! so that what a load says is never older than what is known. A change that comes to light while a load is under way,
//! because its answer was lost, has the load made again.

use protocol::envelope::{Actor, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::id::{ConversationKey, UserKey};
use protocol::placement::Slot;
use storage::request::{Outcome, Request};

use crate::conversation::{Meta, Place, Standing, Waiting, Work};
use crate::limits::{LOAD_USERS_MAX, WAITING_MAX, WAITING_OF_ONE_MAX};
use crate::members::Known;
use crate::refusal::{BUSY, LAPSED, NOT_FOUND, STORE_AWAY};
use crate::roles::Access;
use crate::shard::RouterShard;
use crate::store::Pending;
use crate::{Operation, request};

/// Why a conversation has no place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There is no room.
    Full,
    /// Its slot is another shard's.
    Misplaced,
}

impl RouterShard {
    /// Takes a request to a conversation.
    pub(crate) fn admit(&mut self, key: ConversationKey, request: ToRouter) {
        let place = match self.open(&key) {
            Ok(place) => place,
            Err(NoPlace::Full) => return self.refuse(&request, BUSY),
            Err(NoPlace::Misplaced) => return self.turn_away(request),
        };
        if self.lapsed && request::needs_owner(&request) {
            return self.refuse(&request, LAPSED);
        }
        if self.is_next(place) && self.is_decidable(place, &request) {
            return self.serve(place, request);
        }
        if !self.has_room_to_wait(place) {
            return self.refuse(&request, BUSY);
        }
        self.wait(place, Waiting::Request(Box::new(request)));
    }

    /// The conversation's place, to be settled at the end of the call. What is in memory is this shard's own: only of the
    /// others the table is asked.
    pub(crate) fn open(&mut self, key: &ConversationKey) -> Result<Place, NoPlace> {
        let place = match self.conversations.find(key) {
            Some(place) => {
                self.conversations.rouse(place);
                place
            }
            None => {
                let slot = Slot::of_conversation(key);
                if !self.owns(slot) {
                    return Err(NoPlace::Misplaced);
                }
                self.conversations.make(key, slot).ok_or(NoPlace::Full)?
            }
        };
        self.touched.push(place);
        Ok(place)
    }

    /// True when nothing is before a request that comes now.
    pub(crate) fn is_next(&self, place: Place) -> bool {
        let conversation = &self.conversations[place];
        conversation.waiting.is_empty() && conversation.work == Work::None
    }

    /// True when one more may wait here.
    pub(crate) fn has_room_to_wait(&self, place: Place) -> bool {
        self.conversations[place].waiting.len() < WAITING_OF_ONE_MAX && self.waiting < WAITING_MAX
    }

    /// Puts something at the end of the conversation's order.
    pub(crate) fn wait(&mut self, place: Place, waiting: Waiting) {
        self.conversations[place].waiting.push_back(waiting);
        self.waiting += 1;
        self.advance(place);
    }

    fn is_decidable(&self, place: Place, request: &ToRouter) -> bool {
        let conversation = &self.conversations[place];
        let known = self.is_known(place, request::users(request));
        let settled = conversation.appends.is_empty() && !conversation.doubtful;
        known && (settled || !request::is_barrier(request))
    }

    /// True when it is known whether the conversation exists, and what these users are in it.
    pub(crate) fn is_known(&self, place: Place, users: [Option<UserKey>; 2]) -> bool {
        let conversation = &self.conversations[place];
        let knows = |user: &UserKey| conversation.members.get(self.keys.user(user)).is_some();
        match conversation.standing {
            Standing::Unknown => false,
            Standing::Absent => true,
            Standing::Present(_) => users.iter().flatten().all(knows),
        }
    }

    /// Goes on with what waits, as far as it can be decided; asks the store for what is missing.
    pub(crate) fn advance(&mut self, place: Place) {
        self.touched.push(place);
        while self.conversations[place].work == Work::None {
            self.learn_waiting(place);
            let Some(front) = self.conversations[place].waiting.front() else { return };
            if !self.is_known(place, request::users_of_waiting(front)) {
                return self.want_load(place);
            }
            if let Waiting::Request(request) = front
                && !self.is_decidable(place, request)
            {
                return;
            }
            self.serve_front(place);
        }
    }

    fn serve_front(&mut self, place: Place) {
        let front = self.conversations[place].next_waiting().expect("it was looked at");
        self.waiting -= 1;
        match front {
            Waiting::Request(request) => self.serve(place, *request),
            Waiting::Attach { attach, item, .. } => self.attach_decide(place, attach, item),
        }
    }

    /// Does what a request asks for, now that everything is known that decides it.
    fn serve(&mut self, place: Place, request: ToRouter) {
        let absent = self.conversations[place].standing == Standing::Absent;
        match request {
            ToRouter::Create { caller, actor, kind, title, members, .. } => {
                self.create(place, caller, actor, kind, title, members.into_vec());
            }
            ToRouter::Detach { gateway, .. } => self.detach_now(place, gateway),
            request if absent => self.refuse(&request, NOT_FOUND),
            ToRouter::Append { caller, actor, draft, lamport, .. } => {
                self.append(place, caller, actor, draft, lamport);
            }
            ToRouter::Signal { caller, actor, draft, .. } => self.signal(place, caller, actor, draft),
            ToRouter::History { caller, actor, range, limit, .. } => {
                self.history(place, caller, actor, range, limit);
            }
            ToRouter::Backlog { caller, after, limit, .. } => self.backlog(place, caller, after, limit),
            ToRouter::Mark { actor, device, received, read, .. } => {
                self.mark(place, actor, device, received, read);
            }
            ToRouter::Typing { actor, on, .. } => self.typing(place, actor, on),
            ToRouter::Show { caller, actor, .. } => self.show(place, caller, actor),
            ToRouter::Change { caller, actor, id, change, lamport, .. } => {
                self.change(place, caller, actor, id, change, lamport);
            }
            ToRouter::Remove { caller, actor, .. } => self.remove(place, caller, actor),
            ToRouter::Members { caller, actor, after, limit, .. } => {
                self.list_members(place, caller, actor, after, limit);
            }
            ToRouter::Attach { .. }
            | ToRouter::SessionOpen { .. }
            | ToRouter::SessionHeard { .. }
            | ToRouter::SessionClose { .. }
            | ToRouter::Watch { .. }
            | ToRouter::Unwatch { .. }
            | ToRouter::PresenceOf { .. }
            | ToRouter::Conversations { .. }
            | ToRouter::Membership { .. }
            | ToRouter::GatewayGone { .. } => unreachable!("not a request to one conversation"),
        }
    }

    /// How an actor stands to a conversation that is present. Its role was looked up before.
    pub(crate) fn access(&self, place: Place, actor: &Actor) -> Access {
        let conversation = &self.conversations[place];
        let role = conversation.members.get(self.keys.user(&actor.key)).and_then(|known| known.role);
        match conversation.meta() {
            Some(meta) => Access::new(actor.authority, meta.kind, role),
            None => Access::Stranger,
        }
    }

    /// Why an actor may not. While the log is in doubt it may hold the very change that allows it, and nobody is denied anything for good.
    pub(crate) fn denial(&self, place: Place, refusal: Refusal) -> Refusal {
        let is_denial = matches!(refusal.code, ErrorCode::NotFound | ErrorCode::Forbidden);
        if is_denial && self.conversations[place].doubtful { STORE_AWAY } else { refusal }
    }

    fn want_load(&mut self, place: Place) {
        let conversation = &mut self.conversations[place];
        // The end of the batch that holds the change comes back here.
        if !conversation.appends.has_changes() {
            conversation.work = Work::Load;
            self.loads.push_back(place);
        }
    }

    /// Sends the loads that are wanted, as many as the store may have under way.
    pub(crate) fn flush_loads(&mut self) {
        while self.store.has_room()
            && let Some(place) = self.loads.pop_front()
        {
            let users = self.unknown_users(place);
            let conversation = self.conversations[place].key();
            let id = self.store.begin(Pending::Load(place));
            self.counters.loads += 1;
            self.outgoing.push(Operation::Store(id, Request::Load { conversation, users }));
        }
    }

    /// Whose roles decide what waits, and are not known: each once.
    fn unknown_users(&self, place: Place) -> Box<[protocol::id::UserId]> {
        let conversation = &self.conversations[place];
        let mut users = Vec::new();
        for user in conversation.waiting.iter().flat_map(request::users_of_waiting).flatten() {
            let known = conversation.members.get(self.keys.user(&user)).is_some();
            if !known && !users.contains(&user.user) {
                users.push(user.user);
            }
            if users.len() == LOAD_USERS_MAX {
                break;
            }
        }
        users.into()
    }

    /// The store has loaded a conversation, or not.
    pub(crate) fn load_outcome(&mut self, place: Place, outcome: Outcome) {
        let work = std::mem::replace(&mut self.conversations[place].work, Work::None);
        match outcome {
            Outcome::Loaded { .. } if work == Work::StaleLoad => self.advance(place),
            Outcome::Loaded { conversation: Some(loaded), members } => {
                let conversation = &mut self.conversations[place];
                if conversation.standing == Standing::Unknown {
                    conversation.head = loaded.head;
                    conversation.lamport = loaded.lamport;
                    conversation.standing = Standing::Present(Meta::of(loaded));
                }
                let tenant = conversation.key().tenant;
                self.conversations.make_room_for_members(place);
                for member in &members {
                    let user = self.keys.user(&UserKey { tenant, user: member.user });
                    let known = Known { role: member.role, read: member.read, received: 0 };
                    self.conversations.learn(place, user, known);
                }
                self.advance(place);
            }
            Outcome::Loaded { conversation: None, .. } => {
                self.vanish(place);
                self.advance(place);
            }
            _ => self.refuse_waiting(place),
        }
    }

    /// The store can't tell: whoever waits for it is told so at once; what can be decided all the same is.
    pub(crate) fn refuse_waiting(&mut self, place: Place) {
        let waiting = std::mem::take(&mut self.conversations[place].waiting);
        self.waiting -= waiting.len();
        for waiting in waiting {
            let decidable = match &waiting {
                Waiting::Request(request) => self.is_decidable(place, request),
                Waiting::Attach { user, .. } => self.is_known(place, [*user, None]),
            };
            if self.conversations[place].work != Work::None || decidable {
                self.wait(place, waiting);
            } else {
                self.refuse_one(place, waiting, STORE_AWAY);
            }
        }
        self.touched.push(place);
    }

    fn refuse_one(&mut self, place: Place, waiting: Waiting, refusal: Refusal) {
        match waiting {
            Waiting::Request(request) => match *request {
                ToRouter::Detach { gateway, .. } => self.detach_now(place, gateway),
                request => self.refuse(&request, refusal),
            },
            Waiting::Attach { attach, item, .. } => self.attach_refuse(attach, item, refusal),
        }
    }
}

impl Meta {
    /// What a conversation is, apart from its log.
    pub(crate) fn of(conversation: protocol::envelope::Conversation) -> Self {
        let protocol::envelope::Conversation { kind, title, created, members, .. } = conversation;
        Self { kind, title, created, members }
    }
}
