"""What `smsevents doctor` looks at. Nothing here changes the database, makes one, or waits long for one.

The database is read with SQLite's own driver, as opening it the usual way would make or upgrade it.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from smsevents.catalog.dialects.sqlite.location import (
    name_of_user,
    path_of,
    require_ours,
    require_usable,
    why_unusable,
    why_unwritable,
)
from smsevents.catalog.leases import LEASE_SECONDS
from smsevents.catalog.schema import HEAD
from smsevents.catalog.trusted_time import find_mark, first_mark_of
from smsevents.clock.system import SYSTEM_CLOCKS
from smsevents.clock.trusted import judgement_of, noted, utc
from smsevents.errors import NoDatabase, SettingError, StoreUnavailable
from smsevents.timekeeper import WHAT_TO_DO
from smsevents.wire.limits import FUTURE_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.clock.trusted import Judgement
    from smsevents.settings import Settings

LOCK_WAIT_MAX_SECONDS = 2
FREE_WRONG_BYTES = 64 * 1024 * 1024  # an import could not be stored
FREE_WARNING_BYTES = 1024 * 1024 * 1024
TEMPORARY_FREE_MIN_BYTES = 1024 * 1024 * 1024
CLOCK_BEHIND_MAX_MS = 60_000  # machines that wrote to one database are not more apart than this
FILES_OF_A_PROCESS = 64  # what it has open beside connections of clients
FILES_OF_A_REQUEST = 2  # a connection, and a temporary file or a connection to the database
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class State(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: its name, what came of it, and what to do where that is not `ok`."""

    name: str
    state: State
    detail: str


def examine(settings: Settings, now: int) -> list[Check]:
    """Look at all that the settings name; `now` is Unix milliseconds."""
    try:
        path = path_of(settings.database).absolute()
    except SettingError as error:
        return [Check("database", State.WRONG, str(error)), _temporary_folder(), _open_files(settings)]
    write_ahead_log = Path(f"{path}-wal")
    was_closed = not os.access(write_ahead_log, os.F_OK)  # also where the folder is closed to this user
    checks = [_database(path)]
    usable = checks[0].state is State.OK
    if usable:
        checks += [_version(path), _writable(path), _modes(path)]
    if checks[0].state is not State.WRONG:
        checks.append(_disk(path))
    checks.append(_temporary_folder())
    if usable:
        checks += [_clock(path, now), _upkeep(path, now, settings)]
    if was_closed and os.access(write_ahead_log, os.F_OK):
        _close(path)
    checks.append(_open_files(settings))
    return checks


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


def _version(path: Path) -> Check:
    found = _value(path, "SELECT version_num FROM alembic_version")
    if found == HEAD:
        return Check("version", State.OK, f"tables of revision {HEAD}")
    if found is None:
        return Check("version", State.WARNING, "There are no tables yet. `smsevents shop add` or `serve` makes them.")
    if str(found) < HEAD:
        detail = f"The tables are of revision {found}; the next command or start brings them to {HEAD}. Back up first."
        return Check("version", State.WARNING, detail)
    detail = f"The tables are of revision {found}, this smsevents knows {HEAD}. Install the version that made them."
    return Check("version", State.WRONG, detail)


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


def _temporary_folder() -> Check:
    name = "temporary folder"
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        detail = f"It cannot be written: {error.strerror}. Set TMPDIR to a folder that this user may write."
        return Check(name, State.WRONG, detail)
    told = f"{folder}, {free:,} bytes are free"
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted).absolute() != Path(folder):
        return Check(name, State.WARNING, f"TMPDIR is {wanted}, which cannot be written. Instead it is {told}.")
    if free < TEMPORARY_FREE_MIN_BYTES:
        return Check(name, State.WARNING, f"{told}; large imports and exports may fail. Free some, or set TMPDIR.")
    return Check(name, State.OK, told)


