"""Connections to PostgreSQL: how they are opened, and how their transactions begin.

A transaction begins with one message of several statements, which also reads the identity of the database and its
clock. Settings are those of a transaction, never of a session: behind pgbouncer, a session has no settings of its own.
For the same reason, no statement is prepared.
"""

from __future__ import annotations

import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import Format
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from smsevents.catalog.dialects.postgres.commits import CommittingConnection
from smsevents.catalog.dialects.postgres.keys import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine import Engine

    from smsevents.catalog.dialects.postgres.location import Location

# Of a process: 2 readers and a merger of exports, 4 importers, the writer, and 2 more for keys, metrics and readiness.
POOLED_CONNECTIONS_MAX = 10
POOL_WAIT_MAX_SECONDS = 10
LOCK_WAIT_MAX_MS = 30_000  # in a transaction; it then fails, and its client tries again

IDENTITY_TABLE = "database_identity"

# A server notices only after two hours that a machine disappeared. The transaction would keep its locks until then.
# Behind pgbouncer, this is about the connection of pgbouncer, which has settings of its own.
GONE_CLIENT = (
    "SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; SET LOCAL tcp_keepalives_count = 3;"
    " SET LOCAL tcp_user_timeout = 30000"
)

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# a commit waits for the disk of the primary and of its synchronous standbys, whatever the user's default is
_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; {GONE_CLIENT}"
_LOCK_TIMEOUT = f"SET LOCAL lock_timeout = {LOCK_WAIT_MAX_MS}"
_ALONE = f"SELECT pg_advisory_xact_lock({Key.ALONE}, 0)"
CLOCK_SQL = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


@dataclass
class Opening:
    """One or more statements without values, each of which returns rows, that are run as a transaction begins."""

    statements: Sequence[str]
    rows: list[list[tuple[Any, ...]]] = field(default_factory=list)  # of each statement


OPENING = "smsevents_opening"  # in the `info` of a connection: the `Opening` of the transaction that begins next


class BinaryCursor(psycopg.Cursor[Any]):
    """A cursor that fetches values as bytes and not as text, which takes a fraction of the time for large ones."""

    def __init__(self, connection: psycopg.Connection[Any], **options: Any) -> None:  # noqa: ANN401 -- psycopg's own
        super().__init__(connection, **options)
        self.format = Format.BINARY


def connect(location: Location) -> CommittingConnection:
    """Open a connection. Its transactions begin only when somebody begins them. Raises `psycopg.Error`."""
    return CommittingConnection.connect(
        location.conninfo, autocommit=True, prepare_threshold=None, cursor_factory=BinaryCursor
    )


def postgres_engine(open_one: Callable[[], psycopg.Connection[Any]], begin: Callable[[Connection], None]) -> Engine:
    """Create the engine. Nothing is connected before the first use. `begin` begins its transactions."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=open_one,
        poolclass=QueuePool,
        pool_size=POOLED_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=POOL_WAIT_MAX_SECONDS,
        pool_reset_on_return=None,
        use_native_hstore=False,
        hide_parameters=True,
    )
    event.listen(engine, "checkout", _check_open)
    event.listen(engine, "reset", _reset)
    event.listen(engine, "begin", begin)
    return engine


def begin_statements(*, write: bool, alone: bool, with_identity: bool) -> str:
    """Return the statements that begin a transaction. The last one returns the clock (Unix ms) and the identity.

    A write that is `alone` begins after all others that are, in any process, have ended.
    """
    statements = [_WRITE, _LOCK_TIMEOUT] if write else [_READ, _LOCK_TIMEOUT]
    if write and alone:
        statements.append(_ALONE)
    told = f"(SELECT identity FROM {IDENTITY_TABLE})" if with_identity else "NULL"  # noqa: S608 -- a constant
    return "; ".join([*statements, f"SELECT {CLOCK_SQL}, {told}"])


def begun(
    connection: psycopg.Connection[Any], statements: str, opening: Opening | None = None
) -> tuple[int, str | None]:
    """Run statements that begin a transaction. Return the clock (Unix ms) and the identity of the database.

    Those of an opening follow in the same message.
    """
    following = [] if opening is None else opening.statements
    *_, told = found = run_each(connection, "; ".join([statements, *following]))
    if opening is not None:
        told, opening.rows = found[-len(following) - 1], found[-len(following) :]
    ((clock_ms, identity),) = told
    return int(clock_ms), identity


def run_all(connection: psycopg.Connection[Any], statements: str) -> list[tuple[Any, ...]]:
    """Run several statements without values in one message. Return the rows of the last one, if any returns rows."""
    found = run_each(connection, statements)
    return found[-1] if found else []


def run_each(connection: psycopg.Connection[Any], statements: str) -> list[list[tuple[Any, ...]]]:
    """Run several statements without values in one message. Return the rows of each that returns rows."""
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(connection)  # as text: only then may there be several statements
    cursor.execute(statements)
    found = []
    while True:
        if cursor.description:
            found.append(cursor.fetchall())
        if not cursor.nextset():
            return found


def is_open(connection: psycopg.Connection[Any]) -> bool:
    """Return whether a connection that nobody uses is still open, without asking the server."""
    if connection.closed:
        return False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if not waiting.poll(0):
        return True
    try:  # a server says why it closes a connection
        connection.pgconn.consume_input()
        connection.pgconn.is_busy()
    except psycopg.Error:
        return False
    return not connection.closed and not waiting.poll(0)


def _check_open(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    if not is_open(connection):
        raise DisconnectionError("closed by the server")  # the pool opens another one


def _reset(connection: psycopg.Connection[Any], _record: object, _state: object) -> None:
    if not connection.closed:
        connection.rollback()
