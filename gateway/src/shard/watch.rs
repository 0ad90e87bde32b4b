//! Watching: which connections want to know of which users, so that a user's owner is asked once a shard.

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use protocol::envelope::ToRouter;
use protocol::error::{ErrorCode, Refusal};
use protocol::frame::ServerFrame;
use protocol::id::{UserId, UserKey};
use protocol::limits::WATCH_USERS_MAX;
use protocol::placement::Slot;

use super::GatewayShard;
use super::connection::{Connection, NONE, State};

/// What the owner last said of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Presence {
    online: bool,
    last_seen: Option<u64>,
}

/// A user whom somebody here watches.
#[derive(Debug)]
struct Watched {
    key: UserKey,
    /// First watch.
    watchers: u32,
    /// `None` until the owner has answered.
    presence: Option<Presence>,
}

/// One connection's wish to know of one user.
#[derive(Clone, Copy, Debug)]
struct Watch {
    slot: u32,
    watched: u32,
    next_of_user: u32,
    previous_of_user: u32,
    next_of_connection: u32,
}

/// All watches of a shard.
#[derive(Debug)]
pub(super) struct Watches {
    index: HashMap<UserKey, u32, SeedableRandomState>,
    watched: Vec<Watched>,
    watched_free: Vec<u32>,
    watches: Vec<Watch>,
    free: u32,
}

impl Watches {
    pub(super) fn new(hasher: SeedableRandomState) -> Self {
        Self {
            index: HashMap::with_hasher(hasher),
            watched: Vec::new(),
            watched_free: Vec::new(),
            watches: Vec::new(),
            free: NONE,
        }
    }

    fn of_connection(&self, connection: &Connection) -> impl Iterator<Item = u32> + '_ {
        let some = |at: u32| (at != NONE).then_some(at);
        core::iter::successors(some(connection.watches), move |&at| {
            some(self.watches[at as usize].next_of_connection)
        })
    }

    /// Adds a watch; the watched user's number, and whether this is the first of the shard.
    fn add(&mut self, connection: &mut Connection, slot: u32, key: UserKey) -> (u32, bool) {
        let (watched, first) = match self.index.get(&key) {
            Some(&watched) => (watched, false),
            None => (self.make(key), true),
        };
        let next_of_user = self.watched[watched as usize].watchers;
        let watch = Watch {
            slot,
            watched,
            next_of_user,
            previous_of_user: NONE,
            next_of_connection: connection.watches,
        };
        let at = self.allocate(watch);
        if next_of_user != NONE {
            self.watches[next_of_user as usize].previous_of_user = at;
        }
        self.watched[watched as usize].watchers = at;
        connection.watches = at;
        connection.watched += 1;
        (watched, first)
    }

    fn make(&mut self, key: UserKey) -> u32 {
        let watched = Watched { key, watchers: NONE, presence: None };
        let at = match self.watched_free.pop() {
            Some(at) => {
                self.watched[at as usize] = watched;
                at
            }
            None => {
                self.watched.push(watched);
                (self.watched.len() - 1) as u32
            }
        };
        self.index.insert(key, at);
        at
    }

    fn allocate(&mut self, watch: Watch) -> u32 {
        if self.free == NONE {
            self.watches.push(watch);
            return (self.watches.len() - 1) as u32;
        }
        let at = self.free;
        self.free = core::mem::replace(&mut self.watches[at as usize], watch).next_of_connection;
        at
    }

    /// Removes the watch behind `previous` (`NONE`: the first) of a connection; its user when it was the last.
    fn remove(&mut self, connection: &mut Connection, previous: u32) -> Option<UserKey> {
        let at = if previous == NONE {
            connection.watches
        } else {
            self.watches[previous as usize].next_of_connection
        };
        let watch = self.watches[at as usize];
        if previous == NONE {
            connection.watches = watch.next_of_connection;
        } else {
            self.watches[previous as usize].next_of_connection = watch.next_of_connection;
        }
        connection.watched -= 1;
        if watch.next_of_user != NONE {
            self.watches[watch.next_of_user as usize].previous_of_user = watch.previous_of_user;
        }
        let watched = &mut self.watched[watch.watched as usize];
        if watch.previous_of_user == NONE {
            watched.watchers = watch.next_of_user;
        } else {
            self.watches[watch.previous_of_user as usize].next_of_user = watch.next_of_user;
        }
        self.watches[at as usize].next_of_connection = self.free;
        self.free = at;
        if watched.watchers != NONE {
            return None;
        }
        self.index.remove(&watched.key);
        self.watched_free.push(watch.watched);
        Some(watched.key)
    }

    /// True when somebody here watches a user.
    pub(super) fn has(&self, user: &UserKey) -> bool {
        self.index.contains_key(user)
    }

    /// Numbers of watched users lie below.
    pub(super) fn end(&self) -> u32 {
        self.watched.len() as u32
    }

    /// The watched user of a number, if there is one.
    pub(super) fn numbered(&self, at: u32) -> Option<&UserKey> {
        self.watched.get(at as usize).filter(|watched| watched.watchers != NONE).map(|watched| &watched.key)
    }

    /// Asserts the links, and that no user is kept that nobody watches.
    pub(super) fn invariants(&self) {
        assert_eq!(self.index.len() + self.watched_free.len(), self.watched.len());
        for (key, &at) in &self.index {
            let watched = &self.watched[at as usize];
            assert!(watched.key == *key && watched.watchers != NONE);
            let (mut watch, mut previous) = (watched.watchers, NONE);
            while watch != NONE {
                let found = &self.watches[watch as usize];
                assert_eq!((found.watched, found.previous_of_user), (at, previous));
                (previous, watch) = (watch, found.next_of_user);
            }
        }
    }
}

