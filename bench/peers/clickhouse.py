"""ClickHouse, as chDB: the engine in a process of its own, without HTTP: its output never crosses a socket.

The columns are named tuples, so that JSONEachRow reads and writes the nested objects as they are. What repeats is
LowCardinality. The rows are sorted by shop and date. Inserts are flushed to the disk before they end.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Figures, timed
from bench.plan import ENCODINGS, TRACKPOINT, Encoding
from bench.systems import Peer

_CODECS = {"LZ4, the default": "", "ZSTD(3)": ", default_compression_codec = 'ZSTD(3)'"}
_LOW = "LowCardinality(String)"
_MAYBE = "LowCardinality(Nullable(String))"
_COLUMNS = (
    f"smsEvent Tuple(trackpoint Int64, userId String, status {_LOW}, date Int64),"
    f" source Tuple(type {_LOW}, campaign Tuple(id {_LOW}, name {_LOW}), node Tuple(id {_MAYBE}, name {_MAYBE}),"
    " sendDate Int64)"
)
_COMPRESSION: dict[Encoding, str] = {"gzip": "COMPRESSION 'gzip'", "plain": ""}
_THREADS = {"1 thread": 1, "2 threads": 2}


_query: Callable[[str], object] | None = None


def _open(folder: str) -> None:
    from chdb.session import Session  # noqa: PLC0415 -- a peer, which only `make bench` installs

    global _query  # noqa: PLW0603 -- one engine is all that a process may have
    _query = Session(folder).query


def _ask(query: str) -> tuple[str, Figures]:
    ask = _query
    if ask is None:
        raise RuntimeError("the engine is not open")
    return timed(lambda: str(ask(query)))


@contextmanager
def opened(data: Dataset, folder: Path) -> Iterator[Peer]:
    """Insert the events and merge the parts to one; then exports with one thread and with two."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(1, get_context("spawn"), _open, (str(folder),)) as process:

        def ask(query: str) -> tuple[str, Figures]:
            return process.submit(_ask, query).result()

        def insert(codec: str = "") -> Figures:
            ask("DROP TABLE IF EXISTS events SYNC")
            ask(
                f"CREATE TABLE events ({_COLUMNS}) ENGINE = MergeTree ORDER BY (smsEvent.trackpoint, smsEvent.date)"
                f" SETTINGS fsync_after_insert = 1, fsync_part_directory = 1{codec}"
            )
            source = f"file('{data.path}', 'JSONEachRow', '{_COLUMNS}')"
            return ask(f"INSERT INTO events SELECT * FROM {source} SETTINGS max_threads = 2, max_insert_threads = 2")[1]

        def merge() -> int:
            ask("OPTIMIZE TABLE events FINAL")
            return int(ask("SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 'events' AND active")[0])

        def sizes() -> dict[str, int]:
            found = {}
            for name, codec in _CODECS.items():
                insert(codec)
                found[name] = merge()
            return found

        def export(threads: int, encoding: Encoding, path: Path) -> Figures:
            return ask(
                f"SELECT * FROM events WHERE smsEvent.trackpoint = {TRACKPOINT}"
                f" AND smsEvent.date BETWEEN {data.start_ms} AND {data.end_ms} ORDER BY smsEvent.date"
                f" INTO OUTFILE '{path}' TRUNCATE {_COMPRESSION[encoding]}"
                f" FORMAT JSONEachRow SETTINGS max_threads = {threads},"
                " output_format_json_skip_null_value_in_named_tuples = 1"
            )[1]

        insert()
        merge()
        ways = {(name, of): partial(export, threads, of) for of in ENCODINGS for name, threads in _THREADS.items()}
        yield Peer("ClickHouse", ways, {("insert of JSON lines", "plain"): insert}, sizes)
