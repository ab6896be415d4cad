"""Large exports, which the thread that reads also sends: what clients receive, and what the server keeps."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.servers import STILL, Server, Shop, eventually
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 30_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that logs JSON, and whose database does not change."""
    running = Server(tmp_path_factory.mktemp("direct"), settings=STILL | {"SMSEVENTS_LOG_FORMAT": "json"})
    try:
        yield running
        assert "Traceback" not in running.log_path.read_text()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def filled(server: Server) -> tuple[Shop, bytes]:
    """Return a shop and its lines, which are many times what a connection buffers."""
    shop, now = server.shop(), now_ms()
    lines = b"".join(line(shop.trackpoint, now - EVENTS + number) + b"\n" for number in range(EVENTS))
    assert shop.send(lines).status_code == 200
    return shop, lines


def ask(shop: Shop, encoding: str, version: str = "1.1") -> bytes:
    """Return the request of all events."""
    return (
        f"POST /shop/{shop.trackpoint}/export-sms-events HTTP/{version}\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
        f"Accept-Encoding: {encoding}\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()


def descriptors(server: Server) -> int:
    """Return how many descriptors of sockets the server has."""
    found = 0
    for one in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(one.readlink()).startswith("socket:")
    return found


def logged(server: Server, request_id: str) -> list[int]:
    """Return the bytes that the server says it sent, once it has said so."""
    lines = server.log_path.read_text().splitlines()
    return [json.loads(one)["sent_bytes"] for one in lines if request_id in one]


def is_logged(server: Server, request_id: str) -> bool:
    """Return whether the server has logged a request."""
    return bool(logged(server, request_id))


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_what_is_sent_directly_is_the_export(server: Server, filled: tuple[Shop, bytes], encoding: str) -> None:
    """Each export on a connection is complete, its size is in the log, and no descriptor stays open."""
    shop, lines = filled
    with Wire(server.port) as wire:
        wire.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().status == 200  # so the connection is accepted
        before = descriptors(server)
        for _ in range(3):
            wire.send(ask(shop, encoding))
            reply = wire.reply()
            assert reply.is_complete
            assert (gzip.decompress(reply.body) if encoding == "gzip" else reply.body) == lines
            request_id = reply.headers["x-request-id"]
            assert eventually(partial(is_logged, server, request_id))
            assert logged(server, request_id) == [len(reply.body)]
        assert eventually(lambda: descriptors(server) == before)


def test_an_old_client_receives_the_export_too(server: Server, filled: tuple[Shop, bytes]) -> None:
    """A client of HTTP/1.0 receives the lines without frames, and an end without a reset."""
    shop, lines = filled
    with Wire(server.port) as wire:
        wire.send(ask(shop, "identity", "1.0"))
        assert wire.rest().partition(b"\r\n\r\n")[2] == lines
        assert not wire.was_reset


def test_clients_that_pause_and_go_leave_nothing(server: Server, filled: tuple[Shop, bytes]) -> None:
    """Clients that pause receive the complete export, and those that disconnect leave no descriptor open."""
    shop, lines = filled
    before = descriptors(server)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.port, window_bytes=4096)) for _ in range(12)]
        for wire in wires:
            wire.send(ask(shop, "identity"))
            assert wire.more()
        for wire in wires[:6]:
            wire.socket.close()
        for wire in wires[6:]:
            reply = wire.reply()
            assert reply.is_complete
            assert reply.body == lines
    assert eventually(lambda: descriptors(server) <= before)
    assert server.metric("smsevents_exports_running") == 0
