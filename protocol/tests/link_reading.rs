//! The promise: a link's bytes give the frames that were sent, however they are split, or an error. What is damaged is
//! never another frame and never a panic, and what is missing is waited for.

mod support;

use protocol::link::{
    Body, CONTROL, FRAME_BYTES_MAX, Frame, HEAD_BYTES, Malformed, Reader, Route, Sentences, VERSION,
    VERSION_OLDEST, write_control,
};
use support::{Chance, envelopes};
use xxhash_rust::xxh3::xxh3_64;

/// What one reads out of pieces, in words, and how it ended.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), Malformed>) {
    let (mut reader, mut assembly, mut frames) = (Reader::new(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = piece;
        loop {
            match reader.read(&mut input, &mut assembly, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => frames.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(malformed) => return (frames, Err(malformed)),
            }
            reader.invariants(&assembly);
        }
        assert!(input.is_empty());
        reader.invariants(&assembly);
    }
    (frames, Ok(()))
}

/// The first frame, or why there is none.
fn first(bytes: &[u8]) -> Result<Option<String>, Malformed> {
    let (mut input, mut assembly) = (bytes, Vec::new());
    let frame = Reader::new().read(&mut input, &mut assembly, FRAME_BYTES_MAX)?;
    Ok(frame.map(|frame| format!("{frame:?}")))
}

/// A frame with a right length and a right checksum of whatever lies behind them.
fn sealed(checked: &[u8]) -> Vec<u8> {
    let mut frame = (checked.len() as u32 + 8).to_le_bytes().to_vec();
    frame.extend(xxh3_64(checked).to_le_bytes());
    frame.extend(checked);
    frame
}

/// A few frames of different sizes, and a control frame without bytes.
fn stream() -> Vec<Vec<u8>> {
    let mut control = Vec::new();
    write_control(0xC0, 9, &[], &mut control).expect("it fits");
    let named =
        |wanted: &str| envelopes::frames().into_iter().find(|(name, _)| *name == wanted).expect("a sample").1;
    vec![named("append"), control, named("publish of each"), named("refused"), named("detach")]
}

#[test]
fn every_split_gives_the_same_frames() {
    let bytes = stream().concat();
    let (whole, end) = read_pieces([&*bytes]);
    assert_eq!((whole.len(), end), (5, Ok(())));
    for at in 0..=bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(read_pieces([front, back]), (whole.clone(), Ok(())), "split at {at}");
    }
    assert_eq!(read_pieces(bytes.chunks(1)), (whole.clone(), Ok(())));
    for seed in 0..500 {
        let mut chance = Chance(seed);
        let (mut rest, mut pieces) = (&*bytes, Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + chance.below(rest.len().min(300)));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(read_pieces(pieces), (whole.clone(), Ok(())), "seed {seed}");
    }
}

#[test]
fn a_whole_frame_is_read_where_it_lies() {
    let bytes = stream().concat();
    let (mut reader, mut input, mut assembly) = (Reader::new(), &*bytes, Vec::new());
    while let Some(frame) = reader.read(&mut input, &mut assembly, FRAME_BYTES_MAX).expect("frames") {
        if let Body::Control { bytes: inside, .. } = frame.body {
            assert!(bytes.as_ptr_range().contains(&inside.as_ptr()));
        }
    }
    assert_eq!(assembly.capacity(), 0, "nothing was gathered");
}

#[test]
fn a_frame_that_was_given_is_taken_away_when_settled() {
    let bytes = &stream()[0];
    let (mut reader, mut assembly) = (Reader::new(), Vec::new());
    let (mut front, mut back) = bytes.split_at(20);
    assert_eq!(reader.read(&mut front, &mut assembly, FRAME_BYTES_MAX), Ok(None));
    assert!(reader.read(&mut back, &mut assembly, FRAME_BYTES_MAX).expect("a frame").is_some());
    reader.settle(&mut assembly);
    assert!(assembly.is_empty());
}

