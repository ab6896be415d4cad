"""Locks between processes, in one file beside the database: which process rewrites a shop, which scrubs the files.

A lock ends with the process that holds it, however the process ends, so no stale lock remains. The file is empty and
stays. It belongs to the database, as `-wal` and `-shm` do. The locks are Linux's open file description locks on
single bytes (`F_OFD_SETLK`, fcntl(2)). Unlike POSIX locks, they also hold between the threads of a process, and are
not lost when another handle of the file is closed.

Each shop has two bytes. A process that rewrites all of a shop holds both exclusively, from start to end. Processes
that rewrite a part share both, step by step, and release the first one at once. So a process that waits for all of a
shop already holds the first byte: no further step begins, and its turn comes after the running steps.

A third byte, far behind those of all shops, belongs to the process that does the upkeep of the shop.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import Busy
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_SUFFIX = "-lock"
LOCK_PAUSE_SECONDS = 0.01  # between tries
_SHOPS = 2**61  # two shops that share a byte only wait for each other
_SCRUB = 0  # no shop has the number 0
_KEPT = 2 * _SHOPS + 4  # after the bytes of the last shop
_FLOCK = struct.Struct("hhqqi0q")  # type, whence, start, length, process (0)


@contextmanager
def shop_alone(database: Path, trackpoint: int, patience_seconds: float) -> Iterator[None]:
    """Have exclusive access to rewrite segments of a shop for as long as the block runs.

    Raises `Busy` after `patience_seconds`, and `StoreUnavailable` if the lock file cannot be used.
    """
    with _locked(database, [*_bytes_of(trackpoint)], fcntl.F_WRLCK, patience_seconds, "is erasing from this shop"):
        yield


@contextmanager
def shop_step(database: Path, trackpoint: int) -> Iterator[None]:
    """Share a shop to rewrite some of its segments. Raises `Busy` if a process has or awaits exclusive access."""
    gate, work = _bytes_of(trackpoint)
    with _locked(database, [gate, work], fcntl.F_RDLCK, 0, "is erasing from this shop") as handle:
        _lock(handle, gate, fcntl.F_UNLCK)
        yield


@contextmanager
def shop_kept(database: Path, trackpoint: int) -> Iterator[None]:
    """Do the upkeep of a shop for as long as the block runs. Raises `Busy` or `StoreUnavailable`."""
    with _locked(database, [_KEPT + trackpoint % _SHOPS], fcntl.F_WRLCK, 0, "does the upkeep of this shop"):
        yield


@contextmanager
def scrub_alone(database: Path, patience_seconds: float) -> Iterator[None]:
    """Have exclusive access to scrub the files. Raises `Busy` or `StoreUnavailable`."""
    with _locked(database, [_SCRUB], fcntl.F_WRLCK, patience_seconds, "is rewriting the files"):
        yield


def _bytes_of(trackpoint: int) -> tuple[int, int]:
    shop = trackpoint % _SHOPS
    return 2 * shop + 2, 2 * shop + 3


@contextmanager
def _locked(database: Path, places: list[int], kind: int, patience_seconds: float, who: str) -> Iterator[int]:
    """Lock bytes of the lock file in the given order. Yield the handle; closing it ends all these locks.

    `who` says what another process does that already holds them.
    """
    path = database.with_name(database.name + LOCK_SUFFIX)
    deadline = time.monotonic() + patience_seconds
    handle = _opened(path, database)
    try:
        for place in places:
            while not _lock(handle, place, kind):
                if time.monotonic() >= deadline:
                    raise Busy(f"Another process {who}. Try again in a moment.")
                time.sleep(LOCK_PAUSE_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _opened(path: Path, database: Path) -> int:
    """Open the lock file. A missing one is created with the owner and mode of the database, as SQLite's files are.

    Like the database, it must not be removed while it is in use.
    """
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            like = database.stat()
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, like.st_mode & 0o666)
            if os.geteuid() == 0:
                os.fchown(handle, like.st_uid, like.st_gid)
            return handle
    except OSError as error:
        raise StoreUnavailable(
            f"The file of locks {path} cannot be opened: {error.strerror}."
            " Give it, as the database, to the user that runs this."
        ) from error


def _lock(handle: int, place: int, kind: int) -> bool:
    """Lock or unlock one byte. Return whether that was possible."""
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
    except BlockingIOError:
        return False
    return True