def _clock(path: Path, now: int) -> Check:
    """Compare the clock with the times that were written when something happened, and those of events."""
    name = "clock"
    written = _value(
        path,
        "SELECT max(moment) FROM (SELECT max(created_ms) AS moment FROM shops"
        " UNION ALL SELECT max(created_ms) FROM keys UNION ALL SELECT max(revoked_ms) FROM keys"
        " UNION ALL SELECT max(blocked_ms) FROM blocked_users"
        " UNION ALL SELECT max(last_date) - :future FROM segments)",
        future=FUTURE_MAX_MS,
    )
    told = f"it is {utc(now)}"
    if isinstance(written, int) and written > now + CLOCK_BEHIND_MAX_MS:
        detail = (
            f"By this machine's clock {told}, but the database has something of {utc(written)}. Set the clock right:"
            " exports end at the time that it tells."
        )
        return Check(name, State.WRONG, detail)
    judgement = _judgement(path, now)
    if judgement and judgement.doubt:
        detail = f"Time is in doubt, so nothing is deleted. {judgement.explain()} {WHAT_TO_DO}"
        return Check(name, State.WARNING, detail)
    return Check(name, State.OK, f"{told}, and the database has nothing that is later")


def _judgement(path: Path, now: int) -> Judgement | None:
    """Say what a server would think of the time, or None where the tables are those of another version."""
    if _value(path, "SELECT version_num FROM alembic_version") != HEAD:
        return None
    engine = create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
    reading = replace(SYSTEM_CLOCKS, wall_ms=lambda: now).read()
    with engine.connect() as connection:
        mark = find_mark(connection) or first_mark_of(connection, reading)
    return judgement_of(noted(mark, reading), reading)


def _upkeep(path: Path, now: int, settings: Settings) -> Check:
    name = "upkeep"
    # these take long to load, and only this check needs them
    from smsevents.upkeep.erasure import EMPTY_WAL, VACUUM  # noqa: PLC0415
    from smsevents.worker.worker import LEASE  # noqa: PLC0415

    ends = _value(path, "SELECT expires_ms FROM leases WHERE name = :name", name=LEASE)
    pending = _value(path, "SELECT min(since_ms) FROM chores WHERE name IN (:one, :other)", one=VACUUM, other=EMPTY_WAL)
    if isinstance(pending, int):
        detail = (
            f"Since {utc(pending)} it is owed to wipe what was erased from the files; `serve` does it, or `forget`."
        )
        return Check(name, State.WARNING, detail)
    # one that ends later was written by a clock that is ahead, see `take_lease`
    if isinstance(ends, int) and now < ends <= now + LEASE_SECONDS * 1000:
        return Check(name, State.OK, "a server does it")
    if settings.upkeep == "off":
        return Check(name, State.WARNING, "It is off. Have cron run `smsevents compact` and `smsevents expire`.")
    return Check(name, State.WARNING, "No server does it now: nothing is compacted and nothing expires. Run `serve`.")


def _open_files(settings: Settings) -> Check:
    # it takes long to load, and no other command needs it
    from smsevents.web.connection.registry import file_limit_raised  # noqa: PLC0415

    limit = file_limit_raised(*resource.getrlimit(resource.RLIMIT_NOFILE))
    requests = settings.exports_at_once_max + settings.imports_at_once_max
    needed = FILES_OF_A_PROCESS + FILES_OF_A_REQUEST * requests
    if limit != resource.RLIM_INFINITY and limit < needed:
        detail = (
            f"At most {limit} files may be open, and the settings may need {needed}. Raise `ulimit -n`, LimitNOFILE."
        )
        return Check("open files", State.WRONG, detail)
    return Check("open files", State.OK, f"at most {limit}, {needed} may be needed")


@contextmanager
def _opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database that is there."""
    with closing(_connect(path, write=write)) as connection:
        yield connection


def _connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode={'rw' if write else 'ro'}"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_MAX_SECONDS, isolation_level=None)


def _close(path: Path) -> None:
    """Let SQLite remove the `-wal` and the `-shm` that only reading made: their being there means that a server runs.

    Who may only read cannot do that, and leaves them.
    """
    with suppress(sqlite3.Error), _opened(path, write=True) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _value(path: Path, statement: str, **values: object) -> object:
    """Give the one value of a statement, or None where there is none or its table is not there yet."""
    try:
        with _opened(path) as connection:
            row = connection.execute(statement, values).fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None
