"""Ready lines: what is taken without decoding is taken, stored and refused as if each line had been decoded."""

from __future__ import annotations

import gzip as gzip_module
import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsevents.errors import InvalidRequest, TimeInDoubt
from smsevents.log import ready_lines
from smsevents.log.held_lines import HeldLines, are_ascending
from smsevents.log.ready_lines import READY_BLOCK_MIN_BYTES, SHOP_PATTERN_MIN_LINES, ReadyLines
from smsevents.wire.lines import join_lines, parse_entries
from tests.support.events import STATUSES
from tests.support.ingests import ingesting
from tests.support.lines import DAY_MS, body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.segments.segment import Segment
    from smsevents.wire.results import ImportResult

SHOP = 7
NOW = 1_676_380_261_000
OLDEST = NOW - 90 * DAY_MS
GOOD = line(SHOP, NOW)
FLOW = line(SHOP, NOW, user="e-shop@example.com", node='VIP "A" \\ \u2028')

lines_of_shop = st.builds(
    line,
    st.just(SHOP),
    st.sampled_from([OLDEST - 1, OLDEST, NOW - 2, NOW - 1, NOW, NOW + DAY_MS, NOW + DAY_MS + 1])
    | st.integers(NOW - 9, NOW),
    st.sampled_from(["a", "b c", " d", "ž", "\u2028", "x" * 1024, "7\u007f", "\u200b", 'q"', "~!#[]"]),
    st.sampled_from(STATUSES),
    campaign=st.sampled_from(
        ["", "Akce", 'Sleva "1+1"', "\n\t\u0001", "}}", '},"source":', "\u0085 \U0001f600", "n" * 1024]
    ),
    node=st.sampled_from([None, "VIP"]),
)
parts = st.sampled_from(
    [
        *(
            b"",
            b" ",
            b"\t",
            b"\r",
            b"\n",
            b"\x00",
            b"\x1e",
            b"\x7f",
            b'"',
            b"\\",
            b"\\u0041",
            b"\\/",
            b"{",
            b"}",
            b"}}",
        ),
        *(b"-", b"-0", b"0", b"007", b"1e3", b"1.0", b"9" * 400, b"9223372036854775808", b"true", b"null", b"[]"),
        *(b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b',"x":1', b'"date":1,'),
        *(b'},"source":', b',"sendDate":1', b'{"smsEvent":{"trackpoint":7,', GOOD, FLOW, b"SENT", b"delivered"),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a line of which a part, mostly a short one, was replaced by something else."""
    whole = draw(st.sampled_from([GOOD, FLOW]) | lines_of_shop)
    start = draw(st.integers(0, len(whole)))
    end = min(len(whole), start + draw(st.sampled_from([0, 0, 1, 2, 9, len(whole)])))
    return whole[:start] + draw(parts) + whole[end:]


def respelled(one: bytes) -> bytes:
    """Spell a line as most JSON writers do, with the keys in another order."""
    return json.dumps(json.loads(one), sort_keys=True).encode()


hostile = st.one_of(
    damaged(),
    lines_of_shop.map(respelled),
    lines_of_shop.map(lambda one: one.replace(b'"userId"', b'"userId":"a","userId"')),
    st.sampled_from(
        [b"", b"\r", b"{}", line(SHOP + 1, NOW), line(77, NOW), GOOD + GOOD, GOOD.replace(b":7,", b":07,")]
    ),
)

TWO_SOURCES = GOOD.replace(b"},", b'},"source":{"type":"one-off"},')


def date_or_0(one: bytes) -> int:
    """Return the date of a line, or 0 if it has none."""
    found = re.search(rb'"date":([0-9]{13})', one)
    return int(found[1]) if found else 0


Outcome = tuple["ImportResult", int | None, "list[Segment]"] | tuple[str, str, object]


def outcome_of(chunks: Sequence[bytes], *, gzip: bool, in_doubt: bool) -> Outcome:
    """Take a body in. Return all that is to be known of the result: what is stored, or how it is refused."""
    with ingesting(SHOP, NOW, gzip=gzip, in_doubt=in_doubt) as ingest:
        try:
            for chunk in chunks:
                ingest.feed(chunk)
            result = ingest.finish()
        except (InvalidRequest, TimeInDoubt) as error:
            return type(error).__name__, str(error), (vars(error), ingest.newest_ms)
        return result, ingest.newest_ms, list(ingest.segments())


@settings(max_examples=400, deadline=None)
@given(
    sent=st.lists(lines_of_shop | lines_of_shop | hostile, max_size=8),
    in_order=st.booleans(),
    end=st.sampled_from([b"\n", b"", b"\r\n"]),
    places=st.lists(st.floats(0, 1), max_size=3),
    gzip=st.booleans(),
    in_doubt=st.booleans(),
    lines_min=st.sampled_from([0, 4]),
)
@example(sent=[GOOD, FLOW, GOOD], in_order=True, end=b"\n", places=[], gzip=True, in_doubt=False, lines_min=4)
@example(sent=[TWO_SOURCES, GOOD], in_order=False, end=b"\n", places=[], gzip=False, in_doubt=False, lines_min=0)
def test_ready_lines_end_as_decoded_ones(  # noqa: PLR0913, PLR0917 -- what a body may consist of
    sent: list[bytes], in_order: bool, end: bytes, places: list[float], gzip: bool, in_doubt: bool, lines_min: int
) -> None:
    """Whatever stands in a body: the counts, the stored bytes and each word of a refusal are those of decoded lines."""
    if in_order:
        sent = sorted(sent, key=date_or_0)
    body = b"\n".join(sent) + end
    body = gzip_module.compress(body) if gzip else body
    edges = [0, *sorted(int(place * len(body)) for place in places), len(body)]
    chunks = [body[start:stop] for start, stop in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready_lines, "READY_BLOCK_MIN_BYTES", 1)
        patch.setattr(ready_lines, "SHOP_PATTERN_MIN_LINES", lines_min)
        ready = outcome_of(chunks, gzip=gzip, in_doubt=in_doubt)
        patch.setattr(ReadyLines, "dates_of", lambda *_: None)
        decoded = outcome_of(chunks, gzip=gzip, in_doubt=in_doubt)
    assert ready == decoded


@given(st.lists(lines_of_shop | damaged(), min_size=1, max_size=4))
def test_what_is_ready_has_the_dates_of_its_lines(sent: list[bytes]) -> None:
    """If a block is ready, the dates are those of its lines, one for each."""
    block = body_of(sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready_lines, "READY_BLOCK_MIN_BYTES", 1)
        dates = ReadyLines(SHOP).dates_of(block)
    if dates is not None:
        assert [int(date) for date in dates] == [date_of(one) for one in block[:-1].split(b"\n")]


def test_what_an_export_sends_is_ready() -> None:
    """Canonical lines of all statuses, with names in any script and with escapes, need no decoding."""
    names = ["Akce", 'Sleva "1+1"', "Žofie\u2028\u0085\n\t\\", "\U0001f600" * 1024]
    sent = [
        line(SHOP, NOW + number, f"user {number}", status, campaign=name, node=node)
        for number, status in enumerate(STATUSES * 5)
        for name in names
        for node in (None, "VIP")
    ]
    block = body_of(sent)
    assert len(block) > READY_BLOCK_MIN_BYTES
    assert ReadyLines(SHOP).dates_of(block) == [b"%d" % date_of(one) for one in sent]
    assert ReadyLines(SHOP + 1).dates_of(block) is None
    assert ReadyLines(SHOP).dates_of(block[:-1]) is None


def test_lines_of_another_shop_are_found_late_in_an_import_too() -> None:
    """However many lines of its shop an import has had, a block with one line of another shop is not ready."""
    ready = ReadyLines(SHOP)
    block = body_of([GOOD] * SHOP_PATTERN_MIN_LINES)
    for other in (line(SHOP + 1, NOW), line(77, NOW), GOOD.replace(b":7,", b":07,")):
        assert ready.dates_of(block) == [b"%d" % NOW] * SHOP_PATTERN_MIN_LINES
        assert ready.dates_of(block + other + b"\n") is None
        assert ready.dates_of(body_of([GOOD, other]) + block) is None


entries = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.sampled_from(["", "x" * 300])), max_size=40)


@settings(max_examples=300)
@given(
    blocks=st.lists(st.tuples(st.sampled_from(["block", "run", "entries"]), st.booleans(), entries), max_size=5),
    near=st.sampled_from([0, 1, 500, 4096]),
    tied=st.sampled_from([0, 2, 16]),
)
def test_held_lines_are_a_sorted_set(
    blocks: list[tuple[str, bool, list[tuple[int, str, str]]]], near: int, tied: int
) -> None:
    """However lines arrive, in order or not, with equal dates, or twice: they are taken in order, each once."""
    held, expected = HeldLines(), set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smsevents.log.held_lines.LOOKED_NEAR_BYTES", near)
        patch.setattr("smsevents.log.held_lines.TIED_DATES_MAX_RATIO", tied)
        for how, in_order, drawn in blocks:
            some = [(NOW + date, line(SHOP, NOW + date, user, campaign=name)) for date, user, name in drawn]
            if in_order:
                some.sort(key=lambda entry: entry[0])
            expected |= set(some)
            if how == "entries" or not some:
                held.add_entries(some)
            elif how == "run":
                held.add_run(join_lines(sorted(set(some))))
            else:
                dates = [b"%d" % date for date, _ in some]
                held.add_block(join_lines(some), dates, ascending=are_ascending(dates))
    assert parse_entries(held.take()) == sorted(expected)
    assert (held.size_bytes, held.take(), held.take_entries()) == (0, b"", [])


def test_lines_whose_sources_vary_are_not_read_twice() -> None:
    """If nearly each line has a source of its own, later blocks are left to the decoder; with few sources, none is."""
    for sources, is_ready in ((1500, [True, False, False]), (500, [True, True, True])):
        ready = ReadyLines(SHOP)
        blocks = [
            b"".join(line(SHOP, NOW, campaign=f"{block} {one % sources}") + b"\n" for one in range(1500))
            for block in (range(3) if sources > 1000 else [0, 0, 0])
        ]
        assert [ready.dates_of(block) is not None for block in blocks] == is_ready
