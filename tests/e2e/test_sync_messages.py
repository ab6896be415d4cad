"""`sync --messages`: the table with one row per message, right after every sync, in real warehouses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from typer.testing import CliRunner

import smsevents.client.sync as sync_module
from smsevents.cli import app
from smsevents.client import ConfigurationError, Filter, dlt_source, warehouse_messages
from smsevents.client.sync import SyncReport, sync
from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, HOUR_MS, date_of
from tests.support.messages import NAMES, Row, message_line, messages_of, ordered_rows
from tests.support.old_syncs import sync_as_before
from tests.support.servers import PLAIN
from tests.support.standin import Account, StandIn
from tests.support.warehouses import NOW_MS, TRACKPOINT, Warehouse, duckdb_at, expected

if TYPE_CHECKING:
    from pathlib import Path


def run(standin: StandIn, warehouse: Warehouse, now: int = NOW_MS, **options: Any) -> SyncReport:
    """Sync from the stand-in at a given time."""
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: now, "step_days": 100}
    return sync(TRACKPOINT, "key", url=standin.url, destination=warehouse.destination, **fixed | options)


def rows_of(warehouse: Warehouse) -> list[Row]:
    """Return the rows of the table of messages."""
    found = warehouse.query(f"SELECT {', '.join(NAMES)} FROM sms.sms_messages")  # noqa: S608 -- our own names
    return ordered_rows(dict(zip(NAMES, row, strict=True)) for row in found)


def some_messages(count: int) -> list[bytes]:
    """Return the events of messages: each accepted at once, and most of them decided up to two days later."""
    found = []
    for number in range(count):
        sent = NOW_MS - 60 * DAY_MS + number * 57 * DAY_MS // count
        final = ["DELIVERED", "EXPIRED", "UNDELIVERABLE"][number % 3]
        node = [None, "", "n1"][number % 3]
        user = f"user {number}" if number % 7 else "it's"
        found.append(message_line(TRACKPOINT, user, "ACCEPTED", sent + 300, sent, node))
        if number % 5:
            found.append(message_line(TRACKPOINT, user, final, sent + number % 4 * 16 * HOUR_MS, sent, node))
    return sorted(found, key=date_of)


def late_event(user: str = "user 1", date: int = NOW_MS - 1, status: str = "REJECTED") -> bytes:
    """Return an event of a message that was sent long ago."""
    return message_line(TRACKPOINT, user, status, date, NOW_MS - 59 * DAY_MS)


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int] | None]:
    """Return the intervals of events for which messages are made; None stands for all events."""
    seen: list[tuple[int, int] | None] = []
    load = warehouse_messages.load_messages

    def noted(pipeline: Any, account: Any, folder: Path, interval: tuple[int, int] | None) -> None:
        """Note the interval, and make the messages."""
        seen.append(interval)
        load(pipeline, account, folder, interval)

    monkeypatch.setattr(sync_module, "load_messages", noted)
    return seen


def test_late_events_change_messages(
    standin: StandIn, warehouse: Warehouse, intervals: list[tuple[int, int] | None]
) -> None:
    """After each sync, the table has the messages of all events ever, and the table of events is as always.

    Only the messages with an event in what was loaded are made again.
    """
    lines = some_messages(120)
    account = Account(lines=lines, copies=2)
    standin.answers(account)

    first = run(standin, warehouse, messages=True, step_days=50)

    assert rows_of(warehouse) == messages_of(lines, as_table=True)
    assert warehouse.rows() == expected(lines)
    assert (first.messages_table, first.messages, first.loads) == ("sms_messages", 120, 2)
    early = [date_of(one) for one in lines if date_of(one) > NOW_MS - 40 * DAY_MS]
    assert intervals == [None, (min(early), max(early))]

    late = [
        *(late_event(f"user {number}", NOW_MS - number, "DELIVERED") for number in range(5)),
        late_event("user 1", NOW_MS - 1, "EXPIRED"),
        late_event("user 2", NOW_MS, "ACCEPTED"),
        *(one.replace(b"EXPIRED", b"DELIVERED") for one in lines[-6:]),
    ]
    account.lines = lines + late
    second = run(standin, warehouse, NOW_MS + HOUR_MS)

    assert rows_of(warehouse) == messages_of(account.lines, as_table=True)
    assert second.messages == 125
    assert warehouse.rows() == expected(account.lines)
    loaded = [date_of(one) for one in account.lines if date_of(one) >= NOW_MS - 3 * DAY_MS]
    assert intervals[2:] == [(min(loaded), max(loaded))]


def killed(*_: object) -> None:
    """Stand for a process that is ended."""
    raise KeyboardInterrupt


def test_a_sync_killed_between_its_loads(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, intervals: list[tuple[int, int] | None]
) -> None:
    """If events were loaded and their messages were not, the messages stay, and the next sync makes all of them."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_messages(60)
    account = Account(lines=lines)
    standin.answers(account)
    run(standin, warehouse, messages=True)
    before = rows_of(warehouse)
    account.lines = [*lines, late_event()]
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "load_messages", killed)
        with pytest.raises(KeyboardInterrupt):
            run(standin, warehouse, NOW_MS + HOUR_MS)
    assert warehouse.rows() == expected(account.lines)
    assert rows_of(warehouse) == before

    run(standin, warehouse, NOW_MS + 5 * DAY_MS)

    assert rows_of(warehouse) == messages_of(account.lines, as_table=True)
    assert intervals == [None, None]


