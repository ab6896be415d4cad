"""Filling the register of sent messages past the server, so that millions of rows take seconds.

Ids are spread evenly, as digests are. Of each period, every second row comes later, so that the pages of the index are
about as full as those of a register that grew.
"""

import random
import sqlite3  # noqa: TID251 -- millions of rows, past the program
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg

from bench.dataset import now_ms
from bench.peers.smsevents import Store
from bench.plan import DAY_MS
from smsevents.catalog.periods import DAY_PERIODS_MAX, PERIOD_MESSAGES_MAX
from smsevents.upkeep.receipt_rows import SENT_KEPT_DAYS
from smsevents.wire.events import Flow, OneOff
from smsevents.wire.reference import encode_source

Message = tuple[int, int, bytes, str, bytes, bytes]  # a row of `sent`

_DIGEST_BYTES = 16
_COLUMNS = "day, trackpoint, message, scope, user_id, source"
_TYPES = ("int4", "int8", "bytea", "text", "bytea", "bytea")


def fill(store: Store, trackpoint: int, scope: str, source: Flow | OneOff, many: int) -> float:
    """Register messages of all days that are kept. Return how many bytes each takes in the files."""
    today = now_ms() // DAY_MS
    days = range(today - SENT_KEPT_DAYS, today + 1)
    of_day = many // len(days)
    periods = dict.fromkeys(days[:-1], of_day)  # the upkeep has moved the messages of past days together
    for number, start in enumerate(range(0, of_day, PERIOD_MESSAGES_MAX)):
        periods[today * DAY_PERIODS_MAX + number] = min(PERIOD_MESSAGES_MAX, of_day - start)

    def rows(late: int) -> Iterator[Message]:
        for period, messages in periods.items():
            yield from _of_period(period, messages, late, (trackpoint, scope, encode_source(source)))

    url = store.environment["SMSEVENTS_DATABASE"]
    fill_in = _fill_postgres if url.startswith("postgresql:") else _fill_sqlite
    before, after = fill_in(url, list(periods), rows)
    return (after - before) / many


def _of_period(period: int, many: int, late: int, same: tuple[int, str, bytes]) -> Iterator[Message]:
    """Go through every second row of a period, in order: the first and so on, or the `late` ones."""
    trackpoint, scope, source = same
    chance = random.Random(period)  # noqa: S311 -- invented data
    step = 2 ** (8 * _DIGEST_BYTES) // many
    for number in range(late, many, 2):
        message = number * step + chance.getrandbits(64)
        yield period, trackpoint, message.to_bytes(_DIGEST_BYTES), scope, b"%d" % number, source


def _fill_sqlite(url: str, periods: Sequence[int], rows: Callable[[int], Iterator[Message]]) -> tuple[int, int]:
    """Insert the rows. Return the size of the file before and after."""
    path = Path(url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.stat().st_size
        connection.executemany("INSERT INTO receipt_days (day) VALUES (?)", [(period,) for period in periods])
        for late in (0, 1):
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO sent ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows(late))
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, path.stat().st_size


def _fill_postgres(url: str, periods: Sequence[int], rows: Callable[[int], Iterator[Message]]) -> tuple[int, int]:
    """Copy the rows. Return the size of the table and its index before and after."""
    with psycopg.connect(url, autocommit=True) as connection:

        def size() -> int:
            ((found,),) = connection.execute("SELECT pg_total_relation_size('sent')").fetchall()
            return int(found)

        before = size()
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO receipt_days (day) VALUES (%s)", [(period,) for period in periods])
            for late in (0, 1):
                with cursor.copy(f"COPY sent ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(_TYPES)
                    for row in rows(late):
                        copy.write_row(row)
        connection.execute("VACUUM ANALYZE sent")
        connection.execute("CHECKPOINT")
        return before, size()
