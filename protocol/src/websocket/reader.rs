//! Reading a client's messages: out of the received buffer in place where a message lies in one, and otherwise
//! gathered in memory of the caller. Between buffers a connection keeps 32 bytes.
//!
//! ```text
//! let mut input = received;
//! while let Some(message) = reader.read(&mut input, &mut assembly, limit)? { … }
//! // `assembly` is empty unless a message or a control frame is unfinished.
//! ```

use super::close;
use super::header::{HEADER_BYTES_MAX, Header};
use super::mask::unmask;
use super::utf8::Utf8;
use super::{Opcode, Violation};
use crate::error::CloseCode;

/// One message of a client, unmasked, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8, checked; bytes, because JSON is decoded in place.
    Text(&'a mut [u8]),
    /// Bytes.
    Binary(&'a mut [u8]),
    /// To be answered by a pong with the same bytes.
    Ping(&'a [u8]),
    /// The client lives.
    Pong(&'a [u8]),
    /// The client will send nothing more; whatever follows is ignored.
    Close {
        /// Its code, when it gave one.
        code: Option<CloseCode>,
        /// Its reason, often empty.
        reason: &'a str,
    },
}

/// Where in the stream the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Place {
    #[default]
    Header,
    Payload,
    /// After a close frame or a violation: nothing is read any more.
    End,
}

/// What sort of message was begun and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Text,
    Binary,
}

/// The framing state of one connection: all that is kept of it between two received buffers.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The first bytes of a header that is not all there yet.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    place: Place,
    /// Payload bytes of the frame that are still to come.
    remaining: u32,
    /// The mask of the next payload byte.
    mask: [u8; 4],
    /// Bytes of the unfinished message in front of the frame; a control frame is gathered behind them.
    message_bytes: u32,
    message: Option<Kind>,
    opcode: Opcode,
    fin: bool,
    utf8: Utf8,
}

/// A million idle connections hold one each.
const _: () = assert!(size_of::<Reader>() <= 32);

