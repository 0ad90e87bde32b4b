//! The table of conversations: places, the list of idle ones that may be forgotten, and what all of them hold together.

use core::hash::BuildHasher;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use protocol::envelope::{GatewayId, ToRouter};
use protocol::event::Event;
use protocol::id::ConversationKey;
use protocol::placement::Slot;

use crate::bits::Bits;
use crate::conversation::{Conversation, Place, Standing, Waiting};
use crate::hash::{Keys, UserHash};
use crate::limits::{LOAD_USERS_MAX, MEMBERS_OF_ONE_MAX};
use crate::members::Known;

/// All conversations in memory.
#[derive(Debug)]
pub(crate) struct Conversations {
    hasher: FixedState,
    places: Vec<Option<Box<Conversation>>>,
    /// By place: the slot of the conversation that is there, or was. Apart from them, because a new table looks at all.
    slots: Vec<Slot>,
    free: Vec<Place>,
    by_key: HashTable<Place>,
    idle: BTreeSet<(u64, Place)>,
    with_recent: BTreeSet<(u64, Place)>,
    clock: u64,
    recent_bytes: usize,
    members_known: usize,
    /// Where the search for members to forget goes on.
    hand: usize,
    conversations_max: usize,
    idle_max: usize,
    recent_bytes_max: usize,
    members_max: usize,
}

impl Index<Place> for Conversations {
    type Output = Conversation;

    fn index(&self, place: Place) -> &Conversation {
        self.places[place.0 as usize].as_deref().expect("a place that is referred to is taken")
    }
}

impl IndexMut<Place> for Conversations {
    fn index_mut(&mut self, place: Place) -> &mut Conversation {
        self.places[place.0 as usize].as_deref_mut().expect("a place that is referred to is taken")
    }
}

impl Conversations {
    /// An empty table.
    pub(crate) fn new(settings: &crate::Settings, keys: Keys) -> Self {
        Self {
            hasher: keys.hasher(),
            places: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            idle: BTreeSet::new(),
            with_recent: BTreeSet::new(),
            clock: 0,
            recent_bytes: 0,
            members_known: 0,
            hand: 0,
            conversations_max: settings.conversations_max.max(1) as usize,
            idle_max: settings.conversations_idle_max as usize,
            recent_bytes_max: settings.recent_bytes_max,
            members_max: (settings.members_max as usize).max(2 * LOAD_USERS_MAX),
        }
    }

    /// How many are in memory.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Where a conversation is, if it is in memory.
    pub(crate) fn find(&self, key: &ConversationKey) -> Option<Place> {
        self.by_key.find(self.hasher.hash_one(key), |&place| self[place].is(key)).copied()
    }

