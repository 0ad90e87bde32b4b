//! Promise: every refusal says why, in one shape, with the status of its code, and when to try again.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use protocol::envelope::ToGateway;
use protocol::error::{ErrorCode, Refusal};
use support::{Answer, CALLS, KEY, World, refusing, settings};

fn assert_refusal(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = answer.json();
    assert_eq!(body["code"], code);
    assert!(!body["message"].as_str().unwrap().is_empty());
    assert_eq!(body["error"]["code"], body["code"]);
    assert_eq!(body["error"]["message"], body["message"]);
    assert_eq!(body["error"].get("retry_after_ms"), body.get("retry_after_ms"));
}

#[test]
fn every_code_of_an_owner_has_its_status_on_every_call() {
    let codes = [
        (ErrorCode::BadRequest, 400),
        (ErrorCode::Forbidden, 403),
        (ErrorCode::NotFound, 404),
        (ErrorCode::Conflict, 409),
        (ErrorCode::TooLarge, 413),
        (ErrorCode::Internal, 500),
    ];
    for (code, status) in codes {
        let world = World::start(settings(), refusing(Refusal::new(code, "no")));
        for (method, path, body) in CALLS {
            let answer = world.call(method, path, "alice", body);
            assert_refusal(&answer, status, code.name());
            assert!(answer.headers.get("retry-after").is_none());
        }
    }
}

#[test]
fn a_refusal_that_ends_says_when() {
    for (code, status) in [(ErrorCode::RateLimited, 429), (ErrorCode::Unavailable, 503)] {
        let world = World::start(settings(), refusing(Refusal::retry(code, "later", 1_500)));
        let answer = world.call("GET", "/v1/conversations/c", "alice", "");
        assert_refusal(&answer, status, code.name());
        assert_eq!(answer.json()["retry_after_ms"], 1_500);
        assert_eq!(answer.headers["retry-after"], "2");
    }
}

