"""What the project promises to be measured by, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results import ExportResult, ImportResult, LatencyResult, Measured, SoakResult

OURS, CLICKHOUSE, NGINX, POSTGRES, DUCKDB = "smsevents", "ClickHouse", "nginx", "PostgreSQL", "DuckDB"
TIMES_CLICKHOUSE = {"gzip": 100.0, "identity": 4.0}
SHARE_OF_NGINX = 0.5
FIRST_BYTE_P50_MS = 5.0
FIRST_BYTE_P99_MS = 25.0
IMPORT_EVENTS_PER_SECOND = 300_000
SOAK_GROWTH_MAX = 1.1
SOAK_DRIFT_MAX = 1.25  # a shared machine drifts by itself
ENCODING_NAMES = {"gzip": "gzip", "identity": "plain"}


@dataclass(frozen=True)
class Goal:
    """A promise and what was measured."""

    promise: str
    measured: str
    met: bool


def best(systems: list[Measured], system: str, encoding: str) -> Measured | None:
    """Give the fastest variant of a system with an encoding, or None if it was not measured."""
    found = [one for one in systems if one.system == system and one.encoding == encoding]
    return min(found, key=lambda one: one.median_seconds, default=None)


def of_export(result: ExportResult) -> list[Goal]:
    """Hold whole exports to their goals."""
    found: list[Goal] = []
    for encoding, times in TIMES_CLICKHOUSE.items():
        ours = best(result.systems, OURS, encoding)
        clickhouse = best(result.systems, CLICKHOUSE, encoding)
        nginx = best(result.systems, NGINX, encoding)
        name = ENCODING_NAMES[encoding]
        if ours and clickhouse:
            ratio = clickhouse.median_seconds / ours.median_seconds
            found.append(
                Goal(f"export, {name}: {times:.0f} times as fast as ClickHouse", f"{ratio:.1f} times", ratio >= times)
            )
        if ours and nginx:
            share = nginx.median_seconds / ours.median_seconds
            found.append(
                Goal(
                    f"export, {name}: at least {SHARE_OF_NGINX:.0%} of the speed of nginx",
                    f"{share:.0%}",
                    share >= SHARE_OF_NGINX,
                )
            )
    return found


def of_latency(result: LatencyResult) -> list[Goal]:
    """Hold small exports to their goals: many clients that ask without a pause, and many that ask each second."""
    found: list[Goal] = []
    for one in result.latencies:
        if one.clients == 1 or one.encoding != "gzip" or one.workers != 1:
            continue
        pace = f"asking every {one.pause_ms / 1000:.0f} s" if one.pause_ms else "asking without a pause"
        found.append(
            Goal(
                f"first byte of a small export, {one.clients} clients {pace}:"
                f" p50 under {FIRST_BYTE_P50_MS:.0f} ms, p99 under {FIRST_BYTE_P99_MS:.0f} ms",
                f"p50 {one.first_byte_p50_ms:.1f} ms, p99 {one.first_byte_p99_ms:.1f} ms",
                one.first_byte_p50_ms < FIRST_BYTE_P50_MS and one.first_byte_p99_ms < FIRST_BYTE_P99_MS,
            )
        )
    return found


def of_import(result: ImportResult) -> list[Goal]:
    """Hold imports to their goal: by the clock, and for each second of processor time, that is, on one core."""
    ours = best(result.systems, OURS, "identity")
    if ours is None:
        return []
    rate = result.events / ours.median_seconds
    of_core = result.events / median(run.cpu_seconds or 0 for run in ours.runs)
    return [
        Goal(
            f"durable import over HTTP: {IMPORT_EVENTS_PER_SECOND:,} events a second on one core",
            f"{rate:,.0f} a second by one client, {of_core:,.0f} for each second of processor time",
            min(rate, of_core) >= IMPORT_EVENTS_PER_SECOND,
        )
    ]


def of_soak(result: SoakResult) -> list[Goal]:
    """Hold a soak to its goal: memory against the second third, as it rises at the start; latency against the first."""
    third = len(result.ticks) // 3
    if not third:
        return []
    first, second, last = (result.ticks[start * third : (start + 1) * third] for start in range(3))
    memory = median(tick.memory_bytes for tick in last) / median(tick.memory_bytes for tick in second)
    drift = median(tick.first_byte_p50_ms for tick in last) / median(tick.first_byte_p50_ms for tick in first)
    return [
        Goal(
            f"import and export side by side for {result.seconds:,} s: no growth in memory, no drift in latency",
            f"memory {memory:.2f} times that of the second third, first byte p50 {drift:.2f} times that of the first",
            memory <= SOAK_GROWTH_MAX and drift <= SOAK_DRIFT_MAX,
        )
    ]
