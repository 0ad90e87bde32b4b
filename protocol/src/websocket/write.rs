//! Writing a server's frames (RFC 6455, section 5.1): unmasked, whole messages, lengths in as few bytes as they need.

use super::{CLOSE_REASON_BYTES_MAX, CONTROL_BYTES_MAX, Opcode};
use crate::error::CloseCode;

/// Longest header of a server's frame, in bytes.
const HEADER_BYTES_MAX: usize = 10;
/// What [`write_with`] leaves free in front: the header of most frames.
const HEADER_BYTES_USUAL: usize = 4;

/// Appends one frame, FIN set.
///
/// # Panics
/// When a control frame's payload is over [`CONTROL_BYTES_MAX`]: a fault of the caller.
pub fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let (header, length) = header(opcode, payload.len());
    out.reserve(length + payload.len());
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(payload);
}

/// Appends one frame, FIN set, whose payload is what `payload` appends: nothing is copied to find its length first.
///
/// # Panics
/// When a control frame's payload is over [`CONTROL_BYTES_MAX`]: a fault of the caller.
pub fn write_with(opcode: Opcode, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES_USUAL]);
    payload(out);
    let (header, length) = header(opcode, out.len() - start - HEADER_BYTES_USUAL);
    if length != HEADER_BYTES_USUAL {
        // The payload moves by a few bytes: forward when it is short, back when it is over 64 KiB.
        let end = out.len() + length - HEADER_BYTES_USUAL;
        out.resize(end.max(out.len()), 0);
        let payload_end = start + HEADER_BYTES_USUAL + (end - start - length);
        out.copy_within(start + HEADER_BYTES_USUAL..payload_end, start + length);
        out.truncate(end);
    }
    out[start..start + length].copy_from_slice(&header[..length]);
}

/// Appends a close frame. A reason over [`CLOSE_REASON_BYTES_MAX`] is cut at a character's border.
pub fn write_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let mut reason_bytes = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(reason_bytes) {
        reason_bytes -= 1;
    }
    let reason = &reason[..reason_bytes];
    let (header, length) = header(Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn header(opcode: Opcode, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    assert!(!opcode.is_control() || payload_bytes <= CONTROL_BYTES_MAX, "a control frame is short");
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = 0x80 | opcode as u8;
    let length = if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
        header[1] = short;
        2
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    };
    (header, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_as_few_bytes_as_it_needs() {
        let cases = [(0, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (70_000, 10)];
        for (payload_bytes, header_bytes) in cases {
            let payload: Vec<u8> = (0..payload_bytes).map(|index| index as u8).collect();
            let mut known = vec![7];
            write(Opcode::Binary, &payload, &mut known);
            assert_eq!(known.len(), 1 + header_bytes + payload_bytes);
            assert_eq!(known[1 + header_bytes..], payload);
            let mut unknown = vec![7];
            write_with(Opcode::Binary, &mut unknown, |out| out.extend_from_slice(&payload));
            assert_eq!(unknown, known, "{payload_bytes} bytes");
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        write_close(CloseCode::NORMAL, &"é".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xe8]);
        assert_eq!(core::str::from_utf8(&out[4..]).unwrap().chars().count(), 61);
    }
}
