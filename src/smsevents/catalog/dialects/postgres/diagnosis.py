"""An examination of a PostgreSQL database that is not opened for use."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from smsevents.catalog.checks import Check, State
from smsevents.catalog.dialects.postgres import concerns
from smsevents.catalog.dialects.postgres.connections import CLOCK_SQL, connect
from smsevents.catalog.dialects.postgres.failures import ours
from smsevents.catalog.dialects.postgres.rights import require_usable
from smsevents.clock.system import now_ms
from smsevents.errors import NoDatabase, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from smsevents.catalog.dialects.postgres.location import Location


class PostgresDiagnosis:
    """An examination of the database at a location."""

    erasures_folder = None

    def __init__(self, location: Location) -> None:
        """Examine the database."""
        self._location = location
        self._checks = self._examined()

    @property
    def is_usable(self) -> bool:
        """Whether there is a readable database of smsevents."""
        return self._checks[0].state is State.OK

    @property
    def where(self) -> str:
        """The hosts and the name of the database."""
        return self._location.where

    def checks(self) -> list[Check]:
        """Return the results of the checks. The one of the database itself comes first."""
        return list(self._checks)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open the database for reading. Each statement is a transaction of its own: one may fail without harm."""
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(self._location),
            poolclass=NullPool,
            use_native_hstore=False,
        )
        engine.dialect.supports_server_side_cursors = False  # they need a transaction of several statements
        with engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Do nothing: there are no files."""

    def _examined(self) -> list[Check]:
        try:
            with connect(self._location) as connection:
                return self._examine(connection)
        except psycopg.Error as error:
            return [Check("database", State.WRONG, str(ours("read", self.where, error)))]
        except NoDatabase as error:
            detail = f"{error} `smsevents shop add` creates them, and so does `smsevents serve`."
            return [Check("database", State.WARNING, detail)]
        except StoreUnavailable as error:
            return [Check("database", State.WRONG, str(error))]

    def _examine(self, connection: psycopg.Connection[Any]) -> list[Check]:
        require_usable(connection, self.where, create=False)
        ((size, version, standby, fsync, sees_all, now),) = connection.execute(
            "SELECT pg_database_size(current_database()), current_setting('server_version'), pg_is_in_recovery(),"
            " current_setting('fsync') = 'on',"
            f" pg_has_role('pg_read_all_stats', 'USAGE'), {CLOCK_SQL}"
        ).fetchall()
        away_ms = now_ms() - now
        ((names, following),) = connection.execute(concerns.STANDBYS_SQL).fetchall()
        return [
            Check("database", State.OK, f"{self.where}, {size:,} bytes, PostgreSQL {version}"),
            _writable(is_standby=standby),
            _fsync(is_on=fsync),
            concerns.judged_standbys(names, following),
            concerns.clock(away_ms),
            _statistics(sees_all=sees_all),
        ]


def _writable(*, is_standby: bool) -> Check:
    if is_standby:
        return Check("writable", State.WRONG, "This server is a standby. Name all hosts, so that the primary is found.")
    return Check("writable", State.OK, "yes")


def _fsync(*, is_on: bool) -> Check:
    if not is_on:
        return Check("durability", State.WRONG, "fsync is off: a power failure loses events. Turn it on.")
    return Check("durability", State.OK, "fsync is on")


def _statistics(*, sees_all: bool) -> Check:
    if sees_all:
        return Check("role", State.OK, "may see whether others read old rows")
    detail = (
        "The user lacks the role pg_read_all_stats. While other users are connected to the database, an erasure is not"
        " reported as wiped, because they may still read old rows."
    )
    return Check("role", State.WARNING, detail)
