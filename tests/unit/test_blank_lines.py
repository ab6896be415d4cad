"""Blank lines: left out and counted without a look at each, and what gzip may inflate to."""

from __future__ import annotations

import gzip
import tracemalloc
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import BodyTooLarge, InvalidLines
from smsevents.log import checked_lines
from smsevents.log import ingest as ingest_module
from smsevents.segments.splice import unpack
from smsevents.wire import events
from smsevents.wire.blank_lines import place_of, without_blank_lines
from smsevents.wire.gzip_stream import INFLATE_RUN_MAX_BYTES
from smsevents.wire.results import ImportResult
from tests.support.ingests import ingesting
from tests.support.lines import line

SHOP, NOW = 7, 1_795_000_000_000
MIB = 1024 * 1024

some_lines = st.lists(st.text(" \t\r\v\fab", max_size=6).map(str.encode), max_size=30)


@given(lines=some_lines)
def test_only_blank_lines_are_left_out(lines: list[bytes]) -> None:
    """What is left are the lines that hold more than white space, unchanged and in order, each with its end."""
    full = [one for one in lines if one.strip()]
    assert without_blank_lines(b"".join(one + b"\n" for one in lines)) == b"".join(one + b"\n" for one in full)


@given(lines=some_lines)
def test_the_place_of_a_line_counts_blank_ones(lines: list[bytes]) -> None:
    """Each line that is not blank is found at the place that it has among all lines."""
    places = [place for place, one in enumerate(lines) if one.strip()]
    block = b"".join(one + b"\n" for one in lines)
    assert [place_of(block, which) for which in range(len(places))] == places


def test_blank_lines_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million blank lines around an event, one that repeats a key and a bad one, only those three are decoded."""
    looked_at: list[bytes] = []

    def counted(text: bytes) -> object:
        looked_at.append(text)
        return events.decode(text)

    monkeypatch.setattr(checked_lines, "decode", counted)
    good = line(SHOP, NOW)
    repeated = good.replace(b'"status"', b'"status":"DELIVERED","status"')
    gap = b"\n" * 100_000 + b" \r\n" * 200_000
    with ingesting(SHOP, NOW, gzip=False, lines_max_mib=64) as ingest:
        for part in (gap, good + b"\n", gap, repeated + b"\n" + gap, b"{}\n" + gap):
            ingest.feed(part)
        with pytest.raises(InvalidLines) as refusal:
            ingest.finish()
    assert looked_at == [repeated, b"{}"]
    assert [bad.line for bad in refusal.value.bad_lines] == [600_002, 900_003]


def test_a_body_of_blank_lines_is_many_small_steps() -> None:
    """However far a little gzip inflates, no step takes in more than a run."""
    body = gzip.compress(b"\n" * (20 * MIB))
    with ingesting(SHOP, NOW, gzip=True, lines_max_mib=64) as ingest:
        steps = list(ingest.steps(body))
        assert ingest.finish() == ImportResult(0, 0)
    assert sum(steps) == 20 * MIB
    assert len(steps) >= 20
    assert max(steps) <= INFLATE_RUN_MAX_BYTES


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a body inflate to 4 MiB whatever its size, so that the tests need no large ones. Return that size."""
    monkeypatch.setattr(ingest_module, "INFLATED_FREE_BYTES", 4 * MIB)
    return 4 * MIB


@pytest.mark.parametrize("content", [b"\n", b" \n", line(SHOP, NOW) + b"\n"], ids=["feeds", "blank", "events"])
def test_gzip_may_not_inflate_beyond_reason(free: int, content: bytes) -> None:
    """A thousandfold body is refused where it inflates to more than it may; without the rule it is taken."""
    count = 4 * free // len(content)
    body = gzip.compress(content * count, 9)
    taken = 0
    with ingesting(SHOP, NOW, gzip=True, lines_max_mib=1024, inflation_max_ratio=200) as ingest:
        with pytest.raises(BodyTooLarge, match="more than 200 times its size"):  # noqa: PT012 -- counts as it goes
            for size in ingest.steps(body):
                taken += size
        assert list(ingest.segments()) == []
    may = max(free, 200 * len(body))
    assert may - INFLATE_RUN_MAX_BYTES <= taken <= may
    with ingesting(SHOP, NOW, gzip=True, lines_max_mib=1024) as ingest:
        ingest.feed(body)
        assert ingest.finish().received == (count if content.strip() else 0)


def test_what_compresses_as_events_do_is_taken(free: int) -> None:
    """A body beyond the free size that inflates a hundredfold, more than events do, is taken completely."""
    lines = [
        line(SHOP, NOW - number, user=f"{number * 2654435761 % 10**9}", campaign="x" * 900) for number in range(9000)
    ]
    body = gzip.compress(b"\n".join(lines), 9)
    assert sum(map(len, lines)) > max(free, 30 * len(body))
    with ingesting(SHOP, NOW, gzip=True, lines_max_mib=1024, inflation_max_ratio=200) as ingest:
        ingest.feed(body)
        assert ingest.finish() == ImportResult(9000, 0)


@pytest.mark.slow
def test_less_is_held_where_memory_is_short() -> None:
    """Where many imports run, one holds half as much memory or less, and stores the same."""
    lines = [line(SHOP, NOW - number, user=f"{number}") for number in range(40_000)]
    peaks: list[int] = []
    stored: list[set[bytes]] = []
    for is_short in (repeat(True), repeat(False)):
        tracemalloc.start()
        with ingesting(SHOP, NOW, gzip=False, lines_max_mib=64, is_short_of_memory=is_short.__next__) as ingest:
            for start in range(0, len(lines), 500):
                ingest.feed(b"".join(one + b"\n" for one in lines[start : start + 500]))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert ingest.finish() == ImportResult(len(lines), 0)
            stored.append(set(b"".join(unpack([list(ingest.segments())])).splitlines()))
    assert stored == [set(lines), set(lines)]
    assert peaks[0] < peaks[1] * 0.6
