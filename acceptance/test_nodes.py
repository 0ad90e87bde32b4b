"""Three gateways and one router with the embedded store: what a single server promises holds across them, whatever of it dies, freezes
or is cut off (PROTOCOL, section 3)."""

import contextlib
import os
import socket
import threading
import time

import pytest

from murmuring import PATIENCE, Client, Refused, unique
from nodes import LINK_ENDS, LINK_ENVELOPES, PUBLISH, Nodes, Router, Whole, answers, metric, until
from promises import PROMISES
from proxy import parsed
from traffic import Traffic, tell

# By hand: 50.
ROUNDS = int(os.environ.get("MURMURING_ACCEPTANCE_ROUNDS", 5))
# Bytes that an acceptor says to whoever has not proved itself: a nonce in a frame.
CHALLENGE_BYTES_MAX = 256
OFFLINE_MS = 3000


@pytest.fixture(scope="module")
def kept():
    """The cluster that the checks of this file share for as long as it is whole."""
    clusters = []
    yield clusters
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def nodes(kept):
    if not (kept and kept[-1].is_whole()):
        while kept:
            kept.pop().close()
        kept.append(Nodes(proxied=True, MURMURING_LIMITS_OFFLINE_MS=str(OFFLINE_MS), MURMURING_LIMITS_HEARTBEAT_MS="1000"))
    return kept[-1]


