"""Malformed frames, raw garbage, half handshakes, slow bytes (PROTOCOL, sections 1, 2 and 4)."""

import json
import random
import time

import pytest

from murmuring import Client, RawSocket, token, unique


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "\"x\"", "{", "{\"op\":\"ping\",}", "nonsense", "{}{}", "{'op':1}"])
def test_text_that_is_no_json_object_closes_with_4400(server, text):
    with Client(server, unique("alice")) as client:
        client.raw(text)
        assert client.closed().code == 4400


def test_an_unknown_op_is_told_and_the_session_goes_on(server):
    with Client(server, unique("alice")) as client:
        answer = client.request("dance")
        assert (answer["op"], answer["code"]) == ("error", "unknown_op")
        client.settled()


@pytest.mark.parametrize("frame", [
    {"ref": 1},
    {"op": 7, "ref": 1},
    {"op": "send", "id": "i", "conversation": "c"},
    {"op": "send", "id": "i", "body": "x"},
    {"op": "send", "id": "i", "conversation": "no spaces", "body": "x"},
    {"op": "send", "id": "i", "conversation": "c" * 65, "body": "x"},
    {"op": "send", "id": "i", "conversation": "c", "body": 7},
    {"op": "send", "id": "i", "conversation": "c", "body": "x", "meta": []},
    {"op": "send", "id": "i", "conversation": "c", "body": "x", "meta": "{}"},
    {"op": "send", "id": "i", "conversation": "c", "body": "x", "reply_to": 0},
    {"op": "send", "id": "i", "conversation": "c", "body": "x", "reply_to": 1.5},
    {"op": "edit", "id": "i", "conversation": "c", "body": "x"},
    {"op": "delete", "id": "i", "conversation": "c", "target": "1"},
    {"op": "react", "id": "i", "conversation": "c", "target": 1},
    {"op": "react", "id": "i", "conversation": "c", "target": 1, "emoji": ""},
    {"op": "history", "ref": 1},
    {"op": "sync", "ref": 1, "cursors": [["c"]]},
    {"op": "sync", "ref": 1, "cursors": [["c", -1]]},
    {"op": "sync", "ref": 1, "cursors": 5},
])
def test_a_bad_field_is_told_and_the_session_goes_on(server, frame):
    with Client(server, unique("alice")) as client:
        client.send(**frame)
        error = client.wait("error")
        assert error["code"] == "bad_request" and error["message"]
        for name in ("ref", "id"):
            assert error.get(name) == frame.get(name), name
        client.settled()


def test_the_ids_alphabet_ends_where_it_says(server, room):
    with Client(server, room.alice) as alice:
        for good in ("a", "a" * 64, "A.z_0:9@|~-"):
            assert alice.post(room.name, "x", id=good)["op"] == "ack"
        for bad in ("", "a" * 65, "a b", "a/b", "ä", "a\u0000"):
            alice.send(op="send", id=bad, conversation=room.name, body="x")
            assert alice.wait("error")["code"] == "bad_request", bad


def test_unknown_fields_are_ignored_and_odd_json_is_read(server, room):
    with Client(server, room.alice) as alice:
        for n, text in enumerate([
            '{"op":"send","extra":{"deep":[[[{}]]]},"id":"%s","conversation":"%s","body":"x","more":-1.5e-3}',
            ' \n{ "op" : "\\u0073end" , "id" : "%s" , "conversation" : "%s" , "body" : "x" } \r\n',
            '{"body":"x","conversation":"%2$s","id":"%1$s","op":"send"}'.replace("%1$s", "%s").replace("%2$s", room.name),
        ]):
            arguments = (f"m{n}", room.name)[: text.count("%s")]
            alice.raw(text % arguments)
            assert alice.answer("id", f"m{n}")["op"] == "ack", text


def test_a_string_survives_every_escape(server, room):
    body = "".join(map(chr, range(0x20))) + "\"\\/\u007f\u0080é\u2028\u2029\ufeff\uffff😀\U0010ffff"
    with Client(server, room.alice) as alice:
        for n, text in enumerate([json.dumps(body), json.dumps(body, ensure_ascii=False)]):
            alice.raw('{"op":"send","id":"e%d","conversation":"%s","body":%s}' % (n, room.name, text))
            assert alice.wait("event")["body"] == body


