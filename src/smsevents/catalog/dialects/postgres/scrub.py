"""Rewriting the tables, so that their files hold no deleted rows.

A deleted row stays in the files until VACUUM frees its place and another row takes it. CLUSTER rewrites a table
with the rows that still exist. It locks the table meanwhile, for reading, too. Unlike VACUUM FULL it may run in a
transaction, so the wait for the lock can be limited: others wait behind it.

A row that an old snapshot may still see is copied, too. So the rewrite first waits until there is no such snapshot.

The write-ahead log, its archive, standbys and backups also have the rows for a while: docs/scale.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg

from smsevents.catalog.dialects.postgres.connections import run_all
from smsevents.catalog.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

REWRITE = "rewrite the tables"
SCRUB_LOCK_WAIT_MAX_MS = 2000  # everybody waits behind it
SNAPSHOT_WAIT_MAX_SECONDS = 5.0
SNAPSHOT_PAUSE_SECONDS = 0.1
_LOCK_NOT_AVAILABLE = "55P03"

# by which the rows of a table are ordered when it is rewritten
_ORDER = {"segments": "segments_in_order", "packs": "packs_in_order"}

# Whoever may still see rows that were deleted before a transaction. A transaction of any database of the server counts:
# no snapshot begins after one that is still running, and CLUSTER copies what its own snapshot may see. What other users
# do is hidden from a user without the role pg_read_all_stats, so they count as if they did.
_HOLDERS = """
    SELECT
        (SELECT count(*) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid()
            AND (query = '<insufficient privilege>' AND datname IS NOT NULL
                OR age(backend_xid) >= age(%(before)s::xid)
                OR (datname = current_database() OR datname IS NULL) AND age(backend_xmin) >= age(%(before)s::xid)))
        + (SELECT count(*) FROM pg_prepared_xacts WHERE age(transaction) >= age(%(before)s::xid))
        + (SELECT count(*) FROM pg_replication_slots WHERE age(xmin) >= age(%(before)s::xid))
"""


def rewrite(connection: psycopg.Connection[Any], sleep: Callable[[float], None] = time.sleep) -> bool:
    """Rewrite all tables. Return False if somebody may still see deleted rows, or uses a table all the time.

    Raises `psycopg.Error`.
    """
    # of a transaction that has ended: all rows that were deleted so far were deleted before it
    ((before,),) = connection.execute("SELECT (pg_current_xact_id()::text::numeric % 4294967296)::text").fetchall()
    for _ in range(round(SNAPSHOT_WAIT_MAX_SECONDS / SNAPSHOT_PAUSE_SECONDS)):
        if connection.execute(_HOLDERS, {"before": before}).fetchall() == [(0,)]:
            break
        sleep(SNAPSHOT_PAUSE_SECONDS)
    else:
        return False
    return all(_rewrite_table(connection, name) for name in metadata.tables)


def _rewrite_table(connection: psycopg.Connection[Any], name: str) -> bool:
    order = _ORDER.get(name, f"{name}_pkey")
    try:
        run_all(
            connection,
            f"BEGIN; SET LOCAL lock_timeout = {SCRUB_LOCK_WAIT_MAX_MS}; CLUSTER {name} USING {order}; COMMIT",
        )
    except psycopg.Error as error:
        connection.rollback()
        if error.sqlstate == _LOCK_NOT_AVAILABLE:
            return False
        raise
    return True


def size_of(connection: psycopg.Connection[Any]) -> int:
    """Return how many bytes the tables take, with their indexes."""
    ((found,),) = connection.execute(
        "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest(%s::text[]) AS name",
        ([*metadata.tables],),
    ).fetchall()
    return int(found)
