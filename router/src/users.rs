//! The users with sessions: who is online, and by which connections to reach them. At most 64 bytes a session of a
//! user with one, and the user's share of an index.

use std::collections::VecDeque;

use protocol::envelope::{Caller, GatewayId};
use protocol::id::UserKey;
use protocol::placement::Slot;

use crate::bits::Bits;
use crate::chunks::Chunks;
use crate::compact::CompactUser;
use crate::hash::UserHash;
use crate::limits::SESSIONS_OF_ONE_MAX;
use crate::openings::OpeningNumber;
use crate::people::{People, User};
use crate::shrink;

/// The end of a list of sessions, and no opening.
const NONE: u32 = u32::MAX;
/// Sessions of one chunk of their table.
const CHUNK: usize = 512;

/// One session: a connection on which a user is.
#[derive(Clone, Copy, Debug)]
struct Session {
    device: u64,
    connection: u64,
    next: u32,
    opening: u32,
    gateway: GatewayId,
    heard: bool,
    /// True when it began here, or with an owner who knew: it is the newest of its device.
    fresh: bool,
}

const _: () = assert!(size_of::<Session>() + size_of::<User>() <= 64);

/// A user who goes offline at `due` unless it is heard again.
#[derive(Debug)]
struct Leaving {
    due: u64,
    number: u32,
    /// Who; `None` when the session ended with its gateway shard, whose word for the user was the last.
    user: Option<CompactUser>,
    hash: UserHash,
    last_heard: u64,
}

/// How to reach a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Its gateway shard.
    pub(crate) gateway: GatewayId,
    /// Its name there.
    pub(crate) connection: u64,
    /// Set while its chat list is on its way.
    pub(crate) opening: Option<OpeningNumber>,
}

/// What a session that begins is registered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// The user's slot.
    pub(crate) slot: Slot,
    /// On which device.
    pub(crate) device: u64,
    /// Its chat list, which is on its way.
    pub(crate) opening: OpeningNumber,
    /// False: it is not new, and may be older than another of its device.
    pub(crate) fresh: bool,
}

/// Why a session was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The shard has no more room.
    Full,
    /// The user has too many.
    TooMany,
}

/// Whether a user came or went by what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Neither.
    Same,
    /// Is online now and was not.
    Came,
    /// Is offline now and was not; last heard so many milliseconds ago.
    Went(u64),
}

/// One whose time online ended with time.
#[derive(Debug)]
pub(crate) struct Gone {
    /// Who, where that is known.
    pub(crate) user: Option<UserKey>,
    /// The same, as a hash.
    pub(crate) hash: UserHash,
    /// When it was last heard, in monotonic milliseconds.
    pub(crate) last_heard: u64,
}

/// All users with sessions.
#[derive(Debug)]
pub(crate) struct Users {
    people: People,
    sessions: Chunks<Session, CHUNK>,
    /// The first free place in `sessions`; the next one is its `next`.
    free: u32,
    count: usize,
    leaving: VecDeque<Leaving>,
    last_number: u32,
    sessions_max: usize,
    offline_ms: u64,
}

impl Users {
    /// Nobody.
    pub(crate) fn new(settings: &crate::Settings) -> Self {
        Self {
            people: People::new(),
            sessions: Chunks::new(),
            free: NONE,
            count: 0,
            leaving: VecDeque::new(),
            last_number: 0,
            sessions_max: settings.sessions_max as usize,
            offline_ms: settings.offline_ms,
        }
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.count
    }

    /// True when the user has a session that was heard of lately.
    pub(crate) fn is_online(&self, hash: UserHash) -> bool {
        self.people.get(hash).is_some_and(User::is_online)
    }

    /// The user's sessions, newest first.
    pub(crate) fn reach(&self, hash: UserHash) -> Vec<Reach> {
        self.list(hash)
            .map(|index| {
                let session = &self.sessions[index];
                let opening = (session.opening != NONE).then_some(OpeningNumber(session.opening));
                Reach { gateway: session.gateway, connection: session.connection, opening }
            })
            .collect()
    }

    fn list(&self, hash: UserHash) -> impl Iterator<Item = u32> {
        let mut at = self.people.get(hash).map_or(NONE, |user| user.first);
        std::iter::from_fn(move || {
            let index = at;
            at = self.sessions.get(index)?.next;
            Some(index)
        })
    }

    fn find(&self, hash: UserHash, wanted: impl Fn(&Session) -> bool) -> Option<u32> {
        self.list(hash).find(|&index| wanted(&self.sessions[index]))
    }

    fn find_caller(&self, hash: UserHash, caller: &Caller) -> Option<u32> {
        self.find(hash, |session| {
            session.gateway == caller.gateway && session.connection == caller.connection
        })
    }

