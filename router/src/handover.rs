//! Slots that a table takes away: everything that the shard holds of them is given up at once, in time linear in what it
//! holds. Each request that waits or is under way is answered as misplaced, once, and its outcome counts for nothing when it
//! comes: the new owner finds in the store what came of it. Cursors and last-seen times still go to the store, and news of
//! memberships to whom they are for: neither needs to own anything.

use protocol::envelope::{Caller, ToGateway, ToRouter};
use protocol::id::ConversationKey;
use protocol::placement::Slot;

use crate::appends::Origin;
use crate::attaches::Decision;
use crate::bits::Bits;
use crate::conversation::{AttachNumber, Place, Waiting};
use crate::orphans::{Landing, Orphan};
use crate::shard::RouterShard;
use crate::store::{Pending, Read};

/// What is given up.
struct Lost<'a> {
    slots: &'a Bits,
    places: Bits,
}

impl Lost<'_> {
    fn has(&self, place: Place) -> bool {
        self.places.contains(place.0 as usize)
    }

    fn has_user(&self, user: &protocol::id::UserKey) -> bool {
        self.slots.contains(usize::from(Slot::of_user(user).0))
    }
}

impl RouterShard {
    /// Gives up all that is held of these slots.
    pub(crate) fn give_up(&mut self, slots: &Bits) {
        let places = self.conversations.of_slots(slots);
        let mut lost = Lost { slots, places: Bits::below(self.conversations.places()) };
        places.iter().for_each(|place| lost.places.insert(place.0 as usize));
        self.end_typing(&lost);
        self.orphan(&lost);
        self.give_up_attaches(&places, &lost);
        for &place in &places {
            self.give_up_requests(place);
        }
        self.give_up_queues(&lost);
        self.give_up_users(&lost);
        self.give_up_reads(&lost);
        for place in places {
            self.conversations.forget(place);
        }
    }

    /// The rooms would wait for ever to hear that somebody types no more.
    fn end_typing(&mut self, lost: &Lost<'_>) {
        for over in self.typing.end(|place| lost.has(place)) {
            if let Some(user) = over.tell {
                let on = false;
                self.tell_room(over.place, |conversation| ToGateway::Typing { conversation, user, on });
            }
        }
        self.receipts.forget(|place| lost.has(place));
    }

    /// What is under way at the store for something that is lost is for nothing from now on.
    fn orphan(&mut self, lost: &Lost<'_>) {
        let mut callers = Vec::new();
        let Self { store, conversations, creations, .. } = self;
        let key = |place: Place| Box::new(conversations[place].key());
        for pending in store.pending_mut() {
            match pending {
                Pending::Append { places, .. } => {
                    for landing in places {
                        if let Some(place) = landing.place().filter(|&place| lost.has(place)) {
                            *landing = Landing::Elsewhere(key(place));
                        }
                    }
                }
                &mut Pending::Create(place) if lost.has(place) => {
                    let members = creations[&place].first().map(|member| member.user).collect();
                    *pending = Pending::Orphan(Orphan::Creation { key: key(place), members });
                }
                &mut Pending::Remove(place, caller) if lost.has(place) => {
                    callers.push(caller);
                    *pending = Pending::Orphan(Orphan::Removal(key(place)));
                }
                &mut (Pending::Load(place) | Pending::Bar(place) | Pending::CatchUp(place))
                    if lost.has(place) =>
                {
                    *pending = Pending::Orphan(Orphan::Nothing);
                }
                // Reads follow when it is known which users and openings are left.
                _ => {}
            }
        }
        callers.into_iter().for_each(|caller| self.misplace(caller));
    }

