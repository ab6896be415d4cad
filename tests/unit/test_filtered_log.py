"""Reading a log through a filter: the matching lines of the full export, wherever the events are and come from."""

from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.catalog import tallies
from smsevents.catalog.outlines import may_match
from smsevents.catalog.segments import find_segment
from smsevents.errors import DamagedSegment
from smsevents.log import filtered, selected
from smsevents.log.filtered import NOTHING_YET
from smsevents.log.recorder import append_segments
from smsevents.segments import tally
from smsevents.segments.segment import deflate, pack
from smsevents.segments.splice import splice, unpack
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.window import Window
from tests.support.databases import damage
from tests.support.entries import altered
from tests.support.filters import filter_of, some_filters, varied_lines, wanted_of
from tests.support.lines import DAY_MS, body_of, date_of, line
from tests.support.logs import FEW_LINES, Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield a log whose packs are in memory."""
    made = Held(url, MemoryStore())
    yield made
    made.database.close()


def read(held: Held, chosen: dict[str, Any], start: int, end: int) -> bytes:
    """Return the plain bytes of a filtered export. Its gzip bytes must hold the same."""
    window = Window(start, end)
    plain = b"".join(unpack(held.log.read(held.trackpoint, window, filter_of(chosen))))
    assert gzip.decompress(b"".join(splice(held.log.read(held.trackpoint, window, filter_of(chosen))))) == plain
    return plain


@pytest.fixture
def small_tallies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count segments of any size, and let pages end after few segments that were left out."""
    monkeypatch.setattr(tally, "TALLY_LINES_MIN_BYTES", 1)
    monkeypatch.setattr(tallies, "TALLY_LINES_MIN_BYTES", 1)
    monkeypatch.setattr(selected, "LEFT_OUT_SEGMENTS_MAX", 2)


def tallied(held: Held) -> int:
    """Count the segments that have no tally yet. Return how many there were."""
    return sum(Backfill().steps(held.database, 2**62))


@pytest.mark.usefixtures("small_tallies")
@pytest.mark.parametrize("step_bytes", [1, filtered.FILTER_STEP_BYTES])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_full_export_without_the_other_lines(
    held: Held, monkeypatch: pytest.MonkeyPatch, seed: int, step_bytes: int
) -> None:
    """After random imports, repetitions, late events, compactions and packing, each filter gives its lines once.

    Some segments have a tally, by which they are left out, and some have none.
    """
    monkeypatch.setattr(filtered, "FILTER_STEP_BYTES", step_bytes)
    monkeypatch.setattr(selected, "may_match", noted := Noted(may_match))
    chance = random.Random(seed)  # noqa: S311 -- invented data
    begin, end = held.now - 12 * DAY_MS, held.now
    sent: list[bytes] = []
    for step in range(8):
        first = chance.randint(begin, end)
        batch = varied_lines(chance, held.trackpoint, 60, first, min(end, first + chance.choice([60_000, 5 * DAY_MS])))
        held.put(batch + chance.sample(sent, min(len(sent), 10)))
        sent += batch
        if step % 3 == 1:
            held.compact(FEW_LINES, everything=chance.random() < 0.5)
        if step % 4 == 2:
            held.pack(FEW_LINES)
        if chance.random() < 0.6:
            tallied(held)
        everything = held.exported().splitlines()
        assert body_of(everything) == held.expected()
        for chosen in some_filters(chance, sent, 4):
            start, stop = sorted(chance.randint(begin, end) for _ in range(2))
            within = [one for one in everything if start <= date_of(one) <= stop]
            assert read(held, chosen, start, stop) == body_of(wanted_of(within, chosen))
    assert noted.no > 20
    assert noted.yes > 20


class Noted:
    """Counts how often a function said yes and no."""

    def __init__(self, function: Callable[..., bool]) -> None:
        self._function = function
        self.yes = self.no = 0

    def __call__(self, *words: Any) -> bool:
        """Call the function."""
        found = self._function(*words)
        self.yes, self.no = self.yes + found, self.no + (not found)
        return found


def put_days(held: Held) -> bytes:
    """Store a segment for each of some days, count all of them, and return the lines of the one that was rejected."""
    for day in range(8, 3, -1):
        start, status = held.now - day * DAY_MS, "REJECTED" if day == 5 else "DELIVERED"
        held.put([line(held.trackpoint, start + number, status=status) for number in range(5)])
    return body_of(wanted_of(held.exported().splitlines(), {"status": "REJECTED"}))


