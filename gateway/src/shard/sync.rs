//! Sync: a page for each of many cursors, a few at a time, then `synced`. What is delivered live does not change by it.

use protocol::error::{ErrorCode, Refusal};
use protocol::frame::{Range, ServerFrame};
use protocol::id::ConversationId;

use super::GatewayShard;
use super::caller::Asks;

/// Pages of one connection that are asked for at a time, over all of its syncs.
const PAGES_IN_FLIGHT_MAX: u16 = 4;
/// Syncs of one connection at a time.
const SYNCS_MAX: usize = 4;
/// Milliseconds told to a client that asks for more.
const RETRY_MS: u32 = 1_000;

/// One `sync` that is not answered whole.
#[derive(Debug)]
struct Sync {
    reference: i64,
    /// What is still to be asked for, the next one last.
    cursors: Vec<(ConversationId, u64)>,
    limit: u16,
    in_flight: u16,
}

/// The syncs of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    syncs: Vec<Sync>,
}

impl Syncs {
    fn in_flight(&self) -> u16 {
        self.syncs.iter().map(|sync| sync.in_flight).sum()
    }

    /// The next page to ask for.
    fn next(&mut self) -> Option<(i64, ConversationId, u64, u16)> {
        if self.in_flight() >= PAGES_IN_FLIGHT_MAX {
            return None;
        }
        let sync = self.syncs.iter_mut().find(|sync| !sync.cursors.is_empty())?;
        let (conversation, seq) = sync.cursors.pop()?;
        sync.in_flight += 1;
        Some((sync.reference, conversation, seq, sync.limit))
    }

    /// One page of a sync is answered. True when it was the last one.
    fn answered(&mut self, reference: i64) -> bool {
        let Some(at) = self.syncs.iter().position(|s| s.reference == reference && s.in_flight > 0) else {
            return false;
        };
        let sync = &mut self.syncs[at];
        sync.in_flight -= 1;
        let done = sync.in_flight == 0 && sync.cursors.is_empty();
        if done {
            self.syncs.remove(at);
        }
        done
    }
}

impl GatewayShard {
    pub(super) fn sync(&mut self, slot: u32, reference: i64, cursors: &[(ConversationId, u64)], limit: u16) {
        if cursors.is_empty() {
            self.answer(slot, &ServerFrame::Synced { reference });
            return;
        }
        let syncs = self.syncs.entry(slot).or_default();
        if syncs.syncs.len() == SYNCS_MAX {
            let refusal = Refusal::retry(ErrorCode::RateLimited, "too many syncs at once", RETRY_MS);
            self.refuse(slot, Some(reference), None, refusal);
            return;
        }
        let mut cursors = cursors.to_vec();
        cursors.reverse();
        syncs.syncs.push(Sync { reference, cursors, limit, in_flight: 0 });
        self.continue_sync(slot);
    }

    /// Asks for the next pages, while the outbox takes them.
    pub(super) fn continue_sync(&mut self, slot: u32) {
        while self.is_half_empty(slot) {
            let Some(syncs) = self.syncs.get_mut(&slot) else { return };
            let Some((reference, conversation, seq, limit)) = syncs.next() else { return };
            let key = self.conversation_key(slot, conversation);
            self.history(slot, Asks::Sync, reference, key, Range::After(seq), limit);
        }
    }

    /// One page of a sync went to the client, or the reason why there is none.
    pub(super) fn sync_answered(&mut self, slot: u32, reference: i64) {
        let Some(syncs) = self.syncs.get_mut(&slot) else { return };
        let done = syncs.answered(reference);
        if syncs.syncs.is_empty() {
            self.syncs.remove(&slot);
        }
        if done {
            self.answer(slot, &ServerFrame::Synced { reference });
        }
        self.continue_sync(slot);
    }

    /// Asserts the bounds of all syncs.
    pub(super) fn sync_invariants(&self) {
        for (slot, syncs) in &self.syncs {
            assert!(!syncs.syncs.is_empty() && syncs.syncs.len() <= SYNCS_MAX);
            assert!(syncs.in_flight() <= PAGES_IN_FLIGHT_MAX);
            assert!(self.slab[*slot].requests >= syncs.in_flight());
        }
    }
}
