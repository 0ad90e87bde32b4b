"""Health, metrics, OpenAPI, the drain, the command line and the configuration (PROTOCOL, sections 4 to 6)."""

import json
import re
import signal
import subprocess
import threading
import time

import pytest

from cluster import missing
from murmuring import Client, RawSocket, Refused, Server, binary, environment, token


def test_health_and_readiness(server):
    assert server.http("GET", "/healthz", credential=None).status == 200
    ready = server.http("GET", "/readyz", credential=None)
    assert ready.status == 200, ready


def test_the_openapi_document_names_every_call(server):
    document = server.http("GET", "/v1/openapi.json", credential=None).json
    assert document["openapi"].startswith("3.")
    for path in ("/v1/conversations", "/healthz", "/readyz", "/metrics"):
        assert path in document["paths"]
    shapes = {re.sub(r"{\w+}", "{}", path): item for path, item in document["paths"].items()}
    assert {"get", "patch", "delete"} <= shapes["/v1/conversations/{}"].keys()
    assert {"get", "post"} <= shapes["/v1/conversations/{}/members"].keys()
    assert {"patch", "delete"} <= shapes["/v1/conversations/{}/members/{}"].keys()
    assert {"get", "post"} <= shapes["/v1/conversations/{}/messages"].keys()
    assert "get" in shapes["/v1/users/{}/conversations"] and "get" in shapes["/v1/users/{}/presence"]


SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*({([a-zA-Z_]\w*="([^"\\\n]|\\.)*",?)*})? (-?[0-9.e+-]+|[+-]Inf|NaN)')


def test_metrics_are_prometheus_text_that_counts(server, room):
    with Client(server, room.alice) as alice:
        alice.post(room.name, "x")
        time.sleep(2.5)
        answer = server.http("GET", "/metrics", credential=None)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    types = {}
    for line in answer.json.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types
            types[name] = kind
        elif not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            name = line.split("{")[0].split()[0]
            assert name in types or re.sub("_(bucket|sum|count)$", "", name) in types, line
    for word in ("connection", "send", "ack", "deliver", "commit", "outbox|lag", "mailbox", "frame", "byte", "upgrade"):
        assert any(re.search(word, name) for name in types), (word, sorted(types))
    assert "shard=\"0\"" in answer.json


def test_sigterm_says_goaway_closes_with_4503_and_exits_0(start):
    server = start()
    server.conversation("c", ["alice"])
    clients = [Client(server, "alice") for _ in range(10)]
    acks = [clients[0].post("c", f"{n}")["seq"] for n in range(5)]
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        goaway = client.wait("goaway", timeout=15)
        assert goaway["reason"] and goaway["reconnect_after_ms"] >= 0
        assert client.closed(timeout=15).code == 4503
    assert server.process.wait(timeout=30) == 0
    assert server.run("verify").returncode == 0
    server.start()
    assert [event["seq"] for event in server.log_of("c")] == acks


def test_sends_during_the_drain_are_stored_or_refused_never_lost(start):
    server = start(config="[limits]\nsends_per_second = 100000\nsends_burst = 100000\nframes_per_second = 100000\nframes_burst = 100000\n")
    server.conversation("c", ["alice"])
    client, acks = Client(server, "alice"), set()

    def send():
        try:
            for n in range(100_000):
                client.send(op="send", id=f"{n}", conversation="c", body="x")
                if n % 32 == 31:
                    acks.add(client.wait("ack")["id"])
        except Exception:
            acks.update(frame["id"] for frame in client.frames if frame["op"] == "ack")

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(0.5)
    assert server.stop() == 0
    sender.join(timeout=30)
    server.start()
    stored = {event["id"] for event in server.log_of("c")}
    assert acks and acks <= stored


def test_not_ready_while_draining_and_a_second_sigterm_ends_at_once(start):
    server = start(MURMURING_DRAIN_SPREAD_MS="8000", MURMURING_DRAIN_DEADLINE_MS="20000")
    with RawSocket(server) as silent:  # Answers no close, and so holds the drain up.
        assert silent.upgrade(credential=token("alice"))[0] == 101
        silent.write(silent.frame(1, b'{"op":"hello","device":"d"}'))
        assert json.loads(silent.read_frame()[1])["op"] == "welcome"
        server.process.send_signal(signal.SIGTERM)
        assert json.loads(silent.read_frame()[1])["op"] == "goaway"
        assert server.http("GET", "/readyz", credential=None).status == 503
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=3)
    server.start()
    assert server.http("GET", "/readyz", credential=None).status == 200


def run(*words, env=None, cwd=None):
    return subprocess.run([binary(), *words], capture_output=True, text=True, timeout=60, cwd=cwd, env=environment(**(env or {})))


def test_help_on_every_level():
    top = run("--help")
    assert top.returncode == 0
    for word in ("serve", "config", "token", "conversation", "send", "tail", "verify", "check"):
        assert word in top.stdout
        below = run(word, "--help")
        assert below.returncode == 0 and below.stdout, word
    assert run("nonsense").returncode == 2
    assert run("serve", "--nonsense").returncode == 2


def test_the_default_configuration_is_whole_and_checks_out(tmp_path):
    default = run("config", "default")
    assert default.returncode == 0
    for section in ("[listen]", "[core]", "[auth]", "[store]", "[debug]", "[limits]"):
        assert section in default.stdout
    path = tmp_path / "murmuring.toml"
    path.write_text(default.stdout)
    assert run("config", "check", "--config", str(path)).returncode == 0
    path.write_text("[listen]\nclinet = 1\n[limits]\nbody_bytes = -1\n[nothing]\na = 1\n")
    checked = run("config", "check", "--config", str(path))
    assert checked.returncode == 2
    for word in ("clinet", "body_bytes", "nothing"):
        assert word in checked.stdout + checked.stderr, word


