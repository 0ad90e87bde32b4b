//! Everything that was ever sent, and what came of it: nothing acknowledged may be lost, nothing refused may be stored,
//! nothing may be in a log that nobody sent.

use std::collections::BTreeMap;

use protocol::id::{ClientId, ConversationId, UserKey};

use super::Violation;
use super::log::Log;
use crate::coverage::{Coverage, Mark};
use crate::told::{Content, ToldEvent};

/// Names one send: who, where, which id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SendKey {
    /// Who.
    pub(crate) user: UserKey,
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Client id.
    pub(crate) id: ClientId,
}

/// One content that was sent under an id.
#[derive(Debug)]
struct Attempted {
    content: Content,
    ephemeral: bool,
    attempts: u32,
    refused: u32,
}

#[derive(Debug, Default)]
struct Record {
    attempted: Vec<Attempted>,
    acked: Option<u64>,
    fresh: bool,
}

/// All sends of a run.
#[derive(Debug, Default)]
pub(crate) struct Sends {
    records: BTreeMap<SendKey, Record>,
}

impl Sends {
    /// Somebody sends.
    pub(crate) fn attempt(&mut self, key: SendKey, content: &Content, ephemeral: bool) {
        let attempted = &mut self.records.entry(key).or_default().attempted;
        let same = |known: &&mut Attempted| known.content == *content && known.ephemeral == ephemeral;
        match attempted.iter_mut().find(same) {
            Some(known) => known.attempts += 1,
            None => {
                attempted.push(Attempted { content: content.clone(), ephemeral, attempts: 1, refused: 0 });
            }
        }
    }

    /// A send was refused for good.
    pub(crate) fn refuse(&mut self, key: SendKey, content: &Content) {
        let record = self.records.entry(key).or_default();
        if let Some(known) = record.attempted.iter_mut().find(|known| known.content == *content) {
            known.refused += 1;
        }
    }

    /// A send was acknowledged at `seq`.
    pub(crate) fn ack(&mut self, key: SendKey, seq: u64, duplicate: bool) -> Result<(), Violation> {
        let record = self.records.entry(key).or_default();
        if let Some(first) = record.acked.filter(|first| *first != seq) {
            let details = format!("{key:?}: acknowledged at {first} and at {seq}");
            return Err(Violation::new("effectively once", details));
        }
        if !duplicate && record.fresh {
            return Err(Violation::new("effectively once", format!("{key:?}: acknowledged twice as new")));
        }
        record.acked = Some(seq);
        record.fresh |= !duplicate;
        Ok(())
    }

    /// Whether a signal was ever sent so.
    pub(crate) fn is_signal(&self, key: SendKey, content: &Content) -> bool {
        let record = self.records.get(&key);
        record.is_some_and(|record| {
            record.attempted.iter().any(|known| known.ephemeral && known.content == *content)
        })
    }

    /// Whether what the log has was sent, and not refused every time.
    pub(crate) fn explain(&self, key: SendKey, event: &ToldEvent) -> Result<(), Violation> {
        let record = self.records.get(&key);
        let sent = record.and_then(|record| {
            record.attempted.iter().find(|known| !known.ephemeral && known.content == event.content)
        });
        match sent {
            None => Err(Violation::new("nothing invented", format!("{key:?}: nobody sent {event:?}"))),
            Some(sent) if sent.attempts <= sent.refused => {
                let details = format!("{key:?}: refused every time, but stored as {event:?}");
                Err(Violation::new("a refusal stores nothing", details))
            }
            Some(_) => Ok(()),
        }
    }

    /// At the end: every acknowledged send is in its log, where the ack said. (That it is there once, the log proves.)
    pub(crate) fn finish<'a>(
        &self,
        log: impl Fn(&SendKey) -> Option<&'a Log>,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        for (key, record) in &self.records {
            let Some(seq) = record.acked else { continue };
            let place = log(key).and_then(|log| log.place(key.user.user, key.id));
            if place != Some(seq) {
                let details = format!("{key:?}: acknowledged at {seq}, in the log at {place:?}");
                return Err(Violation::new("nothing acknowledged is lost", details));
            }
            coverage.hit(Mark::FoundAtEnd);
        }
        Ok(())
    }

    /// How many sends were acknowledged so far.
    pub(crate) fn acked(&self) -> usize {
        self.records.values().filter(|record| record.acked.is_some()).count()
    }
}
