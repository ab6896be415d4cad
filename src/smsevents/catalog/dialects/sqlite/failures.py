"""The only place where errors of the database become errors of smsevents."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smsevents.catalog.dialects.base import no_room
from smsevents.catalog.dialects.sqlite.location import why_unusable
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# Primary result codes of SQLite (https://www.sqlite.org/rescode.html) that do not go away by waiting. A full disk
# appears as SQLITE_IOERR when `-shm` must grow.
_NOT_USABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY = 0xFF

_OUTSIDE = "The database of the server cannot be {done}: {cause}. Try again later, and tell the operator of the server."


@contextmanager
def translated(done: str, path: Path) -> Iterator[None]:
    """Run a block on the database at `path`, and translate its errors.

    `done` is "read" or "written": the message says that the database cannot be read or written.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _ours(done, path, error) from error


def _ours(done: str, path: Path, error: Exception) -> StoreUnavailable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    outside = _OUTSIDE.format(done=done, cause=cause)
    code = getattr(cause, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_FULL:
        return no_room()
    if code in _NOT_USABLE and (why := why_unusable(path)):
        return StoreUnavailable(f"The database {path} cannot be {done}: {why}", outside)
    if code in _BUSY:
        return StoreUnavailable(f"The database cannot be {done}: {cause}. Try again in a moment.")
    if code in _DAMAGED:
        help_ = "Keep its files as they are and restore a backup, as docs/operating.md says."
    elif code == sqlite3.SQLITE_IOERR:
        help_ = "Look at the messages of the kernel (dmesg); the disk may be at fault."
    else:
        help_ = "docs/operating.md says what may help."
    return StoreUnavailable(f"The database {path} cannot be {done}: {cause}. {help_}", outside)
