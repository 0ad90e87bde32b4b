//! The receiving side of a link: bytes into events, one at a time, so that the owner may stop behind any of them.

use protocol::envelope::{GatewayId, ToGateway};
use protocol::link::{Body, Control, FRAME_BYTES_MAX, Frame, HANDSHAKE_FRAME_BYTES_MAX};
use protocol::placement::Table;
use protocol::time::Now;

use super::common::Common;
use super::handshake::Progress;
use super::words::is_word;
use super::{Event, Link, Reason, Role, Stage};

/// Most bytes that a paused link keeps unread: what was received in one piece, and what was under way.
pub const KEPT_BYTES_MAX: usize = 1 << 20;

/// What reading has come to.
#[expect(clippy::large_enum_variant, reason = "moved once, out of the bytes and into a mailbox")]
enum Step {
    Event(Event),
    /// A frame was read that is nobody's affair outside.
    Frame,
    /// All bytes are taken.
    Empty,
}

impl Link {
    /// The next event: of what came before and was kept, then of `input`, off whose front it is taken. `None` when there
    /// is none, and then all input is taken: read, or kept while the link is paused. To be called until then.
    pub fn next_event(&mut self, now: Now, common: &mut Common, input: &mut &[u8]) -> Option<Event> {
        let before = input.len();
        let event = self.advance(common, input);
        let taken = before - input.len();
        if taken > 0 {
            self.heard_ms = now.monotonic_ms;
            common.counters.incoming.bytes += taken as u64;
        }
        event
    }

    /// No more events for now: what is unread is kept, and so is what still comes. The owner pauses the socket too.
    pub const fn pause(&mut self, common: &mut Common) {
        if !self.paused {
            self.paused = true;
            common.counters.pauses += 1;
        }
    }

    /// Goes on: [`Link::next_event`] has more, perhaps.
    pub const fn resume(&mut self, now: Now) {
        if self.paused {
            self.paused = false;
            // Silence was ours.
            self.heard_ms = now.monotonic_ms;
        }
    }

