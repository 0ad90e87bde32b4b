//! The promise: what two ends of a link say to one another keeps its bytes for ever, comes back as it was, and is refused
//! without harm when it is garbage.

mod support;

use protocol::link::{
    Body, Control, FRAME_BYTES_MAX, Greeting, HANDSHAKE_FRAME_BYTES_MAX, HEAD_BYTES, MAC_BYTES, Malformed,
    NONCE_BYTES, Reader,
};
use protocol::placement::{Epoch, NodeId};
use support::{Chance, golden};

const GOLDEN: &str = include_str!("golden/link_control.txt");

fn greeting() -> Greeting {
    Greeting {
        oldest: 1,
        newest: 2,
        node: NodeId(7),
        core: 3,
        cores: 16,
        incarnation: 0x0102_0304_0506_0708,
        name: "router-ä".into(),
    }
}

fn greeting_bytes(greeting: &Greeting) -> Vec<u8> {
    let mut bytes = Vec::new();
    greeting.write(&mut bytes);
    bytes
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let greeting = greeting_bytes(&greeting());
    let controls = [
        ("hello", Control::Hello { nonce: &[0xA1; NONCE_BYTES] }),
        ("challenge", Control::Challenge { nonce: &[0xB2; NONCE_BYTES] }),
        ("proof", Control::Proof { mac: &[0xC3; MAC_BYTES], greeting: &greeting }),
        ("ping", Control::Ping),
        ("table", Control::Table { epoch: Epoch(9), bytes: b"a table" }),
        ("routing", Control::Routing { epoch: Epoch(1 << 40) }),
        ("taken", Control::Taken { count: 3 }),
    ];
    controls.into_iter().map(|(name, control)| (name, written(control))).collect()
}

fn written(control: Control<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    control.write(&mut out).expect("it fits");
    // What was written is read as the same.
    let (mut input, mut assembly) = (&*out, Vec::new());
    let frame = Reader::new().read(&mut input, &mut assembly, FRAME_BYTES_MAX).expect("a frame");
    let Body::Control { kind, version: 0, bytes } = frame.expect("whole").body else { panic!("{control:?}") };
    assert_eq!(Control::read(kind, bytes), Ok(Some(control)));
    out
}

#[test]
fn control_frames_keep_their_bytes() {
    golden::check(GOLDEN, "control", &frames());
}

#[test]
fn a_greeting_comes_back_and_more_behind_it_is_passed_over() {
    for name in ["n", &"n".repeat(64)] {
        let greeting = Greeting { name: name.into(), node: NodeId::NONE, ..greeting() };
        let mut bytes = greeting_bytes(&greeting);
        assert_eq!(Greeting::read(&bytes), Ok(greeting.clone()));
        for end in 0..bytes.len() {
            assert_eq!(Greeting::read(&bytes[..end]), Err(Malformed::Control), "cut at {end}");
        }
        bytes.extend(b"what a later version says");
        assert_eq!(Greeting::read(&bytes), Ok(greeting));
        assert!(HEAD_BYTES + MAC_BYTES + bytes.len() <= HANDSHAKE_FRAME_BYTES_MAX);
    }
}

#[test]
fn a_greeting_that_contradicts_itself_is_none() {
    let wrong = [
        Greeting { oldest: 3, ..greeting() },
        Greeting { core: 16, ..greeting() },
        Greeting { core: 0, cores: 0, ..greeting() },
        Greeting { name: "".into(), ..greeting() },
    ];
    for greeting in wrong {
        assert_eq!(Greeting::read(&greeting_bytes(&greeting)), Err(Malformed::Control), "{greeting:?}");
    }
    let mut bytes = greeting_bytes(&greeting());
    bytes[16] = 65;
    bytes.extend([b'n'; 100]);
    assert_eq!(Greeting::read(&bytes), Err(Malformed::Control), "a name over the bound");
    let mut bytes = greeting_bytes(&greeting());
    bytes[17] = 0xFF;
    assert_eq!(Greeting::read(&bytes), Err(Malformed::Control), "not UTF-8");
}

#[test]
fn both_ends_find_the_same_version_or_none() {
    let of = |oldest, newest| Greeting { oldest, newest, ..greeting() };
    let cases = [
        (of(1, 1), of(1, 2), Some(1)),
        (of(1, 2), of(2, 3), Some(2)),
        (of(1, 1), of(1, 1), Some(1)),
        (of(1, 1), of(2, 3), None),
        (of(1, 3), of(2, 2), Some(2)),
    ];
    for (ours, theirs, version) in cases {
        assert_eq!(ours.version_with(&theirs), version);
        assert_eq!(theirs.version_with(&ours), version);
    }
}

#[test]
fn too_few_bytes_and_unknown_kinds_are_told_apart() {
    for (kind, fewest) in [(0x80, 32), (0x81, 32), (0x82, 32), (0x83, 0), (0x84, 8), (0x85, 8)] {
        for length in 0..100 {
            let bytes = vec![kind; length];
            let read = Control::read(kind, &bytes);
            assert_eq!(read.is_ok(), length >= fewest, "kind {kind:x}, {length} bytes");
            assert!(!matches!(read, Ok(None)));
        }
    }
    for kind in 0x87..=0xFF {
        assert_eq!(Control::read(kind, b"of a later version"), Ok(None));
    }
}

#[test]
fn random_bytes_do_no_harm() {
    for seed in 0..20_000 {
        let mut chance = Chance(seed);
        let length = chance.below(150);
        let bytes = chance.bytes(length);
        let _ = Control::read(0x80 | chance.below(8) as u8, &bytes);
        if let Ok(greeting) = Greeting::read(&bytes) {
            assert!(bytes.starts_with(&greeting_bytes(&greeting)), "seed {seed}");
        }
    }
}