def test_deep_nesting_breaks_nothing(server, room):
    with Client(server, room.alice) as alice:
        deep = '{"a":' * 300 + "1" + "}" * 300
        alice.raw('{"op":"send","id":"d","conversation":"%s","body":"x","meta":%s}' % (room.name, deep))
        assert alice.answer("id", "d")["op"] in ("ack", "error")
        alice.raw('{"op":"ping","ref":1,"x":' + "[" * 20_000 + "]" * 20_000 + "}")
        frames = []
        try:
            frames.append(alice.receive())
        except Exception as closed:
            assert getattr(closed, "code", None) == 4400
    with Client(server, room.alice) as alice:
        alice.settled()


HEAD_FAULTS = {
    "another path": ({"path": "/v2/connect"}, {404}),
    "no Upgrade": ({"leave_out": ["Upgrade"]}, {400, 426}),
    "no Connection": ({"leave_out": ["Connection"]}, {400, 426}),
    "no key": ({"leave_out": ["Sec-WebSocket-Key"]}, {400}),
    "a bad key": ({"headers": {"Sec-WebSocket-Key": "short"}}, {400}),
    "no version": ({"leave_out": ["Sec-WebSocket-Version"]}, {400, 426}),
    "an old version": ({"headers": {"Sec-WebSocket-Version": "8"}}, {400, 426}),
    "a head over every limit": ({"headers": {"X-Long": "x" * 70_000}}, {400, 413, 431}),
}


@pytest.mark.parametrize("name", HEAD_FAULTS)
def test_a_bad_upgrade_is_answered_with_4xx_and_closed(server, name):
    options, statuses = HEAD_FAULTS[name]
    with RawSocket(server) as raw:
        try:
            status, _ = raw.upgrade(credential=token("alice"), **options)
        except ConnectionError:
            return  # A reset while megabytes are under way is an answer too.
        assert status in statuses


def test_the_accept_key_is_that_of_the_rfc_and_no_subprotocol_is_json(server):
    with RawSocket(server) as raw:
        status, head = raw.upgrade(credential=token(unique("alice")))
        assert status == 101 and f"sec-websocket-accept: {RawSocket.ACCEPT}".lower() in head.lower()
        assert "sec-websocket-protocol" not in head.lower()
        raw.write(raw.frame(1, b'{"op":"hello","device":"d"}'))
        opcode, payload = raw.read_frame()
        assert opcode == 1 and json.loads(payload)["op"] == "welcome"


BROKEN = {
    "not masked": (lambda raw: raw.frame(1, b"{}", masked=False), 1002),
    "reserved bit": (lambda raw: raw.frame(1, b"{}", reserved=4), 1002),
    "reserved opcode": (lambda raw: raw.frame(3, b"{}"), 1002),
    "reserved control opcode": (lambda raw: raw.frame(11, b""), 1002),
    "long ping": (lambda raw: raw.frame(9, b"x" * 126), 1002),
    "cut ping": (lambda raw: raw.frame(9, b"x", final=False), 1002),
    "continuation of nothing": (lambda raw: raw.frame(0, b"x"), 1002),
    "text inside a fragmented text": (lambda raw: raw.frame(1, b"{", final=False) + raw.frame(1, b"}"), 1002),
    "length not minimal": (lambda raw: bytes([0x81, 0xFE, 0, 2]) + b"\0\0\0\0{}", 1002),
    "close with one byte": (lambda raw: raw.frame(8, b"x"), 1002),
    "close with a forbidden code": (lambda raw: raw.frame(8, (1005).to_bytes(2, "big")), 1002),
    "bad UTF-8": (lambda raw: raw.frame(1, b'{"op":"\xff"}'), 1007),
    "bad UTF-8 over a border": (lambda raw: raw.frame(1, b'{"a":"\xc3', final=False) + raw.frame(0, b'"}'), 1007),
    "binary on the JSON subprotocol": (lambda raw: raw.frame(2, b"{}"), 1003),
    "a frame over the limit": (lambda raw: raw.frame(1, b"x" * 65_537), 1009),
    "fragments over the limit": (lambda raw: b"".join(
        [raw.frame(1, b"x" * 30_000, final=False), raw.frame(0, b"x" * 30_000, final=False), raw.frame(0, b"x" * 30_000)]
    ), 1009),
}


