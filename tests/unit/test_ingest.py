"""The ingest: a body in any chunking becomes sorted segments with nothing lost, or is refused as a whole."""

from __future__ import annotations

import gzip as gzip_module
import json
import tracemalloc
from hashlib import shake_256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import BodyTooLarge, InvalidLines, InvalidRequest, RefusedLine
from smsevents.log.ingest import INGEST_CHUNK_BYTES, INGEST_SPOOL_MAX_BYTES, Ingest
from smsevents.segments.segment import SEGMENT_LINES_BYTES, read_entries
from smsevents.wire.events import NotAnEvent, NotJson, decode, digest_of
from smsevents.wire.results import ImportResult
from smsevents.wire.times import TIME_MIN_MS
from tests.support.ingests import ingesting
from tests.support.lines import DAY_MS, body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.segments.segment import Segment

SHOP = 7
NOW = 1_676_380_261_000
OLDEST = NOW - 90 * DAY_MS
NEWEST = NOW + DAY_MS
MIB = 1024 * 1024
GOOD = line(SHOP, NOW)


def feed_all(ingest: Ingest, chunks: Iterable[bytes]) -> ImportResult:
    """Feed a body to its end."""
    for chunk in chunks:
        ingest.feed(chunk)
    return ingest.finish()


def take(chunks: Iterable[bytes], *, gzip: bool = False, lines_max_mib: int = 64) -> tuple[ImportResult, list[Segment]]:
    """Take a body in. Return its result and its segments."""
    with ingesting(SHOP, NOW, gzip=gzip, lines_max_mib=lines_max_mib) as ingest:
        result = feed_all(ingest, chunks)
        return result, list(ingest.segments())


def refused(chunks: Iterable[bytes], *, gzip: bool = False, lines_max_mib: int = 64) -> InvalidRequest:
    """Take in a body that must be refused. Return the refusal. Nothing is handed on."""
    with ingesting(SHOP, NOW, gzip=gzip, lines_max_mib=lines_max_mib) as ingest:
        with pytest.raises(InvalidRequest) as refusal:
            feed_all(ingest, chunks)
        assert list(ingest.segments()) == []
    return refusal.value


def bad_lines(body: bytes) -> InvalidLines:
    """Take in a body with bad lines. Return the refusal that names them."""
    refusal = refused([body])
    assert isinstance(refusal, InvalidLines)
    return refusal


def lines_in(segments: Iterable[Segment]) -> list[bytes]:
    """Return the lines of segments; each segment must be sorted by date and line, with every line once."""
    found = []
    for segment in segments:
        held = read_entries(segment)
        assert all(one < other for one, other in pairwise(held))
        assert [date for date, _ in held] == [date_of(one) for _, one in held]
        found += [one for _, one in held]
    return found


def cut_up(data: bytes, places: list[float]) -> list[bytes]:
    """Cut bytes at places between 0 and 1."""
    edges = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


line_values = st.builds(
    line,
    st.just(SHOP),
    st.sampled_from([OLDEST - DAY_MS, OLDEST - 1, OLDEST, OLDEST + 1, NOW - 1, NOW, NOW + 1, NEWEST]),
    st.sampled_from(["a", "b", "ž\u2028", "x" * 1024]),
    node=st.sampled_from([None, "a node"]),
)
gaps = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\r\n\n", b"  \n"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Return lines and a body that holds them, with blank lines, CRLF, and no end of the last line, as it comes."""
    lines: list[bytes] = draw(st.lists(line_values, max_size=12))
    ends = [draw(gaps) for _ in lines]
    last_is_ended = draw(st.booleans())
    if ends and not last_is_ended:
        ends[-1] = b""
    heads = st.sampled_from([b"", b"\n", b"\r\n \n"])
    return lines, draw(heads) + b"".join(one + end for one, end in zip(lines, ends, strict=True))


cuts = st.lists(st.floats(0, 1), max_size=8)


def assert_holds(taken: tuple[ImportResult, list[Segment]], lines: list[bytes]) -> None:
    """Check an ingest against a plain set of the lines that are within the history."""
    result, segments = taken
    kept = [one for one in lines if date_of(one) >= OLDEST]
    assert result == ImportResult(received=len(lines), expired=len(lines) - len(kept))
    assert sorted(lines_in(segments)) == sorted(set(kept))


@settings(max_examples=150, deadline=None)
@given(body=bodies(), places=cuts)
def test_a_body_is_the_same_in_any_chunking(body: tuple[list[bytes], bytes], places: list[float]) -> None:
    """Wherever a body is cut, its lines come in, counted, sorted and each once, without those that have expired."""
    assert_holds(take(cut_up(body[1], places)), body[0])


