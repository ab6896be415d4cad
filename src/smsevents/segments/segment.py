r"""Segments: runs of event lines in the form in which they are stored and sent. Pure functions on bytes.

A **segment** holds the canonical lines of one shop, sorted, each ended by `\\n`, compressed to *raw deflate
that ends on a byte boundary and holds no final block* (RFC 1951; zlib's full flush). Two such runs, one
behind the other, are one deflate stream; put a gzip header before them and a final block and the CRC-32
of all lines behind them, and they are one gzip member (RFC 1952). That is the whole idea: what lies on
the disk is what goes over the wire, and an export is a splice.

    pack      sorted entries → segments of about SEGMENT_LINES_BYTES of lines
    days      sorted entries → those of each day
    inflate   segment → its lines, checked
    cut       segment → its lines within bounds
    entries   segment → its lines with their dates, to merge and to check
    splice    pieces → one gzip member
    unpack    pieces → plain lines

An **entry** is `(date, line)`, the line without its `\\n`. Entries sort as the export does: by date, then by
the bytes of the line; and two equal entries are one event. A **piece** is what a reader gets: a whole
segment where nothing has to be done to it, else plain lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import chain, islice
from operator import eq
from typing import TYPE_CHECKING, TypeAlias

from isal import isal_zlib
from zlib_ng import zlib_ng

from smsevents.errors import DamagedSegment
from smsevents.wire.limits import DAY_MS, LINE_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SEGMENT_LINES_BYTES = 1024 * 1024
SEGMENT_LINES_MAX_BYTES = SEGMENT_LINES_BYTES + LINE_MAX_BYTES  # it ends with the line that fills it
# isal's level 1: within a few percent of its higher levels in size on event lines, and twice as fast.
DEFLATE_LEVEL = 1
# zlib-ng's level 6, for what compaction writes; docs/performance.md compares both with others.
DEFLATE_COMPACTED_LEVEL = 6

Entry: TypeAlias = tuple[int, bytes]

RAW_DEFLATE = -15  # zlib's wbits for a deflate stream without header and trailer
FULL_FLUSH = b"\x00\x00\xff\xff"  # an empty stored block ends at a byte boundary (RFC 1951, section 3.2.4)

# In a canonical line `"date":` stands once: within a string its quotes would be escaped.
_date = re.compile(rb'"date":(-?[0-9]+)\}')


@dataclass(frozen=True, slots=True)
class Segment:
    r"""A run of lines as it is stored.

    `line_bytes` and `line_crc` (CRC-32) speak of the plain lines with their `\n`, `stored_crc` (CRC-32) of
    `data`, so that damage is seen before a byte is sent, also where nothing is inflated.
    """

    first: Entry
    last: Entry
    events: int
    line_bytes: int
    line_crc: int
    stored_crc: int
    data: bytes
    name: str = "new"

    def check_stored(self) -> Segment:
        """Give the segment back if its stored bytes are what was written, else raise `DamagedSegment`."""
        if isal_zlib.crc32(self.data) != self.stored_crc:
            raise self.damaged("its stored bytes do not match their checksum")
        return self

    def damaged(self, reason: str) -> DamagedSegment:
        """Build the error that names this segment."""
        return DamagedSegment(f"Segment {self.name} is damaged: {reason}.")


Piece: TypeAlias = Segment | bytes


def plain(entries: Iterable[Entry]) -> bytes:
    """Give the lines of entries as they stand on the wire."""
    lines = [line for _, line in entries]
    lines.append(b"")
    return b"\n".join(lines)


def deflate(lines: bytes) -> bytes:
    """Compress lines, fast, to raw deflate that ends on a byte boundary and can be continued."""
    compressor = isal_zlib.compressobj(DEFLATE_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE)
    return compressor.compress(lines) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def deflate_compacted(lines: bytes) -> bytes:
    """Compress lines as `deflate` does, to an eighth fewer bytes in seven times the time: for what will stay."""
    compressor = zlib_ng.compressobj(DEFLATE_COMPACTED_LEVEL, zlib_ng.DEFLATED, RAW_DEFLATE)
    return compressor.compress(lines) + compressor.flush(zlib_ng.Z_FULL_FLUSH)


def pack(entries: Iterable[Entry], segment_bytes: int = SEGMENT_LINES_BYTES) -> Iterator[Segment]:
    """Put sorted entries, each of them once, into segments of about `segment_bytes` of lines."""
    return pack_lines(plain(entries), "new", segment_bytes)


def pack_lines(
    lines: bytes,
    name: str,
    segment_bytes: int = SEGMENT_LINES_BYTES,
    compress: Callable[[bytes], bytes] = deflate,
) -> Iterator[Segment]:
    """Put sorted lines, each of them once, into segments of about `segment_bytes` of lines.

    A segment ends with the line that fills it. Raises `DamagedSegment`, with the name of where they are from,
    for lines that are not events.
    """
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + segment_bytes - 1) + 1 or len(lines)
        yield _segment(lines[start:end], name, compress)
        start = end


def _segment(lines: bytes, name: str, compress: Callable[[bytes], bytes]) -> Segment:
    data = compress(lines)
    return Segment(
        first=entry_at(lines, 0, name)[0],
        last=entry_at(lines, lines.rfind(b"\n", 0, len(lines) - 1) + 1, name)[0],
        events=lines.count(b"\n"),
        line_bytes=len(lines),
        line_crc=isal_zlib.crc32(lines),
        stored_crc=isal_zlib.crc32(data),
        data=data,
    )


def days(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Split sorted entries at the midnights of UTC.

    What is packed day by day overlaps with what comes late for a day, and with nothing else.
    """
    start = 0
    while start < len(entries):
        midnight = (entries[start][0] // DAY_MS + 1) * DAY_MS
        end = bisect_left(entries, (midnight, b""), start)
        yield entries[start:end]
        start = end


def inflate(segment: Segment) -> bytes:
    """Give the lines of a segment. Raises `DamagedSegment` if they are not the lines that were packed.

    Its stored bytes must also be such that another segment can follow them: no final block, nothing left over,
    and a flush at the end. Else a splice would be broken where this segment alone looks sound.
    """
    if not 0 < segment.line_bytes <= SEGMENT_LINES_MAX_BYTES:
        raise segment.damaged(f"it cannot hold {segment.line_bytes} bytes of lines")
    inflater = isal_zlib.decompressobj(RAW_DEFLATE)
    try:
        lines = inflater.decompress(segment.data, segment.line_bytes + 1)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says that it is an instance
        raise segment.damaged(f"it cannot be inflated ({error})") from error
    if len(lines) != segment.line_bytes or isal_zlib.crc32(lines) != segment.line_crc:
        raise segment.damaged("its lines do not match their checksum")
    if inflater.eof or inflater.unconsumed_tail or not segment.data.endswith(FULL_FLUSH):
        raise segment.damaged("its stored bytes do not end in a full flush")
    return lines


def entries(segment: Segment) -> list[Entry]:
    """Give the entries of a segment, in order. Raises `DamagedSegment`."""
    return parse_entries(inflate(segment), segment.name)


def parse_entries(lines: bytes, name: str) -> list[Entry]:
    """Give the entries of whole lines. Raises `DamagedSegment`, with the name of their segment, if one has no date."""
    if not lines:
        return []
    dates = _date.findall(lines)
    split = lines[:-1].split(b"\n")
    if len(dates) != len(split) or not lines.endswith(b"\n"):
        raise _no_events(name)
    return list(zip(map(int, dates), split, strict=True))


def entry_at(lines: bytes, start: int, name: str) -> tuple[Entry, int]:
    """Give the entry of the line that starts there, and where the next one does. Raises `DamagedSegment`."""
    end = lines.find(b"\n", start)
    match = _date.search(lines, start, end) if end >= 0 else None
    if match is None:
        raise _no_events(name)
    return (int(match[1]), lines[start:end]), end + 1


def _no_events(name: str) -> DamagedSegment:
    return DamagedSegment(f"Segment {name} is damaged: its lines are not events.")


def unique(entries: list[Entry]) -> list[Entry]:
    """Sort entries and keep each once."""
    entries.sort()
    if not any(map(eq, entries, islice(entries, 1, None))):
        return entries
    return [entry for entry, previous in zip(entries, chain([None], entries), strict=False) if entry != previous]


def cut(segment: Segment, after: Entry, until: Entry) -> bytes:
    """Give the lines of a segment in `after < entry <= until`. Raises `DamagedSegment`."""
    lines = inflate(segment)
    start = 0 if after < segment.first else bisect(lines, after, segment.name)
    end = len(lines) if segment.last <= until else bisect(lines, until, segment.name)
    return lines[start:end]


def bisect(lines: bytes, bound: Entry, name: str, *, from_start: int = 0, at: bool = False) -> int:
    """Give where the first line behind a bound starts in sorted lines, or, with `at`, the first one at or behind it.

    A binary search that reads few of the lines. Lines before `from_start` are known to be before the bound.
    """
    low, high = from_start, len(lines)
    while low < high:
        start = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
        entry, following = entry_at(lines, start, name)
        if entry > bound or (at and entry == bound):
            high = start
        else:
            low = following
    return low


def end_of(time: int) -> Entry:
    """Give an entry behind every event of the millisecond `time` and before every later one."""
    return (time, b"\xff")  # no line starts with this byte: it is not UTF-8
