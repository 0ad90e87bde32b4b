//! One simulated TCP connection: a bounded stream of bytes each way, and what its server end is doing.

use std::collections::VecDeque;

use ring::packet::Gather;
use ring::token::Token;

/// One direction of a connection, as far as the kernels of both ends hold it.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Written and not yet read: at most the network's window.
    pub(super) bytes: VecDeque<u8>,
    /// The writer will write no more.
    pub(super) ended: bool,
}

impl Stream {
    /// Takes out up to `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.bytes.len());
        self.bytes.drain(..count).collect()
    }
}

/// The server's end of a connection.
#[derive(Debug, Default)]
pub(super) struct ServerEnd {
    /// Its name, once accepted.
    pub(super) token: Option<Token>,
    /// Whether the shard wants to be told.
    pub(super) armed: bool,
    /// A receive is planned.
    pub(super) receive_planned: bool,
    /// The send under way.
    pub(super) sending: Option<Box<Gather>>,
    /// The send waits for the reader.
    pub(super) send_waits: bool,
    /// No send may follow.
    pub(super) shut_down: bool,
    /// The shard asked to close; only what was under way may still come.
    pub(super) closing: bool,
    /// No shard has it any more.
    pub(super) closed: bool,
}

/// The client's end of a connection.
#[derive(Debug, Default)]
pub(super) struct ClientEnd {
    /// What did not fit the window yet.
    pub(super) unsent: VecDeque<u8>,
    /// The client ends its half behind `unsent`.
    pub(super) finishing: bool,
    /// The client reads no more and writes no more.
    pub(super) gone: bool,
    /// A notice that there is something to read is planned.
    pub(super) notice_planned: bool,
}

/// A connection with both ends.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Which gateway shard's listener it goes to.
    pub(super) gateway: usize,
    /// From the client.
    pub(super) to_server: Stream,
    /// To the client.
    pub(super) to_client: Stream,
    /// The one end.
    pub(super) server: ServerEnd,
    /// The other.
    pub(super) client: ClientEnd,
    /// Cut: what was on its way is lost.
    pub(super) reset: bool,
}

impl Connection {
    /// Moves what fits from the client's own buffer into the stream.
    pub(super) fn fill(&mut self, window_bytes: usize) {
        let room = window_bytes.saturating_sub(self.to_server.bytes.len());
        let count = room.min(self.client.unsent.len());
        self.to_server.bytes.extend(self.client.unsent.drain(..count));
        if self.client.finishing && self.client.unsent.is_empty() {
            self.to_server.ended = true;
        }
    }

    /// Whether a shard that wants to be told has something to be told.
    pub(super) fn has_news(&self) -> bool {
        self.reset || self.to_server.ended || !self.to_server.bytes.is_empty()
    }

    /// Cuts the connection: nothing that was on its way arrives.
    pub(super) fn cut(&mut self) {
        self.reset = true;
        self.to_server.bytes.clear();
        self.to_client.bytes.clear();
        self.client.unsent.clear();
    }

    /// Checks the bounds that both ends rely on.
    pub(super) fn invariants(&self, window_bytes: usize) {
        assert!(self.to_server.bytes.len() <= window_bytes);
        assert!(self.to_client.bytes.len() <= window_bytes);
        assert!(!self.server.send_waits || self.server.sending.is_some());
        assert!(!self.server.closed || self.server.sending.is_none());
    }
}

/// Bytes of a gather that are still to be sent.
pub(crate) fn unsent_bytes(gather: &Gather) -> usize {
    let total: usize = gather.packets.iter().map(|packet| packet.as_bytes().len()).sum();
    total - gather.skip
}

/// The first `count` bytes of a gather that are still to be sent.
pub(crate) fn first_bytes(gather: &Gather, count: usize) -> impl Iterator<Item = u8> {
    gather.packets.iter().flat_map(|packet| packet.as_bytes()).copied().skip(gather.skip).take(count)
}
