"""Tallies: each says what its segment holds, goes with it, and is made for all segments that are worth one."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from smsevents.catalog.outlines import may_match, outlines_after
from smsevents.catalog.packs import packs_of
from smsevents.catalog.tables import packs, segments, tallies
from smsevents.catalog.tallies import SUM_START, sum_of_pack
from smsevents.errors import DamagedSegment
from smsevents.segments import tally as tally_module
from smsevents.segments.merge import MERGE_HELD_MAX_BYTES
from smsevents.segments.segment import inflate
from smsevents.segments.selection import Selection
from smsevents.segments.splice import unpack
from smsevents.segments.tally import TALLY_LINES_MIN_BYTES, TALLY_VERSION, encode_tally, encoded_tally_of, tally_of
from smsevents.segments.tally_sum import decode_sum, sum_of
from smsevents.stats import parts as parts_of_stats
from smsevents.stats.events import count_events
from smsevents.stats.kept import Kept
from smsevents.stats.parts import Parts, Use
from smsevents.stats.question import Question
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep import tallying
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.retention import expire
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.window import Window
from smsevents.worker.worker import UpkeepWorker
from tests.support.counting import SIZES, asked, backfill, filled
from tests.support.lines import body_of, line
from tests.support.logs import Held
from tests.support.statistics import event_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog.outlines import AnyOutline
    from smsevents.segments.segment import Segment
    from smsevents.stats.delivery import Took


@pytest.fixture
def packing(url: str) -> Iterator[Held]:
    """Yield an empty shop with a store of packs."""
    made = Held(url, MemoryStore())
    yield made
    made.database.close()


def check(held: Held) -> tuple[int, int]:
    """Compare each tally with the lines of its segment, and return how many segments have one, and how many there are.

    Each pack has a sum, which equals that of what its segments hold. No tally and no sum is left over.
    """
    found = total = 0
    with held.database.read() as connection:
        window = (held.now - HISTORY_MS, b""), held.now + DAY_MS
        with closing(outlines_after(held.database, connection, held.trackpoint, *window)) as outlines:
            for outline in outlines:
                total += 1
                if outline.has_tally:
                    found += 1
                    lines = inflate(outline.load())
                    assert outline.tally() == tally_of(lines)
                    assert len(lines) >= TALLY_LINES_MIN_BYTES
        for pack in packs_of(connection, held.trackpoint):
            encoded = sum_of_pack(connection, pack.id)
            inner = held.database.packs(connection).segments(connection, pack)
            assert encoded is not None
            assert decode_sum(encoded) == sum_of(tally_of(inflate(one.load())) for one in inner)
        sums = connection.execute(select(tallies.c.stored_id).where(tallies.c.start == SUM_START)).scalars().all()
        assert sorted(sums) == sorted(connection.execute(select(packs.c.id)).scalars())
        statement = select(tallies.c.in_pack, tallies.c.stored_id).where(tallies.c.start > SUM_START)
        places = connection.execute(statement).all()
        known = {(0, one) for one in connection.execute(select(segments.c.id)).scalars()}
        known |= {(1, one) for one in connection.execute(select(packs.c.id)).scalars()}
    assert {tuple(place) for place in places} <= known
    assert len(places) == found
    return found, total


def test_tallies_follow_their_segments(packing: Held) -> None:
    """What is imported has no tally; what is compacted, packed, unpacked, merged again or erased from has its own."""
    filled(packing)
    assert check(packing)[0] == 0
    packing.compact(SIZES)
    tallied, _ = check(packing)
    assert tallied > 0
    packing.pack(SIZES)
    assert check(packing)[0] >= tallied
    assert packing.packs()
    filled(packing, 500, seed=2)
    packing.compact(SIZES)
    assert check(packing)[0] > 0
    user = next(iter(packing.lines)).split(b'"userId":"')[1].split(b'"')[0].decode()
    assert erase(packing.database, packing.trackpoint, [user], packing.now, block=False).events > 0
    assert check(packing)[0] > 0
    expire(packing.database, packing.now + HISTORY_MS + DAY_MS)
    assert check(packing) == (0, 0)


def test_copied_segments_keep_their_tallies(packing: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that are moved into packs unchanged are not counted again."""
    filled(packing)
    packing.compact(SIZES)
    backfill(packing)
    tallied, _ = check(packing)
    counted: list[int] = []
    tally_in = tallying.tally_in

    def noted(segment: Segment) -> bytes | None:
        counted.append(segment.header.line_bytes)
        return tally_in(segment)

    monkeypatch.setattr(tallying, "tally_in", noted)
    packing.pack(SIZES)
    assert packing.packs()
    assert check(packing)[0] >= tallied
    assert all(size < TALLY_LINES_MIN_BYTES for size in counted)


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_backfill_counts_what_has_no_tally(packing: Held, *, is_packed: bool) -> None:
    """Segments without a tally, or with one of another version, get theirs once, in rows and in packs."""
    filled(packing)
    packing.compact(SIZES)
    if is_packed:
        packing.pack(SIZES)
    packing.database.write(lambda c: c.execute(update(tallies).values(version=TALLY_VERSION + 1)))
    before = count_events(packing.database, packing.trackpoint, asked(packing)).events
    tallied = backfill(packing)
    assert tallied > 0
    assert check(packing)[0] == tallied
    assert backfill(packing) == 0
    assert count_events(packing.database, packing.trackpoint, asked(packing)).events == before == len(packing.lines)


