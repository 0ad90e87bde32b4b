//! The promise: a handshake of RFC 6455 section 4 becomes a WebSocket, anything else gets an HTTP answer that says what
//! is wrong, and a token is found in the first of its places.

use protocol::frame::Subprotocol;
use protocol::upgrade::{Answer, HEAD_BYTES_MAX, HEADERS_MAX, Request, Status, TokenPlace, parse};

/// The example of RFC 6455 section 1.3.
const HANDSHAKE: [&str; 6] = [
    "GET /v1/connect HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn head(lines: &[&str]) -> String {
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

/// The handshake with more headers.
fn with(lines: &[&str]) -> String {
    head(&[&HANDSHAKE[..], lines].concat())
}

/// The handshake with one line in another's place, or without it.
fn instead(place: usize, line: Option<&str>) -> String {
    let mut lines = HANDSHAKE.to_vec();
    match line {
        Some(line) => lines[place] = line,
        None => drop(lines.remove(place)),
    }
    head(&lines)
}

fn whole(head: &str) -> Request<'_> {
    parse(head.as_bytes()).expect("an HTTP request").expect("a whole head")
}

fn accepted(head: &str) -> (Subprotocol, String) {
    let upgrade = whole(head).upgrade().expect("a handshake");
    let mut out = Vec::new();
    upgrade.write(&mut out);
    (upgrade.subprotocol, String::from_utf8(out).unwrap())
}

fn refused(head: &str) -> Status {
    match parse(head.as_bytes()) {
        Ok(request) => request.expect("a whole head").upgrade().expect_err("no handshake").status,
        Err(answer) => answer.status,
    }
}

