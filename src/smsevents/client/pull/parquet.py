"""Parquet files, with pyarrow: typed columns, zstd.

The lines were checked before they are written, so Arrow's own JSON reader can build the columns from them. It
runs outside Python's global lock and is faster than building lists.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.json as arrow_json
import pyarrow.parquet as pq

from smsevents.client.arrow import SCHEMA, TIME, times
from smsevents.client.pull.errors import BadEvent
from smsevents.client.pull.formats import resettled, sound
from smsevents.wire.columns import COLUMNS, event_of
from smsevents.wire.events import encode_lines
from smsevents.wire.limits import LINE_MAX_BYTES
from smsevents.wire.lines import Entry, join_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from smsevents.client.pull.lines import EntryChecker

PULL_ROW_GROUP_ROWS = 64 * 1024

ZSTD_LEVEL = 3
_ROWS_READ_AT_ONCE = 4096
_TEXTS = ["user_id", "status", "source_type", "campaign_id", "campaign_name", "node_id", "node_name"]

_named = pa.struct([("id", pa.string()), ("name", pa.string())])
_WIRE = pa.schema(
    [
        (
            "smsEvent",
            pa.struct(
                [("trackpoint", pa.int64()), ("userId", pa.string()), ("status", pa.string()), ("date", pa.int64())]
            ),
        ),
        (
            "source",
            pa.struct([("type", pa.string()), ("campaign", _named), ("node", _named), ("sendDate", pa.int64())]),
        ),
    ]
)


class Parquet:
    """Row groups of sorted events: dictionary-encoded texts, delta-encoded times, pages with checksums."""

    suffix = ".parquet"
    has_columns = True

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def write(self, file: IO[bytes], batches: Iterable[list[Entry]]) -> None:
        """Write all entries, one row group at a time."""
        with pq.ParquetWriter(
            file,
            SCHEMA,
            compression="zstd" if self._compressed else "none",
            compression_level=ZSTD_LEVEL if self._compressed else None,
            use_dictionary=_TEXTS,
            column_encoding={"date": "DELTA_BINARY_PACKED", "send_date": "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        ) as writer:
            held: list[pa.Table] = []
            rows = 0
            for batch in batches:
                held.append(_table(join_lines(batch)))
                rows += len(batch)
                if rows >= PULL_ROW_GROUP_ROWS:
                    writer.write_table(pa.concat_tables(held), row_group_size=rows)
                    held, rows = [], 0
            if held:
                writer.write_table(pa.concat_tables(held), row_group_size=rows)

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile`."""
        return resettled(sound(path, _read(path, checker)), checker)


def _read(path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.schema_arrow.names != list(COLUMNS):
                raise BadEvent("its columns are not those of a pull")
            for batch in file.iter_batches(_ROWS_READ_AT_ONCE):
                columns = batch.cast(SCHEMA)
                lists = [
                    (column.cast(pa.int64()) if column.type == TIME else column).to_pylist()
                    for column in columns.columns
                ]
                yield checker.entries(encode_lines([event_of(row) for row in zip(*lists, strict=True)]))
    except (pa.ArrowException, OSError) as error:
        raise BadEvent(str(error)) from error


def _table(lines: bytes) -> pa.Table:
    """Return the columns of canonical lines."""
    options = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + LINE_MAX_BYTES)
    parse = arrow_json.ParseOptions(explicit_schema=_WIRE, unexpected_field_behavior="error")
    table = arrow_json.read_json(pa.BufferReader(lines), read_options=options, parse_options=parse)
    sms, source = (table.column(name).combine_chunks() for name in ("smsEvent", "source"))
    campaign, node = source.field("campaign"), source.field("node")
    return pa.Table.from_arrays(
        [
            sms.field("trackpoint"),
            sms.field("userId"),
            sms.field("status"),
            sms.field("date").cast(TIME),
            source.field("type"),
            campaign.field("id"),
            campaign.field("name"),
            node.field("id"),
            node.field("name"),
            times(source.field("sendDate")),
        ],
        schema=SCHEMA,
    )