@settings(max_examples=150, deadline=None)
@given(body=bodies(), members=cuts, places=cuts)
def test_a_gzip_body_is_the_same_in_any_members_and_chunking(
    body: tuple[list[bytes], bytes], members: list[float], places: list[float]
) -> None:
    """A gzip body of one member or several, cut anywhere, also within their headers, is the same body."""
    sent = b"".join(gzip_module.compress(part) for part in cut_up(body[1], members))
    assert_holds(take(cut_up(sent, places), gzip=True), body[0])


def one_by_one(body: bytes, blocked: str) -> tuple[ImportResult, set[bytes]] | list[RefusedLine]:
    """Return the expected result of an ingest: each line judged separately, by the rules of the contract."""
    received = expired = dropped = 0
    kept: set[bytes] = set()
    bad: list[RefusedLine] = []
    for number, sent in enumerate(body.split(b"\n"), start=1):
        if not sent.strip():
            continue
        received += 1
        try:
            event, canonical = decode(sent)
        except (NotAnEvent, NotJson) as error:
            bad.append(RefusedLine(number, str(error)))
            continue
        sms = event.smsEvent
        if sms.trackpoint != SHOP:
            bad.append(RefusedLine(number, f"`trackpoint` is {sms.trackpoint}, but the import is for {SHOP}"))
        elif sms.date > NEWEST:
            late = "is more than 24 hours ahead of the server's clock; send Unix milliseconds, UTC"
            bad.append(RefusedLine(number, f"`date` {sms.date} {late}"))
        elif sms.date < OLDEST:
            expired += 1
        elif sms.userId == blocked:
            dropped += 1
        else:
            kept.add(canonical)
    return bad[:20] or (ImportResult(received, expired, dropped), kept)


def respelled(one: bytes) -> bytes:
    """Spell a line as most JSON writers do, with the keys in another order."""
    return json.dumps(json.loads(one), sort_keys=True).encode()


