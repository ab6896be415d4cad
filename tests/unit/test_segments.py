"""Segments: packed runs of lines, the pages of a log that overlaps in any way, and the one gzip member of an export."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from dataclasses import replace
from hashlib import shake_256
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import DamagedSegment
from smsevents.segments.merge import Page, merge, page
from smsevents.segments.pack import loaded
from smsevents.segments.segment import (
    SEGMENT_LINES_BYTES,
    Segment,
    deflate,
    deflate_compacted,
    inflate,
    pack,
    pack_lines,
    read_entries,
)
from smsevents.segments.splice import count, splice, unpack
from smsevents.wire.lines import Entry, end_of, join_lines, unique
from tests.support.entries import (
    DATES,
    Batches,
    altered,
    batches,
    entry,
    entry_bounds,
    entry_values,
    in_order,
    packed,
    some_entries,
)
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smsevents.segments.segment import Piece

RAW = -15
ONE_GZIP_MEMBER = 31


def lines_of(batch: Sequence[Entry]) -> bytes:
    """Return the expected content of a batch: its sorted set."""
    return body_of(one for _, one in sorted(set(batch)))


@settings(max_examples=60, deadline=None)
@given(batch=some_entries)
def test_a_segment_gives_back_what_was_packed(batch: list[Entry]) -> None:
    """A segment reads back as its entries and lines, and tells their bounds, number, size and checksums."""
    segment = packed(batch)
    ordered = sorted(set(batch))
    lines = lines_of(batch)
    assert read_entries(segment) == ordered
    assert inflate(segment) == join_lines(ordered) == lines
    assert (segment.header.first, segment.header.last) == (ordered[0], ordered[-1])
    assert (segment.header.events, segment.header.line_bytes) == (len(ordered), len(lines))
    assert segment.header.stored_bytes == len(segment.data)
    assert (segment.header.line_crc, segment.header.stored_crc) == (zlib.crc32(lines), zlib.crc32(segment.data))
    assert segment.check_stored() is segment


@settings(max_examples=60, deadline=None)
@given(one=some_entries, other=some_entries)
def test_stored_bytes_are_raw_deflate_that_can_be_continued(one: list[Entry], other: list[Entry]) -> None:
    """The data of a segment is plain raw deflate without an end, so two of them are one stream of both."""
    reader = zlib.decompressobj(RAW)
    assert reader.decompress(packed(one).data) == lines_of(one)
    assert reader.decompress(packed(other).data) == lines_of(other)
    assert not reader.eof
    assert not reader.unused_data


@pytest.mark.parametrize("compress", [deflate, deflate_compacted])
def test_deflate_of_nothing_can_be_continued(compress: Callable[[bytes], bytes]) -> None:
    """No lines at all deflate to something that adds nothing to a stream."""
    assert zlib.decompressobj(RAW).decompress(compress(b"") + compress(b"x") + compress(b"")) == b"x"


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.tuples(some_entries, st.sampled_from([deflate, deflate_compacted])), min_size=1, max_size=4))
def test_segments_of_either_compressor_are_one_stream(
    batches: list[tuple[list[Entry], Callable[[bytes], bytes]]],
) -> None:
    """Whichever compressor wrote which segment, each reads back, and all of them splice into one gzip member."""
    segments = [one for batch, compress in batches for one in pack_lines(lines_of(batch), compress=compress)]
    lines = b"".join(map(inflate, segments))
    assert lines == b"".join(lines_of(batch) for batch, _ in batches)
    assert gzip.decompress(b"".join(splice([segments]))) == lines


def test_segments_are_about_the_target_size() -> None:
    """Many lines become segments of the target size, each over it by less than a line, and the last the rest."""
    many = sorted(entry(date, str(date) * 5) for date in range(20_000))
    segments = list(pack(many))
    assert [one for segment in segments for one in read_entries(segment)] == many
    assert len(segments) == sum(len(one) + 1 for _, one in many) // SEGMENT_LINES_BYTES + 1
    longest = max(len(one) + 1 for _, one in many)
    for segment in segments[:-1]:
        assert SEGMENT_LINES_BYTES <= segment.header.line_bytes < SEGMENT_LINES_BYTES + longest
    assert 0 < segments[-1].header.line_bytes < SEGMENT_LINES_BYTES + longest


def test_nothing_is_packed_into_nothing() -> None:
    """Without entries there is no segment, rather than an empty one."""
    assert list(pack([])) == []


@given(batch=st.lists(entry_values, max_size=40))
def test_unique_is_the_sorted_set(batch: list[Entry]) -> None:
    """Entries come out sorted by date and line, without duplicates."""
    assert unique(list(batch)) == sorted(set(batch))


def pages_of(batched: Batches, after: Entry, until: Entry, page_max: int, merge_max: int) -> Iterator[Page]:
    """Read a log page by page to its end; each page must get further, and hold something unless it is the last."""
    while True:
        found = page(iter(in_order(batched, after)), after, until, page_max_bytes=page_max, merge_max_bytes=merge_max)
        yield found
        if found.after is None:
            return
        assert found.pieces
        assert found.after > after
        after = found.after


@settings(max_examples=250, deadline=None)
@given(
    batched=batches,
    after=entry_bounds(),
    until=entry_bounds(),
    page_max=st.integers(1, 3000),
    merge_max=st.integers(1, 6000),
)
def test_pages_are_the_sorted_set_whatever_overlaps(
    batched: Batches, after: Entry, until: Entry, page_max: int, merge_max: int
) -> None:
    """Pages read to their end give each event between the bounds once and in order, in as few pages as events."""
    expected = sorted({one for batch in batched for one in batch if after < one <= until})
    pages = list(pages_of(batched, after, until, page_max, merge_max))
    assert b"".join(unpack(loaded(one.pieces) for one in pages)) == body_of(one for _, one in expected)
    assert sum(count(loaded(one.pieces)) for one in pages) == len(expected)
    assert len(pages) <= len(expected) + 1


@settings(max_examples=100, deadline=None)
@given(batched=batches, page_max=st.integers(1, 3000), merge_max=st.integers(1, 6000))
def test_an_export_is_one_gzip_member_of_the_same_lines(batched: Batches, page_max: int, merge_max: int) -> None:
    """Complete segments and merged lines splice into one gzip member with no bytes after it."""
    pages = [loaded(one.pieces) for one in pages_of(batched, (-1, b""), end_of(DATES), page_max, merge_max)]
    runs = list(splice(pages))
    reader = zlib.decompressobj(ONE_GZIP_MEMBER)
    lines = reader.decompress(b"".join(runs))
    assert reader.eof
    assert not reader.unused_data
    assert len(runs) == len(pages) + 1
    assert lines == gzip.decompress(b"".join(runs)) == b"".join(unpack(pages))
    assert lines == lines_of([one for batch in batched for one in batch])


@pytest.mark.parametrize("pages", [[], [[]], [[], []]])
def test_an_empty_log_is_a_valid_gzip_member(pages: list[list[Piece]]) -> None:
    """Without pages, or with empty pages, the result is a complete gzip member of no bytes."""
    reader = zlib.decompressobj(ONE_GZIP_MEMBER)
    assert reader.decompress(b"".join(splice(pages))) == b""
    assert reader.eof
    assert not reader.unused_data


def test_a_gzip_member_without_its_end_can_be_told() -> None:
    """Whatever is missing at the end of an export, a client can detect that it is incomplete."""
    whole = b"".join(splice([[packed([entry(1), entry(2)])], [lines_of([entry(3)])]]))
    for length in range(len(whole)):
        reader = zlib.decompressobj(ONE_GZIP_MEMBER)
        reader.decompress(whole[:length])
        assert not reader.eof


def test_the_size_in_the_trailer_wraps_at_four_gib() -> None:
    """The trailer tells the size modulo 2**32, as gzip demands, when the lines are more than 4 GiB."""
    size = 3 * 2**30 + 7
    segment = altered(packed([entry(1)]), line_bytes=size)
    trailer = b"".join(splice([[segment], [segment]]))[-4:]
    assert int.from_bytes(trailer, "little") == 2 * size - 2**32


def test_a_segment_alone_is_passed_on_as_it_is() -> None:
    """Segments that nothing overlaps and that lie whole between the bounds are given as the very same objects."""
    alone = [packed([entry(date), entry(date + 1)]) for date in (1, 3, 5)]
    found = page(iter(alone), (0, b""), end_of(6))
    assert found.after is None
    assert [piece is segment for piece, segment in zip(found.pieces, alone, strict=True)] == [True] * 3


def test_a_segment_that_ends_exactly_at_the_bounds_is_whole() -> None:
    """The lower bound is open and the upper is closed, to the very entry."""
    one = packed([entry(1), entry(2), entry(3)])
    assert page(iter([one]), (1, b""), entry(3)).pieces == [one]
    assert page(iter([one]), entry(1), entry(3)).pieces == [body_of([line(1, 2, "u"), line(1, 3, "u")])]
    assert page(iter([one]), (1, b""), entry(2)).pieces == [body_of([line(1, 1, "u"), line(1, 2, "u")])]
    assert page(iter([one]), entry(3), end_of(9)).pieces == []


def test_only_what_overlaps_is_merged() -> None:
    """Segments beside two that overlap are passed on whole; the two become plain lines, equal events once."""
    before, after = packed([entry(1)]), packed([entry(9)])
    two = [packed([entry(3), entry(5)]), packed([entry(4), entry(5)])]
    found = page(iter([before, *two, after]), (0, b""), end_of(9))
    assert found.pieces == [before, lines_of([entry(3), entry(4), entry(5)]), after]


def test_segments_of_one_millisecond_are_told_apart_by_their_lines() -> None:
    """Many segments within one date are whole pieces as long as their lines do not interleave."""
    alone = [packed([entry(1, user), entry(1, user + "z")]) for user in "abcd"]
    found = page(iter(alone), (1, b""), end_of(1))
    assert found.pieces == alone


def test_a_page_reads_no_more_segments_than_it_needs() -> None:
    """However long the log is, a page takes what fills it and one segment more to see that nothing overlaps."""
    log = [packed([entry(date)]) for date in range(100)]
    asked: list[Segment] = []

    def ordered() -> Iterator[Segment]:
        for segment in log:
            asked.append(segment)
            yield segment

    found = page(ordered(), (-1, b""), end_of(99), page_max_bytes=len(log[0].data) * 3)
    assert 3 <= len(found.pieces) <= 5
    assert len(asked) <= len(found.pieces) + 1
    assert found.after == log[len(found.pieces) - 1].header.last


@pytest.mark.parametrize("segments", [2, 10, 60])
def test_what_a_page_holds_does_not_grow_with_what_overlaps(segments: int) -> None:
    """The merged lines of a page stay near the room for them, however many segments overlap."""
    page_max, merge_max = 2_000, 8_000
    batched = [[entry(date, f"{one}") for date in range(20)] for one in range(segments)]
    longest = max(packed(batch).header.line_bytes for batch in batched)
    read = []
    for found in pages_of(batched, (-1, b""), end_of(99), page_max, merge_max):
        held = sum(len(piece) for piece in found.pieces if isinstance(piece, bytes))
        assert held <= page_max + merge_max + longest
        read.append(loaded(found.pieces))
    assert b"".join(unpack(read)) == lines_of([one for batch in batched for one in batch])


def test_one_line_larger_than_all_room_is_still_read() -> None:
    """A page gets on by at least one event, also where that event alone is more than the room."""
    batched = [[entry(date, shake_256(bytes([one])).hexdigest(500)) for date in range(3)] for one in range(4)]
    pages = [loaded(one.pieces) for one in pages_of(batched, (-1, b""), end_of(9), 1, 1)]
    assert b"".join(unpack(pages)) == lines_of([one for batch in batched for one in batch])


def changed(data: bytes, index: int, mask: int) -> bytes:
    """Return data with some bits of one byte flipped."""
    return data[:index] + bytes([data[index] ^ mask]) + data[index + 1 :]


@settings(max_examples=300, deadline=None)
@given(batch=some_entries, where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_changed_byte_is_seen(batch: list[Entry], where: float, mask: int) -> None:
    """Any changed byte fails its checksum, and even with a matching one, no wrong line comes out."""
    segment = packed(batch)
    data = changed(segment.data, int(where * len(segment.data)), mask)
    with pytest.raises(DamagedSegment, match="Segment new is damaged"):
        replace(segment, data=data).check_stored()
    assert_lines_or_damaged(segment, data)


@settings(max_examples=100, deadline=None)
@given(batch=some_entries, where=st.floats(0, 1, exclude_max=True))
def test_a_cut_segment_is_seen(batch: list[Entry], where: float) -> None:
    """Data truncated anywhere fails its checksum, and even with a matching one, no wrong line comes out."""
    segment = packed(batch)
    data = segment.data[: int(where * len(segment.data))]
    with pytest.raises(DamagedSegment):
        replace(segment, data=data).check_stored()
    assert_lines_or_damaged(segment, data)


def assert_lines_or_damaged(segment: Segment, data: bytes) -> None:
    """Check that data with a matching checksum inflates to the very lines (padding bits may differ) or is refused."""
    disguised = altered(segment, data=data, stored_crc=zlib.crc32(data)).check_stored()
    with suppress(DamagedSegment):
        assert inflate(disguised) == inflate(segment)


def test_a_byte_turned_over_is_seen_without_its_checksum() -> None:
    """Any byte of a small segment turned over is refused by inflating alone, whatever the stored checksum says."""
    segment = packed([entry(date, user) for date in range(3) for user in "abc"])
    for index in range(len(segment.data)):
        data = changed(segment.data, index, 0xFF)
        with pytest.raises(DamagedSegment, match="Segment new is damaged"):
            inflate(altered(segment, data=data, stored_crc=zlib.crc32(data)))


def test_lines_that_are_not_those_packed_are_seen() -> None:
    """Complete deflate data of other, more or fewer lines is refused, and the name is reported."""
    segment = altered(packed([entry(1), entry(2)]), id=4711)
    others = [deflate(b""), packed([entry(1)]).data, packed([entry(1), entry(3)]).data, segment.data * 2, b"", b"\x00"]
    for data in others:
        with pytest.raises(DamagedSegment, match="Segment 4711 "):
            read_entries(altered(segment, data=data, stored_crc=zlib.crc32(data)))
    for wrong in (altered(segment, line_crc=0), altered(segment, line_bytes=segment.header.line_bytes - 1)):
        with pytest.raises(DamagedSegment, match="Segment 4711 "):
            inflate(wrong)


def test_a_damaged_segment_stops_the_page_and_the_export() -> None:
    """A page that must open a damaged segment, and the plain export of one, stop with the segment's name."""
    good = packed([entry(1), entry(2)])
    bad = altered(good, line_crc=good.header.line_crc ^ 1, id=12)
    with pytest.raises(DamagedSegment, match="Segment 12 "):
        page(iter([good, bad]), (0, b""), end_of(9))
    with pytest.raises(DamagedSegment, match="Segment 12 "):
        list(unpack([[bad]]))


