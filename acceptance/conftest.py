"""Servers for the checks: one that most share, and as many of their own as the others want."""

import pytest

from murmuring import Server, unique


@pytest.fixture(scope="session")
def server():
    """A server with the default limits, shared: each check uses conversations and users of its own."""
    with_defaults = Server()
    yield with_defaults
    code = with_defaults.stop()
    with_defaults.close()
    assert code == 0, "the shared server did not drain in order"


@pytest.fixture
def start():
    """Starts servers of a check's own: `start(config="...")`."""
    servers = []

    def starting(**options):
        servers.append(Server(**options))
        return servers[-1]

    yield starting
    for server in servers:
        server.close()


@pytest.fixture
def room(server):
    """A group of alice and bob, whose names are this check's own."""

    class Room:
        alice, bob, stranger = unique("alice"), unique("bob"), unique("stranger")
        name = unique("room")

    server.conversation(Room.name, [Room.alice, Room.bob])
    return Room