impl GatewayShard {
    pub(super) fn watch(&mut self, slot: u32, users: &[UserId]) {
        let tenant = self.user_key(slot).tenant;
        let mut asked = Vec::new();
        let mut refused = false;
        for &user in users {
            let key = UserKey { tenant, user };
            let known = self.watches.index.get(&key).copied().filter(|&watched| {
                let mut of_connection = self.watches.of_connection(&self.slab[slot]);
                of_connection.any(|at| self.watches.watches[at as usize].watched == watched)
            });
            let watched = match known {
                Some(watched) => watched,
                None if u32::from(self.slab[slot].watched) >= self.settings.watch_users_max => {
                    refused = true;
                    continue;
                }
                None => {
                    let (watched, first) = self.watches.add(&mut self.slab[slot], slot, key);
                    if first {
                        asked.push(key);
                    }
                    watched
                }
            };
            if let Some(Presence { online, last_seen }) = self.watches.watched[watched as usize].presence {
                self.answer(slot, &ServerFrame::Presence { user, online, last_seen });
            }
        }
        if refused {
            let refusal = Refusal::new(ErrorCode::TooLarge, "the connection watches too many users");
            self.refuse(slot, None, None, refusal);
        }
        let gateway = self.id;
        self.tell_owners(asked, |users| ToRouter::Watch { gateway, users });
    }

    pub(super) fn unwatch(&mut self, slot: u32, users: &[UserId]) {
        self.unwatch_where(slot, |key| users.contains(&key.user));
    }

    pub(super) fn unwatch_all(&mut self, slot: u32) {
        if self.slab[slot].watches != NONE {
            self.unwatch_where(slot, |_| true);
        }
    }

    fn unwatch_where(&mut self, slot: u32, matches: impl Fn(&UserKey) -> bool) {
        let mut unwatched = Vec::new();
        let (mut at, mut previous) = (self.slab[slot].watches, NONE);
        while at != NONE {
            let watch = self.watches.watches[at as usize];
            if matches(&self.watches.watched[watch.watched as usize].key) {
                if let Some(key) = self.watches.remove(&mut self.slab[slot], previous) {
                    unwatched.push(key);
                }
            } else {
                previous = at;
            }
            at = watch.next_of_connection;
        }
        let gateway = self.id;
        self.tell_owners(unwatched, |users| ToRouter::Unwatch { gateway, users });
    }

    /// Tells each owner of its users, of so many at a time as a frame of a link surely holds.
    pub(super) fn tell_owners(&mut self, users: Vec<UserKey>, envelope: impl Fn(Box<[UserKey]>) -> ToRouter) {
        for (owner, users) in self.owners.group(users.into_iter().map(|user| (Slot::of_user(&user), user))) {
            for users in users.chunks(WATCH_USERS_MAX) {
                self.tell_owner(owner, envelope(users.into()));
            }
        }
    }

    /// Somebody came or went, or an owner answers for the first time.
    pub(super) fn presence(&mut self, user: &UserKey, online: bool, last_seen: Option<u64>) {
        let Some(&watched) = self.watches.index.get(user) else { return };
        let before = self.watches.watched[watched as usize].presence.replace(Presence { online, last_seen });
        let first = before.is_none();
        if self.cluster.is_some() && before == Some(Presence { online, last_seen }) {
            // The answer to a watch that was announced again: no news to anybody.
            return;
        }
        let frame = ServerFrame::Presence { user: user.user, online, last_seen };
        let mut at = self.watches.watched[watched as usize].watchers;
        while at != NONE {
            let Watch { slot, next_of_user, .. } = self.watches.watches[at as usize];
            // The first is the answer to a request; later ones are ephemeral.
            if self.slab[slot].state == State::Open && (first || self.is_half_empty(slot)) {
                self.answer(slot, &frame);
            } else {
                self.counters.ephemeral_dropped += 1;
            }
            at = next_of_user;
        }
    }
}
