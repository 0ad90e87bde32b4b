"""Several routers on one FoundationDB cluster, and three gateways: slots move when a router dies, is parted from the others, is frozen
or drained, and nothing is lost, doubled or reordered (PROTOCOL, section 3)."""

import contextlib
import json
import os
import time

import pytest

from cluster import Cluster
from murmuring import Client, Refused, Server, unique
from nodes import SLOTS, Nodes, slot_of, until
from promises import PROMISES, presence_is_seen_from_every_gateway
from traffic import Traffic, tell

pytestmark = pytest.mark.foundationdb

# By hand: 50.
ROUNDS = int(os.environ.get("MURMURING_ACCEPTANCE_ROUNDS", 5))
# Seconds from the death of a router until others have its slots and everything flows again.
MOVED_WITHIN = 5
LEASE_MS = 2000


@pytest.fixture(scope="module")
def store():
    with contextlib.closing(Cluster()) as one:
        yield one


@pytest.fixture(scope="module")
def kept():
    """The cluster that the checks of this file share for as long as it is whole."""
    clusters = []
    yield clusters
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def nodes(kept, store):
    """Three routers, all of which have slots, and three gateways."""
    if not (kept and kept[-1].is_whole()):
        while kept:
            kept.pop().close()
        kept.append(Nodes(routers=3, proxied=True, cluster=store, MURMURING_CLUSTER_LEASE_MS=str(LEASE_MS)))
    until(lambda: is_even(kept[-1]), message=lambda: f"no fair share for everybody: {kept[-1].status()}")
    return kept[-1]


def is_even(nodes):
    """Whether every slot has an owner, and every router node a fair share."""
    status = nodes.status()
    slots = [entry["slots"] for entry in status["nodes"] if not entry["draining"]]
    return status["unowned"] == 0 and sum(slots) == SLOTS and len(slots) == len(nodes.routers) and min(slots) > SLOTS / len(slots) / 2


def comes_back(nodes, router):
    """A router that may have ended when it was deposed runs again, and has slots."""
    if not router.is_running():
        router.start()
    until(lambda: is_even(nodes), message=lambda: f"{router.name} has no share: {nodes.status()}")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_across_gateways_and_routers(nodes, promise):
    promise(nodes)


def test_the_status_tells_every_router_in_json_and_for_people(nodes):
    told = nodes.command("status", "--json")
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert status["epoch"] > 0 and status["unowned"] == 0
    entries = {entry["name"]: entry for entry in status["nodes"]}
    assert entries.keys() == {router.name for router in nodes.routers}
    assert sum(entry["slots"] for entry in entries.values()) == SLOTS
    for router in nodes.routers:
        entry = entries[router.name]
        assert (entry["address"], entry["cores"], entry["draining"]) == (router.told, nodes.shards, False)
    assert len({entry["number"] for entry in entries.values()}) == 3
    table = nodes.command("status")
    assert table.returncode == 0 and all(router.name in table.stdout for router in nodes.routers), table
    for router in nodes.routers:
        assert nodes.status(router)["nodes"] == status["nodes"], "each tells the same"
    for credential in (None, "wrong-key"):
        assert nodes.routers[0].http("GET", "/v1/cluster", credential=credential).status == 401
        assert nodes.routers[0].http("POST", "/v1/cluster/drain", {"node": nodes.routers[1].name}, credential=credential).status == 401


@pytest.mark.parametrize("words", [("drain", "nobody"), ("undrain", "nobody"), ("move", "5", "nobody"), ("move", str(SLOTS), None),
                                   ("move", "-1", None), ("move", "5", None, "--core", "99")])
def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing(nodes, words):
    before = nodes.status()
    refused = nodes.command(*[nodes.routers[0].name if word is None else word for word in words])
    assert refused.returncode in (1, 2) and refused.stderr, refused
    assert nodes.status() == before


def test_a_router_is_killed_and_its_slots_move(nodes):
    dead = nodes.routers[1]
    with Traffic(nodes.gateways, conversations=8, senders=3) as traffic:
        traffic.progress()
        begin = time.monotonic()
        dead.kill()
        traffic.progress(3)
        on = time.monotonic() - begin
        until(lambda: nodes.slots()[dead.name] == 0 and nodes.status()["unowned"] == 0, patience=MOVED_WITHIN)
        traffic.progress(10)
        presence_is_seen_from_every_gateway(Running(nodes))
        dead.start()
        comes_back(nodes, dead)
        traffic.progress(10)
        report = traffic.finish(nodes.everyone)
    tell(f"kill -9 of one of three routers, every sender on after {on:.2f} s", report)
    assert report.ack_pause <= MOVED_WITHIN, report
    assert "unavailable" not in report.counts, f"what is asked waits for the new owner: {report}"