@pytest.mark.parametrize("name, value", [("MURMURING_LISTEN_CLINET", "1"), ("MURMURING_CORE_SHARDS", "many")])
def test_a_wrong_setting_in_the_environment_is_named(name, value, tmp_path):
    wrong = run("serve", "--data", str(tmp_path), env={name: value})
    assert wrong.returncode == 2 and name.lower() in wrong.stderr.lower()


def test_a_scripts_own_variable_is_nobodys_mistake():
    for name in ("MURMURING_BIN", "MURMURING_TEST_DIR", "MURMURING_SERVICE_HOST", "MURMURING_PORT_8800_TCP_ADDR"):
        assert run("config", "check", env={name: "/usr/bin/murmuring"}).returncode == 0, name


def test_an_engine_that_is_not_built_in_is_told(tmp_path):
    if not missing(binary()):
        pytest.skip("it is built in")
    wrong = run("serve", "--data", str(tmp_path), "--engine", "foundationdb")
    assert wrong.returncode == 2 and "foundationdb" in wrong.stderr.lower()


def test_the_roles_of_a_cluster_answer_honestly():
    alone = run("gateway")
    assert alone.returncode == 2 and "cluster.routers" in alone.stderr
    known = run("router", "--link-listen", "0.0.0.0:0")
    assert known.returncode == 2 and "cluster.secret" in known.stderr, "a secret that everybody knows is for loopback only"


def test_a_token_alone_on_stdout(server):
    made = server.run("token", "--user", "alice")
    assert made.returncode == 0 and re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", made.stdout)
    assert server.run("token").returncode == 2
    assert server.run("token", "--user", "no spaces").returncode == 2


def test_a_message_from_one_terminal_to_another(start):
    server = start()
    server.environment = {}
    addresses = ("--listen", server.client_address, "--api-listen", server.api_address)
    made = server.run("conversation", "create", "general", "--members", "alice,bob", *addresses)
    assert made.returncode == 0, made.stderr
    tail = subprocess.Popen(server.command("tail", "--user", "bob", "general", *addresses), stdout=subprocess.PIPE, text=True)
    try:
        with Client(server, "alice") as alice:
            sent = None
            deadline = time.monotonic() + 15
            lines = []
            reader = threading.Thread(target=lambda: [lines.append(line) for line in tail.stdout], daemon=True)
            reader.start()
            while time.monotonic() < deadline and not any("hello, bob" in line for line in lines):
                sent = server.run("send", "--user", "alice", "general", "hello, bob", *addresses)
                assert sent.returncode == 0, sent.stderr
                time.sleep(0.3)
            alice.settled()
        assert any("hello, bob" in line for line in lines)
    finally:
        tail.terminate()
        tail.wait(timeout=10)
    assert server.run("send", "--user", "mallory", "general", "hi", *addresses).returncode == 1


def test_verify_of_a_whole_store(start):
    server = start()
    server.conversation("c", ["alice"])
    server.http("POST", "/v1/conversations/c/messages", {"id": "1", "body": "x"})
    server.kill()
    assert server.run("verify").returncode == 0


def test_check_changes_nothing_and_says_what(start):
    checked = run("check")
    assert checked.returncode in (0, 1) and "io_uring" in checked.stdout.lower() + checked.stderr.lower()


def test_a_development_secret_is_made_kept_and_told(tmp_path):
    command = [binary(), "serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--data", str(tmp_path / "d")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready client=")
        made = run("token", "--user", "alice", "--data", str(tmp_path / "d")).stdout.strip()
        address = ready.split("client=")[1].split()[0]

        class Here:
            client_address, url = address, f"ws://{address}/v1/connect"

        with Client(Here, None, credential=made) as alice:
            alice.settled()
        with RawSocket(Here) as raw:
            assert raw.upgrade(credential=token("alice"))[0] == 401, "another secret"
    finally:
        process.terminate()
        _, told = process.communicate(timeout=30)
    assert "secret" in told and made not in told


def test_a_public_address_without_a_secret_is_refused(tmp_path):
    refused = run("serve", "--listen", "0.0.0.0:0", "--api-listen", "127.0.0.1:0", "--data", str(tmp_path))
    assert refused.returncode == 2 and "secret" in refused.stderr


def test_a_port_in_use_is_told(server, tmp_path):
    used = run("serve", "--listen", server.client_address, "--api-listen", "127.0.0.1:0", "--data", str(tmp_path))
    assert used.returncode in (1, 2) and server.client_address in used.stderr


def test_tokens_do_not_reach_the_log(start):
    server = start(MURMURING_LOG_LEVEL="debug")
    secret_token = token("alice")
    with Client(server, "alice", place="query", credential=secret_token) as alice:
        alice.settled()
    server.stop()
    log = server.stderr()
    assert secret_token not in log and secret_token.rsplit(".", 1)[1] not in log
    for line in log.splitlines():
        if line.startswith("{"):
            json.loads(line)


def test_the_memory_engine_serves_too(tmp_path):
    server = Server(config='[store]\nengine = "memory"\n')
    try:
        server.conversation("c", ["alice"])
        with Client(server, "alice") as alice:
            assert alice.post("c", "x")["seq"] == 1
    except Refused as refused:
        pytest.fail(str(refused))
    finally:
        server.close()
