//! The promise: what a client says in WebSocket frames is read the same however its bytes are split over buffers, and
//! the first breach of RFC 6455 ends the reading at the byte where it shows.

mod support;

use protocol::error::CloseCode;
use protocol::websocket::{Message, Reader, Violation};
use support::{Chance, frame};

/// Far over what the tests send, apart from those of the limit.
const LIMIT: u32 = 1 << 20;

/// What was read, held.
#[derive(Clone, Debug, PartialEq)]
enum Read {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

impl From<Message<'_>> for Read {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(String::from_utf8(text.to_vec()).expect("checked")),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Message::Close { code, reason } => Self::Close(code.map(|code| code.0), reason.to_owned()),
        }
    }
}

/// A connection that hands in its buffers one by one.
#[derive(Default)]
struct Connection {
    reader: Reader,
    assembly: Vec<u8>,
    read: Vec<Read>,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8], limit: u32) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match self.reader.read(&mut input, &mut self.assembly, limit) {
                Ok(Some(message)) => self.read.push(message.into()),
                Ok(None) => break,
                Err(violation) => self.read.push(Read::Violation(violation)),
            }
            self.reader.invariants(&self.assembly);
        }
        assert!(input.is_empty());
        self.reader.invariants(&self.assembly);
        assert!(!self.reader.is_idle() || self.assembly.is_empty());
    }
}

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Read> {
    let mut connection = Connection::default();
    pieces.into_iter().for_each(|piece| connection.receive(piece, LIMIT));
    connection.read
}

fn read(frames: &[Vec<u8>]) -> Vec<Read> {
    read_pieces([&frames.concat()[..]])
}

fn violation(frames: &[Vec<u8>]) -> Violation {
    match read(frames)[..] {
        [.., Read::Violation(violation)] => violation,
        ref read => panic!("no violation, but {read:?}"),
    }
}

/// Streams that touch every path of the reader.
fn samples() -> Vec<(Vec<u8>, Vec<Read>)> {
    let text = |text: &str| Read::Text(text.to_owned());
    let long = "ø".repeat(300);
    vec![
        (frame(0x81, b"hello"), vec![text("hello")]),
        (frame(0x81, b""), vec![text("")]),
        (frame(0x82, &[0, 255, 7]), vec![Read::Binary(vec![0, 255, 7])]),
        (frame(0x81, long.as_bytes()), vec![text(&long)]),
        (
            [frame(0x81, b"a"), frame(0x82, b"b"), frame(0x8a, b""), frame(0x81, b"c")].concat(),
            vec![text("a"), Read::Binary(b"b".to_vec()), Read::Pong(vec![]), text("c")],
        ),
        (
            [
                frame(0x01, b"\xce"),
                frame(0x89, b"ping"),
                frame(0x00, b""),
                frame(0x80, b"\xba!"),
                frame(0x81, b"x"),
            ]
            .concat(),
            vec![Read::Ping(b"ping".to_vec()), text("κ!"), text("x")],
        ),
        (
            [frame(0x02, b""), frame(0x8a, b"12"), frame(0x89, b"34"), frame(0x80, b"")].concat(),
            vec![Read::Pong(b"12".to_vec()), Read::Ping(b"34".to_vec()), Read::Binary(vec![])],
        ),
        (
            [frame(0x02, &[1; 200]), frame(0x00, &[2; 3]), frame(0x80, &[3; 130])].concat(),
            vec![Read::Binary([vec![1; 200], vec![2; 3], vec![3; 130]].concat())],
        ),
        (
            [frame(0x01, b"begun"), frame(0x88, b"\x03\xe8bye"), frame(0x80, b"ignored"), vec![0xff; 9]]
                .concat(),
            vec![Read::Close(Some(1000), "bye".to_owned())],
        ),
        ([frame(0x88, b""), b"GET /".to_vec()].concat(), vec![Read::Close(None, String::new())]),
        (
            [frame(0x81, b"good"), frame(0x81, b"b\xffd"), frame(0x81, b"late")].concat(),
            vec![text("good"), Read::Violation(Violation::Utf8)],
        ),
        (
            [frame(0x81, b"good"), frame(0xc1, b"bits")].concat(),
            vec![text("good"), Read::Violation(Violation::ReservedBits)],
        ),
    ]
}

