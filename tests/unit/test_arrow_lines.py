"""Canonical lines read as columns of Arrow, held to the way without Arrow: the same events, order and errors."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsevents.client import lines as client_lines
from smsevents.client.arrow import SCHEMA, record_batch
from smsevents.client.arrow_lines import ArrowReader
from smsevents.client.errors import BadLine, ClientError
from smsevents.client.lines import BatchChecker
from smsevents.client.pull.lines import EntryChecker, Lines
from smsevents.client.pull.parquet import Parquet
from smsevents.wire.canonical import KNOWN_SOURCES_MAX, CanonicalReader
from smsevents.wire.limits import TEXT_MAX_CHARACTERS
from smsevents.wire.times import TIME_MAX_MS
from tests.support.events import STATUSES, canonical_of, events, spelled, texts
from tests.support.examples import examples
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.client.lines import Batch

SHOP = 7
START = 1_700_000_000_000
END = START + 1000
ONE_OFF = line(SHOP, START + 1, user="x")
FLOW = line(SHOP, START + 1, user="4207".zfill(9), status="UNDELIVERABLE", node='VIP \u2028 "1"')
OTHER = [b"", b" ", b"0", b"9", b"a", b'"', b"\\", b"\n", b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9", b"\xff"]
SHORTEST = canonical_of(
    {
        "smsEvent": {"trackpoint": SHOP, "userId": "1", "status": "DELETED", "date": START},
        "source": {"type": "one-off", "campaign": {"id": "", "name": ""}, "sendDate": START},
    }
)


@pytest.fixture(autouse=True, scope="module")
def _of_any_size() -> Iterator[None]:
    """Read blocks of any size as columns of Arrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_lines, "ARROW_BLOCK_MIN_BYTES", 0)
        yield


class Read(NamedTuple):
    """All that is known of a block of lines after it was read."""

    batch: tuple[Any, ...]
    bad: str
    lines: int
    accepted: tuple[Any, ...] | str
    newest_ms: int


def read(block: bytes, *, in_arrow: bool, has_columns: bool = True) -> Read:
    """Read a block as the client does, and check it as a pull does."""
    checker = BatchChecker(SHOP, ArrowReader(SHOP) if in_arrow else None)
    batch, bad = checker.check(block)
    entries = EntryChecker(SHOP, START, END, has_columns=has_columns)
    return Read(
        (batch.block, batch.lines, batch.events, len(batch), batch.is_canonical, record_batch(batch.columns)),
        repr((bad, bad.line, bad.reason) if isinstance(bad, BadLine) else bad),
        checker.lines,
        accepted(entries, batch),
        entries.newest_ms,
    )


def accepted(checker: EntryChecker, batch: Batch) -> tuple[Any, ...] | str:
    """Return what a pull makes of a batch, or its error."""
    try:
        lines = checker.received(batch)
    except ClientError as error:
        return f"{type(error).__name__}: {error}"
    ends = (lines.first, lines.last) if lines else ()
    return (lines.text, len(lines), lines.is_ascending, ends, rows(lines), lines.entries)


def rows(lines: Lines) -> Any:
    """Return lines as the rows that are written, checked in full."""
    if lines.arrow is None:
        return record_batch(lines.columns)
    lines.arrow.rows.validate(full=True)
    return lines.arrow.rows


def is_in_arrow(block: bytes) -> bool:
    """Return whether a block is read as columns of Arrow."""
    return ArrowReader(SHOP).read(block) is not None


times = st.integers(START - 2, END + 2) | st.sampled_from([0, -START, 10**12 - 1, 10**12, 10**13, TIME_MAX_MS + 1])


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """Draw a line: canonical, or in another spelling."""
    event = draw(events)
    event["smsEvent"] |= {"trackpoint": draw(st.sampled_from([SHOP] * 9 + [8])), "date": draw(times)}
    event["source"]["sendDate"] = draw(times)
    if draw(st.sampled_from([True, True, False])):
        return canonical_of(event)
    return draw(spelled(event)).replace("\n", " ").strip().encode()


