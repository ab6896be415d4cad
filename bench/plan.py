"""What one run measures, how much of it, and where it works."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TRACKPOINT = 4541245641234564
MS = 1000
DAY_MS = 24 * 60 * 60 * MS

Encoding = Literal["gzip", "plain"]
ENCODINGS: tuple[Encoding, ...] = ("gzip", "plain")

EVENTS = 2_000_000  # the documented figures are measured with so many; a run with fewer is a trial
SPAN_DAYS = 60  # of the 90 that an export covers


@dataclass(frozen=True)
class Plan:
    """One run. `folder` holds the stores and the datasets, `results` what is kept, `docs` the page and its charts."""

    folder: Path
    results: Path
    docs: Path
    events: int = EVENTS
    rounds: int = 11
    way_max_seconds: float = 80.0  # what has used so much takes no further turn
    turns_min: int = 3  # of what takes part of a minute: a pull or a sync
    peers: frozenset[str] = frozenset({"clickhouse", "duckdb", "nginx", "postgres"})
    shop_events: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    shops: tuple[int, ...] = (1, 10, 100, 1000, 10_000)
    requests: int = 2000
    events_a_day: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    lived_days: int = 10
    registered: tuple[int, ...] = (1_000_000, 10_000_000)  # sent messages that are in the register already
    soak_seconds: int = 600
    slow_readers: int = 100
    slow_seconds: float = 15.0
    keep_shops: bool = False  # those of `shop_events`, for the next run
    pair_min_seconds: float = 0.3  # of the processor; what takes less is done several times for one measurement

    @property
    def grown(self) -> Path:
        """The folder of the store with the shops of `shop_events`."""
        return self.folder / "grown"

    @contextmanager
    def workplace(self, name: str) -> Iterator[Path]:
        """Yield an empty folder, which is deleted at the end."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
