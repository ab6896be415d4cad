"""How `sync` loads: it appends what the warehouse cannot have, and continues after a kill and after older versions."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client.dlt_source import COLUMNS
from smsevents.client.sync import SyncReport, sync
from tests.support.campaigns import few_or_many
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line
from tests.support.old_syncs import sync_as_before
from tests.support.servers import PLAIN
from tests.support.warehouses import NOW_MS, TRACKPOINT, Ordered, Warehouse, duckdb_at, expected, some_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.standin import StandIn

SCRIPT = """
import sys
from smsevents.client.sync import sync
sync({trackpoint}, "key", url={url!r}, destination={destination!r}, now_ms=lambda: {now}, step_days=10)
"""


def run(standin: StandIn, warehouse: Warehouse, now: int = NOW_MS, **options: Any) -> SyncReport:
    """Sync from the stand-in at a given time."""
    standin.now_ms = lambda: now
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: now}
    return sync(TRACKPOINT, "key", url=standin.url, destination=warehouse.destination, **fixed | options)


def columns_of(warehouse: Warehouse) -> list[str]:
    """Return the names of all columns of the table, in order."""
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'sms' AND table_name = 'sms_events'"
    )
    return [name for (name,) in warehouse.query(f"{query} ORDER BY ordinal_position")]


def staged(warehouse: Warehouse) -> bool:
    """Return whether the warehouse has a table for the rows of a merge."""
    return bool(warehouse.query("SELECT 1 FROM information_schema.tables WHERE table_schema = 'sms_staging'"))


def test_a_first_sync_appends_and_later_ones_insert(standin: StandIn, warehouse: Warehouse) -> None:
    """In order, events of a first sync are appended without a merge; later, only new and late ones are inserted."""
    lines = some_lines(400)
    account = Ordered(lines)
    standin.answers(account)

    assert run(standin, warehouse).loads == 3
    assert warehouse.rows() == expected(lines)
    assert columns_of(warehouse) == list(COLUMNS)  # nothing of dlt
    assert not staged(warehouse)

    late = [line(TRACKPOINT, NOW_MS - 2 * DAY_MS - index, user=f"late {index}") for index in range(20)]
    new = [line(TRACKPOINT, NOW_MS + 1 + index * HOUR_MS, user=f"new {index}") for index in range(20)]
    account.lines = [*lines, *late, *new]
    for _ in range(2):
        run(standin, warehouse, NOW_MS + DAY_MS)
        assert warehouse.rows() == expected(account.lines)
    assert columns_of(warehouse) == list(COLUMNS)
    assert staged(warehouse)


def test_the_rows_of_another_shop_are_no_reason_to_merge(standin: StandIn, warehouse: Warehouse) -> None:
    """A second shop in the same table is appended too, and neither loses rows."""
    ours, others = some_lines(50), some_lines(50, trackpoint=7)
    standin.answers(Ordered(ours))
    run(standin, warehouse)
    standin.answers(Ordered(others))
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "now_ms": lambda: NOW_MS}
    sync(7, "key", url=standin.url, destination=warehouse.destination, **fixed)

    assert warehouse.rows() == expected(ours + others)
    assert not staged(warehouse)


@pytest.mark.parametrize("lost", ["1 = 0", "event_id < '8'", "1 = 1"], ids=["nothing", "half", "all of the step"])
def test_rows_that_the_state_does_not_know_are_not_doubled(standin: StandIn, warehouse: Warehouse, lost: str) -> None:
    """After a kill between the rows and the state, or among the rows, the next sync loads the rest and no row twice."""
    lines = some_lines(400)
    standin.answers(Ordered(lines))
    run(standin, warehouse)
    loads = warehouse.query("SELECT load_id FROM sms._dlt_loads ORDER BY inserted_at")
    # what a kill in the last step leaves: rows, or a part of them, and no record that it was loaded
    warehouse.query(f"DELETE FROM sms._dlt_loads WHERE load_id = '{loads[-1][0]}'")  # noqa: S608 -- our own names
    last_step = f"date > TIMESTAMPTZ '{datetime.fromtimestamp(NOW_MS / 1000 - 30 * 86_400, UTC)}'"
    warehouse.query(f"DELETE FROM sms.sms_events WHERE {last_step} AND {lost}")  # noqa: S608 -- our own names

    report = run(standin, warehouse)

    assert report.synced_from == NOW_MS - 33 * DAY_MS
    assert warehouse.rows() == expected(lines)


def test_a_day_out_of_order_is_merged(standin: StandIn, warehouse: Warehouse) -> None:
    """If a server that was in order sends a day in another order or twice, each event still is one row."""
    lines = some_lines(200)
    standin.answers(Ordered(lines))
    run(standin, warehouse)
    new = [line(TRACKPOINT, NOW_MS + HOUR_MS * index, user=f"new {index}") for index in range(1, 20)]

    def backwards(request: Any) -> Any:
        """Return everything twice, the newest first."""
        answer = Ordered(lines + new)(request)
        return type(answer)(lines=[*reversed(answer.lines), *answer.lines])

    standin.answers(backwards)
    run(standin, warehouse, NOW_MS + DAY_MS)
    assert warehouse.rows() == expected(lines + new)


def test_tables_of_earlier_versions_continue(standin: StandIn, warehouse: Warehouse, tmp_path: Path) -> None:
    """A table and a state of an earlier version are continued; its columns of dlt are filled as dlt fills them."""
    before, lines = NOW_MS - 10 * DAY_MS, some_lines(400)
    old = [one for one in lines if date_of(one) <= before]
    sync_as_before(old, standin.url, TRACKPOINT, before, warehouse.destination, tmp_path / "pipelines")
    names = columns_of(warehouse)
    assert warehouse.rows() == expected(old)
    late = line(TRACKPOINT, before - HOUR_MS, user="late")
    standin.answers(Ordered([*lines, late]))

    report = run(standin, warehouse)

    assert report.synced_from == before - 3 * DAY_MS
    assert warehouse.rows() == expected([*lines, late])
    assert columns_of(warehouse) == names == [*COLUMNS, "_dlt_load_id", "_dlt_id"]
    ids = warehouse.query("SELECT count(DISTINCT _dlt_id), count(*) FROM sms.sms_events")
    known = warehouse.query("SELECT count(*) FROM sms.sms_events JOIN sms._dlt_loads ON load_id = _dlt_load_id")
    assert ids == [(len(lines) + 1, len(lines) + 1)]
    assert known == [(len(lines) + 1,)]


@pytest.mark.parametrize("kills", few_or_many(3, 50))
def test_kills_lose_and_double_nothing(standin: StandIn, tmp_path: Path, kills: int) -> None:
    """A sync that is killed again and again, at any time, never has an event twice and ends with all of them."""
    lines = some_lines(3000, step_ms=40 * 60_000)
    standin.answers(Ordered(lines))
    standin.now_ms = lambda: NOW_MS
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    chance = random.Random(7)  # noqa: S311 -- a test, not a secret
    script = SCRIPT.format(trackpoint=TRACKPOINT, url=standin.url, destination=warehouse.destination, now=NOW_MS)
    environment = os.environ | {"HOME": str(tmp_path)}
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", script], env=environment)
        try:
            assert process.wait(chance.uniform(1.5, 8.0)) == 0
            (tmp_path / "w.duckdb").unlink()  # it was faster; begin again
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if warehouse.query("SELECT 1 FROM information_schema.tables WHERE table_name = 'sms_events'"):
            assert len({row[0] for row in warehouse.rows()}) == len(warehouse.rows())

    run(standin, warehouse)
    assert warehouse.rows() == expected([one for one in lines if date_of(one) >= NOW_MS - 90 * DAY_MS])
