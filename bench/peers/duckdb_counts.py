"""DuckDB as people would count with it: GROUP BY over a Parquet file (zstd), sorted by date, without HTTP.

The file has a column for each value, which is faster to read than the structs of the exports. It runs in this process,
which does nothing else meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.dataset import Dataset
from bench.measure import Figures, timed
from bench.peers.duckdb import FLAT
from bench.plan import TRACKPOINT

if TYPE_CHECKING:
    import duckdb

# The rule of docs/api.md, "The state of a message": a final state, then the newest, then DELIVERED.
_STATE = "arg_max(status, (status <> 'ACCEPTED', date, status = 'DELIVERED', status))"
_MESSAGE = "user_id, source_type, campaign_name, node_id, node_name, send_date"


@dataclass(frozen=True)
class Counter:
    """Counts over the file, in a closed interval (Unix ms)."""

    connection: "duckdb.DuckDBPyConnection"
    parquet: Path
    start_ms: int
    end_ms: int

    def overview(self, threads: int) -> tuple[dict[str, int], Figures]:
        """Count the events by day (UTC) and status: `2026-11-25 DELIVERED` → events."""
        query = f"SELECT date::DATE, status, count(*) {self._from('date')} GROUP BY 1, 2"
        rows, figures = self._timed(query, threads)
        return {f"{day} {status}": int(count) for day, status, count in rows}, figures

    def funnel(self, campaign: str, threads: int) -> tuple[dict[str, int], Figures]:
        """Count the messages of a campaign by their state: `DELIVERED` → messages."""
        messages = f"SELECT {_STATE} AS state {self._from('send_date')} AND campaign_id = '{campaign}'"
        query = f"SELECT state, count(*) FROM ({messages} GROUP BY {_MESSAGE}) GROUP BY 1"
        rows, figures = self._timed(query, threads)
        return {str(state): int(count) for state, count in rows}, figures

    def messages(self, threads: int) -> tuple[dict[str, int], Figures]:
        """Count all messages by the day (UTC) of sending and their state: `2026-11-25 DELIVERED` → messages."""
        messages = f"SELECT send_date::DATE AS day, {_STATE} AS state {self._from('send_date')} GROUP BY {_MESSAGE}"
        rows, figures = self._timed(f"SELECT day, state, count(*) FROM ({messages}) GROUP BY 1, 2", threads)
        return {f"{day} {state}": int(count) for day, state, count in rows}, figures

    def _from(self, axis: str) -> str:
        interval = f"make_timestamp_ms({self.start_ms}) AND make_timestamp_ms({self.end_ms})"
        return f"FROM '{self.parquet}' WHERE trackpoint = {TRACKPOINT} AND {axis} BETWEEN {interval}"

    def _timed(self, query: str, threads: int) -> tuple[list[tuple[Any, ...]], Figures]:
        self.connection.execute(f"SET threads = {threads}")
        return timed(lambda: self.connection.execute(query).fetchall())


@contextmanager
def opened(data: Dataset, folder: Path, start_ms: int) -> Iterator[Counter]:
    """Write the events into a Parquet file; then counts over it, from a time (Unix ms) to the end of the dataset."""
    import duckdb  # noqa: PLC0415 -- a peer, which only `make bench` installs

    folder.mkdir(parents=True)
    parquet = folder / "events.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({FLAT % data.path}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
        yield Counter(connection, parquet, start_ms, data.end_ms)
