"""DuckDB over a Parquet file (zstd), writing JSON lines to /dev/null, without HTTP.

The columns are structs, as the lines are. The file is sorted and DuckDB keeps the order of what it reads, so the export
does not sort. It runs in this process, which does nothing else meanwhile, with as many threads as there are cores.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.dataset import Dataset
from bench.measure import Figures, timed
from bench.plan import ENCODINGS, TRACKPOINT, Encoding
from bench.systems import Peer

_COLUMNS = (
    "{smsEvent: 'STRUCT(trackpoint BIGINT, userId VARCHAR, status VARCHAR, date BIGINT)',"
    " source: 'STRUCT(type VARCHAR, campaign STRUCT(id VARCHAR, name VARCHAR),"
    " node STRUCT(id VARCHAR, name VARCHAR), sendDate BIGINT)'}"
)

# lines, read from the file of the first field, with a column for each value
FLAT = f"""
    SELECT smsEvent.trackpoint AS trackpoint, smsEvent.userId AS user_id, smsEvent.status AS status,
        make_timestamp_ms(smsEvent.date) AS date, source.type AS source_type, source.campaign.id AS campaign_id,
        source.campaign.name AS campaign_name, source.node.id AS node_id, source.node.name AS node_name,
        make_timestamp_ms(source.sendDate) AS send_date
    FROM read_json('%s', format = 'newline_delimited', columns = {_COLUMNS})
"""
_FLAT_IN_F_STRING = (FLAT % "/dev/stdin").replace("{", "{{").replace("}", "}}")
# a program that loads lines from its standard input into the file of its first argument, with the options of the second
LOAD_LINES = f"""
import sys, duckdb
duckdb.execute(f\"\"\"COPY ({_FLAT_IN_F_STRING}) TO '{{sys.argv[1]}}' ({{sys.argv[2]}})\"\"\")
"""


@contextmanager
def opened(data: Dataset, folder: Path) -> Iterator[Peer]:
    """Write the events into a Parquet file; then exports from it."""
    import duckdb  # noqa: PLC0415 -- a peer, which only `make bench` installs

    folder.mkdir(parents=True)
    parquet = folder / "events.parquet"
    lines = f"read_json('{data.path}', format = 'newline_delimited', columns = {_COLUMNS})"
    with duckdb.connect() as connection:

        def export(encoding: Encoding, path: Path) -> Figures:
            query = (
                f"COPY (SELECT * FROM '{parquet}' WHERE smsEvent.trackpoint = {TRACKPOINT}"
                f" AND smsEvent.date BETWEEN {data.start_ms} AND {data.end_ms})"
                f" TO '{path}' (FORMAT json, COMPRESSION {'gzip' if encoding == 'gzip' else 'none'})"
            )
            return timed(lambda: connection.execute(query).fetchall())[1]

        connection.execute(f"COPY (FROM {lines}) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
        ways = {("Parquet", encoding): partial(export, encoding) for encoding in ENCODINGS}
        yield Peer("DuckDB", ways, sizes=lambda: {"Parquet, zstd": parquet.stat().st_size})
