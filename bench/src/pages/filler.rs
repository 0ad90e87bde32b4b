//! The script that fills logs: one client that sends to all of them in turn, with so many messages without an answer, until
//! each has the events it is to have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Log;
use crate::swarm::{Crowd, Frame, Script};
use crate::talk::{MessageIds, write_body};
use crate::wire::{ClientFrame, ServerFrame};

/// Messages without an answer.
const IN_FLIGHT_MAX: u32 = 1_000;
/// Pause after a refusal, in nanoseconds.
const PAUSE_NS: u64 = 50_000_000;
/// Bytes of a message's body.
const BODY_BYTES: usize = 100;

/// What all that is to be written is.
#[derive(Debug)]
pub struct Fill {
    /// The logs, and events that each lacks.
    pub logs: Vec<(Log, u64)>,
    /// Events that are not acknowledged yet, over all logs.
    pub left: AtomicU64,
    /// Another number for each run.
    pub run: u64,
}

/// Fills logs.
#[derive(Debug)]
pub struct Filler {
    fill: Arc<Fill>,
    ids: MessageIds,
    client: u32,
    /// By log: messages to send.
    unsent: Vec<u64>,
    turn: usize,
    sent: u64,
    in_flight: u32,
    id: String,
    body: String,
}

impl Filler {
    /// The script of one client.
    #[must_use]
    pub fn new(fill: Arc<Fill>, client: u32) -> Self {
        Self {
            ids: MessageIds::new(fill.run, client),
            client,
            unsent: fill.logs.iter().map(|(_, lacks)| *lacks).collect(),
            turn: 0,
            sent: 0,
            in_flight: 0,
            id: String::new(),
            body: String::new(),
            fill,
        }
    }

    fn send_on(&mut self, crowd: &mut Crowd) {
        while self.in_flight < IN_FLIGHT_MAX {
            let logs = self.unsent.len();
            let next = (0..logs).map(|step| (self.turn + step) % logs).find(|log| self.unsent[*log] > 0);
            let Some(log) = next else { return };
            self.turn = log + 1;
            if !self.send(log, crowd) {
                return crowd.wake_at(crowd.now_ns() + PAUSE_NS);
            }
        }
    }

    /// Sends a message to a log; false when the client can't now.
    fn send(&mut self, log: usize, crowd: &mut Crowd) -> bool {
        self.ids.write(self.sent, &mut self.id);
        write_body(crowd.now_ns(), BODY_BYTES, &mut self.body);
        let frame = ClientFrame::Send {
            id: &self.id,
            conversation: &self.fill.logs[log].0.conversation,
            kind: None,
            body: &self.body,
            meta: None,
            reply_to: None,
            ephemeral: false,
        };
        if !crowd.send(self.client, &frame) {
            return false;
        }
        self.sent += 1;
        self.in_flight += 1;
        self.unsent[log] -= 1;
        true
    }

    /// A refused message is sent anew, after a pause, to whatever log lacks most: only their number matters.
    fn refused(&mut self, crowd: &mut Crowd) {
        self.in_flight -= 1;
        if let Some(log) = (0..self.unsent.len()).max_by_key(|log| self.fill.logs[*log].1) {
            self.unsent[log] += 1;
        }
        crowd.wake_at(crowd.now_ns() + PAUSE_NS);
    }
}

impl Script for Filler {
    fn begin(&mut self, crowd: &mut Crowd) {
        crowd.connect(self.client);
    }

    fn welcomed(&mut self, _client: u32, _welcome: &ServerFrame<'_>, crowd: &mut Crowd) {
        self.in_flight = 0;
        self.send_on(crowd);
    }

    fn heard(&mut self, _client: u32, frame: Frame<'_>, crowd: &mut Crowd) {
        match frame.decode() {
            Ok(ServerFrame::Ack { .. }) => {
                self.in_flight -= 1;
                self.fill.left.fetch_sub(1, Ordering::Relaxed);
                self.send_on(crowd);
            }
            Ok(ServerFrame::Error { id: Some(_), .. }) => self.refused(crowd),
            _ => {}
        }
    }

    fn woken(&mut self, crowd: &mut Crowd) {
        self.send_on(crowd);
    }
}
