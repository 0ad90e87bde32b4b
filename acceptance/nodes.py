"""Clusters under test: router nodes, gateway nodes, and proxies between them. Each node is a process that a check can
kill, stop, freeze and start again by itself; clients and HTTP calls work with any of them as with a `Server`."""

import collections
import contextlib
import itertools
import re
import time

from murmuring import ENGINE, Client, Server, in_parallel, of_engine, unique
from proxy import Proxy, fixed_port

SECRET = "a secret of the acceptance checks' clusters, 32 bytes and more"
TICKETS = 'ticket_secret = "a secret of the acceptance checks\' tickets, 32 bytes and more"\n'
FAST = "[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n"
# Slots of a cluster: PROTOCOL's `murmuring cluster move SLOT NODE` takes numbers below it.
SLOTS = 4096
# Names in /metrics that checks read, and nowhere else.
LINK_ENVELOPES = "murmuring_link_envelopes_total"
LINK_ENDS = "murmuring_link_ends_total"
PUBLISH = "publish"

_names = itertools.count()


def until(what, patience=30, message="it took too long"):
    """Waits until it is true; says how long that took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < patience, message() if callable(message) else message
        time.sleep(0.03)
    return time.monotonic() - begin


def answers(server, path="/healthz"):
    """Whether a node answers this with 200."""
    try:
        return server.http("GET", path, credential=None).status == 200
    except OSError:
        return False


SAMPLE = re.compile(r"(\w+)(?:{(.*)})? (\S+)")


def metric(server, name, **labels):
    """The sum of a metric's samples with these labels; 0 without any."""
    total = 0.0
    for line in server.http("GET", "/metrics", credential=None).json.splitlines():
        if (sample := SAMPLE.fullmatch(line)) and sample[1] == name:
            its = dict(re.findall(r'(\w+)="([^"]*)"', sample[2] or ""))
            if all(its.get(label) == value for label, value in labels.items()):
                total += float(sample[3])
    return total


def slot_of(conversation):
    """The slot of a conversation of the default tenant, with an id of at most 7 bytes (XXH3 of 9 to 16 bytes)."""
    data = b"cdefault\0" + conversation.encode()
    assert 9 < len(data) <= 16, conversation
    secret = bytes.fromhex("7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e")
    word = lambda source, place: int.from_bytes(source[place:place + 8], "little")
    low = word(data, 0) ^ word(secret, 0) ^ word(secret, 8)
    high = word(data, len(data) - 8) ^ word(secret, 16) ^ word(secret, 24)
    product = low * high
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    mask = 2**64 - 1
    mixed = (len(data) + swapped + high + ((product & mask) ^ (product >> 64))) & mask
    mixed = (mixed ^ mixed >> 37) * 0x165667919E3779F9 & mask
    return (mixed ^ mixed >> 32) % SLOTS


class Node(Server):
    """One process of a cluster. `name` is what the cluster calls it."""

    def __init__(self, name, waits=True, **options):
        self.name, self.waits = name, waits
        super().__init__(**options)

    def start(self):
        self.launch()
        if self.waits:
            self.await_ready()

    def is_running(self):
        return self.process.poll() is None

    def close(self):
        if self.is_running():
            self.thaw()
        super().close()


class Router(Node):
    """Takes links at `link_address`, which stays the same; others are told the proxy's address where there is one."""

    def __init__(self, name, proxied=False, link_address=None, **options):
        self.link_address = link_address or f"127.0.0.1:{fixed_port()}"
        self.proxy = Proxy(self.link_address) if proxied else None
        self.told = self.proxy.address if proxied else self.link_address
        try:
            super().__init__(name, MURMURING_CLUSTER_ADVERTISE=self.told, **options)
        except BaseException:
            if self.proxy:
                self.proxy.close()
            raise

    def role(self):
        return "router", "--api-listen", "127.0.0.1:0", "--link-listen", self.link_address, "--node", self.name

    def close(self):
        super().close()
        if self.proxy:
            self.proxy.close()


class Whole(Router):
    """`serve` that takes links: a router and a gateway in one process."""

    def role(self):
        return *Server.role(self), "--link-listen", self.link_address, "--node", self.name


class Gateway(Node):
    def __init__(self, name, routers, **options):
        self.routers = list(routers)
        super().__init__(name, **options)

    def role(self):
        return ("gateway", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0",
                "--routers", ",".join(self.routers), "--node", self.name)


