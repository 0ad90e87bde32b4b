"""Edits, deletes, reactions, receipts and unread counts (PROTOCOL, sections 2 and 5)."""

import time

from murmuring import Client, unique


def eventually(check, timeout=5):
    """Waits until the check gives something true, and returns it."""
    deadline = time.monotonic() + timeout
    while not (result := check()):
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)
    return result


def test_an_edit_is_an_event_of_its_author_alone(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        alice.post(room.name, "frist")
        ack = alice.post(room.name, "first", op="edit", id="e", target=1)
        assert (ack["op"], ack["seq"]) == ("ack", 2)
        event = bob.wait("event", type="edit")
        assert (event["seq"], event["target"], event["body"], event["sender"]) == (2, 1, "first", room.alice)
        assert alice.post(room.name, "first", op="edit", id="e", target=1)["duplicate"] is True
        assert alice.post(room.name, "other", op="edit", id="e", target=1)["code"] == "conflict"
        assert bob.post(room.name, "mine", op="edit", target=1)["code"] == "forbidden"
        assert alice.post(room.name, "x", op="edit", target=99)["code"] == "not_found"
        assert alice.post(room.name, "x", op="edit", target=2)["code"] in ("not_found", "bad_request")


def test_a_delete_is_for_the_author_and_for_moderators(server):
    alice, bob, mod = unique("alice"), unique("bob"), unique("mod")
    name = server.conversation(unique("c"), [alice, bob, {"user": mod, "role": "moderator"}])
    with Client(server, alice) as a, Client(server, bob) as b, Client(server, mod) as m:
        a.post(name, "one")
        a.post(name, "two")
        assert b.post(name, None, op="delete", target=1)["code"] == "forbidden"
        assert a.post(name, None, op="delete", target=1)["op"] == "ack"
        assert m.post(name, None, op="delete", target=2)["op"] == "ack"
        deletes = [b.wait("event", type="delete") for _ in range(2)]
        assert [(event["target"], event["sender"]) for event in deletes] == [(1, alice), (2, mod)]
        a.post(name, "three")
        assert m.post(name, "not mine", op="edit", target=5)["code"] == "forbidden"
        assert a.post(name, "too late", op="edit", target=1)["op"] == "error", "it is gone"


def test_reactions_come_and_go(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        alice.post(room.name, "hello")
        assert bob.post(room.name, None, op="react", target=1, emoji="👍")["op"] == "ack"
        event = alice.wait("event", type="reaction")
        assert (event["target"], event["emoji"], event["sender"]) == (1, "👍", room.bob)
        assert bob.post(room.name, None, op="react", target=1, emoji="👍", remove=True)["op"] == "ack"
        assert alice.wait("event", type="reaction")["remove"] is True
        assert bob.post(room.name, None, op="react", target=50, emoji="👍")["code"] == "not_found"
    types = [event["type"] for event in server.log_of(room.name)]
    assert types == ["message", "reaction", "reaction"]


def test_an_offline_device_converges_by_the_same_log(server, room):
    with Client(server, room.alice) as alice:
        alice.post(room.name, "one")
        alice.post(room.name, "uno", op="edit", target=1)
        alice.post(room.name, None, op="react", target=1, emoji="!")
        alice.post(room.name, None, op="delete", target=1)
    with Client(server, room.bob, cursors=[[room.name, 0]]) as bob:
        assert [event["type"] for event in bob.events(room.name, 4)] == ["message", "edit", "reaction", "delete"]


def test_receipts_reach_the_others(server, room):
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        for n in range(5):
            alice.post(room.name, f"{n}")
        bob.send(op="received", conversation=room.name, seq=5)
        bob.send(op="read", conversation=room.name, seq=3)
        known = {}
        while (known.get("received"), known.get("read")) != (5, 3):
            receipt = alice.wait("receipt", conversation=room.name)
            assert receipt["user"] == room.bob
            known |= {name: receipt[name] for name in ("received", "read") if name in receipt}


def test_unread_is_head_less_read_and_never_goes_back(server, room):
    entry = lambda: server.http("GET", f"/v1/users/{room.bob}/conversations").json["conversations"][0]
    with Client(server, room.alice) as alice, Client(server, room.bob) as bob:
        for n in range(5):
            alice.post(room.name, f"{n}")
        assert (entry()["head"], entry()["read"], entry()["unread"]) == (5, 0, 5)
        bob.send(op="read", conversation=room.name, seq=4)
        eventually(lambda: entry()["unread"] == 1)
        bob.send(op="read", conversation=room.name, seq=2)
        bob.send(op="read", conversation=room.name, seq=5000)
        eventually(lambda: entry()["unread"] == 0)
        assert entry()["read"] == 5
    with Client(server, room.bob) as bob:
        assert bob.welcome["conversations"][0]["read"] == 5


def test_the_chat_list_is_ordered_by_what_happened_last(server):
    alice = unique("alice")
    names = [server.conversation(unique("c"), [alice]) for _ in range(4)]
    with Client(server, alice) as client:
        for place in (2, 0, 3, 1):
            client.post(names[place], "x")
    listed = server.http("GET", f"/v1/users/{alice}/conversations").json["conversations"]
    assert [entry["conversation"] for entry in listed] == [names[place] for place in (1, 3, 0, 2)]
    assert [entry["lamport"] for entry in listed] == sorted((entry["lamport"] for entry in listed), reverse=True)
    paged, after = [], ""
    for _ in range(4):
        page = server.http("GET", f"/v1/users/{alice}/conversations?limit=1{after}").json
        paged += [entry["conversation"] for entry in page["conversations"]]
        after = f"&after={page.get('next')}"
    assert paged == [entry["conversation"] for entry in listed] and page["more"] is False
