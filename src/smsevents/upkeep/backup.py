"""Backup: a whole, consistent copy of the database while it is in use."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smsevents.catalog.files import copy_to
from smsevents.catalog.milestones import BACKUP, reach
from smsevents.errors import InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database


def backup(database: Database, target: Path, now: int) -> int:
    """Write a copy of the database as it is at one moment, and note that at the time `now`; give its size in bytes.

    It is made under a temporary name beside the target, synced, and renamed when it is whole, so a file under the
    target's name is always a whole backup. It holds no free pages, so nothing that was erased. Readers and writers
    go on. Raises `InvalidRequest` if the target is there already, cannot be written, or is being written by another
    backup; `StoreUnavailable`.
    """
    try:
        if target.exists():
            raise InvalidRequest(f"{target} is there already. Give another name, or remove it first.")
        with _part_of(target) as part:
            copy_to(database, part)
            _sync(part)
            part.rename(target)
        _sync(target.parent)
        size = target.stat().st_size
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}. Choose another place.") from error
    except StoreUnavailable as error:
        raise StoreUnavailable(f"The backup failed. {error} Is there room for a copy at {target.parent}?") from error
    with suppress(StoreUnavailable):  # the backup is good, also where nothing can be written to the database
        database.write(lambda connection: reach(connection, BACKUP, now))
    return size


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Give an empty file beside the target, which is gone in the end; what a killed backup left there is too."""
    # the name is as long for any target, as a name may not be longer than 255 bytes
    part = target.with_name(f".{hashlib.sha256(target.name.encode(errors='surrogateescape')).hexdigest()[:16]}.part")
    handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidRequest(f"Another backup writes {target} already. Wait for it to end.") from error
        try:
            os.ftruncate(handle, 0)
            yield part
        finally:
            part.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
