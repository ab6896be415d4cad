"""`smsevents sync` into DuckDB and PostgreSQL, beside `curl | DuckDB` and `COPY` of the same rows."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.dataset import dataset, generated, now_ms
from bench.measure import CommandFailed, Figures, memory_bytes, run, stopwatch, take_turns
from bench.peers.postgres import cluster
from bench.peers.smsevents import COMMAND, Server, Store, served
from bench.plan import DAY_MS, SPAN_DAYS, TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Row, row

_POLL_SECONDS = 0.02
_COLUMNS = (
    "{smsEvent: 'STRUCT(trackpoint BIGINT, userId VARCHAR, status VARCHAR, date BIGINT)',"
    " source: 'STRUCT(type VARCHAR, campaign STRUCT(id VARCHAR, name VARCHAR),"
    " node STRUCT(id VARCHAR, name VARCHAR), sendDate BIGINT)'}"
)
# what one types who has curl and DuckDB: the columns of the lines, typed, without the identity of the event
_DUCKDB = (
    "CREATE TABLE events AS SELECT smsEvent.trackpoint, smsEvent.userId AS user_id, smsEvent.status,"
    " make_timestamptz(smsEvent.date * 1000) AS date, source.type AS source_type, source.campaign.id AS campaign_id,"
    " source.campaign.name AS campaign_name, source.node.id AS node_id, source.node.name AS node_name,"
    " make_timestamptz(source.sendDate * 1000) AS send_date"
    f" FROM read_json('/dev/stdin', format = 'newline_delimited', columns = {_COLUMNS})"
)
_IN_DUCKDB = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute(sys.argv[2])"
_EMPTY_RUN = (
    "import os, sys, tempfile; os.environ['RUNTIME__DLTHUB_TELEMETRY'] = 'false'; import dlt;"
    " target = dlt.destinations.duckdb(sys.argv[1]) if sys.argv[1:] else 'postgres';"
    " nothing = dlt.resource([], name='nothing', columns={'a': {'data_type': 'text'}});"
    " dlt.pipeline('nothing', pipelines_dir=tempfile.mkdtemp(dir=os.environ['HOME']), destination=target,"
    " dataset_name='nothing').run(nothing)"
)
_NEW_EVENTS, _NEW_DAYS = 100, 1
_ROWS = "SELECT * FROM sms.sms_events"


def _watched(command: Sequence[str], environment: Mapping[str, str]) -> Figures:
    """Run a program; return what it took, and the most memory of it and all that it started. Raises `CommandFailed`."""
    most = 0
    with stopwatch() as figures, subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            with suppress(OSError, IndexError):  # one of them has just ended
                most = max(most, memory_bytes(process.pid))
            time.sleep(_POLL_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CommandFailed(f"{' '.join(command)} failed with {process.returncode}")
    return figures | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_memory_bytes": most}


class _Syncs:
    """What is measured, each into an empty warehouse or again into a full one."""

    def __init__(self, folder: Path, store: Store, server: Server, key: str, end_ms: int) -> None:
        self._folder = folder
        self._store = store
        self._url = f"http://127.0.0.1:{server.port}"
        self._key = key
        self._end_ms = end_ms
        self._environment = os.environ | {"SMSEVENTS_API_KEY": key, "HOME": str(folder)}
        self.ways: dict[tuple[str, str], Callable[[], Figures]] = {}

    def _sync(self, destination: str) -> Figures:
        command = [*COMMAND, "sync", str(TRACKPOINT), "--url", self._url, "--destination", destination, "--json"]
        return _watched(command, self._environment)

    def _sync_new(self, destination: str) -> Figures:
        """Sync after some events of the last day were recorded. Recording them is not measured."""
        lines = self._folder / "new.jsonl"
        with lines.open("wb") as out:
            out.writelines(generated(TRACKPOINT, _NEW_EVENTS, now_ms(), _NEW_DAYS))
        self._store.command("import", str(TRACKPOINT), str(lines))
        return self._sync(destination)

    def add_duckdb(self) -> None:
        """Add DuckDB."""
        typed, synced = self._folder / "typed.duckdb", self._folder / "synced.duckdb"
        same, empty = self._folder / "same.duckdb", self._folder / "empty.duckdb"

        def by_hand() -> Figures:
            typed.unlink(missing_ok=True)
            interval = f'{{"from":{self._end_ms - (SPAN_DAYS + 1) * DAY_MS},"to":{self._end_ms}}}'
            address = f"{self._url}/shop/{TRACKPOINT}/export-sms-events"
            curl = f"curl -sf --compressed -H 'X-Api-Key: {self._key}' -d '{interval}' {address}"
            words = ["sh", "-c", f'{curl} | "$@"', "sh", sys.executable, "-c", _IN_DUCKDB, str(typed), _DUCKDB]
            return _watched(words, self._environment) | {"stored_bytes": typed.stat().st_size}

        def first() -> Figures:
            synced.unlink(missing_ok=True)
            return self._sync(f"duckdb:///{synced}") | {"stored_bytes": synced.stat().st_size}

        def same_columns() -> Figures:
            same.unlink(missing_ok=True)
            statement = (
                f"ATTACH '{synced}' AS synced (READ_ONLY); CREATE TABLE t AS SELECT * FROM synced.sms.sms_events"
            )
            words = [sys.executable, "-c", _IN_DUCKDB, str(same), statement]
            return _watched(words, self._environment) | {"stored_bytes": same.stat().st_size}

        self.ways |= {
            ("curl, DuckDB", ""): by_hand,
            ("smsevents", "first sync into DuckDB"): first,
            ("smsevents", "next sync into DuckDB, nothing new"): partial(self._sync, f"duckdb:///{synced}"),
            ("smsevents", "next sync into DuckDB, few new events"): partial(self._sync_new, f"duckdb:///{synced}"),
            ("DuckDB", "copy of the synced columns"): same_columns,
            ("dlt", "empty run into DuckDB"): lambda: _watched(
                [sys.executable, "-c", _EMPTY_RUN, str(empty)], self._environment
            ),
        }

    def add_postgres(self, connection: str) -> None:
        """Add a PostgreSQL server."""
        parts = dict(word.split("=", 1) for word in connection.split())
        address = f"postgresql://{parts['user']}:none@{parts['host']}:{parts['port']}/{parts['dbname']}"
        self._environment["DESTINATION__POSTGRES__CREDENTIALS"] = address
        rows = self._folder / "rows.txt"

        def ask(query: str) -> str:
            return run(["psql", connection, "--quiet", "--tuples-only", "--command", query])[0]

        def size(table: str) -> Figures:
            return {"stored_bytes": int(ask(f"SELECT pg_total_relation_size('{table}')"))}

        def first() -> Figures:
            ask("DROP SCHEMA IF EXISTS sms, sms_staging CASCADE")
            return self._sync("postgres") | size("sms.sms_events")

        def copy() -> Figures:
            if not rows.exists():
                ask(f"\\copy ({_ROWS}) TO '{rows}'")
            ask("DROP TABLE IF EXISTS copied")
            ask("CREATE TABLE copied (LIKE sms.sms_events INCLUDING ALL)")
            words = ["psql", connection, "--quiet", "--command", f"\\copy copied FROM '{rows}'"]
            return _watched(words, self._environment) | size("copied")

        self.ways |= {
            ("smsevents", "first sync into PostgreSQL"): first,
            ("smsevents", "next sync into PostgreSQL, nothing new"): partial(self._sync, "postgres"),
            ("smsevents", "next sync into PostgreSQL, few new events"): partial(self._sync_new, "postgres"),
            ("PostgreSQL", "COPY of the synced rows"): copy,
            ("dlt", "empty run into PostgreSQL"): lambda: _watched(
                [sys.executable, "-c", _EMPTY_RUN], self._environment
            ),
        }


@contextmanager
def _opened(plan: Plan) -> Iterator[_Syncs]:
    data = dataset(plan.folder, plan.events)
    with plan.workplace("sync") as folder, ExitStack() as stack:
        store = Store(folder / "log.db")
        key = store.add_shop()
        store.command("import", str(TRACKPOINT), str(data.path))
        syncs = _Syncs(folder, store, stack.enter_context(served(store)), key, data.end_ms)
        syncs.add_duckdb()
        if "postgres" in plan.peers:
            syncs.add_postgres(stack.enter_context(cluster(plan.folder)))
        yield syncs


def _measure(plan: Plan) -> list[Row]:
    with _opened(plan) as syncs:
        # the first round goes forwards, so that a next sync finds what a first one loaded
        turns = take_turns(list(syncs.ways.values()), plan.rounds, plan.way_max_seconds, plan.turns_min)
    return [
        row({"events": plan.events, "system": system, "variant": variant}, **figures)
        for (system, variant), figures in zip(syncs.ways, turns, strict=True)
    ]


CASE = Case(
    _measure,
    "{events:,} events. A next sync reads three days again, and finds nothing new or 100 new events."
    " The processor time and the memory are those of the client"
    " and all that it starts, not of a database server.",
    (*("system variant", "seconds", "seconds~", "cpu_seconds"), *("peak_memory_bytes", "stored_bytes")),
    Bars("Sync of {events:,} events", "system variant", "seconds", "seconds stored_bytes"),
    together="events",
)