def test_the_upkeep_worker_tallies_imports_that_stay(held: Held) -> None:
    """A large import is counted by the second round of the upkeep worker, and never by the import."""
    filled(held, 3000, days=0.2)
    worker = UpkeepWorker(held.database, lambda: held.now)
    assert check(held)[0] == 0
    assert worker.round()
    assert worker.round()
    tallied, total = check(held)
    assert tallied == total == len(held.headers())


def test_a_segment_that_goes_while_it_is_counted_leaves_no_tally(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction that replaces a segment between its count and the tally leaves only tallies of its own."""
    filled(held, 3000, days=0.2)
    filled(held, 3000, days=0.2, seed=2)
    count = encoded_tally_of

    def count_late(lines: bytes) -> bytes | None:
        monkeypatch.setattr(tallying, "encoded_tally_of", count)
        held.compact(SIZES)
        return count(lines)

    monkeypatch.setattr(tallying, "encoded_tally_of", count_late)
    backfill(held)
    assert check(held)[0] > 0


def test_a_tally_that_cannot_be_read_is_not_used(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """If tallies are damaged, the lines of their segments are counted, and the log names the segments."""
    monkeypatch.setattr(parts_of_stats, "KEPT", Kept(0))
    filled(held)
    held.compact(SIZES)
    selection = Selection(campaigns=frozenset({"nothing"}))
    with capture_logs() as logged:
        before = count_events(held.database, held.trackpoint, asked(held)).rows()
        assert logged == []
        held.database.write(lambda c: c.execute(update(tallies).values(data=func.substr(tallies.c.data, 1, 99))))
        assert count_events(held.database, held.trackpoint, asked(held)).rows() == before
        assert {one["event"] for one in logged} == {"tally damaged"}
        assert {int(one["segment"]) for one in logged} <= {header.id for header in held.headers()}
    with held.database.read() as connection:
        outlines = list(outlines_after(held.database, connection, held.trackpoint, (0, b""), held.now))
        assert len(outlines) == len(held.headers())
        assert all(may_match(one, selection) for one in outlines)


def test_a_tally_is_not_larger_than_what_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment with a source for each event has no tally, and neither has a small one."""
    now = 1_790_000_000_000
    each = [event_line(1, now + n, now, campaign=(f"{random.Random(n).getrandbits(256):x}", "")) for n in range(2000)]  # noqa: S311 -- invented data
    assert encoded_tally_of(body_of(each)) is None
    one = [event_line(1, now + n, now) for n in range(2000)]
    assert encoded_tally_of(body_of(one)) is not None
    assert encoded_tally_of(body_of(one[:10])) is None
    monkeypatch.setattr(tally_module, "TALLY_MAX_BYTES", len(encode_tally(tally_of(body_of(one)))) - 1)
    assert encoded_tally_of(body_of(one)) is None
    monkeypatch.undo()
    long = [event_line(1, now + n, now, campaign=(f"{n}", "n" * 1024)) for n in range(2000)]
    assert encoded_tally_of(body_of(long)) is None  # it compresses well, but many of them are held at a time


@pytest.mark.parametrize(
    "selection",
    [
        Selection(statuses=frozenset({"DELETED"})),
        Selection(campaigns=frozenset({"nothing"})),
        Selection(sent_from=1_790_000_000_000 - 5 * DAY_MS, sent_to=1_790_000_000_000 - 4 * DAY_MS),
        Selection(frozenset({"EXPIRED"}), sent_to=1_790_000_000_000 - 15 * DAY_MS),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_segments_without_wanted_events_are_left_out(packing: Held, selection: Selection, *, is_packed: bool) -> None:
    """Every wanted event is in a segment that is selected, and segments whose tallies exclude it are not."""
    filled(packing, 3000)
    packing.compact(SIZES)
    if is_packed:
        packing.pack(SIZES)
    with packing.database.read() as connection:
        found = outlines_after(
            packing.database,
            connection,
            packing.trackpoint,
            (packing.now - HISTORY_MS, b""),
            packing.now + DAY_MS,
        )
        selected = b"".join(inflate(one.load()) for one in found if may_match(one, selection))

    def is_wanted(one: bytes) -> bool:
        tally = tally_of(one + b"\n")
        sent = int(one.rsplit(b'"sendDate":', 1)[1].split(b"}")[0])
        return selection.may_match(tally) and selection.takes_sent(sent)

    lines = selected.split(b"\n")[:-1]
    assert {one for one in packing.lines if is_wanted(one)} <= set(lines)
    assert len(lines) < len(packing.lines)


def test_deep_overlaps_are_counted_once(held: Held) -> None:
    """Shuffled imports that overlap more than a page can hold are counted as an export has them, each event once."""
    chance = random.Random(7)  # noqa: S311 -- invented data
    text = "x" * 1000
    lines = [
        line(held.trackpoint, held.now - DAY_MS + n, f"{n}", campaign=text)
        for n in range(MERGE_HELD_MAX_BYTES // 1000 + 2000)
    ]
    for _ in range(3):
        chance.shuffle(lines)
        held.put(lines[: len(lines) * 2 // 3])
    found = count_events(held.database, held.trackpoint, asked(held))
    assert found.events == len(held.lines) == held.exported().count(b"\n")


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("is_readable", [False, True])
def test_verification_finds_wrong_tallies(packing: Held, *, is_packed: bool, is_readable: bool) -> None:
    """A tally that cannot be read, or is that of other lines, is found, and made again without moving an event."""
    filled(packing)
    packing.compact(SIZES)
    if is_packed:
        packing.pack(SIZES)
    before = check(packing)
    assert not any(one.has_wrong_tally for one in verify(packing.database, None))
    with packing.database.read() as connection:
        of_segments = select(tallies).where(tallies.c.start > SUM_START)
        rows = connection.execute(of_segments.order_by(*tallies.primary_key)).all()
    chosen = [one == place for one in tallies.primary_key for place in (getattr(rows[1], one.name),)]
    wrong = rows[0].data if is_readable else b"no tally"
    packing.database.write(lambda c: c.execute(update(tallies).where(*chosen).values(data=wrong)))

    (found,) = [one for one in verify(packing.database, None) if one.has_wrong_tally]
    assert (found.header.id, found.header.place.start) == (rows[1].stored_id, rows[1].start)
    assert found.damage is None
    tallying.tally_again(packing.database, found.header)

    assert not any(one.has_wrong_tally for one in verify(packing.database, None))
    assert check(packing) == before
    assert packing.exported() == packing.expected()


@pytest.mark.parametrize("is_readable", [False, True])
def test_verification_finds_wrong_sums(packing: Held, *, is_readable: bool) -> None:
    """A sum that cannot be read, or is that of another pack, is found once, and made again with its tallies."""
    filled(packing)
    packing.compact(SIZES)
    packing.pack(SIZES)
    is_sum = tallies.c.start == SUM_START
    with packing.database.read() as connection:
        before = connection.execute(select(tallies).order_by(*tallies.primary_key)).all()
        first, second, *_ = connection.execute(select(tallies).where(is_sum).order_by(tallies.c.stored_id)).all()
    wrong = first.data if is_readable else b"no sum"
    chosen = is_sum & (tallies.c.stored_id == second.stored_id)
    packing.database.write(lambda c: c.execute(update(tallies).where(chosen).values(data=wrong)))

    found = list(verify(packing.database, None))
    assert not any(one.has_wrong_tally or one.damage for one in found)
    (pack,) = [one.header for one in found if one.has_wrong_sum]
    assert pack.id == second.stored_id
    tallying.tally_again(packing.database, pack)

    assert not any(one.has_wrong_sum for one in verify(packing.database, None))
    with packing.database.read() as connection:
        assert connection.execute(select(tallies).order_by(*tallies.primary_key)).all() == before


def test_a_pack_that_is_replaced_meanwhile_is_counted_once(packing: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """If packs are merged again and deleted between two parts of a count, every event still counts once."""
    filled(packing)
    packing.compact(SIZES)
    packing.pack(SIZES)
    monkeypatch.setattr(parts_of_stats, "LOADED_MAX_BYTES", 1)
    before = set(packing.lines)
    seen: list[bytes] = []

    def plan(_outline: AnyOutline) -> Use:
        return Use.LINES

    parts: Parts[Took] = Parts(packing.database, packing.trackpoint, asked(packing).window, plan)
    for number, (_, lines) in enumerate(parts):
        assert lines is not None
        seen += lines.split(b"\n")[:-1]
        if number == 2:
            filled(packing, 2000, seed=9)
            packing.compact(SIZES)
            assert packing.collect() is None
    assert len(seen) == len(set(seen))
    assert before <= set(seen) <= packing.lines


def test_a_pack_that_is_missing_is_an_error(packing: Held) -> None:
    """If the store has lost a pack whose lines are needed, the count fails and names the pack."""
    filled(packing)
    packing.compact(SIZES)
    packing.pack(SIZES)
    packing.database.write(lambda c: c.execute(tallies.delete()))
    with packing.database.read() as connection:
        store = packing.database.packs(connection).store
    lost = packing.packs()[1].place.key
    store.delete([lost])
    with pytest.raises(DamagedSegment, match=f"Pack {lost} is missing from its store"):
        count_events(packing.database, packing.trackpoint, asked(packing))


def test_a_pack_that_goes_while_it_is_counted_leaves_no_tally(packing: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that replaces a pack between its count and its tallies leaves none of them over."""
    filled(packing)
    packing.compact(SIZES)
    packing.pack(SIZES)
    packing.database.write(lambda c: c.execute(update(tallies).values(version=TALLY_VERSION + 1)))
    events = len(packing.lines)
    users = {plain(one).user for one in packing.lines}
    count = tallying.tally_in

    def count_late(segment: Segment) -> bytes | None:
        monkeypatch.setattr(tallying, "tally_in", count)
        assert erase(packing.database, packing.trackpoint, sorted(users)[: len(users) // 2], packing.now, block=False)
        return count(segment)

    monkeypatch.setattr(tallying, "tally_in", count_late)
    backfill(packing)
    check(packing)
    assert count_events(packing.database, packing.trackpoint, asked(packing)).events < events


def test_the_counts_of_a_plain_export_are_those_of_its_segments(held: Held) -> None:
    """The events of all parts are those that an export has, cut at both ends."""
    filled(held)
    held.compact(SIZES)
    times = sorted(header.first[0] for header in held.headers())
    for start, end in [(times[1] + 1, times[-1] - 1), (times[1], times[2]), (times[2] - 1, times[2] - 1)]:
        window = Window(start, end)
        question = Question(window, ZoneInfo("UTC"), "event", "1h", held.now)
        exported = b"".join(unpack(held.log.read(held.trackpoint, window)))
        assert count_events(held.database, held.trackpoint, question).events == exported.count(b"\n")
