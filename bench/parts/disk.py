"""Bytes on the disk for the same events in every system, after each has merged what it merges."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.dataset import dataset
from bench.measure import run_command
from bench.peers import clickhouse, duckdb, postgres
from bench.peers.smsevents import NAME, Store
from bench.plan import TRACKPOINT
from bench.results import DiskResult, about

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

_CODECS = {"LZ4, the default": "", "ZSTD(3)": "ZSTD(3)"}


def measure(plan: Plan) -> DiskResult:
    """Store the events in each system and weigh the files."""
    data = dataset(plan.folder, plan.events)
    folder = plan.folder / "disk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stored = {"plain lines": data.line_bytes, "lines, gzip -6": _gzipped(data.path)}
    try:
        store = Store(folder / "log.db")
        store.add_shop()
        store.command("import", str(TRACKPOINT), str(data.path))
        stored[NAME] = store.bytes_on_disk()
        if "clickhouse" in plan.peers:
            with clickhouse.engine(folder / "clickhouse") as engine:
                for name, codec in _CODECS.items():
                    clickhouse.make_table(engine, codec=codec)
                    clickhouse.insert(engine, data.path)
                    stored[f"{clickhouse.NAME}, {name}"] = clickhouse.bytes_on_disk(engine)
        if "duckdb" in plan.peers:
            with duckdb.engine() as process:
                stored["Parquet, zstd"] = duckdb.make_parquet(process, data.path, folder / "events.parquet")
        if "postgres" in plan.peers:
            rows = folder / "rows.txt"
            postgres.write_rows(data.path, rows)
            with postgres.cluster(folder) as conninfo:
                postgres.copy(conninfo, rows)
                stored[f"{postgres.NAME}, with its index"] = postgres.bytes_on_disk(conninfo)
    finally:
        shutil.rmtree(folder)
    return DiskResult(about=about(), events=plan.events, stored_bytes=stored)


def _gzipped(path: Path) -> int:
    return int(run_command(["sh", "-c", f"gzip -6 --stdout '{path}' | wc -c"]))
