"""PostgreSQL: rows, indexed by shop and date, behind the service in `postgres_service.py`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.measure import Download, Run, download, run_command, stopwatch
from bench.peers import ENCODINGS, Contender
from bench.peers.processes import free_port, running
from bench.plan import TRACKPOINT
from smsevents.events import Event, Flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.dataset import Dataset
    from bench.peers import Encoding

NAME = "PostgreSQL"
VARIANTS = {"rows": "json.dumps a row", "chunks": "orjson, 1,000 rows"}

_COPY_BYTES = 1024 * 1024
_READ_LINES = 10_000
_TABLE = """
    DROP TABLE IF EXISTS events;
    CREATE TABLE events (
        trackpoint bigint NOT NULL, user_id text NOT NULL, status text NOT NULL, date bigint NOT NULL,
        type text NOT NULL, campaign_id text NOT NULL, campaign_name text NOT NULL,
        node_id text, node_name text, send_date bigint NOT NULL
    );
    CREATE INDEX events_of_shop ON events (trackpoint, date);
"""


def _programs() -> Path:
    """Give the folder of the newest PostgreSQL: Debian does not put `initdb` on the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = folders[-1] if folders else Path(shutil.which("initdb") or "").parent
    if not (found / "initdb").exists():
        raise FileNotFoundError("There is no PostgreSQL. scripts/install-bench-tools installs it.")
    return found


@contextmanager
def cluster(parent: Path) -> Iterator[str]:
    """Run a new cluster while the block runs; give how to connect to it. Commits are flushed, as by default."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port, programs = folder / "data", free_port(), _programs()
    control = [*as_user, str(programs / "pg_ctl"), "--silent", "-D", str(data)]
    initdb = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", "bench", "--auth", "trust", "-E", "UTF8"]
    run_command([*initdb, "--locale", "C"])
    options = (
        f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=on -c synchronous_commit=on"
        " -c shared_buffers=1GB -c max_wal_size=4GB"
    )
    run_command([*control, "-w", "-o", options, "-l", str(folder / "log"), "start"])
    try:
        yield f"host=127.0.0.1 port={port} user=bench dbname=postgres"
    finally:
        run_command([*control, "-w", "-m", "fast", "stop"])
        shutil.rmtree(folder)


def write_rows(lines: Path, rows: Path) -> None:
    """Turn lines into the text that COPY takes. Not timed: in the favour of PostgreSQL."""
    decoder = msgspec.json.Decoder(Event)
    with lines.open("rb") as source, rows.open("w", encoding="utf-8") as out:
        for line in source:
            event = decoder.decode(line)
            sms, of = event.smsEvent, event.source
            node = (of.node.id, of.node.name) if isinstance(of, Flow) else ("\\N", "\\N")
            kind = "flow" if isinstance(of, Flow) else "one-off"
            values = (sms.trackpoint, sms.userId, sms.status, sms.date, kind, of.campaign.id, of.campaign.name)
            out.write("\t".join(map(str, (*values, *node, of.sendDate))) + "\n")


def copy(conninfo: str, rows: Path) -> Run:
    """Make the table anew and COPY the rows into it, with its index in place, up to the commit."""
    import psycopg  # noqa: PLC0415 -- a peer, which only `make bench` installs

    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(_TABLE)
        with stopwatch() as taken, connection.cursor().copy("COPY events FROM STDIN") as into, rows.open("rb") as text:
            while part := text.read(_COPY_BYTES):
                into.write(part)
        connection.execute("VACUUM ANALYZE events")
    return Run(seconds=taken[0])


def bytes_on_disk(conninfo: str) -> int:
    """Tell what the table and its index take."""
    import psycopg  # noqa: PLC0415 -- as above

    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT pg_total_relation_size('events')").fetchone()
    return int(row[0]) if row else 0


@contextmanager
def contenders(data: Dataset, folder: Path) -> Iterator[list[Contender]]:
    """Store the rows and run the service, which gives them away in two ways."""
    folder.mkdir(parents=True)
    rows = folder / "rows.txt"
    write_rows(data.path, rows)
    port = free_port()
    with cluster(folder) as conninfo:
        copy(conninfo, rows)
        rows.unlink()
        command = [sys.executable, "-m", "uvicorn", "bench.peers.postgres_service:app", "--port", str(port)]
        command += ["--log-level", "warning", "--no-access-log"]
        environment = os.environ | {"BENCH_POSTGRES": conninfo}
        with running(command, folder / "service.log", f"{port}/", environment) as pid:

            def asked(way: str, encoding: Encoding) -> Download:
                interval = f"trackpoint={TRACKPOINT}&start={data.start_ms}&end={data.end_ms}"
                return Download(f"http://127.0.0.1:{port}/{way}?{interval}", encoding == "gzip")

            def export(way: str, encoding: Encoding) -> Run:
                return download(asked(way, encoding), pid)

            def save(way: str, encoding: Encoding, path: Path) -> None:
                download(asked(way, encoding), pid, path)

            yield [
                Contender(NAME, variant, encoding, partial(export, way, encoding), partial(save, way, encoding))
                for encoding in ENCODINGS
                for way, variant in VARIANTS.items()
            ]