class Running:
    """A cluster without those of its nodes that do not run."""

    def __init__(self, nodes):
        self.gateways, self.everyone = nodes.gateways, nodes.running()


def test_what_was_known_before_is_known_after_slots_moved(nodes):
    """Client ids, members, roles, reads, watches and interest, of many slots, over the death of their owner."""
    names = [unique("kept") for _ in range(24)]
    alice, bob, carol = (unique(name) for name in ("alice", "bob", "carol"))
    for name in names:
        nodes.gateways[0].conversation(name, [alice, {"user": bob, "role": "moderator"}, {"user": carol, "role": "reader"}], title=name)
    with contextlib.ExitStack() as stack:
        here, there, reader = (stack.enter_context(Client(gateway, user)) for gateway, user in zip(nodes.gateways, (alice, bob, carol)))
        there.send(op="watch", users=[f"{carol}-{n}" for n in range(20)])
        for n in range(20):
            there.wait("presence", user=f"{carol}-{n}")
        acks = {name: here.post(name, "before", id="m")["seq"] for name in names}
        dead = nodes.routers[2]
        dead.kill()
        for name in names:
            again = here.post(name, "before", id="m")
            assert (again["op"], again["seq"], again["duplicate"]) == ("ack", acks[name], True), again
            assert there.post(name, "after")["seq"] == 2
            assert reader.post(name, "x")["code"] == "forbidden"
        for client in (here, there, reader):
            for name in names:
                assert [event["body"] for event in client.events(name, 2)] == ["before", "after"]
        for n in range(20):
            with Client(nodes.gateways[n % 3], f"{carol}-{n}") as watched:
                watched.settled()
                assert there.wait("presence", user=f"{carol}-{n}", timeout=15)["online"] is True
        for node in nodes.running():
            assert all(node.http("GET", f"/v1/conversations/{name}").json["title"] == name for name in names)
        dead.start()
        comes_back(nodes, dead)
        for name in names:
            assert here.post(name, "back")["seq"] == 3
            assert [client.wait("event", conversation=name)["seq"] for client in (here, there, reader)] == [3, 3, 3]


@pytest.mark.parametrize("way", ["cut", "stall"])
def test_a_router_parted_from_everybody_but_the_store_keeps_its_slots_and_heals(nodes, way):
    """Shorter than the patience: a pause. Longer: its slots are `unavailable`, the others go on, and the return heals everything."""
    proxy = nodes.routers[0].proxy
    part, join = {"cut": (proxy.cut, proxy.mend), "stall": (proxy.stall, proxy.unstall)}[way]
    with Traffic(nodes.gateways, conversations=8, senders=3) as traffic:
        traffic.progress()
        owned = nodes.slots(nodes.routers[1])[nodes.routers[0].name]
        for seconds in (1, 9):
            part()
            acks = sum(len(sender.sending.acks) for sender in traffic.senders)
            time.sleep(seconds)
            assert sum(len(sender.sending.acks) for sender in traffic.senders) > acks, "who is with the other routers goes on"
            join()
            traffic.progress(5)
        assert nodes.slots(nodes.routers[1])[nodes.routers[0].name] == owned, "it had the store all the time"
        report = traffic.finish(nodes.everyone)
    tell(f"links to one of three routers: {way} for 1 and 9 s", report)


def test_a_router_that_was_frozen_beyond_its_lease_is_deposed(nodes):
    frozen = nodes.routers[1]
    with Traffic(nodes.gateways, conversations=8, senders=3) as traffic:
        traffic.progress()
        frozen.freeze()
        begin = time.monotonic()
        until(lambda: nodes.slots(nodes.routers[0])[frozen.name] == 0, patience=MOVED_WITHIN + LEASE_MS / 1000)
        taken = time.monotonic() - begin
        traffic.progress(5)
        frozen.thaw()
        traffic.progress(10)
        # It may go on as a node that comes, or end, and say why.
        comes_back(nodes, frozen)
        traffic.progress(10)
        report = traffic.finish(nodes.everyone)
    tell(f"one of three routers frozen beyond its lease, its slots taken after {taken:.2f} s", report)
    assert report.ack_pause <= MOVED_WITHIN + LEASE_MS / 1000, report


def test_a_router_that_was_frozen_for_less_than_its_lease_keeps_its_slots(nodes):
    frozen = nodes.routers[1]
    with Traffic(nodes.gateways, conversations=8, senders=3) as traffic:
        traffic.progress()
        epoch = nodes.status()["epoch"]
        for _ in range(3):
            frozen.freeze()
            time.sleep(LEASE_MS / 1000 / 4)
            frozen.thaw()
            traffic.progress(5)
        assert nodes.status()["epoch"] == epoch, "nothing moved"
        report = traffic.finish(nodes.everyone)
    tell("one of three routers frozen for a quarter of its lease, three times", report)
    assert "unavailable" not in report.counts, report


