"""What people choose for a sync: where it begins, and a filter that the warehouse remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import NEVER, ConfigurationError, Filter, TruncatedStream
from smsevents.client.dlt_source import begun_at, interval_of
from smsevents.client.sync import SyncReport, sync
from smsevents.wire.limits import HISTORY_MS
from tests.support.lines import DAY_MS, date_of
from tests.support.servers import PLAIN
from tests.support.standin import Account, Answer, StandIn
from tests.support.warehouses import NOW_MS, TRACKPOINT, Warehouse, duckdb_at, expected, some_lines

if TYPE_CHECKING:
    from pathlib import Path

FAILED = Filter(status="REJECTED")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Return an empty warehouse."""
    return duckdb_at(tmp_path / "warehouse.duckdb")


def run(standin: StandIn, warehouse: Warehouse, now: int = NOW_MS, **options: Any) -> SyncReport:
    """Sync from the stand-in at a given time."""
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: now}
    standin.now_ms = lambda: now
    return sync(TRACKPOINT, "key", url=standin.url, destination=warehouse.destination, **fixed | options)


def test_a_warehouse_remembers_its_filter(standin: StandIn, warehouse: Warehouse) -> None:
    """A filtered table has the matching events, keeps its filter without an option, and refuses another one."""
    lines = some_lines(120)
    failed = [one for one in lines if b"REJECTED" in one]
    standin.answers(Account(lines=lines[10:]))

    assert run(standin, warehouse, NOW_MS, where=FAILED).received > 0
    standin.answers(Account(lines=lines))
    run(standin, warehouse, NOW_MS)
    assert warehouse.rows() == expected(failed)

    for other in (Filter(status="DELIVERED"), Filter(type="flow")):
        with pytest.raises(ConfigurationError, match="loaded with another filter: status REJECTED, not"):
            run(standin, warehouse, where=other)
    assert warehouse.rows() == expected(failed)
    run(standin, warehouse, where=FAILED)
    assert warehouse.rows() == expected(failed)


def test_a_table_without_a_filter_refuses_one(standin: StandIn, warehouse: Warehouse) -> None:
    """A table that was begun without a filter, as by an earlier version, refuses one, and its rows stay."""
    lines = some_lines(60)
    standin.answers(Account(lines=lines))
    run(standin, warehouse)

    with pytest.raises(ConfigurationError, match="all events, not status REJECTED"):
        run(standin, warehouse, where=FAILED)

    assert warehouse.rows() == expected(lines)


def test_a_filter_does_not_hide_a_truncated_stream(standin: StandIn, warehouse: Warehouse) -> None:
    """A truncated response fails the sync though the filter keeps none of its events, and nothing is loaded."""
    standin.answers(Answer(lines=some_lines(1), cut_at=-5))

    with pytest.raises(TruncatedStream):
        run(standin, warehouse, where=FAILED, retry=NEVER)

    with pytest.raises(Exception, match="sms_events"):
        warehouse.rows()


def test_where_a_sync_begins(standin: StandIn, warehouse: Warehouse) -> None:
    """The first sync loads from `from_ms`; a later one reads from there again if that is earlier, and leaves no gap."""
    lines = some_lines(200)
    start = NOW_MS - 7 * DAY_MS
    standin.answers(Account(lines=lines))

    report = run(standin, warehouse, from_ms=start)
    assert report.synced_from == start
    assert warehouse.rows() == expected([one for one in lines if date_of(one) >= start])

    later = NOW_MS + 20 * DAY_MS
    new = some_lines(30, later)
    standin.answers(Account(lines=lines + new))
    report = run(standin, warehouse, later, from_ms=later - DAY_MS)
    assert report.synced_from < NOW_MS
    assert warehouse.rows() == expected([one for one in lines + new if date_of(one) >= start])

    run(standin, warehouse, later, from_ms=later - 30 * DAY_MS)
    assert warehouse.rows() == expected([one for one in lines + new if date_of(one) >= later - 30 * DAY_MS])


spans = st.integers(0, 100 * DAY_MS)


@given(spans | st.none(), spans | st.none(), st.integers(0, 40), st.integers(1, 100))
def test_the_interval_leaves_no_gap(ago: int | None, synced_ago: int | None, lookback: int, step: int) -> None:
    """The first interval begins at the wanted time, a later one never after its usual start; all lie in the history."""
    from_ms = None if ago is None else NOW_MS - ago
    synced_to = None if synced_ago is None else NOW_MS - synced_ago
    usual = interval_of(synced_to, NOW_MS, lookback, step)

    start, end = begun_at(from_ms, synced_to, NOW_MS, usual)

    assert NOW_MS - HISTORY_MS <= start <= end <= NOW_MS
    if from_ms is None:
        assert (start, end) == usual
    elif synced_to is None:
        assert start == max(from_ms, NOW_MS - HISTORY_MS)
    else:
        assert start == min(usual[0], max(from_ms, NOW_MS - HISTORY_MS))
        assert end == usual[1]
