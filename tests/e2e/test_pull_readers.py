"""The files of a new shop's first days, read with common tools.

They are DuckDB, pyarrow, polars, pandas and ClickHouse. The last is large, so it is in a group of its own, which
`make test-all` installs: `uv sync --inexact --group readers`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.dataset as ds
import pytest

from smsevents.client import warehouse_rows
from smsevents.client.lines import BatchChecker
from smsevents.client.pull.days import Split, start_of
from smsevents.client.pull.formats import FormatName
from smsevents.wire.columns import COLUMNS
from tests.support.documents import ROOT, Page
from tests.support.lines import body_of, line
from tests.support.pulling import TRACKPOINT, Site
from tests.support.standin import Account

if TYPE_CHECKING:
    from pathlib import Path

FIRST = date(2026, 9, 1)
DAYS = 60
NANOSECONDS = 1_795_477_520_731_000_000
NOW = start_of(FIRST + timedelta(days=DAYS))


def first_days() -> list[bytes]:
    """Return a new shop's first days: mostly empty, with numeric names, only one-offs at first, and one bad time."""
    found = []
    for number in [*range(5, 48, 3), 50, 51, 57]:
        at = start_of(FIRST + timedelta(days=number)) + 5000
        early = number < 45
        found.append(
            line(
                TRACKPOINT,
                at,
                f"{number:05}" if early else '=1+1; "ž"',
                campaign="12" if early else "=HYPERLINK(1)",
                node=None if early else "VIP",
            )
        )
    found[-2] = found[-2].replace(
        b'"sendDate":%d' % (json.loads(found[-2])["source"]["sendDate"]), b'"sendDate":%d' % NANOSECONDS
    )
    return found


LINES = first_days()
SENT = [json.loads(one)["source"]["sendDate"] for one in LINES]
USERS = [json.loads(one)["smsEvent"]["userId"] for one in LINES]
TIMES = [None if ms == NANOSECONDS else datetime.fromtimestamp(ms / 1000, UTC) for ms in SENT]


def in_format(*names: FormatName) -> pytest.MarkDecorator:
    """Return the formats of a test as parameters."""
    return pytest.mark.parametrize("pulled", names, indirect=True)


@pytest.fixture
def pulled(request: pytest.FixtureRequest, site: Site) -> Path:
    """Return a directory pulled over HTTP in the requested format."""
    site.wish = {"format": request.param, "compressed": request.param is not FormatName.EXCEL}
    site.standin.answers(Account(lines=LINES))
    assert site.pull(now=NOW, first=FIRST, last=None).is_complete
    assert len(site.names()) == len(LINES)
    return site.path


def queries() -> dict[str, str]:
    """Return the queries of the page, by the reader that they use."""
    found = [text for language, text in Page(ROOT / "docs" / "pull.md").blocks if language == "sql"]
    return {name: text for text in found for name in ("read_json", "read_csv") if name in text}


