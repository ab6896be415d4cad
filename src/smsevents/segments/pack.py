r"""Packs: many consecutive segments of one shop in one immutable object, with an index of them.

    [the segments' bytes][the index][the trailer]

The segments are in order and do not overlap. One after the other they are again a segment, so one read returns the
bytes of many events as an export sends them. The **index** has the header of each segment: MessagePack, deflated with
a zlib header. The catalog has a copy of it. The **trailer** has TRAILER_BYTES:

| bytes | what (little-endian) |
|---|---|
| 8 | `smsepak1` |
| 8 | trackpoint |
| 8 | bytes of all segments |
| 8 | events |
| 8 | bytes of all lines |
| 4 | CRC-32 of all lines |
| 4 | bytes of the index |
| 4 | CRC-32 of the index |
| 4 | CRC-32 of the trailer up to here |

So an object describes itself: `read_pack` returns its header and index without the catalog.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from isal import isal_zlib

from smsevents.errors import DamagedSegment
from smsevents.segments.header import NEW, Place, SegmentHeader
from smsevents.segments.segment import Run, Segment
from smsevents.wire.limits import LINE_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from smsevents.segments.segment import Piece, StoredPiece
    from smsevents.storage.base import ByteStore

MAGIC = b"smsepak1"
TRAILER = struct.Struct("<8sqqqqIIII")
TRAILER_BYTES = TRAILER.size
_CRC_BYTES = 4
PACK_SEGMENTS_MAX = 4096  # far more than fit into the largest pack, unless nearly all of them are tiny
UNLOADED_RATIO = 16  # so many bytes of segments in packs count as one: a page holds their headers only
INDEX_RAW_MAX_BYTES = PACK_SEGMENTS_MAX * 2 * (LINE_MAX_BYTES + 64)


class _Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A segment in the index. It starts where the one before it ends."""

    first_date: int
    first_line: bytes
    last_date: int
    last_line: bytes
    events: int
    line_bytes: int
    line_crc: int
    stored_bytes: int
    stored_crc: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Entry])


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack without its segments' bytes: a header that describes all of them together, and the index as stored.

    `tallies` has those of its segments that were counted, by the byte where each segment starts, and `tally_sum` their
    sum, if all were counted. The object has none.
    """

    header: SegmentHeader
    index: bytes
    segments: int
    tallies: Sequence[tuple[int, bytes]] = field(default=(), compare=False)
    tally_sum: bytes | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The key of the object."""
        return self.header.place.key

    @property
    def object_bytes(self) -> int:
        """The size of the object."""
        return self.header.stored_bytes + len(self.index) + TRAILER_BYTES


def make_pack(
    trackpoint: int, key: str, segments: Sequence[Segment], tally_sum: bytes | None = None
) -> tuple[Pack, list[bytes]]:
    """Make a pack of segments in order that do not overlap. Return it, and the bytes of its object, in parts."""
    headers = [segment.header for segment in segments]
    index = zlib.compress(_encoder.encode([_entry_of(header) for header in headers]), 6)
    tallies: list[tuple[int, bytes]] = []
    start = 0
    for segment in segments:
        if segment.tally is not None:
            tallies.append((start, segment.tally))
        start += len(segment.data)
    pack = Pack(_header_of(headers, key), index, len(headers), tallies, tally_sum)
    return pack, [*(segment.data for segment in segments), index, _trailer(trackpoint, pack)]


def _entry_of(header: SegmentHeader) -> _Entry:
    return _Entry(
        header.first[0],
        header.first[1],
        header.last[0],
        header.last[1],
        header.events,
        header.line_bytes,
        header.line_crc,
        header.stored_bytes,
        header.stored_crc,
    )


def _header_of(headers: Sequence[SegmentHeader], key: str) -> SegmentHeader:
    """Return the header of segments one after the other, which are a segment, too."""
    line_crc = stored_crc = 0
    for one in headers:
        line_crc = isal_zlib.crc32_combine(line_crc, one.line_crc, one.line_bytes)
        stored_crc = isal_zlib.crc32_combine(stored_crc, one.stored_crc, one.stored_bytes)
    return SegmentHeader(
        id=NEW,
        first=headers[0].first,
        last=headers[-1].last,
        events=sum(one.events for one in headers),
        line_bytes=sum(one.line_bytes for one in headers),
        line_crc=line_crc,
        stored_bytes=sum(one.stored_bytes for one in headers),
        stored_crc=stored_crc,
        place=Place("pack", key=key),
    )


def _trailer(trackpoint: int, pack: Pack) -> bytes:
    header = pack.header
    sizes = (trackpoint, header.stored_bytes, header.events, header.line_bytes, header.line_crc)
    without_crc = TRAILER.pack(MAGIC, *sizes, len(pack.index), isal_zlib.crc32(pack.index), 0)[:-_CRC_BYTES]
    return without_crc + isal_zlib.crc32(without_crc).to_bytes(_CRC_BYTES, "little")


