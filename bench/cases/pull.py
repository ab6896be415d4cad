"""`smsevents pull` beside `curl | DuckDB`: the same events from the same server into files, with all that it takes.

DuckDB reads the lines unchecked and writes one file. It sorts nothing, so it may keep them in their order.
"""

import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.dataset import dataset
from bench.measure import Figures, run_watched, take_turns
from bench.peers.duckdb import LOAD_LINES
from bench.peers.smsevents import COMMAND, Server, Store, served
from bench.plan import TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Row, row
from bench.same import Different
from smsevents.wire.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE = ".smsevents"
_OURS, _AGAIN, _PEER = "smsevents", "smsevents, a second run", "curl, DuckDB"


class _Way(NamedTuple):
    """A format, as `pull` calls it, as DuckDB writes it, and the ends of the files."""

    name: str
    pull: str
    copy: str
    suffix: str


_WAYS = (
    _Way("Parquet, zstd", "parquet", "FORMAT parquet, COMPRESSION zstd", ".parquet"),
    _Way("JSON lines, gzip", "jsonl", "FORMAT json, COMPRESSION gzip", ".jsonl.gz"),
    _Way("CSV, gzip", "csv", "FORMAT csv, COMPRESSION gzip", ".csv.gz"),
)


def _written(folder: Path, command: list[str], environment: dict[str, str], *, anew: bool = True) -> Figures:
    """Run a command that writes into a folder, which is emptied first unless it is a later run."""
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    figures = run_watched(command, environment)
    files = [path for path in folder.rglob("*") if path.is_file() and _STATE not in path.parts]
    return figures | {"stored_bytes": sum(path.stat().st_size for path in files), "files": len(files)}


def _pull(server: Server, environment: dict[str, str], folder: Path, way: _Way, *, anew: bool = True) -> Figures:
    url = f"http://127.0.0.1:{server.port}"
    command = [*COMMAND, "pull", str(TRACKPOINT), str(folder), "--url", url, "--format", way.pull]
    return _written(folder, command, environment, anew=anew)


def _load(server: Server, environment: dict[str, str], folder: Path, way: _Way) -> Figures:
    url = f"http://127.0.0.1:{server.port}/shop/{TRACKPOINT}/export-sms-events"
    curl = (
        f'curl --silent --show-error --fail --compressed --header "X-Api-Key: $SMSEVENTS_API_KEY" --data "{{}}" {url}'
    )
    python = [sys.executable, "-c", LOAD_LINES, str(folder / f"events{way.suffix}"), way.copy]
    return _written(folder, ["sh", "-c", f"{curl} | {shlex.join(python)}"], environment)


def _check_same(pulled: Path, loaded: Path, events: int) -> None:
    """Compare the rows of Parquet files, whatever their order. Raises `Different`."""
    import duckdb  # noqa: PLC0415 -- a peer, which only `make bench` installs

    cells = ", ".join(f"epoch_ms({name})" if name in {"date", "send_date"} else name for name in COLUMNS)
    query = f"SELECT count(*), sum(hash(row({cells}))::HUGEINT) FROM read_parquet('{{}}/*.parquet')"
    ours, peer = (duckdb.execute(query.format(folder)).fetchone() for folder in (pulled, loaded))
    if ours is None or ours != peer or ours[0] != events:
        raise Different(f"pull wrote {ours} and DuckDB {peer}, of {events:,} events")


def _measure(plan: Plan) -> list[Row]:
    with plan.workplace("pull") as folder:
        data = dataset(plan.folder, plan.events)
        store = Store(folder / "log.db")
        environment = store.environment | {"SMSEVENTS_API_KEY": store.add_shop()}
        store.command("import", str(TRACKPOINT), str(data.path))
        with served(store) as server:
            ways: dict[tuple[str, str], Callable[[], Figures]] = {}
            for way in _WAYS:
                ours, peer = folder / f"{way.pull}-pulled", folder / f"{way.pull}-loaded"
                ways[way.name, _OURS] = partial(_pull, server, environment, ours, way)
                ways[way.name, _AGAIN] = partial(_pull, server, environment, ours, way, anew=False)
                if "duckdb" in plan.peers:
                    ways[way.name, _PEER] = partial(_load, server, environment, peer, way)
            turns = take_turns(list(ways.values()), plan.rounds, plan.way_max_seconds, plan.turns_min)
        if "duckdb" in plan.peers:
            _check_same(folder / "parquet-pulled", folder / "parquet-loaded", plan.events)
    found = [
        row({"events": plan.events, "format": name, "system": system}, **figures)
        for (name, system), figures in zip(ways, turns, strict=True)
    ]
    peers = {one.labels["format"]: one.median("seconds") for one in found if one.labels["system"] == _PEER}
    for one in found if peers else []:
        seconds = one.median("seconds")
        one.figures["time_by_duckdb_ratio"] = [round(seconds / peers[one.labels["format"]], 4)]
        one.figures["time_by_parquet_of_duckdb_ratio"] = [round(seconds / peers[_WAYS[0].name], 4)]
    return found


CASE = Case(
    _measure,
    "{events:,} events of 60 days from a server on the same machine, into files.",
    (
        "format",
        "system",
        "seconds",
        "time_by_duckdb_ratio",
        "time_by_parquet_of_duckdb_ratio",
        "seconds~",
        "cpu_seconds",
        "peak_bytes",
        "stored_bytes",
        "files",
    ),
    Bars(
        "Into files, {events:,} events, and the time by DuckDB into Parquet: shorter is better",
        *("format system", "seconds", "seconds time_by_parquet_of_duckdb_ratio"),
    ),
    together="events",
)
