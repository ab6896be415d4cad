"""What a page opens, and what it passes on as it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.segments.merge import END, merge, merge_runs, page
from smsevents.segments.pack import loaded
from smsevents.segments.segment import Segment, pack
from smsevents.segments.splice import unpack
from smsevents.wire.lines import end_of
from tests.support.lines import body_of, line

Entry = tuple[int, bytes]


def entry(date: int, user: str = "u") -> Entry:
    """Return an entry."""
    return (date, line(1, date, user))


def packed(*entries: Entry) -> Segment:
    """Pack few entries into their one segment."""
    (segment,) = pack(sorted(set(entries)))
    return segment


def test_a_wide_segment_opens_only_what_its_events_lie_in() -> None:
    """Late events in one wide segment leave every segment whole in which none of them lies."""
    settled = [packed(*(entry(ten + one) for one in range(0, 10, 2))) for ten in range(0, 100, 10)]
    late = packed(entry(1, "late"), entry(45, "late"), entry(99, "late"))
    found = page(iter(sorted([*settled, late], key=lambda one: one.header.first)), (-1, b""), end_of(200))
    whole = [piece for piece in found.pieces if isinstance(piece, Segment)]
    assert whole == [*settled[1:4], *settled[5:9], settled[9]]
    lines = b"".join(unpack([loaded(found.pieces)]))
    assert lines == body_of(
        one
        for _, one in sorted(
            {entry(even) for even in range(0, 100, 2)} | {entry(1, "late"), entry(45, "late"), entry(99, "late")}
        )
    )


runs = st.lists(
    st.lists(st.builds(entry, st.integers(0, 60), st.sampled_from("abc")), min_size=1, max_size=60).map(
        lambda run: body_of(one for _, one in sorted(set(run)))
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(runs=runs)
def test_the_union_of_runs_is_the_sorted_set_of_their_lines(runs: list[bytes]) -> None:
    """Runs come out in order and each line once, whether few lines are woven into many or all are sorted."""
    entries = sorted({entry for run in runs for entry in _entries(run)})
    assert merge_runs(list(runs)) == body_of(one for _, one in entries)


def _entries(run: bytes) -> list[Entry]:
    return [(int(one.rsplit(b'"date":', 1)[1].split(b"}")[0]), one) for one in run.splitlines()]


def test_few_lines_are_woven_into_many() -> None:
    """One line is placed before, among and after a thousand others, and is not inserted twice."""
    many = [entry(date) for date in range(1000, 2000)]
    for late in [*(entry(date, user) for date in (0, 1000, 1500, 1999, 5000) for user in "az"), many[0], many[-1]]:
        expected = body_of(one for _, one in sorted({*many, late}))
        assert merge_runs([body_of([late[1]]), body_of(one for _, one in many)]) == expected


@settings(max_examples=100, deadline=None)
@given(
    batches=st.lists(st.lists(st.builds(entry, st.integers(0, 30)), min_size=1, max_size=9), min_size=1, max_size=8),
    room=st.integers(1, 6000),
)
def test_merging_on_and_on_gives_everything_once(batches: list[list[Entry]], room: int) -> None:
    """Whatever there is room for, each merge gives the lines up to where it says, and the last one says so."""
    segments = sorted((packed(*batch) for batch in batches), key=lambda one: one.header.first)
    after: Entry = (-1, b"")
    given_lines = b""
    while after != END:
        lines, reach = merge((one for one in segments if one.header.last > after), after, room)
        assert reach > after
        given_lines += lines
        after = reach
    assert given_lines == body_of(one for _, one in sorted({one for batch in batches for one in batch}))