    /// Whether the owner paused the link.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    fn advance(&mut self, common: &mut Common, input: &mut &[u8]) -> Option<Event> {
        loop {
            match self.stage {
                Stage::Over(reason) => {
                    self.stage = Stage::Told;
                    *input = &[];
                    return Some(Event::Ended(reason));
                }
                Stage::Told | Stage::Refusing(_) => {
                    *input = &[];
                    return None;
                }
                Stage::Handshake(_) | Stage::Ready => {}
            }
            let step = if self.paused { self.keep(input) } else { self.step(common, input) };
            match step {
                Ok(Step::Event(event)) => return Some(event),
                Ok(Step::Frame) => {}
                Ok(Step::Empty) => return None,
                Err(reason) => self.end(common, reason),
            }
        }
    }

    /// Puts what came to the rest that is unread.
    fn keep(&mut self, input: &mut &[u8]) -> Result<Step, Reason> {
        if self.kept.len() - self.kept_from + input.len() > KEPT_BYTES_MAX {
            return Err(Reason::Overrun);
        }
        if !input.is_empty() {
            self.kept.drain(..self.kept_from);
            self.kept_from = 0;
            self.kept.extend_from_slice(core::mem::take(input));
        }
        Ok(Step::Empty)
    }

    fn step(&mut self, common: &mut Common, input: &mut &[u8]) -> Result<Step, Reason> {
        if !self.kept.is_empty() {
            let kept = core::mem::take(&mut self.kept);
            let mut rest = &kept[self.kept_from..];
            let step = self.read(common, &mut rest);
            self.kept_from = if rest.is_empty() { 0 } else { kept.len() - rest.len() };
            if !rest.is_empty() {
                self.kept = kept;
            }
            if !matches!(step, Ok(Step::Empty)) {
                return step;
            }
        }
        self.read(common, input)
    }

    /// Reads a frame. Memory for an unfinished one is lent by the core, and given back at the frame's end.
    fn read(&mut self, common: &mut Common, input: &mut &[u8]) -> Result<Step, Reason> {
        let lender = if self.assembly.is_empty() { &mut common.buffers.assembly } else { &mut self.assembly };
        let mut assembly = core::mem::take(lender);
        let bytes_max = if self.is_ready() { FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX };
        let step = match self.reader.read(input, &mut assembly, bytes_max) {
            Ok(Some(frame)) => self.take(common, &frame),
            Ok(None) => Ok(Step::Empty),
            Err(malformed) => Err(Reason::Malformed(malformed)),
        };
        self.reader.settle(&mut assembly);
        if assembly.is_empty() {
            common.buffers.keep_assembly(assembly);
        } else {
            self.assembly = assembly;
        }
        step
    }

    fn take(&mut self, common: &mut Common, frame: &Frame<'_>) -> Result<Step, Reason> {
        match self.stage {
            Stage::Handshake(_) => self.take_handshake(common, frame),
            Stage::Ready => self.take_ready(common, frame),
            // Nothing is read then.
            Stage::Refusing(_) | Stage::Over(_) | Stage::Told => Ok(Step::Empty),
        }
    }

    fn take_handshake(&mut self, common: &mut Common, frame: &Frame<'_>) -> Result<Step, Reason> {
        let Stage::Handshake(handshake) = &mut self.stage else { return Ok(Step::Empty) };
        common.counters.incoming.control += 1;
        let mut reply = Vec::new();
        let progress = handshake.take(frame, self.role, &common.local, &mut reply)?;
        if !reply.is_empty() {
            common.counters.outgoing.control += 1;
            let written = self.outbox.write(&mut common.buffers, |out| {
                out.extend_from_slice(&reply);
                Ok(())
            });
            written.expect("a reply is a small frame");
        }
        match progress {
            Progress::Going => Ok(Step::Frame),
            Progress::Done { peer, version } => {
                self.stage = Stage::Ready;
                self.peer_core = peer.core;
                common.counters.ready += 1;
                Ok(Step::Event(Event::Ready { peer, version }))
            }
            Progress::Refused(reason) if reply.is_empty() => Err(reason),
            Progress::Refused(reason) => {
                self.stage = Stage::Refusing(reason);
                Ok(Step::Frame)
            }
        }
    }

    fn take_ready(&mut self, common: &mut Common, frame: &Frame<'_>) -> Result<Step, Reason> {
        let (incoming, route) = (&mut common.counters.incoming, frame.route);
        match (frame.body, self.role) {
            (Body::ToRouter(bytes), Role::Acceptor { known_as }) => {
                if route.from != self.peer_core || route.to >= common.local.greeting.cores {
                    return Err(Reason::Misaddressed);
                }
                incoming.to_router += 1;
                let known_as = known_as.expect("a peer that is ready has a name");
                let envelope = bytes.decode(known_as).map_err(Reason::Malformed)?;
                if is_word(&envelope) {
                    self.words.take();
                }
                Ok(Step::Event(Event::ToRouter { to_core: route.to, envelope }))
            }
            (Body::ToGateway(bytes), Role::Dialler { .. }) => {
                let core = common.local.greeting.core;
                if route.to != core {
                    return Err(Reason::Misaddressed);
                }
                let gateway = GatewayId(u32::from(core));
                let envelope = bytes.decode(gateway, &mut common.sentences).map_err(Reason::Malformed)?;
                incoming.to_gateway += 1;
                incoming.publishes += u64::from(matches!(envelope, ToGateway::Publish { .. }));
                Ok(Step::Event(Event::ToGateway(envelope)))
            }
            (Body::Control { kind, bytes, .. }, _) => {
                incoming.control += 1;
                let control = Control::read(kind, bytes).map_err(Reason::Malformed)?;
                self.take_control(common, control)
            }
            (Body::ToRouter(_), Role::Dialler { .. }) | (Body::ToGateway(_), Role::Acceptor { .. }) => {
                Err(Reason::Unexpected)
            }
        }
    }

    fn take_control(&mut self, common: &mut Common, control: Option<Control<'_>>) -> Result<Step, Reason> {
        let incoming = &mut common.counters.incoming;
        match (control, self.role) {
            // A later version's: what matters to an older one is never said in a new kind alone.
            (None, _) => Ok(Step::Frame),
            (Some(Control::Ping), _) => {
                incoming.pings += 1;
                Ok(Step::Frame)
            }
            (Some(Control::Table { epoch, bytes }), Role::Dialler { .. }) => {
                incoming.tables += 1;
                if epoch <= common.table {
                    return Ok(Step::Frame);
                }
                let table = Table::from_bytes(bytes).ok().filter(|table| table.epoch == epoch);
                table.map(|table| Step::Event(Event::Table(table))).ok_or(Reason::Unexpected)
            }
            (Some(Control::Taken { count }), Role::Dialler { .. }) => {
                if self.words.were_taken(count) {
                    Ok(Step::Frame)
                } else {
                    Err(Reason::Unexpected)
                }
            }
            (Some(Control::Routing { epoch }), Role::Acceptor { .. }) => {
                Ok(Step::Event(Event::Routing(epoch)))
            }
            (Some(_), _) => Err(Reason::Unexpected),
        }
    }
}
