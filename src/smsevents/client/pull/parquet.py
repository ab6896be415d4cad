"""Parquet files, with pyarrow: typed columns, zstd."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Generic

import pyarrow as pa
import pyarrow.parquet as pq

from smsevents.client.arrow import SCHEMA, TIME
from smsevents.client.event_parts import parts_of
from smsevents.client.pull.drafts import Rows_contra
from smsevents.client.pull.errors import BadEvent
from smsevents.client.pull.formats import Format, resettled, sound
from smsevents.client.pull.row_groups import GROUP_SCHEMA, SCHEMA_METADATA, group_of
from smsevents.wire.columns import COLUMNS, event_of
from smsevents.wire.events import encode_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.client.event_parts import EventParts
    from smsevents.client.pull.drafts import Writer
    from smsevents.client.pull.lines import EntryChecker, Lines
    from smsevents.wire.lines import Entry

PULL_ROW_GROUP_ROWS = 64 * 1024

ZSTD_LEVEL = 3
_ROWS_READ_AT_ONCE = 4096


class Parquet(Format):
    """Row groups of sorted events: dictionary-encoded texts, delta-encoded times, pages with checksums."""

    suffix = ".parquet"
    has_columns = True
    is_arrow = True

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def writer(self, file: IO[bytes]) -> Writer[Lines]:
        """Return a writer of row groups."""
        return _EventWriter(file, compressed=self._compressed)

    def table_writer(
        self, file: IO[bytes], schema: pa.Schema, batch_of: Callable[[Rows_contra], pa.RecordBatch]
    ) -> Writer[Rows_contra]:
        """Return a writer of row groups of the batches that `batch_of` makes of rows."""
        return _Writer(file, schema, batch_of, compressed=self._compressed)

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile`."""
        return resettled(sound(path, _read(path, checker)), checker)


class _Held:
    """Holds events until there are enough of them for a row group of PULL_ROW_GROUP_ROWS."""

    def __init__(self) -> None:
        self._pieces: list[EventParts] = []
        self.rows = 0

    def add(self, piece: EventParts) -> Iterator[list[EventParts]]:
        """Hold events, and yield the pieces of each row group that is complete."""
        start = 0
        while self.rows + len(piece) - start >= PULL_ROW_GROUP_ROWS:
            end = start + PULL_ROW_GROUP_ROWS - self.rows
            yield [*self.taken(), piece.slice(start, end)]
            start = end
        if start < len(piece):
            self._pieces.append(piece.slice(start, len(piece)) if start else piece)
            self.rows += len(piece) - start

    def taken(self) -> list[EventParts]:
        """Return what is held, and hold nothing from then on."""
        pieces, self._pieces, self.rows = self._pieces, [], 0
        return pieces


class _EventWriter:
    """Writes row groups of events, and what remains as the last one.

    So the same events make the same file, in whatever batches they come, and however they were read.
    """

    def __init__(self, file: IO[bytes], *, compressed: bool) -> None:
        self._writer = _parquet_writer(file, GROUP_SCHEMA, compressed=compressed, store_schema=False)
        self._held = _Held()

    def add(self, lines: Lines, /) -> None:
        for pieces in self._held.add(parts_of(lines.columns) if lines.arrow is None else lines.arrow.events):
            self._write(pieces)

    def _write(self, pieces: list[EventParts]) -> None:
        self._writer.write_table(group_of(pieces), row_group_size=PULL_ROW_GROUP_ROWS)

    def finish(self) -> None:
        if self._held.rows:
            self._write(self._held.taken())
        self._writer.add_key_value_metadata(SCHEMA_METADATA)
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


def _parquet_writer(file: IO[bytes], schema: pa.Schema, *, compressed: bool, store_schema: bool) -> pq.ParquetWriter:
    texts = {pa.string(), pa.dictionary(pa.int32(), pa.string())}
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd" if compressed else "none",
        compression_level=ZSTD_LEVEL if compressed else None,
        use_dictionary=[field.name for field in schema if field.type in texts],
        column_encoding={field.name: "DELTA_BINARY_PACKED" for field in schema if field.type == TIME},
        write_page_checksum=True,
        store_schema=store_schema,
    )


class _Writer(Generic[Rows_contra]):
    """Writes row groups of PULL_ROW_GROUP_ROWS, and what remains as the last one.

    So the same events make the same file, in whatever batches they come.
    """

    def __init__(
        self,
        file: IO[bytes],
        schema: pa.Schema,
        batch_of: Callable[[Rows_contra], pa.RecordBatch],
        *,
        compressed: bool,
    ) -> None:
        self._schema = schema
        self._batch_of = batch_of
        self._writer = _parquet_writer(file, schema, compressed=compressed, store_schema=True)
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, rows: Rows_contra, /) -> None:
        batch = self._batch_of(rows)
        while self._rows + len(batch) >= PULL_ROW_GROUP_ROWS:
            rest = PULL_ROW_GROUP_ROWS - self._rows
            self._hold(batch.slice(0, rest))
            self._write_group()
            batch = batch.slice(rest)
        self._hold(batch)

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._rows += len(batch)

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=PULL_ROW_GROUP_ROWS)
        self._held, self._rows = [], 0

    def finish(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def close(self) -> None:
        self._writer.close()


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
