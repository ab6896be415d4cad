"""`smsevents sync` and the dlt source: real warehouses hold each event exactly once, even if late or repeated."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import (
    BadLine,
    ClientError,
    ConfigurationError,
    Retry,
    SyncFailed,
    TruncatedStream,
    Unauthorized,
)
from smsevents.client.dlt_source import COLUMNS, days_of, interval_of, sms_events
from smsevents.client.sync import SyncReport, sync
from smsevents.client.warehouse_rows import ROWS
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line
from tests.support.servers import PLAIN, free_port
from tests.support.standin import Account, Answer, Request, StandIn
from tests.support.warehouses import HISTORY_DAYS, NOW_MS, TRACKPOINT, Warehouse, duckdb_at, expected, some_lines

if TYPE_CHECKING:
    from pathlib import Path


def run(standin: StandIn, warehouse: Warehouse, now: int = NOW_MS, **options: Any) -> SyncReport:
    """Sync from the stand-in at a given time."""
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: now}
    return sync(TRACKPOINT, "key", url=standin.url, destination=warehouse.destination, **fixed | options)


def test_late_and_repeated_events_are_there_once(standin: StandIn, warehouse: Warehouse) -> None:
    """Two syncs with late, repeated and new events in between load every event exactly once.

    The source keeps no order and sends each event up to three times; so do the days that are read again.
    """
    lines = some_lines(400)
    account = Account(lines=lines, copies=3, options={"chunk_bytes": 4000})
    standin.answers(account)

    first = run(standin, warehouse)
    assert warehouse.rows() == expected(lines)
    assert first.received > len(lines)

    later = NOW_MS + DAY_MS
    late = [line(TRACKPOINT, NOW_MS - 2 * DAY_MS - index, user=f"late {index}") for index in range(20)]
    new = [line(TRACKPOINT, NOW_MS + 1 + index * HOUR_MS, user=f"new {index}") for index in range(20)]
    account.lines = lines + late + new + late[:5]
    second = run(standin, warehouse, later)

    assert warehouse.rows() == expected(lines + late + new)
    assert (second.synced_from, second.synced_to) == (NOW_MS - 3 * DAY_MS, later)
    assert second.received < first.received

    run(standin, warehouse, later)
    assert warehouse.rows() == expected(lines + late + new)


def test_a_future_event_does_not_move_the_cursor(standin: StandIn, warehouse: Warehouse) -> None:
    """A future-dated event is loaded once its date is reached, and hides none of the events before it."""
    ahead = line(TRACKPOINT, NOW_MS + 20 * HOUR_MS, user="ahead")
    account = Account(lines=[*some_lines(20), ahead])
    standin.answers(account)

    assert run(standin, warehouse).synced_to == NOW_MS
    assert warehouse.rows() == expected(some_lines(20))

    between = line(TRACKPOINT, NOW_MS + HOUR_MS, user="between")
    account.lines.append(between)
    assert run(standin, warehouse, NOW_MS + 2 * HOUR_MS, lookback_days=0).synced_from == NOW_MS
    assert warehouse.rows() == expected([*some_lines(20), between])
    run(standin, warehouse, NOW_MS + DAY_MS, lookback_days=0)
    assert warehouse.rows() == expected([*some_lines(20), between, ahead])


def test_a_warehouse_that_was_lost_is_filled_again(standin: StandIn, tmp_path: Path) -> None:
    """The progress of a sync is kept only in the warehouse: a new one gets everything, an old copy what it lacks."""
    lines = some_lines(100)
    account = Account(lines=lines[50:])
    standin.answers(account)
    path = tmp_path / "warehouse.duckdb"
    run(standin, duckdb_at(path), NOW_MS - 11 * DAY_MS)
    copy = path.read_bytes()
    account.lines = lines
    run(standin, duckdb_at(path))

    path.write_bytes(copy)
    run(standin, duckdb_at(path))
    assert duckdb_at(path).rows() == expected(lines)
    path.unlink()
    run(standin, duckdb_at(path))
    assert duckdb_at(path).rows() == expected(lines)


def test_an_empty_shop_has_a_table(standin: StandIn, warehouse: Warehouse) -> None:
    """For a shop without events the table exists with its columns, and is filled later."""
    account = Account(lines=[])
    standin.answers(account)

    assert run(standin, warehouse).received == 0
    assert warehouse.rows() == []
    account.lines = some_lines(5, NOW_MS + HOUR_MS, 1000)
    run(standin, warehouse, NOW_MS + 2 * HOUR_MS)
    assert warehouse.rows() == expected(account.lines)


def test_two_shops_share_a_dataset(standin: StandIn, warehouse: Warehouse) -> None:
    """Each shop has its own cursor, so the second one in a dataset is loaded from its beginning."""
    ours, others = some_lines(30), some_lines(30, trackpoint=7)
    standin.answers(Account(lines=ours))
    run(standin, warehouse, dataset="marketing")
    standin.answers(Account(lines=others))
    sync(7, "key", url=standin.url, destination=warehouse.destination, dataset="marketing", now_ms=lambda: NOW_MS)

    assert warehouse.rows("marketing") == expected(ours + others)


def test_a_day_that_is_cut_is_read_again(standin: StandIn, warehouse: Warehouse) -> None:
    """A truncation in the middle of a day makes the day be read again and duplicates nothing."""
    lines = some_lines(2000, step_ms=HOUR_MS)
    account = Account(lines=lines, options={"chunk_bytes": 1000})
    asked: list[int] = []

    def cut_now_and_then(request: Request) -> Answer:
        """Truncate every fourth response."""
        asked.append(request.interval["from"])
        answer = account(request)
        return Answer(lines=answer.lines, chunk_bytes=1000, cut_at=5000) if len(asked) % 4 == 0 else answer

    standin.answers(cut_now_and_then)
    standin.now_ms = lambda: NOW_MS
    run(standin, warehouse)

    assert warehouse.rows() == expected(lines)
    assert len(set(asked)) == HISTORY_DAYS + 1
    assert len(asked) > 110


def test_what_fails_leaves_what_was_loaded(standin: StandIn, warehouse: Warehouse) -> None:
    """A failing step loads nothing and moves no cursor; earlier steps are kept, and the next sync continues."""
    lines = some_lines(400)
    account = Account(lines=lines)
    broken = NOW_MS - 20 * DAY_MS

    def poisoned(request: Request) -> Answer:
        """Put an error text into the responses for the last 20 days."""
        answer = account(request)
        return Answer(lines=answer.lines, tail=b"terminated early\n") if request.interval["to"] > broken else answer

    steps: list[SyncReport] = []
    standin.answers(poisoned)
    with pytest.raises(BadLine):
        run(standin, warehouse, progress=steps.append)
    reached = NOW_MS - 30 * DAY_MS
    assert [step.synced_to for step in steps] == [reached - 30 * DAY_MS, reached]
    assert warehouse.rows() == expected([one for one in lines if date_of(one) <= reached])

    standin.answers(account)
    assert run(standin, warehouse).synced_from == reached - 3 * DAY_MS
    assert warehouse.rows() == expected([one for one in lines if date_of(one) >= NOW_MS - 90 * DAY_MS])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Answer(status=401), Unauthorized), (Answer(lines=some_lines(9), cut_at=2000, chunk_bytes=100), TruncatedStream)],
    ids=["401", "cut"],
)
def test_errors_of_the_client_come_out_as_they_are(
    standin: StandIn, tmp_path: Path, answer: Answer, kind: type[ClientError]
) -> None:
    """Errors of the client are raised as they are, not wrapped in errors of the loader."""
    standin.answers(answer)
    with pytest.raises(kind):
        run(standin, duckdb_at(tmp_path / "w.duckdb"), retry=Retry(tries_max=2))


def test_a_warehouse_that_does_not_answer(standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A warehouse that cannot be reached or used is reported in one line, and nothing is loaded."""
    port = free_port()
    nowhere = f"postgresql://tester:hidden@127.0.0.1:{port}/postgres"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", nowhere)
    standin.answers(Account(lines=some_lines(5)))
    with pytest.raises(SyncFailed, match=str(port)) as caught:
        run(standin, Warehouse("postgres", lambda _: []))
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    (tmp_path / "no.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(SyncFailed):
        run(standin, duckdb_at(tmp_path / "no.duckdb"))


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("postgresql://user:password@host/db", "DESTINATION__POSTGRES__CREDENTIALS"),
        ("filesystem", "cannot merge"),
        ("nosuchthing", "nosuchthing"),
        ("duckdb:///some/sms.duckdb", "name"),
    ],
)
def test_destinations_that_would_double_or_do_not_exist(standin: StandIn, destination: str, said: str) -> None:
    """A destination that cannot merge is refused, because data that is read again would be duplicated."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        run(standin, Warehouse(destination, lambda _: []))
    assert standin.requests == []
    assert destination == "nosuchthing" or "password@" not in str(caught.value)


def test_only_one_sync_at_a_time(standin: StandIn, tmp_path: Path) -> None:
    """A second sync into the same dataset is refused while the first runs, and neither is harmed."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_lines(20)
    standin.answers(Account(lines=lines))
    refused = []

    def again(_: SyncReport) -> None:
        """Sync in the middle of a sync."""
        with pytest.raises(SyncFailed, match="running") as caught:
            run(standin, warehouse)
        refused.append(caught)

    run(standin, warehouse, progress=again)
    assert refused
    assert warehouse.rows() == expected(lines)


