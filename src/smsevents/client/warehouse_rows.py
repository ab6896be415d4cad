"""Events as rows of the warehouse's table, in Arrow record batches. Needs the extra `sync`.

A row is a function of its event alone, so the same event makes the same row in every sync.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from smsevents.client.arrow import record_batch, times
from smsevents.wire.columns import COLUMNS
from smsevents.wire.events import encode

if TYPE_CHECKING:
    from smsevents.client.lines import Batch

# the default precision of dlt: with another one, new tables would have other types than those of earlier versions
_TIME = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {"trackpoint": pa.int64(), "date": _TIME, "send_date": _TIME}

EVENT_ID = "event_id"
ROWS = pa.schema(
    [
        pa.field(EVENT_ID, pa.string(), nullable=False),
        *(pa.field(name, _TYPES.get(name, pa.string())) for name in COLUMNS),
    ]
)
"""The columns of the table."""

_NUL_ESCAPE = rb"\u0000"


def rows_of(batch: Batch, lines: list[bytes]) -> pa.RecordBatch:
    """Return the rows of a batch; `lines` are its canonical lines.

    A time outside the years 2000 to 2099 becomes NULL. U+0000 in a text becomes U+FFFD.
    """
    found = record_batch(batch.columns)
    arrays = [pa.array([sha256(line).hexdigest() for line in lines], pa.string())]
    for name, column in zip(COLUMNS, found.columns, strict=True):
        arrays.append((times(column.cast(pa.int64())) if name == "date" else column).cast(ROWS.field(name).type))
    if _NUL_ESCAPE in batch.block:
        arrays = [_without_nul(array) if array.type == pa.string() else array for array in arrays]
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def canonical_lines(batch: Batch) -> list[bytes]:
    """Return the canonical lines of a batch, in the same order."""
    return batch.lines if batch.is_canonical else [encode(event) for event in batch.events]


def _without_nul(texts: pa.Array) -> Any:  # noqa: ANN401 -- pyarrow has no types
    return pc.replace_substring(texts, "\x00", "\ufffd")
