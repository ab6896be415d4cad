"""A shop with many packs on PostgreSQL: what requests look at does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from smsevents.catalog.milestones import RECONCILED, reach
from smsevents.catalog.packs import insert_pack
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.segments.pack import make_pack
from smsevents.segments.segment import pack
from smsevents.segments.splice import unpack
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.collecting import collect
from smsevents.wire.lines import parse_entries
from smsevents.wire.window import Window
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line, model
from tests.support.logs import log_at, open_with, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database

pytestmark = pytest.mark.slow

NOW_MS = 1_790_000_000_000
SHOP = 7
PACKS = 1_000
PACK_EVENTS = 4
OTHER_SHOPS = range(100, 200)
OTHER_ROWS = 100  # of each of them, in each table
LARGE_TABLES = {"segments", "packs", "objects"}
ROWS_MAX = 40  # that a statement may look at; a page fetches 16 at once
OTHER_SHOPS_ADDED = """
    INSERT INTO shops SELECT shop, '', 1 FROM generate_series(%(first)s, %(last)s) AS shop
"""
OTHER_SEGMENTS_ADDED = """
    INSERT INTO segments (trackpoint, first_date, first_line, last_date, last_line, span_ms, events, line_bytes,
        line_crc, stored_crc, data)
    SELECT shop, %(now)s - n * 60000::bigint, 'a', %(now)s - n * 60000::bigint + 30000, 'b', 32768, 2, 500, 1, 1, 'data'
    FROM generate_series(%(first)s, %(last)s) AS shop, generate_series(1, %(rows)s) AS n
"""
OTHER_PACKS_ADDED = """
    INSERT INTO packs (trackpoint, first_date, first_line, last_date, last_line, span_ms, events, line_bytes,
        line_crc, stored_bytes, stored_crc, segments, key, inner_index)
    SELECT shop, %(now)s - n * 86400000::bigint, 'a', %(now)s - n * 86400000::bigint + 80000000, 'b', 134217728, 2, 500,
        1, 100, 1, 1, shop || '/' || n, 'index'
    FROM generate_series(%(first)s, %(last)s) AS shop, generate_series(1, %(rows)s) AS n
"""
OBJECTS_ADDED = "INSERT INTO objects SELECT key, trackpoint, 'live', 1, NULL, 100 FROM packs"


class Plans:
    """The statements that were run, and what the server does to run them."""

    def __init__(self, harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note statements from now on."""
        self.asked: list[tuple[str, Any]] = []
        self._harness = harness
        execute = psycopg.Cursor.execute

        def noted(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
            self.asked.append((str(query), params))
            return execute(cursor, query, params, **options)

        monkeypatch.setattr(psycopg.Cursor, "execute", noted)

    def of_tables(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Go through the statements that read large tables, each with the steps that the server takes for it."""
        asked = [one for one in self.asked if one[0].lstrip().startswith(("SELECT", "WITH"))]  # what reads
        with psycopg.connect(self._harness.url) as connection:
            for query, params in asked:
                ((found,),) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", params).fetchall()
                steps = list(_steps(found[0]["Plan"]))
                if LARGE_TABLES & {one.get("Relation Name") for one in steps}:
                    yield query, steps


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)


def rows_seen(steps: list[dict[str, Any]]) -> float:
    """Return how many rows of large tables the steps look at."""
    found: float = sum(
        one["Actual Loops"]
        * (one["Actual Rows"] + one.get("Rows Removed by Filter", 0) + one.get("Rows Removed by Index Recheck", 0))
        for one in steps
        if one.get("Relation Name") in LARGE_TABLES
    )
    return found


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostgresHarness]:
    """Make a database."""
    made = harness_of("postgres", request, tmp_path)
    assert isinstance(made, PostgresHarness)
    yield made
    made.close()


class Packed:
    """A log with a shop of many packs."""

    def __init__(self, database: Database) -> None:
        """Use an empty database that has a store in memory."""
        self.database = database
        self.log = log_at(database, lambda: NOW_MS)
        self.lines: list[bytes] = []

    def fill(self, objects: MemoryStore) -> None:
        """Add the shop. Every tenth of its packs spans more time than the others."""

        def write(connection: Connection) -> None:
            insert_shop(connection, Shop(SHOP, "", 1))
            reach(connection, RECONCILED, NOW_MS)  # all objects have a row
            for number in range(PACKS):
                step = HOUR_MS // (40 if number % 10 else 5)
                start = NOW_MS - (PACKS - number) * HOUR_MS
                lines = [line(SHOP, start + at * step, f"{number} {at}") for at in range(PACK_EVENTS)]
                made, parts = make_pack(SHOP, f"{SHOP}/{number}.pack", list(pack(parse_entries(body_of(lines)))))
                objects.put(made.key, parts)
                insert_pack(connection, SHOP, made)
                self.lines += lines

        self.database.write(write)

    def exported(self, start: int, end: int) -> bytes:
        """Export an interval."""
        return b"".join(unpack(self.log.read(SHOP, Window(start, end))))


@pytest.fixture
def packed(harness: PostgresHarness) -> Iterator[Packed]:
    """Fill a shop with packs, and other shops with rows, and let the server know how many there are."""
    objects = MemoryStore()
    packed = Packed(open_with(harness.url, objects))
    values = {"first": OTHER_SHOPS[0], "last": OTHER_SHOPS[-1], "now": NOW_MS, "rows": OTHER_ROWS}
    with psycopg.connect(harness.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for statement in (OTHER_SHOPS_ADDED, OTHER_SEGMENTS_ADDED, OTHER_PACKS_ADDED):
            connection.execute(statement, values)
        packed.fill(objects)  # last, so that its rows are not the first ones of the tables
        connection.execute(OBJECTS_ADDED)
        connection.execute("ANALYZE")
    yield packed
    packed.database.close()


def test_small_requests_look_at_few_rows(
    packed: Packed, harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exports of an hour, first pages of all, imports and collections find what they need by indexes alone."""
    plans = Plans(harness, monkeypatch)
    for start in (NOW_MS - 30 * HOUR_MS, NOW_MS - 700 * HOUR_MS - 1):
        assert packed.exported(start, start + HOUR_MS) == model(packed.lines, start, start + HOUR_MS)
    assert packed.log.read(SHOP, Window(NOW_MS - 90 * DAY_MS, NOW_MS)).next_page(1)
    store(packed.log, SHOP, [line(SHOP, NOW_MS - 1000)])
    store(packed.log, SHOP, [line(SHOP, NOW_MS - 20 * DAY_MS)])
    assert collect(packed.database, NOW_MS) is None
    found = list(plans.of_tables())
    assert {name for query, _ in found for name in LARGE_TABLES if f"FROM {name}" in query} == LARGE_TABLES
    for query, steps in found:
        assert not [one for one in steps if one["Node Type"] == "Seq Scan"], query
        # of few packs, PostgreSQL rather looks at all earlier ones than for each of their spans
        assert rows_seen(steps) <= (PACKS if query.startswith("WITH RECURSIVE spans") else ROWS_MAX), query
