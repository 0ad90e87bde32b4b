"""A FoundationDB cluster of one server, on a free port, for checks that need one: started, killed, run again."""

import functools
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

PLACES = ("/opt/fdb/bin", "/usr/sbin", "/usr/bin")
PATIENCE = 60


def program(name):
    """The path of one of FoundationDB's programs, or None."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))


@functools.cache
def missing(binary):
    """Why nothing can be checked on FoundationDB here, or None."""
    if not program("fdbserver") or not program("fdbcli"):
        return "no fdbserver and fdbcli in PATH or /opt/fdb/bin"
    command = [binary, "config", "check", "--engine", "foundationdb"]
    checked = subprocess.run(command, capture_output=True, text=True)
    if checked.returncode != 0:
        return f"{binary} is built without it: {(checked.stdout + checked.stderr).strip()}"
    return None


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Cluster:
    def __init__(self, run=True):
        self.directory = tempfile.TemporaryDirectory(prefix="murmuring-fdb-")
        place = pathlib.Path(self.directory.name)
        self.address = f"127.0.0.1:{free_port()}"
        self.file = str(place / "fdb.cluster")
        pathlib.Path(self.file).write_text(f"test:test@{self.address}\n")
        self.process, self.configured = None, False
        if run:
            self.run()

    def run(self):
        """Starts the server on what it had before; returns when it serves."""
        place = self.directory.name
        command = [program("fdbserver"), "-p", self.address, "-C", self.file, "-d", f"{place}/data", "-L", place]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self.configured:
            said = self.cli("configure new single ssd")
            self.configured = "created" in said or "already exists" in said
            assert time.monotonic() < deadline, f"the cluster can't be configured: {said}"

    def cli(self, words):
        command = [program("fdbcli"), "-C", self.file, "--timeout", "10", "--exec", words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process:
            self.kill()
        self.directory.cleanup()
