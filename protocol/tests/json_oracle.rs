//! The promise: what is JSON and what a string says is for an independent reader to decide, and ours agrees with it on
//! random values, on damaged ones, and on garbage.

mod support;

use protocol::frame::{ClientFrame, Scratch, Subprotocol, decode, is_json_object};
use support::Chance;

/// Random JSON as a library might write it, or a person: with space, escapes, and numbers of all sorts.
fn random_value(chance: &mut Chance, depth: usize, out: &mut String) {
    random_space(chance, out);
    match chance.below(if depth == 0 { 5 } else { 7 }) {
        0 => out.push_str(chance.one_of(&["null", "true", "false"])),
        1 | 2 => random_number(chance, out),
        3 | 4 => random_string(chance, out),
        5 => {
            out.push('[');
            for index in 0..chance.below(4) {
                out.push_str(if index > 0 { "," } else { "" });
                random_value(chance, depth - 1, out);
            }
            out.push(']');
        }
        _ => random_object(chance, depth, out),
    }
    random_space(chance, out);
}

fn random_object(chance: &mut Chance, depth: usize, out: &mut String) {
    out.push('{');
    for index in 0..chance.below(4) {
        out.push_str(if index > 0 { "," } else { "" });
        random_space(chance, out);
        random_string(chance, out);
        random_space(chance, out);
        out.push(':');
        random_value(chance, depth - 1, out);
    }
    out.push('}');
}

fn random_space(chance: &mut Chance, out: &mut String) {
    if chance.once_in(4) {
        out.push_str(chance.one_of(&[" ", "\t", "\r\n", "  \n "]));
    }
}

fn random_number(chance: &mut Chance, out: &mut String) {
    let numbers = [
        "0",
        "-0",
        "7",
        "-12",
        "3.25",
        "0.0",
        "1e3",
        "2E-7",
        "-1.5e+10",
        "18446744073709551616",
        "1e308",
        "5e-999",
    ];
    out.push_str(chance.one_of(&numbers));
}

fn random_string(chance: &mut Chance, out: &mut String) {
    out.push('"');
    for character in chance.text(12).chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\u{1f}' => escape(character, out),
            _ if chance.once_in(6) => escape(character, out),
            '/' if chance.once_in(2) => out.push_str("\\/"),
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn escape(character: char, out: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Whether ours takes the value inside of a frame.
fn is_taken(value: &str) -> bool {
    let mut scratch = Scratch::default();
    let mut bytes = format!(r#"{{"op":"ping","x":{value},"ref":1}}"#).into_bytes();
    decode(Subprotocol::Json, &mut bytes, &mut scratch) == Ok(ClientFrame::Ping { reference: 1 })
}

/// Whether the independent reader takes the whole frame.
fn is_json(value: &str) -> bool {
    let frame = format!(r#"{{"op":"ping","x":{value},"ref":1}}"#);
    let read: Result<serde_json::Value, _> = serde_json::from_str(&frame);
    read.is_ok_and(|read| read["op"] == "ping" && read["ref"] == 1)
}

#[test]
fn random_values_are_taken() {
    for seed in 0..3_000 {
        let mut value = String::new();
        random_value(&mut Chance(seed), 5, &mut value);
        assert!(is_json(&value), "seed {seed}: {value}");
        assert!(is_taken(&value), "seed {seed}: {value}");
        let is_object = value.starts_with('{') && value.ends_with('}');
        assert_eq!(is_json_object(&value), is_object, "seed {seed}: {value}");
    }
}

#[test]
fn damaged_values_are_taken_when_they_are_still_json_and_only_then() {
    const BYTES: &[u8] = b"{}[]\",:\\u0019.-+eE ntf/\x00\x1f\n";
    let mut still = 0;
    for seed in 0..20_000 {
        let mut chance = Chance(seed);
        let mut value = String::new();
        random_value(&mut chance, 3, &mut value);
        let mut bytes = value.into_bytes();
        for _ in 0..1 + chance.below(2) {
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] = chance.one_of(BYTES),
                1 => bytes.insert(at, chance.one_of(BYTES)),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(value) = String::from_utf8(bytes) else { continue };
        assert_eq!(is_taken(&value), is_json(&value), "seed {seed}: {value}");
        still += usize::from(is_json(&value));
    }
    assert!((1_000..19_000).contains(&still), "both sides are tested: {still}");
}

#[test]
fn strings_say_the_same() {
    let mut scratch = Scratch::default();
    for seed in 0..5_000 {
        let mut chance = Chance(seed);
        let mut body = String::new();
        random_string(&mut chance, &mut body);
        let mut frame =
            format!(r#"{{"op":"edit","id":"a","body":{body},"conversation":"c","target":1}}"#).into_bytes();
        let expected: String = serde_json::from_str(&body).unwrap();
        match decode(Subprotocol::Json, &mut frame, &mut scratch) {
            Ok(ClientFrame::Edit { body, .. }) => assert_eq!(body, expected, "seed {seed}"),
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_where_they_are_asked_for() {
    let mut scratch = Scratch::default();
    let mut frame = b"{\"op\":\"refresh\",\"token\":\"\xff\"}".to_vec();
    assert!(decode(Subprotocol::Json, &mut frame, &mut scratch).is_err());
    let mut frame =
        b"{\"op\":\"send\",\"id\":\"a\",\"conversation\":\"c\",\"body\":\"\",\"meta\":{\"a\":\"\xff\"}}"
            .to_vec();
    assert!(decode(Subprotocol::Json, &mut frame, &mut scratch).is_err());
}
