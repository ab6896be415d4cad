"""The errors of the database, turned into ours: here and nowhere else."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def translated(done: str) -> Iterator[None]:
    """Run a block that works on the database; `done` says what cannot be done when it fails: "read", "written"."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StoreFull(
                "There is no room left on the disk of the database. Nothing of this was stored;"
                " free some room and try again."
            ) from error
        raise StoreUnavailable(f"The database cannot be {done}: {cause}. Try again in a moment.") from error
