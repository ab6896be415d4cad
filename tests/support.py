"""What the tests share: events to send, a real server to send them to, and the model that answers are held to."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from smsevents.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.outline import outlines
from smsevents.clock import now_ms
from smsevents.intake import Intake
from smsevents.log import Log
from smsevents.segments import unpack
from smsevents.settings import HISTORY_MS
from smsevents.upkeep.compaction import DEFAULT_SIZES, compact_shop
from smsevents.upkeep.verification import verify
from smsevents.window import resolve

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from smsevents.access import Scope
    from smsevents.catalog.outline import Outline
    from smsevents.upkeep.compaction import Compacted, Sizes

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MAX_SECONDS = 60
SETTLE_MAX_SECONDS = 30
STILL = {"SMSEVENTS_UPKEEP": "off"}  # for a database that changes only when the test says so
PLAIN = ssl.create_default_context()  # made once: httpx would make one for each request, which takes longer than it


def line(  # noqa: PLR0913 -- an event has that many parts
    trackpoint: int,
    date: int,
    user: str = "123456",
    status: str = "DELIVERED",
    *,
    campaign: str = "Black Friday",
    node: str | None = None,
) -> bytes:
    """Give the canonical line of an event, written here without the code that is tested."""
    source: dict[str, Any] = {"type": "one-off" if node is None else "flow"}
    source["campaign"] = {"id": "b2c8", "name": campaign}
    if node is not None:
        source["node"] = {"id": "3241", "name": node}
    source["sendDate"] = date - 300
    event = {
        "smsEvent": {"trackpoint": trackpoint, "userId": user, "status": status, "date": date},
        "source": source,
    }
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    for character in "\u0085\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def date_of(one: bytes) -> int:
    """Tell the date of a line."""
    date: int = json.loads(one)["smsEvent"]["date"]
    return date


def body_of(lines: Iterable[bytes]) -> bytes:
    """Give lines as they stand on the wire."""
    return b"".join(one + b"\n" for one in lines)


def model(lines: Iterable[bytes], start: int, end: int) -> bytes:
    """Give what an export of the closed interval must be: a plain sorted set."""
    chosen = {(date_of(one), one) for one in lines if start <= date_of(one) <= end}
    return body_of(one for _, one in sorted(chosen))


@dataclass(frozen=True)
class Shop:
    """A shop with a key for everything."""

    trackpoint: int
    key: str
    base: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def export_url(self) -> str:
        """Give the address of its export."""
        return f"{self.base}/shop/{self.trackpoint}/export-sms-events"

    @property
    def import_url(self) -> str:
        """Give the address of its import."""
        return f"{self.base}/shop/{self.trackpoint}/import-sms-events"

    def send(self, body: bytes, **headers: str) -> httpx.Response:
        """Import a body."""
        return httpx.post(self.import_url, content=body, headers=self.headers | headers, timeout=60, verify=PLAIN)

    def export(self, interval: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Export an interval, the last 90 days by default."""
        return httpx.post(
            self.export_url, json=interval or {}, headers=self.headers | headers, timeout=60, verify=PLAIN
        )


