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
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from smsevents.catalog.marks import mark_of
from smsevents.catalog.places import why_unusable
from smsevents.catalog.schema import HEAD
from smsevents.clock import Clocks
from smsevents.settings import FUTURE_MAX_MS, LEASE_SECONDS, Settings
from smsevents.timekeeper import WHAT_TO_DO
from smsevents.trusted import judgement_of, noted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.trusted import Judgement

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
        url = make_url(settings.database)
    except (ArgumentError, ValueError):
        url = make_url("none://")
    if url.get_backend_name() != "sqlite" or url.host or url.database in {None, "", ":memory:"}:
        detail = (
            "It is not the URL of a SQLite database; give sqlite:///relative/path.db or sqlite:////absolute/path.db."
        )
        return [Check("database", State.WRONG, detail), _temporary_folder(), _open_files(settings)]
    path = Path(str(url.database)).absolute()
    checks = [_database(path)]
    usable = checks[0].state is State.OK
    if usable:
        checks += [_version(path), _writable(path), _modes(path)]
    if checks[0].state is not State.WRONG:
        checks.append(_disk(path))
    checks.append(_temporary_folder())
    if usable:
        checks += [_clock(path, now), _upkeep(path, now, settings)]
    checks.append(_open_files(settings))
    return checks


def _database(path: Path) -> Check:
    name = "database"
    try:
        path.stat()
        with _opened(path) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except FileNotFoundError:
        return _no_database(name, path)
    except OSError as error:
        return Check(name, State.WRONG, f"{path} cannot be reached: {error.strerror}.")
    except sqlite3.Error as error:
        return Check(name, State.WRONG, f"{path} cannot be read: {why_unusable(path) or f'{error}.'}")
    if tables and not {"alembic_version", "shops"} <= tables:
        return Check(name, State.WRONG, f"{path} is a database of another program. Name another database.")
    return Check(name, State.OK, f"{path}, {path.stat().st_size:,} bytes")


def _no_database(name: str, path: Path) -> Check:
    if not path.parent.exists():
        return Check(name, State.WRONG, f"The folder {path.parent} does not exist. Make it, or name another database.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Check(name, State.WRONG, f"There is none, and this user may not make one in {path.parent}.")
    return Check(name, State.WARNING, f"There is none at {path}. `smsevents shop add` or `serve` makes it.")


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
    files = [path, *(beside for end in ("-wal", "-shm") if (beside := Path(f"{path}{end}")).exists())]
    for one in [*files, path.parent]:
        if not os.access(one, os.W_OK):
            return Check(name, State.WRONG, f"This user may not write {one}. Give it to the user of the server.")
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
            owners = f"{one} belongs to the user {one.stat().st_uid}, this is {user}"
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
    told = f"it is {_time(now)}"
    if isinstance(written, int) and written > now + CLOCK_BEHIND_MAX_MS:
        detail = (
            f"By this machine's clock {told}, but the database has something of {_time(written)}. Correct the clock:"
            " what is old and what is expired is told by it."
        )
        return Check(name, State.WRONG, detail)
    judgement = _judgement(path, now)
    if judgement is not None and judgement.doubt:
        detail = f"Time is in doubt, so nothing is deleted. {judgement.explain()} {WHAT_TO_DO}"
        return Check(name, State.WARNING, detail)
    return Check(name, State.OK, f"{told}, and the database has nothing that is later")


def _judgement(path: Path, now: int) -> Judgement | None:
    """Judge the clock as the next command would, by the mark in the database; None where there is none yet."""
    try:
        with _opened(path) as connection:
            connection.row_factory = sqlite3.Row
            row = connection.execute("SELECT * FROM trusted_time").fetchone()
    except sqlite3.OperationalError:
        return None
    if row is None:
        return None
    reading = Clocks(wall_ms=lambda: now).read()
    return judgement_of(noted(mark_of(SimpleNamespace(**dict(row))), reading), reading)


def _upkeep(path: Path, now: int, settings: Settings) -> Check:
    name = "upkeep"
    # these take long to load, and only this check needs them
    from smsevents.upkeep.erasure import EMPTY_WAL, VACUUM  # noqa: PLC0415
    from smsevents.upkeep.keeper import LEASE  # noqa: PLC0415

    ends = _value(path, "SELECT expires_ms FROM leases WHERE name = :name", name=LEASE)
    owed = _value(path, "SELECT min(since_ms) FROM chores WHERE name IN (:one, :other)", one=VACUUM, other=EMPTY_WAL)
    if isinstance(owed, int):
        detail = f"Since {_time(owed)} it is owed to wipe what was erased from the files; `serve` does it, or `forget`."
        return Check(name, State.WARNING, detail)
    # one that ends later was written by a clock that is ahead, see `take_lease`
    if isinstance(ends, int) and now < ends <= now + LEASE_SECONDS * 1000:
        return Check(name, State.OK, "a server does it")
    if settings.upkeep == "off":
        return Check(name, State.WARNING, "It is off. Have cron run `smsevents compact` and `smsevents expire`.")
    return Check(name, State.WARNING, "No server does it now: nothing is compacted and nothing expires. Run `serve`.")


def _open_files(settings: Settings) -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
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
    uri = f"{path.as_uri()}?mode={'rw' if write else 'ro'}"
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_MAX_SECONDS, isolation_level=None)
    with closing(connection):
        yield connection


def _value(path: Path, statement: str, **values: object) -> object:
    """Give the one value of a statement, or None where there is none or its table is not there yet."""
    try:
        with _opened(path) as connection:
            row = connection.execute(statement, values).fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
