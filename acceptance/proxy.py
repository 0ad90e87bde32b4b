"""A TCP proxy that parts nodes from each other on command. It runs in a process of its own, so that what passes through
takes no time from the clients of the checks. `Proxy` is for checks; `python proxy.py ADDRESS` is the process."""

import contextlib
import os
import pathlib
import random
import selectors
import socket
import subprocess
import sys

# Bytes that wait in one direction of a connection; past it nothing more is read.
WAITING_BYTES_MAX = 256 * 1024
READ_BYTES = 128 * 1024
_given = set()


def fixed_port():
    """A free port for whoever must have the same one again later: outside of those that the kernel gives by itself."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    low, high = (10_000, first) if first > 12_000 else (61_000, 65_536)
    while True:
        port = random.SystemRandom().randrange(low, high)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def parsed(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


class Proxy:
    """In front of `target`; clients connect to `address`, which stays the same."""

    def __init__(self, target=None):
        self.address = f"127.0.0.1:{fixed_port()}"
        command = [sys.executable, __file__, self.address]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.is_whole = True
        assert self.process.stdout.readline() == "done\n", "the proxy can't listen"
        if target:
            self.lead_to(target)

    def tell(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", f"the proxy died of {words}"

    def lead_to(self, target):
        """Where connections from now on lead to."""
        self.tell("lead_to", target)

    def cut(self):
        """Resets every connection, and refuses new ones."""
        self.is_whole = False
        self.tell("cut")

    def mend(self):
        self.tell("mend")
        self.is_whole = True

    def stall(self):
        """Forwards nothing, and keeps all connections: a partition without a word."""
        self.is_whole = False
        self.tell("stall")

    def unstall(self):
        """Forwards everything that came meanwhile, and what comes."""
        self.tell("unstall")
        self.is_whole = True

    def passed(self):
        """Connections that it holds."""
        self.process.stdin.write("count\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()


class End:
    """One side of a connection through the proxy: its socket, and what waits to be written to it."""

    def __init__(self, connection):
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.other, self.waiting = connection, None, bytearray()
        self.has_read_all, self.has_written_all, self.is_closed = False, False, False


class Relay:
    def __init__(self, address):
        self.address, self.target = parsed(address), None
        self.selector, self.ends = selectors.DefaultSelector(), set()
        self.listener, self.is_stalled, self.commands = None, False, b""
        self.selector.register(0, selectors.EVENT_READ, self.command)
        self.listen()
        self.answer("done")

    def run(self):
        while True:
            for key, mask in self.selector.select():
                if isinstance(key.data, End):
                    self.move(key.data, mask)
                else:
                    key.data()

    def answer(self, word):
        os.write(1, f"{word}\n".encode())

    def command(self):
        if not (data := os.read(0, 4096)):
            sys.exit(0)
        self.commands += data
        while b"\n" in self.commands:
            line, _, self.commands = self.commands.partition(b"\n")
            word, *rest = line.decode().split()
            answer = getattr(self, word)(*rest)
            self.answer("done" if answer is None else answer)

    def count(self):
        return len(self.ends) // 2

    def lead_to(self, address):
        self.target = parsed(address)

    def cut(self):
        self.deafen()
        for end in list(self.ends):
            self.reset(end)

    def mend(self):
        self.is_stalled = False
        self.listen()

    def stall(self):
        self.is_stalled = True
        if self.listener is not None:
            self.selector.unregister(self.listener)
        for end in self.ends:
            self.watch(end)

    def unstall(self):
        self.is_stalled = False
        if self.listener is not None:
            self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        for end in list(self.ends):
            self.watch(end)

    def listen(self):
        if self.listener is None:
            self.listener = socket.create_server(self.address, backlog=1024)
            self.listener.setblocking(False)
            self.selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def deafen(self):
        if self.listener is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(self.listener)
            self.listener.close()
            self.listener = None

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            accepted, _ = self.listener.accept()
            near = End(accepted)
            try:
                far = End(socket.create_connection(self.target, timeout=1))
            except OSError:
                return self.reset(near)
            near.other, far.other = far, near
            self.ends |= {near, far}
            self.watch(near)
            self.watch(far)

    def watch(self, end):
        """Asks for what can be done with this end now, and for nothing else."""
        events = 0
        if not self.is_stalled and not end.is_closed:
            if not end.has_read_all and len(end.other.waiting) < WAITING_BYTES_MAX:
                events |= selectors.EVENT_READ
            if end.waiting:
                events |= selectors.EVENT_WRITE
        known = self.selector.get_map().get(end.socket) if not end.is_closed else None
        if known is None and events:
            self.selector.register(end.socket, events, end)
        elif known is not None and not events:
            self.selector.unregister(end.socket)
        elif known is not None and known.events != events:
            self.selector.modify(end.socket, events, end)

    def move(self, end, mask):
        if end.is_closed or self.is_stalled:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                self.write(end)
            if mask & selectors.EVENT_READ:
                self.read(end)
        except BlockingIOError:
            pass
        except OSError:
            return self.reset(end)
        if end.has_read_all and end.other.has_read_all and not end.waiting and not end.other.waiting:
            return self.drop(end)
        self.watch(end)
        self.watch(end.other)

    def read(self, end):
        data = end.socket.recv(READ_BYTES)
        if data:
            end.other.waiting += data
        else:
            end.has_read_all = True
        self.write(end.other)

    def write(self, end):
        if end.waiting:
            with contextlib.suppress(BlockingIOError):
                del end.waiting[:end.socket.send(end.waiting)]
        if end.other.has_read_all and not end.waiting and not end.has_written_all:
            end.has_written_all = True
            end.socket.shutdown(socket.SHUT_WR)

    def reset(self, end):
        """Ends both sides at once, with a reset."""
        for side in (end, end.other):
            if side and not side.is_closed:
                with contextlib.suppress(OSError):
                    side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.drop(end)

    def drop(self, end):
        for side in (end, end.other):
            if side and not side.is_closed:
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(side.socket)
                side.is_closed = True
                side.socket.close()
                self.ends.discard(side)


if __name__ == "__main__":
    Relay(sys.argv[1]).run()
