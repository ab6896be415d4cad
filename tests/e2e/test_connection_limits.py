"""Attacks that need no key and cost the sender nothing: memory stays bounded, and health checks are always answered."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from smsevents.web.connection.protocol import HEAD_MAX_SECONDS
from tests.support.lines import line
from tests.support.servers import STILL, Server, eventually
from tests.support.wire import Wire, ask, chunked, count_responses, only_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
PEAK_MAX_MIB = 250
FILES = 1024
CLOSED_MAX_SECONDS = HEAD_MAX_SECONDS + 25  # on a machine that is busy with other work


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server limited to few files by `ulimit -n 1024`, and check afterwards that it stayed small and calm."""
    running = Server(tmp_path_factory.mktemp("attacked"), settings=STILL, files_max=FILES)
    try:
        yield running
        assert peak_mib(running) < PEAK_MAX_MIB
        assert "Traceback" not in running.log_path.read_text()
    finally:
        running.stop()


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    """Let the test itself open more connections than the server may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peak_mib(server: Server) -> float:
    """Return the peak memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def lives(server: Server) -> bool:
    """Request the health status on a new connection, as a health check does."""
    with Wire(server.port) as wire:
        wire.socket.settimeout(10)
        wire.send(ask("GET", "/health/live", "Connection: close"))
        return wire.reply().status == 200


