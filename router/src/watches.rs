//! Who watches whom: gateway shards and the users whose presence they want, and what they have yet to be told.
//!
//! A change is remembered as *owed* to each gateway shard until it was sent, newest state only; when a full mailbox
//! gave it back, it is owed again.

use std::collections::BTreeMap;

use protocol::envelope::GatewayId;
use protocol::id::UserKey;
use protocol::placement::Slot;

use crate::bits::Bits;
use crate::compact::CompactUser;
use crate::hash::{Keys, Table, UserHash};

/// One gateway shard that watches a user.
#[derive(Clone, Copy, Debug)]
struct Watcher {
    gateway: GatewayId,
    owed: bool,
}

/// When a watched user was last heard, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastSeen {
    /// Not asked for yet.
    Unknown,
    /// The store is asked.
    Asked,
    /// Then, in milliseconds since the Unix epoch; `None`: never.
    Known(Option<u64>),
}

/// One watched user.
#[derive(Debug)]
struct Watched {
    user: CompactUser,
    slot: Slot,
    watchers: Vec<Watcher>,
    last_seen: LastSeen,
    /// Its place in the order of changes, while it is there.
    turn: Option<u64>,
}

/// All watched users.
#[derive(Debug)]
pub(crate) struct Watches {
    watched: Table<UserHash, Watched>,
    /// Users of whom something is owed, in the order of their changes.
    owed: BTreeMap<u64, UserHash>,
    turns: u64,
    due: Option<u64>,
    watched_max: usize,
}

impl Watches {
    /// Nobody.
    pub(crate) fn new(settings: &crate::Settings, keys: &Keys) -> Self {
        Self {
            watched: keys.table(),
            owed: BTreeMap::new(),
            turns: 0,
            due: None,
            watched_max: settings.watched_max as usize,
        }
    }