    /// Takes out a session of this device, if there is one: another connection has it now.
    pub(crate) fn replace(&mut self, hash: UserHash, device: u64) -> Option<Reach> {
        let index = self.find(hash, |session| session.device == device)?;
        let Session { gateway, connection, opening, .. } = self.sessions[index];
        self.unlink(hash, index);
        Some(Reach { gateway, connection, opening: (opening != NONE).then_some(OpeningNumber(opening)) })
    }

    /// True when this device has a session that is known to be its newest.
    pub(crate) fn has_fresh(&self, hash: UserHash, device: u64) -> bool {
        self.find(hash, |session| session.device == device && session.fresh).is_some()
    }

    /// The chat list of a session is on its way again. False: there is no such session.
    pub(crate) fn resume(&mut self, hash: UserHash, caller: &Caller, opening: OpeningNumber) -> bool {
        let index = self.find_caller(hash, caller);
        index.map(|index| self.sessions[index].opening = opening.0).is_some()
    }

    /// Registers a session that begins.
    pub(crate) fn open(
        &mut self,
        hash: UserHash,
        caller: &Caller,
        beginning: Beginning,
        was_online: bool,
    ) -> Result<Turn, Refused> {
        if self.sessions() >= self.sessions_max {
            return Err(Refused::Full);
        }
        let Beginning { slot, device, opening, fresh } = beginning;
        let user = self.people.open(hash, slot);
        if user.sessions >= SESSIONS_OF_ONE_MAX {
            return Err(Refused::TooMany);
        }
        let Caller { gateway, connection, .. } = *caller;
        let (next, opening, heard) = (user.first, opening.0, true);
        let session = Session { device, connection, next, opening, gateway, heard, fresh };
        let index = Self::place(&mut self.sessions, &mut self.free, session);
        self.count += 1;
        (user.first, user.lingering) = (index, 0);
        user.sessions += 1;
        user.heard += 1;
        Ok(if was_online { Turn::Same } else { Turn::Came })
    }

    fn place(sessions: &mut Chunks<Session, CHUNK>, free: &mut u32, session: Session) -> u32 {
        if *free == NONE {
            return sessions.push(session);
        }
        let index = *free;
        *free = std::mem::replace(&mut sessions[index], session).next;
        index
    }

    /// The session's chat list is here, unless it is on its way again. False: so it is, or there is no such session.
    pub(crate) fn opened(&mut self, hash: UserHash, caller: &Caller, opening: OpeningNumber) -> bool {
        let index = self.find_caller(hash, caller).filter(|&index| self.sessions[index].opening == opening.0);
        index.map(|index| self.sessions[index].opening = NONE).is_some()
    }

    /// A session fell silent for the offline time, or was heard again.
    pub(crate) fn heard(&mut self, hash: UserHash, caller: &Caller, heard: bool) -> Turn {
        let Some(index) = self.find_caller(hash, caller) else { return Turn::Same };
        let session = &mut self.sessions[index];
        if session.heard == heard {
            return Turn::Same;
        }
        session.heard = heard;
        let user = self.people.get_mut(hash).expect("a session has a user");
        let before = user.is_online();
        user.heard = if heard { user.heard + 1 } else { user.heard - 1 };
        match (before, user.is_online()) {
            (false, true) => Turn::Came,
            (true, false) => Turn::Went(self.offline_ms),
            _ => Turn::Same,
        }
    }

    /// A session ended.
    pub(crate) fn close(
        &mut self,
        hash: UserHash,
        user: &UserKey,
        caller: &Caller,
        normal: bool,
        now_ms: u64,
    ) -> Turn {
        let Some(index) = self.find_caller(hash, caller) else { return Turn::Same };
        let before = self.is_online(hash);
        let was_heard = self.sessions[index].heard;
        self.unlink(hash, index);
        let state = self.people.get_mut(hash).expect("a session has a user");
        if normal && state.sessions == 0 {
            state.lingering = 0;
        } else if !normal && was_heard && state.heard == 0 {
            self.linger(hash, Some(user), now_ms);
        }
        let after = self.is_online(hash);
        self.drop_if_empty(hash);
        if before && !after { Turn::Went(0) } else { Turn::Same }
    }

    fn unlink(&mut self, hash: UserHash, index: u32) {
        let Session { next, heard, .. } = self.sessions[index];
        let previous = self.list(hash).find(|&other| self.sessions[other].next == index);
        let user = self.people.get_mut(hash).expect("a session has a user");
        user.sessions -= 1;
        user.heard -= u16::from(heard);
        match previous {
            Some(previous) => self.sessions[previous].next = next,
            None => user.first = next,
        }
        self.sessions[index].next = std::mem::replace(&mut self.free, index);
        self.count -= 1;
    }

