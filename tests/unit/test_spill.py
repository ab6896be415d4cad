"""The spill of segments that overlap more than a page may hold: merged once, read to its end, and nothing lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.log.recorder import append_segments
from smsevents.segments.merge import MERGE_HELD_MAX_BYTES, page
from smsevents.segments.pack import loaded
from smsevents.segments.segment import Segment, pack
from smsevents.segments.spill import Spill
from smsevents.segments.splice import unpack
from smsevents.wire.lines import end_of
from smsevents.wire.window import Window
from tests.support.entries import DATES, Batches, batches, entry, entry_bounds, entry_values, in_order
from tests.support.lines import body_of, line
from tests.support.logs import log_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.wire.lines import Entry

NOW = 1_676_380_261_000


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    batched=batches,
    after=entry_bounds(),
    until=entry_bounds(),
    held_max=st.integers(1, 4000),
    segment_bytes=st.integers(1, 1000),
)
def test_it_holds_each_event_up_to_its_reach_and_no_other(
    batched: Batches, after: Entry, until: Entry, held_max: int, segment_bytes: int
) -> None:
    """All events between `after` and the reach are in it, and no event lies between the reach and the next segment."""
    ordered = in_order(batched, after)
    spill = Spill(iter(ordered), after, until, held_max_bytes=held_max, segment_bytes=segment_bytes)
    everything = sorted({one for batch in batched for one in batch if after < one <= until})
    expected = [one for one in everything if one <= spill.reach]
    assert b"".join(unpack([loaded(page(spill.after(after), after, end_of(DATES)).pieces)])) == body_of(
        one for _, one in expected
    )
    assert spill.reach <= max(until, after)
    later = [segment for segment in ordered if segment.header.first > spill.reach]
    assert all(one >= min(segment.header.first for segment in later) for one in everything if one > spill.reach)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    batched=batches,
    held_max=st.integers(1, 4000),
    after=entry_values,
)
def test_it_can_be_read_from_anywhere(batched: Batches, held_max: int, after: Entry) -> None:
    """It returns all that it holds after any entry, as pages request it."""
    spill = Spill(
        iter(in_order(batched, (-1, b""))), (-1, b""), end_of(DATES), held_max_bytes=held_max, segment_bytes=500
    )
    expected = sorted({one for batch in batched for one in batch if after < one <= spill.reach})
    found = page(spill.after(after), after, spill.reach)
    assert b"".join(unpack([loaded(found.pieces)])) == body_of(one for _, one in expected)


def test_it_reads_no_further_than_the_first_gap() -> None:
    """Of a log that continues after a gap, only the overlapping part is opened."""
    batched = [[entry(1), entry(3)], [entry(2), entry(4)], [entry(6)], [entry(7)]]
    asked: list[Segment] = []

    def ordered() -> Iterator[Segment]:
        for segment in in_order(batched, (0, b"")):
            asked.append(segment)
            yield segment

    spill = Spill(ordered(), (0, b""), end_of(DATES))
    assert spill.reach == entry(4)
    assert len(asked) == 3


@pytest.mark.slow
def test_a_deep_log_is_read_whole_and_opened_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of which far more overlaps than may be held comes whole, in order, and with few looks at each segment."""
    database = open_catalog(f"sqlite:///{tmp_path / 'log.db'}")
    shop = Access(database).add_shop(7, "").trackpoint
    log = log_at(database, lambda: NOW)
    chance = random.Random(5)  # noqa: S311 -- invented data
    segments = 1000
    lines: set[Entry] = set()
    for number in range(segments):
        # each with a little of everything, but the last few are after a gap
        start, span = (NOW - 1_000_000, 900_000) if number < segments - 3 else (NOW - 50_000, 40_000)
        dates = [start + chance.randrange(span) for _ in range(150)]
        batch = {(date, line(shop, date, f"{number}-{date}")) for date in dates}
        lines |= batch
        append_segments(database, shop, pack(sorted(batch))).result()
    looks = 0
    check_stored = Segment.check_stored

    def counted(segment: Segment) -> Segment:
        nonlocal looks
        looks += 1
        return check_stored(segment)

    monkeypatch.setattr(Segment, "check_stored", counted)
    got = b"".join(unpack(log.read(shop, Window(NOW - 2_000_000, NOW))))
    database.close()

    assert got == body_of(text for _, text in sorted(lines))
    assert len(got) > 3 * MERGE_HELD_MAX_BYTES
    assert looks < 3 * segments  # each page that opens all of them would look at them once more
