"""What keeps other writers from coming in between, within a write transaction. SQLite has only one writer.

**Imports and blocked users.** An import checks that no user was blocked meanwhile, and then stores its events. Who
blocks a user must come before that check or after the commit. So imports share a lock of the shop until they commit,
and who blocks a user has it alone.

**Ids.** A sequence gives an id out before the transaction commits, so ids do not appear in their order. A scan that
continues after the highest id that it saw would miss those that appear later. So each transaction first announces the
highest id that was given out before, by a lock that others can see. A scan goes no further than the lowest of them.

**Replacements.** What replaces segments shares the shop with other steps of the upkeep, or has it alone. That lock is
on another connection, which may be lost. So the replacement takes a share itself, until it commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import text

from smsevents.catalog.dialects.base import Begun, Busy
from smsevents.catalog.dialects.postgres.connections import OPENING, Opening, run_each
from smsevents.catalog.dialects.postgres.keys import ANNOUNCED_ID_SQL, UNFINISHED_ID_SQL, Key, key_of
from smsevents.catalog.hot import Hot, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_APPEND = Hot(
    text(f"""
        SELECT pg_advisory_xact_lock_shared({Key.APPEND}, CAST(:key AS integer)),
            pg_advisory_xact_lock_shared({ANNOUNCED_ID_SQL})
        FROM segments_id_seq
    """)  # noqa: S608 -- constants
)
_BLOCK = Hot(text(f"SELECT pg_advisory_xact_lock({Key.APPEND}, CAST(:key AS integer))"))
_SHARE = Hot(text(f"SELECT pg_try_advisory_xact_lock_shared({Key.WORK}, CAST(:key AS integer))"))
_ANNOUNCE = Hot(text(f"SELECT pg_advisory_xact_lock_shared({ANNOUNCED_ID_SQL}) FROM segments_id_seq"))  # noqa: S608 -- constants
_HOLDS = Hot(
    text(f"""
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid::bigint = {Key.WORK}
        AND objid::bigint = :unsigned AND pid = ANY(CAST(:pids AS integer[]))
    """)  # noqa: S608 -- a constant
)
_UNFINISHED = Hot(text(UNFINISHED_ID_SQL))


def begin_append(connection: Connection, trackpoint: int) -> None:
    """Until the transaction ends, let nobody block a user of the shop, and let scans not pass the ids it will use."""
    _APPEND.all(connection, {"key": key_of(trackpoint)})


def begin_appends(connection: Connection, trackpoints: Sequence[int], reads: Sequence[str]) -> Begun:
    """Do what `begin_append` does for one or more shops, share them as `share` does if that is possible, and read.

    This is one message, the one that begins the transaction if it has not begun yet. Each statement sees what was
    committed before it began, so what is read is as it is under the locks.
    """
    keys = [key_of(trackpoint) for trackpoint in trackpoints]
    locks = [f"pg_advisory_xact_lock_shared({Key.APPEND}, {key})" for key in keys]
    shares = [f"pg_try_advisory_xact_lock_shared({Key.WORK}, {key})" for key in keys]
    announced = f"pg_advisory_xact_lock_shared({ANNOUNCED_ID_SQL})"
    lock = f"SELECT {', '.join([*locks, announced, *shares])} FROM segments_id_seq"  # noqa: S608 -- numbers
    ((found,), *rows) = _run_first(connection, [lock, *reads])
    shared = found[len(locks) + 1 :]
    return Begun({one for one, is_shared in zip(trackpoints, shared, strict=True) if is_shared}, rows)


def _run_first(connection: Connection, statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    """Run statements that return rows, with the beginning of the transaction if that is still to come."""
    if connection.in_transaction():
        driver: Any = connection.connection.dbapi_connection
        try:
            return run_each(driver, "; ".join(statements))
        except psycopg.Error as error:
            raise wrapped(connection, error) from error
    opening = connection.info[OPENING] = Opening(statements)
    connection.begin()
    return opening.rows


def begin_block(connection: Connection, trackpoint: int) -> None:
    """Wait until the running imports of the shop have committed. Others begin only after this transaction."""
    _BLOCK.all(connection, {"key": key_of(trackpoint)})


def share(connection: Connection, trackpoint: int) -> None:
    """Share a shop until the transaction ends. Raises `Busy` if a process has or awaits exclusive access."""
    if _SHARE.all(connection, {"key": key_of(trackpoint)}) != [(True,)]:
        raise Busy("Another process is erasing from this shop. Try again in a moment.")


def begin_replacement(connection: Connection, trackpoint: int, held_by: Sequence[int]) -> bool:
    """Let scans not pass the ids it will use. Return whether this process may rewrite segments of the shop.

    `held_by` are the server processes of this process's locks of the shop. If another process waits to be alone with
    it, a further share is refused, although the lock is still held.
    """
    _ANNOUNCE.all(connection, {})
    key = key_of(trackpoint)
    if _SHARE.all(connection, {"key": key}) == [(True,)]:
        return True
    values: dict[str, Any] = {"unsigned": key & 0xFFFF_FFFF, "pids": list(held_by)}
    return bool(held_by) and _HOLDS.all(connection, values) != [(0,)]


def unfinished_id(connection: Connection) -> int | None:
    """Return an id up to which all have appeared that ever will, by the running transactions; None if none runs."""
    found: int | None = _UNFINISHED.all(connection, {})[0][0]
    return found
