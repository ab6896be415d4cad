"""The page on `pull`: its tables are those of the code, and its query for a notebook counts right."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import typer

from smsevents.cli import app, pull_reports
from smsevents.client.arrow import SCHEMA
from smsevents.client.messages import MESSAGE_COLUMNS
from smsevents.client.pull.days import start_of
from smsevents.client.pull.fetch import PULL_BACKOFF_FIRST_SECONDS, PULL_DAY_TRIES_MAX
from smsevents.client.pull.formats import FormatName
from smsevents.client.pull.message_parquet import MESSAGE_SCHEMA
from smsevents.client.pull.parquet import Parquet
from smsevents.client.pull.schedule import PULL_FAILED_DAYS_MAX
from smsevents.wire.columns import COLUMNS
from smsevents.wire.lines import Entry, parse_entries
from tests.support.documents import ROOT, Page, bare
from tests.support.lines import body_of, line
from tests.support.messages import message_line
from tests.support.pulling import DAYS, TRACKPOINT
from tests.support.standin import Account

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pulling import Site

PULL = ROOT / "docs" / "pull.md"


def test_options_of_pull() -> None:
    """The table of options has every option of `pull` and no other, and the defaults that are numbers."""
    group: Any = typer.main.get_command(app)
    options = {param.opts[0]: param.default for param in group.commands["pull"].params if param.opts[0][0] == "-"}
    rows = Page(PULL).table("Option")

    assert [bare(row[0]) for row in rows] == list(options)
    assert {bare(row[0]): int(row[1]) for row in rows if row[1].isdigit()} == {
        name: default for name, default in options.items() if type(default) is int
    }


def test_json_lines_of_pull() -> None:
    """The table of JSON lines has every kind and its members, as they are written."""
    kinds = {
        line.__struct_config__.tag: list(line.__struct_fields__)
        for line in vars(pull_reports).values()
        if isinstance(line, type) and issubclass(line, msgspec.Struct) and line is not msgspec.Struct
    }

    documented = {
        bare(kind): [bare(member) for member in members.split(", ")] for kind, members, _ in Page(PULL).table("Kind")
    }
    assert documented == kinds


def test_columns_of_pull() -> None:
    """The table of columns has the names and the types that Parquet files have."""
    rows = Page(PULL).table("Column")

    assert tuple(bare(row[0]) for row in rows) == COLUMNS
    types = {"int64": "int64", "string": "string", "timestamp[ms, UTC]": "timestamp[ms, tz=UTC]"}
    assert [(types[row[1].partition(", null")[0]], ", null" in row[1]) for row in rows] == [
        (str(field.type), field.nullable) for field in SCHEMA
    ]


def test_columns_of_messages() -> None:
    """The table of the columns of messages has their names and types, and says which may be null."""
    rows = Page(PULL).table("Column of a message")

    assert tuple(bare(row[0]) for row in rows) == MESSAGE_COLUMNS
    types = {"int64": "int64", "string": "string", "timestamp[ms, UTC]": "timestamp[ms, tz=UTC]"}
    assert [(types[row[1].partition(", null")[0]], ", null" in row[1]) for row in rows] == [
        (str(field.type), field.nullable) for field in MESSAGE_SCHEMA
    ]


def test_messages_are_joined_with_their_events(site: Site) -> None:
    """The query that joins messages with events finds the message of each event."""
    [query] = [text for kind, text in Page(PULL).blocks if kind == "sql" and "JOIN" in text]
    sent = start_of(DAYS[0])
    lines = [
        message_line(TRACKPOINT, "1", status, sent + at, sent, node)
        for node in (None, "n")
        for at, status in enumerate(["ACCEPTED", "DELIVERED"])
    ]
    site.wish = {"format": FormatName.PARQUET}
    site.standin.answers(Account(lines=lines))
    site.pull(messages=True)

    with duckdb.connect() as connection:
        rows = connection.execute(query.replace("/srv/sms", str(site.path))).fetchall()

    assert sorted(rows) == [
        ("1", "DELIVERED", status, timedelta(milliseconds=left))
        for status, left in [("ACCEPTED", 1), ("ACCEPTED", 1), ("DELIVERED", 0), ("DELIVERED", 0)]
    ]


def test_the_delivery_rate_of_the_notebook(tmp_path: Path) -> None:
    """The query for the notebook gives the share of messages whose last event is a delivery, by campaign."""
    [(_, text)] = [block for block in Page(PULL).blocks if block[0] == "python"]
    query = text.split('"""')[1].replace("/srv/sms", str(tmp_path))
    some: list[Entry] = parse_entries(
        body_of(
            line(7, 1000 + number, f"user {number % 4}", status, campaign=f"Campaign {number % 2}")
            .replace(b"b2c8", b"id %d" % (number % 2))
            .replace(b'"sendDate":%d' % (700 + number), b'"sendDate":%d' % (number % 4))
            for number, status in enumerate(["ACCEPTED"] * 4 + ["DELIVERED", "EXPIRED", "DELIVERED", "DELIVERED"])
        )
    )
    with (tmp_path / "1970-01-01.parquet").open("wb") as file:
        Parquet(compressed=True).write(file, [some])

    with duckdb.connect() as connection:
        rates = connection.execute(query).fetchall()

    assert rates == [("Campaign 1", 2, 50.0), ("Campaign 0", 2, 100.0)]


def test_numbers_of_pull() -> None:
    """The numbers that the page writes out are those of the code."""
    text = Page(PULL).text

    assert PULL_DAY_TRIES_MAX == 4
    assert PULL_BACKOFF_FIRST_SECONDS == 1
    assert "four times at most, with 1, 2 and 4 seconds" in text
    assert PULL_FAILED_DAYS_MAX == 8
    assert "eight days fail in a row" in text
