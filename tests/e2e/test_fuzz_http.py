"""No input causes a 5xx or brings the server down: hypothesis and schemathesis over real HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.servers import Server, Shop, add_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACKPOINT = 4541245641234564  # the trackpoint of the examples in /openapi.json
ACTIONS = ["export-sms-events", "import-sms-events"]
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]

NEGOTIATING = [
    b"Accept",
    b"Accept-Encoding",
    b"Content-Encoding",
    b"Content-Type",
    b"Range",
    b"If-None-Match",
    b"Cookie",
]
LIKELY = [
    b"gzip;q=",
    b";q=1e9",
    b"*/*;q=nan",
    b"*/*;q=1e999",
    b"gzip;q=inf",
    b"application/x-ndjson;q=-1",
    b"a/b/c",
    b"gzip,,;",
    b"identity;q=0",
]

# What a client can put into a header at all: with a line end or NUL it would be a different request.
header_values = st.binary(max_size=300).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\0"))
latin1 = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=120)
fuzzed = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def fuzzed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server, and check after all tests here that it responded with no 5xx."""
    running = Server(tmp_path_factory.mktemp("fuzzed"))
    try:
        yield running
        assert_unmoved(running)
    finally:
        running.stop()


@pytest.fixture(scope="module")
def shop(fuzzed_server: Server) -> Shop:
    """Return the shop of the examples, with a key and an event."""
    shop = add_shop(fuzzed_server.url, TRACKPOINT, base=fuzzed_server.base)
    assert shop.send(line(TRACKPOINT, now_ms())).status_code == 200
    return shop


def assert_unmoved(server: Server) -> None:
    """Check that the first process is still serving, and that it never responded with a 5xx or not at all."""
    assert server.process.poll() is None
    assert httpx.get(f"{server.base}/health/ready").status_code == 200
    rows = httpx.get(f"{server.base}/metrics").text.splitlines()
    counted = [row for row in rows if row.startswith("smsevents_requests_total")]
    assert counted
    assert not [row for row in counted if 'status="5' in row or 'status="0"' in row]
    assert '"level":"error"' not in server.log_path.read_text()
    assert "Traceback" not in server.log_path.read_text()


def connected(shop: Shop) -> socket.socket:
    """Connect to the server of a shop."""
    address = httpx.URL(shop.base)
    return socket.create_connection((address.host, address.port or 80), timeout=60)


