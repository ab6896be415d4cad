"""The files of messages in Parquet, with pyarrow."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smsevents.client.arrow import SCHEMA, TIME, times
from smsevents.client.messages import MESSAGE_COLUMNS
from smsevents.client.pull.message_formats import source_cells, user_of
from smsevents.client.pull.parquet import Parquet
from smsevents.wire.events import encode_text
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.client.pull.drafts import Writer
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.messages import Message
    from smsevents.wire.lines import Entry

_SOURCE = ("source_type", "campaign_id", "campaign_name", "node_id", "node_name")
_ROWS_READ_AT_ONCE = 4096
_ESCAPED = '["\\\\\\x00-\\x1f\\x{85}\\x{2028}\\x{2029}]'  # what JSON does not have as it is

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


def records(path: Path) -> Iterator[list[Entry]]:
    """Yield the records of the events in a file that is as a pull wrote it, some at a time."""
    texts = ["status", *_SOURCE]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(
            _ROWS_READ_AT_ONCE, use_threads=False, columns=["user_id", "date", "send_date", *texts]
        ):
            sent = batch.column("send_date").cast(pa.int64())
            is_possible = pc.and_(pc.greater_equal(sent, TIME_MIN_MS), pc.less_equal(sent, TIME_MAX_MS))
            at = pc.if_else(pc.fill_null(is_possible, False), sent, 0)
            at_text = at.cast(pa.string())
            record = _joined(
                _sources(batch),
                *("\0", at_text, "\0", _users(batch.column("user_id")), '\0"date":', at_text, "}"),
                *(batch.column("status").cast(pa.string()), " "),
                batch.column("date").cast(pa.int64()).cast(pa.string()),
            )
            yield list(zip(at.to_pylist(), record.cast(pa.binary()).to_pylist(), strict=True))


def _sources(batch: pa.RecordBatch) -> pa.Array:
    """Return the canonical JSON of sources up to the send date."""
    kind, campaign, name, node, node_name = (_json(batch.column(one)) for one in _SOURCE)
    nodes = _joined(',"node":{"id":', node, ',"name":', node_name, "}")  # NULL for one-off
    return _joined('{"type":', kind, ',"campaign":{"id":', campaign, ',"name":', name, "}", pc.fill_null(nodes, ""))


def _json(column: pa.DictionaryArray) -> pa.Array:
    """Return the JSON of texts that have few different values."""
    values = pa.array([encode_text(text) for text in column.dictionary.to_pylist()], pa.binary())
    return values.cast(pa.string()).take(column.indices)


def _users(users: pa.Array) -> pa.Array:
    """Return the JSON of users. Nearly all stand for themselves in it."""
    if pc.any(pc.match_substring_regex(users, _ESCAPED)).as_py():
        return pa.array([encode_text(user) for user in users.to_pylist()], pa.binary()).cast(pa.string())
    return _joined('"', users, '"')


def _joined(*parts: pa.Array | str) -> Any:  # noqa: ANN401 -- pyarrow has no types
    return pc.binary_join_element_wise(*parts, "")


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
