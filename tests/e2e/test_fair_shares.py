"""Attacks by one shop have almost no effect on another shop."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import line
from tests.support.logs import opened_log, store
from tests.support.servers import PLAIN, Server, Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
IMPORTS_AT_ONCE = 10
TRIES = 12
# The most that a small import may take during an attack. Alone it takes a few milliseconds; it took 40 s during an
# attack of blank lines that were checked one by one, in threads that were not shared. The margin is for busy machines.
NEIGHBOUR_MAX_SECONDS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a dedicated server with few slots that soon refuses a slow body."""
    settings = {
        "SMSEVENTS_IMPORTS_AT_ONCE_MAX": str(IMPORTS_AT_ONCE),
        "SMSEVENTS_EXPORTS_AT_ONCE_MAX": str(IMPORTS_AT_ONCE),
        "SMSEVENTS_BODY_IDLE_MAX_SECONDS": "5",
        "SMSEVENTS_UPKEEP": "off",
    }
    running = Server(tmp_path_factory.mktemp("fair"), settings=settings)
    yield running
    running.stop()


def send_small(shop: Shop, number: int) -> float:
    """Import one event and return the seconds that it took."""
    began = time.monotonic()
    assert shop.send(line(shop.trackpoint, now_ms() - number)).status_code == 200
    return time.monotonic() - began


