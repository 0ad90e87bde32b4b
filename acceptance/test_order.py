"""Dense order and effectively-once (PROTOCOL, section 3, promises 1 to 3)."""

import json

from murmuring import Client, in_parallel, token, unique

FAST = "[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n"


def test_concurrent_senders_give_every_reader_the_same_dense_order(start):
    server = start(config=FAST)
    users, count = [f"user-{n}" for n in range(4)], 100
    server.conversation("busy", users)
    senders = [Client(server, user) for user in users]
    readers = [Client(server, user) for user in users]

    def send(client):
        for n in range(count):
            client.send(op="send", id=f"{client.user}-{n}", conversation="busy", body=f"{client.user} {n}")

    in_parallel([lambda client=client: send(client) for client in senders])
    total = count * len(users)
    seen = [reader.events("busy", total) for reader in readers]
    for events in seen:
        assert [event["seq"] for event in events] == list(range(1, total + 1))
        assert events == seen[0]
        for user in users:
            own = [event["body"] for event in events if event["sender"] == user]
            assert own == [f"{user} {n}" for n in range(count)], "a sender's own order"
    for sender in senders:
        acks = {frame["id"]: frame["seq"] for frame in sender.frames if frame["op"] == "ack"}
        while len(acks) < count:
            ack = sender.wait("ack")
            acks[ack["id"]] = ack["seq"]
        stored = {event["id"]: event["seq"] for event in seen[0] if event["sender"] == sender.user}
        assert acks == stored
    for client in senders + readers:
        client.close()
    assert [event["body"] for event in server.log_of("busy")] == [event["body"] for event in seen[0]]


def test_sockets_and_http_share_one_order(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        expected = []
        for n in range(10):
            if n % 2:
                body = {"id": f"h{n}", "body": f"{n}"}
                answer = server.http("POST", f"/v1/conversations/{room.name}/messages", body, token(room.bob))
                assert answer.status == 200 and answer.json["op"] == "ack"
                expected.append(answer.json["seq"])
            else:
                expected.append(alice.post(room.name, f"{n}")["seq"])
        assert expected == list(range(1, 11))
        events = bob.events(room.name, 10)
        assert [event["body"] for event in events] == [f"{n}" for n in range(10)]
        assert [event["lamport"] for event in events] == sorted({event["lamport"] for event in events})
        times = [event["time"] for event in events]
        assert times == sorted(times)


def test_an_event_has_every_field_and_none_that_does_not_apply(server, room):
    with Client(server, room.alice, device="laptop") as alice:
        ack = alice.post(room.name, "é\n\"\u2028😀\u0000", id="1", kind="note", meta={"a": [1, {"b": None}]}, reply_to=1)
        event = alice.wait("event")
        assert event == {
            "op": "event", "conversation": room.name, "seq": 1, "time": ack["time"], "lamport": event["lamport"],
            "type": "message", "sender": room.alice, "device": "laptop", "id": "1", "kind": "note",
            "body": "é\n\"\u2028😀\u0000", "meta": {"a": [1, {"b": None}]}, "reply_to": 1,
        }
        alice.post(room.name, "plain")
        plain = alice.wait("event")
        assert plain["kind"] == "text" and not {"meta", "reply_to", "target", "emoji", "user", "role"} & plain.keys()


def test_the_same_id_is_stored_once_whatever_is_retried(server, room):
    with Client(server, room.alice) as phone, Client(server, room.alice) as laptop:
        first = phone.post(room.name, "once", id="m")
        assert first["duplicate"] is False
        for client in (phone, laptop):
            again = client.post(room.name, "once", id="m")
            assert (again["op"], again["seq"], again["time"], again["duplicate"]) == ("ack", 1, first["time"], True)
        phone.close()
        with Client(server, room.alice, device=phone.device) as reconnected:
            assert reconnected.post(room.name, "once", id="m")["duplicate"] is True
        body = {"id": "m", "body": "once"}
        over_http = server.http("POST", f"/v1/conversations/{room.name}/messages", body, token(room.alice))
        assert (over_http.json["seq"], over_http.json["duplicate"]) == (1, True)
        assert laptop.post(room.name, "next")["seq"] == 2
    assert [event["body"] for event in server.log_of(room.name)] == ["once", "next"]


def test_the_same_id_with_another_content_is_a_conflict(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        alice.post(room.name, "one", id="m")
        for fields in [{"body": "two"}, {"body": "one", "kind": "note"}, {"body": "one", "meta": {}},
                       {"body": "one", "reply_to": 1}]:
            answer = alice.post(room.name, id="m", **fields)
            assert (answer["op"], answer["code"], answer["id"]) == ("error", "conflict", "m"), fields
        over_http = server.http("POST", f"/v1/conversations/{room.name}/messages",
                                {"id": "m", "body": "two"}, token(room.alice))
        assert (over_http.status, over_http.json["code"]) == (409, "conflict")
        assert bob.post(room.name, "bob's own m", id="m")["seq"] == 2, "ids are a sender's own"
    assert len(server.log_of(room.name)) == 2


def test_ids_in_flight_twice_at_once_are_stored_once(server, room):
    with Client(server, room.alice) as phone, Client(server, room.alice) as laptop:
        for n in range(10):
            for client in (phone, laptop):
                client.send(op="send", id=f"m{n}", conversation=room.name, body="x")
        acks = [client.wait("ack", id=f"m{n}") for n in range(10) for client in (phone, laptop)]
        assert sum(ack["duplicate"] for ack in acks) == 10
        assert len({ack["seq"] for ack in acks}) == 10


def test_ids_are_remembered_over_a_restart(start):
    server = start()
    server.conversation("c", ["alice"])
    with Client(server, "alice") as alice:
        first = alice.post("c", "once", id="m")
    server.restart()
    with Client(server, "alice") as alice:
        again = alice.post("c", "once", id="m")
        assert (again["seq"], again["time"], again["duplicate"]) == (first["seq"], first["time"], True)
        assert alice.post("c", "twice", id="m")["code"] == "conflict"


def test_a_retry_of_a_creation_is_harmless(server):
    name = unique("twice")
    body = {"conversation": name, "kind": "group", "members": ["alice"]}
    statuses = [server.http("POST", "/v1/conversations", body).status for _ in range(2)]
    assert statuses == [201, 200]


def test_answers_echo_what_they_answer(server, room):
    with Client(server, room.alice) as alice:
        for reference in (0, 1, -5, 2**53 - 1):
            alice.send(op="ping", ref=reference)
            assert alice.wait("pong") == {"op": "pong", "ref": reference}
        alice.raw(json.dumps({"op": "send", "id": "z", "conversation": room.name}))
        error = alice.wait("error")
        assert (error["id"], error["code"]) == ("z", "bad_request") and error["message"]