class Server:
    """A `smsevents serve` process on a database of its own."""

    def __init__(self, folder: Path, *, workers: int = 1, settings: dict[str, str] | None = None) -> None:
        """Start it and wait until it is ready."""
        self.path = folder / "log.db"
        self.url = f"sqlite:///{self.path}"
        self.log_path = folder / "server.log"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self.environment = os.environ | {"SMSEVENTS_DATABASE": self.url} | (settings or {})
        self._trackpoint = 1000
        self.start()

    def start(self) -> None:
        """Start the process; also again, after it was stopped or killed."""
        command = [sys.executable, "-m", "smsevents", "serve", "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", str(self._workers)],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_MAX_SECONDS
        while True:
            try:
                if httpx.get(f"{self.base}/health/ready", timeout=5, verify=PLAIN).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log_path.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask the process to stop and wait for it."""
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        """Kill the process and its workers, as `kill -9` does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def command(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a `smsevents` command on the same database."""
        return run_command(*words, environment=self.environment, stdin=stdin)

    def shop(self, scopes: tuple[Scope, ...] = ("export", "import")) -> Shop:
        """Add a shop that nobody used before, with a key."""
        self._trackpoint += 1
        return add_shop(self.url, self._trackpoint, scopes, self.base)

    def metric(self, name: str) -> float:
        """Tell the sum of a metric over all its labels."""
        text = httpx.get(f"{self.base}/metrics", timeout=30, verify=PLAIN).text
        values = [row.rsplit(" ", 1)[1] for row in text.splitlines() if row.split("{")[0].split(" ")[0] == name]
        return sum(map(float, values))


def run_command(
    *words: str, environment: dict[str, str], stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a `smsevents` command."""
    return subprocess.run(
        [sys.executable, "-m", "smsevents", *words],
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )


def add_shop(url: str, trackpoint: int, scopes: tuple[Scope, ...] = ("export", "import"), base: str = "") -> Shop:
    """Add a shop and a key to a database."""
    database = open_catalog(url)
    try:
        access = Access(database)
        access.add_shop(trackpoint, "")
        key = access.create_key(trackpoint, scopes)
    finally:
        database.close()
    return Shop(trackpoint, key, base, {"X-Api-Key": key})


@contextmanager
def opened_log(url: str, now: int | None = None) -> Iterator[Log]:
    """Open the log of a database, with a clock that stands still if `now` is given."""
    database = open_catalog(url)
    try:
        yield Log(database, now_ms if now is None else lambda: now)
    finally:
        database.close()


def store(log: Log, trackpoint: int, lines: Iterable[bytes]) -> None:
    """Store lines as one import, without a server."""
    with Intake(trackpoint, log.now(), gzip=False, lines_max_mib=4096) as intake:
        intake.feed(body_of(lines))
        intake.finish()
        log.append(trackpoint, intake.segments()).result()


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; tell whether it came to hold."""
    deadline = time.monotonic() + SETTLE_MAX_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def random_lines(chance: random.Random, trackpoint: int, count: int, start: int, end: int) -> list[bytes]:
    """Give different lines at random times of a closed interval, half of them of a flow."""
    return [
        line(
            trackpoint,
            chance.randint(start, end),
            user=f"{chance.getrandbits(40):x}",
            node="Retention VIP" if chance.random() < 0.5 else None,
        )
        for _ in range(count)
    ]


def query(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement on a database file, past smsevents; give its rows."""
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        return connection.execute(statement, values).fetchall()


class Held:
    """A database with one shop, used without a server, beside the set of lines that it must hold."""

    trackpoint = 4541245641234564

    def __init__(self, url: str) -> None:
        """Make the database; the clock stands at `now` until a test sets it."""
        self.url = url
        self.now = 1_790_000_000_000
        self.lines: set[bytes] = set()
        self.database = open_catalog(url)
        self.log = Log(self.database, lambda: self.now)
        Access(self.database).add_shop(self.trackpoint, "")

    @property
    def path(self) -> Path:
        """Give the path of the database file."""
        return self.database.path

    def put(self, lines: Iterable[bytes]) -> None:
        """Store lines, all of them within the history, as one import."""
        lines = list(lines)
        store(self.log, self.trackpoint, lines)
        self.lines.update(lines)

    def exported(self) -> bytes:
        """Export everything."""
        window = resolve(self.now - HISTORY_MS, self.now + DAY_MS, self.now)
        return b"".join(unpack(self.log.read(self.trackpoint, window)))

    def expected(self) -> bytes:
        """Tell what an export of everything must be."""
        return model(self.lines, self.now - HISTORY_MS, self.now + DAY_MS)

    def outlines(self) -> list[Outline]:
        """Give the outlines of the segments, by their first entry."""
        with self.database.read() as connection:
            return list(outlines(connection, self.trackpoint))

    def compact(self, sizes: Sizes = DEFAULT_SIZES, *, everything: bool = True) -> Compacted:
        """Compact the shop."""
        return compact_shop(self.database, self.trackpoint, self.now, everything=everything, sizes=sizes)

    def damages(self) -> list[str]:
        """Tell what `verify` finds."""
        return [one.damage for one in verify(self.database, None) if one.damage]
