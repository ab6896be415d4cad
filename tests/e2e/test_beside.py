"""Everything at the same time: exports, imports, compaction, erasure and `kill -9`."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.catalog import Database
from smsevents.clock.system import now_ms
from smsevents.upkeep.verification import verify
from tests.support.campaigns import few_or_many
from tests.support.importers import Client, assert_acknowledged_are_there
from tests.support.lines import HOUR_MS, body_of, date_of, line, random_lines
from tests.support.servers import PLAIN, STILL, Server, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 20_000
BODY_LINES = 500
EXPORTS = 12
EXPORTS_AT_ONCE = 4
FORGOTTEN_USERS = 200
WAYS = (("identity", 0.0), ("gzip", 0.01), ("identity", 0.05))  # encoding, seconds between two reads
KILLS_BETWEEN_CHECKS = 10
# The commands run again and again in one process, because Python's startup would otherwise take most of the time.
# Each input line is a round of commands, run one after another; at the end of the input it starts over.
UPKEEP_LOOP = """
import os, sys
from smsevents.cli import app
rounds = [[command.split(" ") for command in line.rstrip().split(";")] for line in sys.stdin]
parent, number = os.getppid(), 0
while os.getppid() == parent:
    for command in rounds[number % len(rounds)]:
        app(command, standalone_mode=False)
        print("done", *command, flush=True)
    number += 1
"""
MERGE_MAX_SECONDS = 120
PAUSE_SECONDS = 0.05  # between the imports of a client, to keep the amount of data to check small


class UnhurriedShop(Shop):
    """A shop whose clients pause before each import."""

    def send(self, body: bytes, **headers: str) -> httpx.Response:
        """Import a body after a pause."""
        time.sleep(PAUSE_SECONDS)
        return super().send(body, **headers)


def clients_of(shop: Shop, count: int) -> list[Client]:
    """Return clients that have not been started yet."""
    unhurried = UnhurriedShop(shop.trackpoint, shop.key, shop.base, shop.headers)
    return [Client(unhurried, f"client{index}", now_ms() - 200_000) for index in range(count)]


class Exports:
    """Exports of a shop that others change meanwhile, each checked for what it must contain and what it may contain."""

    def __init__(self, shop: Shop, kept: list[bytes], doomed: list[bytes], clients: list[Client]) -> None:
        """Expect `kept` always, `doomed` optionally, and the clients' imports once they are acknowledged."""
        self._shop = shop
        self._kept = set(kept)
        self._doomed = set(doomed)
        self._clients = clients

    def check(self, number: int) -> list[bytes]:
        """Export once, in one of three ways, and return the lines."""
        must = self._kept.union(*(list(client.acknowledged) for client in self._clients))
        lines = self._body(*WAYS[number % len(WAYS)]).splitlines()
        may = (self._kept | self._doomed).union(*(list(client.sent) for client in self._clients))

        entries = [(date_of(one), one) for one in lines]
        assert all(one < following for one, following in pairwise(entries)), "not in order, or twice"
        assert not must - set(lines)
        assert not set(lines) - may
        return lines

    def _body(self, encoding: str, pause_seconds: float) -> bytes:
        """Read the raw response body, pausing between parts."""
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
    """Import lines in bodies of a few hundred lines."""
    for start in range(0, len(lines), BODY_LINES):
        assert shop.send(body_of(lines[start : start + BODY_LINES])).status_code == 200


@contextmanager
def running_clients(clients: list[Client]) -> Iterator[None]:
    """Run clients that import for as long as the block runs."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.stop()
    assert not [failure for client in clients for failure in client.failures]


class UpkeepLoop:
    """A process that runs upkeep again and again while a server runs."""

    def __init__(self, running: Server, folder: Path, rounds: list[str]) -> None:
        """Work on the database of a server; each round is a list of commands separated by semicolons."""
        self._environment = running.environment
        self._rounds = rounds
        self.log_path = folder / "upkeep.log"
        self.start()

    def start(self) -> None:
        """Start or restart the process; it waits for `begin`."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", UPKEEP_LOOP],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def begin(self) -> None:
        """Let it start working."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(self._rounds).encode())
        self._process.stdin.close()

    def kill(self) -> None:
        """Kill it whatever it is doing; it must not have exited by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        ended = self._process.poll()
        if ended is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
        assert ended is None, self.log_path.read_text()

    def wait_for_merge(self) -> None:
        """Wait until a compaction has merged something."""
        deadline = time.monotonic() + MERGE_MAX_SECONDS
        while "merged" not in self.log_path.read_text():
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.05)

    def done(self, command: str) -> list[str]:
        """Return the text reported after a command each time it completed."""
        rows = [row.split(" ") for row in self.log_path.read_text().splitlines()]
        return [" ".join(row[2:]) for row in rows if row[:2] == ["done", command]]


def doomed_user(number: int) -> str:
    """Return the id of a user who will be erased."""
    return f"doomed-{number:03}"


def test_exports_are_whole_beside_all_other_work(tmp_path: Path) -> None:
    """Exports during compaction, erasure and imports hold everything stored before, in order and without duplicates."""
    running = Server(tmp_path, workers=2, settings=STILL)
    try:
        check_exports_beside(running, tmp_path)
    finally:
        running.stop()


def check_exports_beside(running: Server, folder: Path) -> None:
    """Export while everything else runs."""
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
    rounds = [f"compact;forget {shop.trackpoint} {doomed_user(number)}" for number in range(FORGOTTEN_USERS)]
    upkeep = UpkeepLoop(running, folder, rounds)
    with running_clients(clients), ThreadPoolExecutor(EXPORTS_AT_ONCE) as pool:
        upkeep.begin()
        list(pool.map(exports.check, range(EXPORTS)))
        while not upkeep.done("forget"):
            time.sleep(0.1)
    upkeep.kill()

    gone = tuple(f'"userId":"{done.split()[-1]}"'.encode() for done in upkeep.done("forget"))
    assert "merged" in upkeep.log_path.read_text()
    assert not [one for one in exports.check(0) if any(mark in one for mark in gone)]
    assert_sound(running)


def assert_sound(running: Server) -> None:
    """Verify every segment and assert that all are sound."""
    database = Database(running.url)
    assert [one.damage for one in verify(database, None) if one.damage] == []
    database.close()


@pytest.mark.parametrize("kills", few_or_many(6, 300))
def test_kills_beside_compaction_lose_nothing(tmp_path: Path, kills: int) -> None:
    """After many kills of a server and a compaction, every acknowledged event is there exactly once and verifies."""
    running = Server(tmp_path, settings=STILL)
    shop = running.shop()
    chance = random.Random(9)  # noqa: S311 -- moments of the kills
    clients = clients_of(shop, 4)
    loop = UpkeepLoop(running, tmp_path, ["compact"])
    try:
        with running_clients(clients):
            for number in range(1, kills + 1):
                loop.begin()
                time.sleep(chance.uniform(0.1, 0.8))
                running.kill()
                loop.kill()
                loop.start()
                running.start()
                if number % KILLS_BETWEEN_CHECKS == 0:
                    assert_acknowledged_are_there(shop, clients)
                    assert_sound(running)
            loop.begin()
            loop.wait_for_merge()  # a few kills may leave none of the others the time
        assert_acknowledged_are_there(shop, clients)
        assert_sound(running)
    finally:
        running.kill()
        loop.kill()
    assert sum(len(client.acknowledged) for client in clients) > 100
