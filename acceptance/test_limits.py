"""Limits and rates: told, and told when to try again (PROTOCOL, sections 3 and 4)."""

import json
import time

import pytest

from murmuring import Client, Closed, RawSocket, token, unique


def test_welcome_tells_the_limits(start):
    server = start(config="[limits]\nbody_bytes = 100\nsends_per_second = 7\nheartbeat_ms = 12345\n")
    with Client(server, "alice") as alice:
        limits = alice.welcome["limits"]
        assert (limits["body_bytes"], limits["sends_per_second"]) == (100, 7)
        assert (limits["frame_bytes"], limits["meta_bytes"], limits["sends_burst"]) == (65536, 2048, 40)
        assert alice.welcome["heartbeat_ms"] == 12345
        assert alice.welcome["session"] and alice.welcome["resume"]


def test_body_and_meta_end_at_their_limits(server, room):
    with Client(server, room.alice) as alice:
        for body, good in [("x" * 8192, True), ("x" * 8193, False), ("é" * 4096, True), ("é" * 4097, False)]:
            answer = alice.post(room.name, body)
            assert (answer["op"] == "ack") is good and (good or answer["code"] == "too_large")
        for size, good in [(2048, True), (2049, False)]:
            meta = {"a": "x" * (size - len('{"a": ""}'))}
            answer = alice.post(room.name, "x", meta=meta)
            assert (answer["op"] == "ack") is good and (good or answer["code"] == "too_large")
    path = f"/v1/conversations/{room.name}/messages"
    assert server.http("POST", path, {"id": "b", "body": "x" * 8192}).status == 200
    answer = server.http("POST", path, {"id": "c", "body": "x" * 8193})
    assert (answer.status, answer.json["code"]) == (413, "too_large")


def test_sends_over_the_rate_are_refused_and_nothing_of_them_is_stored(server, room):
    with Client(server, room.alice) as alice:
        for n in range(100):
            alice.send(op="send", id=f"{n}", conversation=room.name, body="x")
        answers = [alice.answer("id", f"{n}") for n in range(100)]
        acks = [answer for answer in answers if answer["op"] == "ack"]
        refused = [answer for answer in answers if answer["op"] == "error"]
        assert 40 <= len(acks) <= 60, "a burst of 40, and what comes back meanwhile"
        assert all(answer["code"] == "rate_limited" and answer["retry_after_ms"] > 0 for answer in refused)
        time.sleep(max(answer["retry_after_ms"] for answer in refused) / 1000)
        assert alice.post(room.name, "x", id=refused[0]["id"])["op"] == "ack", "the same id again, later"
    assert len(server.log_of(room.name)) == len(acks) + 1


def test_the_rate_is_a_users_over_http_and_none_of_a_key(server, room):
    path = f"/v1/conversations/{room.name}/messages"
    send = lambda n, credential: server.http("POST", path, {"id": f"{n}", "body": "x"}, credential)
    answers = [send(n, token(room.alice)) for n in range(80)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and all(answer.status in (200, 429) for answer in answers)
    assert refused[0].json["code"] == "rate_limited" and refused[0].json["retry_after_ms"] > 0
    assert int(refused[0].headers["retry-after"]) >= 1
    assert all(send(f"k{n}", "an-api-key-of-the-acceptance-checks").status == 200 for n in range(60))


def test_frames_without_end_are_slowed_and_then_cut(start):
    server = start(MURMURING_LIMITS_FRAMES_PER_SECOND="10", MURMURING_LIMITS_FRAMES_BURST="20")
    with Client(server, "alice") as alice:
        closed = None
        try:
            for n in range(20_000):
                alice.send(op="ping", ref=n)
            closed = alice.closed()
        except Exception as failure:
            closed = failure
        assert getattr(closed, "code", None) == 4429, closed
        assert any(character.isdigit() for character in closed.reason), "the backoff is in the reason"


def test_watch_takes_500_users_and_not_one_more(server):
    with Client(server, unique("alice")) as client:
        client.send(op="watch", users=[f"u{n}" for n in range(501)])
        assert client.wait("error")["code"] in ("bad_request", "too_large")
        client.settled()


def test_a_silent_connection_is_pinged_and_closed_with_4408(start):
    server = start(MURMURING_LIMITS_HEARTBEAT_MS="200")
    with RawSocket(server) as raw:
        assert raw.upgrade(credential=token("alice"))[0] == 101
        raw.write(raw.frame(1, b'{"op":"hello","device":"d"}'))
        assert raw.read_frame()[0] == 1
        pings = 0
        while (frame := raw.read_frame())[0] == 9:
            pings += 1
        assert frame[0] == 8 and int.from_bytes(frame[1][:2], "big") == 4408
        assert pings == 2


def test_an_answered_ping_keeps_the_connection(start):
    server = start(MURMURING_LIMITS_HEARTBEAT_MS="200")
    with Client(server, "alice") as alice:
        time.sleep(1.5)
        alice.settled()


@pytest.mark.parametrize("method, path", [("PUT", "/v1/conversations"), ("DELETE", "/healthz")])
def test_a_wrong_method_is_405_in_json(server, method, path):
    answer = server.http(method, path)
    assert answer.status == 405 and answer.json["code"]


def test_an_unknown_path_is_404_in_json(server):
    assert server.http("GET", "/v1/nothing").json["code"] == "not_found"


def test_a_connection_too_many_is_told_when_to_come_back(start):
    server = start(config="[core]\nconnections_max = 3\n")
    clients = [Client(server, "alice") for _ in range(3)]
    closed = Client(server, "alice", hello=False).closed()
    assert closed.code == 4429 and "retry after" in closed.reason
    clients[0].close()
    deadline = time.monotonic() + 10
    while True:
        try:
            with Client(server, "alice") as client:
                client.settled()
            return
        except Closed:
            assert time.monotonic() < deadline, "no seat came back"
            time.sleep(0.1)


def test_no_deadline_is_early(start):
    server = start(config="[limits]\nheartbeat_ms = 500\nhello_ms = 700\n")
    for frames in ([{"op": "hello", "device": "d"}], []):
        for _ in range(4):
            with RawSocket(server) as raw:
                raw.upgrade(token(unique("alice")))
                for frame in frames:
                    raw.write(raw.frame(1, json.dumps(frame).encode()))
                    raw.read_frame()
                begun = time.monotonic()
                opcode, _ = raw.read_frame()
                assert (opcode, time.monotonic() - begun >= (0.499 if frames else 0.699)) == (9 if frames else 8, True)
                time.sleep(0.03)
