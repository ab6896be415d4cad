"""DataFrames: the events of an export as Arrow record batches, and as frames of pandas and polars. Needs pyarrow.

SCHEMA describes the columns: those of a Parquet file of `pull`, with `status` and `source_type` as dictionaries. The
dictionaries are fixed, so batches can be joined without unifying them.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from smsevents.client.errors import missing_extra
from smsevents.client.gathered import gathered, gathered_async
from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import STATUSES

try:
    import numpy as np  # noqa: F401 -- only the check that it is installed
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError as error:
    raise missing_extra("Arrow tables and DataFrames need pyarrow with numpy", "arrow") from error

from smsevents.client import arrow  # isort: skip -- after the check that both are installed
from smsevents.client.arrow_lines import joined_rows  # isort: skip -- the same

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence

    import pandas as pd
    import polars as pl

    from smsevents.client.lines import Batch

SOURCE_TYPES = (FLOW, ONE_OFF)

_LABEL = pa.dictionary(pa.int8(), pa.string())
_LABELS = {"status": pa.array(STATUSES, pa.string()), "source_type": pa.array(SOURCE_TYPES, pa.string())}


def _field(field: pa.Field) -> pa.Field:
    if field.name in _LABELS:
        return field.with_type(_LABEL)
    # a server may send an impossible date too; `pull` refuses it, because it is in no day
    return field.with_nullable(True) if field.name == "date" else field


SCHEMA = pa.schema([_field(field) for field in arrow.SCHEMA])
"""The columns. `node_id` and `node_name` are null for one-off, a time outside the years 2000 to 2099 is null."""


def frame_batch(batches: Sequence[Batch]) -> pa.RecordBatch:
    """Return the events of batches as one batch in SCHEMA, in the same order."""
    found = joined_rows(batches)
    arrays = [_array(field, column) for field, column in zip(SCHEMA, found.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(field: pa.Field, column: pa.Array) -> pa.Array:
    if field.name in _LABELS:
        labels = _LABELS[field.name]
        return pa.DictionaryArray.from_arrays(pc.index_in(column, labels).cast(pa.int8()), labels)
    return arrow.times(column.cast(pa.int64())) if field.name == "date" else column


def reader_of(batches: Iterable[Batch]) -> pa.RecordBatchReader:
    """Return a reader of an export. Its errors are those of the export."""
    return pa.RecordBatchReader.from_batches(SCHEMA, map(frame_batch, gathered(batches)))


async def record_batches(batches: AsyncIterable[Batch]) -> AsyncGenerator[pa.RecordBatch]:
    """Yield what the reader of `reader_of` reads."""
    async for some in gathered_async(batches):
        yield frame_batch(some)


def _nothing() -> pa.RecordBatch:
    labels = {name: pa.DictionaryArray.from_arrays(pa.array([], pa.int8()), labels) for name, labels in _LABELS.items()}
    return pa.RecordBatch.from_arrays(
        [labels.get(field.name, pa.array([], field.type)) for field in SCHEMA], schema=SCHEMA
    )


def check_pandas() -> None:
    """Raise `MissingExtra` if pandas is not installed."""
    try:
        import pandas as pd  # noqa: F401, PLC0415 -- an extra
    except ImportError as error:
        raise missing_extra("`to_pandas` needs pandas", "pandas") from error


def check_polars() -> None:
    """Raise `MissingExtra` if polars is not installed."""
    try:
        import polars as pl  # noqa: F401, PLC0415 -- an extra
    except ImportError as error:
        raise missing_extra("`to_polars` needs polars", "polars") from error


def pandas_of(batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Return all rows of batches of SCHEMA as a pandas DataFrame.

    `status` and `source_type` are categories, times are `datetime64[ms, UTC]`, texts are pandas' `str`.
    """
    # a batch without rows first, so that there are categories even without rows
    table = pa.Table.from_batches(chain([_nothing()], batches), SCHEMA)
    # the table is not used afterwards, so each column is freed once it is converted
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def polars_of(batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    """Return all rows of batches of SCHEMA as a polars DataFrame.

    `status` and `source_type` are `Enum`, times are `Datetime("ms", "UTC")`, texts are `String`.
    """
    import polars as pl  # noqa: PLC0415 -- an extra

    frame = pl.DataFrame(pa.Table.from_batches(batches, SCHEMA))
    return frame.with_columns(
        pl.col("status").cast(pl.Enum(STATUSES)), pl.col("source_type").cast(pl.Enum(SOURCE_TYPES))
    )
