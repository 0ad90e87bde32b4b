//! A page of a conversation's log. The log is dense, so that every page is a window of seqs that is known before its
//! events are read; a hole in it is damage.

use protocol::event::Event;
use protocol::frame::Range;
use protocol::id::ConversationKey;
use protocol::limits::{PAGE_EVENTS_MAX, SEQ_MAX};

use crate::damage::Damage;
use crate::key::{self, StoreKey};
use crate::kv::{Key, Read, Value};
use crate::request::Outcome;
use crate::value::{self, Head, TIME_INDEX_STEP};

use super::fence::get;
use super::{Answers, Step};

/// Bytes of one read while an event of a time is looked for.
const SEARCH_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Page {
    of: ConversationKey,
    range: Range,
    limit: u64,
    bytes_max: usize,
    head: Option<Head>,
    state: State,
}

/// What is being read.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The head, and for a time the index entry before it.
    Head,
    /// The first event of a time or later: among `first..=last`.
    Search { time: u64, first: u64, last: u64 },
    /// Events of a window, in one direction or, around `center`, in both.
    Window { first: u64, last: u64, center: Option<u64>, reverse: bool, trimmed: bool },
}

/// The events of `first..=last` as a read.
fn read(of: &ConversationKey, first: u64, last: u64, bytes_max: usize, reverse: bool) -> Read {
    let (begin, end) = key::events(of, first, last);
    let limit = usize::try_from(last + 1 - first).expect("a window has a bound");
    Read::Range { begin, end, limit, bytes_max, reverse }
}

impl Page {
    pub(super) fn new(of: ConversationKey, range: Range, limit: u16, bytes_max: u32) -> Self {
        let limit = u64::from(limit.clamp(1, PAGE_EVENTS_MAX));
        Self { of, range, limit, bytes_max: bytes_max as usize, head: None, state: State::Head }
    }

    pub(super) fn begin(&mut self) -> Step {
        self.head = None;
        self.state = State::Head;
        let mut reads = vec![get(&StoreKey::Head(self.of), false)];
        if let Range::Since(time) = self.range {
            let (begin, end) = key::times_before(&self.of, time);
            reads.push(Read::Range { begin, end, limit: 1, bytes_max: SEARCH_BYTES_MAX, reverse: true });
        }
        Step::Read(reads)
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        match self.state {
            State::Head => self.found_head(&mut answers),
            State::Search { time, first, last } => self.found_candidates(&mut answers, time, first, last),
            State::Window { first, last, center, reverse, trimmed } => {
                let events = match center {
                    None => self.collect(answers.pairs(), first, last, self.bytes_max, reverse)?,
                    Some(center) => self.collect_around(&mut answers, first, last, center)?,
                };
                Ok(self.page(events, reverse, center.is_some(), trimmed))
            }
        }
    }

    fn found_head(&mut self, answers: &mut Answers) -> Result<Step, Damage> {
        let key = StoreKey::Head(self.of).encode();
        let Some(head) = answers.value().map(|found| Head::open(&key, &found)).transpose()? else {
            return Ok(self.empty(0, false));
        };
        self.head = Some(head);
        let (kept, last) = (head.first, head.seq);
        Ok(match self.range {
            Range::Newest => self.backwards(kept, last),
            Range::Before(seq) => self.backwards(kept, last.min(seq.saturating_sub(1))),
            Range::After(seq) => self.forwards(kept, last, seq.min(SEQ_MAX) + 1),
            Range::Around(seq) => self.around(kept, last, seq),
            Range::Since(time) => {
                let before = self.indexed(answers.pairs().0.first())?;
                self.search(time, before.saturating_add(1).max(kept), last)
            }
        })
    }

    /// The seq of an entry of the time index; 0 without one.
    fn indexed(&self, pair: Option<&(Key, Value)>) -> Result<u64, Damage> {
        let Some((key, value)) = pair else { return Ok(0) };
        value::open_nothing(key, value)?;
        match StoreKey::decode(key)? {
            StoreKey::Time(of, _, seq) if of == self.of => Ok(seq),
            other => Err(Damage(format!("{other}: it lies in the time index of {}", key::Named(&self.of)))),
        }
    }

    /// Reads the events from `first` on, of which one within a step of the index has that time, or none at all.
    fn search(&mut self, time: u64, first: u64, last: u64) -> Step {
        if first > last {
            return self.empty(last, false);
        }
        let last = last.min(first + TIME_INDEX_STEP - 1);
        self.state = State::Search { time, first, last };
        Step::Read(vec![read(&self.of, first, last, SEARCH_BYTES_MAX, false)])
    }

