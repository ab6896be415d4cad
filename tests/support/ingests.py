"""An ingest at a time that is certain, without a database."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from smsevents.clock.trusted import Judgement
from smsevents.log.checked_lines import Rules
from smsevents.log.ingest import Ingest, Limits
from smsevents.log.refusals import BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.log.refusals import Origin


def certain(now: int) -> Judgement:
    """Return the judgement of a clock that nothing is wrong with."""
    return Judgement(clock_ms=now, trusted_ms=now, expected_ms=now, doubt=None, idle_ms=0, settled=True)


class CertainTime:
    """Judges a clock, which tells Unix milliseconds, to be right, whatever it says; no import is a witness."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """Take a clock that returns Unix milliseconds."""
        self._clock = clock

    def judge(self) -> Judgement:
        """Return a judgement that trusts the clock."""
        return certain(self._clock())

    def witness(self, newest_ms: int | None) -> None:
        """Ignore the evidence."""


@contextmanager
def ingesting(  # noqa: PLR0913 -- what lines are held to
    trackpoint: int,
    now: int,
    *,
    gzip: bool = False,
    lines_max_mib: int = 64,
    blocked: frozenset[bytes] = frozenset(),
    origin: Origin = BODY,
    skip_impossible: bool = False,
    in_doubt: bool = False,
    inflation_max_ratio: int | None = None,
    is_short_of_memory: Callable[[], bool] = lambda: False,
) -> Iterator[Ingest]:
    """Open an ingest for a shop at a time (Unix ms), and close it at the end."""
    rules = Rules.judged(trackpoint, certain(now), blocked=blocked, skip_impossible=skip_impossible, origin=origin)
    limits = Limits(
        lines_max_mib=lines_max_mib, inflation_max_ratio=inflation_max_ratio, is_short_of_memory=is_short_of_memory
    )
    ingest = Ingest(replace(rules, is_certain=not in_doubt), gzip=gzip, limits=limits)
    try:
        yield ingest
    finally:
        ingest.close()
