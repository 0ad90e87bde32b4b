//! A client's side of the WebSocket framing (RFC 6455, section 5): masked frames out, whole unmasked frames in.
//!
//! The server never splits a message into fragments, so a fragment is a fault here.

use crate::chance::Chance;

/// Longest payload that a server may send, in bytes: a page of 200 events of 90,000 bytes, and some.
pub const SERVER_PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest payload of a control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A message of text.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// Yes.
    Pong = 10,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// How a server broke the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set.
    ReservedBits,
    /// An opcode that means nothing.
    Opcode,
    /// A part of a message.
    Fragment,
    /// A server's frame must not be masked.
    Masked,
    /// A length that is not the shortest form of itself, or that a control frame must not have.
    Length,
    /// More than [`SERVER_PAYLOAD_BYTES_MAX`].
    TooLong,
}

/// One whole frame of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why a server closes: the payload of its close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code; 1005 when the frame has none (RFC 6455, section 7.1.5).
    pub code: u16,
    /// The reason, if it is UTF-8.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads the payload of a close frame.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Self {
        match payload.split_first_chunk::<2>() {
            Some((&code, reason)) => {
                Self { code: u16::from_be_bytes(code), reason: str::from_utf8(reason).unwrap_or_default() }
            }
            None => Self { code: 1005, reason: "" },
        }
    }
}

/// Masking keys from a seed: the same seed, the same keys.
#[derive(Clone, Debug)]
pub struct Masks(Chance);

impl Masks {
    /// Keys of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    /// The next key.
    pub const fn key(&mut self) -> [u8; 4] {
        ((self.0.number() >> 32) as u32).to_le_bytes()
    }
}

/// Appends a control frame. Longer payloads than 125 bytes are cut.
pub fn write_control(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    write_with(opcode, mask, out, |out| out.extend_from_slice(payload));
}

/// Appends a text frame with this payload.
pub fn write_text(payload: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    write_with(Opcode::Text, mask, out, |out| out.extend_from_slice(payload.as_bytes()));
}

/// Appends one masked frame around the payload that `payload` appends.
pub(super) fn write_with(
    opcode: Opcode,
    mask: [u8; 4],
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    // Most frames are of 126 to 65,535 bytes or nearly so: leave room for that header, and move the others.
    const HEADER: usize = 8;
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    payload(out);
    let length = out.len() - start - HEADER;
    apply(mask, &mut out[start + HEADER..]);
    out[start] = 0x80 | opcode as u8;
    match length {
        0..=125 => {
            out[start + 1] = 0x80 | length as u8;
            out.drain(start + 6..start + HEADER);
            out[start + 2..start + 6].copy_from_slice(&mask);
        }
        126..=65_535 => {
            out[start + 1] = 0x80 | 126;
            out[start + 2..start + 4].copy_from_slice(&(length as u16).to_be_bytes());
            out[start + 4..start + 8].copy_from_slice(&mask);
        }
        _ => {
            out[start + 1] = 0x80 | 127;
            let tail = (length as u64).to_be_bytes().into_iter().chain(mask);
            out.splice(start + 2..start + HEADER, tail);
        }
    }
}

/// Masks in place (RFC 6455, section 5.3).
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The header of a server's frame.
struct Header {
    opcode: Opcode,
    header_bytes: usize,
    whole_bytes: usize,
}

impl Header {
    /// The header at the start of `bytes`; `None` when it is not all there yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        if first & 0x80 == 0 || first & 0x0F == 0 {
            return Err(Violation::Fragment);
        }
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::Opcode)?;
        if second & 0x80 != 0 {
            return Err(Violation::Masked);
        }
        let (length, least, header_bytes) = match second {
            126 => match rest.first_chunk::<2>() {
                Some(&length) => (u64::from(u16::from_be_bytes(length)), 126, 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(&length) => (u64::from_be_bytes(length), 1 << 16, 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 0, 2),
        };
        if length < least || (opcode.is_control() && length > CONTROL_BYTES_MAX as u64) {
            return Err(Violation::Length);
        }
        if length > SERVER_PAYLOAD_BYTES_MAX as u64 {
            return Err(Violation::TooLong);
        }
        Ok(Some(Self { opcode, header_bytes, whole_bytes: header_bytes + length as usize }))
    }

    /// The frame, once `bytes` hold it all.
    fn message<'a>(&self, bytes: &'a [u8]) -> Message<'a> {
        Message { opcode: self.opcode, payload: &bytes[self.header_bytes..self.whole_bytes] }
    }
}

/// Frames out of the bytes of one connection, however they were split. Eight bytes while no frame is unfinished; a frame
/// that came whole is borrowed from where it came.
#[derive(Debug, Default)]
pub struct Reader {
    unfinished: Option<Box<Unfinished>>,
}

/// A frame that came in pieces.
#[derive(Debug)]
struct Unfinished {
    bytes: Vec<u8>,
    /// It was handed out, and is of no use any more.
    finished: bool,
}