def session(server, raw, user=None):
    status, _ = raw.upgrade(credential=token(user or unique("alice")))
    assert status == 101
    raw.write(raw.frame(1, b'{"op":"hello","device":"d"}'))
    opcode, payload = raw.read_frame()
    assert opcode == 1 and json.loads(payload)["op"] == "welcome"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_frame_closes_with_its_code(server, name):
    make, code = BROKEN[name]
    with RawSocket(server) as raw:
        session(server, raw)
        raw.write(make(raw))
        assert raw.close_code() == code


def test_a_frame_at_the_limit_is_taken(server):
    with RawSocket(server) as raw:
        session(server, raw)
        frame = b'{"op":"ping","ref":1,"x":"'
        raw.write(raw.frame(1, frame + b"x" * (65_536 - len(frame) - 2) + b'"}'))
        assert json.loads(raw.read_frame()[1]) == {"op": "pong", "ref": 1}


def test_bytes_one_by_one_and_pings_between_fragments(server):
    with RawSocket(server) as raw:
        good = token(unique("alice"))
        head = (f"GET /v1/connect HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {raw.KEY}\r\nAuthorization: bearer {good}\r\n\r\n")
        for byte in head.encode():
            raw.write(bytes([byte]))
        assert raw.head()[0] == 101
        hello = '{"op":"hello","device":"d","ü":"é"}'.encode()
        stream = b"".join(
            raw.frame(1 if n == 0 else 0, hello[n:n + 1], final=n == len(hello) - 1) + raw.frame(9, b"p")
            for n in range(len(hello))
        )
        for byte in stream:
            raw.write(bytes([byte]))
        frames = [raw.read_frame() for _ in range(len(hello) + 1)]
        assert sum(frame == (10, b"p") for frame in frames) == len(hello)
        assert any(opcode == 1 and json.loads(payload)["op"] == "welcome" for opcode, payload in frames)


def test_a_close_is_answered_with_its_code(server):
    with RawSocket(server) as raw:
        session(server, raw)
        raw.write(raw.frame(8, (1000).to_bytes(2, "big") + b"bye"))
        assert raw.close_code() == 1000
        assert raw.socket.recv(1) == b"", "and then the connection ends"


def test_garbage_of_every_kind_leaves_the_server_well(server):
    chance = random.Random(20)
    for n in range(60):
        with RawSocket(server) as raw:
            try:
                if n % 3:
                    session(server, raw)
                raw.write(chance.randbytes(chance.randrange(1, 3000)))
                if n % 2:
                    raw.socket.settimeout(0.05)
                    raw.socket.recv(65536)
            except (OSError, EOFError):
                pass
    assert server.process.poll() is None
    with Client(server, unique("alice")) as client:
        client.settled()


def test_half_handshakes_are_given_up_and_hold_nobody_up(start):
    server = start(MURMURING_LIMITS_HELLO_MS="500")
    halves = [RawSocket(server) for _ in range(50)]
    for n, raw in enumerate(halves):
        raw.write(b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n"[: n])
    with Client(server, "alice") as client:
        client.settled()
    begin = time.monotonic()
    for raw in halves:
        raw.socket.settimeout(5)
        with raw:
            try:
                while raw.socket.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert time.monotonic() - begin < 5
    assert server.process.poll() is None


def test_plain_http_on_the_socket_port_is_told_where_to_go(server):
    with RawSocket(server) as raw:
        raw.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.head()[0] in (400, 404, 426)
    with RawSocket(server) as raw:
        raw.write(b"POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert raw.head()[0] in (400, 405, 426)
