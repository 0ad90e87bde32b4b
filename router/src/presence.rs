//! Presence: who is online, told in batches to the gateway shards that watch, newest state only.

use protocol::envelope::{Caller, GatewayId, ToGateway};
use protocol::id::UserKey;
use protocol::placement::Slot;
use storage::request::{Outcome, Request};

use crate::Operation;
use crate::hash::UserHash;
use crate::limits::{PRESENCE_A_BATCH, STORE_RETRY_MS};
use crate::refusal::BUSY;
use crate::shard::RouterShard;
use crate::store::{Pending, Read};
use crate::users::{Gone, Turn};
use crate::watches::LastSeen;

impl RouterShard {
    /// A user came or went, or neither.
    pub(crate) fn presence_turn(&mut self, hash: UserHash, user: &UserKey, turn: Turn) {
        let due = self.now.monotonic_ms + self.settings.presence_batch_ms;
        match turn {
            Turn::Same => {}
            Turn::Came => self.watches.changed(hash, None, due),
            Turn::Went(ago_ms) => {
                let last_seen = self.now.unix_ms.saturating_sub(ago_ms);
                self.seen.add(hash, user, last_seen);
                self.watches.changed(hash, Some(last_seen), due);
            }
        }
    }

    /// Users whose last session broke off a while ago are offline now.
    pub(crate) fn flush_offline(&mut self) {
        while let Some(Gone { user, hash, last_heard }) = self.users.gone(self.now.monotonic_ms) {
            // Of whom a gone gateway shard took with it only the hash is left: when it was heard is told to who watches.
            let Some(user) = user.or_else(|| self.watches.user(hash)) else { continue };
            let ago_ms = self.now.monotonic_ms.saturating_sub(last_heard);
            self.presence_turn(hash, &user, Turn::Went(ago_ms));
        }
    }

    /// A gateway shard wants to know of these users: now, and on each change.
    pub(crate) fn watch(&mut self, gateway: GatewayId, users: &[UserKey]) {
        let now_ms = self.now.monotonic_ms;
        for user in users {
            let slot = Slot::of_user(user);
            // A gateway shard whose table is another one sorts them anew by the next.
            if !self.owns(slot) {
                continue;
            }
            let hash = self.keys.user(user);
            if !self.watches.watch(hash, user, slot, gateway, now_ms) {
                let online = self.users.is_online(hash);
                let last_seen = self.seen.get(hash).filter(|_| !online);
                if online || self.grace.until(|| slot, now_ms).is_none() {
                    self.tell_presence(gateway, *user, online, last_seen);
                }
            }
        }
    }

    /// A gateway shard no longer wants to know of these users.
    pub(crate) fn unwatch(&mut self, gateway: GatewayId, users: &[UserKey]) {
        for user in users {
            self.watches.unwatch(self.keys.user(user), gateway);
        }
    }

    /// Tells what is owed, as much as one batch takes.
    pub(crate) fn flush_presence(&mut self) {
        let now_ms = self.now.monotonic_ms;
        let mut told = 0;
        // What is owed again while the batch goes out belongs to the next one.
        for _ in 0..self.watches.due(now_ms) {
            if told >= PRESENCE_A_BATCH {
                break;
            }
            if let Some(hash) = self.watches.next() {
                told += self.settle_presence(hash);
            }
            self.watches.postpone(now_ms + self.settings.presence_batch_ms);
        }
    }

    /// Tells one user's presence to whom it is owed, once it is known when the user was last heard.
    fn settle_presence(&mut self, hash: UserHash) -> usize {
        let Some(user) = self.watches.user(hash) else { return 0 };
        let online = self.users.is_online(hash);
        let slot = || self.watches.slot(hash).expect("whose presence is told is watched");
        let now_ms = self.now.monotonic_ms;
        if !online && let Some(until) = self.grace.until(slot, now_ms) {
            self.watches.requeue(hash, until);
            return 0;
        }
        let last_seen = match (online, self.seen.get(hash), self.watches.last_seen(hash)) {
            (true, _, _) => None,
            (false, Some(time), _) => Some(time),
            (false, None, Some(LastSeen::Known(time))) => time,
            (false, None, Some(LastSeen::Asked)) => return 0,
            (false, None, Some(LastSeen::Unknown) | None) => {
                self.ask_last_seen(hash, user);
                return 0;
            }
        };
        let owed = self.watches.settle(hash);
        for &gateway in &owed {
            self.tell_presence(gateway, user, online, last_seen);
        }
        owed.len()
    }

