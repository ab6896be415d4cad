"""A spool: segments that wait, in memory while they are few, then in a temporary file that has no name."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from smsevents.errors import StoreFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.segments import Entry, Segment


class Spool:
    """Holds segments, and of each in memory no more than its bounds. `close` it, or it goes with the last reference."""

    def __init__(self, memory_max_bytes: int) -> None:
        """Keep up to `memory_max_bytes` of stored bytes in memory."""
        self._file = tempfile.SpooledTemporaryFile(max_size=memory_max_bytes)  # noqa: SIM115 -- closed below
        self._finish = weakref.finalize(self, self._file.close)
        self._size = 0
        self._waiting: list[
            tuple[Segment, int, int]
        ] = []  # without their data, which lies in the file: where, how much

    def put(self, segment: Segment) -> None:
        """Take a segment. Raises `StoreFull`."""
        try:
            self._file.seek(self._size)
            self._file.write(segment.data)
        except OSError as error:
            raise StoreFull(
                f"There is no room for a temporary file in {tempfile.gettempdir()}: {error.strerror}."
                " Free some room there and try again."
            ) from error
        self._waiting.append((replace(segment, data=b""), self._size, len(segment.data)))
        self._size += len(segment.data)

    @property
    def size_bytes(self) -> int:
        """How many stored bytes the segments have."""
        return self._size

    def __iter__(self) -> Iterator[Segment]:
        """Give the segments in the order in which they came."""
        return self._given(self._waiting)

    def behind(self, after: Entry) -> Iterator[Segment]:
        """Give the segments that reach behind an entry, by their first entry."""
        return self._given(sorted((one for one in self._waiting if one[0].last > after), key=lambda one: one[0].first))

    def _given(self, some: Iterable[tuple[Segment, int, int]]) -> Iterator[Segment]:
        for segment, start, size in some:
            self._file.seek(start)
            yield replace(segment, data=self._file.read(size))

    def close(self) -> None:
        """Drop what is held."""
        self._finish()