#[test]
fn every_split_of_every_stream_reads_the_same() {
    for (stream, expected) in samples() {
        for first in 0..=stream.len() {
            for second in [first, first + 1, first + (stream.len() - first) / 2, stream.len()] {
                let second = second.min(stream.len());
                let read = read_pieces([&stream[..first], &stream[first..second], &stream[second..]]);
                assert_eq!(read, expected, "split at {first} and {second}");
            }
        }
        assert_eq!(read_pieces(stream.chunks(1)), expected, "byte by byte");
    }
}

#[test]
fn random_streams_in_random_pieces_read_the_same() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..chance.below(8) + 1 {
            random_message(&mut chance, &mut stream, &mut expected);
        }
        let mut connection = Connection::default();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let length = rest.len().min(1 + chance.below(300));
            connection.receive(&rest[..length], LIMIT);
            rest = &rest[length..];
        }
        assert_eq!(connection.read, expected, "seed {seed}");
        assert!(connection.reader.is_idle() && connection.assembly.is_empty(), "seed {seed}");
    }
}

/// A message in a random number of fragments with control frames between them.
fn random_message(chance: &mut Chance, stream: &mut Vec<u8>, expected: &mut Vec<Read>) {
    let is_text = chance.once_in(2);
    let length = chance.one_of(&[0, 1, 20, 130, 400]);
    let payload = if is_text { chance.text(length).into_bytes() } else { chance.bytes(length) };
    let fragments = 1 + chance.below(4);
    let mut rest = &payload[..];
    for fragment in 0..fragments {
        let last = fragment + 1 == fragments;
        let (piece, tail) = rest.split_at(if last { rest.len() } else { chance.below(rest.len() + 1) });
        rest = tail;
        let opcode = if fragment > 0 { 0 } else { 2 - u8::from(is_text) };
        stream.extend(frame(u8::from(last) << 7 | opcode, piece));
        if !last && chance.once_in(2) {
            let length = chance.below(126);
            let control = chance.bytes(length);
            stream.extend(frame(0x89, &control));
            expected.push(Read::Ping(control));
        }
    }
    expected.push(if is_text {
        Read::Text(String::from_utf8(payload).expect("text"))
    } else {
        Read::Binary(payload)
    });
}

#[test]
fn a_whole_message_in_one_buffer_is_never_copied() {
    let mut reader = Reader::new();
    let mut assembly = Vec::new();
    let mut bytes = [frame(0x81, b"one"), frame(0x89, b"two"), frame(0x82, &[9; 5_000])].concat();
    let mut input = &mut bytes[..];
    let mut messages = 0;
    while reader.read(&mut input, &mut assembly, LIMIT).unwrap().is_some() {
        messages += 1;
    }
    assert_eq!((messages, assembly.capacity()), (3, 0));
}

#[test]
fn settling_leaves_nothing_of_what_was_given_and_all_that_is_unfinished() {
    for (stream, expected) in samples() {
        for split in 0..=stream.len() {
            let mut connection = Connection::default();
            let mut pieces = [stream[..split].to_vec(), stream[split..].to_vec()];
            for piece in &mut pieces {
                let mut input = &mut piece[..];
                // Like a caller that looks at its input alone.
                while !input.is_empty() {
                    match connection.reader.read(&mut input, &mut connection.assembly, LIMIT) {
                        Ok(Some(message)) => connection.read.push(message.into()),
                        Ok(None) => {}
                        Err(violation) => connection.read.push(Read::Violation(violation)),
                    }
                    connection.reader.settle(&mut connection.assembly);
                    connection.reader.invariants(&connection.assembly);
                }
            }
            assert_eq!(connection.read, expected, "split at {split}");
            assert!(connection.assembly.is_empty(), "split at {split}");
        }
    }
}

#[test]
fn the_memory_of_an_unfinished_message_grows_with_what_came_not_with_what_was_announced() {
    let mut connection = Connection::default();
    connection.receive(&frame(0x82, &vec![1; 1_000_000])[..100], LIMIT);
    assert!(connection.assembly.capacity() < 1_000, "{}", connection.assembly.capacity());
}