impl Reader {
    /// Takes the next whole frame off the front of `input`; `None` once what is left is no whole frame, and kept.
    ///
    /// # Errors
    /// A [`Violation`]: the connection is of no use any more.
    pub fn next<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Option<Message<'a>>, Violation> {
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.finished) {
            self.unfinished = None;
        }
        if self.unfinished.is_none() {
            return self.first(input);
        }
        match &mut self.unfinished {
            Some(unfinished) => unfinished.take(input),
            None => Ok(None),
        }
    }

    /// The frame at the front of `input`, borrowed from there; what is no whole frame is kept.
    fn first<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Message<'a>>, Violation> {
        match Header::parse(input)? {
            Some(header) if input.len() >= header.whole_bytes => {
                let (frame, rest) = input.split_at(header.whole_bytes);
                *input = rest;
                Ok(Some(header.message(frame)))
            }
            _ => {
                if !input.is_empty() {
                    self.unfinished = Some(Box::new(Unfinished { bytes: input.to_vec(), finished: false }));
                }
                *input = &[];
                Ok(None)
            }
        }
    }

    /// True while a frame has begun and not ended.
    #[must_use]
    pub fn is_amid_frame(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|unfinished| !unfinished.finished)
    }
}

impl Unfinished {
    /// Takes what the frame lacks; the frame, once it is whole.
    fn take(&mut self, input: &mut &[u8]) -> Result<Option<Message<'_>>, Violation> {
        loop {
            let header = Header::parse(&self.bytes)?;
            let lacking = match &header {
                Some(header) => header.whole_bytes - self.bytes.len(),
                None => 1,
            };
            if lacking > 0 {
                let (piece, rest) = input.split_at(lacking.min(input.len()));
                if piece.is_empty() {
                    return Ok(None);
                }
                self.bytes.extend_from_slice(piece);
                *input = rest;
            } else if let Some(header) = header {
                self.finished = true;
                return Ok(Some(header.message(&self.bytes)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..=125 => frame.push(short as u8),
            medium @ 126..=65_535 => {
                frame.push(126);
                frame.extend((medium as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn read_all(reader: &mut Reader, pieces: &[&[u8]]) -> Result<Vec<(Opcode, Vec<u8>)>, Violation> {
        let mut messages = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(message) = reader.next(&mut input)? {
                messages.push((message.opcode, message.payload.to_vec()));
            }
            assert!(input.is_empty());
        }
        Ok(messages)
    }

    #[test]
    fn frames_are_read_however_they_are_split() {
        let payloads = [vec![], vec![1; 125], vec![2; 126], vec![3; 300]];
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| server_frame(2, payload)).collect();
        for first in 0..=stream.len() {
            let (one, two) = stream.split_at(first);
            let mut reader = Reader::default();
            let messages = read_all(&mut reader, &[one, two]).unwrap();
            assert_eq!(
                messages.iter().map(|(_, payload)| payload).collect::<Vec<_>>(),
                payloads.iter().collect::<Vec<_>>()
            );
            assert!(!reader.is_amid_frame());
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read_all(&mut Reader::default(), &bytes).unwrap().len(), payloads.len());
    }

    #[test]
    fn both_sides_of_each_length_are_read_and_written() {
        for length in [0, 125, 126, 65_535, 65_536, 70_000] {
            let payload = vec![7; length];
            let messages = read_all(&mut Reader::default(), &[&server_frame(1, &payload)]).unwrap();
            assert_eq!(messages, [(Opcode::Text, payload.clone())]);
            let mask = [1, 2, 3, 4];
            let mut out = b"before".to_vec();
            write_with(Opcode::Binary, mask, &mut out, |out| out.extend(&payload));
            let header = [2, 4, 10][usize::from(length > 125) + usize::from(length > 65_535)];
            assert_eq!(&out[..6], b"before");
            assert_eq!(out[7] & 0x80, 0x80, "masked");
            let mut unmasked = out[6 + header + 4..].to_vec();
            apply(mask, &mut unmasked);
            assert_eq!(unmasked, payload);
            assert_eq!(out[6 + header..6 + header + 4], mask);
            let mut expected = server_frame(2, &payload)[..header].to_vec();
            expected[1] |= 0x80;
            assert_eq!(out[6..6 + header], expected);
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        let refused = |bytes: &[u8]| read_all(&mut Reader::default(), &[bytes]).unwrap_err();
        assert_eq!(refused(b"\xc1\x00"), Violation::ReservedBits);
        assert_eq!(refused(b"\x01\x00"), Violation::Fragment);
        assert_eq!(refused(b"\x80\x00"), Violation::Fragment);
        assert_eq!(refused(b"\x83\x00"), Violation::Opcode);
        assert_eq!(refused(b"\x81\x80"), Violation::Masked);
        assert_eq!(refused(b"\x82\x7e\x00\x7d"), Violation::Length);
        assert_eq!(refused(b"\x82\x7f\0\0\0\0\0\0\xff\xff"), Violation::Length);
        assert_eq!(refused(b"\x89\x7e\x00\x7e"), Violation::Length);
        assert_eq!(refused(b"\x82\x7f\0\0\0\0\x7f\0\0\0"), Violation::TooLong);
    }

    #[test]
    fn a_close_tells_its_code_and_reason() {
        assert_eq!(Close::parse(b"\x11\x58slow"), Close { code: 4440, reason: "slow" });
        assert_eq!(Close::parse(b""), Close { code: 1005, reason: "" });
        assert_eq!(Close::parse(b"\x03\xe8\xff"), Close { code: 1000, reason: "" });
    }

    #[test]
    fn keys_come_from_the_seed() {
        let keys = |seed| {
            let mut masks = Masks::new(seed);
            [masks.key(), masks.key(), masks.key()]
        };
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
        assert_ne!(keys(1)[0], keys(1)[1]);
    }
}