    /// The user's last session that was heard broke off: the user stays online for a while. Not when too many do so.
    fn linger(&mut self, hash: UserHash, user: Option<&UserKey>, now_ms: u64) {
        if self.leaving.len() >= self.sessions_max {
            return;
        }
        self.last_number = self.last_number.wrapping_add(1).max(1);
        let number = self.last_number;
        self.people.get_mut(hash).expect("a session has a user").lingering = number;
        let due = now_ms + self.offline_ms;
        self.leaving.push_back(Leaving {
            due,
            number,
            user: user.map(CompactUser::new),
            hash,
            last_heard: now_ms,
        });
    }

    fn drop_if_empty(&mut self, hash: UserHash) {
        if self.people.get(hash).is_some_and(|user| user.sessions == 0 && user.lingering == 0) {
            self.people.remove(hash);
        }
    }

    /// How many records of users there are, free ones as well.
    pub(crate) fn records(&self) -> usize {
        self.people.records()
    }

    /// Ends the sessions of a record's user whose gateway shards are not to be kept: as if they broke off. `None`: there
    /// were none.
    pub(crate) fn keep_sessions(
        &mut self,
        record: usize,
        keeps: impl Fn(GatewayId) -> bool,
        now_ms: u64,
    ) -> Option<(UserHash, Turn)> {
        let (hash, user) = self.people.at(record)?;
        let before = user.is_online();
        let ends: Vec<u32> = self.list(hash).filter(|&index| !keeps(self.sessions[index].gateway)).collect();
        let was_heard = ends.iter().any(|&index| self.sessions[index].heard);
        ends.iter().for_each(|&index| self.unlink(hash, index));
        if ends.is_empty() {
            return None;
        }
        if was_heard && self.people.get(hash)?.heard == 0 {
            self.linger(hash, None, now_ms);
        }
        let after = self.is_online(hash);
        self.drop_if_empty(hash);
        Some((hash, if before && !after { Turn::Went(0) } else { Turn::Same }))
    }

    /// Forgets the users of these slots. Those whose last session broke off a while ago are given to `lingered`.
    pub(crate) fn give_up(&mut self, slots: &Bits, mut lingered: impl FnMut(UserHash, &UserKey, u64)) {
        let Self { people, leaving, .. } = self;
        leaving.retain(|Leaving { number, user, hash, last_heard, .. }| {
            let state = people.get(*hash).filter(|state| state.lingering == *number);
            let Some(state) = state.filter(|state| slots.contains(usize::from(state.slot.0))) else {
                return true;
            };
            if let (0, Some(user)) = (state.heard, user) {
                lingered(*hash, &user.key(), *last_heard);
            }
            false
        });
        for record in 0..self.people.records() {
            let Some((hash, user)) = self.people.at(record) else { continue };
            if slots.contains(usize::from(user.slot.0)) {
                self.forget(hash);
            }
        }
    }

    fn forget(&mut self, hash: UserHash) {
        let mut at = self.people.get(hash).map_or(NONE, |user| user.first);
        while at != NONE {
            let next = std::mem::replace(&mut self.sessions[at].next, self.free);
            self.free = std::mem::replace(&mut at, next);
            self.count -= 1;
        }
        self.people.remove(hash);
    }

    /// The gateway shards of all sessions.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = GatewayId> {
        let sessions = self.people.iter().flat_map(|(hash, _)| self.list(hash));
        sessions.map(|index| self.sessions[index].gateway)
    }

    /// The next user whose time online is over.
    pub(crate) fn gone(&mut self, now_ms: u64) -> Option<Gone> {
        while self.leaving.front().is_some_and(|leaving| leaving.due <= now_ms) {
            let Leaving { number, user, hash, last_heard, .. } = self.leaving.pop_front()?;
            let Some(state) = self.people.get_mut(hash).filter(|state| state.lingering == number) else {
                continue;
            };
            state.lingering = 0;
            let went = state.heard == 0;
            self.drop_if_empty(hash);
            if went {
                return Some(Gone { user: user.map(|user| user.key()), hash, last_heard });
            }
        }
        None
    }

    /// When the next user's time online may be over, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.leaving.front().map(|leaving| leaving.due)
    }

    /// Gives back memory that a storm took.
    pub(crate) fn trim(&mut self) {
        shrink::queue(&mut self.leaving);
    }

    /// Asserts the bounds, that users and sessions agree, and that all are of slots that the shard has.
    pub(crate) fn invariants(&self, owns: impl Fn(Slot) -> bool) {
        assert!(self.sessions() <= self.sessions_max);
        assert!(self.leaving.len() <= self.sessions_max);
        let mut sessions = 0;
        for (hash, user) in self.people.iter() {
            assert!(user.sessions > 0 || user.lingering != 0);
            assert!(owns(user.slot));
            assert!(user.sessions <= SESSIONS_OF_ONE_MAX);
            let heard = self.list(hash).filter(|&index| self.sessions[index].heard).count();
            assert_eq!(self.list(hash).count(), usize::from(user.sessions));
            assert_eq!(heard, usize::from(user.heard));
            sessions += usize::from(user.sessions);
        }
        assert_eq!(sessions, self.sessions());
    }
}