    /// Makes a place for a conversation of this slot that has none. `None`: the table is full of conversations in use.
    pub(crate) fn make(&mut self, key: &ConversationKey, slot: Slot) -> Option<Place> {
        if self.len() >= self.conversations_max && !self.forget_oldest() {
            return None;
        }
        let conversation = Some(Box::new(Conversation::new(key)));
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push(None);
                self.slots.push(slot);
                Place((self.places.len() - 1) as u32)
            }
        };
        self.places[place.0 as usize] = conversation;
        self.slots[place.0 as usize] = slot;
        let Self { hasher, places, by_key, .. } = self;
        by_key.insert_unique(hasher.hash_one(key), place, |other| {
            hasher.hash_one(places[other.0 as usize].as_ref().expect("a place in the index is taken").key())
        });
        Some(place)
    }

    /// The slot of a conversation.
    pub(crate) fn slot(&self, place: Place) -> Slot {
        self.slots[place.0 as usize]
    }

    /// How many places there are, taken or free.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Every conversation of these slots.
    pub(crate) fn of_slots(&self, slots: &Bits) -> Vec<Place> {
        let here = |(place, slot): (usize, &Slot)| {
            (slots.contains(usize::from(slot.0)) && self.places[place].is_some())
                .then_some(Place(place as u32))
        };
        self.slots.iter().enumerate().filter_map(here).collect()
    }

    /// Ends the interest of those that are not to be kept, if there is a conversation here. True: some were not.
    pub(crate) fn keep_interest(&mut self, place: Place, keeps: impl Fn(GatewayId) -> bool) -> bool {
        let Some(conversation) = self.places[place.0 as usize].as_deref_mut() else { return false };
        let before = conversation.interest.len();
        conversation.interest.retain(|&gateway| keeps(gateway));
        conversation.interest.len() < before
    }

    /// Every interest there is.
    pub(crate) fn interested(&self) -> impl Iterator<Item = GatewayId> {
        self.places.iter().flatten().flat_map(|conversation| conversation.interest.iter().copied())
    }

    /// A conversation is of use again.
    pub(crate) fn rouse(&mut self, place: Place) {
        if let Some(since) = self[place].idle_since.take() {
            self.idle.remove(&(since, place));
        }
    }

    /// To be called when work on a conversation ends: an idle one joins the list of those that may be forgotten.
    pub(crate) fn settle(&mut self, place: Place) {
        let Some(conversation) = self.places[place.0 as usize].as_deref() else { return };
        if !conversation.is_idle() {
            return self.rouse(place);
        }
        if !matches!(conversation.standing, Standing::Present(_)) {
            return self.forget(place);
        }
        if conversation.idle_since.is_none() {
            self.clock += 1;
            let clock = self.clock;
            self[place].idle_since = Some(clock);
            self.idle.insert((clock, place));
        }
        while self.idle.len() > self.idle_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(&(_, place)) = self.idle.first() else { return false };
        self.forget(place);
        true
    }

    /// Forgets all of a conversation: nothing refers to its place any more.
    pub(crate) fn forget(&mut self, place: Place) {
        self.rouse(place);
        self.clear_recent(place);
        self.clear_members(place);
        let conversation =
            self.places[place.0 as usize].take().expect("a place that is referred to is taken");
        let hash = self.hasher.hash_one(conversation.key());
        match self.by_key.find_entry(hash, |&other| other == place) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("a conversation is in the index"),
        };
        self.free.push(place);
    }

    /// Keeps a published event as recent; the conversations that were quiet longest make room.
    pub(crate) fn remember(&mut self, place: Place, event: Event) {
        self.clock += 1;
        let clock = self.clock;
        let conversation = &mut self[place];
        let since = std::mem::replace(&mut conversation.recent_since, clock);
        let before = conversation.recent.bytes();
        conversation.recent.push(event);
        let after = conversation.recent.bytes();
        self.recent_bytes = self.recent_bytes - before + after;
        self.with_recent.remove(&(since, place));
        self.with_recent.insert((clock, place));
        while self.recent_bytes > self.recent_bytes_max {
            let &(_, quietest) = self.with_recent.first().expect("bytes are somewhere");
            self.clear_recent(quietest);
        }
    }

    /// Forgets a conversation's recent events.
    pub(crate) fn clear_recent(&mut self, place: Place) {
        let conversation = &mut self[place];
        let (since, bytes) = (conversation.recent_since, conversation.recent.bytes());
        conversation.recent.clear();
        self.recent_bytes -= bytes;
        self.with_recent.remove(&(since, place));
    }

    /// Makes sure that `LOAD_USERS_MAX` more users can be known.
    pub(crate) fn make_room_for_members(&mut self, place: Place) {
        if self[place].members.len() + LOAD_USERS_MAX > MEMBERS_OF_ONE_MAX {
            self.clear_members(place);
        }
        while self.members_known + LOAD_USERS_MAX > self.members_max {
            self.hand = (self.hand + 1) % self.places.len();
            if self.places[self.hand].is_some() {
                self.clear_members(Place(self.hand as u32));
            }
        }
    }

    /// Takes what is now known of a user. Room was made before.
    pub(crate) fn learn(&mut self, place: Place, user: UserHash, known: Known) {
        if self[place].members.learn(user, known) {
            self.members_known += 1;
        }
    }

    /// Forgets who the members are: the store will be asked again.
    pub(crate) fn clear_members(&mut self, place: Place) {
        self.members_known -= self[place].members.len();
        self[place].members.clear();
    }

    /// Asserts every bound, that the sums are right, and that every conversation is of a slot that the shard has.
    pub(crate) fn invariants(&self, owns: impl Fn(Slot) -> bool) {
        let all = || self.places.iter().flatten();
        assert!(self.len() <= self.conversations_max);
        assert!(self.idle.len() <= self.idle_max);
        assert!(self.recent_bytes <= self.recent_bytes_max);
        assert!(self.members_known <= self.members_max);
        assert_eq!(all().count(), self.by_key.len());
        assert_eq!(self.free.len() + self.by_key.len(), self.places.len());
        assert_eq!(all().map(|conversation| conversation.recent.bytes()).sum::<usize>(), self.recent_bytes);
        assert_eq!(all().map(|conversation| conversation.members.len()).sum::<usize>(), self.members_known);
        assert_eq!(all().filter(|conversation| conversation.idle_since.is_some()).count(), self.idle.len());
        assert_eq!(self.slots.len(), self.places.len());
        for (conversation, &slot) in self.places.iter().zip(&self.slots) {
            let Some(conversation) = conversation.as_deref() else { continue };
            assert_eq!(Slot::of_conversation(&conversation.key()), slot);
            assert!(owns(slot), "what is held is of an own slot");
            assert!(conversation.members.len() <= MEMBERS_OF_ONE_MAX);
            if conversation.is_idle() {
                assert!(conversation.idle_since.is_some(), "idle conversations are in the list of those");
            }
            conversation.invariants();
        }
    }

    /// How many appends wait or are under way, and their bytes.
    pub(crate) fn append_load(&self) -> (usize, usize) {
        let loads = self.places.iter().flatten().map(|conversation| conversation.appends.load());
        loads.fold((0, 0), |(count, bytes), (more, more_bytes)| (count + more, bytes + more_bytes))
    }

    /// The requests that wait.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &ToRouter> {
        let waiting = self.places.iter().flatten().flat_map(|conversation| &conversation.waiting);
        waiting.filter_map(|waiting| match waiting {
            Waiting::Request(request) => Some(&**request),
            Waiting::Attach { .. } => None,
        })
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.places.iter().flatten().map(|conversation| conversation.waiting.len()).sum()
    }
}
