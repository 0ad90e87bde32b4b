"""Resume by cursor, by ticket and by sync (PROTOCOL, sections 2 and 3)."""

import json

import pytest

from murmuring import Client, token, unique


def fill(server, name, count, sender="alice", start=0):
    for n in range(start, start + count):
        body = {"id": f"{sender}-{n}", "body": f"{n}", "sender": sender}
        assert server.http("POST", f"/v1/conversations/{name}/messages", body).status == 200


def test_cursors_in_hello_bring_what_was_missed_and_then_what_is_live(server, room):
    fill(server, room.name, 10, room.alice)
    for cursor in (0, 4, 9, 10):
        with Client(server, room.bob, cursors=[[room.name, cursor]]) as bob:
            events = bob.events(room.name, 10 - cursor)
            assert [event["seq"] for event in events] == list(range(cursor + 1, 11))
            bob.settled()
            assert not [frame for frame in bob.frames if frame["op"] == "event"]
    with Client(server, room.bob, cursors=[[room.name, 8]]) as bob:
        fill(server, room.name, 3, room.alice, start=10)
        assert [event["seq"] for event in bob.events(room.name, 5)] == [9, 10, 11, 12, 13]


def test_without_cursors_only_what_is_new_comes(server, room):
    fill(server, room.name, 3, room.alice)
    with Client(server, room.bob) as bob:
        entry = next(entry for entry in bob.welcome["conversations"] if entry["conversation"] == room.name)
        assert (entry["head"], entry["read"], entry["role"]) == (3, 0, "member")
        fill(server, room.name, 1, room.alice, start=3)
        assert bob.wait("event")["seq"] == 4


def test_a_cursor_beyond_the_head_or_of_no_conversation_is_harmless(server, room):
    fill(server, room.name, 2, room.alice)
    with Client(server, room.bob, cursors=[[room.name, 999], [unique("nowhere"), 5]]) as bob:
        fill(server, room.name, 1, room.alice, start=2)
        assert bob.wait("event")["seq"] == 3


def test_a_ticket_is_as_good_as_a_token_and_for_its_device_only(server, room):
    with Client(server, room.alice, device="phone") as alice:
        ticket = alice.welcome["resume"]
    fill(server, room.name, 2, room.bob)
    with Client(server, None, hello=False) as again:
        again.send(op="hello", device="phone", resume=ticket, cursors=[[room.name, 0]])
        assert again.wait("welcome")["user"] == room.alice
        assert len(again.events(room.name, 2)) == 2
    half = len(ticket) // 2
    altered = ticket[:half] + ("A" if ticket[half] != "A" else "B") + ticket[half + 1:]
    for bad in (altered, ticket[:-3], "x", token(room.alice)):
        with Client(server, None, hello=False) as client:
            client.send(op="hello", device="phone", resume=bad)
            assert client.closed().code == 4401


def test_a_ticket_survives_a_restart_and_ends_with_its_token(start):
    server = start()
    with Client(server, "alice", device="d") as alice:
        ticket = alice.welcome["resume"]
    with Client(server, "alice", device="d", ttl=2) as short:
        ending = short.welcome["resume"]
        assert short.closed(timeout=15).code == 4401
    server.restart()
    with Client(server, None, hello=False) as again:
        again.send(op="hello", device="d", resume=ticket)
        assert again.wait("welcome")["user"] == "alice"
    with Client(server, None, hello=False) as late:
        late.send(op="hello", device="d", resume=ending)
        assert late.closed().code == 4401


def test_sync_gives_a_page_a_conversation_and_then_says_so(server):
    alice = unique("alice")
    names = [server.conversation(unique("c"), [alice]) for _ in range(3)]
    for place, name in enumerate(names):
        fill(server, name, place + 2, alice)
    with Client(server, alice) as client:
        client.send(op="sync", ref=77, cursors=[[name, 1] for name in names], limit=2)
        client.wait("synced", ref=77)
        pages = {frame["conversation"]: frame for frame in client.frames if frame["op"] == "page"}
        assert len(pages) == 3 and all(page["ref"] == 77 for page in pages.values())
        for place, name in enumerate(names):
            head = place + 2
            expected = list(range(2, min(head, 3) + 1))
            assert [event["seq"] for event in pages[name]["events"]] == expected
            assert pages[name]["head"] == head and pages[name]["more"] is (head > 3)
        client.send(op="sync", ref=78, cursors=[])
        client.wait("synced", ref=78)


