"""Traffic over many gateways while things break, and the proof that nothing of it was lost, doubled or reordered
(PROTOCOL, section 3). Senders and listeners reconnect at any other gateway with their ticket and cursors. What is
compared at the end is pure, in `history.py`."""

import collections
import itertools
import random
import threading
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from history import Fault, Hearing, Sending, faults
from murmuring import Client, Closed, unique

# Sends that wait for their ack, a sender.
WINDOW = 16
# Seconds in which a send on a live connection must be answered; a gateway gives up after 6.
ANSWER_WITHIN = 20
# Seconds in which everything must have come to rest at the end.
REST_WITHIN = 40
# What PROTOCOL, section 4, tells a client to reconnect after; 1006 is a connection that broke.
RECONNECT = {1000, 1001, 1006, 4408, 4503}
# Lines for the end of a run of the checks.
MEASURED = []
_numbers = itertools.count()


def tell(what, report):
    """Shows a measurement at the end of the run."""
    MEASURED.append(f"{what}: {report}")


class Roamer(threading.Thread):
    """One user on one device, connected to one gateway after another, who checks that it hears everything once."""

    def __init__(self, traffic, user, conversations, home, cursors=None):
        super().__init__(daemon=True, name=user)
        self.traffic, self.user, self.device = traffic, user, "device"
        self.gateway, self.ticket, self.not_before, self.failure = home, None, 0, None
        self.hearings = {name: Hearing(user, name, after) for name, after in (cursors or {}).items()}
        self.conversations = conversations
        self.random = random.Random(f"{traffic.seed} {user}")
        self.heard_at, self.longest_silence = {}, 0

    def run(self):
        try:
            while not self.traffic.over.is_set():
                self.visit()
                self.traffic.over.wait(max(0, self.not_before - time.monotonic()))
        except BaseException as failure:  # noqa: BLE001: `Traffic` raises it
            self.failure = failure

    def visit(self):
        """One connection, from its hello to its end."""
        client = None
        try:
            client = self.connect()
            self.begin(client)
            while not self.traffic.over.is_set():
                self.act(client)
                try:
                    frame = client.frames.pop(0) if client.frames else client.receive(timeout=self.rest())
                except TimeoutError:
                    continue
                if not self.take(frame):
                    break
        except Closed as closed:
            self.closed(closed)
        except InvalidStatus as refused:
            if refused.response.status_code == 401:
                raise Fault(f"{self.user}: {self.gateway.name} refused its credential") from None
            self.broken(f"upgrade {refused.response.status_code}")
        except (OSError, EOFError, ConnectionClosed, InvalidHandshake) as broken:
            self.broken(type(broken).__name__)
        finally:
            if client:
                client.close()
        self.elsewhere()

    def connect(self):
        """With the ticket when there is one, and from where this device was."""
        cursors = [[name, hearing.last] for name, hearing in self.hearings.items()]
        client = Client(self.gateway, None if self.ticket else self.user, device=self.device, hello=False)
        try:
            client.send(op="hello", device=self.device, cursors=cursors, **({"resume": self.ticket} if self.ticket else {}))
            self.welcome(client.receive())
        except BaseException:
            client.close()
            raise
        return client

    def welcome(self, frame):
        if frame["op"] == "error" and frame["code"] == "unavailable":
            raise EOFError("no welcome for now")
        if frame["op"] == "goaway":
            self.take(frame)
            raise EOFError("it drains")
        if frame["op"] != "welcome" or frame["user"] != self.user:
            raise Fault(f"{self.user} said hello to {self.gateway.name} and got {frame}")
        self.ticket = frame["resume"]
        self.traffic.counts["welcomes"] += 1
        heads = {entry["conversation"]: entry["head"] for entry in frame["conversations"]}
        if missing := set(self.conversations) - set(heads):
            raise Fault(f"{self.user}: the welcome of {self.gateway.name} lacks {sorted(missing)}")
        for name in self.conversations:
            hearing = self.hearings.setdefault(name, Hearing(self.user, name, heads[name]))
            if heads[name] < hearing.last:
                raise Fault(f"{self.user} heard seq {hearing.last} of {name}; {self.gateway.name} says its head is {heads[name]}")

    def begin(self, client):
        """After the welcome."""

    def act(self, client):
        """Before each frame that comes."""

    def rest(self):
        """Seconds to wait for a frame."""
        return 0.2

    def take(self, frame):
        """A frame; False ends the connection."""
        op = frame["op"]
        if op == "event":
            self.hear(frame)
        elif op == "goaway":
            self.traffic.counts["goaways"] += 1
            self.not_before = time.monotonic() + frame["reconnect_after_ms"] / 1000 * self.random.uniform(1, 1.2)
        elif op == "lagging":
            # Comes back with its cursors, which is as good as a sync.
            self.traffic.counts["lagging"] += 1
            if frame["after"] != self.hearings[frame["conversation"]].last:
                raise Fault(f"{self.user} heard up to {self.hearings[frame['conversation']].last}; it is told {frame}")
            return False
        elif op == "error":
            raise Fault(f"{self.user} at {self.gateway.name}: {frame}")
        return True

    def hear(self, event):
        name = event["conversation"]
        if name not in self.hearings:
            raise Fault(f"{self.user} is no member of {name}, and heard {event}")
        self.hearings[name].take(event)
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self.heard_at.get(name, now))
        self.heard_at[name] = now

    def closed(self, closed):
        self.traffic.counts[f"close {closed.code}"] += 1
        if closed.code not in RECONNECT:
            raise Fault(f"{self.user} at {self.gateway.name}: {closed}")

    def broken(self, why):
        self.traffic.counts[f"broken {why}"] += 1
        self.not_before = max(self.not_before, time.monotonic() + self.random.uniform(0.02, 0.1))

    def elsewhere(self):
        others = [gateway for gateway in self.traffic.gateways if gateway is not self.gateway]
        self.gateway = self.random.choice(others or [self.gateway])


