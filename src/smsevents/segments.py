r"""Segments: runs of event lines in the form in which they are stored and sent. Pure functions on bytes.

A **segment** holds the canonical lines of one shop, sorted, each ended by `\\n`, compressed to *raw deflate
that ends on a byte boundary and holds no final block* (RFC 1951; zlib's full flush). Two such runs, one
behind the other, are one deflate stream; put a gzip header before them and a final block and the CRC-32
of all lines behind them, and they are one gzip member (RFC 1952). That is the whole idea: what lies on
the disk is what goes over the wire, and an export is a splice.

    pack      sorted entries → segments of about SEGMENT_LINES_BYTES of lines
    inflate   segment → its lines, checked
    cut       segment → its lines within bounds
    entries   segment → its lines with their dates, to merge and to check
    page      segments that may overlap, in order of their first entry → the next pieces of the log
    splice    pieces → one gzip member
    unpack    pieces → plain lines

An **entry** is `(date, line)`, the line without its `\\n`. Entries sort as the export does: by date, then by
the bytes of the line; and two equal entries are one event. A **piece** is what a reader gets: a whole
segment where nothing has to be done to it, else plain lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from isal import isal_zlib

from smsevents.errors import DamagedSegment
from smsevents.settings import DEFLATE_LEVEL, MERGE_HELD_MAX_BYTES, PAGE_HELD_MAX_BYTES, SEGMENT_LINES_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Entry: TypeAlias = tuple[int, bytes]

RAW_DEFLATE = -15  # zlib's wbits for a deflate stream without header and trailer
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, system unknown
FINAL_BLOCK = b"\x03\x00"  # an empty block with fixed codes, marked as the last one

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
            raise DamagedSegment(f"Segment {self.name} is damaged: its stored bytes do not match their checksum.")
        return self


Piece: TypeAlias = Segment | bytes


def plain(entries: Iterable[Entry]) -> bytes:
    """Give the lines of entries as they stand on the wire."""
    lines = [line for _, line in entries]
    lines.append(b"")
    return b"\n".join(lines)


def deflate(lines: bytes) -> bytes:
    """Compress lines to raw deflate that ends on a byte boundary and can be continued."""
    compressor = isal_zlib.compressobj(DEFLATE_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE)
    return compressor.compress(lines) + compressor.flush(isal_zlib.Z_FULL_FLUSH)


def pack(entries: Sequence[Entry], segment_bytes: int = SEGMENT_LINES_BYTES) -> Iterator[Segment]:
    """Put sorted entries, each of them once, into segments of about `segment_bytes` of lines."""
    start = size = 0
    for index, (_, line) in enumerate(entries):
        size += len(line) + 1
        if size >= segment_bytes:
            yield _segment(entries[start : index + 1])
            start, size = index + 1, 0
    if start < len(entries):
        yield _segment(entries[start:])


def _segment(entries: Sequence[Entry]) -> Segment:
    lines = plain(entries)
    data = deflate(lines)
    return Segment(
        first=entries[0],
        last=entries[-1],
        events=len(entries),
        line_bytes=len(lines),
        line_crc=isal_zlib.crc32(lines),
        stored_crc=isal_zlib.crc32(data),
        data=data,
    )


def inflate(segment: Segment) -> bytes:
    """Give the lines of a segment. Raises `DamagedSegment` if they are not the lines that were packed."""
    try:
        lines = isal_zlib.decompressobj(RAW_DEFLATE).decompress(segment.data, segment.line_bytes + 1)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says that it is an instance
        raise DamagedSegment(f"Segment {segment.name} is damaged: it cannot be inflated ({error}).") from error
    if len(lines) != segment.line_bytes or isal_zlib.crc32(lines) != segment.line_crc:
        raise DamagedSegment(f"Segment {segment.name} is damaged: its lines do not match their checksum.")
    return lines


def entries(segment: Segment) -> list[Entry]:
    """Give the entries of a segment, in order."""
    return _entries_of(inflate(segment))


def _entries_of(lines: bytes) -> list[Entry]:
    return list(zip(map(int, _date.findall(lines)), lines[:-1].split(b"\n"), strict=True)) if lines else []


def unique(entries: list[Entry]) -> list[Entry]:
    """Sort entries and keep each once."""
    entries.sort()
    return [entry for entry, previous in zip(entries, chain([None], entries), strict=False) if entry != previous]


def cut(segment: Segment, after: Entry, until: Entry) -> bytes:
    """Give the lines of a segment in `after < entry <= until`."""
    lines = inflate(segment)
    return lines[_behind(lines, after) : _behind(lines, until)]


def _behind(lines: bytes, bound: Entry) -> int:
    """Give where the first line behind `bound` starts in sorted lines: a binary search that reads few of them."""
    low, high = 0, len(lines)
    while low < high:
        start = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = lines.index(b"\n", start)
        match = _date.search(lines, start, end)
        if match is None:
            raise DamagedSegment("A segment is damaged: a line has no date.")
        if (int(match[1]), lines[start:end]) > bound:
            high = start
        else:
            low = end + 1
    return low


def end_of(time: int) -> Entry:
    """Give an entry behind every event of the millisecond `time` and before every later one."""
    return (time, b"\xff")  # no line starts with this byte: it is not UTF-8


@dataclass(frozen=True, slots=True)
class Page:
    """The next pieces of a log, and the entry behind which the page after it goes on (None: that is all)."""

    pieces: list[Piece]
    after: Entry | None


def page(
    ordered: Iterator[Segment],
    after: Entry,
    until: Entry,
    *,
    page_max_bytes: int = PAGE_HELD_MAX_BYTES,
    merge_max_bytes: int = MERGE_HELD_MAX_BYTES,
) -> Page:
    """Read on in a log: give the events in `after < event <= until`, in order, each once, until a page is full.

    `ordered` gives the segments that reach behind `after`, by their first entry; it is not read further
    than needed, so that what is in memory does not grow with the log. A segment that no other overlaps and
    that lies whole within the bounds is passed on as it is. Segments that overlap are merged.
    """
    pieces: list[Piece] = []
    held = 0
    head = next(ordered, None)
    while head is not None:
        if held >= page_max_bytes:
            return Page(pieces, after)
        following = next(ordered, None)
        if following is not None and following.first <= head.last:
            merged = merge(head, chain((following,), ordered), after, until, merge_max_bytes)
            piece: Piece = plain(merged.entries)
            if merged.cut:
                return Page([*pieces, piece], merged.reach)
            after, following = merged.reach, merged.behind
        else:
            whole = after < head.first and head.last <= until
            piece = head if whole else cut(head, after, until)
            after = head.last
        if piece:
            pieces.append(piece)
            held += len(piece.data) if isinstance(piece, Segment) else len(piece)
        head = following
    return Page(pieces, None)


@dataclass(frozen=True, slots=True)
class Merged:
    """Merged entries, all there are up to `reach`; `behind` is the first segment that did not overlap.

    `cut` tells that there was not room for all, so that the segments must be read again behind `reach`.
    """

    entries: list[Entry]
    reach: Entry
    behind: Segment | None
    cut: bool


def merge(head: Segment, behind: Iterator[Segment], after: Entry, until: Entry, room: int) -> Merged:
    """Merge `head` and all segments behind it that overlap, holding no more than about `room` bytes of lines.

    However many segments overlap, the room is enough: whenever it is full, only the earlier half of what
    was chosen is kept, and from then on nothing behind its last entry is taken. Each round therefore ends
    with the earliest events there are, and the next one goes on behind them.
    """
    chosen: list[Entry] = []
    held = 0
    is_cut = False
    reach = head.last
    for segment in chain((head,), behind):
        if segment.first > reach:
            return Merged(unique(chosen), reach, segment, is_cut)
        taken = cut(segment, after, until)
        chosen += _entries_of(taken)
        held += len(taken)
        reach = until if is_cut else max(reach, segment.last)
        if held > room:
            chosen = unique(chosen)
            kept, held = _earlier_half(chosen, room)
            if len(kept) < len(chosen):
                chosen, is_cut = kept, True
                until = reach = kept[-1]
    return Merged(unique(chosen), reach, None, is_cut)


def _earlier_half(entries: list[Entry], room: int) -> tuple[list[Entry], int]:
    """Keep the first entries, up to half the room but at least one; give them and their size in bytes."""
    held = 0
    for index, (_, line) in enumerate(entries):
        held += len(line)
        if held > room // 2:
            return entries[: index + 1], held
    return entries, held


def splice(pages: Iterable[Iterable[Piece]]) -> Iterator[bytes]:
    """Give one gzip member out of the pieces of pages: a run of bytes for each page, and the end.

    The end holds the CRC-32 of all lines, combined from the pieces' own (RFC 1952, section 2.3.1): a client
    that gets it has got the whole, and one that does not can tell.
    """
    crc = size = 0
    head = GZIP_HEADER
    for pieces in pages:
        run = [head]
        for piece in pieces:
            if isinstance(piece, Segment):
                piece_crc, piece_size, data = piece.line_crc, piece.line_bytes, piece.data
            else:
                piece_crc, piece_size, data = isal_zlib.crc32(piece), len(piece), deflate(piece)
            crc = isal_zlib.crc32_combine(crc, piece_crc, piece_size)
            size += piece_size
            run.append(data)
        yield b"".join(run)
        head = b""
    yield head + FINAL_BLOCK + crc.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")


def unpack(pages: Iterable[Iterable[Piece]]) -> Iterator[bytes]:
    """Give the plain lines of the pieces of pages, a run of bytes for each piece."""
    for pieces in pages:
        for piece in pieces:
            yield inflate(piece) if isinstance(piece, Segment) else piece


def count(pieces: Iterable[Piece]) -> int:
    """Tell how many events pieces hold."""
    return sum(piece.events if isinstance(piece, Segment) else piece.count(b"\n") for piece in pieces)
