//! Where links put what comes, and where a core's shards find their links.

use protocol::envelope::{RouterId, ToRouter};
use protocol::placement::Epoch;
use protocol::time::Now;
use router::RouterShard;

use super::exchange::Outgoing;
use super::links::Links;
use super::shared::Placement;
use crate::shard::GatewayShard;

/// Hands an envelope to the link of its router shard's node; gives it back where there is none, or no room.
#[expect(clippy::result_large_err, reason = "the envelope itself goes back to its shard")]
pub(super) fn send_over(links: Option<&mut Links>, to: RouterId, envelope: ToRouter) -> Result<(), ToRouter> {
    match links {
        Some(links) => links.send_to_router(to, envelope),
        None => Err(envelope),
    }
}

/// Where links put what comes: the shards of their core, and the way to the others.
pub(super) struct Hands<'a> {
    pub(super) number: u16,
    pub(super) gateway: &'a mut GatewayShard,
    pub(super) router: &'a mut RouterShard,
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) placement: &'a Placement,
}

impl Hands<'_> {
    /// Puts an envelope that was sent by some table where a router shard of this node takes it; gives it back when it does not fit.
    #[expect(clippy::result_large_err, reason = "the envelope itself waits in its link")]
    pub(super) fn give_router(
        &mut self,
        now: Now,
        core: u16,
        by: Epoch,
        envelope: ToRouter,
    ) -> Result<(), ToRouter> {
        if core != self.number {
            return self.outgoing.deliver_to_router(core, by, envelope);
        }
        if !self.router.wants_input() {
            return Err(envelope);
        }
        if self.placement.epoch() > self.router.table_epoch() {
            // Whoever sent it may have known.
            self.router.handle(now, router::Completion::Table(self.placement.table()));
        }
        self.router.handle(now, router::Completion::Routed(by, envelope));
        Ok(())
    }
}
