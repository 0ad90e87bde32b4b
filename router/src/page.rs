//! Reads: pages of history, backlogs, lists of members and of conversations. None ever shows an event that was not
//! published: what lies behind the published head is cut off.

use protocol::envelope::{Actor, Caller, ToGateway};
use protocol::error::Refusal;
use protocol::event::Event;
use protocol::frame::Range;
use protocol::id::{ConversationId, UserId, UserKey};
use protocol::limits::PAGE_EVENTS_MAX;
use protocol::placement::Slot;
use storage::request::{Outcome, Request};

use crate::Operation;
use crate::conversation::Place;
use crate::limits::{CONVERSATIONS_PAGE_MAX, MEMBERS_PAGE_MAX, PAGE_BYTES_MAX, READS_MAX};
use crate::refusal::{BUSY, NOT_FOUND, STORE_AWAY};
use crate::shard::RouterShard;
use crate::store::{Direction, Pending, Read};

/// A page as the store gave it.
struct StoredPage {
    events: Vec<Event>,
    /// Where the log ended when the store read it: maybe before what was published since, maybe behind.
    head: u64,
    more: bool,
    trimmed: Option<u64>,
}

impl RouterShard {
    /// Takes a read to the store; `None` when too many wait.
    pub(crate) fn read(&mut self, read: Read, request: Request) -> Option<()> {
        if self.reads.len() >= READS_MAX {
            return None;
        }
        if let Some(place) = read.place() {
            self.conversations[place].pins += 1;
        }
        self.reads.push_back((read, request));
        Some(())
    }

    /// Sends the reads that wait, as many as the store may have under way.
    pub(crate) fn flush_reads(&mut self) {
        while self.store.has_room()
            && let Some((read, request)) = self.reads.pop_front()
        {
            let id = self.store.begin(Pending::Read(read));
            self.outgoing.push(Operation::Store(id, request));
        }
    }

    /// A read came to its end.
    pub(crate) fn read_outcome(&mut self, read: Read, outcome: Outcome) {
        if let Some(place) = read.place() {
            self.conversations[place].pins -= 1;
            self.touched.push(place);
        }
        match (read, outcome) {
            (Read::History(place, caller, direction), Outcome::Page { events, head, more, trimmed }) => {
                self.answer_page(place, caller, direction, StoredPage { events, head, more, trimmed });
            }
            (Read::Backlog(place, caller, after), Outcome::Page { events, .. }) => {
                self.answer_backlog(place, caller, after, events);
            }
            (Read::Members(caller), Outcome::Members { members, more }) => {
                let members = members.into();
                self.outgoing.answer(caller.gateway, ToGateway::Members { caller, members, more });
            }
            (Read::Conversations(caller), Outcome::Conversations { entries, more }) => {
                let conversations = entries.into();
                self.outgoing
                    .answer(caller.gateway, ToGateway::Conversations { caller, conversations, more });
            }
            (Read::Opening(number), outcome) => self.opening_outcome(number, outcome),
            (Read::PresenceOf(caller, user), Outcome::LastSeen(last_seen)) => {
                self.answer_presence(caller, user, last_seen);
            }
            (Read::Watched(hash), outcome) => self.watched_outcome(hash, &outcome),
            (Read::Backlog(place, caller, after), _) => self.refuse_backlog(place, caller, after, STORE_AWAY),
            (
                Read::History(_, caller, _)
                | Read::Members(caller)
                | Read::Conversations(caller)
                | Read::PresenceOf(caller, _),
                _,
            ) => self.refuse_caller(caller, None, STORE_AWAY),
        }
    }

    /// A page of history, out of the recent events or the store.
    pub(crate) fn history(&mut self, place: Place, caller: Caller, actor: Actor, range: Range, limit: u16) {
        if let Err(refusal) = self.access(place, &actor).read() {
            return self.refuse_caller(caller, None, self.denial(place, refusal));
        }
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        let conversation = &self.conversations[place];
        let (key, head) = (conversation.key(), conversation.head);
        if let Some(page) = conversation.recent.page(range, usize::from(limit), head) {
            self.counters.pages_recent += 1;
            let (events, more) = (page.events, page.more);
            let answer = ToGateway::Page { caller, conversation: key, events, head, more, trimmed: None };
            return self.outgoing.answer(caller.gateway, answer);
        }
        let (range, direction) = match range {
            // The store's newest may not be published yet.
            Range::Newest => (Range::Before(head + 1), Direction::Older),
            Range::Before(seq) => (Range::Before(seq.min(head + 1)), Direction::Older),
            Range::After(after) => (range, Direction::Newer(Some(after))),
            Range::Since(_) => (range, Direction::Newer(None)),
            Range::Around(seq) => (Range::Around(seq.min(head)), Direction::Older),
        };
        let bytes_max = PAGE_BYTES_MAX as u32;
        let request = Request::Page { conversation: key, range, limit, bytes_max };
        if self.read(Read::History(place, caller, direction), request).is_none() {
            self.refuse_caller(caller, None, BUSY);
        }
    }

