"""kill -9 under traffic, again and again: every ack is found exactly once afterwards (PROTOCOL, section 3)."""

import threading
import time

import pytest

from murmuring import Client, Closed, Refused, Server

CONFIG = "[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n"
ROUNDS = 6


class Sender(threading.Thread):
    """Sends as fast as acks allow (a window of 32) until the server dies, and remembers every ack."""

    def __init__(self, server, name, conversation, round_):
        super().__init__()
        self.client = Client(server, name)
        self.conversation, self.round = conversation, round_
        self.acks, self.sent, self.failure = {}, 0, None

    def run(self):
        try:
            while True:
                while self.sent - len(self.acks) < 32:
                    body = f"{self.client.user} {self.round} {self.sent}"
                    self.client.send(op="send", id=f"r{self.round}-{self.sent}", conversation=self.conversation, body=body)
                    self.sent += 1
                frame = self.client.receive()
                if frame["op"] == "ack":
                    assert frame["duplicate"] is False
                    self.acks[frame["id"]] = frame["seq"]
        except (Closed, OSError, EOFError):
            pass
        except BaseException as failure:  # noqa: BLE001: the check raises it
            self.failure = failure


def test_every_ack_is_found_exactly_once_after_kill_9(start):
    server = start(config=CONFIG)
    conversations = ["c0", "c1"]
    users = [f"user-{n}" for n in range(4)]
    for conversation in conversations:
        server.conversation(conversation, users)
    acks = {conversation: {} for conversation in conversations}
    for round_ in range(ROUNDS):
        senders = [Sender(server, user, conversations[n % 2], round_) for n, user in enumerate(users)]
        for sender in senders:
            sender.start()
        time.sleep(0.2 + 0.13 * round_)
        server.kill()
        for sender in senders:
            sender.join(timeout=30)
            if sender.failure:
                raise sender.failure
            for id_, seq in sender.acks.items():
                acks[sender.conversation][sender.client.user, id_] = seq
        verified = server.run("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        server.start()
        for conversation in conversations:
            check_log(server, conversation, acks[conversation])
    assert sum(map(len, acks.values())) > ROUNDS * 20, "there was traffic"
    retries_are_duplicates(server, acks)
    assert server.stop() == 0
    assert server.run("verify").returncode == 0


def check_log(server, conversation, acks):
    log = server.log_of(conversation)
    found = {(event["sender"], event["id"]): event["seq"] for event in log}
    assert len(found) == len(log), "an id is stored twice"
    for key, seq in acks.items():
        assert found.get(key) == seq, f"acknowledged, and now lost or moved: {key}"


def retries_are_duplicates(server, acks):
    for conversation, known in acks.items():
        user = next(iter(known))[0]
        with Client(server, user) as client:
            for (sender, id_), seq in list(known.items())[-5:]:
                if sender == user:
                    body = f"{user} {id_[1:].replace('-', ' ')}"
                    again = client.post(conversation, body, id=id_)
                    assert (again["seq"], again["duplicate"]) == (seq, True)


def test_members_roles_and_reads_survive_kill_9(start):
    server = start()
    server.conversation("c", ["alice", {"user": "bob", "role": "moderator"}], title="A title")
    with Client(server, "alice") as alice:
        alice.post("c", "one")
        alice.post("c", "two")
        alice.send(op="read", conversation="c", seq=2)
        alice.settled()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            entry = server.http("GET", "/v1/users/alice/conversations").json["conversations"][0]
            if entry["read"] == 2:
                break
            time.sleep(0.05)
        assert entry["read"] == 2
    before = [server.http("GET", path).json for path in PATHS]
    server.restart()
    assert [server.http("GET", path).json for path in PATHS] == before
    assert server.http("GET", "/v1/conversations/c").json["title"] == "A title"


PATHS = ["/v1/conversations/c", "/v1/conversations/c/members", "/v1/users/alice/conversations", "/v1/users/bob/conversations"]


def test_sockets_come_back_by_ticket_and_cursor_after_a_crash(start):
    server = start()
    server.conversation("c", ["alice", "bob"])
    with Client(server, "bob", device="phone") as bob, Client(server, "alice") as alice:
        for n in range(5):
            alice.post("c", f"{n}")
        assert len(bob.events("c", 5)) == 5
        ticket = bob.welcome["resume"]
    server.restart()
    with Client(server, "alice") as alice:
        alice.post("c", "after the crash")
    with Client(server, None, hello=False) as bob:
        bob.send(op="hello", device="phone", resume=ticket, cursors=[["c", 5]])
        assert bob.wait("event")["body"] == "after the crash"


@pytest.mark.embedded
def test_a_second_server_on_the_same_data_is_refused(start):
    server = start()
    with pytest.raises(Refused) as refused:
        Server(data=server.data)
    assert refused.value.code in (1, 2) and server.data in refused.value.text
    assert server.http("GET", "/healthz").status == 200
