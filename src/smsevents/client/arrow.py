"""Events as Arrow record batches, for DataFrames and warehouses. Needs pyarrow.

SCHEMA describes the columns: those of a Parquet file of `pull`, with `status` and `source_type` as dictionaries. The
dictionaries are fixed, so batches can be joined and compared without unifying them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.client.errors import missing_extra
from smsevents.wire import columns
from smsevents.wire.events import STATUSES
from smsevents.wire.times import is_time

try:
    import pyarrow as pa
except ImportError as error:
    raise missing_extra("Arrow tables need pyarrow", "arrow") from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable

    from smsevents.client.lines import Batch

SOURCE_TYPES = (columns.FLOW, columns.ONE_OFF)

_TIME = pa.timestamp("ms", tz="UTC")
_LABEL = pa.dictionary(pa.int8(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("trackpoint", pa.int64(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("status", _LABEL, nullable=False),
        pa.field("date", _TIME),
        pa.field("source_type", _LABEL, nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("campaign_name", pa.string(), nullable=False),
        pa.field("node_id", pa.string()),
        pa.field("node_name", pa.string()),
        pa.field("send_date", _TIME),
    ]
)
"""The columns of the events. A time outside the years 2000 to 2099 is null; `node_id` and `node_name` of one-off are."""

_LABELS = {"status": pa.array(STATUSES), "source_type": pa.array(SOURCE_TYPES)}
_INDEX_OF = {label: index for labels in (STATUSES, SOURCE_TYPES) for index, label in enumerate(labels)}

# small batches cost more than their rows; this many rows are about 10 MiB
_ROWS_MAX = 64 * 1024


def record_batch(batch: Batch) -> pa.RecordBatch:
    """Return the columns of a batch of an export, in the same order."""
    rows = map(columns.row_of, batch.events)
    arrays = [_array(field, values) for field, values in zip(SCHEMA, zip(*rows, strict=True), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(field: pa.Field, values: Iterable[object]) -> pa.Array:
    if field.type == _TIME:
        return pa.array([value if is_time(value) else None for value in values], pa.int64()).cast(_TIME)  # type: ignore[arg-type]
    if field.type == _LABEL:
        indices = pa.array([_INDEX_OF[value] for value in values], pa.int8())  # type: ignore[index]
        return pa.DictionaryArray.from_arrays(indices, _LABELS[field.name])
    return pa.array(values, field.type)


def reader_of(batches: Iterable[Batch]) -> pa.RecordBatchReader:
    """Return a reader of an export. Its errors are those of the export."""
    return pa.RecordBatchReader.from_batches(SCHEMA, record_batches(batches))


def record_batches(batches: Iterable[Batch]) -> Generator[pa.RecordBatch]:
    """Yield the columns of an export in batches of at least 64 Ki rows, except for the last one."""
    held = _Held()
    for batch in batches:
        if full := held.add(record_batch(batch)):
            yield full
    if rest := held.taken():
        yield rest


async def record_batches_async(batches: AsyncIterable[Batch]) -> AsyncGenerator[pa.RecordBatch]:
    """Yield what `record_batches` yields."""
    held = _Held()
    async for batch in batches:
        if full := held.add(record_batch(batch)):
            yield full
    if rest := held.taken():
        yield rest


class _Held:
    """Small batches, until they are large enough together."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Hold a batch. Return all that is held as one batch if it is large enough."""
        self._batches.append(batch)
        self._rows += batch.num_rows
        return self.taken() if self._rows >= _ROWS_MAX else None

    def taken(self) -> pa.RecordBatch | None:
        """Return all that is held as one batch, or None, and hold nothing from then on."""
        batches, self._batches, self._rows = self._batches, [], 0
        return pa.concat_batches(batches) if batches else None
