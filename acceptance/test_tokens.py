"""Tokens: four places, and a dozen and more bad ones (PROTOCOL, section 1)."""

import base64
import json
import time

import pytest
from websockets.exceptions import InvalidStatus

from murmuring import SECRET, Client, RawSocket, base64url, sign, token, unique

PLACES = ["header", "subprotocol", "query", "hello"]


def now():
    return int(time.time())


def unsigned(claims):
    header = {"alg": "none", "typ": "JWT"}
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims)) + "."


def altered(good):
    head, claims, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return ".".join([head, base64url(json.dumps(claims | {"sub": "mallory"}).encode()), signature])


BAD = {
    "expired": lambda: token("alice", ttl=-60),
    "not yet valid": lambda: token("alice", nbf=now() + 3600),
    "without exp": lambda: sign({"sub": "alice"}),
    "without sub": lambda: sign({"exp": now() + 60}),
    "sub is no id": lambda: token("no spaces"),
    "sub too long": lambda: token("a" * 65),
    "empty sub": lambda: token(""),
    "sub is a number": lambda: token(7),
    "tenant is no id": lambda: token("alice", tenant="no spaces"),
    "another secret": lambda: sign({"sub": "alice", "exp": now() + 60}, secret=SECRET + "!"),
    "empty secret": lambda: sign({"sub": "alice", "exp": now() + 60}, secret=""),
    "alg none": lambda: unsigned({"sub": "alice", "exp": now() + 60}),
    "alg None": lambda: sign({"sub": "alice", "exp": now() + 60}, header={"alg": "None"}),
    "alg HS512": lambda: sign({"sub": "alice", "exp": now() + 60}, header={"alg": "HS512", "typ": "JWT"}),
    "alg RS256 over the secret": lambda: sign({"sub": "alice", "exp": now() + 60}, header={"alg": "RS256"}),
    "no alg": lambda: sign({"sub": "alice", "exp": now() + 60}, header={"typ": "JWT"}),
    "other claims under the signature": lambda: altered(token("alice")),
    "cut signature": lambda: token("alice")[:-4],
    "no signature": lambda: token("alice").rsplit(".", 1)[0] + ".",
    "two parts": lambda: token("alice").rsplit(".", 1)[0],
    "not a JWT": lambda: "hello",
    "a very long one": lambda: token("alice", filler="x" * 8000),
    "exp as text": lambda: sign({"sub": "alice", "exp": str(now() + 60)}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_good_token_is_taken_in_each_place(server, place):
    user = unique("alice")
    with Client(server, user, place=place) as client:
        assert client.welcome["user"] == user
        assert client.socket.subprotocol == "murmuring.v1.json"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_401_in_the_upgrade_and_4401_in_hello(server, name):
    bad = BAD[name]()
    for place in PLACES[:3]:
        with pytest.raises(InvalidStatus) as refused:
            Client(server, "alice", place=place, credential=bad)
        assert refused.value.response.status_code == 401, place
    with Client(server, None, hello=False) as client:
        client.send(op="hello", device="d", token=bad)
        assert client.closed().code == 4401


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_401_over_http(server, name):
    answer = server.http("GET", "/v1/users/alice/conversations", credential=BAD[name]())
    assert answer.status == 401 and answer.json["code"] == "unauthorized"


def test_the_header_goes_before_the_query_and_a_bad_one_is_not_passed_over(server):
    headers = {"Authorization": f"Bearer {token('alice', ttl=-60)}"}
    with RawSocket(server) as raw:
        status, _ = raw.upgrade(path=f"/v1/connect?token={token('alice')}", headers=headers)
    assert status == 401


def test_the_token_in_the_subprotocol_list_is_not_echoed(server):
    good = token("alice")
    with RawSocket(server) as raw:
        offered = {"Sec-WebSocket-Protocol": f"bearer.{good}, murmuring.v1.json"}
        status, head = raw.upgrade(headers=offered)
    assert status == 101
    assert good not in head and "Sec-WebSocket-Protocol: murmuring.v1.json".lower() in head.lower()


def test_no_token_at_all_closes_with_4401(server):
    with Client(server, None, hello=False) as client:
        client.send(op="hello", device="d")
        assert client.closed().code == 4401


def test_a_token_that_ends_closes_with_4401_and_a_refresh_keeps_the_session(server):
    user = unique("alice")
    with Client(server, user, ttl=2) as short, Client(server, user, ttl=2) as refreshed:
        refreshed.send(op="refresh", token=token(user))
        refreshed.wait("refreshed")
        assert short.closed(timeout=15).code == 4401
        refreshed.settled()


def test_a_refresh_in_another_users_name_is_refused(server):
    with Client(server, unique("alice")) as client:
        client.send(op="refresh", token=token("mallory"))
        try:
            assert client.wait("error")["code"] in ("unauthorized", "forbidden")
        except Exception as closed:
            assert getattr(closed, "code", None) == 4401


def test_audience_and_issuer_are_checked_when_configured(start):
    server = start(MURMURING_AUTH_AUDIENCE="chat", MURMURING_AUTH_ISSUER="acme")
    call = lambda **claims: server.http("GET", "/v1/users/a/presence", credential=token("a", **claims)).status
    assert call(aud="chat", iss="acme") == 200
    assert call(aud=["mail", "chat"], iss="acme") == 200
    for claims in [{}, {"aud": "chat"}, {"iss": "acme"}, {"aud": "mail", "iss": "acme"}, {"aud": "chat", "iss": "x"}]:
        assert call(**claims) == 401, claims


def test_the_command_line_makes_tokens_that_are_taken(server):
    made = server.run("token", "--user", "carol", "--tenant", "acme", "--ttl", "1h")
    assert made.returncode == 0, made.stderr
    with Client(server, None, credential=made.stdout.strip()) as client:
        assert client.welcome["user"] == "carol"
