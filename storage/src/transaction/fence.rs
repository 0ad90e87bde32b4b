//! The fence: a transaction of an owner whose slot has a newer one commits nothing.

use std::collections::BTreeSet;

use protocol::id::ConversationKey;
use protocol::placement::Slot;

use crate::damage::Damage;
use crate::key::StoreKey;
use crate::kv::Read;
use crate::request::{Epoch, Failure, Outcome};
use crate::value;

use super::{Answers, Step};

/// The slots of a transaction and the tenure that it belongs to.
#[derive(Debug)]
pub(super) struct Fence {
    epoch: Epoch,
    slots: BTreeSet<Slot>,
}

impl Fence {
    pub(super) fn new<'a>(epoch: Epoch, conversations: impl Iterator<Item = &'a ConversationKey>) -> Self {
        Self { epoch, slots: conversations.map(Slot::of_conversation).collect() }
    }

    /// What to read first.
    pub(super) fn reads(&self) -> impl Iterator<Item = Read> {
        self.slots.iter().map(|slot| get(&StoreKey::Fence(*slot), true))
    }

    /// Takes the answers to these reads: true when the tenure has not ended.
    pub(super) fn holds(&self, answers: &mut Answers) -> Result<bool, Damage> {
        let mut holds = true;
        for slot in &self.slots {
            let key = StoreKey::Fence(*slot).encode();
            holds &= value::open_epoch(&key, answers.value().as_deref())? <= self.epoch;
        }
        Ok(holds)
    }
}

/// The end of a transaction whose tenure has ended.
pub(super) fn fenced() -> Step {
    Step::Done(Outcome::Failed(Failure::Fenced))
}

/// A read of one key.
pub(super) fn get(key: &StoreKey, conflict: bool) -> Read {
    Read::Get { key: key.encode(), conflict }
}
