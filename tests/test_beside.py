"""Everything at a time: exports, imports, compaction, erasure and `kill -9` beside one another."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock import now_ms
from tests.support import HOUR_MS, PLAIN, STILL, Server, Shop, body_of, date_of, line, random_lines
from tests.test_kill import Client, assert_acknowledged_are_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVENTS = 20_000
BODY_LINES = 500
EXPORTS = 12
EXPORTS_AT_ONCE = 4
FORGOTTEN_USERS = 200
WAYS = (("identity", 0.0), ("gzip", 0.01), ("identity", 0.05))  # encoding, seconds between two parts
KILLS = 30
KILLS_BETWEEN_CHECKS = 5
# `smsevents compact` again and again; in one process, as most of the time would be Python's start else
COMPACT_LOOP = """
import os
from smsevents.cli import app
parent = os.getppid()
input()
while os.getppid() == parent:
    app(["compact"], standalone_mode=False)
"""
PAUSE_SECONDS = 0.05  # between the imports of a client, so that what is checked stays small


class UnhurriedShop(Shop):
    """A shop whose clients pause before each import."""

    def send(self, body: bytes, **headers: str) -> httpx.Response:
        """Import a body after a pause."""
        time.sleep(PAUSE_SECONDS)
        return super().send(body, **headers)


def clients_of(shop: Shop, count: int) -> list[Client]:
    """Give clients that are not started yet."""
    unhurried = UnhurriedShop(shop.trackpoint, shop.key, shop.base, shop.headers)
    return [Client(unhurried, f"client{index}", now_ms() - 200_000) for index in range(count)]


class Exports:
    """Exports of a shop that others change meanwhile, each compared with what it must and what it may hold."""

    def __init__(self, shop: Shop, kept: list[bytes], doomed: list[bytes], clients: list[Client]) -> None:
        """Expect `kept` always, `doomed` perhaps, and what was imported by clients from its acknowledgement on."""
        self._shop = shop
        self._kept = set(kept)
        self._doomed = set(doomed)
        self._clients = clients

    def check(self, number: int) -> list[bytes]:
        """Export once, in one of three ways; give the lines."""
        must = self._kept.union(*(list(client.acknowledged) for client in self._clients))
        lines = self._body(*WAYS[number % len(WAYS)]).splitlines()
        may = (self._kept | self._doomed).union(*(list(client.sent) for client in self._clients))

        entries = [(date_of(one), one) for one in lines]
        assert all(one < following for one, following in pairwise(entries)), "not in order, or twice"
        assert not must - set(lines)
        assert not set(lines) - may
        return lines

    def _body(self, encoding: str, pause_seconds: float) -> bytes:
        """Read what is on the wire, with pauses."""
        headers = self._shop.headers | {"Accept-Encoding": encoding}
        url = self._shop.export_url
        parts: list[bytes] = []
        with httpx.stream("POST", url, json={}, headers=headers, timeout=60, verify=PLAIN) as got:
            assert got.headers.get("Content-Encoding", "identity") == encoding
            for part in got.iter_raw(64 * 1024):
                parts.append(part)
                time.sleep(pause_seconds)
        body = b"".join(parts)
        return gzip.decompress(body) if encoding == "gzip" else body


def imported(shop: Shop, lines: list[bytes]) -> None:
    """Import lines in bodies of some hundred."""
    for start in range(0, len(lines), BODY_LINES):
        assert shop.send(body_of(lines[start : start + BODY_LINES])).status_code == 200


@contextmanager
def running_clients(clients: list[Client]) -> Iterator[None]:
    """Have clients import for as long as the block runs."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.stop()
    assert not [failure for client in clients for failure in client.failures]


@contextmanager
def repeated(*steps: Callable[[], None]) -> Iterator[None]:
    """Do each step again and again, each in a thread of its own, for as long as the block runs."""
    stopping = threading.Event()

    def repeat(step: Callable[[], None]) -> None:
        while not stopping.is_set():
            step()

    with ThreadPoolExecutor(len(steps)) as pool:
        loops = [pool.submit(repeat, step) for step in steps]
        try:
            yield
        finally:
            stopping.set()
    for loop in loops:
        loop.result()


