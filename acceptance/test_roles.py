"""Roles: who may send, edit, delete, manage and change (PROTOCOL, section 5)."""

import pytest

from murmuring import Client, token, unique

ROLES = ["owner", "moderator", "member", "reader"]


@pytest.fixture
def ranks(server):
    """One user of each role, and a stranger."""

    class Ranks:
        name = unique("ranks")
        users = {role: unique(role) for role in [*ROLES, "stranger"]}

    members = [{"user": Ranks.users[role], "role": role} for role in ROLES]
    server.conversation(Ranks.name, members)
    return Ranks


def call(server, ranks, role, method, path="", body=None):
    path = f"/v1/conversations/{ranks.name}{path}"
    return server.http(method, path, body, credential=token(ranks.users[role]))


def test_who_may_send(server, ranks):
    for role, status in [("owner", 200), ("moderator", 200), ("member", 200), ("reader", 403), ("stranger", 404)]:
        assert call(server, ranks, role, "POST", "/messages", {"id": "1", "body": "x"}).status == status, role
    with Client(server, ranks.users["reader"]) as reader:
        assert reader.post(ranks.name, "x")["code"] == "forbidden"
        assert reader.post(ranks.name, "x", ephemeral=True)["code"] == "forbidden"
        assert reader.request("history", conversation=ranks.name)["events"]


def test_who_may_read(server, ranks):
    for role, status in [("owner", 200), ("moderator", 200), ("member", 200), ("reader", 200), ("stranger", 404)]:
        for path in ("", "/members", "/messages"):
            assert call(server, ranks, role, "GET", path).status == status, (role, path)


def test_who_may_change_and_remove_the_conversation(server, ranks):
    for role, status in [("stranger", 404), ("reader", 403), ("member", 403), ("moderator", 403), ("owner", 200)]:
        answer = call(server, ranks, role, "PATCH", "", {"title": f"by {role}"})
        assert answer.status == status, role
    assert call(server, ranks, "reader", "GET").json["title"] == "by owner"
    for role, status in [("stranger", 404), ("reader", 403), ("member", 403), ("moderator", 403)]:
        assert call(server, ranks, role, "DELETE").status == status, role
    assert call(server, ranks, "owner", "DELETE").status in (200, 204)
    assert call(server, ranks, "owner", "GET").status == 404


def test_who_may_manage_members(server, ranks):
    for role, status in [("stranger", 404), ("reader", 403), ("member", 403), ("moderator", 200), ("owner", 200)]:
        user = unique("new")
        answer = call(server, ranks, role, "POST", "/members", {"user": user})
        assert answer.status in ({200: (200, 201)}.get(status) or (status,)), role
        if status == 200:
            assert call(server, ranks, role, "PATCH", f"/members/{user}", {"role": "reader"}).status == 200
            assert call(server, ranks, role, "DELETE", f"/members/{user}").status in (200, 204)
        else:
            victim = ranks.users["member" if role != "member" else "reader"]
            assert call(server, ranks, role, "DELETE", f"/members/{victim}").status == status
            assert call(server, ranks, role, "PATCH", f"/members/{victim}", {"role": "member"}).status == status


def test_nobody_rises_above_itself(server, ranks):
    own = ranks.users["moderator"]
    assert call(server, ranks, "moderator", "PATCH", f"/members/{own}", {"role": "owner"}).status == 403
    assert call(server, ranks, "moderator", "POST", "/members", {"user": unique("x"), "role": "owner"}).status == 403
    assert call(server, ranks, "moderator", "DELETE", f"/members/{ranks.users['owner']}").status == 403
    assert call(server, ranks, "moderator", "PATCH", f"/members/{ranks.users['owner']}", {"role": "reader"}).status == 403
    for role in ("member", "reader"):
        assert call(server, ranks, role, "PATCH", f"/members/{ranks.users[role]}", {"role": "owner"}).status == 403


def test_a_new_role_counts_at_once(server, ranks):
    with Client(server, ranks.users["reader"]) as reader:
        assert reader.post(ranks.name, "x")["code"] == "forbidden"
        assert call(server, ranks, "owner", "PATCH", f"/members/{ranks.users['reader']}", {"role": "member"}).status == 200
        changed = reader.wait("event", type="changed")
        assert (changed["user"], changed["role"]) == (ranks.users["reader"], "member")
        assert reader.post(ranks.name, "x")["op"] == "ack"


def test_anyone_leaves_by_itself(server, ranks):
    own = ranks.users["reader"]
    with Client(server, ranks.users["member"]) as member:
        assert call(server, ranks, "reader", "DELETE", f"/members/{own}").status in (200, 204)
        left = member.wait("event", type="left")
        assert (left["user"], left["sender"]) == (own, own)
    assert call(server, ranks, "reader", "GET").status == 404


