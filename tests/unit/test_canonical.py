"""Columns read from canonical lines by one pattern, held to the wire model, which reads each line by itself."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsevents.client.arrow import SCHEMA, TIME, record_batch
from smsevents.client.lines import Batch, BatchChecker
from smsevents.wire.canonical import KNOWN_SOURCES_MAX, CanonicalReader, EventColumns, columns_of
from smsevents.wire.columns import row_of
from smsevents.wire.events import Event, NotAnEvent, NotJson, decode, encode
from smsevents.wire.times import is_time
from tests.support.events import INT64_MAX, STATUSES, canonical_of, events
from tests.support.lines import body_of, line

TRACKPOINT = 7
START = 1_700_000_000_000
GOOD = line(TRACKPOINT, START, user="x")
FLOW = line(TRACKPOINT, START + 1, user="žofie", node="VIP")

parts = st.lists(
    st.sampled_from([GOOD, FLOW, b"\n", b"\r", b" ", b'"', b"{", b"}", b"\\", b"\x1e", b"\xc2\x85", b"\xe2\x80\xa8"])
    | st.sampled_from([b'"sendDate":1', b',"sendDate":', b"-0", b"007", b"1.0", b"\xff", b"\xed\xa0\x80", b"\x7f"]),
    max_size=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a line of which a part was replaced by something else."""
    whole = draw(st.sampled_from([GOOD, FLOW]))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    return whole[:start] + b"".join(draw(parts)) + whole[draw(st.sampled_from([start, end])) :]


def as_canonical(text: bytes) -> Event | None:
    """Return the event of a canonical line of the shop, by the plain rules of the wire model."""
    try:
        event, canonical = decode(text)
    except (NotJson, NotAnEvent):
        return None
    return event if canonical == text and event.smsEvent.trackpoint == TRACKPOINT else None


def events_in(columns: EventColumns) -> list[tuple[object, ...]]:
    """Return what columns say of each event."""
    return [
        (columns.trackpoint, user.decode(), status.decode(), int(date), encoded(columns, source), int(sent))
        for user, status, date, source, sent in zip(*columns[1:6], strict=True)
    ]


def encoded(columns: EventColumns, source: bytes) -> tuple[object, ...]:
    """Return what a known source says, without its send date."""
    return (*row_of(Event(decode(GOOD)[0].smsEvent, columns.known[source]))[4:9],)


def expected(event: Event) -> tuple[object, ...]:
    """Return the same of a decoded event."""
    row = row_of(event)
    return (*row[:4], row[4:9], row[9])


@given(st.lists(st.sampled_from([GOOD, FLOW]) | damaged(), min_size=1, max_size=4), st.sampled_from([b"\n", b"", b"x"]))
@example([GOOD, FLOW], b"\n")
@example([b'{"smsEvent":1}' + GOOD], b"\n")
@example([GOOD + GOOD], b"\n")
@example([GOOD.replace(b'"x"', b'"' + b"x" * 1025 + b'"')], b"\n")
@example([GOOD.replace(b'"x"', b'""')], b"\n")
def test_only_canonical_lines_are_read_and_as_the_wire_model_reads_them(lines: list[bytes], end: bytes) -> None:
    """Whatever stands in a block: if it is read as columns, all its lines are canonical, and the events are theirs."""
    block = b"\n".join(lines) + end
    columns = CanonicalReader(TRACKPOINT).read(block)

    found = [as_canonical(one) for one in block.removesuffix(b"\n").split(b"\n")]
    if columns is None:
        assert end != b"\n" or set(lines) != {GOOD, FLOW}
        return
    assert block.endswith(b"\n")
    assert events_in(columns) == [expected(event) if event else None for event in found]


