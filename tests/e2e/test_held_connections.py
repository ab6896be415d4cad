"""Connections held by one shop: others are still served, and a response cut off by a kill does not look complete."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.servers import STILL, Server, Shop
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = 256  # so few that 64 connections remain
WINDOW_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that may open very few files."""
    running = Server(tmp_path_factory.mktemp("small"), settings=STILL, files_max=FILES)
    try:
        yield running
        assert "Traceback" not in running.log_path.read_text()
    finally:
        running.stop()


def filled(shop: Shop, events: int = 40_000) -> Shop:
    """Fill a shop with so many events that an export does not fit into the buffers of a connection."""
    now = now_ms()
    body = b"".join(line(shop.trackpoint, now - number) + b"\n" for number in range(events))
    assert shop.send(body).status_code == 200
    return shop


def head_of(shop: Shop, action: str, length: int, version: str = "1.1") -> bytes:
    """Return the head of a request whose body has this many bytes."""
    return (
        f"POST /shop/{shop.trackpoint}/{action}-sms-events HTTP/{version}\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("kind", ["export", "import", "unread"])
def test_requests_of_one_shop_leave_connections_to_others(small: Server, kind: str) -> None:
    """When a shop stalls more requests than there are connections, other shops and health checks are still served."""
    greedy, other = small.shop(), small.shop()
    if kind == "unread":
        filled(greedy)
    action = "export" if kind == "unread" else kind
    with ExitStack() as stack:
        for _ in range(150):
            wire = stack.enter_context(Wire(small.port, window_bytes=WINDOW_BYTES))
            wire.send(head_of(greedy, action, 2 if kind == "unread" else 100))
            if kind == "unread":
                wire.send(b"{}")
        assert other.send(line(other.trackpoint, now_ms())).status_code == 200
        assert other.export().content.count(b"\n") == 1
        assert small.metric("smsevents_build_info") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_resets_a_response_that_ends_with_its_connection(tmp_path: Path, workers: int) -> None:
    """A large HTTP/1.0 export whose server is killed ends in a reset, because a close would look like its end."""
    server = Server(tmp_path, workers=workers, settings=STILL)
    try:
        shop = filled(server.shop())
        with Wire(server.port, window_bytes=WINDOW_BYTES) as wire:
            wire.send(head_of(shop, "export", 2, "1.0"), b"{}")
            assert wire.more()
            server.kill()
            wire.rest()
            assert wire.was_reset
    finally:
        if server.process.poll() is None:
            server.kill()


def test_a_complete_response_to_a_slow_client_is_not_reset(small: Server) -> None:
    """A large HTTP/1.0 export whose last bytes wait for the client ends with a close and holds every event."""
    shop = filled(small.shop(), 6_000)
    with Wire(small.port, window_bytes=4096) as wire:
        wire.send(head_of(shop, "export", 2, "1.0"), b"{}")
        assert wire.more()
        reply = wire.reply()
    assert reply.is_complete
    assert reply.body == shop.export().content


@pytest.mark.parametrize("framing", ["Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n64\r\n"])
def test_who_sends_too_little_and_listens_is_told(small: Server, framing: str) -> None:
    """A body that ends early, on a connection still open for the response, is 400; nothing is stored."""
    shop = small.shop()
    with Wire(small.port) as wire:
        wire.send(
            f"POST /shop/{shop.trackpoint}/import-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n".encode(),
            framing.encode(),
            line(shop.trackpoint, now_ms())[:50],
        )
        wire.socket.shutdown(1)
        reply = wire.reply()
        assert wire.rest() == b""
    assert reply.status == 400
    assert "before the body did" in reply.problem["detail"]
    assert shop.export().content == b""


@pytest.mark.parametrize("charset", ["UTF-8", "utf8"])
def test_a_charset_in_the_place_of_a_coding_is_tolerated(small: Server, charset: str) -> None:
    """`Content-Encoding: utf-8` names no coding: the body is read as it is, in both calls."""
    shop = small.shop()
    event = line(shop.trackpoint, now_ms())
    assert shop.send(event, **{"Content-Encoding": charset}).status_code == 200
    exported = shop.export(None, **{"Content-Encoding": charset})
    assert (exported.status_code, exported.content) == (200, event + b"\n")