def test_messages_begin_and_end(standin: StandIn, tmp_path: Path, intervals: list[tuple[int, int] | None]) -> None:
    """A dataset gets the messages of all of its events later, and a table that was given up stays as it was."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_messages(60)
    account = Account(lines=lines)
    standin.answers(account)
    assert run(standin, warehouse).messages is UNSET
    later = NOW_MS + 80 * DAY_MS  # the server has lost most of them

    run(standin, warehouse, later, messages=True)
    assert rows_of(warehouse) == messages_of(lines, as_table=True)
    before = rows_of(warehouse)

    account.lines = [late_event(date=later - 1)]
    assert run(standin, warehouse, later + HOUR_MS, messages=False).messages_table is UNSET
    assert rows_of(warehouse) == before
    run(standin, warehouse, later + 3 * HOUR_MS, messages=True)
    assert rows_of(warehouse) == messages_of(lines + account.lines, as_table=True)
    assert intervals == [None, None]


@pytest.mark.campaign
def test_an_earlier_version_in_between(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of events of an earlier version gets messages; if one loads events later, all messages are made again."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_messages(30)
    account = Account(lines=lines)
    standin.answers(account)
    sync_as_before(lines, standin.url, TRACKPOINT, NOW_MS, warehouse.destination, tmp_path / "old")
    run(standin, warehouse, NOW_MS + HOUR_MS, messages=True)
    assert rows_of(warehouse) == messages_of(lines, as_table=True)
    account.lines = [*lines, late_event()]
    with monkeypatch.context() as patch:
        patch.setattr(dlt_source, "_note_messages", nothing)  # an earlier version keeps what it does not know
        patch.setattr(sync_module, "load_messages", nothing)
        run(standin, warehouse, NOW_MS + 2 * HOUR_MS)
    assert rows_of(warehouse) == messages_of(lines, as_table=True)

    run(standin, warehouse, NOW_MS + 5 * DAY_MS)

    assert rows_of(warehouse) == messages_of(account.lines, as_table=True)


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


@pytest.mark.campaign
def test_two_shops_share_the_table(standin: StandIn, tmp_path: Path) -> None:
    """Each shop has its own messages in the table, and a sync of one changes none of the other."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    ours = some_messages(20)
    others = [one.replace(b'"trackpoint":%d' % TRACKPOINT, b'"trackpoint":7') for one in ours][:-5]
    standin.answers(Account(lines=ours))
    run(standin, warehouse, messages=True)
    standin.answers(Account(lines=others))
    options: dict[str, Any] = {"url": standin.url, "destination": warehouse.destination, "now_ms": lambda: NOW_MS}

    report = sync(7, "key", messages=True, step_days=100, **options)

    assert rows_of(warehouse) == messages_of(ours + others, as_table=True)
    assert report.messages == len(messages_of(others, as_table=True))


def test_a_filter_by_status_is_refused(standin: StandIn, tmp_path: Path) -> None:
    """A filter by status is refused with messages, also if the warehouse has kept it; nothing is loaded."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    standin.answers(Account(lines=some_messages(20)))
    with pytest.raises(ConfigurationError, match="Omit --messages; or omit --status"):
        run(standin, warehouse, messages=True, where=Filter(status="DELIVERED"))
    assert standin.requests == []
    run(standin, warehouse, where=Filter(status="DELIVERED"))
    before = warehouse.rows()

    with pytest.raises(ConfigurationError, match="Omit --messages; or omit --status"):
        run(standin, warehouse, NOW_MS + DAY_MS, messages=True)

    assert warehouse.rows() == before
    tables = warehouse.query("SELECT table_name FROM information_schema.tables WHERE table_name = 'sms_messages'")
    assert tables == []


def test_a_destination_without_models_is_refused(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that cannot make a table from another one is refused before anything is sent."""
    monkeypatch.setattr(warehouse_messages, "MODEL", "unknown")

    with pytest.raises(ConfigurationError, match="cannot make a table of messages"):
        run(standin, duckdb_at(tmp_path / "w.duckdb"), messages=True)

    assert standin.requests == []


def test_a_table_that_was_emptied(standin: StandIn, tmp_path: Path) -> None:
    """If somebody empties the table, the next sync makes all of its rows again, although it reads few events."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    lines = some_messages(20)
    standin.answers(Account(lines=lines))
    run(standin, warehouse, messages=True)
    warehouse.query("DELETE FROM sms.sms_messages")

    run(standin, warehouse, NOW_MS + HOUR_MS)

    assert rows_of(warehouse) == messages_of(lines, as_table=True)


def test_an_empty_shop(standin: StandIn, tmp_path: Path) -> None:
    """A shop without events has an empty table, which is filled later."""
    warehouse = duckdb_at(tmp_path / "w.duckdb")
    account = Account(lines=[])
    standin.answers(account)
    assert run(standin, warehouse, messages=True).messages == 0
    assert rows_of(warehouse) == []
    account.lines = [message_line(TRACKPOINT, "1", "ACCEPTED", NOW_MS + 5, NOW_MS)]

    run(standin, warehouse, NOW_MS + HOUR_MS)

    assert rows_of(warehouse) == messages_of(account.lines, as_table=True)


def test_the_command(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync --messages` says how many messages there are, and refuses a filter by status before anything is sent."""
    now = now_ms()
    lines = [message_line(7, str(user), "ACCEPTED", now - HOUR_MS, now - 2 * HOUR_MS) for user in range(3)]
    standin.answers(Account(lines=lines))
    monkeypatch.setenv("SMSEVENTS_API_KEY", "key")
    words = ["sync", "7", "--url", standin.url, "--destination", f"duckdb:///{tmp_path / 'w.duckdb'}", "--messages"]

    refused = CliRunner().invoke(app, [*words, "--status", "DELIVERED"])
    assert "Omit --messages; or omit --status" in str(refused.exception)
    assert standin.requests == []

    done = CliRunner().invoke(app, [*words, "--days", "2"])
    assert done.exit_code == 0
    assert "3 messages in sms.sms_messages." in done.output
