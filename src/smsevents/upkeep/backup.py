"""Backup: a whole, consistent copy of the database while it is in use."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.settings import DATABASE_BUSY_MAX_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.catalog import Database


def backup(database: Database, target: Path) -> int:
    """Write a copy of the database as it is at one moment; give its size in bytes.

    It is made under a temporary name beside the target, synced, and renamed when it is whole, so a file under the
    target's name is always a whole backup. It holds no free pages, so nothing that was erased. Readers and writers
    go on. Raises `InvalidRequest` if the target is there already or cannot be written, `StoreUnavailable`.
    """
    if target.exists():
        raise InvalidRequest(f"{target} is there already. Give another name, or remove it first.")
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        _copy(database.path, part)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    connection = sqlite3.connect(source, timeout=DATABASE_BUSY_MAX_SECONDS)
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The backup failed: {error}. Is there room for a copy at {target.parent}?") from error
    finally:
        connection.close()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
