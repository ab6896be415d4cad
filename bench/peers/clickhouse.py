"""ClickHouse, as chDB: the engine in a process of its own, without a server, without HTTP.

That is in its favour: it writes to /dev/null, from its own threads, and its output never crosses a socket.

The table has the columns `smsEvent` and `source` as named tuples, so that JSONEachRow reads and writes the nested
objects as they are, with nothing to rename or to compose for each row. What repeats is LowCardinality. The rows are
sorted by shop and date, so an export needs no sorting. Inserts are flushed to the disk before they end.
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

NAME = "ClickHouse"

_LOW = "LowCardinality(String)"
_MAYBE = "LowCardinality(Nullable(String))"
_COLUMNS = (
    f"smsEvent Tuple(trackpoint Int64, userId String, status {_LOW}, date Int64),"
    f" source Tuple(type {_LOW}, campaign Tuple(id {_LOW}, name {_LOW}), node Tuple(id {_MAYBE}, name {_MAYBE}),"
    " sendDate Int64)"
)
_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"

_session = None


def _start(folder: str) -> None:
    """Open the engine, in the process that is its own."""
    from chdb.session import Session  # noqa: PLC0415 -- a peer, which only `make bench` installs

    global _session  # noqa: PLW0603 -- one engine in a process is all that chDB allows
    _session = Session(folder)


def _ask(query: str) -> str:
    if _session is None:
        raise RuntimeError("the engine is not open")
    return str(_session.query(query))


def _timed(query: str) -> Run:
    before, started = _cpu_seconds(), time.perf_counter()
    _ask(query)
    return Run(seconds=time.perf_counter() - started, cpu_seconds=round(_cpu_seconds() - before, 3))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def engine(folder: Path) -> Iterator[ProcessPoolExecutor]:
    """Give the engine's process, with its files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with own_process(_start, str(folder)) as process:
        yield process


def make_table(process: ProcessPoolExecutor, name: str = "events", codec: str = "") -> None:
    """Make the table, empty; `codec` compresses all its columns instead of the engine's default."""
    settings = _DURABLE + (f", default_compression_codec = '{codec}'" if codec else "")
    process.submit(_ask, f"DROP TABLE IF EXISTS {name} SYNC").result()
    process.submit(
        _ask,
        f"CREATE TABLE {name} ({_COLUMNS}) ENGINE = MergeTree ORDER BY (smsEvent.trackpoint, smsEvent.date)"
        f" SETTINGS {settings}",
    ).result()


def insert(process: ProcessPoolExecutor, lines: Path, name: str = "events", threads: int = 2) -> Run:
    """Insert a file of lines, durably; tell how long the engine took."""
    query = (
        f"INSERT INTO {name} SELECT * FROM file('{lines}', 'JSONEachRow', '{_COLUMNS}')"
        f" SETTINGS max_threads = {threads}, max_insert_threads = {threads}"
    )
    return process.submit(_timed, query).result()


def bytes_on_disk(process: ProcessPoolExecutor, name: str = "events") -> int:
    """Merge the parts of a table and tell what they take on the disk."""
    process.submit(_ask, f"OPTIMIZE TABLE {name} FINAL").result()
    parts = f"SELECT sum(bytes_on_disk) FROM system.parts WHERE table = '{name}' AND active"
    return int(process.submit(_ask, parts).result())


def _select(data: Dataset, path: str, encoding: Encoding, threads: int) -> str:
    compression = "COMPRESSION 'gzip'" if encoding == "gzip" else ""
    return (
        f"SELECT * FROM events WHERE smsEvent.trackpoint = {TRACKPOINT}"
        f" AND smsEvent.date BETWEEN {data.start_ms} AND {data.end_ms} ORDER BY smsEvent.date"
        f" INTO OUTFILE '{path}' TRUNCATE {compression} FORMAT JSONEachRow"
        f" SETTINGS max_threads = {threads}, output_format_json_skip_null_value_in_named_tuples = 1"
    )


@contextmanager
def contenders(data: Dataset, folder: Path) -> Iterator[list[Contender]]:
    """Insert the events and merge the parts to one; then exports with one thread and with two."""
    with engine(folder) as process:
        make_table(process)
        insert(process, data.path)
        bytes_on_disk(process)

        def export(encoding: Encoding, threads: int) -> Run:
            return process.submit(_timed, _select(data, "/dev/null", encoding, threads)).result()

        def save(encoding: Encoding, threads: int, path: Path) -> None:
            process.submit(_ask, _select(data, str(path), encoding, threads)).result()

        yield [
            Contender(
                NAME,
                "1 thread" if threads == 1 else f"{threads} threads",
                encoding,
                partial(export, encoding, threads),
                partial(save, encoding, threads),
            )
            for encoding in ENCODINGS
            for threads in (1, 2)
        ]
