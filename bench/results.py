"""What is kept of a run: one JSON file a question, with where, when and of what it was measured."""

from __future__ import annotations

import os
import platform
import re
import statistics
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bench.measure import CommandFailed, Run, run_command

if TYPE_CHECKING:
    from collections.abc import Iterable

PACKAGES = ("smsevents", "isal", "litestar", "uvicorn", "chdb-core", "duckdb", "psycopg", "starlette", "zlib-ng")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Where, when and of what something was measured."""

    date: str
    commit: str
    processor: str
    cores: int
    memory_gib: float
    load_average: float
    kernel: str
    python: str
    versions: dict[str, str]


class Measured(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All runs of one contender: a system, in a variant, with an encoding."""

    system: str
    variant: str
    encoding: str
    runs: list[Run]
    median_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.median_seconds = statistics.median(run.seconds for run in self.runs)


class ExportResult(msgspec.Struct, kw_only=True):
    """Whole exports of one shop: every system, plain and gzip. `digest` is that of all of them."""

    about: About
    events: int
    line_bytes: int
    digest: str
    systems: list[Measured]


class Rate(msgspec.Struct, kw_only=True):
    """How many single events a second were made durable, with so many clients."""

    clients: int
    requests: int
    events_per_second: list[float]
    p50_ms: list[float]
    median_events_per_second: float = 0.0

    def __post_init__(self) -> None:
        self.median_events_per_second = statistics.median(self.events_per_second)


class ImportResult(msgspec.Struct, kw_only=True):
    """Imports of all events, and of single ones. `flush_ms` is what the disk takes to flush a small write."""

    about: About
    events: int
    flush_ms: float
    systems: list[Measured]
    single: list[Rate]


class Latency(msgspec.Struct, kw_only=True):
    """Small exports by so many clients at a time: milliseconds to the first byte of the body and to the end.

    `pause_ms` is how long a client waits after an answer before it asks again, `client_cpu_ms` what the clients
    themselves used of the processor for one request, `server_cpu_ms` what the server used.
    """

    encoding: str
    clients: int
    workers: int
    pause_ms: int
    requests: int
    per_second: float
    first_byte_p50_ms: float
    first_byte_p99_ms: float
    whole_p50_ms: float
    whole_p99_ms: float
    client_cpu_ms: float = 0.0
    server_cpu_ms: float = 0.0
    events: int = 0


class LatencyResult(msgspec.Struct, kw_only=True):
    """Small exports of one large shop."""

    about: About
    shop_events: int
    latencies: list[Latency]


class ReadersResult(msgspec.Struct, kw_only=True):
    """The server's memory without clients, and with many that hardly read."""

    about: About
    shop_events: int
    readers: int
    idle_bytes: int
    one_export_bytes: int
    slow_bytes: dict[str, int]
    fast_export_seconds: dict[str, float]


class ShopSize(msgspec.Struct, kw_only=True):
    """One shop of so many events."""

    about: About
    events: int
    stored_bytes: int
    index_bytes: int
    import_seconds: float
    first_byte_p50_ms: float
    first_byte_p99_ms: float
    catalog_ms: float
    catalog_read_bytes: int
    export_peak_bytes: dict[str, int]
    export_seconds: dict[str, float]


class ShopCount(msgspec.Struct, kw_only=True):
    """So many shops in one database."""

    about: About
    shops: int
    shop_events: int
    first_byte_p50_ms: float
    first_byte_p99_ms: float
    import_p50_ms: float
    memory_bytes: int


class ScaleResult(msgspec.Struct, kw_only=True):
    """What grows, and what must not. Rows of other runs stay until their size is measured again."""

    sizes: list[ShopSize]
    counts: list[ShopCount]


class DiskResult(msgspec.Struct, kw_only=True):
    """Bytes on the disk for the same events."""

    about: About
    events: int
    stored_bytes: dict[str, int]


class Tick(msgspec.Struct, kw_only=True):
    """Some seconds of a soak: imports and exports side by side."""

    second: float
    memory_bytes: int
    imported: int
    import_p50_ms: float
    first_byte_p50_ms: float
    first_byte_p99_ms: float


class SoakResult(msgspec.Struct, kw_only=True):
    """Imports and exports side by side for long."""

    about: About
    seconds: int
    ticks: list[Tick]


class Deflated(msgspec.Struct, kw_only=True):
    """One way to compress segments: how small, how fast, and how fast what it made is inflated again.

    `size_by_now` is the size by that of the compressor that is used today, on the same segments.
    """

    codec: str
    segments: int
    ratio: float
    size_by_now: float
    deflate_mb_per_second: float
    inflate_mb_per_second: float


class DeflateResult(msgspec.Struct, kw_only=True):
    """What other compressors would buy."""

    about: About
    line_bytes: int
    segments: int
    codecs: list[Deflated]


T = TypeVar("T", bound=msgspec.Struct)
_version = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")


def about() -> About:
    """Describe this machine, and what is measured on it, now."""
    versions = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    versions |= {
        "curl": _says("curl", "--version"),
        "nginx": _says("/usr/sbin/nginx", "-v"),
        "postgres": _says("psql", "-V"),
    }
    return About(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        load_average=round(os.getloadavg()[0], 1),
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: version for name, version in versions.items() if version},
    )


def save(path: Path, result: msgspec.Struct) -> None:
    """Keep a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def load(path: Path, kind: type[T]) -> T | None:
    """Give a result that was kept, or None if there is none."""
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None


def merged(old: Iterable[T], new: Iterable[T], key: str) -> list[T]:
    """Give the rows of both by their `key`; a new row takes the place of the old one of the same key."""
    rows = {getattr(row, key): row for row in (*old, *new)}
    return [rows[value] for value in sorted(rows)]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _says(*command: str) -> str:
    """Give the first line that a program prints of itself, or nothing if there is no such program."""
    try:
        first = run_command(["sh", "-c", f"{' '.join(command)} 2>&1"]).split("\n")[0]
    except CommandFailed:
        return ""
    version = _version.search(first)
    return version[0] if version else first


def _commit() -> str:
    """Tell the commit that is checked out; `-dirty` behind it if the program differs from it."""
    try:
        found = run_command(["git", "rev-parse", "--short=12", "HEAD"]).strip()
        changed = run_command(["git", "status", "--porcelain", "--", "src", "uv.lock"]).strip()
    except CommandFailed:
        return ""
    return f"{found}-dirty" if changed else found


def _processor() -> str:
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            return row.split(":", 1)[1].strip()
    return platform.machine()
