//! Promises that were found broken: counted by kind, the first few in words.

use std::fmt;

/// Examples that are kept.
const EXAMPLES_MAX: usize = 8;

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// An event came that is not the next one: something was left out.
    Gap,
    /// An event came again.
    Repeat,
    /// Two members heard different things at the same place.
    Content,
    /// A member has not heard what was acknowledged, or what another one heard.
    Incomplete,
    /// A message was stored at another place than its ack says.
    Misplaced,
    /// An ack or an event for a message that nobody sent, or a second ack.
    Unasked,
    /// A send without ack or error.
    Unanswered,
    /// A log that ends before what a client has of it.
    HeadWentBack,
    /// Bytes that are no frame of version 1.
    Undecodable,
    /// A page that is not what was asked for.
    Page,
    /// A client heard of a conversation of which it is no member.
    Stranger,
}

/// Every kind, in the order of its declaration.
const KINDS: [(Broken, &str); 11] = [
    (Broken::Gap, "gap"),
    (Broken::Repeat, "repeat"),
    (Broken::Content, "content"),
    (Broken::Incomplete, "incomplete"),
    (Broken::Misplaced, "misplaced"),
    (Broken::Unasked, "unasked"),
    (Broken::Unanswered, "unanswered"),
    (Broken::HeadWentBack, "head went back"),
    (Broken::Undecodable, "undecodable"),
    (Broken::Page, "page"),
    (Broken::Stranger, "stranger"),
];

/// How often each promise was broken.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    counts: [u64; KINDS.len()],
    /// The first ones of any kind, each behind its kind.
    examples: Vec<(Broken, String)>,
}

impl Faults {
    /// One more; the words are made for the first few alone.
    pub fn add(&mut self, broken: Broken, words: impl FnOnce() -> String) {
        self.counts[broken as usize] += 1;
        // One of each kind has its place, whatever came before.
        if self.examples.len() < EXAMPLES_MAX || self.count(broken) == 1 {
            self.examples.push((broken, words()));
        }
    }

    /// Adds what another thread found.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        let room = (EXAMPLES_MAX + KINDS.len()).saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }

    /// How often a promise was broken.
    #[must_use]
    pub fn count(&self, broken: Broken) -> u64 {
        self.counts[broken as usize]
    }

    /// How often any was.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first of these kinds that was found among the first of all, in words.
    #[must_use]
    pub fn first(&self, kinds: &[Broken]) -> Option<&str> {
        let first = self.examples.iter().find(|(broken, _)| kinds.contains(broken));
        first.map(|(_, words)| words.as_str())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return formatter.write_str("every promise kept");
        }
        let found = KINDS.iter().filter(|(kind, _)| self.count(*kind) > 0);
        let list: Vec<_> = found.map(|(kind, name)| format!("{name} {}", self.count(*kind))).collect();
        write!(formatter, "broken promises: {}", list.join(", "))?;
        let mut examples = self.examples.iter();
        examples
            .try_for_each(|(broken, words)| write!(formatter, "\n  {}: {words}", KINDS[*broken as usize].1))
    }
}

impl std::error::Error for Faults {}