def test_members_are_listed_in_pages_with_their_roles(server, ranks):
    found, after = {}, ""
    while True:
        page = call(server, ranks, "member", "GET", f"/members?limit=3{after}").json
        assert len(page["members"]) <= 3
        found |= {member["user"]: member["role"] for member in page["members"]}
        if not page["more"]:
            break
        after = f"&after={page['members'][-1]['user']}"
    assert found == {ranks.users[role]: role for role in ROLES}


def test_whoever_is_a_member_already_keeps_its_role(server, ranks):
    for _ in range(2):
        answer = call(server, ranks, "owner", "POST", "/members", {"user": ranks.users["moderator"], "role": "reader"})
        assert answer.status in (200, 201, 409)
    members = {member["user"]: member["role"] for member in call(server, ranks, "owner", "GET", "/members").json["members"]}
    assert members[ranks.users["moderator"]] == "moderator"


def test_who_creates_is_the_owner(server):
    alice, name = unique("alice"), unique("mine")
    made = server.http("POST", "/v1/conversations", {"conversation": name, "kind": "group", "members": ["x"]}, token(alice))
    assert made.status == 201
    members = server.http("GET", f"/v1/conversations/{name}/members", credential=token(alice)).json["members"]
    assert {member["user"]: member["role"] for member in members} == {alice: "owner", "x": "member"}


def test_a_creation_over_somebody_elses_conversation_gives_nothing_away(server, room):
    body = {"conversation": room.name, "kind": "group", "members": [room.stranger]}
    answer = server.http("POST", "/v1/conversations", body, credential=token(room.stranger))
    assert answer.status in (403, 404, 409) and "member_count" not in answer.json
    assert server.http("GET", f"/v1/conversations/{room.name}", credential=token(room.stranger)).status == 404


def test_a_direct_conversation_is_of_two_and_one_whoever_begins(server):
    alice, bob = unique("alice"), unique("bob")
    create = lambda members, user: server.http("POST", "/v1/conversations", {"kind": "direct", "members": members}, token(user))
    first = create([bob], alice)
    assert first.status == 201 and first.json["kind"] == "direct"
    name = first.json["conversation"]
    for members, user in [([alice], bob), ([alice, bob], alice), ([bob, alice], bob)]:
        again = create(members, user)
        assert (again.status, again.json["conversation"]) == (200, name)
    for members in ([], [bob, "carol"], [alice]):
        assert create(members, alice).status == 400
    with Client(server, alice) as a, Client(server, bob) as b:
        assert a.post(name, "hello")["op"] == "ack"
        assert b.wait("event", conversation=name)["body"] == "hello"
    added = server.http("POST", f"/v1/conversations/{name}/members", {"user": "carol"}, token(alice))
    assert 400 <= added.status < 500
    squat = server.http("POST", "/v1/conversations", {"conversation": "direct:mine", "kind": "group", "members": []})
    assert squat.status == 400


def test_anyone_of_the_tenant_joins_a_public_conversation(server):
    name = server.conversation(unique("public"), [unique("alice")], kind="public")
    carol = unique("carol")
    path = f"/v1/conversations/{name}"
    credential = token(carol)
    assert server.http("GET", path, credential=credential).status == 200
    assert server.http("GET", f"{path}/messages", credential=credential).status == 200
    assert server.http("POST", f"{path}/messages", {"id": "1", "body": "x"}, credential).status == 403
    assert server.http("POST", f"{path}/members", {"user": unique("another")}, credential).status == 403
    assert server.http("POST", f"{path}/members", {"user": carol, "role": "owner"}, credential).status == 403
    assert server.http("POST", f"{path}/members", {"user": carol}, credential).status in (200, 201)
    assert server.http("POST", f"{path}/messages", {"id": "1", "body": "x"}, credential).status == 200
    assert server.http("GET", path, credential=token(carol, tenant="other")).status == 404
    for body in ({}, None):
        dave = unique("dave")
        joined = server.http("POST", f"{path}/members", body, token(dave))
        assert joined.status in (200, 201) and joined.json["user"] == dave, joined
    assert server.http("POST", f"{path}/members", {}).status == 400, "a key is nobody that could join"


def test_a_key_acts_for_anyone_and_an_admin_within_its_tenant(server, ranks):
    path = f"/v1/conversations/{ranks.name}/messages"
    as_key = server.http("POST", path, {"id": "1", "body": "x"})
    assert as_key.status == 200
    named = server.http("POST", path, {"id": "1", "body": "x", "sender": "somebody"})
    assert named.json["duplicate"] is False
    events = server.messages(ranks.name)["events"]
    assert [event["sender"] for event in events] == ["system", "somebody"]
    assert server.http("PATCH", f"/v1/conversations/{ranks.name}", {"title": "t"}, token("root", admin=True)).status == 200
    forged = server.http("POST", path, {"id": "2", "body": "x", "sender": "somebody"}, token(ranks.users["member"]))
    assert forged.status == 403
    assert server.http("POST", f"/v1/conversations/{unique('nowhere')}/messages", {"id": "1", "body": "x"}).status == 404
