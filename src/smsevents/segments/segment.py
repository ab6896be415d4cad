r"""Segments: runs of event lines in the form in which they are stored and sent. Pure functions on bytes.

A **segment** holds the canonical lines of one shop, sorted, each ended by `\n`, compressed to *raw deflate that ends
on a byte boundary and has no final block* (RFC 1951; zlib's full flush). Two such runs, one after the other, are one
deflate stream. So the bytes on the disk are the bytes on the wire, and an export is a splice (`splice.py`).

    pack          sorted entries → segments of about SEGMENT_LINES_BYTES of lines
    inflate       segment → its lines, checked
    cut           segment → its lines within bounds
    read_entries  segment → its lines with their dates

A reader returns **pieces**. A piece is a complete segment if it can be sent unchanged, or a run of them, else plain
lines. A segment of a pack is a `StoredSegment` at first: its bytes are loaded once it is known that they are needed
(`pack.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cachetools import LRUCache, cached
from isal import isal_zlib
from zlib_ng import zlib_ng

from smsevents.segments.header import IN_MEMORY, NEW, SegmentHeader
from smsevents.wire.limits import DAY_MS, LINE_MAX_BYTES
from smsevents.wire.lines import NotLines, bisect_lines, count_lines, entry_at, join_lines, last_entry, parse_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from smsevents.wire.lines import Entry

SEGMENT_LINES_BYTES = 1024 * 1024
SEGMENT_LINES_MAX_BYTES = SEGMENT_LINES_BYTES + LINE_MAX_BYTES  # a segment ends with the line that fills it
# isal's level 1: on event lines, sizes are within a few percent of its higher levels, and it is twice as fast.
DEFLATE_LEVEL = 1
# zlib-ng's level 6, for the output of compaction. docs/performance.md compares both levels with others.
DEFLATE_COMPACTED_LEVEL = 6
# Lines of opened segments that are kept: the newest events of a shop are asked for again and again.
OPENED_KEPT_MAX_BYTES = 32 * 1024 * 1024
RAW_DEFLATE = -15  # zlib's wbits for a deflate stream without header and trailer
FULL_FLUSH = b"\x00\x00\xff\xff"  # an empty stored block ends at a byte boundary (RFC 1951, section 3.2.4)


@dataclass(frozen=True, slots=True)
class Segment:
    """A header with its bytes, and if the lines were counted when they were packed, their tally as it is stored."""

    header: SegmentHeader
    data: bytes
    tally: bytes | None = None

    @property
    def held_bytes(self) -> int:
        """How many bytes of it a page holds."""
        return self.header.stored_bytes

    def check_stored(self) -> Segment:
        """Return the segment itself if its stored bytes match their checksum. Raises `DamagedSegment`."""
        if isal_zlib.crc32(self.data) != self.header.stored_crc:
            raise self.header.damaged("its stored bytes do not match their checksum")
        return self

    def load(self) -> Segment:
        """Return the segment itself: it has its bytes."""
        return self


class StoredSegment(Protocol):
    """A segment whose bytes may still have to be loaded."""

    @property
    def header(self) -> SegmentHeader:
        """Its description."""

    @property
    def held_bytes(self) -> int:
        """How many bytes of it, or how much work with it, a page holds that passes it on."""

    def load(self) -> Segment:
        """Return the segment with its bytes, checked. Raises `DamagedSegment`, and what the place of its bytes does."""


@dataclass(frozen=True, slots=True)
class Run:
    """Segments that follow one another in a pack, with their bytes, which are checked."""

    headers: Sequence[SegmentHeader]
    data: bytes

    def segments(self) -> Iterator[Segment]:
        """Go through the segments one by one."""
        at = 0
        for header in self.headers:
            yield Segment(header, self.data[at : at + header.stored_bytes])
            at += header.stored_bytes


Piece: TypeAlias = Segment | Run | bytes
StoredPiece: TypeAlias = StoredSegment | bytes


def deflate(lines: bytes) -> bytes:
    """Compress lines, fast, to raw deflate that ends on a byte boundary and can be continued."""
    compressor = isal_zlib.compressobj(DEFLATE_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE)
    return compressor.compress(lines) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def deflate_compacted(lines: bytes) -> bytes:
    """Compress lines as `deflate` does, to an eighth fewer bytes in seven times the time: for lines that will stay."""
    compressor = zlib_ng.compressobj(DEFLATE_COMPACTED_LEVEL, zlib_ng.DEFLATED, RAW_DEFLATE)
    return compressor.compress(lines) + compressor.flush(zlib_ng.Z_FULL_FLUSH)


def pack(entries: Iterable[Entry], segment_bytes: int = SEGMENT_LINES_BYTES) -> Iterator[Segment]:
    """Put sorted entries without duplicates into segments of about `segment_bytes` of lines."""
    return pack_lines(join_lines(entries), segment_bytes)


def no_tally(_lines: bytes) -> None:
    """Do not count lines."""


def pack_lines(
    lines: bytes,
    segment_bytes: int = SEGMENT_LINES_BYTES,
    compress: Callable[[bytes], bytes] = deflate,
    tally: Callable[[bytes], bytes | None] = no_tally,
) -> Iterator[Segment]:
    """Put sorted lines without duplicates into segments of about `segment_bytes` of lines.

    A segment ends with the line that fills it. `tally` counts its lines. Raises `NotLines` for lines that are not
    events.
    """
    for run in _cut(lines, segment_bytes, 0, len(lines)):
        yield pack_run(run, compress, tally)


def cut_days(lines: bytes, segment_bytes: int = SEGMENT_LINES_BYTES) -> Iterator[bytes]:
    """Cut sorted lines into the runs of segments of about `segment_bytes`, each of one day (UTC). Raises `NotLines`."""
    start = 0
    while start < len(lines):
        midnight = (entry_at(lines, start)[0][0] // DAY_MS + 1) * DAY_MS
        end = bisect_lines(lines, (midnight, b""), from_start=start, at=True)
        yield from _cut(lines, segment_bytes, start, end)
        start = end


def _cut(lines: bytes, segment_bytes: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        cut_at = lines.find(b"\n", start + segment_bytes - 1, end) + 1 or end
        yield lines[start:cut_at]
        start = cut_at


def pack_run(
    lines: bytes,
    compress: Callable[[bytes], bytes] = deflate,
    tally: Callable[[bytes], bytes | None] = no_tally,
) -> Segment:
    """Put sorted lines without duplicates into one segment. There is at least one line. Raises `NotLines`."""
    data = compress(lines)
    header = SegmentHeader(
        id=NEW,
        first=entry_at(lines, 0)[0],
        last=last_entry(lines),
        events=count_lines(lines),
        line_bytes=len(lines),
        line_crc=isal_zlib.crc32(lines),
        stored_bytes=len(data),
        stored_crc=isal_zlib.crc32(data),
        place=IN_MEMORY,
    )
    return Segment(header, data, tally(lines))


def inflate(segment: Segment) -> bytes:
    """Return the lines of a segment. Raises `DamagedSegment` if they are not the lines that were packed.

    Another segment must also be able to follow the stored bytes: no final block, no bytes left over, and a flush at
    the end. Otherwise a splice would be broken, although the segment alone seems sound.
    """
    header = segment.header
    if not 0 < header.line_bytes <= SEGMENT_LINES_MAX_BYTES:
        raise header.damaged(f"it cannot hold {header.line_bytes} bytes of lines")
    inflater = isal_zlib.decompressobj(RAW_DEFLATE)
    try:
        lines = inflater.decompress(segment.data, header.line_bytes + 1)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says that it is an instance
        raise header.damaged(f"it cannot be inflated ({error})") from error
    if len(lines) != header.line_bytes or isal_zlib.crc32(lines) != header.line_crc:
        raise header.damaged("its lines do not match their checksum")
    if inflater.eof or inflater.unconsumed_tail or not segment.data.endswith(FULL_FLUSH):
        raise header.damaged("its stored bytes do not end in a full flush")
    return lines


def read_entries(segment: Segment) -> list[Entry]:
    """Return the entries of a segment, in order. Raises `DamagedSegment`."""
    try:
        return parse_entries(inflate(segment))
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error


_opened: LRUCache[SegmentHeader, bytes] = LRUCache(OPENED_KEPT_MAX_BYTES, len)
_opened_lock = Lock()


def forget_opened() -> None:
    """Keep no lines of opened segments. Called regularly, so that none stay in memory after their segment is gone."""
    with _opened_lock:
        _opened.clear()


@cached(_opened, lambda segment: segment.header, _opened_lock)
def _kept_lines(segment: StoredSegment) -> bytes:
    return inflate(segment.load())


def cut(segment: StoredSegment, after: Entry, until: Entry, *, keep: bool = False) -> bytes:
    """Return the lines of a segment in `after < entry <= until`. Raises what `StoredSegment.load` does.

    With `keep`, the lines of the segment are kept for the next request, and its bytes are not loaded for them again.
    A header with an id and two checksums describes the same lines as long as it exists.
    """
    lines = _kept_lines(segment) if keep and segment.header.id != NEW else inflate(segment.load())
    try:
        start = 0 if after < segment.header.first else bisect_lines(lines, after)
        end = len(lines) if segment.header.last <= until else bisect_lines(lines, until)
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error
    return lines[start:end]