@contextmanager
def beside(attack: Callable[[], None], times: int) -> Iterator[list[BaseException]]:
    """Run an attack in several threads while the block runs, and yield the list of its failures."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def again_and_again() -> None:
        try:
            while not stop.is_set():
                attack()
        except BaseException as error:  # noqa: BLE001 -- looked at by the test
            failures.append(error)

    threads = [threading.Thread(target=again_and_again, daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


# Small gzip bodies that inflate to much: the repeated data, given an event, and the inflated size in MiB.
BOMBS: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "line feeds": (lambda _: b"\n", 60),
    "blank lines": (lambda _: b" \t\r\n", 60),
    "blank lines between events": (lambda event: event + b"\n" * 1000, 40),
    "the same event": (lambda event: event, 40),
    "events that are looked at twice": (lambda event: event.replace(b"123456", b"1234\\u003a"), 10),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_of_one_shop_keeps_no_other_waiting(server: Server, bomb: str) -> None:
    """While a shop sends six gzip bombs, another shop's import and the health checks proceed without delay."""
    greedy, other = server.shop(), server.shop()
    repeat, size_mib = BOMBS[bomb]
    repeated = repeat(line(greedy.trackpoint, now_ms()) + b"\n")
    body = gzip.compress(repeated * (size_mib * MIB // len(repeated)))
    statuses: set[int] = set()

    def attack() -> None:
        statuses.add(greedy.send(body, **{"Content-Encoding": "gzip"}).status_code)

    with beside(attack, 6) as failures:
        took = [send_small(other, number) for number in range(TRIES)]
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert httpx.get(server.base + path, timeout=NEIGHBOUR_MAX_SECONDS, verify=PLAIN).status_code == 200
    assert not failures
    assert statuses == {200}
    assert max(took) < NEIGHBOUR_MAX_SECONDS
    assert other.export().content.count(b"\n") == TRIES


@pytest.mark.parametrize("content", [b"\n", b" ", b"event"], ids=["line feeds", "spaces", "one event"])
def test_gzip_that_inflates_beyond_reason_is_refused_early(server: Server, content: bytes) -> None:
    """A megabyte of gzip that inflates to a gigabyte of blanks, or of one event, is 413 and stores nothing."""
    shop = server.shop()
    if content == b"event":
        content = line(shop.trackpoint, now_ms()) + b"\n"
    body = gzip.compress(content * (300 * MIB // len(content)), 9)
    before = cpu_seconds(server)
    got = shop.send(body, **{"Content-Encoding": "gzip"})
    assert got.status_code == 413
    assert "more than 200 times its size" in got.json()["detail"]
    assert shop.export().content == b""
    assert cpu_seconds(server) - before < 5


def cpu_seconds(server: Server) -> float:
    """Return the processor time that the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def dripping(server: Server, shop: Shop) -> Iterator[socket.socket]:
    """Begin an import whose body can be sent as slowly as the test needs."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as client:
        client.sendall(
            f"POST /shop/{shop.trackpoint}/import-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
            "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        yield client


def status_on(client: socket.socket) -> int:
    """Read the next status line and skip the rest of the head."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = client.recv(1)
        if not data:
            break
        got += data
    return int(got[9:12] or 0)


def test_slow_imports_of_one_shop_leave_places_to_others(server: Server) -> None:
    """A shop that begins more imports than there are slots gets most of them, but never those of other shops."""
    slow, other = server.shop(), server.shop()
    with ExitStack() as stack:
        clients = [stack.enter_context(dripping(server, slow)) for _ in range(IMPORTS_AT_ONCE + 5)]
        statuses = [status_on(client) for client in clients]
        assert statuses.count(100) == 8
        assert set(statuses) == {100, 429}
        for number in range(5):
            send_small(other, number)
        refused = slow.send(line(slow.trackpoint, now_ms()))
        assert refused.status_code == 429
        assert "8 imports of this shop" in refused.json()["detail"]
        assert server.metric("smsevents_imports_running") == 8
    assert other.export().content.count(b"\n") == 5
    assert slow.export().content == b""


def test_a_body_that_trickles_is_refused(server: Server) -> None:
    """A body that trickles without long pauses gets 408 once its time is up, and its slot becomes free."""
    shop = server.shop()
    with dripping(server, shop) as client:
        assert status_on(client) == 100
        client.settimeout(0.5)
        got = 0
        for _ in range(60):
            client.sendall(b"\n")
            try:
                got = status_on(client)
            except TimeoutError:
                continue
            break
        assert got == 408
    assert shop.send(line(shop.trackpoint, now_ms())).status_code == 200


def test_exports_that_nobody_reads_leave_places_to_others(server: Server) -> None:
    """A shop whose clients do not read holds most export slots, and another shop exports as usual."""
    slow, other = server.shop(), server.shop()
    wide = [line(slow.trackpoint, now_ms() - number, user=f"{number}-" + "x" * 900) for number in range(12_000)]
    with opened_log(server.url) as log:
        store(log, slow.trackpoint, wide)
    send_small(other, 0)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)))
            for _ in range(IMPORTS_AT_ONCE + 5)
        ]
        statuses = []
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(
                f"POST /shop/{slow.trackpoint}/export-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {slow.key}\r\n"
                "Content-Length: 2\r\n\r\n{}".encode()
            )
            statuses.append(status_on(client))
        assert statuses.count(200) == 8
        assert set(statuses) == {200, 429}
        for _ in range(5):
            assert other.export().content.count(b"\n") == 1


def test_wrong_keys_keep_nobody_waiting(server: Server) -> None:
    """During a flood of different unknown keys, a shop's imports and exports proceed without delay."""
    shop = server.shop()
    numbers = iter(range(10**9))

    def attack() -> None:
        key = f"sms_{next(numbers):012x}_{'x' * 43}"
        got = httpx.post(shop.import_url, headers={"X-Api-Key": key}, timeout=60, verify=PLAIN)
        assert got.status_code == 401

    with beside(attack, 1) as failures:
        took = [send_small(shop, number) for number in range(TRIES)]
        assert shop.export().content.count(b"\n") == TRIES
    assert not failures
    assert max(took) < NEIGHBOUR_MAX_SECONDS


def test_the_last_use_of_a_key_is_listed(server: Server) -> None:
    """The time at which a key is used over HTTP is soon in the database; an unused key has none."""
    used, unused = server.shop(), server.shop()
    before = now_ms()
    used.export()
    deadline = time.monotonic() + 30
    statement = "SELECT last_used_ms FROM keys WHERE trackpoint = ?"
    while (found := query(server.path, statement, used.trackpoint)[0][0]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert before <= found <= now_ms()
    assert query(server.path, statement, unused.trackpoint) == [(None,)]
