"""What one run measures, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 4541245641234564
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MIB = 1024 * 1024

EVENTS = 2_000_000  # what the documented figures are measured with; with fewer it is a trial
SLOW_PEERS_EVENTS_MAX = 2_000_000  # a service on PostgreSQL takes minutes for so many

ROUNDS_MAX = 11
CONTENDER_MAX_SECONDS = 40.0  # who has taken so long in all takes no further turn, after the first
SPAN_DAYS = 60.0  # of the 90 that an export gives, so that a dataset can be used for some weeks


@dataclass(frozen=True)
class Plan:
    """One run. `folder` holds the stores and the datasets, `results` what is kept."""

    folder: Path
    results: Path
    docs: Path
    events: int = EVENTS
    rounds_max: int = ROUNDS_MAX
    contender_max_seconds: float = CONTENDER_MAX_SECONDS
    peers: frozenset[str] = frozenset({"clickhouse", "duckdb", "nginx", "postgres"})
    shop_events: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    shops: tuple[int, ...] = (1, 10, 100, 1000, 10_000)
    import_rounds: int = 3
    latency_events: int = 10_000_000  # the smallest shop that has so many is the one asked
    requests: int = 2000
    soak_seconds: int = 600
    slow_readers: int = 100
    slow_seconds: float = 15.0
    deflate_segments: int = 64
