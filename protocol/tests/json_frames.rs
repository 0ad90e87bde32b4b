//! The promise: frames in JSON are those of PROTOCOL section 2, whatever JSON a client's library writes, and a bad one
//! is refused by name.

mod support;

use protocol::error::ErrorCode;
use protocol::frame::{ClientFrame, FrameError, Range, Scratch, ServerFrame, Subprotocol, decode, encode};
use serde_json::{Value, json};
use support::samples;

/// Decodes, and shows what was decoded to `check`.
fn decoded<T>(text: &str, check: impl FnOnce(Result<ClientFrame<'_>, FrameError>) -> T) -> T {
    let mut scratch = Scratch::default();
    check(decode(Subprotocol::Json, &mut text.as_bytes().to_vec(), &mut scratch))
}

#[track_caller]
fn refused(text: &str) -> FrameError {
    decoded(text, |frame| frame.expect_err("a refusal"))
}

#[track_caller]
fn accepted(text: &str) {
    decoded(text, |frame| assert!(frame.is_ok(), "{frame:?}"));
}

/// The payload of a server's frame, read by an independent reader.
fn encoded(frame: &ServerFrame<'_>) -> Value {
    let mut out = Vec::new();
    encode(Subprotocol::Json, frame, &mut out);
    assert_eq!(out[0], 0x81, "one whole text frame");
    let header = if out[1] < 126 { 2 } else { 4 };
    serde_json::from_slice(&out[header..]).expect("JSON")
}

#[test]
fn client_frames_of_the_protocol_are_understood() {
    let texts = [
        r#"{"op":"hello","device":"phone"}"#,
        r#"{"op":"hello","device":"phone","token":"a.b.c","resume":"ticket","cursors":[["general",7],["a.b_c:d@e|f~g-h",0]]}"#,
        r#"{"op":"send","id":"m-1","conversation":"general","body":""}"#,
        r#"{"op":"send","id":"m-1","conversation":"general","kind":"image","body":"héllo \"you\"\n\u0001\ud83d\ude00","meta":{"a":[1,2.5e3,null,true],"\u0062":"\n"},"reply_to":9007199254740991,"ephemeral":true}"#,
        r#"{"op":"edit","id":"m-1","conversation":"general","target":1,"body":"hello!"}"#,
        r#"{"op":"delete","id":"m-1","conversation":"general","target":7}"#,
        r#"{"op":"react","id":"m-1","conversation":"general","target":7,"emoji":"👍"}"#,
        r#"{"op":"react","id":"m-1","conversation":"general","target":7,"emoji":"\uD83D\uDC4D","remove":true}"#,
        r#"{"op":"history","ref":5,"conversation":"general","limit":200}"#,
        r#"{"op":"history","ref":5,"conversation":"general","limit":200,"before":9}"#,
        r#"{"op":"history","ref":5,"conversation":"general","limit":200,"after":0}"#,
        r#"{"op":"history","ref":5,"conversation":"general","limit":200,"around":4}"#,
        r#"{"op":"history","ref":5,"conversation":"general","limit":200,"since":1763800000000}"#,
        r#"{"op":"sync","ref":-6,"cursors":[["general",7],["a.b_c:d@e|f~g-h",0]],"limit":1}"#,
        r#"{"op":"received","conversation":"general","seq":7}"#,
        r#"{"op":"read","conversation":"general","seq":0}"#,
        r#"{"op":"typing","conversation":"general","on":true}"#,
        r#"{"op":"watch","users":["bob","carol"]}"#,
        r#"{"op":"unwatch","users":[]}"#,
        r#"{"op":"conversations","ref":9223372036854775807}"#,
        r#"{"op":"conversations","ref":-9223372036854775808,"after":"77:general","limit":50}"#,
        r#"{"op":"refresh","token":"a.b.c"}"#,
        r#"{"op":"ping","ref":0}"#,
    ];
    let frames = samples::client_frames();
    assert_eq!(texts.len(), frames.len());
    for (text, (name, expected)) in texts.into_iter().zip(frames) {
        decoded(text, |frame| assert_eq!(frame, Ok(expected), "{name}"));
    }
}

#[test]
fn order_space_escapes_repeats_and_unknown_fields_make_no_difference() {
    let same = [
        r#"{"ref":1,"op":"ping"}"#,
        "\t{ \"op\" :\r\n\"ping\" , \"ref\" : 1 } \n",
        r#"{"\u006fp":"p\u0069ng","r\u0065f":1}"#,
        r#"{"op":"no","ref":"x","op":"ping","ref":2,"ref":1}"#,
        r#"{"op":"ping","ref":1,"x":{"op":"send","y":[[],{},"]}",-0.5E+3]},"":null}"#,
        r#"{"op":"ping","ref":1,"body":5,"meta":[],"users":null,"cursors":"of other ops"}"#,
    ];
    for text in same {
        decoded(text, |frame| assert_eq!(frame, Ok(ClientFrame::Ping { reference: 1 }), "{text}"));
    }
}

#[test]
fn null_leaves_an_optional_field_out_and_defaults_are_those_of_the_protocol() {
    let nulls = r#"{"op":"send","id":"a","conversation":"c","body":"b","kind":null,"meta":null,"reply_to":null,"ephemeral":null}"#;
    let bare = r#"{"op":"send","id":"a","conversation":"c","body":"b"}"#;
    decoded(nulls, |nulls| decoded(bare, |bare| assert_eq!(nulls, bare)));
    decoded(r#"{"op":"history","ref":1,"conversation":"c","before":null}"#, |frame| {
        assert!(matches!(frame, Ok(ClientFrame::History { range: Range::Newest, limit: 50, .. })));
    });
    assert!(
        refused(r#"{"op":"send","id":"a","conversation":"c","body":null}"#)
            .refusal
            .message
            .contains("`body`")
    );
}

#[test]
fn meta_is_passed_on_as_its_very_text_whatever_is_unescaped_beside_it() {
    let meta = r#"{ "a" :"\u0041\"", "b":[1.0, 1e2,{}] , "a": "again"}"#;
    let text = format!(
        r#"{{"body":"\u0041\u0041","meta":{meta},"id":"\u0061","op":"send","conversation":"\u0063"}}"#
    );
    decoded(&text, |frame| {
        let Ok(ClientFrame::Send { body, meta: Some(passed), .. }) = frame else { panic!("{frame:?}") };
        assert_eq!((body, passed), ("AA", meta));
    });
}

#[test]
fn a_bad_field_is_refused_by_its_name_with_the_request_it_belongs_to() {
    let send = |field: &str| format!(r#"{{"id":"m-1","op":"send","conversation":"c","body":"b",{field}}}"#);
    let cases = [
        ("op", r#"{"id":"m-1"}"#.to_owned()),
        ("op", r#"{"id":"m-1","op":5}"#.to_owned()),
        ("conversation", r#"{"id":"m-1","op":"send","body":"b"}"#.to_owned()),
        ("conversation", send(r#""conversation":"a b""#)),
        ("conversation", send(r#""conversation":"""#)),
        ("body", send(r#""body":["b"]"#)),
        ("kind", send(r#""kind":"""#)),
        ("kind", send(&format!(r#""kind":"{}""#, "k".repeat(65)))),
        ("meta", send(r#""meta":"{}""#)),
        ("meta", send(r#""meta":[]"#)),
        ("reply_to", send(r#""reply_to":0"#)),
        ("reply_to", send(r#""reply_to":9007199254740992"#)),
        ("reply_to", send(r#""reply_to":1.0"#)),
        ("ephemeral", send(r#""ephemeral":1"#)),
        ("target", r#"{"id":"m-1","op":"edit","conversation":"c","body":"b","target":"7"}"#.to_owned()),
        ("target", r#"{"id":"m-1","op":"delete","conversation":"c","target":-7}"#.to_owned()),
        ("emoji", r#"{"id":"m-1","op":"react","conversation":"c","target":7,"emoji":""}"#.to_owned()),
    ];
    for (field, text) in cases {
        let error = refused(&text);
        assert_eq!(error.refusal.code, ErrorCode::BadRequest, "{text}");
        assert!(error.refusal.message.contains(&format!("`{field}`")), "{text}: {}", error.refusal.message);
        assert_eq!((error.garbage, error.id), (false, Some(samples::client_id("m-1"))), "{text}");
    }
}

#[test]
fn a_bad_request_echoes_its_ref_where_it_has_one() {
    let cases = [
        ("conversation", Some(5), r#"{"op":"history","ref":5}"#),
        ("limit", Some(5), r#"{"op":"history","ref":5,"conversation":"c","limit":0}"#),
        ("limit", Some(5), r#"{"op":"history","ref":5,"conversation":"c","limit":201}"#),
        ("before", Some(5), r#"{"op":"history","ref":5,"conversation":"c","before":-1}"#),
        ("around", Some(5), r#"{"op":"history","ref":5,"conversation":"c","before":1,"around":1}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5,"cursors":[["c"]]}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5,"cursors":[["c",1,2]]}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5,"cursors":[["c",-1]]}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5,"cursors":[{"c":1}]}"#),
        ("cursors", Some(5), r#"{"op":"sync","ref":5,"cursors":{}}"#),
        ("after", Some(5), r#"{"op":"conversations","ref":5,"after":7}"#),
        ("ref", None, r#"{"op":"ping"}"#),
        ("ref", None, r#"{"op":"ping","ref":"1"}"#),
        ("ref", None, r#"{"op":"ping","ref":1.5}"#),
        ("ref", None, r#"{"op":"ping","ref":9223372036854775808}"#),
        ("ref", None, r#"{"op":"sync","cursors":[]}"#),
        ("device", None, r#"{"op":"hello"}"#),
        ("token", None, r#"{"op":"refresh"}"#),
        ("seq", None, r#"{"op":"read","conversation":"c"}"#),
        ("on", None, r#"{"op":"typing","conversation":"c"}"#),
        ("users", None, r#"{"op":"watch"}"#),
        ("users", None, r#"{"op":"watch","users":["a b"]}"#),
        ("users", None, r#"{"op":"watch","users":[5]}"#),
    ];
    for (field, reference, text) in cases {
        let error = refused(text);
        assert_eq!(error.refusal.code, ErrorCode::BadRequest, "{text}");
        assert!(error.refusal.message.contains(&format!("`{field}`")), "{text}: {}", error.refusal.message);
        assert_eq!((error.garbage, error.reference), (false, reference), "{text}");
    }
}

#[test]
fn an_unknown_op_is_answered_to_the_request_it_came_in() {
    let error = refused(r#"{"op":"dance","ref":5,"id":"m-1"}"#);
    assert_eq!(error.refusal.code, ErrorCode::UnknownOp);
    assert_eq!((error.reference, error.id), (Some(5), Some(samples::client_id("m-1"))));
    assert!(!error.garbage);
}

#[test]
fn what_is_not_one_object_is_garbage() {
    let garbage = [
        "",
        " ",
        "null",
        "5",
        r#""op""#,
        "[]",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{,}",
        r#"{"op"}"#,
        r#"{"op":}"#,
        r#"{"op":"ping",}"#,
        r#"{"op":"ping" "ref":1}"#,
        r#"{'op':'ping'}"#,
        r#"{op:"ping"}"#,
        "{\"op\":\"pi\nng\"}",
        r#"{"op":"\x"}"#,
        r#"{"op":"\u12g4"}"#,
        r#"{"x":"\ud800"}"#,
        r#"{"x":01}"#,
        r#"{"x":1.}"#,
        r#"{"x":.5}"#,
        r#"{"x":+1}"#,
        r#"{"x":1e}"#,
        r#"{"x":-}"#,
        r#"{"x":1e999}"#,
        r#"{"x":NaN}"#,
        r#"{"x":tru}"#,
        r#"{"x":[1,]}"#,
        r#"{"x":[1}"#,
        r#"{"x":{"y"}}"#,
        "\u{feff}{}",
        "{\u{a0}}",
    ];
    for text in garbage {
        assert!(refused(text).garbage, "{text}");
    }
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!(r#"{{"op":"ping","ref":1,"x":{}1{}}}"#, open.repeat(depth - 1), close.repeat(depth - 1))
    };
    for (open, close) in [("[", "]"), (r#"{"y":"#, "}")] {
        accepted(&nested(64, open, close));
        let error = refused(&nested(65, open, close));
        assert_eq!((error.garbage, error.reference), (false, Some(1)));
        assert_eq!(error.refusal.code, ErrorCode::BadRequest);
    }
}

#[test]
fn lists_have_their_bounds_and_ids_in_them_may_be_escaped() {
    let cursors = |count: usize| {
        let list: Vec<Value> = (0..count).map(|index| json!([format!("c{index}"), index])).collect();
        json!({"op": "sync", "ref": 1, "cursors": list}).to_string()
    };
    accepted(&cursors(1_000));
    assert!(refused(&cursors(1_001)).refusal.message.contains("`cursors`"));
    let users = |count: usize| {
        let list: Vec<String> = (0..count).map(|index| format!("u{index}")).collect();
        json!({"op": "watch", "users": list}).to_string()
    };
    accepted(&users(500));
    assert!(refused(&users(501)).refusal.message.contains("`users`"));
    let escaped: String = "a".repeat(64).bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    decoded(&format!(r#"{{"op":"watch","users":["{escaped}"]}}"#), |frame| {
        assert_eq!(frame, Ok(ClientFrame::Watch { users: &[samples::user(&"a".repeat(64))] }));
    });
    assert!(
        refused(&format!(r#"{{"op":"watch","users":["{escaped}\u0061"]}}"#))
            .refusal
            .message
            .contains("`users`")
    );
}

#[test]
fn server_frames_are_those_of_the_protocol() {
    let entries = json!([
        {"conversation": "general", "head": 9, "read": 7, "role": "owner", "lamport": 77},
        {"conversation": "tea", "head": 9, "read": 7, "role": "reader", "lamport": 77},
    ]);
    let limits = json!({
        "frame_bytes": 65_536, "body_bytes": 8_192, "meta_bytes": 2_048, "sends_per_second": 20, "sends_burst": 40,
        "conversations_attached": 1_000, "page_events": 200,
    });
    let common = json!({
        "conversation": "general", "time": 1_763_800_000_000_u64, "lamport": 77, "sender": "alice", "device": "phone",
        "id": "m-1",
    });
    let message = merged(&common, json!({"seq": 7, "type": "message", "kind": "text", "body": "hello"}));
    let left = merged(&common, json!({"seq": 8, "type": "left", "user": "bob"}));
    let expected = [
        json!({"op": "welcome", "user": "alice", "session": "s-1", "resume": "ticket", "heartbeat_ms": 30_000,
            "limits": limits, "conversations": entries, "more": true}),
        json!({"op": "ack", "id": "m-1", "conversation": "general", "seq": 7, "time": 1_763_800_000_000_u64, "duplicate": false}),
        json!({"op": "ack", "id": "m-1", "conversation": "general", "time": 1_763_800_000_000_u64, "duplicate": true}),
        json!({"op": "page", "ref": 5, "conversation": "general", "events": [message, left], "head": 8, "more": false}),
        json!({"op": "page", "ref": 5, "conversation": "general", "events": [], "head": 8, "more": true, "trimmed": 3}),
        json!({"op": "synced", "ref": -1}),
        json!({"op": "receipt", "conversation": "general", "user": "bob", "received": 9}),
        json!({"op": "receipt", "conversation": "general", "read": 7, "received_count": 500, "read_count": 400}),
        json!({"op": "typing", "conversation": "general", "user": "bob", "on": true}),
        json!({"op": "presence", "user": "bob", "online": true}),
        json!({"op": "presence", "user": "bob", "online": false, "last_seen": 1_763_800_000_000_u64}),
        json!({"op": "conversations", "ref": 5, "conversations": entries, "next": "77:tea"}),
        json!({"op": "conversations", "ref": 5, "conversations": []}),
        json!({"op": "lagging", "conversation": "general", "after": 7, "head": 100_007}),
        json!({"op": "refreshed"}),
        json!({"op": "pong", "ref": 5}),
        json!({"op": "goaway", "reason": "the server \"drains\"", "reconnect_after_ms": 1_500}),
        json!({"op": "error", "ref": 5, "code": "not_found", "message": "there is no such conversation"}),
        json!({"op": "error", "id": "m-1", "code": "rate_limited", "message": "too many sends", "retry_after_ms": 250}),
    ];
    let frames = samples::server_frames();
    assert_eq!(frames.len(), expected.len());
    for ((name, frame), expected) in frames.iter().zip(expected) {
        assert_eq!(encoded(frame), expected, "{name}");
    }
}

#[test]
fn events_are_those_of_the_protocol_and_a_signal_has_no_seq() {
    let common = json!({
        "op": "event", "conversation": "general", "time": 1_763_800_000_000_u64, "lamport": 77, "sender": "alice",
        "device": "phone", "id": "m-1",
    });
    let expected = [
        json!({"seq": 7, "type": "message", "kind": "text", "body": "hello"}),
        json!({"seq": 8, "type": "message", "kind": "image", "body": "héllo", "meta": {"w": 1}, "reply_to": 3}),
        json!({"seq": 9, "type": "edit", "target": 7, "body": "hello!"}),
        json!({"seq": 10, "type": "delete", "target": 7}),
        json!({"seq": 11, "type": "reaction", "target": 7, "emoji": "👍", "remove": false}),
        json!({"seq": 12, "type": "joined", "user": "bob", "role": "member"}),
        json!({"seq": 13, "type": "left", "user": "bob"}),
        json!({"seq": 14, "type": "changed"}),
        json!({"seq": 15, "type": "changed", "title": "Tea", "user": "bob", "role": "owner"}),
    ];
    let events = samples::events();
    assert_eq!(events.len(), expected.len());
    for ((name, event), expected) in events.iter().zip(expected) {
        assert_eq!(encoded(&ServerFrame::Event(event)), merged(&common, expected), "{name}");
    }
    let signal = encoded(&ServerFrame::Signal(&samples::event(0, samples::MESSAGE)));
    let fields = json!({"op": "signal", "type": "message", "kind": "text", "body": "hello"});
    assert_eq!(signal, merged(&common, fields));
}

/// The members of both; those of the second where both have them.
fn merged(first: &Value, second: Value) -> Value {
    let (Value::Object(mut members), Value::Object(more)) = (first.clone(), second) else {
        panic!("objects")
    };
    members.extend(more);
    members.into()
}
