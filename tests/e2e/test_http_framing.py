"""Message framing and host, and responses that cannot mislead a client: raw bytes to a real server."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.servers import Server, eventually
from tests.support.wire import Wire, ask, chunked, count_responses, only_reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Shop


def import_of(shop: Shop, *headers: str, body: bytes | None = None, version: str = "HTTP/1.1") -> bytes:
    """Return an import as bytes; `headers` may frame a body that the caller sends."""
    path = f"/shop/{shop.trackpoint}/import-sms-events"
    return ask("POST", path, f"X-Api-Key: {shop.key}", *headers, body=body, version=version)


def export_of(shop: Shop, *headers: str, body: bytes | None = b"{}", version: str = "HTTP/1.1") -> bytes:
    """Return an export as bytes."""
    path = f"/shop/{shop.trackpoint}/export-sms-events"
    return ask("POST", path, f"X-Api-Key: {shop.key}", *headers, body=body, version=version)


def lines_of(shop: Shop, count: int) -> list[bytes]:
    """Return lines of the last minute, each different."""
    now = now_ms()
    return [line(shop.trackpoint, now - number, user=f"u{number}") + b"\n" for number in range(count)]


UPGRADES = {
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    "h2c, in another case": ["connection: upgrade", "upgrade: H2C"],
    "websocket": ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"],
    "several": ["Connection: keep-alive, Upgrade", "Upgrade: TLS/1.2, h2c, foo/1"],
    "empty": ["Connection: Upgrade", "Upgrade:"],
    "without Connection": ["Upgrade: h2c"],
}


@pytest.mark.parametrize("framing", ["length", "chunks", "length, body later", "chunks, body later"])
@pytest.mark.parametrize("offer", UPGRADES)
def test_an_upgrade_is_not_taken_and_the_request_is_served(server: Server, offer: str, framing: str) -> None:
    """A request that offers an upgrade is served with its complete body, and so is the next one on the connection."""
    shop = server.shop()
    lines = lines_of(shop, 3)
    body = b"".join(lines)
    how = f"Content-Length: {len(body)}" if framing.startswith("length") else "Transfer-Encoding: chunked"
    sent = body if framing.startswith("length") else chunked(lines)

    with Wire(server.port) as wire:
        wire.send(import_of(shop, *UPGRADES[offer], how))
        if framing.endswith("later"):
            time.sleep(0.1)
        wire.send(sent, export_of(shop, *UPGRADES[offer]))
        imported, exported = wire.reply(), wire.reply()

    assert (imported.status, imported.body) == (200, b'{"received":3,"expired":0}')
    assert (exported.status, exported.body) == (200, b"".join(reversed(lines)))


def test_a_get_that_offers_an_upgrade_is_served(server: Server) -> None:
    """A page requested with an upgrade offer is returned, and the connection continues in HTTP/1.1."""
    with Wire(server.port) as wire:
        wire.send(ask("GET", "/docs", *UPGRADES["h2c"]) + ask("GET", "/health/live"))

        assert wire.reply().status == 200
        assert wire.reply().body == b'{"status":"alive"}'


@pytest.mark.parametrize("offer", [[], UPGRADES["h2c"]], ids=["plain", "upgrade"])
def test_a_body_is_never_read_as_a_request(server: Server, offer: list[str]) -> None:
    """A body that looks like a request gets no response of its own."""
    shop = server.shop()
    smuggled = ask("GET", "/health/live")

    with Wire(server.port) as wire:
        wire.send(import_of(shop, *offer, body=smuggled))

        assert wire.reply().status == 400
        assert count_responses(wire.rest()) == 0


BAD_HEADERS = {
    "two lengths": ["Content-Length: 2", "Content-Length: 2"],
    "a list of lengths": ["Content-Length: 2, 2"],
    "a signed length": ["Content-Length: +2"],
    "a length in superscript": ["Content-Length: \xb2"],
    "a length of 19 digits": ["Content-Length: " + "9" * 19],
    "length and chunks": ["Content-Length: 2", "Transfer-Encoding: chunked"],
    "chunks and length": ["Transfer-Encoding: chunked", "Content-Length: 2"],
    "another transfer coding": ["Transfer-Encoding: gzip, chunked"],
    "identity": ["Transfer-Encoding: identity"],
    "two transfer codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "a space before the colon": ["Content-Length : 2"],
    "a folded header": ["A: b\r\n c"],
    "a bare line feed": ["A: b\nContent-Length: 2"],
    "a bare carriage return": ["A: b\rContent-Length: 2"],
    "a NUL": ["A: \x00"],
    "two hosts": ["Host: other"],
    "another expectation": ["Expect: something"],
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_what_two_programs_could_read_in_two_ways_is_refused(server: Server, kind: str) -> None:
    """A request of ambiguous framing or host gets one 400, and the connection is closed."""
    shop = server.shop()

    reply = only_reply(server.port, import_of(shop, *BAD_HEADERS[kind]), b"{}", ask("GET", "/health/live"))

    assert reply.status == 400
    assert reply.headers["connection"] == "close"
    assert reply.problem["detail"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health/live\r\n\r\n",
        b"GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health/live HTTP/0.9\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"GET /health/live HTTP/1.1\nHost: x\n\n",
        b"GET /health/live\n",
        b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03",
        b'{"from":1}',
    ],
    ids=[
        "0.9",
        "2.0",
        "preface of 2",
        "0.9 in words",
        "no host",
        "bare line feeds",
        "0.9, bare",
        "TLS",
        "a body alone",
    ],
)
def test_other_versions_and_protocols_are_refused_at_once(server: Server, data: bytes) -> None:
    """Anything but HTTP/1.x gets one problem with status 400 without waiting for more."""
    started = time.monotonic()

    reply = only_reply(server.port, data)

    assert reply.status == 400
    assert "HTTP" in reply.problem["detail"]
    assert time.monotonic() - started < 20  # the time limit of a head is 30


@pytest.mark.parametrize("version", ["HTTP/1.2", "HTTP/1.9"])
def test_a_later_minor_version_is_served(server: Server, version: str) -> None:
    """A later HTTP/1.x is served as HTTP/1.1 (RFC 9110, section 2.5)."""
    with Wire(server.port) as wire:
        wire.send(ask("GET", "/health/live", version=version) * 2)

        assert [wire.reply().status for _ in range(2)] == [200, 200]


def test_absolute_targets_are_served(server: Server) -> None:
    """A request with an absolute target, as sent to a proxy, is served (RFC 9112, section 3.2.2)."""
    with Wire(server.port) as wire:
        wire.send(ask("GET", "http://any.example:80/health/live"))

        assert wire.reply().status == 200


@pytest.mark.parametrize("zeros", [10, 5000])
def test_leading_zeros_do_not_count(server: Server, zeros: int) -> None:
    """Leading zeros do not change the value of a length."""
    shop = server.shop()

    with Wire(server.port) as wire:
        wire.send(import_of(shop, f"Content-Length: {'0' * zeros}2"), b"\n\n")

        assert wire.reply().status == 200


@pytest.mark.parametrize("announced", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_end_stores_nothing(server: Server, announced: str) -> None:
    """A connection that ends before its announced body is complete stores nothing."""
    shop = server.shop()
    one = lines_of(shop, 1)[0]
    sent = one if announced.startswith("Transfer") else one + b"rest"
    with Wire(server.port) as wire:
        if announced.startswith("Transfer"):
            wire.send(import_of(shop, announced), b"%x\r\n" % len(sent), sent, b"\r\n")
        else:
            wire.send(import_of(shop, f"Content-Length: {len(sent) + 1}"), sent)
        time.sleep(0.2)
        wire.socket.shutdown(socket.SHUT_WR)
        rest = wire.rest()

    assert b" 200 " not in rest
    assert shop.export().content == b""


def test_a_chunk_of_a_wrong_size_stores_nothing(server: Server) -> None:
    """A body whose chunks are damaged in the middle is one 400, and nothing of it is stored."""
    shop = server.shop()
    one = lines_of(shop, 1)[0]
    head = import_of(shop, "Transfer-Encoding: chunked")

    longer = b"%x\r\n%b\r\n0\r\n\r\n" % (len(one) + 1, one)
    reply = only_reply(server.port, head, b"%x\r\n%b\r\n" % (len(one), one), longer)

    assert reply.status == 400
    assert "chunk" in reply.problem["detail"]
    assert shop.export().content == b""


def test_stray_line_ends_between_requests_are_ignored(server: Server) -> None:
    """Any number of CR LF before a request line, even the first, changes nothing (RFC 9112, section 2.2)."""
    shop = server.shop()
    lines = lines_of(shop, 2)

    with Wire(server.port) as wire:
        for one in lines:
            wire.send(b"\r\n" * 5, import_of(shop, body=one), b"\r\n")
            assert wire.reply().body == b'{"received":1,"expired":0}'
        wire.send(b"\r", b"\n", export_of(shop))
        assert wire.reply().body == b"".join(reversed(lines))


def test_the_body_is_asked_for_when_it_is_wanted(server: Server) -> None:
    """With `Expect: 100-continue` a valid import gets one `100 Continue` and is then served."""
    shop = server.shop()
    one = lines_of(shop, 1)[0]

    with Wire(server.port) as wire:
        wire.send(import_of(shop, "Expect: 100-Continue", f"Content-Length: {len(one)}"))
        assert wire.head() == (100, {})
        wire.send(one)
        assert wire.reply().body == b'{"received":1,"expired":0}'
        wire.send(import_of(shop, "Expect: 100-continue", body=one))  # and who does not wait is not asked
        assert wire.reply().status in {100, 200}


def test_the_body_is_not_asked_for_when_it_is_not_wanted(server: Server) -> None:
    """With `Expect: 100-continue` a wrong key is a 401 at once, and the connection is closed after it."""
    shop = server.shop()
    head = import_of(shop, "Expect: 100-continue", "Content-Length: 1000000").replace(shop.key.encode(), b"wrong")

    reply = only_reply(server.port, head)

    assert reply.status == 401
    assert reply.headers["connection"] == "close"


def test_a_client_of_http_1_0_is_not_asked_for_its_body(server: Server) -> None:
    """An HTTP/1.0 client gets no `100 Continue`."""
    shop = server.shop()
    one = lines_of(shop, 1)[0]

    reply = only_reply(server.port, import_of(shop, "Expect: 100-continue", body=one, version="HTTP/1.0"))

    assert (reply.status, reply.body) == (200, b'{"received":1,"expired":0}')


def test_who_sends_all_before_reading_gets_the_refusal(server: Server) -> None:
    """A client that sends a large body completely before reading sees the 401 rather than a reset."""
    shop = server.shop()
    head = import_of(shop, f"Content-Length: {8 * 1024 * 1024}").replace(shop.key.encode(), b"wrong")

    with Wire(server.port) as wire:
        wire.send(head)
        for _ in range(8 * 16):
            wire.send(b"\n" * 65_536)

        assert wire.reply().status == 401


def test_a_half_closed_connection_is_served(server: Server) -> None:
    """A client that closes its side after a complete request, as `nc -N` does, gets its response."""
    shop = server.shop()
    lines = lines_of(shop, 100)
    with Wire(server.port) as wire:
        wire.send(import_of(shop, body=b"".join(lines)))
        wire.socket.shutdown(socket.SHUT_WR)

        assert wire.reply().body == b'{"received":100,"expired":0}'
        assert wire.rest() == b""


@pytest.fixture(scope="module")
def large(server: Server) -> Shop:
    """Return a shop with so many events that an export does not fit into the buffers of a connection."""
    return filled(server.shop())


def filled(shop: Shop) -> Shop:
    """Return a shop with several MB of events."""
    assert shop.send(b"".join(lines_of(shop, 40_000))).status_code == 200
    return shop


WINDOW_BYTES = 64 * 1024
GARBAGE = [b"garbage\r\n\r\n", b"\x00\x01\x02", b"GET / HTTP/1.1\r\nbad\r\n\r\n", b"G" * 70_000]


@pytest.mark.parametrize("stray", GARBAGE)
def test_garbage_during_an_export_only_closes(server: Server, large: Shop, stray: bytes) -> None:
    """Data received during an export never puts a status line into it or after it; the export is complete."""
    expected = large.export().content
    assert len(expected) > 5_000_000

    with Wire(server.port, window_bytes=WINDOW_BYTES) as wire:
        wire.send(export_of(large))
        wire.more()
        wire.send(stray)
        reply = wire.reply()
        rest = wire.rest()

    assert reply.is_complete
    assert reply.body == expected
    assert rest == b""


@pytest.mark.parametrize("stray", [b"\r\n", b"\r\n\r\n", b"GET /health/live HTTP/1.1\r\nHo"])
def test_the_beginning_of_a_request_during_an_export_waits(server: Server, large: Shop, stray: bytes) -> None:
    """A second request whose head arrives slowly is served after the export, and the export is complete."""
    expected = large.export().content

    with Wire(server.port, window_bytes=WINDOW_BYTES) as wire:
        wire.send(export_of(large))
        wire.more()
        wire.send(stray)
        reply = wire.reply()
        wire.send(ask("GET", "/health/live") if stray.startswith(b"\r") else b"st: x\r\n\r\n")
        after = wire.reply()

    assert reply.is_complete
    assert reply.body == expected
    assert after.status == 200


def test_http_1_0_gets_a_length_where_the_response_is_small(server: Server) -> None:
    """A small HTTP/1.0 export has a Content-Length and no chunks, and the connection is closed after it."""
    shop = server.shop()
    lines = lines_of(shop, 20)
    shop.send(b"".join(lines))

    reply = only_reply(server.port, export_of(shop, "Connection: keep-alive", version="HTTP/1.0"))

    assert "transfer-encoding" not in reply.headers
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["connection"] == "close"
    assert reply.body == b"".join(reversed(lines))


def test_http_1_0_gets_a_large_export_until_the_close(server: Server, large: Shop) -> None:
    """A large HTTP/1.0 export has neither chunks nor a length; it ends with a close, not a reset."""
    with Wire(server.port) as wire:
        wire.send(export_of(large, version="HTTP/1.0"))
        reply = wire.reply()

    assert not {"transfer-encoding", "content-length"} & set(reply.headers)
    assert reply.is_complete
    assert reply.body == large.export().content


def test_the_connections_of_truncated_exports_are_reset(tmp_path: Path) -> None:
    """A large HTTP/1.0 export that is truncated by a stop ends in a reset: no client can take it for complete."""
    own = Server(tmp_path, settings={"SMSEVENTS_SHUTDOWN_MAX_SECONDS": "1"})
    shop = filled(own.shop())
    with Wire(own.port, window_bytes=WINDOW_BYTES) as wire:
        wire.send(export_of(shop, version="HTTP/1.0"))
        wire.more()
        own.stop()
        wire.rest()

        assert wire.was_reset


def test_head_has_no_body(server: Server) -> None:
    """HEAD returns the headers of GET and no body, and the connection stays usable."""
    with Wire(server.port) as wire:
        for path in (
            "/docs",
            "/page/bundle/docs.js",
            "/page/bundle/docs.css",
            "/openapi.json",
            "/metrics",
            "/health/live",
            "/",
        ):
            wire.send(ask("HEAD", path))
            reply = wire.reply(to_head=True)
            assert reply.status == 200
            assert int(reply.headers["content-length"]) > 0
        wire.send(ask("GET", "/health/live"))
        assert wire.reply().status == 200


@pytest.mark.parametrize("name", ["X-Api-Key", "x-api-key"])
def test_keys_that_differ_are_refused(server: Server, name: str) -> None:
    """Two different keys in one request are a 400 in either order; the same key twice is accepted."""
    shop = server.shop()
    other = server.shop()

    for keys in ((shop.key, other.key), (other.key, shop.key)):
        path = f"/shop/{shop.trackpoint}/export-sms-events"
        reply = only_reply(server.port, ask("POST", path, f"X-Api-Key: {keys[0]}", f"{name}: {keys[1]}", body=b"{}"))
        assert reply.status == 400
        assert "X-Api-Key" in reply.problem["detail"]
    with Wire(server.port) as wire:
        wire.send(export_of(shop, f"{name}: {shop.key}"))
        assert wire.reply().status == 200


def test_a_reset_of_the_client_leaves_nothing_behind(server: Server, large: Shop) -> None:
    """A client that resets its connection during an export ends only that export."""
    with Wire(server.port, window_bytes=WINDOW_BYTES) as wire:
        wire.send(export_of(large))
        wire.more()
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert eventually(lambda: server.metric("smsevents_exports_running") == 0)
