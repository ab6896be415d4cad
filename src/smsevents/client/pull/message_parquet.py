"""The files of messages in Parquet, with pyarrow."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa

from smsevents.client.arrow import SCHEMA, TIME, times
from smsevents.client.messages import MESSAGE_COLUMNS
from smsevents.client.pull.message_formats import source_cells, user_of
from smsevents.client.pull.parquet import Parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.client.pull.drafts import Writer
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.messages import Message

_OWN = (
    pa.field("state", pa.string(), nullable=False),
    pa.field("state_date", TIME, nullable=False),
    pa.field("event_count", pa.int64(), nullable=False),
    pa.field("first_date", TIME, nullable=False),
    pa.field("accepted_date", TIME),
    pa.field("delivered_date", TIME),
)
MESSAGE_SCHEMA = pa.schema([*(SCHEMA.field(name) for name in MESSAGE_COLUMNS if name in SCHEMA.names), *_OWN])
"""The columns. Those that are also columns of the files of events have the same type there."""


def writer(format_: Format, trackpoint: int) -> Callable[[IO[bytes]], Writer[list[Message]]]:
    """Return what makes the writer of a file of messages of a shop. `format_` is Parquet."""
    if not isinstance(format_, Parquet):
        raise TypeError(f"there is no file of messages in the format {format_}")
    return lambda file: format_.table_writer(file, MESSAGE_SCHEMA, lambda messages: _batch(trackpoint, messages))


def _batch(trackpoint: int, messages: list[Message]) -> pa.RecordBatch:
    _, sent, _, states, state_times, counts, first, accepted, delivered = zip(*messages, strict=True)
    sources = zip(*(source_cells(message.source) for message in messages), strict=True)
    columns = [
        pa.repeat(pa.scalar(trackpoint, pa.int64()), len(messages)),
        pa.array([user_of(message) for message in messages], pa.string()),
        *(pa.array(column, pa.string()) for column in sources),
        times(pa.array(sent, pa.int64())),
        pa.array(states, pa.binary()).cast(pa.string()),
        pa.array(state_times, TIME),
        pa.array(counts, pa.int64()),
        pa.array(first, TIME),
        pa.array(accepted, TIME),
        pa.array(delivered, TIME),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MESSAGE_SCHEMA)
