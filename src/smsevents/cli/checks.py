"""The checks of `smsevents doctor`. They neither change nor create a database, and do not wait long for a lock."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from smsevents.catalog.attachment import check_marker, check_own, is_store_needed, require_all
from smsevents.catalog.checks import Check, State
from smsevents.catalog.dialects import diagnose
from smsevents.catalog.leases import LEASE_SECONDS
from smsevents.catalog.pending_scrubs import ROWS_LEFT
from smsevents.catalog.schema import HEAD, READER
from smsevents.catalog.stores import find_store
from smsevents.catalog.trusted_time import find_mark, first_mark_of
from smsevents.cli.console import counted
from smsevents.clock.system import SYSTEM_CLOCKS
from smsevents.clock.trusted import judgement_of, noted, utc
from smsevents.errors import SettingError, StoreUnavailable
from smsevents.storage import open_store
from smsevents.timekeeper import WHAT_TO_DO
from smsevents.wire.limits import FUTURE_MAX_MS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.clock.trusted import Judgement
    from smsevents.settings import Settings
    from smsevents.storage.base import ByteStore

TEMPORARY_FREE_MIN_BYTES = 1024 * 1024 * 1024
CLOCK_BEHIND_MAX_MS = 60_000  # the clocks of machines that share a database differ by less
FILES_OF_A_PROCESS = 64  # files that a process has open besides client connections
FILES_OF_A_REQUEST = 2  # a connection, and a temporary file or a connection to the database


def examine(settings: Settings, now: int) -> list[Check]:
    """Check everything that the settings name; `now` is Unix milliseconds."""
    try:
        found = diagnose(settings.database)
    except SettingError as error:
        return [Check("database", State.WRONG, str(error)), _temporary_folder(), _open_files(settings)]
    checks = found.checks()
    if found.is_usable:
        with found.reading() as connection:
            checks.insert(1, _version(connection))
    checks.append(_temporary_folder())
    if found.is_usable:
        with found.reading() as connection:
            checks += [_clock(connection, now), _upkeep(connection, now, settings)]
            checks += _packs(connection, found.where, settings)
            checks += _erasures(connection, found.where, found.erasures_folder)
    found.close()
    checks.append(_open_files(settings))
    return checks


def _version(connection: Connection) -> Check:
    found = _value(connection, "SELECT version_num FROM alembic_version")
    if found == HEAD:
        return Check("version", State.OK, f"tables of revision {HEAD}")
    if found is None:
        return Check("version", State.WARNING, "There are no tables yet. `smsevents shop add` or `serve` creates them.")
    if str(found) < HEAD:
        detail = f"The tables have revision {found}; the next command or start upgrades them to {HEAD}. Back up first."
        return Check("version", State.WARNING, detail)
    if (lowest := _value(connection, "SELECT lowest FROM readers")) is not None and int(str(lowest)) <= READER:
        detail = f"tables of revision {found}, of a newer smsevents; this one may use them"
        return Check("version", State.OK, detail)
    detail = (
        f"The tables have revision {found}, but this smsevents supports {HEAD}. Install the version that created them."
    )
    return Check("version", State.WRONG, detail)


def _temporary_folder() -> Check:
    name = "temporary folder"
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        detail = f"It cannot be written: {error.strerror}. Set TMPDIR to a folder that this user can write to."
        return Check(name, State.WRONG, detail)
    told = f"{folder}, {free:,} bytes are free"
    wanted = os.environ.get("TMPDIR")
    if wanted and Path(wanted).absolute() != Path(folder):
        return Check(name, State.WARNING, f"TMPDIR is {wanted}, which cannot be written. In use instead: {told}.")
    if free < TEMPORARY_FREE_MIN_BYTES:
        return Check(
            name, State.WARNING, f"{told}; large imports and exports may fail. Free some space, or set TMPDIR."
        )
    return Check(name, State.OK, told)


def _clock(connection: Connection, now: int) -> Check:
    """Compare the clock with the recorded times of past operations and of events."""
    name = "clock"
    written = _value(
        connection,
        "SELECT max(moment) FROM (SELECT max(created_ms) AS moment FROM shops"
        " UNION ALL SELECT max(created_ms) FROM keys UNION ALL SELECT max(revoked_ms) FROM keys"
        " UNION ALL SELECT max(blocked_ms) FROM blocked_users"
        " UNION ALL SELECT max(last_date) - :future FROM segments) AS moments",
        future=FUTURE_MAX_MS,
    )
    told = f"it is {utc(now)}"
    if isinstance(written, int) and written > now + CLOCK_BEHIND_MAX_MS:
        detail = (
            f"By this machine's clock {told}, but the database contains something dated {utc(written)}. Correct the"
            " clock: exports end at its time."
        )
        return Check(name, State.WRONG, detail)
    judgement = _judgement(connection, now)
    if judgement and judgement.doubt:
        detail = f"Time is in doubt, so nothing is deleted. {judgement.explain()} {WHAT_TO_DO}"
        return Check(name, State.WARNING, detail)
    return Check(name, State.OK, f"{told}, and the database contains nothing later")


def _judgement(connection: Connection, now: int) -> Judgement | None:
    """Return how a server would judge the time, or None if the tables belong to another version."""
    if str(_value(connection, "SELECT version_num FROM alembic_version") or "") < HEAD:
        return None
    reading = replace(SYSTEM_CLOCKS, wall_ms=lambda: now).read()
    mark = find_mark(connection) or first_mark_of(connection, reading)
    return judgement_of(noted(mark, reading), reading)


def _upkeep(connection: Connection, now: int, settings: Settings) -> Check:
    name = "upkeep"
    # these take long to load, and only this check needs them
    from smsevents.upkeep.wiping import PAUSE  # noqa: PLC0415
    from smsevents.worker.worker import LEASE  # noqa: PLC0415

    ends = _value(connection, "SELECT expires_ms FROM leases WHERE name = :name", name=LEASE)
    chores = "SELECT min(since_ms) FROM chores WHERE name NOT IN (:pause, :left)"
    pending = _value(connection, chores, pause=PAUSE, left=ROWS_LEFT)
    if isinstance(pending, int):
        detail = (
            f"Erased events have been waiting since {utc(pending)} to be wiped from the files. Run `serve` or `forget`."
        )
        return Check(name, State.WARNING, detail)
    # a lease that ends later was written by a clock that is ahead, see `take_lease`
    if isinstance(ends, int) and now < ends <= now + LEASE_SECONDS * 1000:
        return Check(name, State.OK, "a server is running it")
    if settings.upkeep == "off":
        return Check(name, State.WARNING, "Upkeep is off. Run `smsevents compact` and `smsevents expire` from cron.")
    return Check(
        name, State.WARNING, "No server is running upkeep: nothing is compacted and nothing expires. Run `serve`."
    )


def _packs(connection: Connection, where: str, settings: Settings) -> list[Check]:
    """Check the store of packs, if there is one: that it is there, writable, this database's, and complete."""
    name = "packs"
    if str(_value(connection, "SELECT version_num FROM alembic_version") or "") < HEAD:
        return []
    record = find_store(connection)
    if record is None or not is_store_needed(connection):
        return [Check(name, State.OK, "SMSEVENTS_SEGMENTS is set; the next start begins to use it")] * bool(
            settings.segments
        )
    try:
        store = open_store(record.url)
        check_own(connection, where, store, record)
        count = require_all(connection, store)
        store.check_writable()
        why = store.unsafe()
    except (SettingError, StoreUnavailable) as error:
        return [Check(name, State.WRONG, str(error))]
    told = f"{record.url} has {counted(count, 'pack')}"
    if why:
        return [Check(name, State.WRONG, f"{told}, but {why}")]
    if settings.segments and not record.packing:
        told += ". The log was moved into the database: unset SMSEVENTS_SEGMENTS."
    elif count and not settings.segments:
        told += ", but SMSEVENTS_SEGMENTS is not set, so no new ones are made."
    else:
        return [Check(name, State.OK, told)]
    return [Check(name, State.WARNING, told)]


