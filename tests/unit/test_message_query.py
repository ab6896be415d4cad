"""The query that makes messages in a warehouse, run by DuckDB, beside a plain model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client.dlt_source import COLUMNS
from smsevents.client.warehouse_messages import MESSAGE_TABLE_COLUMNS, message_query
from tests.support.lines import DAY_MS, date_of
from tests.support.messages import NAMES, message_line, messages_of, ordered_rows
from tests.support.warehouses import NOW_MS, TRACKPOINT, expected

if TYPE_CHECKING:
    from collections.abc import Iterable

CLIENT: Any = SimpleNamespace(
    escape_column_name=lambda name: f'"{name}"',
    make_qualified_table_name=lambda name: f'"{name}"',
    capabilities=SimpleNamespace(sqlglot_dialect="duckdb"),
)
KEY = ("trackpoint", "user_id", "source_type", "campaign_id", "campaign_name")
TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "timestamp": "TIMESTAMPTZ"}
STATUSES = ["DELIVERED", "ACCEPTED", "EXPIRED", "DELETED", "UNDELIVERABLE", "REJECTED", "SKIPPED"]

events = st.builds(
    message_line,
    st.sampled_from([TRACKPOINT, 7]),
    st.sampled_from(["1", "it's"]),
    st.sampled_from(STATUSES),
    st.integers(0, 6).map(lambda days: NOW_MS + days * DAY_MS // 3),
    st.sampled_from([NOW_MS, NOW_MS - DAY_MS]),
    st.none() | st.sampled_from(["", "n1"]),
    st.sampled_from(["Sale", "Other"]),
)


def columns_of(columns: dict[str, Any]) -> str:
    """Return columns as a table is created with them."""
    return ", ".join(f'"{name}" {TYPES[column["data_type"]]}' for name, column in columns.items())


def merge(connection: duckdb.DuckDBPyConnection, interval: tuple[int, int] | None) -> None:
    """Merge the rows of the query as dlt does: delete those with the same key, then insert."""
    connection.execute(f"CREATE OR REPLACE TABLE staged AS {message_query(CLIENT, TRACKPOINT, interval)}")
    same = " AND ".join(f"d.{name} = s.{name}" for name in KEY)
    connection.execute(f"DELETE FROM sms_messages AS d WHERE EXISTS (SELECT 1 FROM staged AS s WHERE {same})")  # noqa: S608 -- our names
    connection.execute("INSERT INTO sms_messages SELECT * FROM staged")


def opened() -> duckdb.DuckDBPyConnection:
    """Return a database with the two tables."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TABLE sms_events ({columns_of(COLUMNS)})")
    connection.execute(f"CREATE TABLE sms_messages ({columns_of(MESSAGE_TABLE_COLUMNS)})")
    return connection


def insert(connection: duckdb.DuckDBPyConnection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert events."""
    for row in rows:
        connection.execute(f"INSERT INTO sms_events VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 -- marks


def rows_of(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Return the messages."""
    found = connection.execute("SELECT * FROM sms_messages").fetchall()
    return ordered_rows(dict(zip(NAMES, row, strict=True)) for row in found)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(events, min_size=1, max_size=8, unique=True), max_size=4))
def test_messages_are_those_of_a_plain_model(loads: list[list[bytes]]) -> None:
    """After each load, the table has the messages of all events of the shop ever, in whatever order they came."""
    with opened() as connection:
        known: set[bytes] = set()
        for some in loads:
            new = set(some) - known
            insert(connection, expected(sorted(new)))
            known |= new
            dates = [date_of(one) for one in some]
            merge(connection, (min(dates), max(dates)) if known != new else None)

            ours = [one for one in known if b'"trackpoint":%d,' % TRACKPOINT in one]
            assert rows_of(connection) == messages_of(ours, as_table=True)


def test_an_event_at_an_impossible_time_is_the_oldest() -> None:
    """An event whose time is NULL decides only if no other event of its kind does, and is never overlooked."""
    with opened() as connection:
        [row] = expected([message_line(TRACKPOINT, "1", "EXPIRED", NOW_MS, NOW_MS)])
        insert(connection, [(*row[:4], None, *row[5:])])
        merge(connection, (NOW_MS + DAY_MS, NOW_MS))
        [only] = rows_of(connection)
        assert (only["state"], only["state_date"], only["event_count"]) == ("EXPIRED", None, 1)

        insert(connection, expected([message_line(TRACKPOINT, "1", "DELETED", NOW_MS, NOW_MS)]))
        merge(connection, (NOW_MS, NOW_MS))

        [both] = rows_of(connection)
        assert (both["state"], both["event_count"]) == ("DELETED", 2)
        assert both["state_date"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=NOW_MS)


@pytest.mark.parametrize("dialect", ["snowflake", "bigquery", "redshift", "tsql", "clickhouse", "databricks", "mysql"])
def test_the_query_is_one_of_each_dialect(dialect: str) -> None:
    """The query can be read in the dialects of other destinations, and the time is written as each writes it."""
    quote = {"bigquery": "`", "mysql": "`", "clickhouse": "`", "databricks": "`"}.get(dialect, '"')
    client: Any = SimpleNamespace(
        escape_column_name=lambda name: f"{quote}{name}{quote}",
        make_qualified_table_name=lambda name: f"{quote}sms{quote}.{quote}{name}{quote}",
        capabilities=SimpleNamespace(sqlglot_dialect=dialect),
    )

    query = message_query(client, TRACKPOINT, (NOW_MS, NOW_MS + DAY_MS))

    parsed = sqlglot.parse_one(query, read=dialect)
    assert isinstance(parsed, sqlglot.exp.Select)
    assert parsed.named_selects == list(MESSAGE_TABLE_COLUMNS)
    assert "2025-10-09 08:53:20.000" in query