def test_all_routers_are_killed_and_come_back(nodes):
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        for router in nodes.routers:
            router.kill()
        for router in nodes.routers:
            router.start()
        traffic.progress(10)
        report = traffic.finish(nodes.everyone)
    tell("kill -9 of all three routers", report)
    until(lambda: is_even(nodes))


def test_the_store_is_killed_and_comes_back(nodes, store):
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        for seconds in (0, 3 * LEASE_MS / 1000):
            store.kill()
            time.sleep(seconds)
            store.run()
            traffic.progress(10)
        report = traffic.finish(nodes.everyone)
    tell("kill -9 of the store, also for longer than the lease", report)
    assert all(router.is_running() for router in nodes.routers), "nobody ends for want of a store"
    until(lambda: is_even(nodes))


def test_slots_move_under_traffic_and_nobody_is_told(nodes):
    """Live moves: drain, undrain, and the slots of the very conversations that are spoken in, one a moment."""
    first, second, third = nodes.routers
    with Traffic(nodes.gateways, conversations=8, senders=3) as traffic:
        traffic.progress()
        assert nodes.command("drain", second.name).returncode == 0
        until(lambda: nodes.slots()[second.name] == 0, message=lambda: f"it is not empty: {nodes.status()}")
        assert [entry["name"] for entry in nodes.status()["nodes"] if entry["draining"]] == [second.name]
        traffic.progress()
        assert nodes.command("undrain", second.name).returncode == 0
        until(lambda: is_even(nodes))
        traffic.progress()
        for round_ in range(3):
            for place, conversation in enumerate(traffic.conversations):
                nodes.move(slot_of(conversation), nodes.routers[(place + round_) % 3])
                traffic.progress(2)
        moved = nodes.command("move", str(slot_of(traffic.conversations[0])), third.name, "--core", "1")
        assert moved.returncode == 0, moved
        traffic.progress()
        report = traffic.finish(nodes.everyone)
    tell("live moves: drain, undrain and 25 single slots", report)
    assert report.counts == {"welcomes": len(traffic.roamers)}, f"no error, no reconnect: {report}"
    assert report.ack_pause < 3, report


def test_a_drained_router_is_taken_out_and_another_put_in(nodes, store):
    old = nodes.routers[2]
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        nodes.drain(old)
        until(lambda: nodes.slots()[old.name] == 0)
        assert old.stop() == 0
        traffic.progress()
        nodes.routers.remove(old)
        old.close()
        # The gateways were not told of it: they learn of it from the others.
        nodes.add_router()
        until(lambda: is_even(nodes), message=lambda: f"no share for the new one: {nodes.status()}")
        traffic.progress(10)
        report = traffic.finish(nodes.everyone)
    tell("one router drained and replaced", report)
    assert report.counts == {"welcomes": len(traffic.roamers)}, f"no error, no reconnect: {report}"


def test_sigterm_of_a_router_hands_its_slots_over(nodes):
    leaving = nodes.routers[0]
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        assert leaving.stop() == 0
        traffic.progress(5)
        leaving.start()
        comes_back(nodes, leaving)
        traffic.progress(5)
        report = traffic.finish(nodes.everyone)
    tell("SIGTERM of one of three routers", report)
    assert "unavailable" not in report.counts and report.ack_pause < MOVED_WITHIN, report


def test_a_plain_server_is_refused_over_the_store_of_a_live_cluster(nodes, store):
    with Traffic(nodes.gateways, senders=1) as traffic:
        traffic.progress()
        with pytest.raises(Refused) as refused:
            Server(cluster=store, config=nodes.config, **nodes.store).close()
        assert refused.value.code in (1, 2) and "cluster" in refused.value.text, refused.value.text
        traffic.progress()
        report = traffic.finish(nodes.everyone)
    assert report.counts == {"welcomes": len(traffic.roamers)}, report


def test_rounds(store):
    """kill -9 of a router, of a gateway, and cuts of a router's links, again and again under traffic."""
    with contextlib.closing(Nodes(routers=2, proxied=True, cluster=store, MURMURING_CLUSTER_LEASE_MS="1000")) as nodes:
        with Traffic(nodes.gateways, rate=15) as traffic:
            for round_ in range(ROUNDS):
                traffic.progress(5)
                router, gateway = nodes.routers[round_ // 3 % 2], nodes.gateways[round_ // 3 % 3]
                if round_ % 3 == 0:
                    router.kill()
                    traffic.progress(2)
                    router.start()
                elif round_ % 3 == 1:
                    gateway.restart()
                else:
                    router.proxy.cut()
                    time.sleep(0.1)
                    router.proxy.mend()
            traffic.progress(5)
            report = traffic.finish(nodes.everyone)
        tell(f"{ROUNDS} rounds of kill -9 and cuts, two routers", report)
        nodes.verify()
