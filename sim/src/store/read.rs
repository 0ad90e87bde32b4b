//! Reading beside the driver: the synced state for the checker, and a claim when a node starts. No delay, no fault.

use protocol::event::Event;
use protocol::frame::Range;
use protocol::id::ConversationKey;
use protocol::placement::{NodeId, SLOTS, Slot};
use storage::engine::Engine;
use storage::request::{Epoch, Lease, Outcome, Request};
use storage::transaction::{Reply, Step, Transaction};
use storage::verify::verify;

use super::Store;
use crate::checker::Violation;

const PAGE_EVENTS: u16 = 200;
const PAGE_BYTES: u32 = 1 << 20;

impl Store {
    /// The synced log of a conversation behind `after`, to its end.
    pub(crate) fn synced_log(&self, key: &ConversationKey, after: u64) -> Vec<Event> {
        let mut log = Vec::new();
        loop {
            let range = Range::After(after + log.len() as u64);
            let request =
                Request::Page { conversation: *key, range, limit: PAGE_EVENTS, bytes_max: PAGE_BYTES };
            match self.read_synced(request) {
                Outcome::Page { events, more, .. } => {
                    log.extend(events);
                    if !more {
                        return log;
                    }
                }
                other => panic!("the synced log of {key:?} can't be read: {other:?}"),
            }
        }
    }

    /// Proves the whole synced store, as `murmuring verify` does.
    pub(crate) fn verify(&self) -> Result<(), Violation> {
        let mut engine = Engine::Memory(self.engine.durable());
        let fault = verify(&mut engine).err();
        fault.map_or(Ok(()), |fault| Err(Violation::new("verify", format!("{fault:?}"))))
    }

    fn read_synced(&self, request: Request) -> Outcome {
        let (mut transaction, mut step) = Transaction::begin(request);
        loop {
            step = match step {
                Step::Read(reads) => transaction.resume(Ok(Reply::Found(self.engine.read_synced(&reads)))),
                Step::Commit(_) => panic!("a page commits nothing"),
                Step::Done(outcome) => return outcome,
            }
        }
    }

    /// A new node takes every slot over, durably.
    pub(crate) fn claim(&mut self) -> Epoch {
        let slots = (0..SLOTS).map(Slot).collect();
        match self.run_at_once(Request::Claim { slots }) {
            Outcome::Claimed(epoch) => epoch,
            other => panic!("the slots can't be claimed: {other:?}"),
        }
    }

    /// A router node takes its lease, durably, before it begins.
    pub(crate) fn register(&mut self, lease: Lease) -> NodeId {
        match self.run_at_once(Request::Beat { lease, known: Epoch(0) }) {
            Outcome::Beat(beaten) => beaten.node,
            other => panic!("no lease for a router node: {other:?}"),
        }
    }

    fn run_at_once(&mut self, request: Request) -> Outcome {
        let (mut transaction, mut step) = Transaction::begin(request);
        loop {
            step = match step {
                Step::Read(reads) => transaction.resume(Ok(Reply::Found(self.engine.read(&reads)))),
                Step::Commit(writes) => {
                    self.changes.note(&writes);
                    let done = self.engine.commit(writes).and_then(|()| self.engine.sync());
                    transaction.resume(done.map(|()| Reply::Committed))
                }
                Step::Done(outcome) => return outcome,
            }
        }
    }
}