@st.composite
def nearly_canonical(draw: st.DrawFn) -> bytes:
    """Draw a canonical line of which one part was replaced."""
    whole = draw(st.sampled_from([ONE_OFF, FLOW, SHORTEST]))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    return whole[:start] + draw(st.sampled_from(OTHER)) + whole[draw(st.sampled_from([start, start + 1, end])) :]


@st.composite
def ordinary(draw: st.DrawFn) -> bytes:
    """Draw a line as most are, so that blocks are read as columns of Arrow."""
    return line(
        SHOP,
        draw(st.integers(START, START + 3)),
        user=draw(st.sampled_from(["1", "x" * 31, "x" * 32, "y" * 127, "žofie@例.cz"])),
        status=draw(st.sampled_from(STATUSES)),
        node=draw(st.sampled_from([None, "VIP", "é\u0085"])),
    )


@settings(max_examples=examples(300))
@given(
    lines=st.lists(ordinary(), min_size=1, max_size=6)
    | st.lists(ordinary() | spellings() | nearly_canonical(), min_size=1, max_size=5),
    has_columns=st.booleans(),
)
@example(lines=[ONE_OFF, ONE_OFF], has_columns=True)
@example(lines=[FLOW, ONE_OFF], has_columns=True)
@example(lines=[b""], has_columns=True)
@example(lines=[ONE_OFF.replace(b'"x"', b'"' + b"x" * TEXT_MAX_CHARACTERS + b'"')], has_columns=False)
@example(lines=[ONE_OFF.replace(b'"x"', b'"' + b"x" * (TEXT_MAX_CHARACTERS + 1) + b'"')], has_columns=False)
@example(lines=[ONE_OFF.replace(b'"x"', b'"\xc3"'), ONE_OFF.replace(b'"x"', b'"\xa9"')], has_columns=False)
@example(lines=[ONE_OFF.replace(b'"x"', b'"\xed\xa0\x80"')], has_columns=False)
@example(lines=[ONE_OFF.replace(b'"x"', '"\u2028"'.encode())], has_columns=False)
@example(lines=[ONE_OFF.replace(b'"x"', b'"\\u2028"')], has_columns=False)
def test_lines_are_read_as_without_arrow(lines: list[bytes], *, has_columns: bool) -> None:
    """Whatever lines come: the events, what a pull accepts and writes, and the errors are those of the other way."""
    block = body_of(lines)

    assert read(block, in_arrow=True, has_columns=has_columns) == read(block, in_arrow=False, has_columns=has_columns)


@pytest.mark.parametrize("whole", [ONE_OFF, FLOW, SHORTEST], ids=["one-off", "flow", "shortest"])
def test_a_change_of_any_byte_is_noticed(whole: bytes) -> None:
    """If any byte of a line is replaced or left out, columns of Arrow are read only if the pattern reads the same."""
    changed = {whole[:at] + other + whole[at + 1 :] for at in range(len(whole)) for other in OTHER}
    reader, pattern = ArrowReader(SHOP), CanonicalReader(SHOP)
    seen = {True: 0, False: 0}
    for one in changed:
        block = body_of([whole, one])
        found, expected = reader.read(block), pattern.read(block)
        seen[found is not None] += 1
        if found is not None:
            assert expected is not None
            assert found.rows == record_batch(expected)

    assert min(seen.values()) >= 2 * 12  # at least the digits of both times


@settings(max_examples=50)
@given(st.lists(ordinary(), min_size=1, max_size=50))
def test_ordinary_lines_are_read_in_arrow(lines: list[bytes]) -> None:
    """Lines of both types with any status and any user of up to 127 bytes are read as columns of Arrow."""
    found = ArrowReader(SHOP).read(body_of(lines))

    assert found is not None
    assert found.rows.schema == SCHEMA
    assert [found.entry(at)[1] for at in range(len(lines))] == lines