@pytest.mark.usefixtures("small_tallies")
def test_a_segment_that_cannot_match_is_not_read(held: Held) -> None:
    """Damage in segments without matching events is not met, and damage in one with them is."""
    rejected = put_days(held)
    assert tallied(held) == 5
    for number, header in enumerate(held.headers()):
        if number != 3:
            damage(held.path, header.id)

    assert read(held, {"status": "REJECTED"}, 0, held.now) == rejected
    assert read(held, {"campaign": "none"}, 0, held.now) == b""
    assert read(held, {"campaign": "Black Friday", "sentFrom": 0, "sentTo": 1}, 0, held.now) == b""
    with pytest.raises(DamagedSegment):
        read(held, {"status": "DELIVERED"}, 0, held.now)


class NotedReads(MemoryStore):
    """A store that notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return a part of an object."""
        self.bytes_read += size
        return super().read(key, start, size)


@pytest.mark.usefixtures("small_tallies")
def test_a_segment_of_a_pack_that_cannot_match_is_not_read(url: str) -> None:
    """Of packs, only the segments that may match are read, and for a filter that none of them matches, nothing."""
    store = NotedReads()
    held = Held(url, store)
    rejected = put_days(held)
    held.pack(FEW_LINES)
    tallied(held)
    assert not held.headers()
    everything = sum(pack_.stored_bytes for pack_ in held.packs())
    store.bytes_read = 0

    assert read(held, {"campaign": "none"}, 0, held.now) == b""
    assert store.bytes_read == 0
    assert read(held, {"status": "REJECTED"}, 0, held.now) == rejected
    assert 0 < store.bytes_read < everything
    held.database.close()


@pytest.mark.usefixtures("small_tallies")
def test_a_search_stops_between_segments(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends after some segments that were left out, however many follow, and the next one continues there."""
    put_in_small_segments(held, 2000)
    tallied(held)
    monkeypatch.setattr(selected, "may_match", noted := Noted(may_match))
    reader = held.log.read(held.trackpoint, Window(0, held.now), filter_of({"campaign": "none"}))
    counts = []
    while reader.next_page():
        counts.append(noted.no)

    steps = [after - before for before, after in pairwise(counts)]
    assert max(steps) <= 3
    assert noted.no < 1.6 * len(held.headers())
    assert noted.yes == 0


def put_in_small_segments(held: Held, count: int) -> list[bytes]:
    """Store lines of a hundred users in many small segments. Return them in order."""
    lines = [line(held.trackpoint, held.now - count + number, user=f"u{number % 100}") for number in range(count)]
    append_segments(held.database, held.trackpoint, pack([(date_of(one), one) for one in lines], 900)).result()
    return lines


def test_a_step_is_bounded_and_few_lines_wait(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that few events match returns to its caller after each step, and few lines are collected first."""
    monkeypatch.setattr(filtered, "FILTER_STEP_BYTES", 1000)
    lines = put_in_small_segments(held, 2000)
    reader = held.log.read(held.trackpoint, Window(0, held.now), filter_of({"userId": "u7"}))

    pages = []
    while pieces := reader.next_page(10_000):
        pages.append(pieces)

    assert len(pages) > 100
    assert [page for page in pages if page != NOTHING_YET] == [[body_of(wanted_of(lines, {"userId": "u7"}))]]


def test_lines_do_not_wait_for_ever(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few matching lines are returned once much was looked at, so that a client hears from a long search."""
    monkeypatch.setattr(filtered, "FILTER_STEP_BYTES", 1000)
    monkeypatch.setattr(filtered, "FILTER_WAIT_MAX_BYTES", 50_000)
    put_in_small_segments(held, 2000)
    reader = held.log.read(held.trackpoint, Window(0, held.now), filter_of({"userId": "u7"}))

    found = [page for page in reader if page != NOTHING_YET]

    assert len(found) > 3
    assert sum(page[0].count(b"\n") for page in found if isinstance(page[0], bytes)) == 20


def test_damage_is_found_through_a_filter(held: Held) -> None:
    """A segment that holds no events is damaged, also if a filter looks at it; nothing is returned of it."""
    held.put([line(held.trackpoint, held.now)])
    (header,) = held.headers()
    with held.database.read() as connection:
        segment = find_segment(connection, header.id)
    assert segment is not None
    lines = b'"name":"Black Friday"},"\n'
    bad = altered(
        segment,
        deflate(lines),
        line_bytes=len(lines),
        line_crc=zlib.crc32(lines),
        stored_crc=zlib.crc32(deflate(lines)),
        first=(held.now - 5, b"a"),
        last=(held.now - 4, b"a"),
    )
    append_segments(held.database, held.trackpoint, [bad]).result()

    with pytest.raises(DamagedSegment, match="its lines are not events"):
        list(held.log.read(held.trackpoint, Window(0, held.now), filter_of({"campaign": "Black Friday"})))