class Nodes:
    """A cluster: `routers` and `gateways` are its nodes. With `proxied`, a proxy stands in front of each router's links."""

    def __init__(self, routers=1, gateways=3, engine=None, shards=2, proxied=False, cluster=None, config="",
                 first=Router, **environment):
        assert engine in (None, "embedded", "foundationdb"), engine
        on_foundationdb = cluster is not None or engine == "foundationdb" or (engine is None and ENGINE == "foundationdb")
        assert on_foundationdb or routers == 1, "the embedded store has one router"
        self.store = of_engine(unique("nodes"), cluster) if on_foundationdb else {"MURMURING_STORE_ENGINE": "embedded"}
        self.config = TICKETS + (config or FAST)
        self.environment = {
            "MURMURING_CLUSTER_SECRET": SECRET,
            "MURMURING_CORE_SHARDS": str(shards),
            "MURMURING_CORE_PIN": "false",
            "MURMURING_DRAIN_SPREAD_MS": "300",
        } | environment
        self.shards, self.proxied = shards, proxied
        self.routers, self.gateways = [], []
        try:
            for place in range(routers):
                self.add_router(first if place == 0 else Router)
            in_parallel([self.add_gateway] * gateways)
            self.gateways.sort(key=lambda gateway: gateway.name)
        except BaseException:
            self.close()
            raise

    def add_router(self, kind=Router, **options):
        """A new router node, with the store of the others."""
        environment = self.environment | self.store
        router = kind(f"router-{next(_names)}", proxied=self.proxied, config=self.config, **(environment | options))
        self.routers.append(router)
        return router

    def add_gateway(self, routers=None, **options):
        """A new gateway node. With `waits=False` it may not be ready when this returns."""
        name = f"gateway-{next(_names):04}"
        options = self.environment | options
        gateway = Gateway(name, routers or [router.told for router in self.routers], config=self.config, **options)
        self.gateways.append(gateway)
        return gateway

    @property
    def everyone(self):
        return self.routers + self.gateways

    def running(self):
        return [node for node in self.everyone if node.is_running()]

    def is_whole(self):
        """Whether every node runs, every proxy forwards, and a message passes from each gateway to each."""
        proxies = [router.proxy for router in self.routers if router.proxy]
        if len(self.running()) < len(self.everyone) or not all(proxy.is_whole for proxy in proxies):
            return False
        with contextlib.suppress(Exception):
            return self.says_something()
        return False

    def says_something(self):
        with contextlib.ExitStack() as stack:
            user, name = unique("whole"), unique("whole")
            self.gateways[0].conversation(name, [user])
            clients = [stack.enter_context(Client(gateway, user)) for gateway in self.gateways]
            for client in clients:
                assert client.post(name, "whole")["op"] == "ack"
            return all(len(client.events(name, len(clients))) == len(clients) for client in clients)

    def one_of_routers(self):
        return next(router for router in self.routers if router.is_running())

    def status(self, node=None):
        """The cluster as this node's API tells it, once it can."""
        node, found = node or self.one_of_routers(), []

        def told():
            found.append(node.http("GET", "/v1/cluster"))
            return found[-1].status == 200

        until(told, patience=15, message=lambda: f"{node.name} does not tell its cluster: {found[-1]}")
        return found[-1].json

    def slots(self, node=None):
        """Slots by the name of the router node that has them; 0 for the others."""
        slots = collections.Counter()
        for entry in self.status(node)["nodes"]:
            slots[entry["name"]] += entry["slots"]
        return slots

    def drain(self, router):
        return self.change("drain", node=router.name)

    def undrain(self, router):
        return self.change("undrain", node=router.name)

    def move(self, slot, router):
        return self.change("move", slot=slot, node=router.name)

    def change(self, what, **body):
        answer = self.one_of_routers().http("POST", f"/v1/cluster/{what}", body)
        assert answer.status in (200, 202, 204), (what, body, answer)
        return answer

    def command(self, *words, node=None):
        """`murmuring cluster …` through the API of a router node."""
        node = node or self.one_of_routers()
        return node.run("cluster", *words, "--api-listen", node.api_address)

    def stop(self):
        """SIGTERM to every node, gateways first; each must end in order."""
        for node in self.gateways + self.routers:
            if node.is_running():
                assert (code := node.stop()) == 0, f"{node.name} ended with {code}: {node.stderr()[-2000:]}"

    def verify(self):
        """Ends the cluster in order, and reads its store."""
        self.stop()
        verified = self.routers[0].run("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr

    def close(self):
        for node in self.everyone:
            node.close()


class Door:
    """A way to a server through a proxy, for checks of the checks: as good as a gateway node of its own."""

    def __init__(self, server):
        self.server, self.name = server, unique("door")
        self.proxy = Proxy(server.client_address)
        self.url = f"ws://{self.proxy.address}/v1/connect"
        self.client_address = self.proxy.address

    def __getattr__(self, name):
        return getattr(self.server, name)

    def close(self):
        self.proxy.close()
