"""What holds for users who are at different gateways: each promise takes anything with `gateways` (three) and `everyone`, the nodes
with an HTTP API (PROTOCOL, sections 1 to 5). Run against gateways and one router, against several routers, and after either died."""

import contextlib
import time

from murmuring import Client, in_parallel, token, unique

# Presence is told in batches, and nobody is told offline in the first seconds after a slot came.
PRESENCE_WITHIN = 20
PROMISES = []


def promise(check):
    PROMISES.append(check)
    return check


class Room:
    """A group with one member at each gateway, whose clients are there."""

    def __init__(self, nodes, stack, **options):
        self.users = [unique(name) for name in ("alice", "bob", "carol")]
        self.stranger = unique("stranger")
        self.name = nodes.gateways[0].conversation(unique("room"), self.users)
        self.clients = [stack.enter_context(Client(gateway, user, **options)) for gateway, user in zip(nodes.gateways, self.users)]


@contextlib.contextmanager
def room_of(nodes, **options):
    with contextlib.ExitStack() as stack:
        yield Room(nodes, stack, **options)


def eventually(check, timeout=PRESENCE_WITHIN):
    deadline = time.monotonic() + timeout
    while not (result := check()):
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)
    return result


@promise
def everybody_sees_one_dense_order(nodes):
    count = 10
    with room_of(nodes) as room:
        def send(client):
            for n in range(count):
                client.send(op="send", id=f"{n}", conversation=room.name, body=f"{client.user} {n}")

        in_parallel([lambda client=client: send(client) for client in room.clients])
        seen = [client.events(room.name, count * 3) for client in room.clients]
        assert [event["seq"] for event in seen[0]] == list(range(1, count * 3 + 1))
        assert seen[0] == seen[1] == seen[2]
        for client in room.clients:
            own = [event for event in seen[0] if event["sender"] == client.user]
            assert [event["body"] for event in own] == [f"{client.user} {n}" for n in range(count)], "a sender's own order"
            acks = {f"{n}": client.answer("id", f"{n}")["seq"] for n in range(count)}
            assert acks == {event["id"]: event["seq"] for event in own}
        for node in nodes.everyone:
            assert [event["body"] for event in node.log_of(room.name)] == [event["body"] for event in seen[0]]


@promise
def an_id_is_stored_once_whatever_gateways_it_comes_through(nodes):
    user, name = unique("alice"), unique("room")
    nodes.gateways[0].conversation(name, [user])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway, user)) for gateway in nodes.gateways]
        for n in range(5):
            for client in clients:
                client.send(op="send", id=f"m{n}", conversation=name, body="x")
        acks = [[client.answer("id", f"m{n}") for client in clients] for n in range(5)]
        for three in acks:
            assert len({(ack["seq"], ack["time"]) for ack in three}) == 1, three
            assert sum(ack["duplicate"] for ack in three) == 2, three
        for client in clients:
            assert client.post(name, "another", id="m0")["code"] == "conflict"
        for node in nodes.everyone:
            again = node.http("POST", f"/v1/conversations/{name}/messages", {"id": "m1", "body": "x"}, token(user))
            assert (again.status, again.json["seq"], again.json["duplicate"]) == (200, acks[1][0]["seq"], True)
            other = node.http("POST", f"/v1/conversations/{name}/messages", {"id": "m1", "body": "y"}, token(user))
            assert (other.status, other.json["code"]) == (409, "conflict")
    assert len(nodes.gateways[-1].log_of(name)) == 5


@promise
def roles_count_at_every_gateway_at_once(nodes):
    with room_of(nodes) as room:
        owner, (_, bob, carol) = nodes.gateways[2], room.clients
        path = f"/v1/conversations/{room.name}/members/{bob.user}"
        assert owner.http("PATCH", path, {"role": "reader"}).status == 200
        for client in room.clients:
            changed = client.wait("event", type="changed")
            assert (changed["user"], changed["role"]) == (bob.user, "reader")
        assert bob.post(room.name, "x")["code"] == "forbidden"
        assert bob.post(room.name, "x", ephemeral=True)["code"] == "forbidden"
        for node in nodes.everyone:
            body = {"id": "h", "body": "x"}
            assert node.http("POST", f"/v1/conversations/{room.name}/messages", body, token(bob.user)).status == 403
            assert node.http("PATCH", f"/v1/conversations/{room.name}", {"title": "x"}, token(bob.user)).status == 403
        assert carol.post(room.name, "by a member")["op"] == "ack"
        assert bob.wait("event", type="message")["body"] == "by a member"
        assert nodes.gateways[0].http("PATCH", path, {"role": "member"}).status == 200
        bob.wait("event", type="changed", role="member")
        assert bob.post(room.name, "again")["op"] == "ack"