class Upkeep:
    """Compacts and forgets by hand, and remembers who was forgotten."""

    def __init__(self, running: Server, shop: Shop) -> None:
        """Work on a shop of a running server."""
        self._running = running
        self._shop = shop
        self.forgotten: list[str] = []
        self.merged = 0

    def compact(self) -> None:
        """Compact everything."""
        done = self._running.command("compact")
        assert done.returncode == 0, done.stderr
        self.merged += b"segments became" in done.stderr

    def forget(self) -> None:
        """Forget the next user; if a reader keeps the write-ahead log, that is told and exits with 1."""
        user = doomed_user(len(self.forgotten) % FORGOTTEN_USERS)
        done = self._running.command("forget", str(self._shop.trackpoint), user)
        assert done.returncode == 0 or b"write-ahead log" in done.stderr, done.stderr
        self.forgotten.append(user)


def doomed_user(number: int) -> str:
    """Name a user to be forgotten."""
    return f"doomed-{number:03}"


def test_exports_are_whole_beside_all_other_work(tmp_path: Path) -> None:
    """Exports beside compaction, erasure and imports hold what was stored before them, in order, each event once."""
    running = Server(tmp_path, workers=2, settings=STILL)
    try:
        check_exports_beside(running)
    finally:
        running.stop()


def check_exports_beside(running: Server) -> None:
    """Export while everything else goes on."""
    chance = random.Random(12)  # noqa: S311 -- invented data
    shop = running.shop()
    start = now_ms() - HOUR_MS
    kept = random_lines(chance, shop.trackpoint, EVENTS, start, start + HOUR_MS)
    doomed = [
        line(shop.trackpoint, start + chance.randrange(HOUR_MS), user=doomed_user(number))
        for number in range(FORGOTTEN_USERS)
        for _ in range(3)
    ]
    imported(shop, chance.sample(kept + doomed, len(kept) + len(doomed)))

    clients = clients_of(shop, 2)
    exports = Exports(shop, kept, doomed, clients)
    upkeep = Upkeep(running, shop)
    with running_clients(clients), repeated(upkeep.compact, upkeep.forget), ThreadPoolExecutor(EXPORTS_AT_ONCE) as pool:
        list(pool.map(exports.check, range(EXPORTS)))

    gone = tuple(f'"userId":"{user}"'.encode() for user in upkeep.forgotten)
    assert gone
    assert upkeep.merged
    assert not [one for one in exports.check(0) if any(mark in one for mark in gone)]
    assert running.command("verify").returncode == 0


class CompactLoop:
    """A process that compacts again and again, in a process group of its own."""

    def __init__(self, running: Server, folder: Path) -> None:
        """Work on the database of a server."""
        self._environment = running.environment
        self.log_path = folder / "compact.log"
        self.start()

    def start(self) -> None:
        """Start it, also again; it waits until it may begin."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMPACT_LOOP],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def begin(self) -> None:
        """Let it compact from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.close()

    def kill(self) -> None:
        """Kill it in whatever it does; it must not have ended by itself."""
        ended = self._process.poll()
        if ended is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
        assert ended is None, self.log_path.read_text()


@pytest.mark.timeout(280)
def test_kills_beside_compaction_lose_nothing(tmp_path: Path) -> None:
    """After many kills of a server and a compaction all that was acknowledged is there once, and checks out."""
    running = Server(tmp_path, settings=STILL)
    shop = running.shop()
    chance = random.Random(9)  # noqa: S311 -- moments of the kills
    clients = clients_of(shop, 4)
    loop = CompactLoop(running, tmp_path)
    try:
        with running_clients(clients):
            for number in range(1, KILLS + 1):
                loop.begin()
                time.sleep(chance.uniform(0.1, 0.8))
                running.kill()
                loop.kill()
                loop.start()
                running.start()
                if number % KILLS_BETWEEN_CHECKS == 0:
                    assert_whole(running, shop, clients)
        assert_whole(running, shop, clients)
    finally:
        running.kill()
        loop.kill()
    assert sum(len(client.acknowledged) for client in clients) > 100
    assert "segments became" in loop.log_path.read_text()


def assert_whole(running: Server, shop: Shop, clients: list[Client]) -> None:
    """Compare an export with what clients know, and verify every segment."""
    assert_acknowledged_are_there(shop, clients)
    verified = running.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
