"""Parquet files, with pyarrow: typed columns, zstd."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Generic

import pyarrow as pa
import pyarrow.parquet as pq

from smsevents.client.arrow import SCHEMA, TIME, record_batch
from smsevents.client.gathered import columns_of
from smsevents.client.pull.drafts import Rows_contra
from smsevents.client.pull.errors import BadEvent
from smsevents.client.pull.formats import Format, resettled, sound
from smsevents.wire.columns import COLUMNS, event_of
from smsevents.wire.events import encode_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.client.pull.drafts import Writer
    from smsevents.client.pull.lines import EntryChecker, Lines
    from smsevents.wire.lines import Entry

PULL_ROW_GROUP_ROWS = 64 * 1024
PULL_COLUMNS_ROWS_MIN = 4 * 1024  # about 1 MiB of lines; larger batches save little time and take memory for each day

ZSTD_LEVEL = 3
_ROWS_READ_AT_ONCE = 4096


class Parquet(Format):
    """Row groups of sorted events: dictionary-encoded texts, delta-encoded times, pages with checksums."""

    suffix = ".parquet"
    has_columns = True

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def writer(self, file: IO[bytes]) -> Writer[Lines]:
        """Return a writer of row groups."""
        return _Gathering(self.table_writer(file, SCHEMA, lambda some: record_batch(columns_of(some))))

    def table_writer(
        self, file: IO[bytes], schema: pa.Schema, batch_of: Callable[[Rows_contra], pa.RecordBatch]
    ) -> Writer[Rows_contra]:
        """Return a writer of row groups of the batches that `batch_of` makes of rows."""
        return _Writer(file, schema, batch_of, compressed=self._compressed)

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile`."""
        return resettled(sound(path, _read(path, checker)), checker)


class _Gathering:
    """Passes lines on, many at a time: a batch of columns costs more than some thousand rows of it."""

    def __init__(self, writer: Writer[list[Lines]]) -> None:
        self._writer = writer
        self._held: list[Lines] = []
        self._rows = 0

    def add(self, lines: Lines, /) -> None:
        self._held.append(lines)
        self._rows += len(lines)
        if self._rows >= PULL_COLUMNS_ROWS_MIN:
            self._pass_on()

    def _pass_on(self) -> None:
        self._writer.add(self._held)
        self._held, self._rows = [], 0

    def finish(self) -> None:
        if self._rows:
            self._pass_on()
        self._writer.finish()

    def close(self) -> None:
        self._writer.close()


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
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd" if compressed else "none",
            compression_level=ZSTD_LEVEL if compressed else None,
            use_dictionary=[field.name for field in schema if field.type == pa.string()],
            column_encoding={field.name: "DELTA_BINARY_PACKED" for field in schema if field.type == TIME},
            write_page_checksum=True,
        )
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