@given(st.lists(events, min_size=1, max_size=5))
def test_columns_of_events_are_those_of_their_lines(drawn: list[dict[str, dict[str, object]]]) -> None:
    """Columns made from decoded events equal those that are read from their canonical lines, if these are."""
    for one in drawn:
        one["smsEvent"]["trackpoint"] = TRACKPOINT
    lines = [canonical_of(one) for one in drawn]
    decoded = [decode(one)[0] for one in lines]
    made, read = columns_of(decoded), CanonicalReader(TRACKPOINT).read(body_of(lines))

    assert events_in(made) == [expected(event) for event in decoded]
    if read is not None:
        assert events_in(read) == events_in(made)
        assert list(map(tuple, read[1:6])) == list(map(tuple, made[1:6]))


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("number", [0, 1, -1, START, -START, 10**17, -(10**18) + 1])
def test_ordinary_lines_are_read(status: str, number: int) -> None:
    """Each status, times of any sensible length, and users in any script are read as columns."""
    lines = [
        one.replace(b"DELIVERED", status.encode()).replace(b"%d" % START, b"%d" % number)
        for one in (GOOD, line(TRACKPOINT, START, user="Žofie@例.cz \u007f", node='"VIP" \\ \u2028'))
    ]
    columns = CanonicalReader(TRACKPOINT).read(body_of(lines))

    assert columns is not None
    assert events_in(columns) == [expected(decode(one)[0]) for one in lines]


@given(st.lists(events, max_size=5))
def test_arrow_columns_are_the_rows_of_the_events(drawn: list[dict[str, dict[str, object]]]) -> None:
    """A record batch has the documented schema and a row for each event; an impossible send date is NULL."""
    for one in drawn:
        one["smsEvent"]["trackpoint"] = TRACKPOINT
    decoded = [decode(canonical_of(one))[0] for one in drawn]
    batch = record_batch(columns_of(decoded))

    assert batch.schema == SCHEMA
    batch.validate(full=True)
    lists = [column.cast("int64") if column.type == TIME else column for column in batch.columns]
    rows = [row_of(event) for event in decoded]
    assert list(zip(*(column.to_pylist() for column in lists), strict=True)) == [
        (*row[:9], row[9] if is_time(row[9]) else None) for row in rows
    ]


def test_columns_stay_right_when_sources_are_forgotten() -> None:
    """A reader forgets sources when there are too many; columns that it returned before still name theirs."""
    reader = CanonicalReader(TRACKPOINT)
    blocks = [
        body_of([GOOD.replace(b'"campaign":{"id":"', b'"campaign":{"id":"%d-%d-' % (block, one)) for one in range(400)])
        for block in range(2 + KNOWN_SOURCES_MAX // 400)
    ]
    read = [reader.read(block) for block in blocks]

    for block, columns in zip(blocks, read, strict=True):
        assert columns is not None
        assert len(columns.known) <= KNOWN_SOURCES_MAX
        assert events_in(columns) == [expected(decode(one)[0]) for one in block.splitlines()]


@given(st.lists(st.sampled_from([GOOD, FLOW, GOOD.replace(b",", b", "), b"\x1e" + FLOW]), min_size=1, max_size=6))
def test_a_batch_says_the_same_however_its_lines_were_read(lines: list[bytes]) -> None:
    """Lines, events and columns of a batch agree, whether its lines are canonical or in other spellings."""
    batch, bad = BatchChecker(TRACKPOINT).check(body_of(lines))

    assert bad is None
    assert batch.lines == [one.removeprefix(b"\x1e") for one in lines]
    assert batch.block == body_of(batch.lines)
    assert batch.events == [decode(one)[0] for one in batch.lines]
    assert events_in(batch.columns) == [expected(event) for event in batch.events]
    assert len(batch) == len(lines)
    assert batch.is_canonical == all(one in {GOOD, FLOW} for one in lines)
    assert [encode(event) for event in Batch(batch.block, batch.lines, batch.events).events] == [
        encode(event) for event in batch.events
    ]


def test_the_largest_numbers_are_left_to_the_wire_model() -> None:
    """A number of 19 digits may exceed 64 bits: the batch is right, although it is not read by the pattern."""
    lines = [GOOD.replace(b"%d" % START, b"%d" % INT64_MAX)]
    batch, bad = BatchChecker(TRACKPOINT).check(body_of(lines))

    assert (bad, batch.is_canonical) == (None, False)
    assert record_batch(batch.columns).column("date").cast("int64").to_pylist() == [INT64_MAX]


def test_what_was_read_does_not_change() -> None:
    """New sources do not get into the columns of earlier lines, which another thread may be reading."""
    reader = CanonicalReader(TRACKPOINT)
    before = reader.read(GOOD + b"\n")
    assert before is not None
    known = dict(before.known)
    after = reader.read(FLOW + b"\n")
    assert after is not None
    assert before.known == known != after.known
