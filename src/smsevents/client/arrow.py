"""Events as Arrow columns, with pyarrow: the schema of every table that the client makes, and batches in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import Flow
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS, is_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.wire.canonical import EventColumns, Source

TIME = pa.timestamp("ms", tz="UTC")

SCHEMA = pa.schema(
    [
        pa.field("trackpoint", pa.int64(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("date", TIME, nullable=False),
        pa.field("source_type", pa.string(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("campaign_name", pa.string(), nullable=False),
        pa.field("node_id", pa.string()),
        pa.field("node_name", pa.string()),
        pa.field("send_date", TIME),
    ]
)


def record_batch(columns: EventColumns) -> pa.RecordBatch:
    """Return events as Arrow columns in SCHEMA. An impossible send date becomes NULL."""
    numbers = {key: number for number, key in enumerate(columns.known)}
    which = pa.array(list(map(numbers.__getitem__, columns.sources)), pa.int32())
    sources = [column.take(which) for column in source_columns(list(columns.known.values()))]
    dates = _numbers(columns.dates).cast(TIME)
    shop = pa.repeat(pa.scalar(columns.trackpoint, pa.int64()), len(columns.dates))
    return pa.RecordBatch.from_arrays(
        [shop, _texts(columns.users), _texts(columns.statuses), dates, *sources, times(_numbers(columns.sent))],
        schema=SCHEMA,
    )


def source_columns(sources: Sequence[Source]) -> list[pa.Array]:
    """Return the type, the campaign and the node of sources, as columns."""
    nodes = [source.node if isinstance(source, Flow) else None for source in sources]
    rows: list[list[str | None]] = [
        [FLOW if node else ONE_OFF for node in nodes],
        [source.campaign.id for source in sources],
        [source.campaign.name for source in sources],
        [node.id if node else None for node in nodes],
        [node.name if node else None for node in nodes],
    ]
    return [pa.array(row, pa.string()) for row in rows]


def _texts(texts: Sequence[bytes]) -> pa.Array:
    return pa.array(texts, pa.binary()).cast(pa.string())


def _numbers(numbers: Sequence[bytes]) -> pa.Array:
    return _texts(numbers).cast(pa.int64())  # by Arrow, which needs no Python object for each


def times(milliseconds: pa.Array) -> pa.Array:
    """Convert numbers to times. An impossible time becomes NULL, because readers with finer units would fail on it."""
    ends = pc.min_max(milliseconds)
    if len(milliseconds) and not (is_time(ends["min"].as_py()) and is_time(ends["max"].as_py())):
        possible = pc.and_(pc.greater_equal(milliseconds, TIME_MIN_MS), pc.less_equal(milliseconds, TIME_MAX_MS))
        milliseconds = pc.if_else(possible, milliseconds, pa.scalar(None, pa.int64()))
    return milliseconds.cast(TIME)
