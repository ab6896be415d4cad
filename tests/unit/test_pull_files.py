"""What a pull writes: sorted, each event exactly once, and read back as the same events, in every format."""

from __future__ import annotations

import csv
import io
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsevents.client.pull.errors import BadEvent
from smsevents.client.pull.formats import Csv, resettled, time_ms, time_text
from smsevents.client.pull.lines import EntryChecker, settled
from smsevents.client.pull.parquet import Parquet
from smsevents.client.pull.sort import Sorter, merged
from smsevents.wire.columns import COLUMNS, event_of, row_of
from smsevents.wire.events import decode, encode
from smsevents.wire.lines import Entry, join_lines
from smsevents.wire.times import is_time
from tests.support.events import int64s
from tests.support.lines import body_of, line
from tests.support.pull_files import TRACKPOINT, checker, entry, flat, lines, model

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.client.pull.formats import Format
    from smsevents.wire.lines import Entry

few_lines = st.builds(lambda date, user: line(TRACKPOINT, date, str(user)), st.integers(0, 5), st.integers(0, 5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder for all examples of a property."""
    return tmp_path_factory.mktemp("files")


@given(data=lines.map(lambda one: decode(one)[0]))
def test_rows_hold_the_whole_event(data: Any) -> None:
    """An event and its row are the same, so its canonical line can be made of the row."""
    assert event_of(row_of(data)) == data
    assert encode(event_of(list(row_of(data)))) == encode(data)


@given(time=int64s | st.integers(-(2**47), 2**49))
def test_times_of_csv(time: int) -> None:
    """Every 64-bit time is read back as it was written, also those that no calendar has."""
    assert time_ms(time_text(time)) == time


@settings(deadline=None)
@given(
    batches=st.lists(st.lists(few_lines | lines, max_size=8), max_size=12),
    held=st.sampled_from([1, 800, 3000, 10**9]),
    runs=st.integers(2, 4),
)
def test_sorter_is_a_sorted_set(folder: Path, batches: list[list[bytes]], held: int, runs: int) -> None:
    """Whatever comes in whatever order and however often, a sorted set comes out, with any memory."""
    with Sorter(folder, held_max_bytes=held, runs_max=runs) as sorter:
        for batch in batches:
            sorter.add([entry(one) for one in batch])
        expected = model(one for batch in batches for one in batch)

        assert flat(sorter.batches()) == expected
        assert flat(sorter.batches()) == expected


@settings(deadline=None)
@given(some=st.lists(few_lines, max_size=20), size=st.integers(1, 3), held=st.sampled_from([1, 800, 10**9]))
@example(some=[line(TRACKPOINT, 1)] * 2, size=1, held=1)
def test_sorter_of_what_is_in_order(folder: Path, some: list[bytes], size: int, held: int) -> None:
    """What comes in order, but some of it several times, comes out once too, wherever it was cut."""
    entries = sorted(entry(one) for one in some)
    with Sorter(folder, held_max_bytes=held) as sorter:
        for start in range(0, len(entries), size):
            sorter.add(entries[start : start + size])

        assert flat(sorter.batches()) == model(some)


@given(st.lists(st.lists(few_lines, max_size=20), max_size=5), st.integers(1, 4))
def test_merging_is_a_union(sources_: list[list[bytes]], size: int) -> None:
    """Sorted sources in batches of any size are merged to the union of their sets."""
    sorted_ = [model(one) for one in sources_]
    batches = [iter([one[at : at + size] for at in range(0, len(one), size)]) for one in sorted_]

    assert flat(merged(batches)) == sorted(set().union(*sorted_))


def test_sorter_leaves_no_files(tmp_path: Path) -> None:
    """The files of a sort have no names, so nothing is left of them even if the process is killed."""
    with Sorter(tmp_path, held_max_bytes=1) as sorter:
        for date in (5, 3, 4):
            sorter.add([entry(line(TRACKPOINT, date))])
        assert list(tmp_path.iterdir()) == []
        assert [date for date, _ in flat(sorter.batches())] == [3, 4, 5]


@pytest.mark.slow
def test_sorting_holds_little(folder: Path) -> None:
    """What a sort holds does not grow with what it sorts."""
    chance = random.Random(1)  # noqa: S311 -- invented data
    peaks = []
    for count in (20_000, 80_000):
        tracemalloc.start()
        with Sorter(folder, held_max_bytes=500_000, runs_max=4) as sorter:
            for _ in range(count // 100):
                sorter.add([entry_at(chance.randrange(10**6)) for _ in range(100)])
            dates = 0
            for batch in sorter.batches():
                dates += len(batch)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert dates > count / 2

    assert peaks[1] < peaks[0] * 1.5
    assert peaks[1] < 10_000_000


def entry_at(date: int) -> Entry:
    """Return an entry, built without decoding a line."""
    return date, GOOD.replace(b'"date":5', b'"date":%d' % date)


def spell(one: bytes, how: int) -> bytes:
    """Spell a line in another way that means the same event."""
    data = msgspec.json.decode(one)
    if how == 1:
        return msgspec.json.format(one, indent=0).replace(b"\n", b" ") + b" \r"
    if how == 2:
        return msgspec.json.encode({"source": data["source"], "smsEvent": data["smsEvent"]})
    return one


@given(st.lists(st.tuples(lines, st.integers(0, 2)), max_size=6), st.booleans())
def test_every_spelling_is_the_same_event(some: list[tuple[bytes, int]], blank: bool) -> None:
    """Lines in any valid spelling, with blank lines between them, give the canonical entries in their order."""
    block = body_of(spell(one, how) + b"\n" * blank for one, how in some)

    assert checker().entries(block) == [entry(one) for one, _ in some]


GOOD = line(TRACKPOINT, 5)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b"terminated early", "not JSON"),
        (b'{"exception": "timeout"}', "unknown field `exception`"),
        (GOOD.replace(b"DELIVERED", b"SENT"), "invalid enum value 'SENT'"),
        (GOOD[:50], "not JSON"),
        (line(8, 5), "it is an event of shop 8, not 7"),
        (line(TRACKPOINT, 10), "its date 10 is not in [0, 9]"),
        (line(TRACKPOINT, -1), "its date -1 is not in [0, 9]"),
        (GOOD.replace(b'"status"', b'"status":"EXPIRED","status"'), "stands twice"),
        (GOOD.replace(b"123456", b"\xff"), "not UTF-8"),
        (GOOD + GOOD, "not JSON"),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_bad_lines_are_named(bad: bytes, told: str, before: int) -> None:
    """A line that is not an event of the shop and the day is refused with its number, its text and the reason."""
    one = checker(0, 9)
    one.entries(body_of([GOOD] * before))

    with pytest.raises(BadEvent) as caught:
        one.entries(body_of([GOOD, bad, GOOD]))

    assert f"Line {before + 2}: " in str(caught.value)
    assert told in str(caught.value)
    assert bad[:10].decode() in str(caught.value)


def test_line_ends_within_values() -> None:
    """U+0085, U+2028 and U+2029 within a name, spelled out or escaped, never cut a line."""
    name = "a\u0085b\u2028c\u2029d"
    canonical = line(TRACKPOINT, 5, campaign=name)
    raw = canonical.replace(b"\\u0085", "\u0085".encode()).replace(b"\\u2028", "\u2028".encode())

    assert checker().entries(body_of([raw, canonical])) == [(5, canonical), (5, canonical)]
    assert raw != canonical


def test_parquet_is_typed(tmp_path: Path) -> None:
    """Parquet has the documented columns and types; DuckDB reads them as such."""
    path = tmp_path / "events.parquet"
    some = [entry(line(TRACKPOINT, 1673753160310, node="N")), entry(line(TRACKPOINT, 1673753160311))]
    with path.open("wb") as file:
        Parquet(compressed=True).write(file, [some])

    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall()  # noqa: S608
        nodes = connection.execute(f"SELECT node_name, epoch_ms(date) FROM '{path}' ORDER BY date").fetchall()  # noqa: S608

    types = dict(rows)
    assert tuple(types) == COLUMNS
    assert types["trackpoint"] == "BIGINT"
    assert types["date"] == types["send_date"] == "TIMESTAMP WITH TIME ZONE"
    assert {types[name] for name in COLUMNS if name not in {"trackpoint", "date", "send_date"}} == {"VARCHAR"}
    assert nodes == [("N", 1673753160310), (None, 1673753160311)]
    assert str(pq.read_schema(path).field("date").type) == "timestamp[ms, tz=UTC]"


def test_csv_is_what_the_page_says() -> None:
    """CSV has a header, CRLF, quotes only where needed, times in ISO 8601 and empty cells for no node."""
    file = io.BytesIO()
    some = [entry(line(TRACKPOINT, 1673753160310, node='a "b", c')), entry(line(TRACKPOINT, 1673753160311))]
    Csv(compressed=False).write(file, [some])

    assert file.getvalue().decode().split("\r\n") == [
        ",".join(COLUMNS),
        '7,123456,DELIVERED,2023-01-15T03:26:00.310Z,flow,b2c8,Black Friday,3241,"a ""b"", c",2023-01-15T03:26:00.010Z',
        "7,123456,DELIVERED,2023-01-15T03:26:00.311Z,one-off,b2c8,Black Friday,,,2023-01-15T03:26:00.011Z",
        "",
    ]


@pytest.mark.parametrize("excel", [False, True])
@given(some=st.lists(lines, min_size=1, max_size=5))
def test_csv_is_what_a_plain_writer_writes(excel: bool, some: list[bytes]) -> None:
    """Rows made of prepared cells are those that the csv module makes of each event."""
    entries = model(some)
    file, text = io.BytesIO(), io.StringIO(newline="")
    Csv(compressed=False, excel=excel).write(file, [entries])

    writer = csv.writer(text, delimiter=";" if excel else ",")
    writer.writerow(COLUMNS)
    for _, one in entries:
        whole = row_of(decode(one)[0])
        sent = time_text(whole[9]) if is_time(whole[9]) else ""
        row = [*whole[:3], time_text(whole[3]), *whole[4:9], sent]
        guarded = (
            f"'{cell}" if str(cell).startswith(tuple("=+-@'\t\r\n\uff1d\uff0b\uff0d\uff20")) else cell for cell in row
        )
        writer.writerow(guarded if excel else row)
    assert file.getvalue().decode() == "\ufeff" * excel + text.getvalue()


@pytest.mark.parametrize("format_", [Parquet(compressed=True), Csv(compressed=False)])
def test_the_same_events_make_the_same_file(format_: Format) -> None:
    """The contents of a file do not depend on how its events came, so that an unchanged day shows as such."""
    some = [entry(line(TRACKPOINT, 1_700_000_000_000 + at, f"u{at % 7}")) for at in range(70_000)]
    files = []
    for size in (70_000, 999, 65_536):
        file = io.BytesIO()
        format_.write(file, (some[at : at + size] for at in range(0, len(some), size)))
        files.append(file.getvalue())

    assert files[0] == files[1] == files[2]


def test_plain_lines_are_the_wire() -> None:
    """Entries as lines are what an export sends."""
    assert join_lines([(5, GOOD)]) == GOOD + b"\n"


@given(
    some=st.lists(
        st.builds(
            lambda date, user, ms: line(TRACKPOINT, date, str(user)).replace(
                b'"sendDate":%d' % (date - 300), b'"sendDate":%d' % ms
            ),
            st.integers(0, 3),
            st.integers(0, 3),
            st.sampled_from([1, 2, 950_000_000_000, 950_000_000_001, 10**18]),
        ),
        max_size=30,
    ),
    size=st.integers(1, 5),
)
def test_old_files_are_settled_in_order(some: list[bytes], size: int) -> None:
    """What an older version wrote, with impossible times in its columns, is read as settled, sorted and each once."""
    entries = model(some)
    batches = iter([entries[at : at + size] for at in range(0, len(entries), size)])

    checker = EntryChecker(TRACKPOINT, 0, 1)

    assert flat(resettled(batches, checker)) == sorted(set(settled(entries)))
    assert checker.has_unsettled == (settled(entries) != entries)
