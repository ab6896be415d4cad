"""Backup: a copy is complete, whatever runs concurrently, or it does not exist."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.importers import Client
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line, model
from tests.support.logs import Held
from tests.support.servers import STILL, Server, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENTS = 4


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield a shop with several MB of stored events."""
    made = Held(url)
    made.now = now_ms()
    chance = random.Random(1)  # noqa: S311 -- invented data
    made.put(
        line(made.trackpoint, made.now - chance.randrange(DAY_MS), campaign=f"{chance.getrandbits(3600):x}")
        for _ in range(12_000)
    )
    yield made
    made.database.close()


def environment_of(path: Path) -> dict[str, str]:
    """Return the environment of a command on a database."""
    return os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{path}"}


def exported(path: Path, trackpoint: int) -> bytes:
    """Export all events of a shop from a database that `verify` finds sound."""
    assert run_command("verify", environment=environment_of(path)).returncode == 0
    done = run_command("export", str(trackpoint), environment=environment_of(path))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_backup_beside_imports_is_whole(tmp_path: Path) -> None:
    """Copies made while clients import hold everything acknowledged before them and nothing that was never sent."""
    with ExitStack() as stack:
        running = Server(tmp_path, settings=STILL)
        stack.callback(running.stop)
        shop = running.shop()
        clients = [Client(shop, f"client{index}", now_ms() - HOUR_MS) for index in range(CLIENTS)]
        for client in clients:
            client.start()
            stack.callback(client.stop)
        for number in range(2):
            assert_backup_is_whole(running, clients, shop.trackpoint, tmp_path / f"copies{number}")
    assert not [failure for client in clients for failure in client.failures]


def assert_backup_is_whole(running: Server, clients: list[Client], trackpoint: int, folder: Path) -> None:
    """Make a copy in a folder of its own and compare it with what the clients know."""
    folder.mkdir()
    while not all(client.acknowledged for client in clients):
        time.sleep(0.02)
    acknowledged = {one for client in clients for one in list(client.acknowledged)}
    done = running.command("backup", str(folder / "copy.db"))
    sent = {one for client in clients for one in list(client.sent)}

    assert done.returncode == 0, done.stderr
    assert [file.name for file in folder.iterdir()] == ["copy.db"]
    copied = exported(folder / "copy.db", trackpoint)
    assert acknowledged <= set(copied.splitlines()) <= sent
    assert copied == model(copied.splitlines(), 0, max(map(date_of, sent)))


def test_a_target_that_is_there_stays(held: Held, tmp_path: Path) -> None:
    """An existing target file is left untouched, and the command fails with one line."""
    target = tmp_path / "copy.db"
    target.write_bytes(b"precious")

    done = run_command("backup", str(target), environment=environment_of(held.path))

    assert done.returncode == 1
    assert done.stderr.startswith(b"smsevents: ")
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "target",
    [
        "missing/copy.db",
        "/proc/copy.db",
        "file/copy.db",
        "n" * 300,
    ],
    ids=["missing folder", "unwritable folder", "a file as folder", "too long name"],
)
def test_a_target_that_cannot_be_written_is_told(held: Held, tmp_path: Path, target: str) -> None:
    """A backup that cannot be written fails with one line and leaves no files."""
    (tmp_path / "file").write_bytes(b"")

    done = run_command("backup", str(tmp_path / target), environment=environment_of(held.path))

    assert done.returncode == 1
    assert done.stderr.startswith(b"smsevents: ")
    assert done.stderr.count(b"\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_is_written(held: Held, tmp_path: Path) -> None:
    """A name of the maximum length for a database works, although a temporary file is created next to it."""
    target = tmp_path / ("n" * 251)  # SQLite appends `-wal` to it

    assert run_command("backup", str(target), environment=environment_of(held.path)).returncode == 0
    shorter = target.rename(tmp_path / "copy.db")  # SQLite does not open a path of this length
    assert exported(shorter, held.trackpoint) == held.expected()


def test_one_backup_to_a_target_at_a_time(held: Held, tmp_path: Path) -> None:
    """Of several concurrent backups to one target, one writes a complete copy and the others report the conflict."""
    target = tmp_path / "copy.db"
    command = [sys.executable, "-m", "smsevents", "backup", str(target)]
    running = [
        subprocess.Popen(command, env=environment_of(held.path), stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [process.communicate(timeout=60)[1] for process in running]

    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert sum("Another backup" in error or "is there already" in error for error in errors) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["copy.db"]
    assert exported(target, held.trackpoint) == held.expected()


def test_a_killed_backup_is_whole_or_absent(held: Held, tmp_path: Path) -> None:
    """A backup killed at any moment leaves no file or a complete one under its name; the next backup works."""
    expected = held.expected()
    target = tmp_path / "copy.db"
    for delay in (0, 0.01, 0.05):
        kill_backup(held.path, target, delay)
        if target.exists():
            assert exported(target, held.trackpoint) == expected
            for file in tmp_path.glob("copy.db*"):
                file.unlink()

    assert run_command("backup", str(target), environment=environment_of(held.path)).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["copy.db"]
    assert exported(target, held.trackpoint) == expected


def kill_backup(source: Path, target: Path, delay: float) -> None:
    """Start a backup and kill it this many seconds after it began to write."""
    for file in target.parent.iterdir():
        file.unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", "backup", str(target)],
        env=environment_of(source),
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(target.parent.iterdir()):
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.wait(60)
