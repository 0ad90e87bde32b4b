"""A slow reader loses nothing, holds nobody up, and costs no memory (PROTOCOL, section 3, promise 5)."""

import json
import pathlib
import socket

from murmuring import Client, RawSocket, token

CONFIG = "[limits]\nsends_per_second = 1000000\nsends_burst = 1000000\nframes_per_second = 1000000\nframes_burst = 1000000\n"
BODY = "x" * 8000


def stalled(server, user, count):
    """Connections that say hello and then read nothing."""
    readers = []
    for n in range(count):
        raw = RawSocket.__new__(RawSocket)
        raw.server, raw.buffer = server, b""
        raw.socket = socket.socket()
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.socket.settimeout(30)
        host, port = server.client_address.rsplit(":", 1)
        raw.socket.connect((host, int(port)))
        assert raw.upgrade(credential=token(user))[0] == 101
        raw.write(raw.frame(1, json.dumps({"op": "hello", "device": f"slow-{n}"}).encode()))
        assert json.loads(raw.read_frame()[1])["op"] == "welcome"
        readers.append(raw)
    return readers


def flood(client, start, count):
    """Sends in windows, so that the sender's own answers are read."""
    for n in range(start, start + count):
        client.send(op="send", id=f"{n}", conversation="c", body=BODY)
        if n % 50 == 49:
            client.answer("id", f"{n}", timeout=30)
            client.frames.clear()


def test_a_reader_that_stops_misses_nothing_and_the_server_stays_flat(start):
    server = start(config=CONFIG)
    server.conversation("c", ["alice", "bob"])
    readers = stalled(server, "bob", 20)
    total = 4000
    with Client(server, "alice") as alice:
        flood(alice, 0, 1000)
        before = server.memory_kib()
        flood(alice, 1000, total - 1000)
        grown = server.memory_kib() - before
    # 24 MB more were sent to each of 20 readers.
    assert grown < 48 * 1024, f"{grown} KiB more after 20 x 24 MB"
    for raw in readers[:3]:
        expected = 1
        while expected <= total:
            opcode, payload = raw.read_frame()
            if opcode == 9:
                raw.write(raw.frame(10, payload))
                continue
            frame = json.loads(payload)
            assert frame["op"] == "event", frame
            assert frame["seq"] == expected
            expected += 1
    for raw in readers:
        raw.socket.close()


def unsent(server):
    """Bytes that the kernel holds for each connection of clients until they are taken (proc_net_tcp.rst, tx_queue)."""
    local = f":{int(server.client_address.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(local) and row[3] == "01"]


def test_the_kernel_holds_as_little_for_a_stalled_reader_as_the_server(start):
    server = start(config=CONFIG)
    server.conversation("c", ["alice", "bob"])
    readers = stalled(server, "bob", 3)
    with Client(server, "alice") as alice:
        flood(alice, 0, 800)
        held = unsent(server)
        assert len(held) == 4 and max(held) < 400_000, held
    for reader in readers:
        reader.socket.close()


def test_a_stalled_reader_holds_nobody_up(start):
    server = start(config=CONFIG)
    server.conversation("c", ["alice", "bob", "carol"])
    readers = stalled(server, "bob", 5)
    with Client(server, "carol") as carol, Client(server, "alice") as alice:
        flood(alice, 0, 500)
        events = carol.events("c", 500, timeout=30)
        assert [event["seq"] for event in events] == list(range(1, 501))
    for raw in readers:
        raw.socket.close()


def test_too_far_behind_is_told_and_sync_brings_it_all(start):
    server = start(config=CONFIG + "lag_events_max = 100\n")
    server.conversation("c", ["alice", "bob"])
    [raw] = stalled(server, "bob", 1)
    total = 1500
    with Client(server, "alice") as alice:
        flood(alice, 0, total)
    seen, lagging = [], None
    while not seen or seen[-1] < total:
        opcode, payload = raw.read_frame()
        if opcode == 9:
            raw.write(raw.frame(10, payload))
            continue
        frame = json.loads(payload)
        if frame["op"] == "lagging":
            assert frame["after"] == (seen[-1] if seen else 0)
            lagging = frame
            assert frame["head"] > frame["after"]
            if frame["head"] == total:
                break
            seen.append(frame["head"])
        elif frame["op"] == "event":
            assert frame["seq"] == (seen[-1] if seen else 0) + 1
            seen.append(frame["seq"])
    assert lagging, "1,500 events of 8 KB fit no socket buffer"
    raw.write(raw.frame(1, json.dumps({"op": "sync", "ref": 1, "cursors": [["c", lagging["after"]]], "limit": 200}).encode()))
    while True:
        opcode, payload = raw.read_frame()
        if opcode == 1 and json.loads(payload)["op"] == "page":
            break
    page = json.loads(payload)
    assert page["events"][0]["seq"] == lagging["after"] + 1
    raw.socket.close()


def test_a_sender_that_reads_no_answers_is_slowed_not_buffered(start):
    server = start(config=CONFIG)
    server.conversation("c", ["alice"])
    [raw] = stalled(server, "alice", 1)
    before = server.memory_kib()
    raw.socket.settimeout(1)
    sent = 0
    ping = raw.frame(1, json.dumps({"op": "history", "ref": 1, "conversation": "c"}).encode())
    try:
        for _ in range(20_000):
            raw.write(ping * 50)
            sent += 50
    except TimeoutError:
        pass
    assert server.memory_kib() - before < 48 * 1024, sent
    raw.socket.close()
    with Client(server, "alice") as alice:
        alice.settled()