def test_nothing_is_missed_over_many_reconnects(start):
    server = start(config="[limits]\nsends_per_second = 100000\nsends_burst = 100000\n")
    server.conversation("c", ["alice", "bob"])
    seen, total = [], 120
    with Client(server, "alice") as alice:
        sent = 0
        while len(seen) < total:
            cursor = seen[-1] if seen else 0
            bob = Client(server, "bob", device="phone", cursors=[["c", cursor]])
            for _ in range(min(10, total - sent)):
                alice.send(op="send", id=f"{sent}", conversation="c", body="x")
                sent += 1
            for _ in range(min(7, total - len(seen))):
                seen.append(bob.wait("event")["seq"])
            bob.drop()
    assert seen == list(range(1, total + 1))


def test_the_same_device_again_closes_the_older_session_with_4409(server):
    user = unique("alice")
    with Client(server, user, device="phone") as older, Client(server, user, device="tablet") as other:
        with Client(server, user, device="phone") as newer:
            assert older.closed().code == 4409
            newer.settled()
            other.settled()


def test_a_conversation_joined_later_is_live_at_once(server):
    alice, bob = unique("alice"), unique("bob")
    with Client(server, alice) as client:
        name = server.conversation(unique("later"), [bob])
        fill(server, name, 2, bob)
        added = server.http("POST", f"/v1/conversations/{name}/members", {"user": alice})
        assert added.status in (200, 201)
        joined = client.wait("event", conversation=name)
        assert (joined["type"], joined["user"], joined["role"]) == ("joined", alice, "member")
        fill(server, name, 1, bob, start=2)
        assert client.wait("event", conversation=name)["seq"] == joined["seq"] + 1


def test_a_new_conversation_is_live_at_once(server):
    alice = unique("alice")
    with Client(server, alice) as client:
        name = server.conversation(unique("new"), [alice])
        fill(server, name, 1, "system")
        assert client.wait("event", conversation=name)["seq"] == 1


def test_the_chat_list_is_paged_over_the_socket(server):
    alice = unique("alice")
    names = {server.conversation(unique("c"), [alice]) for _ in range(7)}
    with Client(server, alice) as client:
        assert {entry["conversation"] for entry in client.welcome["conversations"]} == names
        found, after = [], {}
        for _ in range(10):
            page = client.request("conversations", limit=3, **after)
            found += [entry["conversation"] for entry in page["conversations"]]
            if not page.get("next"):
                break
            after = {"after": page["next"]}
        assert sorted(found) == sorted(names)


@pytest.mark.parametrize("first", [
    {"op": "ping", "ref": 1},
    {"op": "send", "id": "1", "conversation": "c", "body": "x"},
    {"op": "hello"},
    {"op": "hello", "device": "no spaces"},
])
def test_anything_but_a_good_hello_first_closes_with_4400(server, first):
    with Client(server, unique("alice"), hello=False) as client:
        client.send(**first)
        assert client.closed().code == 4400


def test_a_second_hello_is_misuse(server):
    with Client(server, unique("alice")) as client:
        try:
            client.send(op="hello", device="again")
            assert client.answer("code", "bad_request")["op"] == "error"
        except Exception as closed:
            assert getattr(closed, "code", None) == 4400, json.dumps(str(closed))


def test_a_connection_that_says_nothing_is_closed_in_time(start):
    server = start(MURMURING_LIMITS_HELLO_MS="300")
    with Client(server, "alice", hello=False) as client:
        assert client.closed(timeout=5).code == 4400
