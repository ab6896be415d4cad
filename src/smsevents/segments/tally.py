r"""Tallies: how many events of which kind a segment holds, so that they can be added without opening the segment.

A tally is to a segment what its CRC is: made once, added where the segment counts as a whole. It has

- the number of events for each source, status, quarter of an hour of `date`, and quarter of an hour of `sendDate`;
- for each source, how long its DELIVERED events took, in the buckets of DELIVERY_BOUNDS_MS.

A **source** is here its canonical JSON up to the send date, without the closing brace. It names no user. Every time
zone since 2000 has an offset of whole quarters, so quarters are enough for the hours and days of all of them.

The encoded form is MessagePack of `Tally`, deflated with a zlib header. TALLY_VERSION is stored beside it: tallies of
another version do not count, and are made again.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections import Counter
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from isal import isal_zlib

from smsevents.wire.limits import HOUR_MS
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TALLY_VERSION = 1
QUARTER_MS = HOUR_MS // 4
# Counting the lines of a smaller segment takes no longer than reading its tally and those of its neighbours.
TALLY_LINES_MIN_BYTES = 64 * 1024
# A larger tally hardly saves anything: nearly every event has a source of its own.
TALLY_MAX_BYTES = 64 * 1024
TALLY_RAW_MAX_BYTES = (
    1024 * 1024
)  # inflated: long names that repeat compress well, but a count holds hundreds of tallies

DELIVERED = "DELIVERED"
WITHIN_MS = (10_000, 60_000, HOUR_MS)  # "within" is exact, so a bucket ends with each of them
_OCTAVES = 42  # up to 139 years
_BUCKETS_PER_OCTAVE = 4
# The shortest time of each bucket, in milliseconds. The first one is for times of 0 ms and impossible ones below.
DELIVERY_BOUNDS_MS: tuple[int, ...] = tuple(
    sorted(
        {0}
        | {round(2 ** (step / _BUCKETS_PER_OCTAVE)) for step in range(_OCTAVES * _BUCKETS_PER_OCTAVE)}
        | {within + 1 for within in WITHIN_MS}
    )
)

# In canonical lines the fields have fixed places, and the quotes within a string are escaped.
_parts = re.compile(rb'"status":"([A-Z]+)","date":(-?[0-9]+)\},"source":(\{[^\n]*),"sendDate":(-?[0-9]+)\}\}\n')


class Along(NamedTuple):
    """The events of one source and status along one axis: parallel lists, in the order of `quarters`.

    `quarters` are those on the axis, since that of the tally; `lasts` are the last quarters of `date` among the events.
    """

    quarters: Sequence[int]
    counts: Sequence[int]
    lasts: Sequence[int]


class Cells(msgspec.Struct, array_like=True, gc=False):
    """The counts of one source and status: parallel lists.

    `dates` are quarters since that of the tally, in order, `lags` are quarters from `sendDate` to `date`.
    """

    source: int  # its position in the tally's sources
    status: str
    dates: list[int]
    lags: list[int]
    counts: list[int]

    def by_date(self) -> Along:
        """Return the events along the axis of `date`."""
        return Along(self.dates, self.counts, self.dates)

    def sent_quarters(self) -> Iterable[int]:
        """Go through the quarters of `sendDate`, since that of the tally, in any order."""
        return map(sub, self.dates, self.lags)

    def by_sent(self) -> Along:
        """Return the events along the axis of `sendDate`."""
        in_order = sorted(zip(self.sent_quarters(), self.counts, self.dates, strict=True))
        quarters, counts, lasts = zip(*in_order, strict=True)
        return Along(quarters, counts, lasts)


class Deliveries(msgspec.Struct, array_like=True, gc=False):
    """The time to deliver of one source's DELIVERED events: parallel lists of buckets and counts."""

    source: int
    buckets: list[int]
    counts: list[int]


class Tally(msgspec.Struct, array_like=True):
    """The counts of a segment. `first` is its first quarter of `date`, in quarters since 1970 (UTC)."""

    first: int
    sources: list[bytes]
    cells: list[Cells]
    deliveries: list[Deliveries]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Tally)


class UnreadableTally(ValueError):
    """Stored bytes are not a tally."""


def parts_of(lines: bytes) -> list[tuple[bytes, bytes, bytes, bytes]]:
    r"""Return status, date, source and send date of each canonical line, each ended by `\n`. Raises `NotLines`."""
    found = _parts.findall(lines)
    if len(found) != lines.count(b"\n"):
        raise NotLines
    return found


def bucket_of(took_ms: int) -> int:
    """Return the bucket of a time to deliver."""
    return max(0, bisect_right(DELIVERY_BOUNDS_MS, took_ms) - 1)


def tally_of(lines: bytes) -> Tally:
    r"""Count canonical lines, each ended by `\n`; there is at least one. Raises `NotLines`."""
    counts: Counter[tuple[bytes, bytes, int, int]] = Counter()
    took: Counter[tuple[bytes, int]] = Counter()
    for status, date_text, source, sent_text in parts_of(lines):
        date, sent = int(date_text), int(sent_text)
        counts[source, status, date // QUARTER_MS, sent // QUARTER_MS] += 1
        if status == b"DELIVERED":
            took[source, bucket_of(date - sent)] += 1
    first = min(date for _, _, date, _ in counts)
    names = sorted({source for source, *_ in counts})
    numbers = {source: number for number, source in enumerate(names)}
    cells: dict[tuple[bytes, bytes], Cells] = {}
    for (source, status, date, sent), count in sorted(counts.items()):
        found = cells.get((source, status))
        if found is None:
            found = cells[source, status] = Cells(numbers[source], status.decode(), [], [], [])
        found.dates.append(date - first)
        found.lags.append(date - sent)
        found.counts.append(count)
    deliveries: dict[bytes, Deliveries] = {}
    for (source, bucket), count in sorted(took.items()):
        of_source = deliveries.setdefault(source, Deliveries(numbers[source], [], []))
        of_source.buckets.append(bucket)
        of_source.counts.append(count)
    return Tally(first, names, list(cells.values()), list(deliveries.values()))


def encode_tally(tally: Tally) -> bytes:
    """Return the stored form of a tally."""
    return zlib.compress(_encoder.encode(tally), 6)


def deflated_tally(raw: bytes) -> bytes | None:
    """Return the stored form of the MessagePack of a tally or a sum, or None if it is too large to be read."""
    return zlib.compress(raw, 6) if len(raw) <= TALLY_RAW_MAX_BYTES else None


def encoded_tally_of(lines: bytes) -> bytes | None:
    """Return the stored form of the tally of lines, or None if it is not worth storing. Raises `NotLines`."""
    if len(lines) < TALLY_LINES_MIN_BYTES:
        return None
    encoded = deflated_tally(_encoder.encode(tally_of(lines)))
    return encoded if encoded is not None and len(encoded) <= TALLY_MAX_BYTES else None


def raw_tally(data: bytes) -> bytes:
    """Return the MessagePack of a stored tally. Raises `UnreadableTally`."""
    inflater = isal_zlib.decompressobj()
    try:
        raw = inflater.decompress(data, TALLY_RAW_MAX_BYTES)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says that it is an instance
        raise UnreadableTally(str(error)) from error
    if not inflater.eof:
        raise UnreadableTally("it is not complete")
    return raw


def decode_tally(data: bytes) -> Tally:
    """Return a tally from its stored form. Raises `UnreadableTally`."""
    try:
        return _decoder.decode(raw_tally(data))
    except msgspec.MsgspecError as error:
        raise UnreadableTally(str(error)) from error