/// What one frame, or a part of one, came to.
enum Step<'a> {
    /// All input is taken, and nothing is complete.
    Need,
    /// A fragment that is not the last.
    Fragment,
    /// A whole message that lies in the input.
    InPlace(&'a mut [u8]),
    /// A whole message that lies in the assembly.
    Gathered,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// The state after the handshake.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            place: Place::Header,
            remaining: 0,
            mask: [0; 4],
            message_bytes: 0,
            message: None,
            opcode: Opcode::Continuation,
            fin: false,
            utf8: Utf8::Border,
        }
    }

    /// The next message. Takes what it reads off the front of `input`; `None` when all input is taken.
    ///
    /// `assembly` is this connection's from the first byte of an unfinished message to its end: the caller hands in
    /// the very bytes that the last call left there, and may drop the memory whenever it is empty after a `None` or a
    /// [`Reader::settle`].
    /// It never holds more than `message_bytes_max` and one control payload, and never more than has come.
    ///
    /// # Errors
    /// The first breach of RFC 6455, at the byte where it shows; a message over `message_bytes_max` at its header.
    /// From then on all input is ignored.
    pub fn read<'m, 'a: 'm>(
        &mut self,
        input: &mut &'a mut [u8],
        assembly: &'m mut Vec<u8>,
        message_bytes_max: u32,
    ) -> Result<Option<Message<'m>>, Violation> {
        let message = self.advance(input, assembly, message_bytes_max);
        if message.is_err() {
            self.place = Place::End;
        }
        message
    }

    /// Takes out of `assembly` what [`Reader::read`] has given. The next `read` does so anyway; a caller that stops
    /// before a `None`, because its input is at an end or has to wait, calls this before it keeps the memory.
    pub fn settle(&mut self, assembly: &mut Vec<u8>) {
        match self.place {
            Place::Header => assembly.truncate(self.message_bytes as usize),
            Place::Payload => {}
            Place::End => {
                self.message_bytes = 0;
                assembly.clear();
            }
        }
    }

    /// True when nothing of the connection's next message has come yet.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.place == Place::Header && self.header_bytes == 0 && self.message.is_none()
    }

    /// Asserts what must hold between two calls.
    ///
    /// # Panics
    /// When it does not: a fault of this module, or of a caller that handed in another connection's assembly.
    pub fn invariants(&self, assembly: &[u8]) {
        assert!(usize::from(self.header_bytes) < HEADER_BYTES_MAX);
        assert!(assembly.len() >= self.message_bytes as usize);
        assert!(self.message.is_some() || self.message_bytes == 0);
        assert!(self.message == Some(Kind::Text) || self.utf8 == Utf8::Border || self.place == Place::End);
    }

    fn advance<'m, 'a: 'm>(
        &mut self,
        input: &mut &'a mut [u8],
        assembly: &'m mut Vec<u8>,
        message_bytes_max: u32,
    ) -> Result<Option<Message<'m>>, Violation> {
        let payload: &'m mut [u8] = loop {
            match self.step(input, assembly, message_bytes_max)? {
                Step::Need => return Ok(None),
                Step::Fragment => {}
                Step::InPlace(payload) => break payload,
                Step::Gathered => break &mut assembly[self.message_bytes as usize..],
            }
        };
        self.message(payload).map(Some)
    }

    /// One frame, or as much of it as there is.
    fn step<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        assembly: &mut Vec<u8>,
        message_bytes_max: u32,
    ) -> Result<Step<'a>, Violation> {
        self.settle(assembly);
        match self.place {
            Place::Header => {
                let Some(header) = self.take_header(input)? else { return Ok(Step::Need) };
                self.begin_frame(&header, message_bytes_max)?;
            }
            Place::Payload => {}
            Place::End => {
                *input = &mut [];
                return Ok(Step::Need);
            }
        }
        let payload = self.take_payload(input)?;
        if self.remaining > 0 {
            assembly.extend_from_slice(payload);
            return Ok(Step::Need);
        }
        self.place = Place::Header;
        if self.opcode.is_control() {
            Ok(self.end_control(payload, assembly))
        } else {
            self.end_data(payload, assembly)
        }
    }

    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        if self.header_bytes == 0
            && let Some((header, length)) = Header::parse(input)?
        {
            take(input, length);
            return Ok(Some(header));
        }
        while !input.is_empty() {
            self.header[usize::from(self.header_bytes)] = take(input, 1)[0];
            self.header_bytes += 1;
            if let Some((header, _)) = Header::parse(&self.header[..usize::from(self.header_bytes)])? {
                self.header_bytes = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn begin_frame(&mut self, header: &Header, message_bytes_max: u32) -> Result<(), Violation> {
        let kind = match (header.opcode, self.message) {
            (Opcode::Continuation, None) => return Err(Violation::StrayContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Interleaved),
            (Opcode::Text, None) => Some(Kind::Text),
            (Opcode::Binary, None) => Some(Kind::Binary),
            (Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong, kind) => kind,
        };
        if !header.opcode.is_control()
            && header.payload_bytes > u64::from(message_bytes_max.saturating_sub(self.message_bytes))
        {
            return Err(Violation::TooLarge);
        }
        self.remaining = u32::try_from(header.payload_bytes).map_err(|_| Violation::TooLarge)?;
        self.mask = header.mask;
        self.message = kind;
        self.opcode = header.opcode;
        self.fin = header.fin;
        self.place = Place::Payload;
        Ok(())
    }

    /// The frame's next payload bytes, unmasked and, in a text, checked.
    fn take_payload<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<&'a mut [u8], Violation> {
        let length = input.len().min(self.remaining as usize);
        let payload = take(input, length);
        self.mask = unmask(payload, self.mask);
        self.remaining -= length as u32;
        if self.message == Some(Kind::Text) && !self.opcode.is_control() {
            self.utf8 = self.utf8.feed(payload).ok_or(Violation::Utf8)?;
        }
        Ok(payload)
    }

    fn end_control<'a>(&self, payload: &'a mut [u8], assembly: &mut Vec<u8>) -> Step<'a> {
        if assembly.len() == self.message_bytes as usize {
            return Step::InPlace(payload);
        }
        assembly.extend_from_slice(payload);
        Step::Gathered
    }

    fn end_data<'a>(&mut self, payload: &'a mut [u8], assembly: &mut Vec<u8>) -> Result<Step<'a>, Violation> {
        if self.fin && self.utf8 != Utf8::Border {
            return Err(Violation::Utf8);
        }
        if self.fin && assembly.is_empty() {
            return Ok(Step::InPlace(payload));
        }
        assembly.extend_from_slice(payload);
        // A finished message is given from its start, and taken away by the next step.
        self.message_bytes = if self.fin { 0 } else { assembly.len() as u32 };
        Ok(if self.fin { Step::Gathered } else { Step::Fragment })
    }

    fn message<'m>(&mut self, payload: &'m mut [u8]) -> Result<Message<'m>, Violation> {
        match self.opcode {
            Opcode::Ping => Ok(Message::Ping(payload)),
            Opcode::Pong => Ok(Message::Pong(payload)),
            Opcode::Close => {
                let (code, reason) = close::parse(payload)?;
                self.place = Place::End;
                Ok(Message::Close { code, reason })
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                match self.message.take().expect("a data frame belongs to a message") {
                    Kind::Text => Ok(Message::Text(payload)),
                    Kind::Binary => Ok(Message::Binary(payload)),
                }
            }
        }
    }
}

/// Takes `length` bytes off the front.
fn take<'a>(input: &mut &'a mut [u8], length: usize) -> &'a mut [u8] {
    let (front, rest) = core::mem::take(input).split_at_mut(length);
    *input = rest;
    front
}
