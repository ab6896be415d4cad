"""Events as rows of the warehouse's table, in Arrow record batches. Needs the extra `sync`.

A row is a function of its event alone, so the same event makes the same row in every sync.
"""

from __future__ import annotations

from array import array
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from smsevents.client.arrow import times
from smsevents.client.arrow_lines import joined_rows
from smsevents.wire.columns import COLUMNS
from smsevents.wire.events import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_ID_BYTES = 2 * sha256().digest_size  # in hex


def rows_of(batches: Sequence[Batch], lines: Sequence[bytes]) -> pa.RecordBatch:
    """Return the rows of batches; `lines` are all of their canonical lines.

    A time outside the years 2000 to 2099 becomes NULL. U+0000 in a text becomes U+FFFD.
    """
    found = joined_rows(batches)
    arrays = [_ids(lines)]
    for name, column in zip(COLUMNS, found.columns, strict=True):
        possible = times(column.cast(pa.int64())) if name == "date" else column
        arrays.append(possible if possible.type == ROWS.field(name).type else possible.cast(ROWS.field(name).type))
    if any(_NUL_ESCAPE in batch.block for batch in batches):
        arrays = [_without_nul(column) if column.type == pa.string() else column for column in arrays]
    return pa.RecordBatch.from_arrays(arrays, schema=ROWS)


def canonical_lines(batches: Sequence[Batch]) -> list[bytes]:
    """Return the canonical lines of batches, one after the other."""
    lines: list[bytes] = []
    for batch in batches:
        lines += batch.lines if batch.is_canonical else [encode(event) for event in batch.events]
    return lines


def _ids(lines: Sequence[bytes]) -> pa.Array:
    # as one text and offsets into it: that takes a third of the time of a string object for each line
    text = b"".join([sha256(line).digest() for line in lines]).hex().encode()
    offsets = array("i", range(0, len(text) + 1, _ID_BYTES))
    return pa.Array.from_buffers(pa.string(), len(lines), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _without_nul(texts: pa.Array) -> Any:  # noqa: ANN401 -- pyarrow has no types
    return pc.replace_substring(texts, "\x00", "\ufffd")