#[test]
fn the_example_of_the_rfc_is_accepted_byte_by_byte() {
    let head = head(&HANDSHAKE);
    for length in 0..head.len() {
        assert_eq!(parse(&head.as_bytes()[..length]).unwrap(), None, "{length}");
    }
    let more = format!("{head}\u{1}frames");
    assert_eq!(whole(&more).head_bytes, head.len());
    let (subprotocol, answer) = accepted(&more);
    assert_eq!(subprotocol, Subprotocol::Json);
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn header_names_and_tokens_ignore_case_and_lists_are_lists() {
    let head = head(&[
        "GET / HTTP/1.1",
        "hOST: a",
        "UPGRADE: h2c, WebSocket",
        "connection: keep-alive,upGRADE",
        "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version: 13",
        "origin: https://example.com",
    ]);
    assert!(whole(&head).upgrade().is_ok());
    assert_eq!(whole(&head).origin, Some("https://example.com"));
}

#[test]
fn the_first_known_subprotocol_in_the_clients_order_is_chosen_and_named() {
    let chosen = |lists: &[&str]| {
        let (subprotocol, answer) = accepted(&with(lists));
        let named = answer.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        (subprotocol, named.map(str::to_owned))
    };
    let json = (Subprotocol::Json, Some("murmuring.v1.json".to_owned()));
    let rkyv = (Subprotocol::Rkyv, Some("murmuring.v1.rkyv".to_owned()));
    let unnamed = (Subprotocol::Json, None);
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: murmuring.v1.rkyv, murmuring.v1.json"]), rkyv);
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: chat,murmuring.v1.json , murmuring.v1.rkyv"]), json);
    let two =
        ["Sec-WebSocket-Protocol: bearer.murmuring.v1.json", "Sec-WebSocket-Protocol: murmuring.v1.rkyv"];
    assert_eq!(chosen(&two), rkyv);
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: chat"]), unnamed);
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: bearer.abc"]), unnamed);
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: MURMURING.V1.JSON"]), unnamed);
    assert_eq!(chosen(&[]), unnamed);
}

#[test]
fn of_several_tokens_the_first_place_counts() {
    let token = |path: &str, lines: &[&str]| {
        let mut all = HANDSHAKE.to_vec();
        all[0] = path;
        all.extend(lines);
        whole(&head(&all)).token.map(|token| (token.place, token.text.into_owned()))
    };
    const QUERY: &str = "GET /v1/connect?token=q%2E1 HTTP/1.1";
    let subprotocol = "Sec-WebSocket-Protocol: murmuring.v1.json, bearer.s.1";
    let authorization = "Authorization: Bearer a.1";
    let given = |place, text: &str| Some((place, text.to_owned()));
    assert_eq!(token(HANDSHAKE[0], &[]), None);
    assert_eq!(token(QUERY, &[]), given(TokenPlace::Query, "q.1"));
    assert_eq!(token(QUERY, &[subprotocol]), given(TokenPlace::Subprotocol, "s.1"));
    assert_eq!(token(QUERY, &[subprotocol, authorization]), given(TokenPlace::Authorization, "a.1"));
    assert_eq!(token(QUERY, &[authorization, subprotocol]), given(TokenPlace::Authorization, "a.1"));
    assert_eq!(token(QUERY, &["Authorization: Basic x"]), given(TokenPlace::Query, "q.1"));
    assert_eq!(token(HANDSHAKE[0], &["Authorization: Bearer "]), given(TokenPlace::Authorization, ""));
}

#[test]
fn a_request_never_prints_its_token() {
    let mut lines = HANDSHAKE.to_vec();
    lines[0] = "GET /v1/connect?token=secret HTTP/1.1";
    assert!(!format!("{:?}", whole(&head(&lines))).contains("secret"));
    assert_eq!(whole(&head(&lines)).path, "/v1/connect");
}

#[test]
fn what_is_not_a_handshake_is_refused_by_name() {
    assert_eq!(refused(&instead(0, Some("POST /v1/connect HTTP/1.1"))), Status::MethodNotAllowed);
    assert_eq!(refused(&instead(0, Some("GET /v1/connect HTTP/1.0"))), Status::BadRequest);
    assert_eq!(refused(&instead(1, None)), Status::BadRequest);
    assert_eq!(refused(&instead(2, None)), Status::UpgradeRequired);
    assert_eq!(refused(&instead(2, Some("Upgrade: h2c"))), Status::UpgradeRequired);
    assert_eq!(refused(&instead(3, None)), Status::BadRequest);
    assert_eq!(refused(&instead(3, Some("Connection: close"))), Status::BadRequest);
    assert_eq!(refused(&instead(4, None)), Status::BadRequest);
    assert_eq!(refused(&instead(4, Some("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"))), Status::BadRequest);
    assert_eq!(
        refused(&instead(4, Some("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMw=="))),
        Status::BadRequest
    );
    assert_eq!(refused(&instead(4, Some("Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ=="))), Status::BadRequest);
    assert_eq!(refused(&with(&[HANDSHAKE[4]])), Status::BadRequest);
    assert_eq!(refused(&instead(5, None)), Status::BadRequest);
    assert_eq!(refused(&instead(5, Some("Sec-WebSocket-Version: 8"))), Status::UpgradeRequired);
    assert_eq!(refused(&with(&["Content-Length: 5"])), Status::BadRequest);
    assert_eq!(refused(&with(&["Transfer-Encoding: chunked"])), Status::BadRequest);
    assert!(whole(&with(&["Content-Length: 0"])).upgrade().is_ok());
}

#[test]
fn bytes_that_are_not_http_are_refused_at_once() {
    for garbage in
        ["\x16\x03\x01\x02\x00", "SSH-2.0-client\r\n", "\0", "GET / HTTP/9.9\r\n", "GET /\u{1} HTTP/1.1\r\n"]
    {
        assert_eq!(refused(garbage), Status::BadRequest, "{garbage:?}");
    }
    let latin = [head(&HANDSHAKE).trim_end().as_bytes(), b"\r\nOrigin: \xe9\r\n\r\n"].concat();
    assert_eq!(parse(&latin).unwrap_err().status, Status::BadRequest);
}

#[test]
fn a_head_has_at_most_16_kib_and_64_headers() {
    let padded = |bytes: usize| {
        let empty = with(&["X: "]);
        with(&[&format!("X: {}", "y".repeat(bytes - empty.len()))])
    };
    assert_eq!(whole(&padded(HEAD_BYTES_MAX)).head_bytes, HEAD_BYTES_MAX);
    assert_eq!(refused(&padded(HEAD_BYTES_MAX + 1)), Status::HeadTooLarge);
    let unfinished = format!("{}\r\nX: {}", HANDSHAKE[0], "y".repeat(HEAD_BYTES_MAX));
    assert_eq!(refused(&unfinished[..HEAD_BYTES_MAX]), Status::HeadTooLarge);
    assert_eq!(parse(&unfinished.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(None));

    let room = HEADERS_MAX - (HANDSHAKE.len() - 1);
    assert!(whole(&with(&vec!["X: y"; room])).upgrade().is_ok());
    assert_eq!(refused(&with(&vec!["X: y"; room + 1])), Status::HeadTooLarge);
}

#[test]
fn every_answer_is_whole_and_says_what_its_status_asks_for() {
    let statuses = [
        (Status::BadRequest, "bad_request", None),
        (Status::Unauthorized, "unauthorized", Some("WWW-Authenticate: Bearer")),
        (Status::Forbidden, "forbidden", None),
        (Status::NotFound, "not_found", None),
        (Status::MethodNotAllowed, "bad_request", Some("Allow: GET")),
        (Status::UpgradeRequired, "bad_request", Some("Sec-WebSocket-Version: 13")),
        (Status::TooManyRequests, "rate_limited", None),
        (Status::HeadTooLarge, "too_large", None),
        (Status::Unavailable, "unavailable", None),
    ];
    for (status, code, line) in statuses {
        let mut out = Vec::new();
        Answer::new(status, "a \"sentence\"").write(&mut out);
        let (head, body) = split(&out);
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", status.number())), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.lines().any(|line| line.starts_with("Connection: ") && line.ends_with("close")));
        assert!(line.is_none_or(|line| head.lines().any(|present| present == line)), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, serde_json::json!({"error": {"code": code, "message": "a \"sentence\""}}));
    }
}

#[test]
fn an_answer_that_may_change_says_when_in_whole_seconds_and_in_milliseconds() {
    let mut out = Vec::new();
    Answer::retry(Status::Unavailable, "the server drains", 1_001).write(&mut out);
    let (head, body) = split(&out);
    assert!(head.lines().any(|line| line == "Retry-After: 2"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["retry_after_ms"], 1_001);
}

fn split(answer: &[u8]) -> (&str, &str) {
    core::str::from_utf8(answer).unwrap().split_once("\r\n\r\n").expect("a head and a body")
}