bad_values = st.sampled_from(
    [
        b"{",
        b"[]",
        b"\xff",
        b"\xef\xbb\xbf" + GOOD,
        b"\x1e" + GOOD,
        GOOD + GOOD,
        GOOD.replace(b"DELIVERED", b"SENT"),
        GOOD.replace(b'"userId"', b'"userId":"a","userId"'),
        line(SHOP + 1, NOW),
        line(SHOP, NEWEST + 1),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    sent=st.lists(line_values | line_values.map(respelled) | line_values, max_size=12),
    bad=st.lists(bad_values, max_size=2),
    pick=st.data(),
    blocked=st.sampled_from(["", "a"]),
    places=cuts,
)
def test_many_lines_at_once_are_taken_as_one_by_one(
    sent: list[bytes], bad: list[bytes], pick: st.DataObject, blocked: str, places: list[float]
) -> None:
    """Canonical, respelled, blank and bad lines, mixed and cut anywhere, end as if each were looked at for itself."""
    mixed = pick.draw(st.permutations(sent + bad))
    body = b"".join(one + pick.draw(gaps) for one in mixed)
    digests = frozenset({digest_of(SHOP, blocked)} if blocked else ())
    expected = one_by_one(body, blocked)
    with ingesting(SHOP, NOW, gzip=False, lines_max_mib=64, blocked=digests) as ingest:
        if isinstance(expected, list):
            with pytest.raises(InvalidLines) as refusal:
                feed_all(ingest, cut_up(body, places))
            assert refusal.value.bad_lines == expected
            assert list(ingest.segments()) == []
        else:
            result = feed_all(ingest, cut_up(body, places))
            assert (result, set(lines_in(ingest.segments()))) == expected


def test_byte_by_byte() -> None:
    """A body that comes one byte at a time is the same body, plain and gzip."""
    lines = [line(SHOP, NOW - step, "ž") for step in range(5)]
    body = body_of(lines)
    assert_holds(take(body[i : i + 1] for i in range(len(body))), lines)
    sent = gzip_module.compress(body[:300]) + gzip_module.compress(body[300:])
    assert_holds(take((sent[i : i + 1] for i in range(len(sent))), gzip=True), lines)


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \t \n\n", b" "])
def test_a_body_without_lines_holds_nothing(body: bytes) -> None:
    """An empty body and blank lines are not an error: nothing is received and nothing is stored."""
    assert take([body]) == (ImportResult(0, 0), [])
    assert take([gzip_module.compress(body)], gzip=True) == (ImportResult(0, 0), [])


def test_the_history_ends_to_the_millisecond() -> None:
    """An event exactly 90 days old is kept, and one a millisecond older is counted as expired and dropped."""
    result, segments = take([body_of([line(SHOP, OLDEST), line(SHOP, OLDEST - 1), line(SHOP, TIME_MIN_MS + 300)])])
    assert result == ImportResult(received=3, expired=2)
    assert lines_in(segments) == [line(SHOP, OLDEST)]


def test_the_future_ends_to_the_millisecond() -> None:
    """An event exactly 24 hours ahead is kept, and one a millisecond later is refused with its date."""
    assert lines_in(take([line(SHOP, NEWEST)])[1]) == [line(SHOP, NEWEST)]
    refusal = bad_lines(body_of([GOOD, line(SHOP, NEWEST + 1)]))
    assert [bad.line for bad in refusal.bad_lines] == [2]
    assert f"`date` {NEWEST + 1} is more than 24 hours ahead" in refusal.bad_lines[0].reason
    assert not refusal.malformed


def test_a_line_of_another_shop_is_refused() -> None:
    """A line of another trackpoint is refused with both trackpoints, also one that has expired."""
    for date in (NOW, OLDEST - 1):
        refusal = bad_lines(line(SHOP + 1, date))
        assert refusal.bad_lines == [RefusedLine(1, "`trackpoint` is 8, but the import is for 7")]
        assert not refusal.malformed


def test_bad_lines_are_named_by_their_numbers() -> None:
    """Blank lines, CRLF and expired lines count as lines, so a number is the one that an editor shows."""
    lines = [b"", GOOD + b"\r", b"{}", b" \r", line(SHOP, OLDEST - 1), b"nonsense", b"", b"\r", b"[]"]
    refusal = bad_lines(b"\n".join(lines))
    assert [bad.line for bad in refusal.bad_lines] == [3, 6, 9]
    assert refusal.malformed
    assert not refusal.more
    assert "Line 3: " in str(refusal)
    assert "(2 more in `errors`)" in str(refusal)


@pytest.mark.parametrize(("bad", "malformed"), [(b"{}", False), (b"{", True), (b"\xff", True), (b"null", False)])
def test_it_is_told_whether_a_line_is_no_json(bad: bytes, malformed: bool) -> None:
    """A refusal says whether some line is not JSON at all, which gets a different response from a bad event."""
    assert bad_lines(body_of([b"{}", bad])).malformed is malformed


@pytest.mark.parametrize(
    ("lines", "reported", "more"), [(1, 1, False), (19, 19, False), (20, 20, True), (99, 20, True)]
)
def test_at_most_twenty_bad_lines_are_reported(lines: int, reported: int, more: bool) -> None:
    """Reading stops at the 20th bad line, and the refusal says that there may be more."""
    refusal = bad_lines(body_of([GOOD, b"{}"] * lines))
    assert [bad.line for bad in refusal.bad_lines] == list(range(2, 2 * reported + 1, 2))
    assert refusal.more is more
    assert ("Reading stopped there" in str(refusal)) is more


WHOLE = gzip_module.compress(body_of([GOOD] * 3), mtime=0)  # the same in every process that collects tests


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"no gzip at all, but longer than a header",
        body_of([GOOD]),
        WHOLE[:1],
        WHOLE[:9],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-8],
        WHOLE[:-1],
        WHOLE[:-8] + bytes([WHOLE[-8] ^ 1]) + WHOLE[-7:],
        WHOLE + b"trailing garbage, longer than a header",
        WHOLE + b"x",
        WHOLE + WHOLE[:-1],
        WHOLE + WHOLE[:5],
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_gzip_body_that_is_not_whole_is_refused(sent: bytes, size: int) -> None:
    """A body that is not gzip, is truncated, has a wrong checksum or has data after it is refused as such."""
    refusal = refused([sent[i : i + size] for i in range(0, len(sent), size)], gzip=True)
    assert not isinstance(refusal, InvalidLines)
    assert "gzip" in str(refusal)


def test_the_limit_counts_inflated_bytes() -> None:
    """A body of exactly the limit is taken, plain or gzip, and one byte more is refused with the setting's name."""
    full = GOOD + b"\n" + b"\n" * (MIB - len(GOOD) - 1)
    for gzip in (False, True):
        exactly, over = (gzip_module.compress(body) if gzip else body for body in (full, full + b"\n"))
        assert take([exactly], gzip=gzip, lines_max_mib=1)[0] == ImportResult(1, 0)
        with pytest.raises(BodyTooLarge, match=r"1 MiB.*SMSEVENTS_IMPORT_LINES_MAX_MIB"):
            take([over], gzip=gzip, lines_max_mib=1)


