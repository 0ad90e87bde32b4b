"""A server under test, clients of it, and tokens: written from docs/PROTOCOL.md alone, on websockets and the standard library."""

import atexit
import base64
import collections
import contextlib
import functools
import hashlib
import hmac
import http.client
import itertools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECRET = "a secret of the acceptance checks, 32 bytes and more"
API_KEY = "an-api-key-of-the-acceptance-checks"
SUBPROTOCOL = "murmuring.v1.json"
PATIENCE = 10
_numbers = itertools.count()


def binary():
    """The binary under test: MURMURING_BIN, or the newer of the two builds."""
    if given := os.environ.get("MURMURING_BIN"):
        return given
    builds = [ROOT / "target" / profile / "murmuring" for profile in ("release", "debug")]
    builds = [build for build in builds if build.exists()]
    assert builds, "build the binary first, or name it in MURMURING_BIN"
    return str(max(builds, key=lambda build: build.stat().st_mtime))


ENGINE = os.environ.get("MURMURING_ACCEPTANCE_ENGINE", "embedded")


@functools.cache
def shared_cluster():
    """One cluster for all checks of a run; it ends with the run."""
    cluster = Cluster()
    atexit.register(cluster.close)
    return cluster


def of_engine(data, cluster=None):
    """Settings that put the store of this data directory into a cluster, under a prefix of its own."""
    if cluster is None and ENGINE == "embedded":
        return {}
    assert ENGINE in ("embedded", "foundationdb"), f"MURMURING_ACCEPTANCE_ENGINE={ENGINE}"
    return {
        "MURMURING_STORE_ENGINE": "foundationdb",
        "MURMURING_STORE_CLUSTER_FILE": (cluster or shared_cluster()).file,
        "MURMURING_STORE_KEY_PREFIX": hashlib.sha1(data.encode()).hexdigest()[:8] + "/",
    }


