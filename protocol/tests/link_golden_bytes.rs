//! The promise: frames of version 1 on links keep their bytes for ever, since nodes of two releases speak them to one
//! another. A difference here asks for a new version, never for a new file.

mod support;

use protocol::error::ErrorCode;
use protocol::link::{HEAD_BYTES, Sentences, VERSION};
use support::{envelopes, golden};

const GOLDEN: &str = include_str!("golden/link_v1.txt");

#[test]
fn frames_keep_their_bytes() {
    golden::check(GOLDEN, "link", &envelopes::frames());
}

#[test]
fn committed_frames_are_still_understood() {
    let golden = golden::read(GOLDEN, "link");
    let mut sentences = Sentences::new();
    let mut expect = |name: &str, words: String| {
        assert_eq!(golden[name][12], VERSION, "{name}");
        assert_eq!(envelopes::read(&golden[name], &mut sentences), Ok(words), "{name}");
    };
    for (name, envelope) in envelopes::to_router() {
        expect(name, format!("{envelope:?}"));
    }
    for (name, envelope) in envelopes::to_gateway() {
        expect(name, format!("{envelope:?}"));
    }
}

#[test]
fn codes_of_refusals_keep_their_numbers() {
    let names = ErrorCode::ALL.map(ErrorCode::name);
    let expected = [
        "bad_request",
        "unknown_op",
        "unauthorized",
        "forbidden",
        "not_found",
        "conflict",
        "too_large",
        "rate_limited",
        "unavailable",
        "internal",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_travels_most_is_small() {
    use protocol::envelope::{ToGateway, ToRouter};
    let (caller, actor, conversation) =
        (envelopes::CALLER, envelopes::actor(), envelopes::conversation_key());
    let event = envelopes::message(1, 100);
    let bytes = event.as_bytes().len();
    let draft = event.clone().into_draft();
    let append = ToRouter::Append { caller, actor, conversation, draft, lamport: 76 };
    let publish = ToGateway::Publish { conversation, events: [event].into() };
    let sizes =
        [envelopes::router_frame(&append).len() - bytes, envelopes::gateway_frame(&publish).len() - bytes];
    println!("beside the {bytes} bytes of the event: {sizes:?}, of these {HEAD_BYTES} are the head");
    assert_eq!(sizes, [120, 116]);
}
