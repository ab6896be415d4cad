"""The processes of a server, and waiting for what they do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_MAX_SECONDS = 60


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAIT_MAX_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def processes_of(database: Path) -> dict[int, str]:
    """Return the processes started for a database, with their command lines."""
    found: dict[int, str] = {}
    mark = f"SMSEVENTS_DATABASE=sqlite:///{database}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def spawned(database: Path) -> list[int]:
    """Return the processes that a server started itself: its workers and its upkeep worker."""
    return sorted(pid for pid, command in processes_of(database).items() if "spawn_main" in command)
