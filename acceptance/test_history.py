"""History in all four directions, over the socket and over HTTP (PROTOCOL, section 2)."""

import pytest

from murmuring import Client, token, unique

COUNT = 30


@pytest.fixture(scope="module")
def filled(server):
    class Filled:
        name, alice = unique("filled"), unique("alice")

    server.conversation(Filled.name, [Filled.alice])
    for n in range(1, COUNT + 1):
        body = {"id": str(n), "body": f"message {n}"}
        assert server.http("POST", f"/v1/conversations/{Filled.name}/messages", body).status == 200
    return Filled


def pages(server, filled, **query):
    """The same page over both ways."""
    with Client(server, filled.alice) as alice:
        page = alice.request("history", conversation=filled.name, **query)
    over_http = server.messages(filled.name, token(filled.alice), **query)
    for name in ("conversation", "events", "head", "more"):
        assert page[name] == over_http[name], name
    return page


@pytest.mark.parametrize("query, expected, more", [
    ({"limit": 5}, range(26, 31), True),
    ({}, range(1, 31), False),
    ({"before": 11, "limit": 5}, range(6, 11), True),
    ({"before": 6, "limit": 5}, range(1, 6), False),
    ({"before": 7, "limit": 5}, range(2, 7), True),
    ({"before": 1, "limit": 5}, range(0), False),
    ({"before": 1000, "limit": 5}, range(26, 31), True),
    ({"after": 0, "limit": 5}, range(1, 6), True),
    ({"after": 10, "limit": 5}, range(11, 16), True),
    ({"after": 25, "limit": 5}, range(26, 31), False),
    ({"after": 24, "limit": 5}, range(25, 30), True),
    ({"after": 30, "limit": 5}, range(0), False),
    ({"after": 1000, "limit": 5}, range(0), False),
    ({"since": 0, "limit": 5}, range(1, 6), True),
    ({"since": 2**50, "limit": 5}, range(0), False),
])
def test_a_page_holds_what_was_asked_for(server, filled, query, expected, more):
    page = pages(server, filled, **query)
    assert [event["seq"] for event in page["events"]] == list(expected)
    assert page["more"] is more and page["head"] == COUNT
    assert [event["body"] for event in page["events"]] == [f"message {n}" for n in expected]


@pytest.mark.parametrize("around", [1, 15, 30])
def test_around_holds_the_seq_and_both_sides(server, filled, around):
    seqs = [event["seq"] for event in pages(server, filled, around=around, limit=7)["events"]]
    assert around in seqs and len(seqs) <= 7
    assert seqs == list(range(seqs[0], seqs[-1] + 1))
    if around == 15:
        assert seqs[0] < around < seqs[-1] and len(seqs) == 7


def test_since_begins_at_the_first_event_of_that_time(server, filled):
    events = pages(server, filled, limit=200)["events"]
    for event in (events[0], events[12], events[-1]):
        found = pages(server, filled, since=event["time"], limit=1)["events"][0]
        first = next(candidate for candidate in events if candidate["time"] >= event["time"])
        assert found["seq"] == first["seq"]
        later = pages(server, filled, since=event["time"] + 1, limit=200)["events"]
        assert all(candidate["time"] > event["time"] for candidate in later)


@pytest.mark.parametrize("query", [
    {"limit": 0}, {"limit": 201}, {"limit": "x"}, {"limit": -1}, {"before": -1}, {"before": "x"}, {"after": 1.5},
    {"before": 2, "after": 1}, {"around": 2, "since": 1},
])
def test_a_bad_request_says_so(server, filled, query):
    with Client(server, filled.alice) as alice:
        answer = alice.request("history", conversation=filled.name, **query)
        assert (answer["op"], answer["code"]) == ("error", "bad_request")
    path = f"/v1/conversations/{filled.name}/messages?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = server.http("GET", path)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_an_empty_conversation_has_an_empty_page(server):
    name = server.conversation(unique("empty"), [unique("alice")])
    page = server.messages(name)
    assert (page["events"], page["head"], page["more"]) == ([], 0, False)


def test_the_default_page_has_50_events(start):
    server = start(config="[limits]\nsends_per_second = 100000\nsends_burst = 100000\n")
    server.conversation("c", ["alice"])
    with Client(server, "alice") as alice:
        for n in range(220):
            alice.send(op="send", id=f"{n}", conversation="c", body="x")
        alice.events("c", 220)
        assert [len(alice.request("history", conversation="c", **query)["events"])
                for query in ({}, {"limit": 200}, {"after": 0})] == [50, 200, 50]


def test_pages_reach_across_a_restart(start):
    server = start()
    server.conversation("c", ["alice"])
    with Client(server, "alice") as alice:
        sent = [alice.post("c", f"message {n}") for n in range(5)]
    before = server.log_of("c")
    server.restart()
    assert server.log_of("c") == before and len(before) == len(sent)