def flood(wire: Wire, data: bytes, total_bytes: int) -> None:
    """Send the same bytes again and again without reading, until the server accepts no more."""
    wire.socket.settimeout(1)
    with suppress(OSError):
        for _ in range(total_bytes // len(data)):
            wire.send(data)


def test_endless_trailers_are_refused(attacked: Server) -> None:
    """Trailers over the limit end the connection, whatever the request was, and take up no memory."""
    head = ask("GET", "/docs", "Transfer-Encoding: chunked")
    for _ in range(3):
        with Wire(attacked.port) as wire:
            flood(wire, head + b"0\r\n" + b"a: xxx\r\n" * 100_000, 100 * MIB)

    assert lives(attacked)
    assert peak_mib(attacked) < PEAK_MAX_MIB


def test_long_trailers_of_an_import_are_a_problem(attacked: Server) -> None:
    """An import whose trailers exceed the limit is a 431, and nothing of it is stored."""
    shop = attacked.shop()
    path = f"/shop/{shop.trackpoint}/import-sms-events"

    head = ask("POST", path, f"X-Api-Key: {shop.key}", "Transfer-Encoding: chunked")
    reply = only_reply(attacked.port, head, chunked([b"\n"], trailers=b"a: xxx\r\n" * 2000))

    assert reply.status == 431
    assert "trailers" in reply.problem["detail"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/nothing"])
def test_pipelined_requests_wait_outside(attacked: Server, path: str) -> None:
    """Requests that keep coming while no response is read are left unread."""
    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        wires = [stack.enter_context(Wire(attacked.port, window_bytes=4096)) for _ in range(20)]
        list(pool.map(lambda wire: flood(wire, ask("GET", path) * 5000, 40 * MIB), wires))
        assert lives(attacked)

    assert peak_mib(attacked) < PEAK_MAX_MIB


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_exports_that_nobody_reads_are_bounded_together(attacked: Server, version: str) -> None:
    """Hundreds of authorized clients that do not read their exports use a bounded amount of memory in total."""
    shop = attacked.shop()
    now = now_ms()
    lines = (line(shop.trackpoint, now - number, user=f"u{number}") + b"\n" for number in range(5000))
    assert shop.send(b"".join(lines)).status_code == 200
    path = f"/shop/{shop.trackpoint}/export-sms-events"
    with ExitStack() as stack:
        for _ in range(400):
            wire = stack.enter_context(Wire(attacked.port, window_bytes=4096))
            wire.send(ask("POST", path, f"X-Api-Key: {shop.key}", body=b"{}", version=version))
        assert eventually(lambda: lives(attacked) and attacked.metric("smsevents_events_out_total") >= 5000)

    assert peak_mib(attacked) < PEAK_MAX_MIB


def test_unfinished_heads_are_bounded_together(attacked: Server) -> None:
    """Hundreds of unfinished heads just under the limit use a bounded amount of memory in total."""
    with ExitStack() as stack:
        for number in range(600):
            wire = stack.enter_context(Wire(attacked.port))
            with suppress(OSError):
                wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b" * 15_500 if number % 2 else b"a:\r\n" * 126)
        assert lives(attacked)

    assert peak_mib(attacked) < PEAK_MAX_MIB


def test_idle_connections_leave_room_for_health_checks(attacked: Server) -> None:
    """With more silent connections than allowed, a health check is answered, and the log reports the excess."""
    with ExitStack() as stack:
        for _ in range(1200):
            stack.enter_context(Wire(attacked.port))
        for _ in range(20):
            assert lives(attacked)
        assert eventually(lambda: "connection limit reached" in attacked.log_path.read_text())


def test_requests_that_are_served_leave_room_for_health_checks(attacked: Server) -> None:
    """With every connection held by a request whose body does not end, health checks are still answered."""
    shop = attacked.shop()
    path = f"/shop/{shop.trackpoint}/import-sms-events"
    with ExitStack() as stack:
        for _ in range(1200):
            wire = stack.enter_context(Wire(attacked.port))
            with suppress(OSError):
                wire.send(ask("POST", path, f"X-Api-Key: {shop.key}", "Content-Length: 100000"), b"\n")
        for _ in range(5):
            assert lives(attacked)


def seconds_until_the_end(wire: Wire, every: bytes = b"") -> tuple[float, bytes]:
    """Wait until a connection is closed, sending bytes now and then; return the duration and the data received."""
    started = time.monotonic()
    received = b""
    while time.monotonic() - started < CLOSED_MAX_SECONDS:
        try:
            wire.send(every)
            received += wire.rest_within(0.2)
            wire.socket.settimeout(0.01)
            if wire.socket.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - started, received


def test_connections_without_a_complete_request_are_closed(server: Server) -> None:
    """A connection without a complete head is closed after a time; one that began a head gets a 408 first."""
    beginnings = [b"", b"\r\n", ask("GET", "/health/live"), b"GET / HTTP/1.1\r\nHost: x\r\n"]
    with ExitStack() as stack, ThreadPoolExecutor(len(beginnings)) as pool:
        wires = [stack.enter_context(Wire(server.port)) for _ in beginnings]
        for wire, sent in zip(wires, beginnings, strict=True):
            wire.send(sent)
        ends = list(pool.map(seconds_until_the_end, wires))

    assert [HEAD_MAX_SECONDS - 2 < seconds < CLOSED_MAX_SECONDS for seconds, _ in ends] == [True] * 4
    assert [count_responses(received) for _, received in ends] == [0, 0, 1, 1]
    assert ends[3][1].startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_asked_for_may_not_last(server: Server) -> None:
    """A request that needs no body but sends an endless one gets its response, and its connection is soon closed."""
    asked = [
        ask(method, path, framing)
        for method, path in [("GET", "/docs"), ("GET", "/nothing"), ("POST", "/shop/7/import-sms-events")]
        for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"]
    ]
    with ExitStack() as stack, ThreadPoolExecutor(len(asked)) as pool:
        wires = [stack.enter_context(Wire(server.port)) for _ in asked]
        for wire, sent in zip(wires, asked, strict=True):
            wire.send(sent, b"5\r\n")
            assert wire.reply().status in {200, 401, 404}
        ends = list(pool.map(lambda wire: seconds_until_the_end(wire, every=b"hello\r\n5\r\n"), wires))

    assert max(seconds for seconds, _ in ends) < HEAD_MAX_SECONDS - 2
    assert [received for _, received in ends] == [b""] * len(asked)


def test_a_body_that_nobody_asked_for_does_not_cost_the_connection(server: Server) -> None:
    """A GET with a finite body is served, and so is the next request on the connection."""
    with Wire(server.port) as wire:
        for _ in range(3):
            wire.send(ask("GET", "/health/live", "Content-Length: 100"))
            assert wire.reply().status == 200
            wire.send(b"x" * 100)