    fn answer_page(&mut self, place: Place, caller: Caller, direction: Direction, page: StoredPage) {
        self.counters.pages_stored += 1;
        if self.conversations[place].meta().is_none() {
            return self.refuse_caller(caller, None, NOT_FOUND);
        }
        let events = self.cut_unpublished(place, page.events);
        let conversation = &self.conversations[place];
        let (key, mut head) = (conversation.key(), conversation.head);
        let last = events.last().map(Event::seq);
        if last.is_none() && matches!(direction, Direction::Newer(None)) {
            // No event since that time: as the log was when it was read, and nothing is said of what came later.
            head = head.min(page.head);
        }
        if conversation.recent.is_empty() && last == Some(head) {
            self.remember_page(place, &events);
        }
        let more = match direction {
            Direction::Older => page.more,
            Direction::Newer(after) => last.or(after).is_some_and(|last| last < head),
        };
        let trimmed = page.trimmed;
        let answer = ToGateway::Page { caller, conversation: key, events, head, more, trimmed };
        self.outgoing.answer(caller.gateway, answer);
    }

    /// Keeps a page that ends at the head, so that the next who opens the conversation need not ask the store.
    fn remember_page(&mut self, place: Place, events: &[Event]) {
        for event in events {
            self.conversations.remember(place, event.clone());
        }
    }

    fn cut_unpublished(&self, place: Place, mut events: Vec<Event>) -> Box<[Event]> {
        let head = self.conversations[place].head;
        let published = events.partition_point(|event| event.seq() <= head);
        events.truncate(published);
        events.into()
    }

    /// What a room or a connection has missed. Its gateway shard has checked that it is a member's.
    pub(crate) fn backlog(&mut self, place: Place, caller: Caller, after: u64, limit: u16) {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        let conversation = &self.conversations[place];
        let (key, head) = (conversation.key(), conversation.head);
        if let Some(page) = conversation.recent.page(Range::After(after), usize::from(limit), head) {
            self.counters.pages_recent += 1;
            return self.answer_backlog(place, caller, after, page.events.into_vec());
        }
        let (range, bytes_max) = (Range::After(after), PAGE_BYTES_MAX as u32);
        let request = Request::Page { conversation: key, range, limit, bytes_max };
        if self.read(Read::Backlog(place, caller, after), request).is_none() {
            self.refuse_backlog(place, caller, after, BUSY);
        }
    }

    fn answer_backlog(&mut self, place: Place, caller: Caller, after: u64, events: Vec<Event>) {
        if self.conversations[place].meta().is_none() {
            return self.refuse_backlog(place, caller, after, NOT_FOUND);
        }
        let events = self.cut_unpublished(place, events);
        let Self { conversations, outgoing, .. } = self;
        let (conversation, head) = (conversations[place].key(), conversations[place].head);
        let answer = ToGateway::Backlog { caller, conversation, after, events, head, refused: None };
        outgoing.answer(caller.gateway, answer);
    }

    fn refuse_backlog(&mut self, place: Place, caller: Caller, after: u64, refusal: Refusal) {
        self.count_refusal(&refusal);
        let Self { conversations, outgoing, .. } = self;
        let (conversation, head) = (conversations[place].key(), conversations[place].head);
        let (events, refused) = (Box::default(), Some(refusal));
        outgoing.answer(
            caller.gateway,
            ToGateway::Backlog { caller, conversation, after, events, head, refused },
        );
    }

    /// The members of a conversation, by id.
    pub(crate) fn list_members(
        &mut self,
        place: Place,
        caller: Caller,
        actor: Actor,
        after: Option<UserId>,
        limit: u16,
    ) {
        if let Err(refusal) = self.access(place, &actor).read() {
            return self.refuse_caller(caller, None, self.denial(place, refusal));
        }
        let conversation = self.conversations[place].key();
        let request = Request::Members { conversation, after, limit: limit.clamp(1, MEMBERS_PAGE_MAX) };
        if self.read(Read::Members(caller), request).is_none() {
            self.refuse_caller(caller, None, BUSY);
        }
    }

    /// A user's chat list.
    pub(crate) fn list_conversations(
        &mut self,
        caller: Caller,
        user: UserKey,
        after: Option<(u64, ConversationId)>,
        limit: u16,
    ) {
        if !self.owns(Slot::of_user(&user)) {
            return self.misplace(caller);
        }
        let request = Request::Conversations { user, after, limit: limit.clamp(1, CONVERSATIONS_PAGE_MAX) };
        if self.read(Read::Conversations(caller), request).is_none() {
            self.refuse_caller(caller, None, BUSY);
        }
    }

    /// A conversation, as the API shows it.
    pub(crate) fn show(&mut self, place: Place, caller: Caller, actor: Actor) {
        let allowed = self.access(place, &actor).read();
        match allowed.and_then(|()| self.conversations[place].show().ok_or(NOT_FOUND)) {
            Ok(conversation) => {
                self.outgoing.answer(caller.gateway, ToGateway::Conversation { caller, conversation });
            }
            Err(refusal) => self.refuse_caller(caller, None, self.denial(place, refusal)),
        }
    }
}
