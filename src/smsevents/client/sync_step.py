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
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dlt
import numpy as np
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from smsevents.client.arrow_lines import dates_of
from smsevents.client.dlt_source import DUCKDB, POSTGRES, TABLE, bookkeeping, kind_of
from smsevents.client.gathered import ROWS_MIN
from smsevents.client.warehouse_rows import ROWS, canonical_lines, rows_of
from smsevents.wire.times import EPOCH, TIME_MAX_MS, TIME_MIN_MS, is_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from dlt.common.destination import Destination
    from dlt.common.schema.typing import TWriteDispositionConfig
    from dlt.destinations.sql_client import SqlClientBase

    from smsevents.client.line_parts import Numbers
    from smsevents.client.lines import Batch

# the driver of PostgreSQL holds a complete file in memory: this is about 40 MiB
FILE_ROWS_MIN = 128 * 1024

# a file is read once, from this disk: without compression, statistics, and dictionaries of what hardly repeats, writing
# and reading take half the processor time, and an eighth more space
_REPEATED = ["trackpoint", "status", "source_type", "campaign_id", "campaign_name", "node_id", "node_name"]
_FAST: dict[str, Any] = {"compression": "none", "use_dictionary": _REPEATED, "write_statistics": False}

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

    def add_all(self, received: Iterable[Sequence[Batch]]) -> None:
        """Add the events of lists of batches, each list while the next one is received, and complete the files."""
        with ThreadPoolExecutor(1, "smsevents-rows") as beside:
            adding: Future[None] | None = None
            for batches in received:
                if adding:
                    adding.result()  # so no more than two lists are held
                adding = beside.submit(self._add, batches)
            if adding:
                adding.result()
        self._finish()

    def _add(self, batches: Sequence[Batch]) -> None:
        lines = canonical_lines(batches)
        self._note(dates_of(batches), lines)
        if self._writer is None:
            path = self._folder / f"{len(self._files)}.parquet"
            self._writer = pq.ParquetWriter(path, ROWS, **_FAST)
            self._files.append((path, 0))
        self._writer.write_batch(rows_of(batches, lines))
        path, rows = self._files[-1]
        self._files[-1] = path, rows + len(lines)
        # DuckDB streams a file of any size, and from a single one it stores the rows in their order
        if rows + len(lines) >= FILE_ROWS_MIN and self._kind != DUCKDB:
            self._finish()

    def _finish(self) -> None:
        """Complete the current file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder)

    def _note(self, dates: Numbers, lines: list[bytes]) -> None:
        """Count rows, and check their order."""
        first_ms, last_ms = int(dates[0]), int(dates[-1])
        if not self.rows:
            self.first_ms = first_ms
        self.rows += len(lines)
        self.last_ms = last_ms
        self.oldest_ms = min(self.oldest_ms, max(int(dates.min()), TIME_MIN_MS))
        self.newest_ms = max(self.newest_ms, min(int(dates.max()), TIME_MAX_MS))
        if self.is_ordered:
            self.is_ordered = (self._last is None or self._last < (first_ms, lines[0])) and _is_ordered(dates, lines)
            self._last = last_ms, lines[-1]

    def items(self) -> Iterator[Any]:
        """Yield all rows for dlt, in a running source: the files themselves where it can load them as they are."""
        for path, rows in self._files:
            if self._kind in {DUCKDB, POSTGRES} and not bookkeeping():
                yield dlt.mark.with_file_import(str(path), "parquet", rows)
            else:
                with pq.ParquetFile(path) as file:
                    yield from file.iter_batches(ROWS_MIN)


def _is_ordered(dates: Numbers, lines: Sequence[bytes]) -> bool:
    """Return whether events are in strict order, by date and then by line."""
    if bool((dates[1:] < dates[:-1]).any()):
        return False
    # nearly all dates differ, so hardly a line has to be compared
    ties: list[int] = np.flatnonzero(dates[1:] == dates[:-1]).tolist()
    return all(lines[at] < lines[at + 1] for at in ties)


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
