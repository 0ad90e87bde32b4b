//! The client's side of the wire, written apart from the server's.

/// A frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

/// A client's frame: first byte, mask, payload.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Takes the whole frames off the front.
pub(crate) fn frames(output: &mut Vec<u8>) -> Vec<Frame> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(length) = length(&output[at..]) {
        found.push(frame(&output[at..at + length]));
        at += length;
    }
    output.drain(..at);
    found
}

fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
        [_, 126, ..] => None,
        [_, 127, rest @ ..] => Some((10, u64::from_be_bytes(rest.get(..8)?.try_into().unwrap()) as usize)),
        [_, short, ..] => Some((2, usize::from(*short))),
        _ => None,
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let (header, payload) = header(bytes)?;
    (bytes.len() >= header + payload).then_some(header + payload)
}

fn frame(bytes: &[u8]) -> Frame {
    let (header, _) = header(bytes).unwrap();
    let payload = &bytes[header..];
    match bytes[0] {
        0x81 => Frame::Text(String::from_utf8(payload.to_vec()).unwrap()),
        0x82 => Frame::Binary(payload.to_vec()),
        0x89 => Frame::Ping(payload.to_vec()),
        0x8a => Frame::Pong(payload.to_vec()),
        0x88 => Frame::Close(
            u16::from_be_bytes([payload[0], payload[1]]),
            String::from_utf8(payload[2..].to_vec()).unwrap(),
        ),
        first => panic!("first byte {first:#x}"),
    }
}
