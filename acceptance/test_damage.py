"""A damaged store is refused, and says what is wrong; a full disk loses nothing (PROTOCOL, section 6)."""

import os
import pathlib
import subprocess

import pytest

from murmuring import Client, Refused, Server

pytestmark = pytest.mark.embedded

FAST = "[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n"


def filled(start, count=300):
    server = start()
    server.conversation("c", ["alice"])
    for n in range(count):
        body = {"id": f"{n}", "body": f"message {n} " + "x" * 200}
        assert server.http("POST", "/v1/conversations/c/messages", body).status == 200
    return server


def data_files(server):
    """Files with the messages in them, the largest first."""
    files = [path for path in pathlib.Path(server.data).rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: -path.stat().st_size)


def holding(server, text):
    return [path for path in data_files(server) if text in path.read_bytes()]


def refused_or_whole(server, damage):
    """After damage the server refuses to start and `verify` fails; or neither, and then nothing is missing."""
    verified = server.run("verify")
    try:
        server.start()
    except Refused as refused:
        assert refused.code == 1 and len(refused.text.strip()) > 20, refused.text
        assert verified.returncode == 1, "serve refuses what verify calls whole"
        assert (verified.stdout + verified.stderr).strip()
        return True
    log = server.log_of("c")
    assert len(log) == 300, f"{damage}: served with {len(log)} of 300"
    assert all(event["body"].startswith(f"message {event['seq'] - 1} ") for event in log)
    assert verified.returncode == 0, "verify calls damaged what serves whole"
    return False


@pytest.mark.parametrize("stop", ["kill", "stop"])
def test_a_flipped_byte_in_a_message_is_refused(start, stop):
    server = filled(start)
    getattr(server, stop)()
    paths = holding(server, b"message 150 ")
    if not paths:
        pytest.skip("the messages lie compressed: another check flips bytes everywhere")
    for path in paths:
        data = bytearray(path.read_bytes())
        place = -1
        while (place := data.find(b"message 150 ", place + 1)) >= 0:
            data[place + 3] ^= 0x20
        path.write_bytes(data)
    assert refused_or_whole(server, "a flipped byte"), "a changed message was served"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.99])
def test_flipped_bytes_anywhere_are_refused_or_harmless(start, share):
    server = filled(start)
    server.kill()
    path = data_files(server)[0]
    data = bytearray(path.read_bytes())
    content = len(data.rstrip(b"\0"))
    for place in range(int(content * share), min(int(content * share) + 8, content)):
        data[place] ^= 0xFF
    path.write_bytes(data)
    refused_or_whole(server, f"{path.name} at {share}")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_or_harmless(start, share):
    server = filled(start)
    server.kill()
    path = holding(server, b"message 299 ")
    path = path[0] if path else data_files(server)[0]
    content = len(path.read_bytes().rstrip(b"\0"))
    os.truncate(path, int(content * share))
    assert refused_or_whole(server, f"{path.name} cut to {share}") or share > 0.9


def test_a_missing_file_is_refused_or_harmless(start):
    server = filled(start)
    server.kill()
    holding_files = holding(server, b"message 299 ") or data_files(server)
    holding_files[0].unlink()
    assert refused_or_whole(server, "a missing file")


def test_a_store_of_nothing_but_garbage_is_refused(start, tmp_path):
    server = filled(start, 5)
    server.kill()
    for path in data_files(server):
        if "secret" not in path.name:
            path.write_bytes(os.urandom(len(path.read_bytes())))
    with pytest.raises(Refused) as refused:
        server.start()
    assert refused.value.code == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB of the check's own, in a mount namespace of its own where that is needed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no mount is allowed here ({mounted.stderr.strip()}): the full disk was NOT tested")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_and_loses_nothing(small_disk):
    data = small_disk / "data"
    try:
        server = Server(data=data, config=FAST)
    except Refused as refused:
        pytest.skip(f"the store wants more than 24 MiB to begin with: {refused}")
    try:
        fill_the_disk(server, small_disk)
    finally:
        server.close()


def fill_the_disk(server, disk):
    server.conversation("c", ["alice"])
    acks, refused, body = {}, None, "x" * 8000
    with Client(server, "alice") as alice:
        for n in range(8000):
            answer = alice.post("c", body, id=f"{n}")
            alice.frames.clear()
            if answer["op"] == "error":
                refused = answer
                break
            acks[f"{n}"] = answer["seq"]
        assert refused, "24 MiB took 64 MB"
        assert refused["code"] == "unavailable"
        assert alice.request("ping")["op"] == "pong", "connections stay"
    ready = server.http("GET", "/readyz")
    assert ready.status == 503, ready
    assert server.http("GET", "/healthz").status == 200
    assert server.process.poll() is None
    server.kill()
    subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
    verified = server.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    server.start()
    found = {event["id"]: event["seq"] for event in server.log_of("c")}
    assert all(found.get(id_) == seq for id_, seq in acks.items()), "an acknowledged message is gone"
    with Client(server, "alice") as alice:
        assert alice.post("c", "room again")["op"] == "ack"


def test_a_data_directory_that_cannot_be_written_is_told(start, tmp_path):
    if os.geteuid() == 0:
        blocked = tmp_path / "file"
        blocked.write_text("not a directory")
    else:
        blocked = tmp_path / "closed"
        blocked.mkdir(mode=0o500)
    with pytest.raises(Refused) as refused:
        Server(data=blocked / "data")
    assert refused.value.code in (1, 2) and str(blocked) in refused.value.text