class Sender(Roamer):
    """Sends numbered messages into one conversation at a steady rate, and each again under its id until it is acknowledged."""

    def __init__(self, traffic, user, conversation, home):
        super().__init__(traffic, user, [conversation], home)
        self.conversation, self.sending = conversation, Sending(user, conversation)
        self.sent_at, self.unanswered, self.again = {}, {}, []
        self.next_at = self.retry_at = 0.0
        self.is_idle = False

    def begin(self, client):
        """What is in doubt, and the last one that is not, go again: their ids make that harmless."""
        self.again = self.sending.last_acked() + self.sending.unacked()
        self.unanswered, self.retry_at = {}, 0.0

    def act(self, client):
        now = time.monotonic()
        if self.again:
            if not self.unanswered and now >= self.retry_at:
                again, self.again = self.again, []
                for id_ in again:
                    self.post(client, id_, now)
        elif not self.traffic.stops.is_set():
            while now >= self.next_at and len(self.unanswered) < WINDOW:
                self.next_at = max(self.next_at + 1 / self.traffic.rate, now - 0.1)
                id_ = self.sending.first(self.traffic.body)
                self.sent_at[id_] = now
                self.post(client, id_, now)
        self.is_idle = self.traffic.stops.is_set() and not self.again and not self.unanswered
        if self.unanswered and now - min(self.unanswered.values()) > ANSWER_WITHIN:
            late = min(self.unanswered, key=self.unanswered.get)
            raise Fault(f"{self.user}: {late} has no answer from {self.gateway.name} after {ANSWER_WITHIN} s on a live connection")

    def rest(self):
        return min(0.2, max(0.001, self.next_at - time.monotonic())) if not self.traffic.stops.is_set() else 0.05

    def post(self, client, id_, now):
        self.unanswered[id_] = now
        client.send(op="send", id=id_, conversation=self.conversation, body=self.sending.sent[id_])

    def take(self, frame):
        if frame["op"] == "ack":
            self.answered(frame["id"])
            if self.sending.ack(frame):
                now = time.monotonic()
                self.traffic.acked(self.conversation, now, now - self.sent_at[frame["id"]])
            else:
                self.traffic.counts["retries of what was acknowledged"] += 1
            return True
        if frame["op"] == "error" and frame.get("code") == "unavailable" and "id" in frame:
            self.answered(frame["id"])
            self.traffic.counts["unavailable"] += 1
            self.sending.refuse(frame["id"])
            # In their order: a window is answered in any.
            self.again = sorted([*self.again, frame["id"]], key=self.sending.number)
            self.retry_at = time.monotonic() + (frame.get("retry_after_ms") or 100) / 1000
            return True
        return super().take(frame)

    def answered(self, id_):
        if self.unanswered.pop(id_, None) is None:
            raise Fault(f"{self.user}: {id_} was answered twice by {self.gateway.name}, or never sent there")


Report = collections.namedtuple("Report", "acks rate p50 p99 slowest ack_pause delivery_pause counts")


