"""What the metrics say of the time, looked up when they are asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from smsevents.timekeeper import Timekeeper

# all workers tell the same, so the one that was asked last is right
_IN_DOUBT = Gauge(
    "smsevents_time_in_doubt", "1 while the clock is not trusted, else 0.", multiprocess_mode="livemostrecent"
)
_IDLE_SECONDS = Gauge(
    "smsevents_upkeep_idle_seconds", "Since the upkeep was last at work.", multiprocess_mode="livemostrecent"
)


def measure_time(timekeeper: Timekeeper) -> None:
    """Set the metrics of the time; they stay as they were while the database cannot be read."""
    with suppress(StoreUnavailable):
        judgement = timekeeper.judge()
        _IN_DOUBT.set(int(judgement.doubt is not None))
        _IDLE_SECONDS.set(judgement.idle_ms / 1000)