#[test]
fn truncated_frames_are_waited_for() {
    for (name, frame) in envelopes::frames() {
        for length in 0..frame.len() {
            let (mut reader, mut input, mut assembly) = (Reader::new(), &frame[..length], Vec::new());
            assert_eq!(reader.read(&mut input, &mut assembly, FRAME_BYTES_MAX), Ok(None), "{name}, {length}");
            assert_eq!(assembly, frame[..length]);
        }
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_waits() {
    let next = stream().concat();
    for (name, frame) in envelopes::frames() {
        for at in 0..frame.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut damaged = frame.clone();
                damaged[at] ^= flip;
                for behind in [&[], &*next] {
                    let bytes = [&damaged, behind].concat();
                    let read = first(&bytes);
                    assert!(matches!(read, Err(_) | Ok(None)), "{name}, byte {at}, flip {flip}: {read:?}");
                }
                if at >= 4 {
                    assert_eq!(first(&damaged), Err(Malformed::Checksum), "{name}, byte {at}, flip {flip}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_read_behind_an_error() {
    let mut bytes = stream().concat();
    bytes[HEAD_BYTES] ^= 1;
    let (mut reader, mut input, mut assembly) = (Reader::new(), &*bytes, Vec::new());
    assert_eq!(reader.read(&mut input, &mut assembly, FRAME_BYTES_MAX), Err(Malformed::Checksum));
    assert_eq!(reader.read(&mut input, &mut assembly, FRAME_BYTES_MAX), Ok(None));
    assert!(input.is_empty() && assembly.is_empty());
}

#[test]
fn versions_and_kinds_that_are_not_known_are_told_apart() {
    let good = &stream()[0];
    for number in 0..=255u8 {
        let mut version = good[12..].to_vec();
        version[0] = number;
        let read = first(&sealed(&version));
        if (VERSION_OLDEST..=VERSION).contains(&number) {
            assert!(matches!(read, Ok(Some(_))));
        } else {
            assert_eq!(read, Err(Malformed::Version(number)));
        }
        let mut kind = good[12..].to_vec();
        kind[1] = number;
        let read = first(&sealed(&kind));
        match number {
            1 | 2 | CONTROL.. => assert!(matches!(read, Ok(Some(_))), "kind {number}"),
            _ => assert_eq!(read, Err(Malformed::Kind(number))),
        }
    }
}

#[test]
fn control_frames_come_as_they_were_sent() {
    let mut out = Vec::new();
    write_control(0x80, 0, b"", &mut out).expect("it fits");
    write_control(0xFF, 255, b"credit", &mut out).expect("it fits");
    let (mut reader, mut input, mut assembly) = (Reader::new(), &*out, Vec::new());
    for (kind, version, bytes) in [(0x80, 0, &b""[..]), (0xFF, 255, &b"credit"[..])] {
        let frame = reader.read(&mut input, &mut assembly, 24).expect("a frame");
        let body = Body::Control { kind, version, bytes };
        assert_eq!(frame, Some(Frame { route: Route::default(), body }));
    }
}

#[test]
fn lengths_have_bounds_and_are_checked_before_the_rest_comes() {
    let read = |length: u32, bytes_max| {
        let (bytes, mut assembly) = (length.to_le_bytes(), Vec::new());
        let mut input = &bytes[..];
        Reader::new().read(&mut input, &mut assembly, bytes_max).map(|frame| frame.is_some())
    };
    for bytes_max in [100, FRAME_BYTES_MAX, usize::MAX] {
        let length_max = bytes_max.min(FRAME_BYTES_MAX) as u32 - 4;
        assert_eq!(read(0, bytes_max), Err(Malformed::TooShort));
        assert_eq!(read(HEAD_BYTES as u32 - 5, bytes_max), Err(Malformed::TooShort));
        assert_eq!(read(HEAD_BYTES as u32 - 4, bytes_max), Ok(false));
        assert_eq!(read(length_max, bytes_max), Ok(false));
        assert_eq!(read(length_max + 1, bytes_max), Err(Malformed::TooLarge));
        assert_eq!(read(u32::MAX, bytes_max), Err(Malformed::TooLarge));
    }
}

/// A checksum says that bytes are as they were sent, not that the sender was right.
#[test]
fn damage_under_a_right_checksum_is_an_envelope_or_an_error() {
    let mut sentences = Sentences::new();
    let (mut refused, mut taken) = (0, 0);
    for (name, frame) in envelopes::frames() {
        for seed in 0..300 {
            let mut chance = Chance(seed);
            let mut checked = frame[12..].to_vec();
            for _ in 0..1 + chance.below(3) {
                let at = 6 + chance.below(checked.len() - 6);
                match chance.below(3) {
                    0 => checked[at] ^= 1 << chance.below(8),
                    1 => checked[at] = chance.one_of(&[0, 1, 0x7f, 0x80, 0xff, b' ']),
                    _ => drop(checked.remove(at)),
                }
                if checked.len() <= 6 {
                    break;
                }
            }
            let read = envelopes::read(&sealed(&checked), &mut sentences);
            refused += usize::from(read.is_err());
            taken += usize::from(read.is_ok());
            assert!(read != Err(Malformed::Checksum), "{name}, seed {seed}");
        }
    }
    assert!(refused > taken && taken > 0, "{refused} refused, {taken} taken");
}

#[test]
fn random_bytes_are_no_frames() {
    for seed in 0..5_000 {
        let mut chance = Chance(seed);
        let length = chance.below(300);
        let bytes = chance.bytes(length);
        assert!(!matches!(first(&bytes), Ok(Some(_))), "seed {seed}");
        let mut checked = vec![VERSION, 1 + (seed % 2) as u8, 0, 0, 0, 0];
        checked.extend(bytes);
        let _ = envelopes::read(&sealed(&checked), &mut Sentences::new());
    }
}