def _erasures(connection: Connection, where: str, folder: Path | None) -> list[Check]:
    """Check whether the database knows all erasures that were recorded, and whether there is a place to record them."""
    from smsevents.upkeep.erasure_records import RecordsFolder, unknown  # noqa: PLC0415 -- takes long to load

    name = "erasures"
    if str(_value(connection, "SELECT version_num FROM alembic_version") or "") < HEAD:
        return []
    places: list[ByteStore] = [RecordsFolder(folder)] if folder and folder.is_dir() else []
    record = find_store(connection)
    try:
        if record is not None and is_store_needed(connection):
            store = open_store(record.url)
            check_marker(where, store, record)
            places.append(store)
        found = unknown(connection, places)
    except (SettingError, StoreUnavailable) as error:
        return [Check(name, State.WRONG, f"It is not known whether erasures were made after a backup. {error}")]
    if found.records:
        detail = (
            f"This database is older than {counted(len(found.records), 'erasure')}, as after a restore. The next start"
            " of `serve` repeats them before it serves anything, and so do `export` and `import`."
        )
        return [Check(name, State.WARNING, detail)]
    if found.unreadable:
        detail = (
            f"{counted(found.unreadable, 'erasure')} cannot be repeated, because another database recorded them, or"
            " this one before it had its key. After restoring a backup of an earlier version, run `forget` again."
        )
        return [Check(name, State.WARNING, detail)]
    if not places and folder is None:
        detail = (
            "Erasures are recorded in the database alone, so a restored backup does not know those made since. Keep a"
            " copy of the record with `smsevents erasures FOLDER`, or keep packs in a bucket."
        )
        return [Check(name, State.WARNING, detail)]
    return [Check(name, State.OK, "the database knows all that were recorded")]


def _open_files(settings: Settings) -> Check:
    # this takes long to load, and no other command needs it
    from smsevents.web.connection.registry import file_limit_raised  # noqa: PLC0415

    limit = file_limit_raised(*resource.getrlimit(resource.RLIMIT_NOFILE))
    requests = settings.exports_at_once_max + settings.imports_at_once_max
    needed = FILES_OF_A_PROCESS + FILES_OF_A_REQUEST * requests
    if limit != resource.RLIM_INFINITY and limit < needed:
        detail = (
            f"At most {limit} files can be open, but the settings may need {needed}. Raise `ulimit -n` or LimitNOFILE."
        )
        return Check("open files", State.WRONG, detail)
    return Check("open files", State.OK, f"at most {limit}, {needed} may be needed")


def _value(connection: Connection, statement: str, **values: object) -> object:
    """Return the one value of a statement, or None if there is no row or no table yet."""
    try:
        row = connection.execute(text(statement), values).first()
    except SQLAlchemyError:
        return None
    return row[0] if row else None