#[test]
fn owners_that_stay_silent_are_unavailable() {
    let world = World::start(settings(), Arc::new(|_| Vec::<ToGateway>::new()));
    let answer = world.call("POST", "/v1/conversations/c/messages", "alice", r#"{"id":"1","body":""}"#);
    assert_refusal(&answer, 503, "unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[test]
fn an_unknown_path_and_a_wrong_method_are_answered_in_json() {
    let world = World::start(settings(), refusing(Refusal::new(ErrorCode::Internal, "not asked")));
    for path in ["/", "/v1", "/v1/conversations/", "/v1/conversations/c/", "/v1/connect", "/v2/conversations"]
    {
        assert_refusal(&world.call("GET", path, "alice", ""), 404, "not_found");
    }
    for (method, path) in
        [("DELETE", "/v1/conversations"), ("PUT", "/v1/conversations/c"), ("POST", "/healthz")]
    {
        let answer = world.call(method, path, "alice", "");
        assert_refusal(&answer, 405, "bad_request");
        assert!(answer.headers.contains_key("allow"));
    }
}

#[test]
fn a_bad_field_is_named() {
    let world = World::start(settings(), refusing(Refusal::new(ErrorCode::Internal, "not asked")));
    let long = "x".repeat(65);
    let messages = "/v1/conversations/c/messages";
    let cases = [
        ("POST", messages, r#"{"body":"x"}"#.to_owned(), "`id`"),
        ("POST", messages, r#"{"id":"1"}"#.into(), "`body`"),
        ("POST", messages, r#"{"id":"","body":"x"}"#.into(), "`id`"),
        ("POST", messages, r#"{"id":"1","body":"x","meta":"no"}"#.into(), "`meta`"),
        ("POST", messages, r#"{"id":"1","body":"x","kind":""}"#.into(), "`kind`"),
        ("POST", messages, r#"{"id":"1","body":"x","reply_to":0}"#.into(), "`reply_to`"),
        ("POST", messages, "[]".into(), "object"),
        ("POST", messages, "{".into(), "object"),
        ("POST", messages, String::new(), "object"),
        ("POST", "/v1/conversations", r#"{"kind":"secret"}"#.into(), "`kind`"),
        ("POST", "/v1/conversations", r#"{"conversation":"no spaces"}"#.into(), "`conversation`"),
        ("POST", "/v1/conversations", r#"{"conversation":"direct:x"}"#.into(), "`conversation`"),
        ("POST", "/v1/conversations", r#"{"members":[{"role":"owner"}]}"#.into(), "`user`"),
        ("POST", "/v1/conversations", r#"{"members":[7]}"#.into(), "`members`"),
        ("POST", "/v1/conversations", r#"{"kind":"direct","members":["alice"]}"#.into(), "`members`"),
        ("POST", "/v1/conversations", r#"{"kind":"direct","members":["b","c"]}"#.into(), "`members`"),
        ("POST", "/v1/conversations", format!(r#"{{"title":"{}"}}"#, "x".repeat(257)), "`title`"),
        ("PATCH", "/v1/conversations/c", "{}".into(), "`title`"),
        ("POST", "/v1/conversations/c/members", r#"{"user":7}"#.into(), "`user`"),
        ("PATCH", "/v1/conversations/c/members/bob", r#"{"role":"king"}"#.into(), "`role`"),
    ];
    for (method, path, body, named) in cases {
        let answer = world.call(method, path, "alice", &body);
        assert_refusal(&answer, 400, "bad_request");
        assert!(answer.json()["message"].as_str().unwrap().contains(named), "{body}: {}", answer.text);
    }
    for path in [
        format!("/v1/conversations/{long}"),
        "/v1/conversations/no%20spaces".into(),
        "/v1/conversations/%ff".into(),
        "/v1/conversations/c/messages?limit=201".into(),
        "/v1/conversations/c/messages?before=1&after=2".into(),
        "/v1/conversations/c/members?after=no%20spaces".into(),
        "/v1/users/alice/conversations?after=x".into(),
    ] {
        assert_refusal(&world.call("GET", &path, "alice", ""), 400, "bad_request");
    }
}

#[test]
fn sizes_end_at_their_limits() {
    let mut settings = settings();
    settings.limits.body_bytes = 10;
    settings.limits.meta_bytes = 10;
    settings.request_bytes_max = 200;
    let world = World::start(settings, refusing(Refusal::new(ErrorCode::Conflict, "asked")));
    let send = |body: String| world.call("POST", "/v1/conversations/c/messages", "alice", &body);
    assert_refusal(&send(format!(r#"{{"id":"1","body":"{}"}}"#, "é".repeat(5))), 409, "conflict");
    assert_refusal(&send(format!(r#"{{"id":"1","body":"{}x"}}"#, "é".repeat(5))), 413, "too_large");
    assert_refusal(&send(r#"{"id":"1","body":"","meta":{"a":1234}}"#.into()), 409, "conflict");
    assert_refusal(&send(r#"{"id":"1","body":"","meta":{"a":12345}}"#.into()), 413, "too_large");
    assert_refusal(&send(format!("{:200}", r#"{"id":"1","body":""}"#)), 409, "conflict");
    assert_refusal(&send(format!("{:201}", r#"{"id":"1","body":""}"#)), 413, "too_large");
}

#[test]
fn a_user_that_sends_too_fast_is_told_and_a_server_is_not() {
    let mut settings = settings();
    settings.limits.sends_per_second = 1;
    settings.limits.sends_burst = 2;
    let world = World::start(settings, refusing(Refusal::new(ErrorCode::Conflict, "asked")));
    let send = |credential: &str| {
        world.call("POST", "/v1/conversations/c/messages", credential, r#"{"id":"1","body":""}"#)
    };
    let statuses: Vec<u16> = (0..3).map(|_| send("alice").status).collect();
    assert_eq!(statuses, [409, 409, 429]);
    let refused = send("alice");
    assert_refusal(&refused, 429, "rate_limited");
    let milliseconds = refused.json()["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&milliseconds), "{milliseconds}");
    for credential in ["bob", "alice@other", KEY, KEY, KEY, "admin!", "admin!", "admin!"] {
        assert_eq!(send(credential).status, 409, "{credential}");
    }
}

#[test]
fn a_client_that_sends_too_slowly_is_given_up() {
    let mut settings = settings();
    settings.client_timeout = Duration::from_millis(100);
    let world = World::start(settings, refusing(Refusal::new(ErrorCode::Internal, "not asked")));
    let answer_to = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // A reset is an end too.
        String::from_utf8(answer).unwrap()
    };
    answer_to(b"");
    answer_to(b"GET /healthz HTT");
    let head = b"POST /v1/conversations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\ncontent-length: 9\r\n\r\n{";
    assert!(answer_to(head).starts_with("HTTP/1.1 408 "));
    assert_eq!(world.call("GET", "/healthz", "", "").status, 200);
}

#[test]
fn an_answer_that_leaves_a_body_unread_says_that_its_connection_ends() {
    let world = World::start(settings(), refusing(Refusal::new(ErrorCode::Conflict, "asked")));
    let head_of_answer = |request: &str| {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4_096];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).split("\r\n\r\n").next().unwrap().to_owned()
    };
    let create = "POST /v1/conversations HTTP/1.1\r\nhost: x\r\ncontent-length: 38\r\n";
    let body = r#"{"kind":"group","members":["x","yyy"]}"#;
    let unread = head_of_answer(&format!("{create}\r\n"));
    assert!(unread.starts_with("HTTP/1.1 401 ") && unread.contains("connection: close"), "{unread}");
    let read = head_of_answer(&format!("{create}authorization: Bearer alice\r\n\r\n{body}"));
    assert!(!read.starts_with("HTTP/1.1 401 ") && !read.contains("connection: close"), "{read}");
    let none = head_of_answer("GET /v1/conversations/c HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 401 ") && !none.contains("connection: close"), "{none}");
}

#[test]
fn calls_under_way_are_bounded() {
    let mut settings = settings();
    settings.calls_max = 1;
    settings.canary_interval = Duration::from_secs(3_600);
    let world = World::start(settings, Arc::new(|_| Vec::new()));
    let statuses: Vec<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.call("GET", "/v1/users/alice/presence", "alice", "").text))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses.iter().any(|text| text.contains("too many requests")), "{statuses:?}");
    assert!(statuses.iter().all(|text| text.contains("unavailable")), "{statuses:?}");
}