@promise
def strangers_and_other_tenants_find_nothing_at_any_gateway(nodes):
    with room_of(nodes) as room:
        assert room.clients[0].post(room.name, "secret")["op"] == "ack"
        for node in nodes.everyone:
            for credential in (token(room.stranger), token(room.users[0], tenant="other"), token("root", tenant="other", admin=True)):
                for path in ("", "/members", "/messages"):
                    answer = node.http("GET", f"/v1/conversations/{room.name}{path}", credential=credential)
                    assert (answer.status, answer.json["code"]) == (404, "not_found"), (node.name, path, answer)
        for gateway in nodes.gateways:
            with Client(gateway, room.stranger, cursors=[[room.name, 0]]) as mallory, \
                    Client(gateway, room.users[0], tenant="other", cursors=[[room.name, 0]]) as other:
                for stranger in (mallory, other):
                    assert stranger.welcome["conversations"] == []
                    assert stranger.post(room.name, "x")["code"] == "not_found"
                    assert stranger.request("history", conversation=room.name)["code"] == "not_found"
                assert room.clients[1].post(room.name, "secret too")["op"] == "ack"
                for stranger in (mallory, other):
                    stranger.settled()
                    stranger.silent(0.1, op="event")


@promise
def typing_and_signals_reach_the_other_gateways(nodes):
    with room_of(nodes) as room:
        alice, bob, carol = room.clients
        alice.send(op="typing", conversation=room.name, on=True)
        for other in (bob, carol):
            assert other.wait("typing") == {"op": "typing", "conversation": room.name, "user": alice.user, "on": True}
        alice.send(op="typing", conversation=room.name, on=False)
        for other in (bob, carol):
            other.wait("typing", on=False)
        ack = bob.post(room.name, "here", ephemeral=True, kind="cursor", meta={"x": 1})
        assert ack["op"] == "ack" and "seq" not in ack
        for other in (alice, carol):
            signal = other.wait("signal")
            assert (signal["sender"], signal["body"], signal["kind"], signal["meta"]) == (bob.user, "here", "cursor", {"x": 1})
        assert carol.post(room.name, "stored")["seq"] == 1, "nothing of it is stored"


@promise
def typing_ends_by_itself_at_the_other_gateways(nodes):
    with room_of(nodes) as room:
        room.clients[0].send(op="typing", conversation=room.name, on=True)
        for other in room.clients[1:]:
            other.wait("typing", on=True)
        for other in room.clients[1:]:
            other.wait("typing", on=False)


@promise
def receipts_and_unread_counts_cross_gateways(nodes):
    with room_of(nodes) as room:
        alice, bob, _ = room.clients
        for n in range(5):
            alice.post(room.name, f"{n}")
        bob.send(op="received", conversation=room.name, seq=5)
        bob.send(op="read", conversation=room.name, seq=3)
        known = {}
        while (known.get("received"), known.get("read")) != (5, 3):
            receipt = alice.wait("receipt", conversation=room.name)
            assert receipt["user"] == bob.user
            known |= {name: receipt[name] for name in ("received", "read") if name in receipt}
        for node in nodes.everyone:
            entry = lambda: node.http("GET", f"/v1/users/{bob.user}/conversations").json["conversations"][0]
            eventually(lambda: (entry()["head"], entry()["read"], entry()["unread"]) == (5, 3, 2))


@promise
def presence_is_seen_from_every_gateway(nodes):
    user = unique("alice")
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(Client(gateway, unique("bob"))) for gateway in nodes.gateways]
        for watcher in watchers:
            watcher.send(op="watch", users=[user])
            assert watcher.wait("presence", PRESENCE_WITHIN, user=user)["online"] is False
        with Client(nodes.gateways[0], user) as phone:
            for watcher in watchers:
                assert watcher.wait("presence", PRESENCE_WITHIN, user=user)["online"] is True
            with Client(nodes.gateways[1], user) as laptop:
                laptop.settled()
            phone.settled()
            for node in nodes.everyone:
                assert node.http("GET", f"/v1/users/{user}/presence").json["online"] is True, "one of two devices closed"
        for watcher in watchers:
            assert watcher.wait("presence", PRESENCE_WITHIN, user=user)["online"] is False
        assert not any(node.http("GET", f"/v1/users/{user}/presence").json["online"] for node in nodes.everyone)


@promise
def history_and_sync_are_the_same_through_every_gateway(nodes):
    with room_of(nodes) as room:
        for n in range(30):
            assert room.clients[n % 3].post(room.name, f"{n}")["seq"] == n + 1
        queries = [{}, {"limit": 5}, {"before": 11, "limit": 5}, {"after": 10, "limit": 5}, {"around": 15, "limit": 7}, {"since": 0, "limit": 5}]
        for query in queries:
            pages = [client.request("history", conversation=room.name, **query) for client in room.clients]
            pages += [node.messages(room.name, token(room.users[0]), **query) for node in nodes.everyone]
            told = [{name: page[name] for name in ("events", "head", "more")} for page in pages]
            assert all(page == told[0] for page in told), query
            assert told[0]["head"] == 30 and told[0]["events"]
        for client in room.clients:
            client.send(op="sync", ref=7, cursors=[[room.name, 25]])
            page = client.wait("page", ref=7)
            assert [event["seq"] for event in page["events"]] == list(range(26, 31))
            client.wait("synced", ref=7)


