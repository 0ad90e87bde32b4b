"""Presence, typing, signals: there for who is there, and gone (PROTOCOL, sections 2 to 4)."""

import time

from murmuring import Client, unique


def test_presence_is_told_at_once_and_on_change(server):
    user = unique("alice")
    with Client(server, unique("bob")) as bob:
        bob.send(op="watch", users=[user, unique("nobody")])
        assert bob.wait("presence", user=user)["online"] is False
        with Client(server, user) as alice:
            alice.settled()
            assert bob.wait("presence", user=user, timeout=15)["online"] is True
            assert server.http("GET", f"/v1/users/{user}/presence").json["online"] is True
        gone = bob.wait("presence", user=user, timeout=15)
        assert gone["online"] is False and abs(gone["last_seen"] / 1000 - time.time()) < 30
        shown = server.http("GET", f"/v1/users/{user}/presence").json
        assert shown["online"] is False and shown["last_seen"] == gone["last_seen"]


def test_offline_only_when_the_last_device_closes(server):
    user = unique("alice")
    with Client(server, unique("bob")) as bob, Client(server, user) as phone:
        with Client(server, user) as laptop:
            laptop.settled()
            bob.send(op="watch", users=[user])
            assert bob.wait("presence", user=user)["online"] is True
        phone.settled()
        time.sleep(1)
        assert server.http("GET", f"/v1/users/{user}/presence").json["online"] is True


def test_nothing_more_after_unwatch(server):
    user = unique("alice")
    with Client(server, unique("bob")) as bob:
        bob.send(op="watch", users=[user])
        bob.wait("presence", user=user)
        bob.send(op="unwatch", users=[user])
        bob.settled()
        with Client(server, user) as alice:
            alice.settled()
            bob.silent(2, op="presence")


def test_a_lost_connection_is_offline_after_the_silence(start):
    server = start(MURMURING_LIMITS_OFFLINE_MS="1500", MURMURING_LIMITS_HEARTBEAT_MS="300")
    with Client(server, "bob") as bob:
        alice = Client(server, "alice")
        bob.send(op="watch", users=["alice"])
        assert bob.wait("presence", user="alice")["online"] is True
        alice.drop()
        assert bob.wait("presence", user="alice", timeout=15)["online"] is False


def test_typing_is_throttled_and_ends_by_itself(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        for _ in range(5):
            alice.send(op="typing", conversation=room.name, on=True)
        assert bob.wait("typing") == {"op": "typing", "conversation": room.name, "user": room.alice, "on": True}
        bob.silent(1, op="typing")
        begin = time.monotonic()
        assert bob.wait("typing", timeout=10)["on"] is False
        assert time.monotonic() - begin < 8
        alice.silent(0.1, op="typing")
        assert server.log_of(room.name) == []


def test_typing_ends_when_told(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        alice.send(op="typing", conversation=room.name, on=True)
        bob.wait("typing", on=True)
        alice.send(op="typing", conversation=room.name, on=False)
        bob.wait("typing", on=False, timeout=3)


def test_an_ephemeral_send_is_seen_and_never_stored(server, room):
    with Client(server, room.alice, device="pen") as alice, Client(server, room.bob) as bob:
        ack = alice.post(room.name, "here", id="s", ephemeral=True, kind="cursor", meta={"x": 1})
        assert ack["op"] == "ack" and "seq" not in ack
        signal = bob.wait("signal")
        assert (signal["sender"], signal["device"], signal["body"], signal["kind"]) == (room.alice, "pen", "here", "cursor")
        assert signal["meta"] == {"x": 1} and "seq" not in signal
        assert alice.post(room.name, "stored")["seq"] == 1
        assert server.http("POST", f"/v1/conversations/{room.name}/messages",
                           {"id": "h", "body": "over http", "ephemeral": True}).status == 200
        assert bob.wait("signal")["body"] == "over http"
    with Client(server, room.bob, cursors=[[room.name, 0]]) as bob:
        assert bob.wait("event")["body"] == "stored"
        bob.silent(0.5)
