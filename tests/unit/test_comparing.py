"""Two logs are compared: the numbers are those of two plain sets of lines."""

from __future__ import annotations

from contextlib import ExitStack, closing
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.upkeep.comparing import Compared, compare
from tests.support.lines import DAY_MS, date_of, line
from tests.support.logs import log_at, store

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_790_000_000_000
_imports = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=8), max_size=4)


def test_a_comparison_counts_as_sets_do(tmp_path: Path) -> None:
    """Each event counts once, however often and in whatever order it was imported, and a shop may be in one alone."""
    trackpoints = count(1)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(closing(open_catalog(f"sqlite:///{tmp_path / name}"))) for name in ("one", "other")
        )

        @settings(max_examples=30)
        @given(here=_imports, there=_imports)
        def check(here: list[list[tuple[int, int]]], there: list[list[tuple[int, int]]]) -> None:
            trackpoint = next(trackpoints)
            sets: list[set[bytes]] = []
            for database, imports in ((one, here), (other, there)):
                bodies = [
                    [line(trackpoint, NOW_MS - day * DAY_MS, f"user {user}") for day, user in body] for body in imports
                ]
                if bodies or database is one:
                    Access(database).add_shop(trackpoint, "")
                for body in bodies:
                    store(log_at(database, lambda: NOW_MS), trackpoint, body)
                sets.append({event for body in bodies for event in body})
            ours, theirs = sets
            dates = [date_of(event) for event in theirs - ours]
            [found] = [found for found in compare(one, other, NOW_MS) if found.trackpoint == trackpoint]
            assert found == Compared(
                trackpoint,
                both=len(ours & theirs),
                only_here=len(ours - theirs),
                only_there=len(dates),
                only_there_oldest_ms=min(dates, default=None),
                only_there_newest_ms=max(dates, default=None),
            )

        check()
