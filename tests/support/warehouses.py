"""Warehouses to sync into, and the rows that they must hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import duckdb

from smsevents.client.dlt_source import COLUMNS
from tests.support.lines import HOUR_MS, line, model
from tests.support.standin import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


TRACKPOINT = 4541245641234564
NOW_MS = 1_760_000_000_000
HISTORY_DAYS = 90
HOSTILE = 'it\'s \\ "q" \u2028\u2029\u0085\t\r\n ž 😀 %s {} $1 \x1e'


class Warehouse:
    """A warehouse to sync into, and to look into without dlt."""

    def __init__(self, destination: str, query: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self.destination = destination
        self.query = query

    def rows(self, dataset: str = "sms") -> list[tuple[Any, ...]]:
        """Return all rows of the table, in order, with the columns that are documented."""
        columns = ", ".join(COLUMNS)
        return self.query(f"SELECT {columns} FROM {dataset}.sms_events ORDER BY event_id")  # noqa: S608 -- our own names


def duckdb_at(path: Path) -> Warehouse:
    """Return a warehouse in a DuckDB file."""

    def query(statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        with duckdb.connect(str(path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    return Warehouse(f"duckdb:///{path}", query)


def expected(lines: list[bytes]) -> list[tuple[Any, ...]]:
    """Return the rows that the table must have, built here from the JSON of the lines alone."""
    rows = set()
    for one in lines:
        event = json.loads(one)
        sms, source = event["smsEvent"], event["source"]
        node = source.get("node", {"id": None, "name": None})
        rows.add(
            (
                sha256(one).hexdigest(),
                sms["trackpoint"],
                sms["userId"],
                sms["status"],
                datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=sms["date"]),
                source["type"],
                source["campaign"]["id"],
                source["campaign"]["name"],
                node["id"],
                node["name"],
                datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=source["sendDate"]),
            )
        )
    return sorted(rows)


@dataclass
class Ordered:
    """An account on smsevents: it sends each event once, in order. `lines` may be changed between requests."""

    lines: list[bytes]

    def __call__(self, request: Request) -> Answer:
        """Return the response to a request."""
        body = model(self.lines, request.interval["from"], request.interval["to"])
        return Answer(lines=body.split(b"\n")[:-1], gzip=True)


def some_lines(count: int, now: int = NOW_MS, step_ms: int = 5 * HOUR_MS, trackpoint: int = TRACKPOINT) -> list[bytes]:
    """Return lines that go back from `now`, of both sources and of several statuses."""
    return [
        line(
            trackpoint,
            now - index * step_ms,
            user=f"{HOSTILE}{index % 17}" if index % 50 == 3 else f"user {index}",
            status=["DELIVERED", "ACCEPTED", "REJECTED"][index % 3],
            campaign="" if index % 7 == 2 else "Black Friday",
            node=["", "VIP"][index % 4 // 2] if index % 2 else None,
        )
        for index in range(count)
    ]
