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

from datetime import timedelta
from operator import lt
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from smsevents.client.dlt_source import DUCKDB, POSTGRES, TABLE, kind_of
from smsevents.client.warehouse_rows import ROWS, canonical_lines, rows_of
from smsevents.wire.times import EPOCH, is_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import dlt
    from dlt.common.schema.typing import TWriteDispositionConfig
    from dlt.destinations.sql_client import SqlClientBase

    from smsevents.client.lines import Batch

_ROWS_AT_ONCE = 64 * 1024
_MERGE: TWriteDispositionConfig = {"disposition": "merge", "strategy": "delete-insert"}
_INSERT: TWriteDispositionConfig = {"disposition": "merge", "strategy": "insert-only"}
_POSTGRES_WITH_MERGE = 150_000  # the first version that has the statement MERGE, by its number


class StepRows:
    """Rows in a Parquet file, and what is known about them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = pq.ParquetWriter(path, ROWS, compression="lz4")
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._last: tuple[int, bytes] | None = None
        self.rows = 0
        self.is_ordered = True
        self.first_ms = self.last_ms = 0  # the dates of the first and the last row, if the rows are ordered

    def add(self, batch: Batch) -> None:
        """Add the events of a batch."""
        lines = canonical_lines(batch)
        self._note(list(map(int, batch.columns.dates)), lines)
        self._held.append(rows_of(batch, lines))
        self._held_rows += len(lines)
        if self._held_rows >= _ROWS_AT_ONCE:
            self._write()

    def _note(self, dates: list[int], lines: list[bytes]) -> None:
        """Count rows, and check their order."""
        if not self.rows:
            self.first_ms = dates[0]
        self.rows += len(lines)
        self.last_ms = dates[-1]
        if self.is_ordered:
            entries = list(zip(dates, lines, strict=True))
            before = [self._last, *entries[:-1]] if self._last else entries[:-1]
            after = entries if self._last else entries[1:]
            self.is_ordered = all(map(lt, before, after))
            self._last = entries[-1]

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held, ROWS))
        self._held, self._held_rows = [], 0

    def finish(self) -> None:
        """Write the rest of the rows."""
        if self._held:
            self._write()
        self._writer.close()

    def read(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows."""
        with pq.ParquetFile(self._path) as file:
            yield from file.iter_batches(_ROWS_AT_ONCE)


def disposition_of(pipeline: dlt.Pipeline, trackpoint: int, step: StepRows) -> TWriteDispositionConfig:
    """Return how to load a step."""
    kind = kind_of(pipeline.destination)
    if kind not in {DUCKDB, POSTGRES} or not step.rows or not step.is_ordered:
        return _MERGE
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
