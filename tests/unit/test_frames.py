"""Arrow tables and DataFrames: each event is one row with the right values and types, whatever the lines look like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import frames, gathered
from smsevents.client.lines import Batch, BatchChecker
from tests.support.events import STATUSES, canonical_of, events, spelled
from tests.support.lines import line

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = 7
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
NAMES = [
    "trackpoint",
    "user_id",
    "status",
    "date",
    "source_type",
    "campaign_id",
    "campaign_name",
    "node_id",
    "node_name",
    "send_date",
]

times = st.integers(946_684_800_000 - 2, 4_102_444_799_999 + 2) | st.sampled_from([0, -1, 2**63 - 1, -(2**63)])


@st.composite
def exports(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Return the events of an export, in batches."""
    batches = draw(st.lists(st.lists(events, min_size=1, max_size=5), max_size=4))
    for event in (event for batch in batches for event in batch):
        event["smsEvent"] |= {"trackpoint": SHOP, "date": draw(times)}
        event["source"] |= {"sendDate": draw(times)}
    return batches


def time_of(milliseconds: int) -> datetime | None:
    """Return the expected value of a time."""
    try:
        time = EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return time if FIRST <= time <= LAST else None


def expected(event: dict[str, Any]) -> dict[str, Any]:
    """Return the expected row of an event."""
    sms, source = event["smsEvent"], event["source"]
    node = source.get("node", {"id": None, "name": None})
    values = [SHOP, sms["userId"], sms["status"], time_of(sms["date"]), source["type"]]
    values += [source["campaign"]["id"], source["campaign"]["name"], node["id"], node["name"]]
    return dict(zip(NAMES, [*values, time_of(source["sendDate"])], strict=True))


def checked(blocks: list[bytes]) -> Iterator[Batch]:
    """Yield the batches of an export as the client makes them."""
    checker = BatchChecker(SHOP)
    for block in blocks:
        batch, bad = checker.check(block)
        assert bad is None
        yield batch


@given(exports(), st.data())
def test_rows_are_the_events(export: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    """A table of each kind has one row per event, in order, for canonical lines and any other spelling."""
    as_sent = data.draw(st.booleans())
    blocks = [
        b"".join(
            (canonical_of(event) if as_sent else data.draw(spelled(event)).replace("\n", " ").strip().encode()) + b"\n"
            for event in batch
        )
        for batch in export
    ]
    wanted = [expected(event) for batch in export for event in batch]

    table = frames.reader_of(checked(blocks)).read_all()
    assert table.schema == frames.SCHEMA
    assert table.to_pylist() == wanted
    assert frames.polars_of(frames.reader_of(checked(blocks))).to_dicts() == wanted
    frame = frames.pandas_of(frames.reader_of(checked(blocks)))
    assert frame.astype(object).where(frame.notna(), None).to_dict("records") == wanted


def test_types_do_not_depend_on_the_rows() -> None:
    """Without rows, and with rows that lack a node and have every status, the types are the documented ones."""
    one = line(SHOP, 1_700_000_000_000) + b"\n"
    for blocks in ([], [one]):
        frame = frames.pandas_of(frames.reader_of(checked(blocks)))
        assert list(frame.columns) == NAMES
        assert [str(kind) for kind in frame.dtypes] == [
            "int64",
            "str",
            "category",
            "datetime64[ms, UTC]",
            "category",
            *["str"] * 4,
            "datetime64[ms, UTC]",
        ]
        assert list(frame["status"].cat.categories) == STATUSES
        schema = frames.polars_of(frames.reader_of(checked(blocks))).schema
        time, text = pl.Datetime("ms", "UTC"), pl.String()
        status, kind = pl.Enum(STATUSES), pl.Enum(["flow", "one-off"])
        assert list(schema.values()) == [pl.Int64(), text, status, time, kind, text, text, text, text, time]


def test_batches_are_read_as_they_come() -> None:
    """The reader holds no more than some thousand rows, however many follow."""
    block = b"".join(line(SHOP, 1_700_000_000_000 + index) + b"\n" for index in range(1000))
    asked = 0

    def endless() -> Iterator[bytes]:
        """Yield blocks without end, and count them."""
        nonlocal asked
        while True:
            asked += 1
            yield block

    reader = frames.reader_of(checked(endless()))  # type: ignore[arg-type]
    for number in range(1, 4):
        assert len(reader.read_next_batch()) >= gathered.ROWS_MIN
        assert asked <= number * (gathered.ROWS_MIN // 1000 + 1)


def test_an_error_in_the_middle_is_the_error_of_the_reader() -> None:
    """An error of the export comes out of the reader unchanged."""

    class Stopped(Exception):
        """An error of the test."""

    def broken() -> Iterator[Batch]:
        """Yield a batch, and fail."""
        yield from checked([line(SHOP, 1_700_000_000_000) + b"\n"])
        raise Stopped

    for read in (pa.RecordBatchReader.read_all, frames.pandas_of, frames.polars_of):
        with pytest.raises(Stopped):
            read(frames.reader_of(broken()))
