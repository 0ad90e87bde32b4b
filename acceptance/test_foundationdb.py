"""A node on FoundationDB: a cluster that is away, killed, shared or migrated from and to loses, doubles and hides nothing."""

import subprocess
import threading
import time

import pytest

from cluster import Cluster, free_port
from murmuring import PATIENCE, Client, Closed, Refused, Server, environment

pytestmark = pytest.mark.foundationdb

FAST = "[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n"
ROUNDS = 10


@pytest.fixture
def cluster():
    one = Cluster()
    yield one
    one.close()


def until(what, patience=30):
    """Waits for it; says how long that took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < patience, "it took too long"
        time.sleep(0.05)
    return time.monotonic() - begin


def ready(server):
    return server.http("GET", "/readyz", credential=None).status == 200


class Waiting(Server):
    """A server that may have to wait for its store: nothing is read from its stdout."""

    def start(self):
        self.log = open(f"{self.directory.name}/stderr", "a+")
        self.api_address = f"127.0.0.1:{free_port()}"
        command = self.command("serve", "--listen", "127.0.0.1:0", "--api-listen", self.api_address)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment(**self.environment))


def test_a_cluster_that_is_away_at_the_start_is_waited_for():
    cluster = Cluster(run=False)
    server = Waiting(cluster=cluster)
    try:
        def answers():
            try:
                return server.http("GET", "/healthz", credential=None).status == 200
            except OSError:
                return False

        until(answers)
        not_ready = server.http("GET", "/readyz", credential=None)
        assert not_ready.status == 503 and "store" in not_ready.json["reason"]
        refused = server.http("POST", "/v1/conversations", {"conversation": "c", "kind": "group"})
        assert refused.status == 503 and refused.json["code"] == "unavailable", refused
        until(lambda: "does not answer" in server.stderr())
        assert cluster.file in server.stderr()
        cluster.run()
        assert server.process.stdout.readline().startswith("ready ")
        until(lambda: ready(server))
        server.conversation("c", ["alice"])
        assert server.stop() == 0
    finally:
        server.close()
        cluster.close()


def test_a_wait_for_a_cluster_ends_with_a_signal():
    cluster = Cluster(run=False)
    server = Waiting(cluster=cluster)
    try:
        until(lambda: "does not answer" in server.stderr())
        server.process.terminate()
        assert server.process.wait(timeout=PATIENCE) == 1
        assert "a signal came" in server.stderr()
    finally:
        server.close()
        cluster.close()


def test_while_the_cluster_is_away_connections_stay_and_sends_are_unavailable_at_once(cluster, start):
    server = start(cluster=cluster, config=FAST)
    server.conversation("c", ["alice", "bob"])
    with Client(server, "alice") as alice, Client(server, "bob") as bob:
        assert alice.post("c", "before")["seq"] == 1
        under_way = [f"u{n}" for n in range(2_000)]
        for id_ in under_way:
            alice.send(op="send", id=id_, conversation="c", body=id_)
        cluster.kill()
        begin = time.monotonic()
        answers = {id_: alice.answer("id", id_) for id_ in under_way}
        assert time.monotonic() - begin < 8, "what was under way is told soon"
        acks = {id_: answer["seq"] for id_, answer in answers.items() if answer["op"] == "ack"}
        assert len(acks) < 2_000, "commits were under way"

        def refused():
            answer = alice.post("c", "meanwhile", id="meanwhile")
            return answer["op"] == "error" and answer["code"] == "unavailable"

        for _ in range(14):
            begin = time.monotonic()
            assert refused()
            assert time.monotonic() - begin < 0.5, "at once"
            time.sleep(0.5)
        until(lambda: not ready(server))
        away = 'murmuring_store_state{state="away"} 1'
        until(lambda: away in server.http("GET", "/metrics", credential=None).json)
        bob.settled()
        cluster.run()
        until(lambda: ready(server))
        # A log in doubt is read first, which is tried twice a second.
        until(lambda: not refused(), patience=5)
        again = alice.post("c", "meanwhile", id="meanwhile")
        assert again["op"] == "ack" and again["duplicate"], again
        heard = bob.events("c", again["seq"])
        assert [event["seq"] for event in heard] == list(range(1, again["seq"] + 1))
        assert heard[-1]["body"] == "meanwhile"
        alice.settled()
        until(lambda: "the store is back" in server.stderr())
    log = server.log_of("c")
    assert [event["id"] for event in log] == [event["id"] for event in heard]
    assert len({event["id"] for event in log}) == len(log), "an id is stored twice"
    assert all(log[seq - 1]["id"] == id_ for id_, seq in acks.items()), "acknowledged, and now lost or moved"
    assert server.stop() == 0


class Persistent(threading.Thread):
    """Sends one message after another, each again under its id until it is acknowledged, over whatever dies."""

    def __init__(self, server, user, conversation):
        super().__init__(daemon=True)
        self.server, self.user, self.conversation = server, user, conversation
        self.acks, self.refused, self.failure = {}, 0, None
        self.ends = threading.Event()

    def run(self):
        try:
            while not self.ends.is_set():
                try:
                    with Client(self.server, self.user) as client:
                        self.send_on(client)
                except (Closed, OSError, EOFError, TimeoutError):
                    time.sleep(0.05)
        except BaseException as failure:  # noqa: BLE001: the check raises it
            self.failure = failure

    def send_on(self, client):
        while not self.ends.is_set():
            id_ = f"m{len(self.acks)}"
            answer = client.post(self.conversation, f"{self.user} {id_}", id=id_)
            if answer["op"] == "ack":
                self.acks[id_] = answer["seq"]
            else:
                assert answer["code"] == "unavailable", answer
                self.refused += 1
                time.sleep(0.01)


def test_ten_rounds_of_kill_9_of_either_side_lose_and_double_nothing(cluster, start):
    server = start(cluster=cluster, config=FAST)
    conversations = [f"c{n}" for n in range(4)]
    users = [f"user-{n}" for n in range(8)]
    for conversation in conversations:
        server.conversation(conversation, users)
    senders = [Persistent(server, user, conversations[n % 4]) for n, user in enumerate(users)]
    for sender in senders:
        sender.start()
    for round_ in range(ROUNDS):
        count = [len(sender.acks) for sender in senders]
        until(lambda: all(len(sender.acks) > before + 5 for sender, before in zip(senders, count)), patience=60)
        if round_ % 2:
            cluster.kill()
            time.sleep(0.4 * (round_ % 3))
            cluster.run()
        else:
            server.kill()
            server.start()
    count = [len(sender.acks) for sender in senders]
    until(lambda: all(len(sender.acks) > before + 5 for sender, before in zip(senders, count)), patience=60)
    for sender in senders:
        sender.ends.set()
    for sender in senders:
        sender.join(timeout=30)
        if sender.failure:
            raise sender.failure
    for n, conversation in enumerate(conversations):
        log = server.log_of(conversation)
        found = {(event["sender"], event["id"]): event["seq"] for event in log}
        assert len(found) == len(log), "an id is stored twice"
        for sender in senders[n::4]:
            for id_, seq in sender.acks.items():
                assert found.get((sender.user, id_)) == seq, f"acknowledged, and now lost or moved: {sender.user} {id_}"
    assert server.stop() == 0
    verified = server.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_next_server_on_a_cluster_deposes_the_last(cluster, start):
    first = start(cluster=cluster)
    first.conversation("c", ["alice"])
    with Client(first, "alice") as alice:
        assert alice.post("c", "by the first")["seq"] == 1
        second = start(cluster=cluster, data=first.data)
        refused = alice.post("c", "too late")
        assert refused["op"] == "error" and refused["code"] == "unavailable", refused
    with Client(second, "alice") as alice:
        assert alice.post("c", "by the second")["seq"] == 2
    assert [event["body"] for event in second.log_of("c")] == ["by the first", "by the second"]


def test_keys_of_somebody_else_are_not_touched(cluster):
    cluster.cli("writemode on; set theirs 1")
    server = None
    try:
        with pytest.raises(Refused) as refused:
            server = Server(cluster=cluster, MURMURING_STORE_KEY_PREFIX="")
        assert refused.value.code == 2 and "theirs" in refused.value.text and "key_prefix" in refused.value.text
    finally:
        if server:
            server.close()
    assert "is `1'" in cluster.cli("get theirs")


def fill(server, count):
    server.conversation("c", ["alice", {"user": "bob", "role": "moderator"}], title="A title")
    with Client(server, "alice") as alice:
        for first in range(0, count, 500):
            for n in range(first, first + 500):
                alice.send(op="send", id=f"m{n}", conversation="c", body=f"message {n} " + "x" * 500)
            for n in range(first, first + 500):
                assert alice.answer("id", f"m{n}")["seq"] == n + 1


def migrate(server, cluster, *words):
    settings = {"MURMURING_STORE_CLUSTER_FILE": cluster.file, "MURMURING_STORE_KEY_PREFIX": "moved/"}
    return [*server.command("migrate", *words)], environment(**settings)


def test_a_store_moves_to_a_cluster_and_back(cluster, start, tmp_path):
    server = start(config=FAST, MURMURING_STORE_ENGINE="embedded")
    fill(server, 20_000)
    before = [server.http("GET", path).json for path in PATHS], server.log_of("c")
    assert server.stop() == 0

    command, where = migrate(server, cluster, "--from", "embedded", "--to", "foundationdb")
    interrupted = subprocess.Popen(command, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: "is `" in cluster.cli("get moved/\\xfemigration"))
    interrupted.kill()
    interrupted.communicate()
    assert "is `" in cluster.cli("get moved/\\xfemigration"), "the interruption came too late"
    verified = subprocess.run([*server.command("verify"), "--engine", "foundationdb"], env=where, capture_output=True, text=True)
    assert verified.returncode == 1 and "migration" in verified.stderr, verified
    moved = subprocess.run(command, env=where, capture_output=True, text=True)
    assert moved.returncode == 0 and "copied, compared and whole" in moved.stdout, moved
    there = start(config=FAST, data=server.data, MURMURING_STORE_ENGINE="foundationdb",
                  MURMURING_STORE_CLUSTER_FILE=cluster.file, MURMURING_STORE_KEY_PREFIX="moved/")
    assert ([there.http("GET", path).json for path in PATHS], there.log_of("c")) == before
    with Client(there, "alice") as alice:
        assert alice.post("c", "again", id="m7")["code"] == "conflict", "its id was stored with another body"
        assert alice.post("c", "moved")["seq"] == 20_001
    assert there.stop() == 0

    occupied = subprocess.run(command, env=where, capture_output=True, text=True)
    assert occupied.returncode == 1 and "holds a store already" in occupied.stderr
    command, where = migrate(server, cluster, "--from", "foundationdb", "--to", "embedded")
    command[command.index("--data") + 1] = str(tmp_path / "back")
    back = subprocess.run(command, env=where, capture_output=True, text=True)
    assert back.returncode == 0 and "copied, compared and whole" in back.stdout, back
    here = start(config=FAST, data=str(tmp_path / "back"), MURMURING_STORE_ENGINE="embedded")
    assert here.log_of("c")[-1]["body"] == "moved"
    assert here.stop() == 0
    assert here.run("verify").returncode == 0


PATHS = ["/v1/conversations/c", "/v1/conversations/c/members", "/v1/users/alice/conversations", "/v1/users/bob/conversations"]


def test_an_unfinished_migration_is_no_store_to_serve_from(cluster, start):
    server = start(config=FAST, MURMURING_STORE_ENGINE="embedded")
    server.conversation("c", ["alice"])
    assert server.stop() == 0
    cluster.cli("writemode on; set moved/\\xfemigration 1")
    with pytest.raises(Refused) as refused:
        Server(cluster=cluster, MURMURING_STORE_KEY_PREFIX="moved/")
    assert refused.value.code == 1 and "migrate" in refused.value.text, refused.value.text
