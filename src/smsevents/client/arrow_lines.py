r"""Reads many canonical lines at once into Arrow columns. Needs the extra `arrow`.

The columns are those that `arrow.record_batch` makes of what `wire/canonical.py` reads, in less than half of the
processor time. Lines that are not accepted here may be accepted there. Each distinct source is decoded only once.
"""

from __future__ import annotations

from operator import lt
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from smsevents.client.arrow import record_batch
from smsevents.client.event_parts import EventParts, Sources, numbers_array
from smsevents.client.gathered import InColumns, columns_of
from smsevents.client.line_parts import SOURCE_START, LineFinder
from smsevents.wire.canonical import KnownSources, are_without_separators

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from smsevents.client.line_parts import LineParts, Numbers
    from smsevents.wire.lines import Entry

_BACKSLASH = b"\\"
_VIEW_NUMBERS = 4  # of 32 bits: the size, the first four bytes, the buffer, the place in it
_VIEW_START = int.from_bytes(SOURCE_START[:4], "little")


class ArrowLines:
    """Consecutive canonical lines of one shop, read into columns. All their times have 13 digits."""

    def __init__(self, text: bytes, starts: Numbers, events: EventParts) -> None:
        """Take the lines, where each starts, and their events."""
        self.events = events
        self._text = text
        self._starts = starts

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.events)

    @property
    def rows(self) -> pa.RecordBatch:
        """The events in `arrow.SCHEMA`."""
        return self.events.rows()

    @property
    def is_ascending(self) -> bool:
        """Whether the lines are sorted, by date and then by their bytes, and without duplicates."""
        before, after = self.events.dates[:-1], self.events.dates[1:]
        if not bool((before <= after).all()):
            return False
        ties = np.flatnonzero(before == after)
        return all(map(lt, self._lines(ties), self._lines(ties + 1)))

    def _lines(self, places: Numbers) -> Iterator[bytes]:
        text = self._text
        ends = np.append(self._starts, len(text))[places + 1]
        return (text[start:end] for start, end in zip(self._starts[places].tolist(), ends.tolist(), strict=True))

    def entry(self, at: int) -> Entry:
        """Return the entry of a line by its index; -1 is the last line."""
        start = int(self._starts[at])
        return int(self.events.dates[at]), self._text[start : self._text.index(b"\n", start)]


class InArrow(InColumns, Protocol):
    """Events that may have been read as columns of Arrow: a batch of the client, or lines of a pull."""

    @property
    def arrow(self) -> ArrowLines | None:
        """The lines as they were read, if they were read like this."""


def joined_rows(batches: Sequence[InArrow]) -> pa.RecordBatch:
    """Return the events of batches of one shop in `arrow.SCHEMA`, one after the other, however they were read."""
    if all(batch.arrow is None for batch in batches):
        return record_batch(columns_of(batches))
    parts = [record_batch(one.columns) if one.arrow is None else one.arrow.rows for one in batches]
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def dates_of(batches: Sequence[InArrow]) -> Numbers:
    """Return the dates of batches in Unix milliseconds, one after the other."""
    return np.concatenate(
        [
            np.array(list(map(int, one.columns.dates)), np.int64) if one.arrow is None else one.arrow.events.dates
            for one in batches
        ]
    )


class ArrowReader:
    """Reads blocks of canonical lines of one shop, and remembers their sources. Not thread-safe."""

    def __init__(self, trackpoint: int) -> None:
        self._trackpoint = trackpoint
        self._finder = LineFinder(trackpoint)
        self._known = KnownSources()
        self._places: dict[bytes, int] = {}  # of the sources in `_sources`
        self._sources = Sources({})

    def read(self, block: bytes) -> ArrowLines | None:
        r"""Return complete lines, each ended by `\n`, as columns.

        Return None if `CanonicalReader` or `decode` must read them: at least one is blank, bad, of another shop, not
        canonical, or unusual.
        """
        parts = self._finder.find(block)
        users = None if parts is None else _users(block, parts)
        if parts is None or users is None:
            return None
        which = self._which(block, parts)
        if which is None:
            return None
        events = EventParts(self._trackpoint, users, parts.statuses, parts.dates, which, self._sources, parts.sent)
        return ArrowLines(block, parts.starts, events)

    def _which(self, block: bytes, parts: LineParts) -> npt.NDArray[np.int32] | None:
        """Return the places of sources in `_sources`, or None if any source is not canonical."""
        found = _views(block, parts.source_starts, parts.source_ends).dictionary_encode()
        keys = found.dictionary.to_pylist()
        if not self._known.know(set(keys)):
            return None
        if self._sources.by_key is not self._known.by_key:
            self._sources = Sources(self._known.by_key)
            self._places = {key: place for place, key in enumerate(self._known.by_key)}
        places: npt.NDArray[np.int32] = np.array([self._places[key] for key in keys], np.int32)
        return places[np.frombuffer(found.indices.buffers()[1], np.int32, len(found))]


def _users(block: bytes, parts: LineParts) -> pa.Array | None:
    """Return the users, or None if any would not stand like that in a canonical line."""
    count = len(parts.dates)
    places = np.zeros(2 * count + 1, np.int32)
    places[1::2], places[2::2] = parts.user_starts, parts.user_ends
    # the block as texts, every second one of which is a user
    texts = pa.Array.from_buffers(pa.binary(), 2 * count, [None, pa.py_buffer(places), pa.py_buffer(block)])
    users = texts.take(numbers_array(np.arange(1, 2 * count, 2)))
    together = users.buffers()[2].to_pybytes()
    if _BACKSLASH in together:
        return None
    if together.isascii():
        return pa.Array.from_buffers(pa.string(), count, users.buffers())
    try:
        found = users.cast(pa.string())  # each of them is checked to be UTF-8
    except pa.ArrowInvalid:
        return None
    return found if are_without_separators(together.decode()) else None


def _views(block: bytes, starts: Numbers, ends: Numbers) -> pa.Array:
    """Return parts of a block as binary views, without copying them. All begin with `SOURCE_START`."""
    views = np.empty((len(starts), _VIEW_NUMBERS), "<i4")
    views[:, 0] = ends - starts
    views[:, 1] = _VIEW_START
    views[:, 2] = 0
    views[:, 3] = starts
    return pa.Array.from_buffers(pa.binary_view(), len(starts), [None, pa.py_buffer(views), pa.py_buffer(block)])