#[test]
fn a_message_over_the_limit_fails_at_its_header() {
    let announced = |limit: u32, stream: &[u8]| {
        let mut connection = Connection::default();
        connection.receive(stream, limit);
        connection.read
    };
    let too_large = [Read::Violation(Violation::TooLarge)];
    let whole = frame(0x82, &[1; 1_000]);
    assert_eq!(announced(1_000, &whole), [Read::Binary(vec![1; 1_000])]);
    assert_eq!(announced(999, &whole[..8]), too_large);
    let fragments = [frame(0x02, &[1; 600]), frame(0x80, &[1; 400])].concat();
    assert_eq!(announced(1_000, &fragments), [Read::Binary(vec![1; 1_000])]);
    assert_eq!(announced(999, &fragments[..608 + 8]), too_large);
    assert_eq!(announced(0, &frame(0x89, b"control frames have a limit of their own")).len(), 1);
    let endless = [&[0x82, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    assert_eq!(announced(u32::MAX, &endless), too_large);
}

#[test]
fn each_breach_of_the_framing_has_its_name_and_its_close_code() {
    let breaches = [
        (Violation::Unmasked, vec![vec![0x81, 0x01, b'a']]),
        (Violation::ReservedBits, vec![frame(0xc1, b"")]),
        (Violation::ReservedOpcode, vec![frame(0x83, b"")]),
        (Violation::FragmentedControl, vec![frame(0x09, b"")]),
        (Violation::LongControl, vec![frame(0x89, &[0; 126])]),
        (Violation::Length, vec![vec![0x81, 0xfe, 0, 125, 0, 0, 0, 0]]),
        (Violation::StrayContinuation, vec![frame(0x80, b"a")]),
        (Violation::StrayContinuation, vec![frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")]),
        (Violation::Interleaved, vec![frame(0x01, b"a"), frame(0x81, b"b")]),
        (Violation::Interleaved, vec![frame(0x02, b""), frame(0x02, b"")]),
        (Violation::ClosePayload, vec![frame(0x88, b"\x03")]),
        (Violation::CloseCode, vec![frame(0x88, b"\x03\xed")]),
    ];
    for (expected, frames) in breaches {
        assert_eq!(violation(&frames), expected);
        assert_eq!(expected.close_code(), CloseCode::PROTOCOL_ERROR);
    }
    assert_eq!(violation(&[frame(0x88, b"\x03\xe8\xff")]), Violation::Utf8);
    assert_eq!(Violation::Utf8.close_code(), CloseCode::INVALID_DATA);
    assert_eq!(Violation::TooLarge.close_code(), CloseCode::TOO_LARGE);
}

#[test]
fn text_that_can_no_longer_become_utf_8_fails_before_its_message_ends() {
    let utf8 = [Read::Violation(Violation::Utf8)];
    let in_a_fragment = [frame(0x01, b"\xce\xba"), frame(0x00, b"\xf4\x90")].concat();
    assert_eq!(read_pieces([&in_a_fragment[..]]), utf8);
    let in_a_piece = frame(0x81, b"\xce\xba\xf4\x90\x80\x80and more");
    assert_eq!(read_pieces([&in_a_piece[..6 + 4]]), utf8);
    let over_a_border = [frame(0x01, b"\xed"), frame(0x00, b"\xa0")].concat();
    assert_eq!(read_pieces([&over_a_border[..]]), utf8);
    assert_eq!(read(&[frame(0x81, b"cut \xe2\x82")]), utf8);
    assert_eq!(read(&[frame(0x01, b"cut \xe2"), frame(0x80, b"\x82")]), utf8);
}

#[test]
fn bytes_that_are_not_text_need_not_be_utf_8() {
    assert_eq!(read(&[frame(0x82, b"\xff\xfe")]), [Read::Binary(vec![0xff, 0xfe])]);
    let between = [frame(0x01, b"a"), frame(0x89, b"\xff"), frame(0x80, b"b")];
    assert_eq!(read(&between), [Read::Ping(vec![0xff]), Read::Text("ab".to_owned())]);
}

#[test]
fn garbage_never_panics_and_nothing_is_read_after_a_violation() {
    for seed in 0..2_000 {
        let mut chance = Chance(seed);
        let mut connection = Connection::default();
        for _ in 0..4 {
            let length = chance.below(60);
            let bytes = chance.bytes(length);
            connection.receive(&bytes, 1_000);
        }
        let end = |read: &Read| matches!(read, Read::Violation(_) | Read::Close(..));
        let ends = connection.read.iter().position(end).map_or(0, |at| connection.read.len() - at);
        assert!(ends <= 1, "seed {seed}: {:?}", connection.read);
        assert!(connection.assembly.len() <= 1_000 + 125, "seed {seed}");
    }
}
