//! Cursors that moved up: each is stored as the larger of old and new, never past the head, and for members only.

use std::collections::BTreeMap;

use protocol::id::UserKey;

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::request::{Mark, Outcome};
use crate::value::{self, Head};

use super::commit::Commit;
use super::fence::get;
use super::{Answers, Step};

#[derive(Debug)]
pub(super) struct Marks {
    marks: Box<[Mark]>,
}

fn received_key(mark: &Mark) -> StoreKey {
    StoreKey::Received(mark.conversation, mark.user, mark.device)
}

fn read_key(mark: &Mark) -> StoreKey {
    let user = UserKey { tenant: mark.conversation.tenant, user: mark.user };
    StoreKey::Read(user, mark.conversation.conversation)
}

/// The cursors of a mark that it wants to move, and to where.
fn cursors(mark: &Mark) -> impl Iterator<Item = (StoreKey, u64)> {
    let received = mark.received.map(|seq| (received_key(mark), seq));
    received.into_iter().chain(mark.read.map(|seq| (read_key(mark), seq)))
}

impl Marks {
    pub(super) fn new(marks: Box<[Mark]>) -> Self {
        Self { marks }
    }

    pub(super) fn begin(&mut self) -> Step {
        let mut reads = Vec::with_capacity(4 * self.marks.len());
        for mark in &self.marks {
            reads.push(get(&StoreKey::Head(mark.conversation), false));
            // A member that leaves meanwhile must not leave a cursor behind.
            reads.push(get(&StoreKey::Member(mark.conversation, mark.user), true));
            reads.extend(cursors(mark).map(|(key, _)| get(&key, true)));
        }
        Step::Read(reads)
    }

    pub(super) fn found(&mut self, mut answers: Answers) -> Result<Step, Damage> {
        let mut moved = BTreeMap::new();
        for mark in &self.marks {
            let head_key = StoreKey::Head(mark.conversation).encode();
            let head = answers.value().map(|found| Head::open(&head_key, &found)).transpose()?;
            let member = answers.value().is_some();
            for (key, seq) in cursors(mark) {
                let key = key.encode();
                let old = answers.value().map(|found| value::open_number(&key, &found)).transpose()?;
                let Some(head) = head.filter(|_| member) else { continue };
                let seq = seq.min(head.seq);
                if seq > old.unwrap_or(0) {
                    let target = moved.entry(key).or_insert(seq);
                    *target = seq.max(*target);
                }
            }
        }
        let mut commit = Commit::default();
        for (key, seq) in moved {
            commit.set_encoded(key, |key| value::seal_number(key, seq));
        }
        Ok(if commit.is_empty() { self.committed() } else { commit.step() })
    }

    pub(super) fn committed(&mut self) -> Step {
        Step::Done(Outcome::Marked)
    }
}
