"""One step of a sync: its rows in a file until they are loaded, and how to load them.

| what is known | how they are loaded |
|---|---|
| the rows are in strict order, and the table has no row of the shop in their time | appended |
| the rows are in strict order | inserted where the table does not have them |
| nothing | inserted in place of equal ones, each once |

Rows in strict order are unique. After a sync that was killed, the table has rows that the state does not know of, so
the second way is taken. The first two are for warehouses where they are tested; all others merge as dlt does by
default.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from operator import lt
from typing import TYPE_CHECKING, Any

import dlt
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from smsevents.client.dlt_source import DUCKDB, POSTGRES, TABLE, bookkeeping, kind_of
from smsevents.client.gathered import ROWS_MIN
from smsevents.client.warehouse_rows import ROWS, canonical_lines, rows_of
from smsevents.wire.times import EPOCH, TIME_MAX_MS, TIME_MIN_MS, is_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dlt.common.destination import Destination
    from dlt.common.schema.typing import TWriteDispositionConfig
    from dlt.destinations.sql_client import SqlClientBase

    from smsevents.client.lines import Batch

# the driver of PostgreSQL holds a complete file in memory: this is about 40 MiB
FILE_ROWS_MIN = 128 * 1024

_MERGE: TWriteDispositionConfig = {"disposition": "merge", "strategy": "delete-insert"}
_INSERT: TWriteDispositionConfig = {"disposition": "merge", "strategy": "insert-only"}
_POSTGRES_WITH_MERGE = 150_000  # the first version that has the statement MERGE, by its number


class StepRows:
    """Rows in Parquet files, and what is known about them."""

    def __init__(self, folder: Path, destination: Destination[Any, Any] | None) -> None:
        """Keep the rows in a new folder until they are loaded into a destination."""
        folder.mkdir()
        self._folder = folder
        self._kind = kind_of(destination)
        self._writer: pq.ParquetWriter | None = None
        self._files: list[tuple[Path, int]] = []  # and how many rows each has
        self._last: tuple[int, bytes] | None = None
        self.rows = 0
        self.is_ordered = True
        self.first_ms = self.last_ms = 0  # the dates of the first and the last row
        self.oldest_ms, self.newest_ms = TIME_MAX_MS, TIME_MIN_MS  # of the dates that are possible times

    def add(self, batches: Sequence[Batch]) -> None:
        """Add the events of batches."""
        lines = canonical_lines(batches)
        self._note([int(date) for batch in batches for date in batch.columns.dates], lines)
        if self._writer is None:
            path = self._folder / f"{len(self._files)}.parquet"
            # the identities are random: a dictionary of them would only cost time
            self._writer = pq.ParquetWriter(path, ROWS, compression="lz4", use_dictionary=list(ROWS.names[1:]))
            self._files.append((path, 0))
        self._writer.write_batch(rows_of(batches, lines))
        path, rows = self._files[-1]
        self._files[-1] = path, rows + len(lines)
        # DuckDB streams a file of any size, and from a single one it stores the rows in their order
        if rows + len(lines) >= FILE_ROWS_MIN and self._kind != DUCKDB:
            self.finish()

    def finish(self) -> None:
        """Complete the current file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder)

    def _note(self, dates: list[int], lines: list[bytes]) -> None:
        """Count rows, and check their order."""
        if not self.rows:
            self.first_ms = dates[0]
        self.rows += len(lines)
        self.last_ms = dates[-1]
        self.oldest_ms = min(self.oldest_ms, max(min(dates), TIME_MIN_MS))
        self.newest_ms = max(self.newest_ms, min(max(dates), TIME_MAX_MS))
        if self.is_ordered:
            entries = list(zip(dates, lines, strict=True))
            before = [self._last, *entries[:-1]] if self._last else entries[:-1]
            self.is_ordered = all(map(lt, before, entries if self._last else entries[1:]))
            self._last = entries[-1]

    def items(self) -> Iterator[Any]:
        """Yield all rows for dlt, in a running source: the files themselves where it can load them as they are."""
        for path, rows in self._files:
            if self._kind in {DUCKDB, POSTGRES} and not bookkeeping():
                yield dlt.mark.with_file_import(str(path), "parquet", rows)
            else:
                with pq.ParquetFile(path) as file:
                    yield from file.iter_batches(ROWS_MIN)


def disposition_of(pipeline: dlt.Pipeline, trackpoint: int, step: StepRows) -> TWriteDispositionConfig:
    """Return how to load a step."""
    kind = kind_of(pipeline.destination)
    if kind not in {DUCKDB, POSTGRES} or not step.is_ordered:
        return _MERGE
    if not step.rows:
        return "append"
    with pipeline.sql_client() as client:
        if is_time(step.first_ms) and is_time(step.last_ms) and not _has_rows(client, trackpoint, step):
            return "append"
        if kind == POSTGRES and _version(client) < _POSTGRES_WITH_MERGE:
            return _MERGE
    return _INSERT


def _has_rows(client: SqlClientBase[object], trackpoint: int, step: StepRows) -> bool:
    table, date, shop = client.make_qualified_table_name(TABLE), *map(client.escape_column_name, ("date", "trackpoint"))
    first, last = (EPOCH + timedelta(milliseconds=one) for one in (step.first_ms, step.last_ms))
    query = f"SELECT 1 FROM {table} WHERE {shop} = %s AND {date} BETWEEN %s AND %s LIMIT 1"  # noqa: S608 -- our names
    try:
        return bool(client.execute_sql(query, trackpoint, first, last))
    except DatabaseUndefinedRelation:
        return False


def _version(client: SqlClientBase[object]) -> int:
    found = client.execute_sql("SHOW server_version_num")
    return int(found[0][0]) if found else 0