def rows_of(query: str) -> list[Any]:
    """Run a query in a new DuckDB connection."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(query).fetchall()


@in_format(FormatName.JSONL)
def test_json_lines(pulled: Path) -> None:
    """DuckDB reads the JSON lines of the first days with the columns of the page, despite an impossible time."""
    query = queries()["read_json"].replace("/srv/sms", str(pulled))
    rows = rows_of(query.replace("current_date - 30", "DATE '2026-01-01'"))

    assert rows == [("DELIVERED", len(LINES) - 1)]
    assert b"".join(gzip.decompress(one.read_bytes()) for one in sorted(pulled.glob("*.gz"))) == body_of(LINES)


@in_format(FormatName.CSV)
def test_csv(pulled: Path) -> None:
    """DuckDB reads the CSV of the first days with the types of the page: texts are texts, times are times."""
    source = queries()["read_csv"].replace("/srv/sms", str(pulled)).split("FROM ")[1].split("GROUP BY")[0]
    rows = rows_of(f"SELECT user_id, send_date, node_name FROM {source} ORDER BY date")  # noqa: S608 -- our page

    assert [row[0] for row in rows] == USERS
    assert [row[1] for row in rows] == TIMES
    assert rows[-1][2] == "VIP"
    for one in pulled.glob("*.gz"):
        read = arrow_csv.read_csv(io.BytesIO(gzip.decompress(one.read_bytes())))
        assert read.num_rows == 1
        assert read.column_names == list(COLUMNS)


@in_format(FormatName.PARQUET)
def test_parquet(pulled: Path) -> None:
    """DuckDB and pyarrow read the Parquet of the first days as it is, in any unit; the impossible time is NULL."""
    rows = rows_of(f"SELECT user_id, send_date FROM '{pulled}/*.parquet' ORDER BY date")  # noqa: S608 -- our path
    table = ds.dataset([str(one) for one in sorted(pulled.glob("*.parquet"))]).to_table()

    assert rows == list(zip(USERS, TIMES, strict=True))
    assert table.column("send_date").to_pylist() == TIMES
    assert table.column("send_date").cast(pa.timestamp("ns", tz="UTC")).null_count == 1


@in_format(FormatName.EXCEL)
def test_excel(pulled: Path) -> None:
    """A spreadsheet finds a byte order mark, semicolons, and no cell that it would execute; all is read back."""
    for one, event in zip(sorted(pulled.glob("*.csv")), LINES, strict=True):
        text = one.read_bytes().decode()
        assert text.startswith("\ufefftrackpoint;user_id;")
        header, cells = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";")
        assert header == list(COLUMNS)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
        assert cells[1].removeprefix("'") == json.loads(event)["smsEvent"]["userId"]


def test_the_times_of_a_warehouse_are_the_same() -> None:
    """Whatever is NULL in files is NULL in a warehouse too, and nothing else is."""
    batch, _ = BatchChecker(TRACKPOINT).check(body_of(LINES))
    rows = warehouse_rows.rows_of([batch], warehouse_rows.canonical_lines([batch]))
    assert rows.column("send_date").to_pylist() == TIMES


@in_format(FormatName.JSONL, FormatName.CSV, FormatName.PARQUET)
def test_polars(pulled: Path) -> None:
    """Polars reads Parquet and CSV into the expected Python values."""
    if any(pulled.glob("*.parquet")):
        rows = pl.read_parquet(pulled / "*.parquet").sort("date").rows()
        assert [row[-1] for row in rows] == TIMES
    elif any(pulled.glob("*.csv.gz")):
        texts = dict.fromkeys(["user_id", "campaign_id", "campaign_name", "node_id", "node_name"], pl.String)
        read = [pl.read_csv(one, schema_overrides=texts) for one in sorted(pulled.glob("*.csv.gz"))]
        assert [row[1] for row in pl.concat(read, how="vertical_relaxed").rows()] == USERS
    elif any(pulled.glob("*.jsonl.gz")):
        read = [pl.read_ndjson(io.BytesIO(gzip.decompress(p.read_bytes()))) for p in sorted(pulled.glob("*.gz"))]
        assert pl.concat(read, how="diagonal_relaxed").height == len(LINES)


@in_format(FormatName.JSONL, FormatName.CSV, FormatName.PARQUET)
def test_pandas(pulled: Path) -> None:
    """Pandas reads Parquet, CSV and JSON lines."""
    if any(pulled.glob("*.parquet")):
        frame = pd.concat(pd.read_parquet(one) for one in sorted(pulled.glob("*.parquet")))
        assert frame["send_date"].isna().sum() == 1
    elif any(pulled.glob("*.csv.gz")):
        frame = pd.concat(pd.read_csv(one, dtype={"user_id": str}) for one in sorted(pulled.glob("*.csv.gz")))
        assert frame["user_id"].tolist() == USERS
        assert pd.to_datetime(frame["send_date"]).isna().sum() == 1
    elif any(pulled.glob("*.jsonl.gz")):
        frame = pd.concat(pd.read_json(one, lines=True) for one in sorted(pulled.glob("*.jsonl.gz")))
        assert len(frame) == len(LINES)


@in_format(FormatName.JSONL, FormatName.CSV, FormatName.PARQUET)
def test_clickhouse(pulled: Path) -> None:
    """ClickHouse counts the events of every format, but not the headers of files without events."""
    chdb: Any = pytest.importorskip("chdb", reason="chdb is large and in the group `readers`")
    kinds = {".parquet": "Parquet", ".csv.gz": "CSVWithNames", ".jsonl.gz": "JSONEachRow"}
    for suffix, name in kinds.items():
        if any(pulled.glob(f"*{suffix}")):
            count = str(chdb.query(f"SELECT count() FROM file('{pulled}/*{suffix}', {name})"))  # noqa: S608 -- our path
            assert count.strip() == str(len(LINES))


@pytest.fixture
def partitions(site: Site) -> Path:
    """Return a directory of Parquet files in Hive partitions, pulled over HTTP."""
    site.wish = {"format": FormatName.PARQUET, "split": Split.HIVE}
    site.standin.answers(Account(lines=LINES))
    assert site.pull(now=NOW, first=FIRST, last=None).is_complete
    return site.path


DATES = [datetime.fromtimestamp(json.loads(one)["smsEvent"]["date"] / 1000, UTC) for one in LINES]


def test_partitions_in_duckdb_and_arrow(partitions: Path) -> None:
    """DuckDB and Arrow find the day of each partition as a column, and the times of the events beside it."""
    rows = rows_of(f"SELECT date, day FROM read_parquet('{partitions}/*/*.parquet') ORDER BY date")  # noqa: S608 -- our path
    table = ds.dataset(str(partitions), partitioning="hive", exclude_invalid_files=True).to_table().sort_by("date")

    assert rows == [(time, time.date()) for time in DATES]
    assert table.column("date").to_pylist() == DATES
    assert table.column("day").to_pylist() == [str(time.date()) for time in DATES]


def test_partitions_in_polars_and_pandas(partitions: Path) -> None:
    """Polars finds the days and the times too. Pandas reads the file of a partition."""
    frame = pl.read_parquet(partitions / "*" / "*.parquet", hive_partitioning=True).sort("date")
    assert frame.select("date", "day").rows() == [(time, time.date()) for time in DATES]
    read = pd.read_parquet(min(partitions.glob("day=*/*.parquet")))
    assert read["date"].tolist() == DATES[:1]


def test_partitions_in_clickhouse(partitions: Path) -> None:
    """ClickHouse finds the days and the times too."""
    chdb: Any = pytest.importorskip("chdb", reason="chdb is large and in the group `readers`")

    found = str(chdb.query(f"SELECT toString(date, 'UTC'), day FROM file('{partitions}/*/*.parquet') ORDER BY date"))  # noqa: S608 -- our path
    assert [row.split('"')[1::2] for row in found.splitlines()] == [
        [time.strftime("%Y-%m-%d %H:%M:%S.000"), str(time.date())] for time in DATES
    ]
