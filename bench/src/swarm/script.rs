//! What a scenario gives each thread of the swarm: the script of its clients.

use super::{Crowd, Departure};
use crate::options::Subprotocol;
use crate::wire::{self, Invalid, ServerFrame};

/// A data message that a client heard, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// How its client speaks.
    pub subprotocol: Subprotocol,
    /// The payload of the WebSocket message.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// What it says. Costs about a microsecond in JSON: a script that hears millions looks at the payload first.
    ///
    /// # Errors
    /// It is no frame of the protocol.
    pub fn decode(&self) -> Result<ServerFrame<'a>, Invalid> {
        wire::decode(self.subprotocol, self.payload)
    }
}

/// What the clients of one thread do. Each method is a step that runs to its end: nothing in it may wait, and what it asks
/// of the crowd is done when it has returned.
///
/// A client goes from *away* over *connecting* (dial, upgrade, `hello`) to *online* (`welcome`), and back to away. The
/// crowd answers pings, and brings back those that it lost, when [`CrowdSettings::reconnects`](super::CrowdSettings).
pub trait Script: Send + 'static {
    /// The thread begins; all its clients are away.
    fn begin(&mut self, crowd: &mut Crowd) {
        let _ = crowd;
    }

    /// The scenario said [`Swarm::direct`](super::Swarm::direct).
    fn directed(&mut self, step: u32, crowd: &mut Crowd) {
        let _ = (step, crowd);
    }

    /// A client is online: it heard this `welcome`.
    fn welcomed(&mut self, client: u32, welcome: &ServerFrame<'_>, crowd: &mut Crowd) {
        let _ = (client, welcome, crowd);
    }

    /// A client is online at a plain server, which says nothing.
    fn joined(&mut self, client: u32, crowd: &mut Crowd) {
        let _ = (client, crowd);
    }

    /// A client that is online heard something else. [`Crowd::now_ns`] is when.
    ///
    /// A `goaway` is the script's to see: it says so with [`Crowd::reconnect_after`].
    fn heard(&mut self, client: u32, frame: Frame<'_>, crowd: &mut Crowd) {
        let _ = (client, frame, crowd);
    }

    /// A client that was connecting or online is no more, and the script did not ask for that.
    fn left(&mut self, client: u32, departure: Departure, crowd: &mut Crowd) {
        let _ = (client, departure, crowd);
    }

    /// The time of the last [`Crowd::wake_at`] has come, or [`Crowd::now_ns`] is past it.
    fn woken(&mut self, crowd: &mut Crowd) {
        let _ = crowd;
    }
}

/// A script of clients that do nothing by themselves.
impl Script for () {}
