//! Who types where: throttled, over after a while of silence, bounded. Knows users by their ids, and sends nothing itself.

use std::collections::BTreeSet;

use protocol::id::UserId;

use crate::conversation::Place;
use crate::hash::{Keys, Table, UserHash};
use crate::limits::{TYPING_EVERY_MS, TYPING_MAX, TYPING_OVER_MS};

/// A user in a conversation.
type Typist = (Place, UserHash);

/// One who types, or did a moment ago.
#[derive(Clone, Copy, Debug)]
struct State {
    user: UserId,
    /// True: the room was told that the user types.
    shown: bool,
    /// When the room was last told so, in monotonic milliseconds.
    told_at: u64,
    /// When this has to be looked at again.
    due: u64,
}

/// What came of somebody's typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// The room is to be told.
    Tell,
    /// The room knows, or has been told a moment ago.
    Hush,
    /// Too many type at once.
    Full,
}

/// Everybody who types.
#[derive(Debug)]
pub(crate) struct Typing {
    states: Table<Typist, State>,
    due: BTreeSet<(u64, Typist)>,
}

/// One whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// Where.
    pub(crate) place: Place,
    /// Who, when the room has to be told.
    pub(crate) tell: Option<UserId>,
}

impl Typing {
    /// Nobody types.
    pub(crate) fn new(keys: &Keys) -> Self {
        Self { states: keys.table(), due: BTreeSet::new() }
    }

    /// Is there a state of this user here? Each one keeps its conversation in its place.
    pub(crate) fn knows(&self, place: Place, hash: UserHash) -> bool {
        self.states.contains_key(&(place, hash))
    }

    /// The user types.
    pub(crate) fn on(&mut self, place: Place, hash: UserHash, user: UserId, now_ms: u64) -> Typed {
        let typist = (place, hash);
        let due = now_ms + TYPING_OVER_MS;
        let full = self.states.len() >= TYPING_MAX;
        match self.states.get_mut(&typist) {
            Some(state) => {
                let tell = now_ms >= state.told_at + TYPING_EVERY_MS;
                if !tell && !state.shown {
                    return Typed::Hush;
                }
                self.due.remove(&(state.due, typist));
                self.due.insert((due, typist));
                state.due = due;
                if !tell {
                    return Typed::Hush;
                }
                (state.shown, state.told_at) = (true, now_ms);
                Typed::Tell
            }
            None if full => Typed::Full,
            None => {
                self.states.insert(typist, State { user, shown: true, told_at: now_ms, due });
                self.due.insert((due, typist));
                Typed::Tell
            }
        }
    }

    /// The user types no more.
    pub(crate) fn off(&mut self, place: Place, hash: UserHash) -> Typed {
        let typist = (place, hash);
        let Some(state) = self.states.get_mut(&typist) else { return Typed::Hush };
        if !std::mem::replace(&mut state.shown, false) {
            return Typed::Hush;
        }
        // Kept until the throttle is over, or quick changes would get around it.
        self.due.remove(&(state.due, typist));
        state.due = state.told_at + TYPING_EVERY_MS;
        self.due.insert((state.due, typist));
        Typed::Tell
    }

    /// The next one whose time is up.
    pub(crate) fn over(&mut self, now_ms: u64) -> Option<Over> {
        let &(due, typist) = self.due.first()?;
        if due > now_ms {
            return None;
        }
        self.due.remove(&(due, typist));
        let state = self.states.remove(&typist).expect("whoever is due has a state");
        Some(Over { place: typist.0, tell: state.shown.then_some(state.user) })
    }

    /// Ends the typing in these conversations, whose pins go with them.
    pub(crate) fn end(&mut self, ends: impl Fn(Place) -> bool) -> Vec<Over> {
        let mut over = Vec::new();
        let Self { states, due } = self;
        due.retain(|&(_, typist)| {
            let stays = !ends(typist.0);
            if !stays && let Some(state) = states.remove(&typist) {
                over.push(Over { place: typist.0, tell: state.shown.then_some(state.user) });
            }
            stays
        });
        over
    }

    /// When the next one's time is up, in monotonic milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Asserts the bound and that both tables agree.
    pub(crate) fn invariants(&self) {
        assert!(self.states.len() <= TYPING_MAX);
        assert_eq!(self.states.len(), self.due.len());
        assert!(self.states.iter().all(|(typist, state)| self.due.contains(&(state.due, *typist))));
    }
}
