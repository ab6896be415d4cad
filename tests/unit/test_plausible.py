"""Impossible values are refused where events come in, and stay readable where they are stored."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import InvalidLines
from smsevents.log.plausible import decode_possible, why_impossible
from smsevents.log.recorder import append_segments
from smsevents.segments.segment import pack, read_entries
from smsevents.segments.splice import unpack
from smsevents.upkeep.erasure import erase
from smsevents.wire.events import decode, decode_block, encode_lines
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.results import ImportResult
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS, unit_of
from smsevents.wire.window import resolve
from tests.support.events import canonical_of, events
from tests.support.ingests import ingesting
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.logs import Held, store

NOW = 1_790_000_000_000
SHOP = 7
GOOD = line(SHOP, NOW)
INT64_MAX = 2**63 - 1


def at(date: int = NOW, sent: int = NOW - 300, user: str = "123456", name: str = "Sale") -> bytes:
    """Return the line of an event with these values."""
    event = json.loads(line(SHOP, date, user=user, campaign=name))
    event["source"]["sendDate"] = sent
    return canonical_of(event)


def imported(body: bytes, *, skip_impossible: bool = False, size: int = 1 << 20) -> tuple[ImportResult, list[bytes]]:
    """Take a body in, in parts of a size. Return its result and the lines to store."""
    with ingesting(SHOP, NOW, gzip=False, lines_max_mib=64, skip_impossible=skip_impossible) as ingest:
        for start in range(0, len(body), size):
            ingest.feed(body[start : start + size])
        result = ingest.finish()
        return result, [one for segment in ingest.segments() for _, one in read_entries(segment)]


def refusal_of(body: bytes) -> InvalidLines:
    """Take in a body that must be refused. Return the refusal."""
    with pytest.raises(InvalidLines) as refusal:
        imported(body)
    return refusal.value


SECONDS = NOW // 1000
UNITS = [
    (SECONDS, "seconds?"),
    (NOW * 1000 + 731, "microseconds?"),
    (NOW * 1_000_000 + 731_000, "nanoseconds?"),
    (621_355_968_000_000_000 + NOW * 10_000, ".NET ticks?"),
    (20_261_124, "a date written in digits?"),
    (20_261_124_133_000, "a date written in digits?"),
    (20_261_124_133_000_250, "a date written in digits?"),
]


@pytest.mark.parametrize("field", ["date", "sendDate"])
@pytest.mark.parametrize(("time", "guess"), UNITS)
def test_a_time_in_another_unit_is_refused_with_that_unit(field: str, time: int, guess: str) -> None:
    """A time in seconds, micro- or nanoseconds, ticks or written digits is refused, and the text names the unit."""
    refusal = refusal_of(at(date=time) if field == "date" else at(sent=time))

    assert f"`{field}` {time} is not a time" in str(refusal)
    assert guess in str(refusal)
    assert not refusal.malformed


@pytest.mark.parametrize("field", ["date", "sendDate"])
@pytest.mark.parametrize("time", [0, -1, 1, -62_135_596_800_000, TIME_MIN_MS - 1, TIME_MAX_MS + 1, INT64_MAX])
def test_a_time_that_is_in_no_unit_is_refused_without_a_guess(field: str, time: int) -> None:
    """A time outside 2000 to 2099 that fits no other unit is refused with the range alone."""
    refusal = refusal_of(at(date=time) if field == "date" else at(sent=time))

    assert f"`{field}` {time} is not a time in the years 2000 to 2099; send Unix milliseconds" in str(refusal)


@pytest.mark.parametrize("time", [TIME_MIN_MS, NOW - 91 * DAY_MS])
def test_an_old_time_that_is_possible_is_expired(time: int) -> None:
    """A replay of old events, back to the first millisecond of 2000, is counted as expired and not refused."""
    assert imported(at(date=time, sent=time)) == (ImportResult(received=1, expired=1), [])


@pytest.mark.parametrize("sent", [TIME_MIN_MS, TIME_MAX_MS])
def test_the_range_holds_its_ends(sent: int) -> None:
    """The first and the last millisecond of the range are times."""
    assert imported(at(sent=sent)) == (ImportResult(received=1, expired=0), [at(sent=sent)])


@given(time=st.integers(-INT64_MAX - 1, INT64_MAX))
def test_a_guess_is_a_unit_that_gives_a_time(time: int) -> None:
    """For any number, a unit is only guessed if the number is a time of the range in that unit."""
    inside = {
        "in seconds": time * 1000,
        "in microseconds": time // 1000,
        "in nanoseconds": time // 1_000_000,
        "in .NET ticks": (time - 621_355_968_000_000_000) // 10_000,
    }
    unit = unit_of(time)
    if unit in inside:
        assert TIME_MIN_MS <= inside[unit] <= TIME_MAX_MS
    else:
        assert not any(TIME_MIN_MS <= value <= TIME_MAX_MS for value in inside.values())


BLANK = [
    "\0",
    " ",
    "   ",
    "\t",
    "\r\n",
    "\x7f",
    "\x1b",
    "\u0085",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\u3000 \u200e",
    "\u034f",
    "\u2800 \ufe0f",
    "\U000e01ef",
]


@pytest.mark.parametrize("user", BLANK)
def test_a_blank_user_id_is_refused(user: str) -> None:
    """A user id without a character that can be seen is refused as such, whichever characters it has instead."""
    assert "`userId`" in str(refusal_of(body_of([GOOD, at(user=user)])))
    assert refusal_of(body_of([GOOD, at(user=user)])).bad_lines[0].line == 2


@pytest.mark.parametrize("user", [" 1", "1 ", "1\t2", "1\0", "\u00a01", "ž", "-", "\U0001f600", "\u200b7", "1\r"])
def test_a_user_id_that_can_be_seen_is_kept_as_it_is(user: str) -> None:
    """White space and control characters around something that can be seen are part of the user id."""
    assert imported(at(user=user)) == (ImportResult(received=1, expired=0), [at(user=user)])


def possible(data: dict[str, Any]) -> bool:
    """Return whether an event is possible, by the rules written here again."""
    times = (data["smsEvent"]["date"], data["source"]["sendDate"])
    unseen = {"Cc", "Cf", "Zs", "Zl", "Zp"}
    fillers = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    visible = [
        one
        for one in data["smsEvent"]["userId"]
        if unicodedata.category(one) not in unseen
        and one not in fillers
        and not "\ufe00" <= one <= "\ufe0f"
        and not "\U000e0100" <= one <= "\U000e01ef"
    ]
    return all(946_684_800_000 <= time < 4_102_444_800_000 for time in times) and bool(visible)


def likely(data: dict[str, Any], date: int, sent: int) -> dict[str, Any]:
    """Return the event with times that are mostly possible."""
    return {"smsEvent": {**data["smsEvent"], "date": date}, "source": {**data["source"], "sendDate": sent}}


times = st.integers(TIME_MIN_MS, TIME_MAX_MS) | st.sampled_from(
    [TIME_MIN_MS - 1, TIME_MIN_MS, TIME_MAX_MS, TIME_MAX_MS + 1]
)
likely_events = st.builds(likely, events, times, times)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(some=st.lists(likely_events | events, min_size=1, max_size=6))
def test_many_events_at_once_are_possible_if_each_is(some: list[dict[str, Any]]) -> None:
    """The fast look at a block finds what the look at each event finds, and both follow the rules."""
    block = body_of(map(canonical_of, some))
    found = decode_block(block)
    assert found is not None
    assert [why_impossible(event) is None for event in found[0]] == [possible(data) for data in some]
    at_once = decode_possible(block)
    assert (at_once is not None) is all(map(possible, some))
    if at_once is not None:
        assert at_once[1] == found[1]
        assert encode_lines(at_once[0]) == block


choices = st.sampled_from(
    [
        GOOD,
        at(date=NOW - 1),
        at(user="ž"),
        at(date=SECONDS),
        at(sent=NOW * 1000),
        at(user=" "),
        at(name="\0"),
        b"",
        b" \r",
    ]
)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(choices, max_size=12), size=st.sampled_from([1, 50, 1 << 20]))
def test_impossible_lines_are_skipped_on_request(lines: list[bytes], size: int) -> None:
    """With `skip_impossible` the impossible lines are counted and left out, and all others come in, in any chunking."""
    sent = [one for one in lines if one.strip()]
    kept = [one for one in sent if possible(json.loads(one))]

    result, stored = imported(body_of(lines), skip_impossible=True, size=size)

    assert result == ImportResult(received=len(sent), expired=0, impossible=len(sent) - len(kept))
    assert sorted(stored) == sorted(set(kept))


@pytest.mark.parametrize(
    ("bad", "told"),
    [(line(8, SECONDS), "trackpoint"), (b"{}", "missing"), (at(date=NOW + 2 * DAY_MS), "ahead"), (b"{", "not JSON")],
)
def test_only_impossible_lines_are_skipped(bad: bytes, told: str) -> None:
    """A line of another shop, one that is not an event and one from the future are refused also when skipping."""
    with pytest.raises(InvalidLines, match=told):
        imported(body_of([GOOD, at(date=0), bad]), skip_impossible=True)


OLD = [
    at(sent=NOW * 1000),
    at(sent=NOW * 1_000_000, user="b"),
    at(sent=0, user="c"),
    at(user="\0"),
    at(user=" "),
    at(name="a\0b", user="d"),
]


@pytest.fixture
def old(url: str) -> Held:
    """Return a database that holds, beside good events, impossible ones, as earlier versions took them."""
    held = Held(url)
    held.trackpoint = Held.trackpoint
    held.now = NOW
    lines = [one.replace(b'"trackpoint":7', b'"trackpoint":%d' % held.trackpoint) for one in [*OLD, GOOD]]
    far = line(held.trackpoint, TIME_MAX_MS + 5)
    entries_ = sorted({(json.loads(one)["smsEvent"]["date"], one) for one in [*lines, far]})
    for batch in (entries_[:3], entries_[3:], entries_[:5]):
        append_segments(held.database, held.trackpoint, list(pack(batch))).result()
    held.lines = {one for _, one in entries_}
    return held


def test_impossible_events_that_are_stored_are_exported(old: Held) -> None:
    """An export gives impossible events that were stored before, byte by byte, also after compaction."""
    window = resolve(NOW - HISTORY_MS, TIME_MAX_MS + DAY_MS, NOW)
    expected = model(old.lines, window.start, window.end)

    assert b"".join(unpack(old.log.read(old.trackpoint, window))) == expected
    assert old.damages() == []
    assert old.compact().after > 0
    assert b"".join(unpack(old.log.read(old.trackpoint, window))) == expected
    assert old.damages() == []
    old.database.close()


def test_a_user_with_an_impossible_id_can_be_erased(old: Held) -> None:
    """Erasure removes the events of a blank user id or of a NUL, and leaves the others."""
    assert erase(old.database, old.trackpoint, ["\0", " "], NOW, block=False).events == 2
    rest = {one for one in old.lines if decode(one)[0].smsEvent.userId not in {"\0", " "}}

    window = resolve(NOW - HISTORY_MS, TIME_MAX_MS + DAY_MS, NOW)

    assert b"".join(unpack(old.log.read(old.trackpoint, window))) == model(rest, window.start, window.end)
    assert old.damages() == []
    old.database.close()


def test_new_events_come_in_beside_impossible_ones(old: Held) -> None:
    """A shop that holds impossible events takes good ones, and they are compacted together."""
    fresh = line(old.trackpoint, NOW - 5, user="fresh")
    store(old.log, old.trackpoint, [fresh])
    old.compact()
    window = resolve(NOW - HISTORY_MS, TIME_MAX_MS + DAY_MS, NOW)

    got = b"".join(unpack(old.log.read(old.trackpoint, window)))

    assert got == model({*old.lines, fresh}, window.start, window.end)
    old.database.close()
