//! The sending side of a link: envelopes into the outbox by their lanes, the link's own frames, gathers to the socket.

use protocol::envelope::{Lane, ToGateway, ToRouter};
use protocol::link::{Control, FRAME_BYTES_MAX, Route, TooLarge, write_to_gateway, write_to_router};
use protocol::placement::{Epoch, TABLE_BYTES_MAX};
use protocol::time::Now;
use ring::packet::Gather;

use super::common::{Common, TableFrame};
use super::outbox::UNSENT_BYTES_MAX;
use super::words::is_word;
use super::{Link, Reason, Role, Stage};

/// Unsent bytes with which a peer that must be told something has not read for far too long.
const STALLED_BYTES: usize = 2 * UNSENT_BYTES_MAX + FRAME_BYTES_MAX;
// What envelopes may fill does not end a link, nor do the first tables behind them.
const _: () = assert!(UNSENT_BYTES_MAX + FRAME_BYTES_MAX + 8 * TABLE_BYTES_MAX < STALLED_BYTES);

/// Why an envelope was not sent. The sender has it still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// Too much is unsent for its lane, or the link is not ready: as if a mailbox were full.
    Full,
    /// It does not fit a frame, ever. No shard makes such an envelope: the bounds of what they make stand below
    /// [`FRAME_BYTES_MAX`].
    TooLarge,
}

impl Link {
    /// Sends an envelope to the router shard of a core at the other end. For the dialling end.
    ///
    /// # Errors
    /// Nothing was sent.
    ///
    /// # Panics
    /// At the accepting end; and when the envelope names another gateway shard than this core's, or is a
    /// [`ToRouter::GatewayGone`].
    pub fn send_to_router(
        &mut self,
        common: &mut Common,
        envelope: &ToRouter,
        to_core: u16,
    ) -> Result<(), Unsent> {
        assert!(matches!(self.role, Role::Dialler { .. }), "routers are at the accepting end");
        self.admit(common, envelope.lane())?;
        let is_word = is_word(envelope);
        if is_word && self.words.are_full() {
            common.counters.full += 1;
            return Err(Unsent::Full);
        }
        let route = Route { from: common.local.greeting.core, to: to_core };
        let written = self.outbox.write(&mut common.buffers, |out| write_to_router(envelope, route, out));
        written.map_err(|TooLarge| too_large(common))?;
        if is_word {
            self.words.keep(to_core, envelope.clone());
        }
        common.counters.outgoing.to_router += 1;
        Ok(())
    }

    /// Sends an envelope to the gateway shard at the other end, from the router shard of any core of this node. For the
    /// accepting end.
    ///
    /// # Errors
    /// Nothing was sent.
    ///
    /// # Panics
    /// At the dialling end.
    pub fn send_to_gateway(
        &mut self,
        common: &mut Common,
        envelope: &ToGateway,
        from_core: u16,
    ) -> Result<(), Unsent> {
        assert!(matches!(self.role, Role::Acceptor { .. }), "gateways are at the dialling end");
        self.admit(common, envelope.lane())?;
        let route = Route { from: from_core, to: self.peer_core };
        let written = self.outbox.write(&mut common.buffers, |out| write_to_gateway(envelope, route, out));
        written.map_err(|TooLarge| too_large(common))?;
        let outgoing = &mut common.counters.outgoing;
        outgoing.to_gateway += 1;
        outgoing.publishes += u64::from(matches!(envelope, ToGateway::Publish { .. }));
        Ok(())
    }

    /// Tells the peer a table, unless it was told one that is as new. For the accepting end, once it is ready.
    pub fn send_table(&mut self, common: &mut Common, frame: &TableFrame) {
        debug_assert!(matches!(self.role, Role::Acceptor { .. }), "tables come from routers");
        if !self.is_news(common, frame.epoch) {
            return;
        }
        self.outbox.push(frame.packet.clone());
        common.counters.outgoing.control += 1;
        common.counters.outgoing.tables += 1;
    }

    /// Tells the peer by which table the envelopes behind this were routed, unless it was told so. For the dialling end,
    /// once it is ready.
    pub fn send_routing(&mut self, common: &mut Common, epoch: Epoch) {
        debug_assert!(matches!(self.role, Role::Dialler { .. }), "envelopes are routed at the dialling end");
        if self.is_news(common, epoch) {
            self.say(common, &Control::Routing { epoch });
        }
    }

    /// Bytes that the socket has not taken.
    #[must_use]
    pub const fn unsent_bytes(&self) -> usize {
        self.outbox.unsent_bytes()
    }

    /// What the socket is to send next: everything written so far, at most one gather at a time. It comes back through
    /// [`Link::sent`].
    pub fn poll_send(&mut self, now: Now, common: &mut Common) -> Option<Box<Gather>> {
        if self.is_over() {
            return None;
        }
        if self.is_ready()
            && let Some(count) = self.words.news()
        {
            self.say(common, &Control::Taken { count });
        }
        let gather = self.outbox.gather(&mut common.buffers)?;
        self.spoke_ms = now.monotonic_ms;
        common.counters.sends += 1;
        Some(gather)
    }

    /// A send came to its end: `result` is how many bytes the kernel took, or the negative `errno`. Afterwards there may be
    /// more to send, or an event.
    pub fn sent(&mut self, now: Now, common: &mut Common, result: i32, gather: Box<Gather>) {
        let sent = usize::try_from(result).unwrap_or(0);
        common.counters.outgoing.bytes += sent as u64;
        if self.is_over() || sent == 0 {
            common.buffers.recycle(gather);
            self.end(common, Reason::Socket(result.saturating_neg()));
            return;
        }
        self.spoke_ms = now.monotonic_ms;
        self.outbox.sent(gather, sent, &mut common.buffers);
        if let Stage::Refusing(reason) = self.stage
            && self.outbox.unsent_bytes() == 0
        {
            self.end(common, reason);
        }
    }

    /// Writes a frame of the link's own.
    pub(super) fn say(&mut self, common: &mut Common, control: &Control<'_>) {
        let written = self.outbox.write(&mut common.buffers, |out| control.write(out));
        written.expect("the link's own frames are small");
        common.counters.outgoing.control += 1;
    }

    /// Whether there is room for an envelope of this lane.
    fn admit(&self, common: &mut Common, lane: Lane) -> Result<(), Unsent> {
        if self.is_ready() && self.outbox.unsent_bytes() < lane.fill_max(UNSENT_BYTES_MAX) {
            return Ok(());
        }
        common.counters.full += 1;
        Err(Unsent::Full)
    }

    /// Whether the peer is to be told of this table, and can be.
    fn is_news(&mut self, common: &mut Common, epoch: Epoch) -> bool {
        if !self.is_ready() || epoch <= self.told {
            return false;
        }
        if self.outbox.unsent_bytes() >= STALLED_BYTES {
            self.end(common, Reason::Stalled);
            return false;
        }
        self.told = epoch;
        true
    }
}

fn too_large(common: &mut Common) -> Unsent {
    common.counters.too_large += 1;
    Unsent::TooLarge
}