    fn ask_last_seen(&mut self, hash: UserHash, user: UserKey) {
        let asked = self.read(Read::Watched(hash), Request::LastSeen { user });
        if asked.is_some() {
            self.watches.learn(hash, LastSeen::Asked);
        } else {
            self.watches.requeue(hash, self.now.monotonic_ms + STORE_RETRY_MS);
        }
    }

    /// When a watched user was last heard is known, or is asked for again later.
    pub(crate) fn watched_outcome(&mut self, hash: UserHash, outcome: &Outcome) {
        if self.watches.last_seen(hash) != Some(LastSeen::Asked) {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let (learned, due) = match outcome {
            Outcome::LastSeen(time) => (LastSeen::Known(*time), now_ms),
            _ => (LastSeen::Unknown, now_ms + STORE_RETRY_MS),
        };
        self.watches.learn(hash, learned);
        self.watches.requeue(hash, due);
    }

    fn tell_presence(&mut self, gateway: GatewayId, user: UserKey, online: bool, last_seen: Option<u64>) {
        if !self.outgoing.reaches(gateway) {
            return;
        }
        if self.outgoing.is_open(gateway) {
            let presence = ToGateway::Presence { user, online, last_seen };
            self.outgoing.push(Operation::ToGateway(gateway, presence));
        } else {
            self.counters.ephemeral_dropped += 1;
            let due = self.now.monotonic_ms + self.settings.presence_batch_ms;
            self.watches.owe(self.keys.user(&user), Some(gateway), due);
        }
    }

    /// A user's presence, once.
    pub(crate) fn presence_of(&mut self, caller: Caller, user: UserKey) {
        let slot = Slot::of_user(&user);
        if !self.owns(slot) {
            return self.misplace(caller);
        }
        let hash = self.keys.user(&user);
        let online = self.users.is_online(hash);
        if !online && let Some(until) = self.grace.until(|| slot, self.now.monotonic_ms) {
            if !self.grace.ask(until, caller, user) {
                self.refuse_caller(caller, None, BUSY);
            }
            return;
        }
        let pending = self.seen.get(hash);
        if online || pending.is_some() {
            return self.answer_presence(caller, user, pending);
        }
        if self.read(Read::PresenceOf(caller, user), Request::LastSeen { user }).is_none() {
            self.refuse_caller(caller, None, BUSY);
        }
    }

    /// Answers those who asked while the sessions of a slot were still being announced.
    pub(crate) fn flush_asked(&mut self) {
        while let Some((caller, user)) = self.grace.due(self.now.monotonic_ms) {
            self.presence_of(caller, user);
        }
    }

    /// Answers with a user's presence as it is now.
    pub(crate) fn answer_presence(&mut self, caller: Caller, user: UserKey, last_seen: Option<u64>) {
        let hash = self.keys.user(&user);
        let online = self.users.is_online(hash);
        let last_seen = self.seen.get(hash).or(last_seen).filter(|_| !online);
        let answer = ToGateway::PresenceOf { caller, user, online, last_seen };
        self.outgoing.answer(caller.gateway, answer);
    }

    /// Sends the times that wait, one request at a time.
    pub(crate) fn flush_seen(&mut self) {
        if self.store.has_room()
            && let Some(seen) = self.seen.take(self.now.monotonic_ms)
        {
            let id = self.store.begin(Pending::Seen);
            self.outgoing.push(Operation::Store(id, Request::Seen { seen }));
        }
    }
}