def test_what_databases_do_not_know_is_replaced(standin: StandIn, warehouse: Warehouse) -> None:
    """U+0000 and times outside the calendar do not stop a sync: they become U+FFFD and NULL."""
    odd = line(TRACKPOINT, NOW_MS, user="a\x00b")
    far = line(TRACKPOINT, NOW_MS - 1).replace(b'"sendDate":%d' % (NOW_MS - 301), b'"sendDate":%d' % (2**63 - 1))
    standin.answers(Account(lines=[odd, far]))
    run(standin, warehouse)

    rows = {row[0]: row for row in warehouse.rows()}
    assert rows[sha256(odd).hexdigest()][2] == "a\ufffdb"
    assert rows[sha256(far).hexdigest()][-1] is None
    assert len(rows) == 2


def test_other_spellings_are_the_same_event(standin: StandIn, tmp_path: Path) -> None:
    """An event that a server writes with other white space and escapes is the same event, not a second one."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_lines(30)
    standin.answers(Account(lines=lines))
    run(standin, warehouse)
    standin.answers(Account(lines=[json.dumps(json.loads(one)).encode() for one in lines]))
    run(standin, warehouse, NOW_MS + 1)

    assert warehouse.rows() == expected(lines)


def test_the_source_works_in_a_pipeline_of_ones_own(standin: StandIn, tmp_path: Path) -> None:
    """The dlt source keeps its state in any pipeline and can be run again."""
    lines = some_lines(50)
    account = Account(lines=lines)
    standin.answers(account)
    standin.now_ms = lambda: NOW_MS
    database = dlt.destinations.duckdb(str(tmp_path / "w.duckdb"))
    pipeline = dlt.pipeline("own", pipelines_dir=str(tmp_path), destination=database, dataset_name="own")
    source = sms_events(TRACKPOINT, "key", url=standin.url, now_ms=lambda: NOW_MS, ssl_context=PLAIN)
    pipeline.run(source)
    before = len(standin.requests)
    pipeline.run(sms_events(TRACKPOINT, "key", url=standin.url, now_ms=lambda: NOW_MS, ssl_context=PLAIN))

    assert duckdb_at(tmp_path / "w.duckdb").rows("own") == expected(lines)
    assert len(standin.requests) - before == 4
    standin.answers(Answer(status=403))
    with pytest.raises(PipelineStepFailed):
        pipeline.run(sms_events(TRACKPOINT, "key", url=standin.url, now_ms=lambda: NOW_MS, ssl_context=PLAIN))


def test_what_the_source_cannot_use_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key or a negative number of days is reported when the source is created, not during a run."""
    monkeypatch.delenv("SMSEVENTS_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="SMSEVENTS_API_KEY"):
        sms_events(7, url="http://127.0.0.1:9")
    for days in ({"lookback_days": -1}, {"days_max": 0}):
        with pytest.raises(ConfigurationError, match="days"):
            sms_events(7, "key", url="http://127.0.0.1:9", **days)  # type: ignore[arg-type]


milliseconds = st.integers(NOW_MS - 200 * DAY_MS, NOW_MS + 200 * DAY_MS)
days = st.floats(0, 120)


@given(st.none() | milliseconds, milliseconds, days, st.none() | st.floats(0.001, 120))
def test_intervals_leave_no_gap(synced_to: int | None, now: int, lookback: float, days_max: float | None) -> None:
    """A run begins at or before the end of the last one, within the history, and advances at most to now."""
    start, end = interval_of(synced_to, now, lookback, days_max)

    assert now - 90 * DAY_MS <= start <= end <= now
    if synced_to is not None:
        assert start <= max(synced_to, now - 90 * DAY_MS)
        assert end > min(synced_to, now - 1)
    if days_max is None:
        assert end == now


@given(milliseconds, st.integers(-1, 10 * DAY_MS))
def test_days_are_the_interval(start: int, length: int) -> None:
    """The days of an interval cover all of it without overlap, none longer than a day."""
    cut = list(days_of(start, start + length))

    assert sum(end - begin + 1 for begin, end in cut) == max(0, length + 1)
    assert all(0 <= end - begin < DAY_MS for begin, end in cut)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(cut))
    assert not cut or (cut[0][0], cut[-1][1]) == (start, start + length)


def test_rows_have_the_columns() -> None:
    """The rows have exactly the documented columns, in order."""
    assert ROWS.names == list(COLUMNS)