    /// Ends the attaches that name a lost conversation. Those of their conversations that stay come to nothing in their turn.
    fn give_up_attaches(&mut self, places: &[Place], lost: &Lost<'_>) {
        let mut open: Vec<(AttachNumber, usize)> = Vec::new();
        let mut numbers: Vec<AttachNumber> = Vec::new();
        for &place in places {
            let conversation = &mut self.conversations[place];
            numbers.append(&mut conversation.attaching);
            let waiting = conversation.waiting.len();
            conversation.waiting.retain(|waiting| match waiting {
                Waiting::Attach { attach, item, .. } => {
                    open.push((*attach, *item));
                    false
                }
                Waiting::Request(_) => true,
            });
            self.waiting -= waiting - self.conversations[place].waiting.len();
        }
        numbers.extend(open.iter().map(|&(number, _)| number));
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            self.attach_misplace(number);
            for item in &mut self.attaches.get_mut(number).items {
                if matches!(item.decision, Decision::Member { place, .. } if lost.has(place)) {
                    item.decision = Decision::Stranger;
                }
            }
        }
        for (number, item) in open {
            self.attach_close(number, item, Decision::Stranger);
        }
    }

    /// Answers what waits or is under way in one conversation, after what is published of it.
    fn give_up_requests(&mut self, place: Place) {
        self.release(place);
        let conversation = &mut self.conversations[place];
        let appends = std::mem::take(&mut conversation.appends);
        let waiting = std::mem::take(&mut conversation.waiting);
        let (count, bytes) = appends.load();
        self.appends -= count;
        self.append_bytes -= bytes;
        self.waiting -= waiting.len();
        for origin in appends.origins() {
            // The joins of a creation are answered with it.
            if let Origin::Caller(caller) = origin {
                self.misplace(caller);
            }
        }
        if self.creations.contains_key(&place) {
            self.misplace_creation(place);
        }
        for waiting in waiting {
            match waiting {
                Waiting::Request(request) => self.turn_away(*request),
                Waiting::Attach { .. } => unreachable!("attaches were taken out before"),
            }
        }
    }

    fn give_up_queues(&mut self, lost: &Lost<'_>) {
        for places in [&mut self.batches, &mut self.loads, &mut self.creates] {
            places.retain(|&place| !lost.has(place));
        }
        self.doubts.retain(|&(_, place)| !lost.has(place));
        self.behind.forget(|place| lost.has(place));
        self.touched.retain(|&place| !lost.has(place));
        let mut callers = Vec::new();
        self.removes.retain(|&(place, caller)| {
            let stays = !lost.has(place);
            if !stays {
                callers.push(caller);
            }
            stays
        });
        callers.into_iter().for_each(|caller| self.misplace(caller));
    }

    /// Sessions, watches and openings. The new owner hears of them from their gateway shards; of users whose last session
    /// broke off it would never hear, so when they were last heard goes to the store now.
    fn give_up_users(&mut self, lost: &Lost<'_>) {
        let Self { users, seen, now, .. } = self;
        users.give_up(lost.slots, |hash, user, last_heard| {
            let ago_ms = now.monotonic_ms.saturating_sub(last_heard);
            seen.add(hash, user, now.unix_ms.saturating_sub(ago_ms));
        });
        self.watches.give_up(lost.slots);
        for caller in self.openings.give_up(|user| lost.has_user(user)) {
            self.misplace(caller);
        }
        for caller in self.grace.give_up(|user| lost.has_user(user)) {
            self.misplace(caller);
        }
    }

    fn give_up_reads(&mut self, lost: &Lost<'_>) {
        let mut callers: Vec<Caller> = Vec::new();
        let Self { reads, store, openings, watches, .. } = self;
        let mut stays = |read: &Read| {
            let caller = match *read {
                Read::History(place, caller, _) | Read::Backlog(place, caller, _) => {
                    lost.has(place).then_some(Some(caller))
                }
                Read::PresenceOf(caller, ref user) => lost.has_user(user).then_some(Some(caller)),
                Read::Opening(number) => (!openings.contains(number)).then_some(None),
                Read::Watched(hash) => watches.last_seen(hash).is_none().then_some(None),
                // The store tells the truth to whoever asks.
                Read::Members(_) | Read::Conversations(_) => None,
            };
            callers.extend(caller.flatten());
            caller.is_none()
        };
        reads.retain(|(read, _)| stays(read));
        for pending in store.pending_mut() {
            if matches!(pending, Pending::Read(read) if !stays(read)) {
                *pending = Pending::Orphan(Orphan::Nothing);
            }
        }
        callers.into_iter().for_each(|caller| self.misplace(caller));
    }

    /// Asserts that everything that is held is of slots that the shard has.
    pub(crate) fn tenure_invariants(&self) {
        let owns = |slot| self.owns(slot);
        assert_eq!(self.counters.slots_owned, crate::tenure::owned(&self.table, self.id) as u64);
        self.conversations.invariants(owns);
        self.users.invariants(owns);
        self.watches.invariants(owns);
        self.openings.invariants(owns);
        self.grace.invariants(owns);
        let of_conversation = |key: &ConversationKey| self.owns(Slot::of_conversation(key));
        let here = |request: &ToRouter| {
            crate::request::conversation(request).is_none_or(|key| of_conversation(&key))
        };
        assert!(self.conversations.requests().all(here), "what waits is for an own slot");
    }
}