def test_lines_without_a_date_name_the_segments_that_may_hold_them() -> None:
    """Lines that are not events are found when segments are merged, and the error names those that were open."""
    good = packed([entry(1), entry(3)])
    lines = b"".join(b'{"no":"event"}\n' for _ in range(20))
    data = deflate(lines)
    bad = altered(good, data, line_bytes=len(lines), line_crc=zlib.crc32(lines), stored_crc=zlib.crc32(data), id=12)
    with pytest.raises(DamagedSegment, match=r"segments that overlap \(7, 12\) is damaged: its lines are not events"):
        page(iter([altered(good, id=7), bad]), (0, b""), end_of(9))
    with pytest.raises(DamagedSegment, match=r"Segment 12 is damaged: its lines are not events"):
        merge(iter([altered(bad, last=entry(9))]), entry(2), 1000)
    with pytest.raises(DamagedSegment, match=r"Segment 12 is damaged: its lines are not events"):
        read_entries(bad)


def test_bounds_of_a_millisecond_enclose_all_its_lines() -> None:
    """No event of a millisecond lies outside its bounds, and none of the next lies within them."""
    ordered = [(5, b""), entry(5, "a"), entry(5, "\U0010ffff"), end_of(5), (6, b""), entry(6, "a")]
    assert all(one < other for one, other in pairwise(ordered))
