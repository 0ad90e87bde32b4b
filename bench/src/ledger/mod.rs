//! The ledger: what clients were told, held against the promises of PROTOCOL, section 3. Every event must be the next one
//! of its conversation (order, density, no repeats), every member must hear everything that was acknowledged
//! (completeness), and the same content at the same place. One ledger a thread; [`settle`] brings them together.

mod doctored;
mod fault;
mod sends;

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::ops::RangeInclusive;

use foldhash::quality::FixedState;

pub use self::fault::{Broken, Faults};
pub use self::sends::{Answered, Sends};
use crate::wire::Event;

/// A digest of an event's content and place.
#[must_use]
pub fn digest(event: &Event<'_>) -> u32 {
    FixedState::with_seed(0).hash_one(event) as u32
}

/// Where one client stands in one conversation. 16 bytes: there are millions.
#[derive(Clone, Copy, Debug)]
struct Place {
    conversation: u32,
    /// The seq behind which it began; [`SPOILT`] once a fault was found here, which is not to be found twice.
    first: u32,
    /// The last seq that it heard; [`NOWHERE`] before it began.
    last: u32,
    /// Sum of the digests of everything it heard, so that the order in which a gap is filled does not matter.
    digest: u32,
}

const NOWHERE: u32 = u32::MAX;
const SPOILT: u32 = u32::MAX;

/// What the clients of one thread were told.
#[derive(Debug)]
pub struct Ledger {
    places: Vec<Place>,
    /// What the server said it would leave out (`lagging`), and the client has not asked for yet.
    gaps: HashMap<u32, Vec<RangeInclusive<u32>>>,
    /// By conversation: the highest seq that was acknowledged to a client of this thread.
    acknowledged: Vec<u32>,
    heard: u64,
    faults: Faults,
}

impl Ledger {
    /// A ledger for `conversations` conversations of the run, numbered from 0, and the places of this thread's clients,
    /// numbered from 0 in the order of this list of their conversations.
    #[must_use]
    pub fn new(conversations: usize, places: impl Iterator<Item = u32>) -> Self {
        let place = |conversation| Place { conversation, first: NOWHERE, last: NOWHERE, digest: 0 };
        Self {
            places: places.map(place).collect(),
            gaps: HashMap::new(),
            acknowledged: vec![0; conversations],
            heard: 0,
            faults: Faults::default(),
        }
    }

    /// The conversation of a place.
    #[must_use]
    pub fn conversation(&self, place: u32) -> u32 {
        self.places[place as usize].conversation
    }

    /// The last seq that a client heard at a place: its cursor. 0 before it began.
    #[must_use]
    pub fn last(&self, place: u32) -> u64 {
        match self.places[place as usize].last {
            NOWHERE => 0,
            last => u64::from(last),
        }
    }

    /// A `welcome` says where a conversation's log ends: a new client begins behind it. One that comes back must not be told
    /// of an earlier end than it knows, and has to ask for what it missed.
    pub fn welcome(&mut self, place: u32, head: u64) {
        let Some(head) = self.seq(place, head) else { return };
        let entry = &mut self.places[place as usize];
        if entry.last == NOWHERE {
            (entry.first, entry.last) = (head, head);
        } else if head < entry.last {
            self.faults.add(Broken::HeadWentBack, || format!("{entry:?} was told of head {head}"));
        } else {
            self.leave_out(place, head);
        }
    }

    /// An event came, alone or in a page.
    pub fn hear(&mut self, place: u32, seq: u64, digest: u32) {
        self.heard += 1;
        let Some(seq) = self.seq(place, seq) else { return };
        let entry = &mut self.places[place as usize];
        if entry.last == NOWHERE || (seq != entry.last.wrapping_add(1) && !fills(&mut self.gaps, place, seq))
        {
            let broken =
                if entry.last != NOWHERE && seq <= entry.last { Broken::Repeat } else { Broken::Gap };
            self.faults.add(broken, || format!("{entry:?} heard seq {seq} next"));
            entry.first = SPOILT;
            if broken == Broken::Repeat || entry.last == NOWHERE {
                return;
            }
        }
        entry.last = entry.last.max(seq);
        entry.digest = entry.digest.wrapping_add(digest);
    }

    /// The server leaves out what lies between `after`, which it must have sent, and `head`, and goes on behind that.
    pub fn lagging(&mut self, place: u32, after: u64, head: u64) {
        let (Some(after), Some(head)) = (self.seq(place, after), self.seq(place, head)) else { return };
        let entry = &mut self.places[place as usize];
        if after != entry.last || head < after {
            self.faults
                .add(Broken::Gap, || format!("{entry:?} was told that it lags from {after} to {head}"));
        }
        self.leave_out(place, head);
    }

