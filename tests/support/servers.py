"""A real server, the command, and a shop to send to."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smsevents.accounts.access import Scope


START_MAX_SECONDS = 60
SETTLE_MAX_SECONDS = 30
STILL = {"SMSEVENTS_UPKEEP": "off"}  # for a database that changes only when the test says so
PLAIN = ssl.create_default_context()  # created once: httpx would create one per request, which is slow


@dataclass(frozen=True)
class Shop:
    """A shop with a key for everything."""

    trackpoint: int
    key: str
    base: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def export_url(self) -> str:
        """The address of its export."""
        return f"{self.base}/shop/{self.trackpoint}/export-sms-events"

    @property
    def import_url(self) -> str:
        """The address of its import."""
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

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        settings: dict[str, str] | None = None,
        files_max: int | None = None,
        url: str | None = None,
    ) -> None:
        """Start it and wait until it is ready; `files_max` is its limit of open files (`ulimit -n`).

        `url` names another database than a SQLite file in the folder.
        """
        self.path = folder / "log.db"
        self.url = url or f"sqlite:///{self.path}"
        self.log_path = folder / "server.log"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self._limits = [] if files_max is None else ["prlimit", f"--nofile={files_max}:{files_max}"]
        self.environment = os.environ | {"SMSEVENTS_DATABASE": self.url} | (settings or {})
        self._trackpoint = 1000
        self.start()

    def start(self) -> None:
        """Start the process; also again, after it was stopped or killed."""
        command = [*self._limits, sys.executable, "-m", "smsevents", "serve", "--port", str(self.port)]
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
        """Add a new shop with a key."""
        self._trackpoint += 1
        return add_shop(self.url, self._trackpoint, scopes, self.base)

    def metric(self, name: str) -> float:
        """Return the sum of a metric over all its labels."""
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


def free_port() -> int:
    """Return a port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until a condition holds. Return False if it does not within the time limit."""
    deadline = time.monotonic() + SETTLE_MAX_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
