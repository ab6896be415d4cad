"""An examination of a SQLite file that is not opened for use.

SQLite's own driver reads it, because opening it the usual way would create or upgrade it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from smsevents.catalog.checks import Check, State
from smsevents.catalog.dialects.sqlite.location import (
    erasures_folder_of,
    name_of_user,
    require_ours,
    require_usable,
    why_unusable,
    why_unwritable,
)
from smsevents.errors import NoDatabase, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

LOCK_WAIT_MAX_SECONDS = 2
FREE_WRONG_BYTES = 64 * 1024 * 1024  # an import could not be stored
FREE_WARNING_BYTES = 1024 * 1024 * 1024
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SqliteDiagnosis:
    """An examination of the file at a path."""

    def __init__(self, path: Path) -> None:
        """Examine the file at an absolute path."""
        self._path = path
        self._log = Path(f"{path}-wal")
        self._was_closed = not os.access(self._log, os.F_OK)  # also true if this user may not enter the folder
        self._database = _database(path)

    @property
    def is_usable(self) -> bool:
        """Whether there is a readable database of smsevents."""
        return self._database.state is State.OK

    @property
    def where(self) -> str:
        """The location of the file."""
        return str(self._path.absolute())

    @property
    def erasures_folder(self) -> Path:
        """A folder beside the file."""
        return erasures_folder_of(self._path)

    def checks(self) -> list[Check]:
        """Return the results of the checks. The one of the database itself comes first."""
        found = [self._database]
        if self.is_usable:
            found += [_writable(self._path), _modes(self._path)]
        if self._database.state is not State.WRONG:
            found.append(_disk(self._path))
        return found

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open the file for reading."""
        engine = create_engine("sqlite://", creator=lambda: _connect(self._path), poolclass=NullPool)
        with engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Let SQLite remove `-wal` and `-shm` if reading created them: they would suggest that a server is running.

        A user with read access only cannot remove them. They stay then.
        """
        if self._was_closed and os.access(self._log, os.F_OK):
            with suppress(sqlite3.Error), _opened(self._path, write=True) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _database(path: Path) -> Check:
    name = "database"
    try:
        require_usable(path, create=False)
        with _opened(path) as connection:
            require_ours(connection, path, create=False)
    except NoDatabase as error:
        return _no_database(name, path, str(error))
    except StoreUnavailable as error:
        return Check(name, State.WRONG, str(error))
    except sqlite3.Error as error:
        return Check(name, State.WRONG, f"{path} cannot be read: {why_unusable(path) or f'{error}.'}")
    return Check(name, State.OK, f"{path}, {path.stat().st_size:,} bytes")


def _no_database(name: str, path: Path, told: str) -> Check:
    if not path.parent.exists():
        return Check(name, State.WRONG, f"The folder {path.parent} does not exist. Make it, or name another database.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Check(name, State.WRONG, f"There is none, and this user may not make one in {path.parent}.")
    return Check(name, State.WARNING, f"{told} `smsevents shop add` creates one, and so does `smsevents serve`.")


def _writable(path: Path) -> Check:
    name = "writable"
    if why := why_unwritable(path):
        return Check(name, State.WRONG, why[0].upper() + why[1:])
    try:
        with _opened(path, write=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            detail = f"Somebody has held the write lock for {LOCK_WAIT_MAX_SECONDS} s; `fuser -v {path}` shows who."
            return Check(name, State.WARNING, detail)
        return Check(name, State.WRONG, f"{path} cannot be written: {error}.")
    return Check(name, State.OK, "yes")


def _modes(path: Path) -> Check:
    name = "modes"
    user = os.geteuid()
    for one in (path, path.parent):
        if one.stat().st_uid != user:
            owners = f"{one} belongs to the user {name_of_user(one.stat().st_uid)}, this is {name_of_user(user)}"
            return Check(name, State.WARNING, f"{owners}. Run commands as the user of the server.")
    if path.stat().st_mode & OTHERS and path.parent.stat().st_mode & OTHERS:
        return Check(name, State.WARNING, f"Other users may read the events. Run `chmod go= {path}*`.")
    return Check(name, State.OK, "closed to other users")


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(path.parent).free
    size = path.stat().st_size if path.is_file() else 0
    told = f"{free:,} bytes are free beside the database"
    if free < FREE_WRONG_BYTES:
        return Check("disk", State.WRONG, f"Only {told}. Free some room: imports get 507 without.")
    if free < max(FREE_WARNING_BYTES, size):
        return Check("disk", State.WARNING, f"Only {told}. An erasure and a backup need as much as the database takes.")
    return Check("disk", State.OK, told)


@contextmanager
def _opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open an existing database."""
    with closing(_connect(path, write=write)) as connection:
        yield connection


def _connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode={'rw' if write else 'ro'}"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_MAX_SECONDS, isolation_level=None)
