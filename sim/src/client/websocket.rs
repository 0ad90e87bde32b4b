//! The client's half of WebSocket (RFC 6455), written apart from the server's: masked frames out, in any number of
//! fragments; strict reading in. Nothing of the server's codec is used.

use crate::random::{Chance, Random, Span};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Longest message that a client takes, in bytes: a page of 200 events with room to spare.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping, with what its pong must carry.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close: its code (1005 when it has none) and reason.
    Close(u16, String),
}

/// Reads the server's frames out of bytes that come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Takes what came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; an error when the server broke RFC 6455.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, &'static str> {
        let Some((opcode, header, length)) = self.header()? else { return Ok(None) };
        if self.bytes.len() < header + length {
            return Ok(None);
        }
        let payload = self.bytes[header..header + length].to_vec();
        self.bytes.drain(..header + length);
        message(opcode, payload).map(Some)
    }

    /// Opcode, bytes of the header, bytes of the payload; `None` when the header is not whole yet.
    fn header(&self) -> Result<Option<(u8, usize, usize)>, &'static str> {
        let &[first, second, ref rest @ ..] = self.bytes.as_slice() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a reserved bit is set");
        }
        if first & 0x80 == 0 {
            return Err("the server fragments no message");
        }
        if second & 0x80 != 0 {
            return Err("the server masks a frame");
        }
        let opcode = first & 0x0f;
        let (header, length) = match second {
            126 => match rest {
                [a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (10, u64::from_be_bytes(*bytes)),
                None => return Ok(None),
            },
            short => (2, u64::from(short)),
        };
        let shortest = match length {
            0..=125 => 2,
            126..=65_535 => 4,
            _ => 10,
        };
        if header != shortest {
            return Err("a length is not minimal");
        }
        if opcode >= CLOSE && length > 125 {
            return Err("a control frame is longer than 125 bytes");
        }
        if length > MESSAGE_BYTES_MAX as u64 {
            return Err("a message is longer than any page");
        }
        Ok(Some((opcode, header, length as usize)))
    }
}

fn message(opcode: u8, payload: Vec<u8>) -> Result<Message, &'static str> {
    match opcode {
        TEXT => String::from_utf8(payload).map(Message::Text).map_err(|_| "a text is not UTF-8"),
        BINARY => Ok(Message::Binary(payload)),
        PING => Ok(Message::Ping(payload)),
        PONG => Ok(Message::Pong),
        CLOSE => close(&payload),
        _ => Err("an opcode is reserved"),
    }
}

fn close(payload: &[u8]) -> Result<Message, &'static str> {
    match payload {
        [] => Ok(Message::Close(1005, String::new())),
        [_] => Err("a close has one byte"),
        [a, b, reason @ ..] => {
            let reason = std::str::from_utf8(reason).map_err(|_| "a reason is not UTF-8")?;
            Ok(Message::Close(u16::from_be_bytes([*a, *b]), reason.to_owned()))
        }
    }
}

fn write_frame(out: &mut Vec<u8>, random: &mut Random, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    let mask = (random.next() as u32).to_be_bytes();
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Writes one message, in fragments with pings between them when chance has it so.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    random: &mut Random,
    fragment: Chance,
    binary: bool,
    mut payload: &[u8],
) {
    let mut opcode = if binary { BINARY } else { TEXT };
    while !payload.is_empty() && random.happens(fragment) {
        let count = random.within(Span::new(0, payload.len() as u64)) as usize;
        let (part, rest) = payload.split_at(count);
        write_frame(out, random, opcode, part);
        if random.coin() {
            write_frame(out, random, 0x80 | PING, b"between");
        }
        opcode = 0;
        payload = rest;
    }
    write_frame(out, random, 0x80 | opcode, payload);
}

/// Writes a ping.
pub(crate) fn write_ping(out: &mut Vec<u8>, random: &mut Random) {
    write_frame(out, random, 0x80 | PING, b"sim");
}

/// Writes the pong of a ping.
pub(crate) fn write_pong(out: &mut Vec<u8>, random: &mut Random, payload: &[u8]) {
    write_frame(out, random, 0x80 | PONG, payload);
}

/// Writes a close with a code.
pub(crate) fn write_close(out: &mut Vec<u8>, random: &mut Random, code: u16) {
    write_frame(out, random, 0x80 | CLOSE, &code.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_whatever_pieces_it_comes_in() {
        let frame = [&[0x81, 126, 0, 200][..], &[b'a'; 200], &[0x88, 2, 0x03, 0xe8]].concat();
        for cut in 0..frame.len() {
            let mut reader = Reader::default();
            let mut messages = Vec::new();
            for part in [&frame[..cut], &frame[cut..]] {
                reader.feed(part);
                messages.extend(std::iter::from_fn(|| reader.next().unwrap()));
            }
            assert_eq!(messages, [Message::Text("a".repeat(200)), Message::Close(1000, String::new())]);
            assert!(reader.bytes.is_empty());
        }
    }

    #[test]
    fn what_rfc_6455_forbids_a_server_is_an_error() {
        for bytes in [&[0x81, 0x80, 0, 0, 0, 0][..], &[0xc1, 0], &[0x01, 0], &[0x81, 126, 0, 5], &[0x83, 0]] {
            let mut reader = Reader::default();
            reader.feed(bytes);
            assert!(reader.next().is_err(), "{bytes:?}");
        }
    }
}
