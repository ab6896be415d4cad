"""Counts of distinct lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.upkeep.distinct import DIGEST_BYTES, Distinct


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(st.lists(st.binary(max_size=3), max_size=20), max_size=20),
    held_max=st.integers(1, 12 * DIGEST_BYTES),
)
def test_distinct_lines_are_counted_exactly(batches: list[list[bytes]], held_max: int) -> None:
    """However little may be held, the count is that of a set."""
    with Distinct(held_max) as distinct:
        for batch in batches:
            distinct.add(batch)
        assert distinct.count() == len({one for batch in batches for one in batch})
