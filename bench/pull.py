"""`smsevents pull` of 90 days to Parquet, beside curl piped into DuckDB; and the proof that both have all events.

    uv run bench/pull.py

Makes a shop with two million invented events of 89 days, serves it, and in turns pulls it with `smsevents pull`
(a file a day, sorted, each line checked) and with curl and DuckDB (one file, whatever came). DuckDB then compares
the rows of both with the lines that were stored: the same count, the same set. Prints the medians of the time and of
the processor's time, the highest peak of memory (of the largest process; curl's is negligible), the size of the
files, and what a second pull costs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import duckdb

from smsevents.access import Access
from smsevents.catalog import open_catalog
from smsevents.clock import now_ms
from smsevents.generate import generate
from smsevents.intake import Intake
from smsevents.log import Log

TRACKPOINT = 7
EVENTS = int(os.environ.get("BENCH_EVENTS", "2000000"))
DAYS = 89  # so that the oldest is still in the history when the last run is done
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
PORT = 8765
START_MAX_SECONDS = 30

READ_LINES = """
    SELECT smsEvent.trackpoint AS trackpoint, smsEvent.userId AS user_id, smsEvent.status AS status,
        smsEvent.date AS date, source.type AS source_type, source.campaign.id AS campaign_id,
        source.campaign.name AS campaign_name, source.node.id AS node_id, source.node.name AS node_name,
        source.sendDate AS send_date
    FROM read_json('{path}', format = 'newline_delimited', columns = {{
        smsEvent: 'STRUCT(trackpoint BIGINT, userId VARCHAR, status VARCHAR, date BIGINT)',
        source: 'STRUCT("type" VARCHAR, campaign STRUCT(id VARCHAR, "name" VARCHAR),
            node STRUCT(id VARCHAR, "name" VARCHAR), sendDate BIGINT)'
    }})
"""
READ_PULLED = """
    SELECT * REPLACE (epoch_ms(date) AS date, epoch_ms(send_date) AS send_date) FROM read_parquet('{path}/*.parquet')
"""
READ_PARQUET = "SELECT * FROM read_parquet('{path}')"


class Run(NamedTuple):
    """What one run cost."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def fill(folder: Path) -> str:
    """Store the events, keep the same lines in a file to compare with; give a key."""
    database = open_catalog(f"sqlite:///{folder}/log.db")
    access = Access(database)
    access.add_shop(TRACKPOINT, "")
    with (
        Intake(TRACKPOINT, now_ms(), gzip=False, lines_max_mib=10_000) as intake,
        (folder / "lines.jsonl").open("wb") as file,
    ):
        for line in generate(TRACKPOINT, events=EVENTS, days=DAYS, seed=1, end_ms=now_ms()):
            file.write(line + b"\n")
            intake.feed(line + b"\n")
        intake.finish()
        Log(database).append(TRACKPOINT, intake.segments()).result()
    key = access.create_key(TRACKPOINT, ["export"])
    database.close()
    return key


def measured(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command; raise if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def curl_into_duckdb(url: str, target: Path) -> list[str]:
    """Give the command that a person would write who has curl and DuckDB."""
    copy = f"COPY ({READ_LINES.format(path='/dev/stdin')}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    program = f"import duckdb; duckdb.sql({copy!r})"
    address = f"{url}/shop/{TRACKPOINT}/export-sms-events"
    curl = f"curl -sSf --compressed -d '{{}}' -H \"X-Api-Key: $SMSEVENTS_API_KEY\" {address}"
    return ["sh", "-c", f"set -e; {curl} | {shlex.quote(sys.executable)} -c {shlex.quote(program)}"]


def differences(one: str, other: str) -> tuple[int, int, int]:
    """Give the number of rows of one, and of those that only one of the two has."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE one AS {one}; CREATE TABLE other AS {other}")
        counts = [
            connection.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0]
            for query in ("FROM one", "FROM one EXCEPT ALL FROM other", "FROM other EXCEPT ALL FROM one")
        ]
    return counts[0], counts[1], counts[2]


def size_mb(path: Path) -> float:
    """Tell the size of a file or of the files in a directory."""
    files = [path] if path.is_file() else path.glob("*.parquet")
    return sum(file.stat().st_size for file in files) / 1e6


def wait_for(url: str) -> None:
    """Wait until the server is ready."""
    deadline = time.monotonic() + START_MAX_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/health/ready", timeout=5).close()  # noqa: S310 -- our own server
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def measure(folder: Path, environment: dict[str, str]) -> None:
    """Run both in turns, compare what they have, print the figures."""
    url = environment["SMSEVENTS_URL"]
    smsevents = [sys.executable, "-m", "smsevents"]
    pulled, piped = folder / "pulled", folder / "piped.parquet"
    words = [*smsevents, "pull", str(TRACKPOINT), str(pulled), "--format", "parquet"]
    runs: dict[str, list[Run]] = {"smsevents pull": [], "the same again": [], "curl | DuckDB": []}
    for _ in range(RUNS):
        shutil.rmtree(pulled, ignore_errors=True)
        runs["smsevents pull"].append(measured(words, environment))
        runs["the same again"].append(measured(words, environment))
        runs["curl | DuckDB"].append(measured(curl_into_duckdb(url, piped), environment))
    lines = READ_LINES.format(path=folder / "lines.jsonl")
    print(f"{EVENTS:,} events were stored")
    for name, query in (("pulled", READ_PULLED.format(path=pulled)), ("piped", READ_PARQUET.format(path=piped))):
        count, more, less = differences(query, lines)
        print(f"{name}: {count:,} rows, {more} that were not stored, {less} missing")
    for name, some in runs.items():
        seconds, cpu_seconds = (statistics.median(column) for column in list(zip(*some, strict=True))[:2])
        peak_mb = max(run.peak_mb for run in some)
        print(f"{name:16}{seconds:7.1f} s {cpu_seconds:7.1f} s of processor {peak_mb:7.0f} MB at the peak")
    print(f"files: {size_mb(pulled):.1f} MB pulled, {size_mb(piped):.1f} MB piped")


def main() -> None:
    """Fill, serve, measure."""
    with tempfile.TemporaryDirectory(prefix="smsevents-bench-") as name:
        folder = Path(name)
        environment = os.environ | {
            "SMSEVENTS_DATABASE": f"sqlite:///{folder}/log.db",
            "SMSEVENTS_URL": f"http://127.0.0.1:{PORT}",
            "SMSEVENTS_API_KEY": fill(folder),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "smsevents", "serve", "--port", str(PORT)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(environment["SMSEVENTS_URL"])
            measure(folder, environment)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
