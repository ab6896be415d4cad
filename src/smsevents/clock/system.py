"""The clocks of the machine. Code that depends on the time takes a clock as an argument; these are the defaults.

The wall clock may be wrong and may be set. The time since the machine started cannot be set, includes the time that
the machine slept, and is the same in all of its processes. It starts at zero each time the machine starts.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def now_ms() -> int:
    """Return the wall clock time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def since_start_ms() -> int:
    """Return the milliseconds since the machine started, including the time that it slept."""
    # CLOCK_MONOTONIC stops while the machine sleeps: the wall clock would seem to have jumped
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@cache
def start_of_machine() -> str:
    """Return a name for this start of the machine.

    Values of `since_start_ms` can be compared between processes that return the same name. If the kernel does not
    provide one, the name is unique to the process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # a time namespace has its own start
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return f"process {secrets.token_hex(16)}"


@dataclass(frozen=True)
class Reading:
    """Both clocks at one moment: the wall clock (Unix ms), and the time since a named start."""

    wall_ms: int
    start: str
    since_start_ms: int


@dataclass(frozen=True)
class Clocks:
    """A wall clock and a clock that cannot be set."""

    wall_ms: Callable[[], int] = now_ms
    since_start_ms: Callable[[], int] = since_start_ms
    start: Callable[[], str] = start_of_machine

    def read(self) -> Reading:
        """Read both clocks."""
        return Reading(self.wall_ms(), self.start(), self.since_start_ms())


SYSTEM_CLOCKS = Clocks()