    fn found_candidates(
        &mut self,
        answers: &mut Answers,
        time: u64,
        first: u64,
        last: u64,
    ) -> Result<Step, Damage> {
        let head = self.head.expect("the head was read first");
        let events = self.collect(answers.pairs(), first, last, usize::MAX, false)?;
        let found = events.iter().find(|event| event.time() >= time);
        let next = first + events.len() as u64;
        Ok(match found {
            Some(event) => {
                let from = event.seq();
                self.forwards(head.first, head.seq, from)
            }
            None if next <= last => self.search(time, next, last),
            None if last < head.seq && head.first <= 1 => {
                return Err(Damage(format!(
                    "time index of {}: event {next} has no entry",
                    key::Named(&self.of)
                )));
            }
            // What was trimmed may have taken the entry along: look on.
            None => self.search(time, next, head.seq),
        })
    }

    fn backwards(&mut self, kept: u64, last: u64) -> Step {
        let wanted = (last + 1).saturating_sub(self.limit).max(1);
        let trimmed = kept > 1 && wanted < kept;
        self.window(wanted.max(kept), last, true, trimmed)
    }

    fn forwards(&mut self, kept: u64, last: u64, wanted: u64) -> Step {
        let first = wanted.max(kept);
        let trimmed = match self.range {
            // Whether older events of that time were trimmed can't be told.
            Range::Since(_) => kept > 1 && first == kept,
            _ => wanted < kept,
        };
        self.window(first, last.min(first.saturating_add(self.limit - 1)), false, trimmed)
    }

    fn window(&mut self, first: u64, last: u64, reverse: bool, trimmed: bool) -> Step {
        if first > last {
            return self.empty(self.head.map_or(0, |head| head.seq), trimmed);
        }
        self.state = State::Window { first, last, center: None, reverse, trimmed };
        Step::Read(vec![read(&self.of, first, last, self.bytes_max, reverse)])
    }

    /// `limit` events in all with the seq in the middle, or as near to it as the log's ends allow.
    fn around(&mut self, kept: u64, last: u64, seq: u64) -> Step {
        if kept > last {
            return self.empty(last, kept > 1);
        }
        let center = seq.clamp(kept, last);
        let wanted = center.saturating_sub(self.limit / 2).max(1);
        let end = last.min(wanted.max(kept).saturating_add(self.limit - 1));
        let first = wanted.min((end + 1).saturating_sub(self.limit).max(1)).max(kept);
        let trimmed = kept > 1 && (wanted < kept || seq < kept);
        self.state = State::Window { first, last: end, center: Some(center), reverse: false, trimmed };
        let half = self.bytes_max / 2;
        let mut reads = vec![read(&self.of, center, end, half, false)];
        if first < center {
            reads.push(read(&self.of, first, center - 1, half, true));
        }
        Step::Read(reads)
    }

    fn collect_around(
        &self,
        answers: &mut Answers,
        first: u64,
        last: u64,
        center: u64,
    ) -> Result<Vec<Event>, Damage> {
        let half = self.bytes_max / 2;
        let newer = self.collect(answers.pairs(), center, last, half, false)?;
        if first == center {
            return Ok(newer);
        }
        let mut events = self.collect(answers.pairs(), first, center - 1, half, true)?;
        events.extend(newer);
        Ok(events)
    }

    /// The events of `first..=last`, ascending, as far as `bytes_max` reaches, and at least one.
    fn collect(
        &self,
        (pairs, cut): (Vec<(Key, Value)>, bool),
        first: u64,
        last: u64,
        bytes_max: usize,
        reverse: bool,
    ) -> Result<Vec<Event>, Damage> {
        let all = last + 1 - first;
        let found = pairs.len() as u64;
        let mut events = Vec::with_capacity(pairs.len());
        let mut bytes = 0;
        for (index, (key, value)) in (0..).zip(&pairs) {
            let seq = if reverse { last - index } else { first + index };
            let expected = StoreKey::Event(self.of, seq);
            if *key != expected.encode() {
                return Err(Damage(format!("{expected}: there is none")));
            }
            let event = value::open_event_of(&self.of, seq, key, value)?;
            bytes += event.as_bytes().len();
            if bytes > bytes_max && !events.is_empty() {
                break;
            }
            events.push(event);
        }
        if found < all && !cut {
            let missing = if reverse { last - found } else { first + found };
            return Err(Damage(format!("{}: there is none", StoreKey::Event(self.of, missing))));
        }
        if reverse {
            events.reverse();
        }
        Ok(events)
    }

    fn empty(&self, head: u64, trimmed: bool) -> Step {
        let trimmed = self.head.filter(|_| trimmed).map(|head| head.first);
        Step::Done(Outcome::Page { events: Vec::new(), head, more: false, trimmed })
    }

    fn page(&self, events: Vec<Event>, reverse: bool, around: bool, trimmed: bool) -> Step {
        let head = self.head.expect("the head was read first");
        let older = events.first().is_some_and(|event| event.seq() > head.first);
        let newer = events.last().is_some_and(|event| event.seq() < head.seq);
        let more = if around {
            older || newer
        } else if reverse {
            older
        } else {
            newer
        };
        let trimmed = trimmed.then_some(head.first);
        Step::Done(Outcome::Page { events, head: head.seq, more, trimmed })
    }
}