@pytest.mark.parametrize("trackpoint", [1, SHOP, 4_541_245_641_234_564, 2**63 - 1])
def test_the_shortest_line_of_any_shop_is_read_in_arrow(trackpoint: int) -> None:
    """No canonical line is too short, whatever the number of the shop; that of another shop is not read."""
    block = body_of([SHORTEST.replace(b'"trackpoint":%d,' % SHOP, b'"trackpoint":%d,' % trackpoint)])

    assert ArrowReader(trackpoint).read(block) is not None
    assert ArrowReader(trackpoint - 1 or 2).read(block) is None


@given(texts.filter(lambda text: not text.isascii()))
def test_names_of_sources_are_those_of_the_events(name: str) -> None:
    """The columns of sources hold any name, whatever must be escaped in a line."""
    lines = [line(SHOP, START, campaign=name), line(SHOP, START, campaign="x", node=name)]
    found = ArrowReader(SHOP).read(body_of(lines))

    assert found is not None
    assert found.rows.column("campaign_name").to_pylist() == [name, "x"]
    assert found.rows.column("node_name").to_pylist() == [None, name]


@pytest.mark.parametrize(
    "unusual",
    [
        ONE_OFF.replace(b'"x"', b'"' + b"x" * 128 + b'"'),
        ONE_OFF.replace(b"%d" % (START + 1), b"999999999999"),
        ONE_OFF.replace(b"%d" % (START - 299), b"0"),
    ],
    ids=["long user", "early date", "send date 0"],
)
def test_unusual_lines_are_left_to_the_pattern(unusual: bytes) -> None:
    """One line with a long user or a time of other than 13 digits makes its block one that the pattern reads."""
    block = body_of([ONE_OFF, unusual])

    assert not is_in_arrow(block)
    assert CanonicalReader(SHOP).read(block) is not None
    assert read(block, in_arrow=True) == read(block, in_arrow=False)


@pytest.mark.parametrize("end", [b"", ONE_OFF[:-1], b"\r\n"])
def test_a_block_without_its_last_line_feed_is_not_read(end: bytes) -> None:
    """A block that does not end with a canonical line and its line feed is read by neither."""
    block = body_of([FLOW, ONE_OFF])[:-1] + end

    assert not is_in_arrow(block)
    assert CanonicalReader(SHOP).read(block) is None


def test_columns_stay_right_when_sources_are_forgotten() -> None:
    """A reader forgets sources when there are too many; the columns of each block have the right ones."""
    reader = ArrowReader(SHOP)
    sizes = [400] * (2 + KNOWN_SOURCES_MAX // 400) + [KNOWN_SOURCES_MAX + 1, 3]
    for block, size in enumerate(sizes):
        names = [f"{block}-{one}" for one in range(size)]
        found = reader.read(body_of(line(SHOP, START, campaign=name) for name in names))

        assert found is not None
        assert found.rows.column("campaign_name").to_pylist() == names


@settings(max_examples=30)
@given(st.lists(ordinary(), min_size=1, max_size=30), st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_file_depends_on_its_events_only(some: list[bytes], ways: list[bool]) -> None:
    """Whatever way each line is read, and alone or together, the file is the same and has the rows of the events."""
    block = body_of(some)
    reader, pattern = ArrowReader(SHOP), CanonicalReader(SHOP)
    together, alone = io.BytesIO(), io.BytesIO()
    for file, pieces in (
        (together, [(block, True)]),
        (alone, [(one + b"\n", way) for one, way in zip(some, ways, strict=False)]),
    ):
        writer = Parquet(compressed=True).writer(file)
        for text, in_arrow in pieces:
            found, columns = reader.read(text), pattern.read(text)
            writer.add(Lines(text, arrow=found) if in_arrow else Lines(text, columns=columns))
        writer.finish()
        writer.close()

    assert together.getvalue() == alone.getvalue()
    columns = pattern.read(block)
    assert columns is not None
    assert pq.read_table(together) == pa.Table.from_batches([record_batch(columns)])
    assert pq.read_schema(together) == SCHEMA
