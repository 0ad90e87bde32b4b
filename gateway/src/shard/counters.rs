//! Counters: what a gateway shard has done, as plain numbers that its loop publishes. Nothing here is read by the shard.

use protocol::error::{CloseCode, ErrorCode};
use router::Histogram;

/// The close codes that are counted by name.
const CLOSE_CODES: [CloseCode; 14] = [
    CloseCode::NORMAL,
    CloseCode::GOING_AWAY,
    CloseCode::PROTOCOL_ERROR,
    CloseCode::UNSUPPORTED,
    CloseCode::INVALID_DATA,
    CloseCode::TOO_LARGE,
    CloseCode::INTERNAL,
    CloseCode::MISUSE,
    CloseCode::UNAUTHORIZED,
    CloseCode::BLOCKED,
    CloseCode::HEARTBEAT,
    CloseCode::REPLACED,
    CloseCode::OVER_LIMIT,
    CloseCode::DRAINING,
];

/// Everything counted since the shard began, and a few gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sockets accepted.
    pub accepted: u64,
    /// Gauge: sockets now, whatever their state.
    pub connections: u64,
    /// Gauge: sessions that were welcomed and have not ended.
    pub sessions: u64,
    /// Upgrades answered with 101.
    pub upgrades: u64,
    /// HTTP requests answered with anything else.
    pub upgrades_refused: u64,
    /// Tokens and tickets refused.
    pub tokens_refused: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes taken by the kernel.
    pub bytes_out: u64,
    /// WebSocket frames and messages received.
    pub frames_in: u64,
    /// Packets put into outboxes.
    pub packets_out: u64,
    /// Stored sends, edits, deletions and reactions handed to a router.
    pub sends: u64,
    /// Ephemeral sends handed to a router.
    pub signals: u64,
    /// Acks sent to clients.
    pub acks: u64,
    /// Events put into outboxes, one a receiver.
    pub deliveries: u64,
    /// Members reached by one published event.
    pub fan_out: Histogram,
    /// Milliseconds from an event's `time` to its delivery into outboxes.
    pub delivery_ms: Histogram,
    /// Times that an outbox was full and its conversation went into lag mode.
    pub lags: u64,
    /// `lagging` frames: times that a connection was too far behind.
    pub lag_jumps: u64,
    /// Backlog pulls for lagging connections.
    pub backlog_pulls: u64,
    /// Backlog pulls for rooms that missed publishes.
    pub room_pulls: u64,
    /// Ephemeral frames dropped since an outbox was half full.
    pub ephemeral_dropped: u64,
    /// Frames refused over a rate.
    pub rate_limited: u64,
    /// Envelopes that came back since a router's mailbox was full.
    pub router_full: u64,
    /// Gauge: requests that a shard of a cluster keeps until they are answered.
    pub requests: u64,
    /// Requests asked again: their slot moved, or its owner's node came back.
    pub reasked: u64,
    /// Answers that said that the owner asked is none.
    pub misplaced: u64,
    /// Requests that the shard refused itself since nobody answered, or too many waited for the same owner.
    pub patience_over: u64,
    /// Answers that came when a request was answered, or asked again, already.
    pub late_answers: u64,
    /// Rooms, sessions and watches told to an owner that did not know of them.
    pub announced: u64,
    /// Pings sent.
    pub pings: u64,
    /// Gauge: rooms now.
    pub rooms: u64,
    /// Gauge: memberships of connections in rooms now.
    pub attachments: u64,
    /// Gauge: bytes in outboxes now, shared ones counted each time.
    pub outbox_bytes: u64,
    /// Gauge: bytes of unfinished input now.
    pub input_bytes: u64,
    /// Close frames sent, by the place of their code in [`Counters::close_codes`].
    pub(crate) closes: [u64; CLOSE_CODES.len()],
    /// Errors answered, by the code's number.
    pub(crate) errors: [u64; ErrorCode::ALL.len()],
}

impl Counters {
    pub(super) fn count_close(&mut self, code: CloseCode) {
        if let Some(at) = CLOSE_CODES.iter().position(|known| *known == code) {
            self.closes[at] += 1;
        }
    }

    pub(super) fn count_error(&mut self, code: ErrorCode) {
        self.errors[code as usize] += 1;
    }

    /// Close frames sent, by code.
    pub fn close_codes(&self) -> impl Iterator<Item = (CloseCode, u64)> + '_ {
        CLOSE_CODES.into_iter().zip(self.closes.iter().copied())
    }

    /// Errors answered with this code.
    #[must_use]
    pub fn errors(&self, code: ErrorCode) -> u64 {
        self.errors[code as usize]
    }
}