def status_of(shop: Shop, target: bytes, headers: dict[bytes, bytes], body: bytes = b"{}") -> int:
    """Send a request as raw bytes and return the status, or 0 if the connection ended without one."""
    head = [b"POST " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    head += [b"Content-Length: %d" % len(body), *(name + b": " + value for name, value in headers.items())]
    received = b""
    with connected(shop) as client:
        client.sendall(b"\r\n".join([*head, b"", b""]) + body)
        while part := client.recv(65_536):
            received += part
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else 0


@fuzzed
@given(
    action=st.sampled_from(ACTIONS),
    body=st.one_of(
        st.binary(max_size=4000),
        st.text(st.sampled_from('{}[]":,\\u0ndltrue-1e+fromto \r\n\x00')).map(str.encode),
        st.builds(
            lambda keep, rest: line(TRACKPOINT, now_ms())[:keep] + rest, st.integers(0, 250), st.binary(max_size=50)
        ),
    ),
    coding=st.sampled_from([b"identity", b"gzip", b"x-gzip"]),
    is_gzip=st.booleans(),
)
def test_any_body(shop: Shop, action: str, body: bytes, coding: bytes, is_gzip: bool) -> None:
    """Whatever the bytes of a body are, valid gzip or not, the response is a 200 or a 4xx."""
    headers = {b"X-Api-Key": shop.key.encode(), b"Content-Encoding": coding}
    target = f"/shop/{TRACKPOINT}/{action}".encode()

    status = status_of(shop, target, headers, gzip.compress(body) if is_gzip else body)

    assert status == 200 or 400 <= status < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["from", "to", "smsEvent", "source", "date"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@fuzzed
@given(action=st.sampled_from(ACTIONS), value=json_values | st.fixed_dictionaries({"from": json_values}))
def test_any_json(shop: Shop, action: str, value: object) -> None:
    """Whatever JSON value a body is, the response is a 200 or a 4xx."""
    target = f"/shop/{TRACKPOINT}/{action}".encode()

    status = status_of(shop, target, {b"X-Api-Key": shop.key.encode()}, json.dumps(value).encode())

    assert status == 200 or 400 <= status < 500


@fuzzed
@given(
    action=st.sampled_from(ACTIONS),
    headers=st.dictionaries(st.sampled_from(NEGOTIATING), header_values | st.sampled_from(LIKELY), min_size=1),
)
def test_any_header(shop: Shop, action: str, headers: dict[bytes, bytes]) -> None:
    """Whatever bytes a header of an otherwise valid request has, the response is a 200 or a 4xx."""
    target = f"/shop/{TRACKPOINT}/{action}".encode()

    status = status_of(shop, target, {b"X-Api-Key": shop.key.encode()} | headers, b"{}")

    assert status == 200 or 400 <= status < 500


@fuzzed
@given(key=latin1 | st.from_regex(r"sms_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_any_key(shop: Shop, key: str) -> None:
    """Whatever text is sent as a key, the response is a 401."""
    target = f"/shop/{TRACKPOINT}/export-sms-events".encode()

    assert status_of(shop, target, {b"X-Api-Key": key.encode("latin-1")}) == 401


@fuzzed
@given(
    target=st.one_of(
        st.text(max_size=60).map(lambda text: f"/{quote(text)}"),
        st.text(min_size=1, max_size=30).map(lambda text: f"/shop/{quote(text, safe='')}/export-sms-events"),
        st.text(st.characters(categories=["Nd"]), max_size=25).map(
            lambda text: f"/shop/{quote(text)}/import-sms-events"
        ),
        st.text("/%.0159afAF?#;&=\x7f shop", max_size=60).map(lambda text: f"/{text}"),
        st.integers(1, 50_000).map(lambda length: "/shop/" + "9" * length + "/export-sms-events"),
        st.integers(1, 16_000).map(lambda length: "/" + "%00" * length),
    ),
)
def test_any_path(shop: Shop, target: str) -> None:
    """Whatever the path is, the response is one of the contract's, and another shop is never served."""
    status = status_of(shop, target.encode(), {b"X-Api-Key": shop.key.encode()})

    assert status in {400, 403, 404, 405}


@fuzzed
@given(target=st.binary(max_size=100), rest=st.binary(max_size=300))
def test_any_bytes(shop: Shop, fuzzed_server: Server, target: bytes, rest: bytes) -> None:
    """Whatever bytes arrive on a connection, the server keeps running."""
    with connected(shop) as client:
        client.sendall(b"POST /" + target + b" HTTP/1.1\r\n" + rest)
        client.shutdown(socket.SHUT_WR)

    assert fuzzed_server.process.poll() is None


LONG_HEADS = {
    "one header": b" HTTP/1.1\r\nX: " + b"x" * 1_100_000,
    "many headers": b" HTTP/1.1" + b"".join(b"\r\nx%d: x" % number for number in range(100_000)),
    "path": b"x" * 1_100_000 + b" HTTP/1.1",
}


@pytest.mark.parametrize("part", LONG_HEADS)
def test_an_endless_head_is_refused(shop: Shop, part: str) -> None:
    """A head of more than a megabyte, which anybody may send, is refused or cut off rather than held in memory."""
    with connected(shop) as client:
        try:
            client.sendall(b"POST /shop/1/export-sms-events" + LONG_HEADS[part] + b"\r\nHost: localhost\r\n")
            client.sendall(b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
            answer = client.recv(100)
        except ConnectionError:
            answer = b""

    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 414 ", b"HTTP/1.1 431 "))


SCHEMATHESIS_HOOKS = """
import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
"""
SCHEMATHESIS_CONFIG = """
hooks = "hooks"

[generation]
database = "none"
max-examples = 60
"""
OWN_SHOP = f"""
[parameters]
"path.trackpointId" = {TRACKPOINT}
"""


@pytest.mark.parametrize("more_config", [OWN_SHOP, ""], ids=["the shop of the key", "any shop"])
def test_the_api_is_as_described(shop: Shop, tmp_path: Path, more_config: str) -> None:
    """Each response to a schemathesis request has a status, type and schema listed in /openapi.json.

    It runs as a command: the part of it that makes pytest tests of a running server does not work with pytest 9.2.
    """
    (tmp_path / "hooks.py").write_text(SCHEMATHESIS_HOOKS)
    (tmp_path / "config.toml").write_text(SCHEMATHESIS_CONFIG + more_config)
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", "config.toml"]
    command += ["run", f"{shop.base}/openapi.json", "--header", f"X-Api-Key: {shop.key}", "--checks", ",".join(CHECKS)]

    done = subprocess.run(
        [*command, "--phases", "examples,coverage,fuzzing"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