    /// What comes next at a place is behind `head`.
    fn leave_out(&mut self, place: u32, head: u32) {
        let entry = &mut self.places[place as usize];
        if head > entry.last {
            self.gaps.entry(place).or_default().push(entry.last + 1..=head);
            entry.last = head;
        }
    }

    /// What a client was told it would have to ask for, and has not got yet: the first such piece of the log.
    #[must_use]
    pub fn gap(&self, place: u32) -> Option<RangeInclusive<u64>> {
        let gap = self.gaps.get(&place)?.first()?;
        Some(u64::from(*gap.start())..=u64::from(*gap.end()))
    }

    /// A send was acknowledged: every member must hear of it.
    pub fn acknowledged(&mut self, conversation: u32, seq: u64) {
        let Ok(seq) = u32::try_from(seq) else { return };
        let highest = &mut self.acknowledged[conversation as usize];
        *highest = seq.max(*highest);
    }

    /// A promise that somebody else saw broken.
    pub fn broken(&mut self, broken: Broken, words: impl FnOnce() -> String) {
        self.faults.add(broken, words);
    }

    /// Events that were heard so far.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The places whose client was welcomed, with their numbers.
    fn begun(&self) -> impl Iterator<Item = (u32, &Place)> {
        (0..).zip(&self.places).filter(|(_, place)| place.last != NOWHERE)
    }

    /// Whether every place of this thread has heard what was acknowledged *to this thread*.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let complete = |place: &Place| {
            place.last == NOWHERE || place.last >= self.acknowledged[place.conversation as usize]
        };
        self.gaps.is_empty() && self.places.iter().all(complete)
    }

    /// A seq as it is kept; logs of this generator stay below 2^32 - 1.
    fn seq(&mut self, place: u32, seq: u64) -> Option<u32> {
        let small = u32::try_from(seq).ok().filter(|seq| *seq != NOWHERE);
        if small.is_none() {
            self.faults.add(Broken::Gap, || format!("place {place} was told of seq {seq}"));
        }
        small
    }
}

/// Takes a seq out of the gap that it fills, if it is the next one there.
fn fills(gaps: &mut HashMap<u32, Vec<RangeInclusive<u32>>>, place: u32, seq: u32) -> bool {
    let Some(list) = gaps.get_mut(&place) else { return false };
    let Some(at) = list.iter().position(|gap| *gap.start() == seq) else { return false };
    if list[at].start() == list[at].end() {
        list.remove(at);
    } else {
        list[at] = seq + 1..=*list[at].end();
    }
    if list.is_empty() {
        gaps.remove(&place);
    }
    true
}

/// What the ledgers of all threads say together.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Promises that were broken.
    pub faults: Faults,
    /// Events that were heard.
    pub heard: u64,
    /// Places that were compared with another of their conversation.
    pub compared: u64,
}

/// What must have been heard of a conversation by the end.
#[derive(Clone, Copy, Default)]
struct Due {
    /// The highest seq that was acknowledged, or that anybody heard.
    last: u32,
    /// A member who heard everything, to hold the others against.
    witness: Option<Place>,
}

/// Brings the ledgers together: every member has heard every acknowledged message, and the same ones.
#[must_use]
pub fn settle(ledgers: &[Ledger]) -> Settlement {
    let mut settlement = Settlement::default();
    let due = due(ledgers);
    for ledger in ledgers {
        settlement.faults.merge(&ledger.faults);
        settlement.heard += ledger.heard;
        for (number, place) in ledger.begun() {
            let due = &due[place.conversation as usize];
            if place.last < due.last || ledger.gaps.contains_key(&number) {
                settlement
                    .faults
                    .add(Broken::Incomplete, || format!("{place:?} did not hear all up to {}", due.last));
                continue;
            }
            let Some(witness) = due.witness.filter(|witness| witness.first == place.first) else { continue };
            settlement.compared += 1;
            if (place.last, place.digest) != (witness.last, witness.digest) {
                settlement.faults.add(Broken::Content, || format!("{place:?} heard others than {witness:?}"));
            }
        }
    }
    settlement
}

fn due(ledgers: &[Ledger]) -> Vec<Due> {
    let conversations = ledgers.iter().map(|ledger| ledger.acknowledged.len()).max().unwrap_or(0);
    let mut due = vec![Due::default(); conversations];
    for ledger in ledgers {
        for (due, acknowledged) in due.iter_mut().zip(&ledger.acknowledged) {
            due.last = due.last.max(*acknowledged);
        }
        for (number, place) in ledger.begun() {
            let due = &mut due[place.conversation as usize];
            due.last = due.last.max(place.last);
            let whole = place.first != SPOILT && !ledger.gaps.contains_key(&number);
            if whole && due.witness.is_none_or(|witness| witness.last < place.last) {
                due.witness = Some(*place);
            }
        }
    }
    due
}
