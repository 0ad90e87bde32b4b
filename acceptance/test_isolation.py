"""Strangers and other tenants see nothing (PROTOCOL, sections 1 and 5)."""

import pytest

from murmuring import Client, token, unique

READS = [("GET", ""), ("GET", "/members"), ("GET", "/messages")]
WRITES = [
    ("PATCH", "", {"title": "mine"}),
    ("DELETE", "", None),
    ("POST", "/members", {"user": "mallory"}),
    ("PATCH", "/members/bob", {"role": "reader"}),
    ("DELETE", "/members/bob", None),
    ("POST", "/messages", {"id": "x", "body": "hello"}),
]


def test_a_stranger_gets_not_found_from_every_call_as_if_nothing_were_there(server, room):
    mallory = token(room.stranger)
    for name in (room.name, unique("nowhere")):
        for method, path, *body in READS + WRITES:
            answer = server.http(method, f"/v1/conversations/{name}{path}", *body, credential=mallory)
            assert (answer.status, answer.json["code"]) == (404, "not_found"), (method, path, answer)
    here = server.http("GET", f"/v1/conversations/{room.name}", credential=mallory)
    nowhere = server.http("GET", f"/v1/conversations/{unique('nowhere')}", credential=mallory)
    assert here.json["message"] == nowhere.json["message"]


def test_a_stranger_on_a_socket_gets_not_found_and_no_event(server, room):
    with Client(server, room.stranger) as mallory, Client(server, room.alice) as alice:
        for name in (room.name, unique("nowhere")):
            assert mallory.request("history", conversation=name)["code"] == "not_found"
            for op, fields in [
                ("send", {"body": "x"}),
                ("send", {"body": "x", "ephemeral": True}),
                ("edit", {"body": "x", "target": 1}),
                ("delete", {"target": 1}),
                ("react", {"target": 1, "emoji": "+"}),
            ]:
                body = fields.pop("body", None)
                answer = mallory.post(name, body, op=op, **fields)
                assert (answer["op"], answer["code"]) == ("error", "not_found"), (op, answer)
        mallory.send(op="read", conversation=room.name, seq=1)
        mallory.send(op="received", conversation=room.name, seq=1)
        mallory.send(op="typing", conversation=room.name, on=True)
        mallory.settled()
        assert alice.post(room.name, "secret")["op"] == "ack"
        alice.wait("event", conversation=room.name)
        mallory.silent()
        alice.silent()


def test_a_strangers_sync_shows_no_event(server, room):
    with Client(server, room.alice) as alice:
        alice.post(room.name, "secret")
    with Client(server, room.stranger, cursors=[[room.name, 0]]) as mallory:
        assert mallory.welcome["conversations"] == []
        mallory.send(op="sync", ref=5, cursors=[[room.name, 0]])
        mallory.silent(op="event")
        assert not [frame for frame in mallory.frames if frame.get("events")]


def test_the_same_ids_in_two_tenants_are_two_worlds(server, room):
    acme = {"Murmuring-Tenant": "acme"}
    made = server.http("POST", "/v1/conversations", {"conversation": room.name, "members": [room.alice]}, headers=acme)
    assert made.status == 201
    with Client(server, room.alice, tenant="acme") as other, Client(server, room.alice) as alice:
        assert alice.post(room.name, "in default", id="same")["seq"] == 1
        assert other.post(room.name, "in acme", id="same")["seq"] == 1
        assert alice.wait("event")["body"] == "in default"
        assert other.wait("event")["body"] == "in acme"
        assert alice.request("history", conversation=room.name)["events"][0]["body"] == "in default"
        other.silent(op="event")
        alice.silent(op="event")


def test_a_token_of_another_tenant_finds_nothing_over_http(server, room):
    for credential in (token(room.alice, tenant="other"), token(room.alice, tenant="other", admin=True)):
        for method, path, *body in READS + WRITES:
            answer = server.http(method, f"/v1/conversations/{room.name}{path}", *body, credential=credential)
            assert answer.status == 404, (method, path, answer)
    assert server.http("GET", f"/v1/conversations/{room.name}", credential=token(room.alice)).status == 200


def test_presence_of_another_tenant_is_nobodys_to_see(server):
    user = unique("alice")
    with Client(server, user) as here, Client(server, unique("bob"), tenant="other") as other:
        here.settled()
        other.send(op="watch", users=[user])
        assert other.wait("presence", user=user)["online"] is False


def test_a_chat_list_is_its_users_own(server, room):
    path = f"/v1/users/{room.alice}/conversations"
    assert server.http("GET", path, credential=token(room.stranger)).status in (403, 404)
    mine = server.http("GET", path, credential=token(room.alice))
    assert [entry["conversation"] for entry in mine.json["conversations"]] == [room.name]
    as_admin = server.http("GET", path, credential=token("root", admin=True))
    assert as_admin.json["conversations"] == mine.json["conversations"]


@pytest.mark.parametrize("credential", ["wrong-key", "", "Bearer"])
def test_a_wrong_api_key_opens_nothing(server, credential):
    assert server.http("GET", "/v1/users/alice/presence", credential=credential).status == 401


def test_somebody_removed_sees_no_more(server, room):
    with Client(server, room.bob) as bob, Client(server, room.alice) as alice:
        assert server.http("DELETE", f"/v1/conversations/{room.name}/members/{room.bob}").status == 200
        assert alice.wait("event", type="left")["user"] == room.bob
        alice.post(room.name, "now that bob is gone")
        bob.settled()
        bodies = [frame.get("body") for frame in bob.frames if frame["op"] == "event"]
        assert "now that bob is gone" not in bodies
        assert bob.request("history", conversation=room.name)["code"] == "not_found"
        assert bob.post(room.name, "x")["code"] == "not_found"
