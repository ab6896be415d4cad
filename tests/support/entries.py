"""Entries and batches of entries, for property tests of segments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st

from smsevents.segments.segment import Segment, pack
from smsevents.wire.lines import Entry, end_of
from tests.support.lines import line

if TYPE_CHECKING:
    from collections.abc import Sequence


Batches: TypeAlias = list[list[Entry]]
DATES = 8


def entry(date: int, user: str = "u") -> Entry:
    """Return an entry; its line is about 170 bytes long."""
    return (date, line(1, date, user))


def packed(batch: Sequence[Entry]) -> Segment:
    """Pack a small batch, as an import would, into its one segment."""
    (segment,) = pack(sorted(set(batch)))
    return segment


dates = st.integers(0, DATES)
entry_values = st.builds(entry, dates, st.sampled_from(["a", "b", "ž", "u\u2028", "x" * 300]))
batches = st.lists(st.lists(entry_values, min_size=1, max_size=12), max_size=10)
some_entries = st.lists(entry_values, min_size=1, max_size=40)


def in_order(batched: Batches, after: Entry) -> list[Segment]:
    """Pack batches into segments that may overlap in any way; return those that reach past `after`."""
    segments = [packed(batch) for batch in batched]
    return sorted((s for s in segments if s.header.last > after), key=lambda s: s.header.first)


@st.composite
def entry_bounds(draw: st.DrawFn) -> Entry:
    """Return any bound: before, after or exactly at an entry."""
    date = draw(st.integers(-1, DATES + 1))
    return draw(st.sampled_from([(date, b""), end_of(date)]) | entry_values)


def altered(segment: Segment, data: bytes | None = None, **fields: Any) -> Segment:
    """Return a segment with other bytes, or with a header that does not match them."""
    return Segment(replace(segment.header, **fields), segment.data if data is None else data)
