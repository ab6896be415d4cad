"""A full disk: acknowledged data stays, refused data leaves no trace, and freeing space makes imports work again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import open_catalog, open_existing
from smsevents.catalog.checks import State
from smsevents.cli.checks import examine
from smsevents.clock.system import now_ms
from smsevents.errors import StoreUnavailable
from smsevents.settings import Settings
from tests.support.lines import HOUR_MS, body_of, line, model
from tests.support.servers import STILL, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Shop

FILLER_BYTES = 1024 * 1024
BATCH_LINES = 200
BATCHES_MAX = 300


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a disk of 6 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    refused = mount(folder)
    if refused:
        end = pytest.fail if "CI" in os.environ else pytest.skip
        end(f"a small disk cannot be mounted here: {refused}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def mount(folder: Path) -> str:
    """Mount a small disk; return the reason if that is not possible."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "it takes root and the command mount"
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.fixture
def filler(small_disk: Path) -> Path:
    """Return a file that takes up space on the small disk until it is deleted."""
    path = small_disk / "filler"
    path.write_bytes(bytes(FILLER_BYTES))
    return path


@pytest.fixture
def cramped(small_disk: Path, filler: Path) -> Iterator[Server]:
    """Yield a server with its database on the same disk as the filler."""
    assert filler.exists()
    running = Server(small_disk, settings=STILL)
    yield running
    running.stop()


class Sender:
    """Imports lines that hardly compress, and remembers what was acknowledged."""

    def __init__(self, shop: Shop) -> None:
        """Send to a shop."""
        self._shop = shop
        self._chance = random.Random(shop.trackpoint)  # noqa: S311 -- invented data
        self._start = now_ms() - HOUR_MS
        self.acknowledged: list[bytes] = []

    def batch(self) -> list[bytes]:
        """Return lines that were never sent before."""
        return [
            line(
                self._shop.trackpoint,
                self._start + self._chance.randrange(HOUR_MS),
                user=self._chance.randbytes(200).hex(),
            )
            for _ in range(BATCH_LINES)
        ]

    def send(self) -> bool:
        """Import a batch and return whether it was acknowledged; the only other response allowed is 507."""
        lines = self.batch()
        got = self._shop.send(body_of(lines))
        if got.status_code == 200:
            self.acknowledged += lines
            return True
        assert got.status_code == 507, got.text
        assert got.headers["Content-Type"] == "application/problem+json"
        assert int(got.headers["Retry-After"]) > 0
        return False

    def assert_all_there(self) -> None:
        """Check that an export holds exactly what was acknowledged, without duplicates and in order."""
        got = self._shop.export()
        assert got.status_code == 200, got.text
        assert got.content == model(self.acknowledged, self._start, self._start + HOUR_MS)


def test_full_disk_loses_nothing_and_recovers(cramped: Server, filler: Path) -> None:
    """On a full disk imports get 507, everything acknowledged is exported, and with free space imports work again."""
    sender = Sender(cramped.shop())
    assert not all(sender.send() for _ in range(BATCHES_MAX)), "the disk did not become full"
    assert sender.acknowledged
    sender.assert_all_there()

    compacted = cramped.command("compact")
    assert compacted.returncode in {0, 1}, compacted.stderr
    assert len(compacted.stderr.splitlines()) <= 1, compacted.stderr
    assert b"Traceback" not in compacted.stderr + compacted.stdout
    sender.assert_all_there()

    filler.unlink()
    assert sender.send()
    sender.assert_all_there()
    assert cramped.command("verify").returncode == 0


def test_a_database_on_a_disk_without_a_byte_left_says_so(small_disk: Path) -> None:
    """A disk that is full to the last byte is named as the reason why the database cannot be opened."""
    url = f"sqlite:///{small_disk / 'log.db'}"
    open_catalog(url).close()
    before = (small_disk / "log.db").read_bytes()
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))

    with pytest.raises(StoreUnavailable, match="there is no room left on the disk"):
        open_existing(url)
    found = examine(Settings(database=url), now_ms())[0]

    assert found.state is State.WRONG
    assert "there is no room left on the disk" in found.detail
    assert (small_disk / "log.db").read_bytes() == before
    (small_disk / "filler").unlink()
    open_existing(url).close()
