"""The only place where errors of PostgreSQL become errors of smsevents."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from smsevents.catalog.dialects.base import Collided, no_room
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_COLLIDED = {"40001", "40P01"}  # the transaction was rolled back
_LOCKED = "55P03"
_FULL = {"53100"}
_NOT_WRITABLE = "25006"
_NO_RIGHT = "42501"
_DAMAGED_CLASS = "XX"
_GONE_CLASSES = {"08", "57"}  # connection exceptions, and a server that shuts down or starts

_OUTSIDE = "The database of the server cannot be {done}. Try again later, and tell the operator of the server."


@contextmanager
def translated(done: str, where: str) -> Iterator[None]:
    """Run a block on the database at `where`, and translate its errors.

    `done` is "read" or "written": the message says that the database cannot be read or written.
    """
    try:
        yield
    except (SQLAlchemyError, psycopg.Error) as error:
        raise ours(done, where, error) from error


def ours(done: str, where: str, error: Exception) -> StoreUnavailable:
    """Return the error of smsevents for one of SQLAlchemy or psycopg."""
    outside = _OUTSIDE.format(done=done)
    if isinstance(error, PoolTimeoutError):
        text = f"The database {where} cannot be {done}: all connections of this process are in use."
        return StoreUnavailable(f"{text} Try again in a moment.", outside)
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlstate", None) or ""
    told = _told(cause)
    if code in _COLLIDED:
        return Collided(f"The database cannot be {done}: {told}. Try again in a moment.", outside)
    if code in _FULL:
        return no_room()
    return StoreUnavailable(f"The database {where} cannot be {done}: {told}. {_help(code, cause)}", outside)


def _help(code: str, cause: BaseException | None) -> str:
    if code == _LOCKED:
        return "Another transaction holds a lock. Try again in a moment."
    if code == _NOT_WRITABLE:
        return "This server is a standby. Name all hosts in the URL, so that the primary is found."
    if code == _NO_RIGHT:
        return "docs/scale.md lists the rights that the user needs."
    if code.startswith(_DAMAGED_CLASS):
        return "Look at the log of PostgreSQL, keep its files as they are, and restore a backup if they are damaged."
    if code[:2] in _GONE_CLASSES or (not code and isinstance(cause, psycopg.OperationalError)):
        return "If a server was restarted or replaced, this goes on when it is back."
    return "The log of PostgreSQL may tell more."


def _told(cause: object) -> str:
    """Return what PostgreSQL reports, in one line and without a full stop. Its details may be events: they stay out."""
    diag = getattr(cause, "diag", None)
    text = (diag.message_primary if diag is not None else None) or str(cause)
    return " ".join(text.split()).rstrip(".")
