"""Servers for the checks: one that most share, and as many of their own as the others want."""

import pytest

pytest.register_assert_rewrite("promises", "nodes", "traffic")

from cluster import missing  # noqa: E402: what is above comes first
from murmuring import ENGINE, Server, binary, unique  # noqa: E402
from traffic import MEASURED  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "embedded: speaks of the embedded engine's files; skipped on another engine")
    config.addinivalue_line("markers", "foundationdb: needs fdbserver and a binary that is built with the engine")


def pytest_collection_modifyitems(config, items):
    lacking = missing(binary())
    assert ENGINE == "embedded" or not lacking, f"MURMURING_ACCEPTANCE_ENGINE={ENGINE}: {lacking}"
    for item in items:
        if ENGINE != "embedded" and item.get_closest_marker("embedded"):
            item.add_marker(pytest.mark.skip(reason="speaks of the embedded engine's files"))
        if lacking and item.get_closest_marker("foundationdb"):
            item.add_marker(pytest.mark.skip(reason=lacking))


def pytest_terminal_summary(terminalreporter):
    """Whoever reads only the end is told what was measured, and what was not checked."""
    for line in MEASURED:
        terminalreporter.write_line(line)
    if lacking := missing(binary()):
        terminalreporter.write_sep("*", f"SKIPPED: everything on FoundationDB: {lacking}")
    else:
        terminalreporter.write_line(f"checked on the engine {ENGINE}")


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