@pytest.fixture
def cluster_of():
    """Clusters of a check's own: `cluster_of(gateways=1)`."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(contextlib.closing(Nodes(**options)))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_across_gateways(nodes, promise):
    promise(nodes)


def test_an_event_crosses_the_link_once_a_gateway_shard(nodes):
    users, name, count = [unique("crowd") for _ in range(16)], unique("crowded"), 20
    router, (first, second, _) = nodes.routers[0], nodes.gateways
    first.conversation(name, users)

    def crossings():
        """Out of the router, and into each gateway, once the numbers stand still: they are gathered once a second or so."""
        told, last = None, ()
        while told != last:
            last, told = told, (metric(router, LINK_ENVELOPES, direction="out", kind=PUBLISH),
                                *(metric(gateway, LINK_ENVELOPES, direction="in", kind=PUBLISH) for gateway in nodes.gateways))
            time.sleep(2.2)
        return told

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway, user)) for user in users for gateway in (first, second)]
        before = crossings()
        for n in range(count):
            assert clients[0].post(name, f"{n}")["op"] == "ack"
        for client in clients:
            assert len(client.events(name, count)) == count
        crossed, *arrived = (now - then for now, then in zip(crossings(), before))
    # The canaries of each node cross as well, one each ten seconds.
    canaries = 4
    assert sum(arrived) == crossed and arrived[2] <= canaries, (crossed, arrived, "a gateway without members hears nothing")
    for at_one in arrived[:2]:
        # 16 members at each gateway, spread over its shards: all of them at one shard is once in many thousand runs.
        assert min(abs(at_one - count * shards) for shards in range(1, nodes.shards + 1)) <= canaries, (crossed, arrived)


def test_cursors_cross_links_and_end_none(nodes):
    users, name = [unique("reader") for _ in range(6)], unique("read")
    nodes.gateways[0].conversation(name, users)
    ends = lambda: [metric(node, LINK_ENDS) for node in nodes.everyone]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(nodes.gateways[at % 3], user)) for at, user in enumerate(users)]
        time.sleep(2.2)
        before = ends()
        for seq in range(1, 6):
            assert clients[0].post(name, f"{seq}")["op"] == "ack"
            for client in clients:
                client.events(name, 1)
                client.send(op="read", conversation=name, seq=seq)
        # Counters are gathered once a second.
        time.sleep(2.2)
        assert ends() == before


def test_a_gateway_dies_and_its_clients_resume_elsewhere(nodes):
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        nodes.gateways[0].kill()
        traffic.progress(15)
        nodes.gateways[0].start()
        traffic.progress(15)
        report = traffic.finish(nodes.everyone)
    tell("kill -9 of one of three gateways", report)
    assert "unavailable" not in report.counts, report


def test_whoever_was_at_a_gateway_that_died_is_offline_after_the_silence(nodes):
    here, there = unique("alice"), unique("carol")
    with Client(nodes.gateways[1], unique("bob")) as bob, Client(nodes.gateways[2], there) as carol:
        alice = Client(nodes.gateways[0], here)
        carol_too = Client(nodes.gateways[0], there)
        bob.send(op="watch", users=[here, there])
        for user in (here, there):
            assert bob.wait("presence", user=user)["online"] is True
        nodes.gateways[0].kill()
        gone = bob.wait("presence", user=here, timeout=OFFLINE_MS / 1000 + 15)
        assert gone["online"] is False and gone["last_seen"] > 0
        carol.settled()
        for node in nodes.running():
            assert node.http("GET", f"/v1/users/{there}/presence").json["online"] is True, "carol is elsewhere, too"
        assert not [frame for frame in bob.frames if frame["op"] == "presence"]
        nodes.gateways[0].start()
        for dead in (alice, carol_too):
            dead.close()


def test_the_router_is_killed_and_comes_back_under_traffic(nodes):
    watched = unique("dave")
    with Traffic(nodes.gateways) as traffic, Client(nodes.gateways[0], unique("bob")) as bob:
        bob.send(op="watch", users=[watched])
        bob.wait("presence", user=watched)
        for _ in range(2):
            traffic.progress()
            nodes.routers[0].restart()
        traffic.progress(15)
        with Client(nodes.gateways[1], watched):
            assert bob.wait("presence", user=watched, online=True, timeout=15), "what was watched is watched still"
        report = traffic.finish(nodes.everyone)
    tell("kill -9 of the only router, twice", report)
    assert report.ack_pause < 6, report
    assert "unavailable" not in report.counts, f"what is asked waits for a router that comes back soon: {report}"


def test_the_router_drains_and_comes_back_under_traffic(nodes):
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        assert nodes.routers[0].stop() == 0
        nodes.routers[0].start()
        traffic.progress(15)
        report = traffic.finish(nodes.everyone)
    tell("SIGTERM of the only router", report)
    assert "unavailable" not in report.counts, report


def test_links_are_cut_and_stalled_under_traffic(nodes):
    proxy = nodes.routers[0].proxy
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        for break_, mend, seconds in [(proxy.cut, proxy.mend, 0), (proxy.cut, proxy.mend, 0.5), (proxy.stall, proxy.unstall, 0.7),
                                      (proxy.stall, proxy.unstall, 4)]:
            break_()
            time.sleep(seconds)
            mend()
            traffic.progress(5)
        report = traffic.finish(nodes.everyone)
    tell("links cut and stalled, for up to 4 s", report)
    assert report.ack_pause < 10, report


def test_a_router_that_stays_away_is_told_and_its_return_heals_everything(cluster_of):
    nodes = cluster_of(gateways=1, MURMURING_CLUSTER_PATIENCE_MS="1000")
    router, [gateway] = nodes.routers[0], nodes.gateways
    gateway.conversation("c", ["alice", "bob"])
    with Client(gateway, "alice") as alice, Client(gateway, "bob") as bob:
        assert alice.post("c", "before", id="before")["seq"] == 1
        router.kill()
        begin = time.monotonic()
        refused = alice.post("c", "meanwhile", id="meanwhile")
        assert (refused["op"], refused["code"]) == ("error", "unavailable"), refused
        assert 0.5 < time.monotonic() - begin < 4, "after the patience"

        def at_once():
            begin = time.monotonic()
            answers = [alice.post("c", "meanwhile", id="meanwhile"), alice.request("history", conversation="c")]
            assert all(answer["code"] == "unavailable" for answer in answers), answers
            return time.monotonic() - begin < 0.5

        until(at_once, patience=5)
        for client in (alice, bob):
            client.settled()
        refused = gateway.http("POST", "/v1/conversations/c/messages", {"id": "h", "body": "x"})
        assert (refused.status, refused.json["code"]) == (503, "unavailable")
        assert answers(gateway) and not answers(gateway, "/readyz")
        router.start()
        until(lambda: answers(gateway, "/readyz"))
        until(lambda: alice.post("c", "meanwhile", id="meanwhile")["op"] == "ack")
        assert [event["body"] for event in bob.events("c", 2)] == ["before", "meanwhile"]
    assert [event["id"] for event in gateway.log_of("c")] == ["before", "meanwhile"]
    nodes.verify()


class Stranger:
    """A TCP connection to a router's link port."""

    def __init__(self, router):
        self.socket = socket.create_connection(parsed(router.link_address), timeout=PATIENCE)
        self.heard = b""

    def say(self, data):
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def listen(self, seconds):
        """Hears for so long, or until the end; whether that came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not (data := self.socket.recv(65536)):
                    return True
                self.heard += data
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def close(self):
        self.socket.close()


GARBAGE = [b"", b"\0" * 64, b"\xff" * 64, os.urandom(64), os.urandom(100_000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
           b"\xff\xff\xff\x7f" + b"x" * 2000]


def test_whoever_proves_nothing_learns_nothing_and_is_let_go(nodes):
    router = nodes.routers[0]
    strangers = [Stranger(router) for _ in GARBAGE]
    for stranger, garbage in zip(strangers, GARBAGE):
        stranger.listen(0.2)
        stranger.say(garbage)
    ends = {}

    def wait_for(stranger, garbage):
        ends[garbage] = stranger.listen(25)

    threads = [threading.Thread(target=wait_for, args=pair) for pair in zip(strangers, GARBAGE)]
    for thread in threads:
        thread.start()
    # Nobody else is held up meanwhile.
    with Traffic(nodes.gateways, senders=1) as traffic:
        traffic.progress(5)
        assert "unavailable" not in traffic.finish(nodes.everyone).counts
    for thread in threads:
        thread.join()
    for stranger, garbage in zip(strangers, GARBAGE):
        assert ends[garbage], f"it was kept: {garbage[:16]}, and heard {stranger.heard[:64]}"
        assert len(stranger.heard) <= CHALLENGE_BYTES_MAX, (garbage[:16], stranger.heard)
        for name in [router.name, *(gateway.name for gateway in nodes.gateways)]:
            assert name.encode() not in stranger.heard
        stranger.close()
    said = [stranger.heard for stranger in strangers if stranger.heard]
    assert len(set(said)) == len(said), "no challenge is given twice"
    assert router.is_running()


class Eavesdropper(threading.Thread):
    """Takes one link, passes it on to a router, and remembers what the dialler said."""

    def __init__(self, router):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.router, self.heard = router, b""

    def run(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(parsed(self.router.link_address))
        threading.Thread(target=self.pass_on, args=(far, near, lambda data: None), daemon=True).start()
        self.pass_on(near, far, self.remember)

    def remember(self, data):
        self.heard += data

    def pass_on(self, source, sink, seen):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen(data)
                sink.sendall(data)


def test_a_proof_that_was_overheard_proves_nothing(nodes):
    router = nodes.routers[0]
    spy = Eavesdropper(router)
    spy.start()
    victim = nodes.add_gateway(routers=[spy.address], waits=False, MURMURING_CORE_SHARDS="1")
    nodes.gateways.remove(victim)
    try:
        until(lambda: len(spy.heard) > 100, message=lambda: f"the gateway said only {spy.heard}")
    finally:
        victim.close()
    stranger = Stranger(router)
    stranger.listen(0.3)
    stranger.say(spy.heard)
    assert stranger.listen(25), "it is let go"
    assert len(stranger.heard) <= CHALLENGE_BYTES_MAX, stranger.heard
    stranger.close()


def test_a_gateway_with_another_secret_never_becomes_ready(nodes):
    wrong = nodes.add_gateway(waits=False, MURMURING_CLUSTER_SECRET="another secret, which is 32 bytes long as well")
    nodes.gateways.remove(wrong)
    try:
        with Traffic(nodes.gateways, senders=1) as traffic:
            traffic.progress(40)
            traffic.finish(nodes.everyone)
        with pytest.raises((Refused, TimeoutError)):
            wrong.await_ready(patience=1)
        assert "secret" in wrong.stderr(), "whoever set it up is told why"
    finally:
        wrong.close()


@pytest.mark.parametrize("others", [True, False])
def test_a_name_without_an_address_is_waited_for(nodes, others):
    routers = ["no-such-host.invalid:8802", *(router.told for router in nodes.routers if others)]
    gateway = nodes.add_gateway(routers=routers, waits=False)
    nodes.gateways.remove(gateway)
    try:
        if others:
            gateway.await_ready()
            gateway.conversation(unique("named"), [unique("alice")])
        until(lambda: "no-such-host.invalid:8802" in gateway.stderr(), message=gateway.stderr)
        assert gateway.is_running()
    finally:
        gateway.close()


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_frozen_gateway_holds_nobody_up_and_catches_up(nodes, seconds):
    frozen, others = nodes.gateways[2], nodes.gateways[:2]
    flooder, reader, name, count, body = unique("alice"), unique("bob"), unique("flooded"), 1500, "x" * 8000
    others[0].conversation(name, [flooder, reader])
    with Client(frozen, reader) as bob, Traffic(others, rate=30) as traffic:
        traffic.progress()
        frozen.freeze()
        try:
            with Client(others[0], flooder) as alice:
                for n in range(count):
                    alice.send(op="send", id=f"{n}", conversation=name, body=body)
                    if n % 50 == 49:
                        assert alice.answer("id", f"{n}", timeout=10)["op"] == "ack"
                        alice.frames.clear()
            traffic.progress(int(30 * (1 + seconds)))
            report = traffic.finish(others + nodes.routers)
        finally:
            frozen.thaw()
        tell(f"one of three gateways frozen for {1 + seconds} s, 12 MB on their way to it", report)
        assert report.ack_pause < 1.5 and report.delivery_pause < 1.5, report
        assert report.counts == {"welcomes": len(traffic.roamers)}, report
        assert [event["seq"] for event in caught_up(bob, frozen, name, count)] == list(range(1, count + 1))
        assert others[1].http("POST", f"/v1/conversations/{name}/messages", {"id": "live", "body": "again"}).status == 200
        assert bob.wait("event", seq=count + 1)["body"] == "again"


def caught_up(client, gateway, name, count):
    """What this connection is sent, with what it is told to sync."""
    events = []
    while len(events) < count:
        frame = client.frames.pop(0) if client.frames else client.receive(timeout=30)
        if frame["op"] == "event":
            events.append(frame)
        elif frame["op"] == "lagging":
            assert frame["after"] == len(events)
            while len(events) < frame["head"]:
                page = gateway.messages(name, after=len(events), limit=200)
                events += page["events"][:frame["head"] - len(events)]
    return events


def test_a_gateway_drains_under_traffic(nodes):
    with Traffic(nodes.gateways) as traffic:
        traffic.progress()
        assert nodes.gateways[1].stop() == 0
        traffic.progress()
        nodes.gateways[1].start()
        traffic.progress()
        report = traffic.finish(nodes.everyone)
    tell("SIGTERM of one of three gateways", report)
    assert report.counts["goaways"] > 0 and report.counts["close 4503"] > 0, report
    assert "unavailable" not in report.counts, report


@pytest.mark.embedded
def test_a_second_router_on_the_same_embedded_store_is_refused(nodes):
    with pytest.raises(Refused) as refused:
        Router("second", data=nodes.routers[0].data, config=nodes.config, **(nodes.environment | nodes.store)).close()
    assert refused.value.code in (1, 2) and nodes.routers[0].data in refused.value.text
    assert nodes.routers[0].is_running()


def test_a_whole_server_takes_gateways_too(cluster_of):
    nodes = cluster_of(gateways=2, first=Whole)
    whole = nodes.routers[0]
    everywhere = [whole, *nodes.gateways]
    with Traffic(everywhere, senders=1) as traffic:
        traffic.progress()
        whole.restart()
        traffic.progress()
        nodes.gateways[0].restart()
        traffic.progress()
        report = traffic.finish(everywhere)
    tell("serve with two gateways, both killed", report)
    nodes.verify()


def test_rounds(cluster_of):
    """kill -9 of the router, of a gateway, and cuts of all links, again and again under traffic."""
    nodes = cluster_of(proxied=True)
    router = nodes.routers[0]

    def cut():
        router.proxy.cut()
        time.sleep(0.1)
        router.proxy.mend()

    with Traffic(nodes.gateways, rate=15) as traffic:
        for round_ in range(ROUNDS):
            traffic.progress(5)
            gateway = nodes.gateways[round_ // 3 % 3]
            [router.restart, gateway.restart, cut][round_ % 3]()
        traffic.progress(5)
        report = traffic.finish(nodes.everyone)
    tell(f"{ROUNDS} rounds of kill -9 and cuts, one router", report)
    nodes.verify()
