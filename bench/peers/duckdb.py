"""DuckDB over a Parquet file (zstd), writing JSON lines to /dev/null, without HTTP.

The columns are structs, as the lines are, so nothing has to be composed. The file is sorted and DuckDB keeps the order
of what it reads, so the export does not sort.
"""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.measure import Run
from bench.peers import ENCODINGS, Contender
from bench.peers.processes import own_process
from bench.plan import TRACKPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path

    from bench.dataset import Dataset
    from bench.peers import Encoding

NAME = "DuckDB"
VARIANT = "Parquet"

_COLUMNS = (
    "{smsEvent: 'STRUCT(trackpoint BIGINT, userId VARCHAR, status VARCHAR, date BIGINT)',"
    " source: 'STRUCT(type VARCHAR, campaign STRUCT(id VARCHAR, name VARCHAR),"
    " node STRUCT(id VARCHAR, name VARCHAR), sendDate BIGINT)'}"
)

_connection = None


def _start() -> None:
    """Open the engine, in the process that is its own."""
    import duckdb  # noqa: PLC0415 -- a peer, which only `make bench` installs

    global _connection  # noqa: PLW0603 -- one engine for all that this process is asked
    _connection = duckdb.connect()


def _run(query: str) -> Run:
    if _connection is None:
        raise RuntimeError("the engine is not open")
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    _connection.execute(query).fetchall()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds=seconds, cpu_seconds=round(used, 3))


@contextmanager
def engine() -> Iterator[ProcessPoolExecutor]:
    """Give the engine's process."""
    with own_process(_start) as process:
        yield process


def make_parquet(process: ProcessPoolExecutor, lines: Path, parquet: Path) -> int:
    """Write the lines as Parquet, compressed with zstd; tell its bytes."""
    parquet.parent.mkdir(parents=True, exist_ok=True)
    read = f"read_json('{lines}', format = 'newline_delimited', columns = {_COLUMNS})"
    process.submit(_run, f"COPY (SELECT * FROM {read}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)").result()
    return parquet.stat().st_size


@contextmanager
def contenders(data: Dataset, folder: Path) -> Iterator[list[Contender]]:
    """Write the Parquet file; then exports from it, with as many threads as there are cores."""
    parquet = folder / "events.parquet"
    with engine() as process:
        make_parquet(process, data.path, parquet)

        def copy(encoding: Encoding, path: str) -> Run:
            return process.submit(
                _run,
                f"COPY (SELECT * FROM '{parquet}' WHERE smsEvent.trackpoint = {TRACKPOINT}"
                f" AND smsEvent.date BETWEEN {data.start_ms} AND {data.end_ms})"
                f" TO '{path}' (FORMAT json, COMPRESSION {'gzip' if encoding == 'gzip' else 'none'})",
            ).result()

        def save(encoding: Encoding, path: Path) -> None:
            copy(encoding, str(path))

        yield [
            Contender(NAME, VARIANT, encoding, partial(copy, encoding, "/dev/null"), partial(save, encoding))
            for encoding in ENCODINGS
        ]