@promise
def a_ticket_and_cursors_of_one_gateway_are_good_at_the_others(nodes):
    with room_of(nodes, device="phone") as room:
        alice, bob, carol = room.clients
        ticket = alice.welcome["resume"]
        for n in range(3):
            bob.post(room.name, f"{n}")
        alice.drop()
        for n in range(3, 6):
            carol.post(room.name, f"{n}")
        for gateway in nodes.gateways[1:]:
            with Client(gateway, None, device="phone", resume=ticket, cursors=[[room.name, 2]]) as again:
                assert again.welcome["user"] == alice.user
                assert [event["seq"] for event in again.events(room.name, 4)] == [3, 4, 5, 6]
        half = len(ticket) // 2
        altered = ticket[:half] + ("A" if ticket[half] != "A" else "B") + ticket[half + 1:]
        for device, bad in (("phone", altered), ("tablet", ticket)):
            with Client(nodes.gateways[2], None, hello=False) as client:
                client.send(op="hello", device=device, resume=bad)
                assert client.closed().code == 4401


@promise
def a_ticket_ends_with_its_token_at_every_gateway(nodes):
    with Client(nodes.gateways[0], unique("alice"), device="d", ttl=2) as short:
        ending = short.welcome["resume"]
        assert short.closed(timeout=15).code == 4401
    for gateway in nodes.gateways:
        with Client(gateway, None, hello=False) as late:
            late.send(op="hello", device="d", resume=ending)
            assert late.closed().code == 4401


@promise
def the_same_device_at_another_gateway_closes_the_older_with_4409(nodes):
    user = unique("alice")
    with Client(nodes.gateways[0], user, device="phone") as older, Client(nodes.gateways[0], user, device="tablet") as other:
        with Client(nodes.gateways[1], user, device="phone") as newer:
            assert older.closed().code == 4409
            with Client(nodes.gateways[2], user, device="phone") as newest:
                assert newer.closed().code == 4409
                newest.settled()
            other.settled()


@promise
def whoever_joins_or_leaves_through_one_gateway_does_so_at_all(nodes):
    with room_of(nodes) as room:
        late = unique("dave")
        with Client(nodes.gateways[1], late) as dave:
            assert nodes.gateways[2].http("POST", f"/v1/conversations/{room.name}/members", {"user": late}).status in (200, 201)
            assert dave.wait("event", type="joined")["user"] == late
            for client in room.clients:
                client.wait("event", type="joined")
            assert room.clients[0].post(room.name, "welcome")["op"] == "ack"
            assert dave.wait("event", type="message")["body"] == "welcome"
            assert dave.post(room.name, "hello")["op"] == "ack"
            assert nodes.gateways[0].http("DELETE", f"/v1/conversations/{room.name}/members/{late}").status == 200
            for client in room.clients:
                assert client.wait("event", type="left")["user"] == late
            room.clients[1].post(room.name, "now that dave is gone")
            room.clients[2].wait("event", body="now that dave is gone")
            assert dave.post(room.name, "x")["code"] == "not_found"
            assert "now that dave is gone" not in [frame.get("body") for frame in dave.frames]


@promise
def a_conversation_is_live_everywhere_as_soon_as_it_is_made(nodes):
    users = [unique("new") for _ in nodes.gateways]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway, user)) for gateway, user in zip(nodes.gateways, users)]
        for maker in nodes.everyone:
            name = maker.conversation(unique("made"), users)
            body = {"id": "1", "body": "first"}
            assert nodes.gateways[1].http("POST", f"/v1/conversations/{name}/messages", body).json["seq"] == 1
            for client in clients:
                assert client.wait("event", conversation=name)["body"] == "first"


@promise
def the_http_api_is_the_same_at_every_node(nodes):
    with room_of(nodes) as room:
        for place, node in enumerate(nodes.everyone):
            assert node.http("GET", "/healthz", credential=None).status == 200
            assert node.http("GET", "/readyz", credential=None).status == 200
            assert node.http("GET", "/v1/users/alice/presence", credential="wrong-key").status == 401
            assert node.http("PATCH", f"/v1/conversations/{room.name}", {"title": f"title {place}"}).status == 200
            sent = node.http("POST", f"/v1/conversations/{room.name}/messages", {"id": f"{place}", "body": "x"}, token(room.users[0]))
            assert (sent.status, sent.json["op"]) == (200, "ack")
            paths = ["", "/members", "/messages"]
            told = [[other.http("GET", f"/v1/conversations/{room.name}{path}").json for path in paths] for other in nodes.everyone]
            assert all(one == told[0] for one in told) and told[0][0]["title"] == f"title {place}"
            lists = [other.http("GET", f"/v1/users/{room.users[1]}/conversations").json for other in nodes.everyone]
            assert all(one["conversations"] == lists[0]["conversations"] for one in lists)
        retried = nodes.everyone[0].http("POST", "/v1/conversations", {"conversation": room.name, "kind": "group", "members": room.users})
        assert retried.status in (200, 409), retried
