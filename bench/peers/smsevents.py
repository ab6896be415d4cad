"""smsevents itself: the server as `smsevents serve` starts it, on a database of its own."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.measure import Download, download, run_command
from bench.peers import ENCODINGS, Contender
from bench.peers.processes import free_port, running
from bench.plan import TRACKPOINT
from smsevents.access import Access
from smsevents.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.dataset import Dataset
    from bench.measure import Run
    from bench.peers import Encoding

NAME = "smsevents"
COMMAND = (sys.executable, "-m", "smsevents")


@dataclass(frozen=True)
class Store:
    """A database, used with the product's own commands."""

    path: Path

    @property
    def url(self) -> str:
        """Give the value of SMSEVENTS_DATABASE."""
        return f"sqlite:///{self.path}"

    @property
    def environment(self) -> dict[str, str]:
        """Give the environment of a command that is to use it."""
        return os.environ | {"SMSEVENTS_DATABASE": self.url}

    def command(self, *words: str) -> str:
        """Run a `smsevents` command and give what it printed."""
        return run_command([*COMMAND, *words], SMSEVENTS_DATABASE=self.url)

    def add_shop(self, trackpoint: int = TRACKPOINT) -> str:
        """Add a shop and give a key to it."""
        database = open_catalog(self.url)
        try:
            access = Access(database)
            access.add_shop(trackpoint, "")
            return access.create_key(trackpoint, ("export", "import"))
        finally:
            database.close()

    def bytes_on_disk(self) -> int:
        """Tell what the files of the database take."""
        return sum(path.stat().st_size for path in self.path.parent.glob(f"{self.path.name}*"))


@dataclass(frozen=True)
class Server:
    """A running server of a store."""

    port: int
    pid: int

    def export(self, key: str, interval: dict[str, int], *, gzip: bool, trackpoint: int = TRACKPOINT) -> Download:
        """Give the download of an export."""
        return Download(
            f"http://127.0.0.1:{self.port}/shop/{trackpoint}/export-sms-events",
            gzip,
            (f"X-Api-Key: {key}",),
            json.dumps(interval),
        )


@contextmanager
def served(store: Store, *, workers: int = 1) -> Iterator[Server]:
    """Serve a store while the block runs."""
    port = free_port()
    command = [*COMMAND, "serve", "--port", str(port), "--workers", str(workers)]
    log = store.path.with_suffix(".log")
    with running(command, log, f"{port}/health/ready", store.environment) as pid:
        yield Server(port, pid)


@contextmanager
def contenders(data: Dataset, folder: Path) -> Iterator[list[Contender]]:
    """Import the events with the command, and serve them."""
    folder.mkdir(parents=True)
    store = Store(folder / "log.db")
    key = store.add_shop()
    store.command("import", str(TRACKPOINT), str(data.path))
    with served(store) as server:

        def save(encoding: Encoding, path: Path) -> None:
            download(asked(encoding), server.pid, path)

        def export(encoding: Encoding) -> Run:
            return download(asked(encoding), server.pid)

        def asked(encoding: Encoding) -> Download:
            interval = {"from": data.start_ms, "to": data.end_ms}
            return server.export(key, interval, gzip=encoding == "gzip")

        yield [
            Contender(NAME, "", encoding, partial(export, encoding), partial(save, encoding)) for encoding in ENCODINGS
        ]
