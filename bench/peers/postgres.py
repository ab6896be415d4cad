"""PostgreSQL: rows, indexed by shop and date, behind the service in `postgres_service.py`."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from bench.dataset import Dataset
from bench.measure import Figures, curl, run
from bench.plan import ENCODINGS, TRACKPOINT
from bench.systems import Peer, free_port, running

_WAYS = {"json.dumps a row": "rows", "orjson, 1,000 rows": "chunks"}
_NO_NODE = {"id": "\\N", "name": "\\N"}  # null to COPY
_TABLE = Path(__file__).with_suffix(".sql")


@contextmanager
def cluster(parent: Path) -> Iterator[str]:
    """Run a new cluster while the block runs; yield how to connect to it. Commits are flushed, as by default."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    # Debian does not put these programs on the PATH
    programs = run(["sh", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1"])[0].strip()
    data, port = folder / "data", free_port()
    run([*as_user, f"{programs}/initdb", "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale", "C"])
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c shared_buffers=1GB -c max_wal_size=4GB"
    control = [*as_user, f"{programs}/pg_ctl", "--silent", "-D", str(data), "-w"]
    run([*control, "-o", options, "-l", str(folder / "log"), "start"])
    try:
        yield f"host=127.0.0.1 port={port} user=bench dbname=postgres"
    finally:
        run([*control, "-m", "fast", "stop"])
        shutil.rmtree(folder)


def _write_rows(lines: Path, rows: Path) -> None:
    """Turn lines into the text that COPY takes. Not timed: in the favour of PostgreSQL."""
    with lines.open("rb") as source, rows.open("w", encoding="utf-8") as out:
        for line in source:
            event = msgspec.json.decode(line)
            sms, of = event["smsEvent"], event["source"]
            values = [sms["trackpoint"], sms["userId"], sms["status"], sms["date"], of["type"]]
            values += [*of["campaign"].values(), *of.get("node", _NO_NODE).values()]
            out.write("\t".join(map(str, (*values, of["sendDate"]))) + "\n")


@contextmanager
def opened(data: Dataset, folder: Path) -> Iterator[Peer]:
    """Store the rows and run the service, which exports them in two ways."""
    folder.mkdir(parents=True)
    rows = folder / "rows.txt"
    _write_rows(data.path, rows)
    port = free_port()
    with cluster(folder) as connection:

        def ask(query: str) -> tuple[str, Figures]:
            return run(["psql", connection, "--quiet", "--tuples-only", "--command", query])

        def copy() -> Figures:
            ask(_TABLE.read_text())
            seconds = ask(f"\\copy events FROM '{rows}'")[1]["seconds"]  # up to the commit, with the index in place
            ask("VACUUM ANALYZE events")
            return {"seconds": seconds}

        copy()
        command = [sys.executable, "-m", "uvicorn", "bench.peers.postgres_service:app", "--port", str(port)]
        command += ["--log-level", "warning", "--no-access-log"]
        environment = os.environ | {"BENCH_POSTGRES": connection}
        with running(command, folder / "service.log", f"{port}/", environment) as pid:
            url = f"http://127.0.0.1:{port}/%s?trackpoint={TRACKPOINT}&start={data.start_ms}&end={data.end_ms}"
            ways = {(name, one): (url % way, one) for one in ENCODINGS for name, way in _WAYS.items()}
            exports = {way: partial(curl, pid, *asked) for way, asked in ways.items()}
            size = int(ask("SELECT pg_total_relation_size('events')")[0])
            yield Peer("PostgreSQL", exports, {("COPY of ready rows", "plain"): copy}, lambda: {"with its index": size})
