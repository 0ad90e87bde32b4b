"""A host that gives too little, and a supervisor that wants to know: `serve` says clearly what is missing before it opens
anything, and speaks sd_notify(3)."""

import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from murmuring import Client, binary, environment, sign


def serve(data, limit=None, shards=2, **settings):
    """Starts `serve` under RLIMIT_NOFILE `limit`."""
    limited = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))) if limit else None
    words = ["serve", "--shards", str(shards), "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--data", str(data)]
    return subprocess.Popen(
        [binary(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**settings),
        preexec_fn=limited,
        close_fds=True,
    )


def stopped(process):
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    return process.returncode, told


@pytest.mark.parametrize("limit", [4, 5, 8, 12, 14, 17, 30])
def test_too_few_descriptors_are_one_message_before_anything_is_opened(tmp_path, limit):
    process = serve(tmp_path / "data", limit)
    ready, told = process.communicate(timeout=30)
    assert (process.returncode, ready) == (2, "")
    assert told.count("\n") == 1 and "RLIMIT_NOFILE" in told and "ulimit -n" in told and "core.shards" in told
    assert not (tmp_path / "data").exists()


def test_the_least_number_of_descriptors_that_is_named_is_enough(tmp_path):
    _, told = serve(tmp_path / "data", 10, shards=3).communicate(timeout=30)
    least = int(re.search(r"ulimit -n (\d+)", told)[1])
    _, told = serve(tmp_path / "data", least - 1, shards=3).communicate(timeout=30)
    assert f"at least {least}" in told
    process = serve(tmp_path / "data", least, shards=3, MURMURING_AUTH_HS256_SECRET="s" * 32)
    address = process.stdout.readline().split("client=")[1].split()[0]

    class Here:
        client_address, url = address, f"ws://{address}/v1/connect"

    with Client(Here, None, credential=sign({"sub": "alice", "exp": int(time.time()) + 60}, secret="s" * 32)) as alice:
        alice.settled()
    code, told = stopped(process)
    assert code == 0 and re.search(rf"RLIMIT_NOFILE is {least}: 3 shards hold \d+ connections", told)


def test_a_descriptor_limit_that_is_enough_is_no_warning(tmp_path):
    process = serve(tmp_path / "data", 4_096)
    assert process.stdout.readline().startswith("ready ")
    code, told = stopped(process)
    assert code == 0 and "RLIMIT_NOFILE" not in told


@pytest.mark.skipif(os.geteuid() == 0, reason="RLIMIT_NPROC does not bind root")
def test_too_few_threads_for_a_user_are_one_message(tmp_path):
    limited = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (4, 4))
    command = [binary(), "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(), preexec_fn=limited)
    assert told.returncode == 2 and "threads are needed" in told.stderr and "TasksMax" in told.stderr


def pids_controller():
    """A fresh control group that bounds threads, where this user may make one."""
    for root in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = pathlib.Path(root) / f"murmuring-{os.getpid()}"
        try:
            group.mkdir()
            if (group / "pids.max").exists():
                return group
            group.rmdir()
        except OSError:
            continue
    return None


def test_too_few_threads_in_a_control_group_are_one_message(tmp_path):
    group = pids_controller()
    if group is None:
        pytest.skip("no control group can be made here")
    try:
        (group / "pids.max").write_text("6")
        enter = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        command = [binary(), "serve", "--shards", "4", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(), preexec_fn=enter)
        assert told.returncode == 2 and told.stderr.count("\n") == 1
        assert "12 threads are needed" in told.stderr and "TasksMax" in told.stderr
        assert not (tmp_path / "data").exists()
    finally:
        group.rmdir()


class Supervisor:
    """What systemd is to a service: a datagram socket that hears its words."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []

    def wait(self, word, timeout=10):
        """The next datagram with `word` in it, as a dictionary."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                words = dict(line.split("=", 1) for line in self.socket.recv(4_096).decode().splitlines())
            except TimeoutError:
                break
            self.heard.append(words)
            if word in words:
                return words
        raise AssertionError(f"no {word} in {self.heard}")


@pytest.fixture
def supervisor(tmp_path):
    found = Supervisor(tmp_path / "notify")
    yield found
    found.socket.close()


def test_a_supervisor_hears_ready_reloading_and_stopping(tmp_path, supervisor):
    process = serve(tmp_path / "data", NOTIFY_SOCKET=supervisor.path)
    assert process.stdout.readline().startswith("ready ")
    assert supervisor.wait("READY")["READY"] == "1"
    process.send_signal(signal.SIGHUP)
    reloading = supervisor.wait("RELOADING")
    assert abs(int(reloading["MONOTONIC_USEC"]) / 1e6 - time.monotonic()) < 10
    supervisor.wait("READY")
    code, _ = stopped(process)
    assert code == 0
    stopping = supervisor.wait("STOPPING")
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
    assert not any("WATCHDOG" in words for words in supervisor.heard), "nobody asked for it"


def test_a_watchdog_hears_a_living_server_often_enough_and_a_stopped_one_not_at_all(tmp_path, supervisor):
    process = serve(tmp_path / "data", NOTIFY_SOCKET=supervisor.path, WATCHDOG_USEC="2000000")
    assert process.stdout.readline().startswith("ready ")
    for _ in range(5):
        supervisor.wait("WATCHDOG", timeout=2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    supervisor.socket.setblocking(False)
    while True:
        try:
            supervisor.socket.recv(4_096)
        except BlockingIOError:
            break
    with pytest.raises(AssertionError):
        supervisor.wait("WATCHDOG", timeout=2)
    process.send_signal(signal.SIGCONT)
    supervisor.wait("WATCHDOG", timeout=5)
    assert stopped(process)[0] == 0


def test_a_watchdog_for_another_process_is_not_ours(tmp_path, supervisor):
    process = serve(tmp_path / "data", NOTIFY_SOCKET=supervisor.path, WATCHDOG_USEC="400000", WATCHDOG_PID="1")
    supervisor.wait("READY")
    with pytest.raises(AssertionError):
        supervisor.wait("WATCHDOG", timeout=2)
    assert stopped(process)[0] == 0


def test_a_supervisor_that_is_gone_is_told_and_served_without(tmp_path):
    process = serve(tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "nobody"))
    assert process.stdout.readline().startswith("ready ")
    code, told = stopped(process)
    assert code == 0 and "NOTIFY_SOCKET" in told