@pytest.mark.slow
@pytest.mark.parametrize("filling", [b"\n", b" ", GOOD + b"\n"])
def test_a_gzip_bomb_is_refused_at_the_limit(filling: bytes) -> None:
    """A body that inflates to a thousand times its size is refused at the limit, with memory for no more than that."""
    bomb = gzip_module.compress(filling * (128 * MIB // len(filling)), 6)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="more than 1 MiB"):
            take([bomb], gzip=True, lines_max_mib=1)
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1000, MIB])
def test_an_endless_line_is_refused(size: int) -> None:
    """A line without end is refused as soon as it is longer than any event, long before the limit of the body."""
    fed: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            fed.append(size)
            yield b"x" * size

    refusal = refused(endless())
    assert isinstance(refusal, InvalidLines)
    assert refusal.bad_lines == [RefusedLine(1, "the line is longer than 65536 bytes; no event needs that many")]
    assert refusal.more
    assert sum(fed) <= 65536 + size


def test_white_space_without_end_is_a_blank_line() -> None:
    """White space longer than any line is a blank line, and the lines around it are counted and taken."""
    body = [GOOD + b"\n", *[b" " * 50_000] * 5, b"\n", line(SHOP, NOW - 1)]
    result, segments = take(body)
    assert result == ImportResult(2, 0)
    assert lines_in(segments) == [line(SHOP, NOW - 1), GOOD]


@pytest.mark.parametrize("cut", [1, 66_000, 70_000, 70_100])
def test_white_space_before_a_line_counts_the_same_in_any_chunking(cut: int) -> None:
    """Whether a line after more than 64 KiB of white space is accepted does not depend on where the body is cut."""
    body = b" " * 70_000 + GOOD + b"\n"

    def outcome(chunks: list[bytes]) -> ImportResult | list[RefusedLine]:
        try:
            return take(chunks)[0]
        except InvalidLines as refusal:
            return refusal.bad_lines

    assert outcome([body[:cut], body[cut:]]) == outcome([body])


@pytest.mark.slow
def test_a_body_of_many_chunks_loses_nothing() -> None:
    """A body of several chunks of work, shuffled and with repeated lines, comes out complete, in full segments."""
    midnight = NOW // DAY_MS * DAY_MS
    lines = [line(SHOP, midnight + step * 1000, f"user {step * 7919}") for step in range(75_000)]
    lines.sort(key=lambda one: shake_256(one).digest(8))
    sent = lines + lines[::10]
    body = body_of(sent)
    assert len(body) > 3 * INGEST_CHUNK_BYTES
    result, segments = take(body[i : i + 100_000] for i in range(0, len(body), 100_000))
    assert result == ImportResult(received=len(sent), expired=0)
    assert set(lines_in(segments)) == set(lines)
    assert sum(segment.header.line_bytes < SEGMENT_LINES_BYTES for segment in segments) <= 1


def test_no_segment_holds_a_midnight() -> None:
    """Lines of several days come out in a segment for each day, so that they overlap with nothing of another day."""
    midnight = NOW // DAY_MS * DAY_MS
    dates = [midnight + days * DAY_MS + offset for days in (-3, -1, 0) for offset in (-1, 0, 1)]
    result, segments = take([body_of(line(SHOP, date) for date in dates)])
    assert result.received == len(dates)
    days = [{date_of(one) // DAY_MS for one in lines_in([segment])} for segment in segments]
    assert [len(day) for day in days] == [1] * 5
    assert sorted(set().union(*days)) == sorted({date // DAY_MS for date in dates})


def random_text(seed: str) -> str:
    """Return a text of maximum length that hardly compresses."""
    return shake_256(seed.encode()).hexdigest(512)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
def test_a_large_body_goes_through_a_file() -> None:
    """Segments that are too much for memory wait in one temporary file, come back whole, and the file goes away."""
    lines = [
        line(SHOP, NOW - step, random_text(f"user {step}"), campaign=random_text(f"campaign {step}"))
        for step in range(20_000)
    ]
    opened = open_files()
    with ingesting(SHOP, NOW, gzip=False, lines_max_mib=64) as ingest:
        for start in range(0, len(lines), 1000):
            ingest.feed(body_of(lines[start : start + 1000]))
        assert ingest.finish() == ImportResult(len(lines), 0)
        assert open_files() == opened + 1
        segments = list(ingest.segments())
        assert segments == list(ingest.segments())
    assert open_files() == opened
    assert sum(len(segment.data) for segment in segments) > INGEST_SPOOL_MAX_BYTES
    assert sorted(lines_in(segments)) == sorted(lines)