class Traffic:
    """Senders at every gateway in several conversations, and at each gateway a listener of all of them from the beginning and
    one from wherever it came in. As a context it ends what it began."""

    def __init__(self, gateways, conversations=4, senders=2, rate=20, body="", seed=1, roam=None):
        self.gateways, self.rate, self.body, self.seed = list(roam or gateways), rate, body, seed
        self.stops, self.over = threading.Event(), threading.Event()
        self.counts, self.acks, self.lock = collections.Counter(), collections.defaultdict(list), threading.Lock()
        self.conversations = [f"t{next(_numbers)}" for _ in range(conversations)]
        homes = list(gateways)
        names = [unique("sender") for _ in range(senders * len(homes))]
        self.senders = [Sender(self, name, self.conversations[place % conversations], homes[place % len(homes)])
                        for place, name in enumerate(names)]
        zero = dict.fromkeys(self.conversations, 0)
        self.listeners = [Roamer(self, unique(word), self.conversations, home, cursors)
                          for home in homes for word, cursors in (("whole", zero), ("joiner", None))]
        for name in self.conversations:
            members = [sender.user for sender in self.senders if sender.conversation == name]
            homes[0].conversation(name, members + [listener.user for listener in self.listeners])

    @property
    def roamers(self):
        return self.senders + self.listeners

    def __enter__(self):
        for roamer in self.roamers:
            roamer.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for roamer in self.roamers:
            roamer.join(timeout=30)

    def acked(self, conversation, now, latency):
        with self.lock:
            self.acks[conversation].append((now, latency))

    def raise_failures(self):
        for roamer in self.roamers:
            if roamer.failure:
                raise roamer.failure

    def progress(self, count=5, patience=60):
        """Waits until each sender got so many acks more; says how long that took."""
        begin = time.monotonic()
        goals = {sender: len(sender.sending.acks) + count for sender in self.senders}
        while behind := [sender for sender, goal in goals.items() if len(sender.sending.acks) < goal]:
            self.raise_failures()
            if time.monotonic() - begin > patience:
                sender = behind[0]
                raise Fault(f"{sender.user} at {sender.gateway.name} came no further within {patience} s: {len(sender.sending.acks)} acks, "
                            f"{len(sender.unanswered)} unanswered, {len(sender.again)} to send again; {dict(self.counts)}")
            time.sleep(0.02)
        self.raise_failures()
        return time.monotonic() - begin

    def finish(self, nodes):
        """Lets everything come to rest, and checks it against the log as all of these nodes tell it."""
        self.stops.set()
        self.wait_for(lambda: all(sender.is_idle for sender in self.senders), self.what_is_unanswered)
        logs = {name: nodes[0].log_of(name) for name in self.conversations}
        self.wait_for(lambda: not self.behind(logs), lambda: f"heard too little: {self.behind(logs)}")
        self.over.set()
        for roamer in self.roamers:
            roamer.join(timeout=30)
        self.raise_failures()
        self.check(logs, nodes)
        return self.report()

    def wait_for(self, what, message):
        deadline = time.monotonic() + REST_WITHIN
        while not what():
            self.raise_failures()
            if time.monotonic() > deadline:
                raise Fault(f"no rest within {REST_WITHIN} s: {message()}; {dict(self.counts)}")
            time.sleep(0.02)

    def what_is_unanswered(self):
        return [(sender.user, sender.gateway.name, sender.sending.unacked()[:3]) for sender in self.senders if not sender.is_idle]

    def behind(self, logs):
        return [f"{roamer.user} at {roamer.gateway.name}: {name} up to {hearing.last} of {len(logs[name])}" for roamer in self.roamers
                for name, hearing in list(roamer.hearings.items()) if hearing.last < len(logs[name])]

    def check(self, logs, nodes):
        found = []
        for name, log in logs.items():
            sendings = [sender.sending for sender in self.senders if sender.conversation == name]
            hearings = [roamer.hearings[name] for roamer in self.roamers if name in roamer.hearings]
            found += faults(name, log, sendings, hearings)
            for node in nodes[1:]:
                page = node.messages(name, limit=200)
                if page["events"] != log[-200:] or page["head"] != len(log):
                    found.append(f"{name}: {node.name} tells another log than {nodes[0].name}")
        if found:
            raise Fault("\n".join(found[:20] + [f"{len(found)} faults in all; {dict(self.counts)}"]))

    def report(self):
        all_acks = sorted(ack for acks in self.acks.values() for ack in acks)
        latencies = sorted(latency for _, latency in all_acks)
        pause = lambda times: max((later - earlier for earlier, later in zip(times, times[1:])), default=0)
        return Report(
            acks=len(all_acks), rate=round(len(all_acks) / max(0.001, all_acks[-1][0] - all_acks[0][0])),
            p50=round(latencies[len(latencies) // 2], 4), p99=round(latencies[len(latencies) * 99 // 100], 4),
            slowest=round(latencies[-1], 3), ack_pause=round(max(pause(sorted(at for at, _ in acks)) for acks in self.acks.values()), 3),
            delivery_pause=round(max(roamer.longest_silence for roamer in self.roamers), 3), counts=self.counts)
