"""What is at the path of a database, and why it cannot be opened or written, in words for the operator.

SQLite says "unable to open database file" and "attempt to write a readonly database" for a dozen causes. The file,
its folder and its file system show which one applies.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from smsevents.errors import NoDatabase, SettingError, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import URL

_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat2.html, section 1.3
_NAME_IN_FOLDER_MAX_BYTES = 240  # a name has at most 255
OPENED_MIN_BYTES = 64 * 1024  # `-shm` begins with 32 KiB
_OUR_TABLE = "alembic_version"
_URL_HELP = "Use sqlite:///relative/path.db or sqlite:////absolute/path.db."


def path_of(url: str) -> Path:
    """Return the path of the database file that a URL names. Raises `SettingError`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingError(f"SMSEVENTS_DATABASE is {url!r}, which is not a database URL. {_URL_HELP}") from error
    if wrong := _wrong_part(parsed):
        raise SettingError(f"SMSEVENTS_DATABASE is {parsed.render_as_string()!r}: {wrong}. {_URL_HELP}")
    return Path(str(parsed.database))


def erasures_folder_of(path: Path) -> Path:
    """Return the folder for the record of erasures beside a database file.

    Its name does not begin with that of the database, so that `mv smsevents.db*` before a restore leaves it in place.
    """
    name = path.name
    if len(os.fsencode(name)) > _NAME_IN_FOLDER_MAX_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.absolute().with_name(f"erasures-{name}")


def _wrong_part(url: URL) -> str | None:
    """Return the part of a URL that cannot be used, or None. No part of a URL is ignored."""
    if url.drivername != "sqlite":
        return f"the driver cannot be chosen, so write `sqlite` and not `{url.drivername}`"
    if url.host or url.port or url.username or url.password:
        return "a SQLite database has no host and no user, and its path begins after three slashes"
    if url.query:
        return "parameters after `?` are not supported"
    if not url.database or url.database == ":memory:":
        return "it names no file"
    return None


def require_usable(path: Path, *, create: bool) -> None:
    """Check what is at a path before it is opened as a database. Nothing is changed.

    Raises `NoDatabase` if nothing is there and `create` is false, and `StoreUnavailable` if something else is there.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        if create:
            return
        raise NoDatabase(f"There is no database at {path.absolute()}.") from error
    except OSError as error:
        raise StoreUnavailable(f"The database {path} cannot be opened: {error.strerror}.{_who()}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder; name a file in it" if stat.S_ISDIR(found.st_mode) else "not a file"
        raise StoreUnavailable(f"The database {path} cannot be opened: it is {kind}.")
    if found.st_size == 0:
        if create:
            return
        raise NoDatabase(f"There is no database at {path.absolute()}: the file is empty.")
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreUnavailable(f"The database {path} cannot be opened: {error.strerror}.{_who()}") from error
    if start != _MAGIC:
        raise StoreUnavailable(
            f"The database {path} cannot be opened: it is not a SQLite database."
            " Name another file, or restore a backup."
        )


def require_ours(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Check that the tables of a database are those of smsevents, before anything is changed in it.

    Raises `NoDatabase` if there are no tables and `create` is false, and `StoreUnavailable` if another program made
    them.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and _OUR_TABLE not in tables:
        raise StoreUnavailable(
            f"The database {path} cannot be opened: it belongs to another program, with tables like"
            f" `{min(tables)}`. Name another file."
        )
    if not tables and not create:
        raise NoDatabase(f"There is no database at {path.absolute()}: the file has no tables yet.")


def why_unusable(path: Path) -> str | None:
    """Return why SQLite cannot even open a database, and what to do; None if unknown.

    The causes are those of `why_unwritable` and a full disk: even to read, SQLite must create `-shm`.
    """
    if why := why_unwritable(path):
        return why
    folder = path.absolute().parent
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}."
    is_full = found.f_bavail * found.f_frsize < OPENED_MIN_BYTES
    return f"there is no room left on the disk of {folder}. Free some." if is_full else None


def why_unwritable(path: Path) -> str | None:
    """Return why a database file, or a file beside it, cannot be written, and what to do; None if unknown."""
    folder = path.absolute().parent
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"the file system of {folder} is read-only. Mount it for writing."
        beside = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
        for one in (*beside, folder):
            if one.exists() and not os.access(one, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                return _why_not_by_us(one)
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}."
    return None


def _why_not_by_us(path: Path) -> str:
    owner, user = path.stat().st_uid, os.geteuid()
    if owner == user:
        return f"the mode of {path}, or an attribute that lsattr shows, forbids it. Make it writable."
    return (
        f"{path} belongs to the user {name_of_user(owner)} and cannot be written by {name_of_user(user)}."
        " Give the folder and all files of the database to the user that runs smsevents."
    )


def _who() -> str:
    return f" smsevents runs as the user {name_of_user(os.geteuid())}."


def name_of_user(user: int) -> str:
    """Return the name of a user, or the user's number if there is no name."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
