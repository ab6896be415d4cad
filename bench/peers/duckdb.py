"""DuckDB over a Parquet file (zstd), writing JSON lines to /dev/null, without HTTP.

The columns are structs, as the lines are, so nothing has to be composed. The file is sorted and DuckDB keeps the order
of what it reads, so the export does not sort. It uses as many threads as there are cores.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Figures
from bench.peers import ENCODINGS, Encoding, Peer
from bench.plan import TRACKPOINT
from bench.processes import engine

_COLUMNS = (
    "{smsEvent: 'STRUCT(trackpoint BIGINT, userId VARCHAR, status VARCHAR, date BIGINT)',"
    " source: 'STRUCT(type VARCHAR, campaign STRUCT(id VARCHAR, name VARCHAR),"
    " node STRUCT(id VARCHAR, name VARCHAR), sendDate BIGINT)'}"
)


def _start(place: str) -> Callable[[str], object]:
    import duckdb  # noqa: PLC0415 -- a peer, which only `make bench` installs

    connection = duckdb.connect(place)
    return lambda query: connection.execute(query).fetchall()


@contextmanager
def opened(data: Dataset, folder: Path) -> Iterator[Peer]:
    """Write the events into a Parquet file; then exports from it."""
    folder.mkdir(parents=True)
    parquet = folder / "events.parquet"
    lines = f"read_json('{data.path}', format = 'newline_delimited', columns = {_COLUMNS})"
    with engine(_start, ":memory:") as ask:

        def export(encoding: Encoding, path: Path) -> Figures:
            return ask(
                f"COPY (SELECT * FROM '{parquet}' WHERE smsEvent.trackpoint = {TRACKPOINT}"
                f" AND smsEvent.date BETWEEN {data.start_ms} AND {data.end_ms})"
                f" TO '{path}' (FORMAT json, COMPRESSION {'gzip' if encoding == 'gzip' else 'none'})"
            )[1]

        ask(f"COPY (FROM {lines}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
        ways = {("Parquet", encoding): partial(export, encoding) for encoding in ENCODINGS}
        yield Peer("DuckDB", ways, sizes=lambda: {"Parquet, zstd": parquet.stat().st_size})