    /// How many are watched.
    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }

    /// A gateway shard watches a user: the answer is owed at once. False: too many are watched.
    pub(crate) fn watch(
        &mut self,
        hash: UserHash,
        user: &UserKey,
        slot: Slot,
        gateway: GatewayId,
        now_ms: u64,
    ) -> bool {
        if self.len() >= self.watched_max && !self.watched.contains_key(&hash) {
            return false;
        }
        let fresh = || Watched {
            user: CompactUser::new(user),
            slot,
            watchers: Vec::new(),
            last_seen: LastSeen::Unknown,
            turn: None,
        };
        let watched = self.watched.entry(hash).or_insert_with(fresh);
        if !watched.watchers.iter().any(|watcher| watcher.gateway == gateway) {
            watched.watchers.push(Watcher { gateway, owed: false });
        }
        self.owe(hash, Some(gateway), now_ms);
        true
    }

    /// A gateway shard watches a user no more.
    pub(crate) fn unwatch(&mut self, hash: UserHash, gateway: GatewayId) {
        self.keep_watchers(hash, |other| other != gateway);
    }

    /// Takes out those who watch a user and are not to be kept.
    pub(crate) fn keep_watchers(&mut self, hash: UserHash, keeps: impl Fn(GatewayId) -> bool) {
        let Some(watched) = self.watched.get_mut(&hash) else { return };
        watched.watchers.retain(|watcher| keeps(watcher.gateway));
        if !watched.watchers.is_empty() {
            return;
        }
        if let Some(Watched { turn: Some(turn), .. }) = self.watched.remove(&hash) {
            self.owed.remove(&turn);
        }
    }

    /// Everybody who is watched.
    pub(crate) fn all(&self) -> Vec<UserHash> {
        self.watched.keys().copied().collect()
    }

    /// Forgets those of these slots.
    pub(crate) fn give_up(&mut self, slots: &Bits) {
        let Self { watched, owed, .. } = self;
        watched.retain(|_, watched| {
            let stays = !slots.contains(usize::from(watched.slot.0));
            if let (false, Some(turn)) = (stays, watched.turn) {
                owed.remove(&turn);
            }
            stays
        });
    }

    /// Everybody who watches somebody.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = GatewayId> {
        self.watched.values().flat_map(|watched| watched.watchers.iter().map(|watcher| watcher.gateway))
    }

    /// The slot of a watched user.
    pub(crate) fn slot(&self, hash: UserHash) -> Option<Slot> {
        self.watched.get(&hash).map(|watched| watched.slot)
    }

    /// A user came (`last_seen` is `None`) or went: owed to everybody who watches it, by `due`.
    pub(crate) fn changed(&mut self, hash: UserHash, last_seen: Option<u64>, due: u64) {
        let Some(watched) = self.watched.get_mut(&hash) else { return };
        if last_seen.is_some() {
            watched.last_seen = LastSeen::Known(last_seen);
        }
        self.owe(hash, None, due);
    }

    /// Owes a user's presence to one gateway shard, or to all that watch it.
    pub(crate) fn owe(&mut self, hash: UserHash, gateway: Option<GatewayId>, due: u64) {
        let Some(watched) = self.watched.get_mut(&hash) else { return };
        for watcher in &mut watched.watchers {
            watcher.owed |= gateway.is_none_or(|gateway| gateway == watcher.gateway);
        }
        self.requeue(hash, due);
    }

    /// Looks at a user again, by `due`.
    pub(crate) fn requeue(&mut self, hash: UserHash, due: u64) {
        let Some(watched) = self.watched.get_mut(&hash) else { return };
        let earlier = self.due.filter(|_| !self.owed.is_empty());
        self.due = Some(earlier.map_or(due, |earlier| earlier.min(due)));
        if watched.turn.is_none() {
            self.turns += 1;
            watched.turn = Some(self.turns);
            self.owed.insert(self.turns, hash);
        }
    }

    /// When something is to be told, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        if self.owed.is_empty() { None } else { self.due }
    }

    /// Of how many users something is owed, when the batch is due.
    pub(crate) fn due(&self, now_ms: u64) -> usize {
        if self.due.is_some_and(|due| due <= now_ms) { self.owed.len() } else { 0 }
    }

    /// The next user of whom something is owed.
    pub(crate) fn next(&mut self) -> Option<UserHash> {
        let (_, hash) = self.owed.pop_first()?;
        self.watched.get_mut(&hash).expect("whoever is in the order is watched").turn = None;
        Some(hash)
    }

    /// The rest of the batch waits for its next time.
    pub(crate) fn postpone(&mut self, due: u64) {
        self.due = Some(due);
    }

    /// Who is owed this user's presence; they are owed nothing any more.
    pub(crate) fn settle(&mut self, hash: UserHash) -> Vec<GatewayId> {
        let Some(watched) = self.watched.get_mut(&hash) else { return Vec::new() };
        let mut gateways = Vec::new();
        for watcher in &mut watched.watchers {
            if std::mem::take(&mut watcher.owed) {
                gateways.push(watcher.gateway);
            }
        }
        gateways
    }

    /// What is known of when a watched user was last heard.
    pub(crate) fn last_seen(&self, hash: UserHash) -> Option<LastSeen> {
        self.watched.get(&hash).map(|watched| watched.last_seen)
    }

    /// Who a watched user is.
    pub(crate) fn user(&self, hash: UserHash) -> Option<UserKey> {
        self.watched.get(&hash).map(|watched| watched.user.key())
    }

    /// Notes when a watched user was last heard, or that the store is asked.
    pub(crate) fn learn(&mut self, hash: UserHash, last_seen: LastSeen) {
        if let Some(watched) = self.watched.get_mut(&hash) {
            watched.last_seen = last_seen;
        }
    }

    /// Asserts the bounds, and that all are of slots that the shard has.
    pub(crate) fn invariants(&self, owns: impl Fn(Slot) -> bool) {
        assert!(self.len() <= self.watched_max);
        let in_order = self.watched.values().filter(|watched| watched.turn.is_some()).count();
        assert_eq!(in_order, self.owed.len());
        assert!(self.owed.is_empty() || self.due.is_some());
        for watched in self.watched.values() {
            assert!(!watched.watchers.is_empty());
            assert!(owns(watched.slot) && watched.slot == Slot::of_user(&watched.user.key()));
            let owed = watched.watchers.iter().any(|watcher| watcher.owed);
            assert!(!owed || watched.turn.is_some() || watched.last_seen == LastSeen::Asked);
        }
    }
}