def headers_in(pack: SegmentHeader, index: bytes) -> list[SegmentHeader]:
    """Return the headers of the segments of a pack, in order, from its index. Raises `DamagedSegment`."""
    headers = _headers_of(pack.id, pack.place.key, index)
    if replace(_header_of(headers, pack.place.key), id=pack.id) != pack:
        raise pack.damaged("its index is that of another pack")
    return headers


def _headers_of(pack_id: int, key: str, index: bytes) -> list[SegmentHeader]:
    inflater = zlib.decompressobj()
    try:
        entries = _decoder.decode(inflater.decompress(index, INDEX_RAW_MAX_BYTES))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise DamagedSegment(f"Pack {key} is damaged: its index cannot be read ({error}).") from error
    if not inflater.eof or not entries:
        raise DamagedSegment(f"Pack {key} is damaged: its index is not complete.")
    headers = []
    start = 0
    for one in entries:
        headers.append(
            SegmentHeader(
                pack_id,
                (one.first_date, one.first_line),
                (one.last_date, one.last_line),
                one.events,
                one.line_bytes,
                one.line_crc,
                one.stored_bytes,
                one.stored_crc,
                Place("pack", start, key),
            )
        )
        start += one.stored_bytes
    return headers


def read_pack(key: str, size: int, read: Callable[[str, int, int], bytes]) -> tuple[int, Pack]:
    """Read the description of a pack from an object of `size` bytes. Return the shop's trackpoint and the pack.

    `read` returns bytes of the object, by key, start and size. Raises `DamagedSegment` if it is not a complete pack,
    and what `read` raises.
    """
    trailer = read(key, max(0, size - TRAILER_BYTES), TRAILER_BYTES)
    if len(trailer) != TRAILER_BYTES or not trailer.startswith(MAGIC):
        raise DamagedSegment(f"The object {key} is not a complete pack.")
    _, trackpoint, stored_bytes, _, _, _, index_bytes, index_crc, crc = TRAILER.unpack(trailer)
    if isal_zlib.crc32(trailer[:-_CRC_BYTES]) != crc or stored_bytes + index_bytes + TRAILER_BYTES != size:
        raise DamagedSegment(f"Pack {key} is damaged: its trailer does not match its checksum or its size.")
    index = read(key, stored_bytes, index_bytes)
    if isal_zlib.crc32(index) != index_crc:
        raise DamagedSegment(f"Pack {key} is damaged: its index does not match its checksum.")
    headers = _headers_of(NEW, key, index)
    return trackpoint, Pack(_header_of(headers, key), index, len(headers))


def missing(key: str) -> DamagedSegment:
    """Return the error for a pack that the catalog names, but that its store does not have."""
    return DamagedSegment(f"Pack {key} is missing from its store.")


@dataclass(frozen=True, slots=True)
class PackedSegment:
    """A segment of a pack in a store, whose bytes are not loaded yet."""

    header: SegmentHeader
    store: ByteStore

    @property
    def held_bytes(self) -> int:
        """How many bytes of it a page holds: its header alone."""
        return self.header.stored_bytes // UNLOADED_RATIO

    def load(self) -> Segment:
        """Return the segment with its bytes. Raises `DamagedSegment`, and what the store does."""
        (segment,) = load_run([self]).segments()
        return segment


Read: TypeAlias = "Callable[[ByteStore, str, int, int], bytes]"
"""Returns bytes of an object in a store, by key, start and size."""


def read_at_once(store: ByteStore, key: str, start: int, size: int) -> bytes:
    """Read with one request."""
    return store.read(key, start, size)


def loaded(pieces: Iterable[StoredPiece], read: Read = read_at_once) -> list[Piece]:
    """Return pieces with their bytes. Segments that follow one another in a pack are read together.

    Raises `DamagedSegment`, and what `read` does.
    """
    found: list[Piece] = []
    run: list[PackedSegment] = []
    for piece in pieces:
        if run and not (isinstance(piece, PackedSegment) and follows(piece.header, run[-1].header)):
            found.append(load_run(run, read))
            run = []
        if isinstance(piece, PackedSegment):
            run.append(piece)
        else:
            found.append(piece if isinstance(piece, bytes) else piece.load())
    if run:
        found.append(load_run(run, read))
    return found


def load_run(run: Sequence[PackedSegment], read: Read = read_at_once) -> Run:
    """Return segments that follow one another in a pack with their bytes, read together.

    Raises `DamagedSegment`, and what `read` does.
    """
    headers = [one.header for one in run]
    place = headers[0].place
    data = read(run[0].store, place.key, place.start, sum(header.stored_bytes for header in headers))
    view = memoryview(data)
    at = 0
    for header in headers:
        end = at + header.stored_bytes
        if isal_zlib.crc32(view[at:end]) != header.stored_crc:
            raise header.damaged("its stored bytes do not match their checksum")
        at = end
    return Run(headers, data)


def follows(header: SegmentHeader, before: SegmentHeader) -> bool:
    """Return whether a segment follows another one in the same pack."""
    return header.place.key == before.place.key and header.place.start == before.place.start + before.stored_bytes