def environment(**settings):
    """The environment of a server: the caller's own settings for Murmuring do not reach it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MURMURING_")}
    return ours | settings


def unique(prefix):
    """An id that no other check uses."""
    return f"{prefix}-{next(_numbers)}-{os.getpid()}"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims, secret=SECRET, header=None):
    """A JWT by hand, so that bad ones can be made too."""
    header = header or {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}.get(header.get("alg"), "sha256")
    return signed + "." + base64url(hmac.new(secret.encode(), signed.encode(), digest).digest())


def token(user, tenant=None, ttl=3600, **claims):
    claims = {"sub": user, "exp": int(time.time()) + ttl} | claims
    return sign(claims | ({"tenant": tenant} if tenant else {}))


class Refused(Exception):
    """The server did not start: its exit code and what it said."""

    def __init__(self, code, text):
        super().__init__(f"exit {code}: {text}")
        self.code, self.text = code, text


class Server:
    """One process on free ports. Its data outlives it, for as long as the check runs."""

    def __init__(self, data=None, config="", cluster=None, **environment):
        self.directory = tempfile.TemporaryDirectory(prefix="murmuring-")
        self.data = str(data or pathlib.Path(self.directory.name) / "data")
        self.config = pathlib.Path(self.directory.name) / "murmuring.toml"
        auth = f"[auth]\nhs256_secret = {json.dumps(SECRET)}\napi_keys = [{json.dumps(API_KEY)}]\n"
        self.config.write_text(auth + config)
        self.environment = of_engine(self.data, cluster) | environment
        self.process = None
        self.start()

    def start(self):
        self.launch()
        self.await_ready()

    def role(self):
        """The command that this process runs."""
        return "serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"

    def launch(self):
        """Starts the process, which serves nobody yet."""
        self.log = open(pathlib.Path(self.directory.name) / "stderr", "a+")
        self.process = subprocess.Popen(
            self.command(*self.role()),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment(**self.environment),
        )

    def await_ready(self, patience=60):
        """Waits until it serves. `Refused` when it ends instead, TimeoutError when it does neither."""
        said, _, _ = select.select([self.process.stdout], [], [], patience)
        if not said:
            self.kill()
            raise TimeoutError(f"neither ready nor ended within {patience} s: {self.stderr()}")
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            code = self.process.wait(timeout=PATIENCE)
            raise Refused(code, self.stderr())
        self.addresses = dict(word.split("=", 1) for word in line.split()[1:])
        self.client_address, self.api_address = self.addresses.get("client"), self.addresses["api"]
        self.url = f"ws://{self.client_address}/v1/connect"

    def command(self, *words):
        return [binary(), *words, "--config", str(self.config), "--data", self.data]

    def run(self, *words, timeout=60):
        """Another command of the binary, with the same configuration and data."""
        here = environment(**self.environment)
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=timeout, env=here)

    def stderr(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=PATIENCE)

    def freeze(self):
        """SIGSTOP: its sockets stay, and it does nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def restart(self):
        self.kill()
        self.start()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()
        self.directory.cleanup()

    def memory_kib(self):
        """Resident memory that is the process's own, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])

    def token(self, user, **claims):
        return token(user, **claims)

    def client(self, user, **options):
        return Client(self, user, **options)

    def http(self, method, path, body=None, credential=API_KEY, headers=()):
        """One HTTP call: status, headers, and the JSON of the answer (or its text)."""
        connection = http.client.HTTPConnection(self.api_address, timeout=30)
        with contextlib.closing(connection):
            headers = dict(headers)
            if credential:
                headers["Authorization"] = f"Bearer {credential}"
            data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def conversation(self, conversation, members=(), kind="group", **fields):
        body = {"conversation": conversation, "kind": kind, "members": list(members)} | fields
        answer = self.http("POST", "/v1/conversations", body)
        assert answer.status in (200, 201), answer
        return answer.json["conversation"]

    def messages(self, conversation, credential=API_KEY, **query):
        """A page of the log over HTTP."""
        query = urllib.parse.urlencode(query)
        answer = self.http("GET", f"/v1/conversations/{conversation}/messages?{query}", credential=credential)
        assert answer.status == 200, answer
        return answer.json

    def log_of(self, conversation):
        """The whole log, by pages; checked for density on the way."""
        events, after = [], 0
        while True:
            page = self.messages(conversation, after=after, limit=200)
            events += page["events"]
            after = events[-1]["seq"] if events else 0
            if not page["more"]:
                assert [event["seq"] for event in events] == list(range(1, page["head"] + 1))
                return events


Answer = collections.namedtuple("Answer", "status headers json")


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed with {code}: {reason}")
        self.code, self.reason = code, reason


class Client:
    """A JSON client. Frames wait in `frames` until a check takes them."""

    def __init__(self, server, user, device=None, hello=True, place="header", credential=None, cursors=None,
                 resume=None, subprotocols=(SUBPROTOCOL,), max_queue=None, **claims):
        self.user, self.device = user, device or unique("device")
        self.frames = []
        credential = credential or (token(user, **claims) if user else None)
        headers, offered, url = {}, list(subprotocols), server.url
        if credential and place == "header":
            headers["Authorization"] = f"Bearer {credential}"
        elif credential and place == "subprotocol":
            offered.append(f"bearer.{credential}")
        elif credential and place == "query":
            url += "?" + urllib.parse.urlencode({"token": credential})
        self.connecting = connect(url, additional_headers=headers, subprotocols=offered or None, compression=None,
                                  max_size=None, max_queue=max_queue, ping_interval=None, proxy=None,
                                  open_timeout=PATIENCE, close_timeout=2)
        self.socket = self.connecting.__enter__()
        if hello:
            frame = {"op": "hello", "device": self.device}
            if credential and place == "hello":
                frame["token"] = credential
            if cursors is not None:
                frame["cursors"] = cursors
            if resume is not None:
                frame["resume"] = resume
            self.send(**frame)
            self.welcome = self.wait("welcome")

    def send(self, **frame):
        self.raw(json.dumps(frame))

    def raw(self, data):
        try:
            self.socket.send(data)
        except ConnectionClosed:
            raise Closed(self.socket.protocol.close_code, self.socket.protocol.close_reason) from None

    def receive(self, timeout=PATIENCE):
        """The next frame from the socket."""
        try:
            return json.loads(self.socket.recv(timeout=timeout))
        except ConnectionClosed:
            raise Closed(self.socket.protocol.close_code, self.socket.protocol.close_reason) from None

    def wait(self, op, timeout=PATIENCE, **fields):
        """The next frame with this op and these fields; others stay."""
        def fits(frame):
            return frame["op"] == op and all(frame.get(name) == value for name, value in fields.items())

        deadline = time.monotonic() + timeout
        place = 0
        while True:
            while place < len(self.frames):
                if fits(self.frames[place]):
                    return self.frames.pop(place)
                place += 1
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {op} {fields} within {timeout} s; there were {self.frames[-5:]}")
            with contextlib.suppress(TimeoutError):
                self.frames.append(self.receive(timeout=left))

    def request(self, op, **fields):
        """A request with a `ref`, and the answer to it, whatever it is."""
        reference = next(_numbers)
        self.send(op=op, ref=reference, **fields)
        return self.answer("ref", reference)

    def answer(self, name, value, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        place = 0
        while True:
            while place < len(self.frames):
                if self.frames[place].get(name) == value and self.frames[place]["op"] != "event":
                    return self.frames.pop(place)
                place += 1
            self.frames.append(self.receive(timeout=deadline - time.monotonic()))

    def post(self, conversation, body, id=None, op="send", **fields):
        """A send (or an edit, a delete, a reaction), and its `ack` or `error`."""
        id = id or unique("m")
        if body is not None:
            fields["body"] = body
        self.send(op=op, id=id, conversation=conversation, **fields)
        return self.answer("id", id)

    def events(self, conversation, count, timeout=PATIENCE):
        return [self.wait("event", timeout, conversation=conversation) for _ in range(count)]

    def silent(self, seconds=0.5, op=None):
        """Asserts that nothing (of that op) comes for a while."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self.frames.append(self.receive(timeout=left))
        found = [frame for frame in self.frames if op is None or frame["op"] == op]
        assert not found, found

    def settled(self):
        """Returns once everything sent before was handled."""
        assert self.request("ping")["op"] == "pong"

    def closed(self, timeout=PATIENCE):
        """Waits for the close: its code and reason."""
        try:
            while True:
                self.frames.append(self.receive(timeout))
        except Closed as closed:
            return closed

    def close(self):
        self.socket.close()

    def drop(self):
        """Ends the connection without a word."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class RawSocket:
    """A TCP connection to the WebSocket port, for what no client library would do."""

    KEY = base64.b64encode(b"0123456789abcdef").decode()
    ACCEPT = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()

    def __init__(self, server):
        host, port = server.client_address.rsplit(":", 1)
        self.server = server
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.buffer = b""

    def write(self, data):
        self.socket.sendall(data)

    def upgrade(self, credential=None, path="/v1/connect", headers=(), leave_out=()):
        """Sends an upgrade; the status and the head of the answer."""
        all_headers = {
            "Host": self.server.client_address,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": self.KEY,
        } | ({"Authorization": f"Bearer {credential}"} if credential else {}) | dict(headers)
        lines = [f"{name}: {value}" for name, value in all_headers.items() if name not in leave_out]
        self.write(("\r\n".join([f"GET {path} HTTP/1.1", *lines]) + "\r\n\r\n").encode())
        return self.head()

    def head(self):
        """The head of an HTTP answer: its status, its text."""
        while b"\r\n\r\n" not in self.buffer:
            if not (data := self.socket.recv(65536)):
                break
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else None, head.decode()

    def frame(self, opcode, payload, final=True, masked=True, reserved=0):
        first = (0x80 if final else 0) | reserved << 4 | opcode
        mask_bit = 0x80 if masked else 0
        length = len(payload)
        if length < 126:
            head = bytes([first, mask_bit | length])
        elif length < 65536:
            head = bytes([first, mask_bit | 126]) + length.to_bytes(2, "big")
        else:
            head = bytes([first, mask_bit | 127]) + length.to_bytes(8, "big")
        if masked:
            mask = b"\x11\x22\x33\x44"
            payload = mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        return head + payload

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not (data := self.socket.recv(65536)):
                raise EOFError
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_frame(self):
        """The next frame: opcode and payload. EOFError when the server closed."""
        first, second = self.read_exactly(2)
        assert second < 128, "a server's frame is not masked"
        length = second
        if length >= 126:
            length = int.from_bytes(self.read_exactly(2 if length == 126 else 8), "big")
        return first & 15, self.read_exactly(length)

    def close_code(self):
        """Reads to the close frame: its code; None when the connection ended without one."""
        try:
            while True:
                opcode, payload = self.read_frame()
                if opcode == 8:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        except (EOFError, ConnectionError):
            return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def in_parallel(functions):
    """Runs them in threads, and raises what the first of them raised."""
    failures = []

    def run(function):
        try:
            function()
        except BaseException as failure:  # noqa: BLE001: it is raised again below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
