//! One cell of the measurement: pages of one log, asked for in one way, at one depth. It knows what a right page is.

use crate::wire::{Event, Range};

/// How a page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The events in front of the point.
    Before,
    /// Those behind it.
    After,
    /// Those on both sides, itself included.
    Around,
    /// Those of its time and later.
    Since,
}

impl Ask {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Before, Self::After, Self::Around, Self::Since];

    /// The member of a `history` frame.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Around => "around",
            Self::Since => "since",
        }
    }
}

/// An event that a page is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its seq.
    pub seq: u64,
    /// Its time, in milliseconds since the Unix epoch.
    pub time: u64,
}

/// Pages to ask for.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The conversation's id.
    pub conversation: String,
    /// Its last seq; nobody sends meanwhile.
    pub head: u64,
    /// How.
    pub ask: Ask,
    /// By which events.
    pub points: Vec<Point>,
    /// Events of a page at most.
    pub limit: u16,
}

impl Cell {
    /// What to ask for at a point.
    #[must_use]
    pub fn range(&self, point: Point) -> Range {
        match self.ask {
            Ask::Before => Range::Before(point.seq),
            Ask::After => Range::After(point.seq),
            Ask::Around => Range::Around(point.seq),
            Ask::Since => Range::Since(point.time),
        }
    }

    /// What is wrong with a page of these events, asked for at a point; `None` when nothing is.
    #[must_use]
    pub fn fault(&self, point: Point, events: &[Event<'_>], head: u64, more: bool) -> Option<&'static str> {
        let (limit, seq) = (u64::from(self.limit), point.seq);
        if head != self.head {
            return Some("the head is another one");
        }
        if events.iter().any(|event| *event.conversation != *self.conversation) {
            return Some("an event is of another conversation");
        }
        if events.windows(2).any(|pair| pair[1].seq != pair[0].seq + 1) {
            return Some("the seqs are not dense");
        }
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            let is_right = match self.ask {
                Ask::Before => seq == 1,
                Ask::After => seq == head,
                Ask::Around | Ask::Since => false,
            };
            return (!is_right).then_some("it is empty");
        };
        let is_right = match self.ask {
            Ask::Before => {
                last.seq == seq - 1
                    && first.seq == seq.saturating_sub(limit).max(1)
                    && more == (first.seq > 1)
            }
            Ask::After => {
                first.seq == seq + 1 && last.seq == (seq + limit).min(head) && more == (last.seq < head)
            }
            Ask::Around => {
                let whole = events.len() as u64 == limit || first.seq == 1 || last.seq == head;
                first.seq <= seq && seq <= last.seq && whole && events.len() as u64 <= limit
            }
            Ask::Since => {
                let whole = events.len() as u64 == limit || last.seq == head;
                first.seq <= seq && first.time >= point.time && whole && events.len() as u64 <= limit
            }
        };
        (!is_right).then_some("it is another piece of the log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Content;

    fn cell(ask: Ask) -> Cell {
        Cell { conversation: "c".to_owned(), head: 20, ask, points: Vec::new(), limit: 5 }
    }

    fn events(seqs: impl Iterator<Item = u64>) -> Vec<Event<'static>> {
        let event = |seq| Event {
            conversation: "c".into(),
            seq,
            time: 100 + seq,
            lamport: seq,
            sender: "u".into(),
            device: "d".into(),
            id: "m".into(),
            content: Content::Delete { target: 1 },
        };
        seqs.map(event).collect()
    }

    fn fault(ask: Ask, seq: u64, seqs: impl Iterator<Item = u64>, more: bool) -> Option<&'static str> {
        cell(ask).fault(Point { seq, time: 100 + seq }, &events(seqs), 20, more)
    }

    #[test]
    fn right_pages_are_right_at_the_ends_and_between() {
        for (ask, seq, seqs, more) in [
            (Ask::Before, 10, 5..=9, true),
            (Ask::Before, 6, 1..=5, false),
            (Ask::Before, 4, 1..=3, false),
            (Ask::After, 10, 11..=15, true),
            (Ask::After, 15, 16..=20, false),
            (Ask::After, 18, 19..=20, false),
            (Ask::Around, 10, 8..=12, true),
            (Ask::Around, 1, 1..=3, true),
            (Ask::Around, 20, 18..=20, false),
            (Ask::Since, 10, 10..=14, true),
            (Ask::Since, 19, 19..=20, false),
        ] {
            assert_eq!(fault(ask, seq, seqs.clone(), more), None, "{ask:?} {seq} {seqs:?}");
        }
        assert_eq!(fault(Ask::Before, 1, 1..1, false), None);
        assert_eq!(fault(Ask::After, 20, 1..1, false), None);
    }

    #[test]
    fn wrong_pages_are_found() {
        for (ask, seq, seqs, more) in [
            (Ask::Before, 10, 4..=8, true),
            (Ask::Before, 10, 6..=9, true),
            (Ask::Before, 10, 5..=9, false),
            (Ask::After, 10, 10..=14, true),
            (Ask::After, 10, 11..=14, true),
            (Ask::After, 15, 16..=20, true),
            (Ask::Around, 10, 11..=15, true),
            (Ask::Around, 10, 9..=11, true),
            (Ask::Since, 10, 11..=15, true),
            (Ask::Since, 10, 9..=13, true),
        ] {
            assert!(fault(ask, seq, seqs.clone(), more).is_some(), "{ask:?} {seq} {seqs:?}");
        }
        assert!(fault(Ask::Before, 10, 1..1, false).is_some());
        assert!(fault(Ask::Before, 10, [5, 6, 8, 9].into_iter(), true).is_some());
        let point = Point { seq: 10, time: 110 };
        assert!(cell(Ask::Before).fault(point, &events(5..=9), 21, true).is_some());
    }
}
