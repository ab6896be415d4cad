"""A spool: waiting segments, in memory while they are few, and later in a temporary file without a name."""

from __future__ import annotations

import errno
import io
import tempfile
import threading
import weakref
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from smsevents.errors import StoreFull, StoreUnavailable
from smsevents.segments.header import Place
from smsevents.segments.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.header import SegmentHeader
    from smsevents.wire.lines import Entry

MIB = 1024 * 1024
IMPORTS_ON_DISK_MAX_BYTES = 4096 * MIB  # for all imports of a process that wait in temporary files


class SpoolAllowance:
    """The disk space that all temporary files of one kind may take together in this process.

    A spool that is alone gets all the space it requests: a large one must be possible at least by itself.
    """

    def __init__(self, kind: str, max_bytes: int) -> None:
        """Let spools of a kind, such as "exports", take `max_bytes` of temporary files together."""
        self._kind = kind
        self._max_bytes = max_bytes
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, size: int, *, held: int) -> None:
        """Take `size` more bytes for a spool that has `held`. Raises `StoreUnavailable` if others leave too few."""
        with self._lock:
            if self._taken > held and self._taken + size > self._max_bytes:
                raise StoreUnavailable(
                    f"Other {self._kind} fill the {self._max_bytes // MIB} MiB of temporary files that the server"
                    f" uses for {self._kind}. Try again in a moment."
                )
            self._taken += size

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""
        with self._lock:
            self._taken -= size


IMPORTS_ROOM = SpoolAllowance("imports", IMPORTS_ON_DISK_MAX_BYTES)


class Spool:
    """Holds segments, with only their headers always in memory. `close` it, or drop the last reference to it."""

    def __init__(self, memory_max_bytes: int, room: SpoolAllowance = IMPORTS_ROOM) -> None:
        """Keep up to `memory_max_bytes` of stored bytes in memory, and any more in a temporary file."""
        self._bytes = _Bytes(memory_max_bytes, room)
        self._finish = weakref.finalize(self, self._bytes.close)
        self._size = 0
        self._waiting: list[SegmentHeader] = []

    def put(self, segment: Segment) -> None:
        """Take a segment. Raises `StoreFull` if the disk is full, `StoreUnavailable` if others fill the room."""
        self._bytes.append(segment.data, self._size)
        self._waiting.append(replace(segment.header, place=Place("spool", self._size)))
        self._size += len(segment.data)

    @property
    def size_bytes(self) -> int:
        """The stored bytes of all segments."""
        return self._size

    def __iter__(self) -> Iterator[Segment]:
        """Return the segments in the order in which they were put."""
        return map(self._read, self._waiting)

    def after(self, after: Entry) -> Iterator[Segment]:
        """Return the segments that reach past an entry, in the order of their first entries."""
        return map(self._read, sorted((one for one in self._waiting if one.last > after), key=lambda one: one.first))

    def _read(self, header: SegmentHeader) -> Segment:
        return Segment(header, self._bytes.read(header.place.start, header.stored_bytes))

    def close(self) -> None:
        """Drop all segments, and release their room."""
        self._finish()


class _Bytes:
    """Bytes in memory or, once they exceed a bound, all of them in a temporary file."""

    def __init__(self, memory_max_bytes: int, room: SpoolAllowance) -> None:
        self._memory_max = memory_max_bytes
        self._room = room
        self._file: IO[bytes] = io.BytesIO()
        self._on_disk = 0  # bytes taken from the room
        self._in_memory = True

    def append(self, data: bytes, at: int) -> None:
        if self._in_memory and at + len(data) > self._memory_max:
            self._move_to_disk(at)
        if not self._in_memory:
            self._take(len(data))
        self._file.seek(at)
        write_temporary(self._file, data)

    def _move_to_disk(self, size: int) -> None:
        self._take(size)
        file = open_temporary()
        try:
            with self._file as memory:
                memory.seek(0)
                write_temporary(file, memory.read())
        finally:
            self._file, self._in_memory = file, False

    def _take(self, size: int) -> None:
        self._room.take(size, held=self._on_disk)
        self._on_disk += size

    def read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._room.give_back(self._on_disk)
        self._on_disk = 0


def open_temporary() -> IO[bytes]:
    """Open a temporary file without a name, which vanishes with the process. Raises what `write_temporary` does."""
    with _translated():
        # no buffer: data that does not fit then fails at the write, not when the file is closed
        return tempfile.TemporaryFile(buffering=0)


def write_temporary(file: IO[bytes], data: bytes) -> None:
    """Write all of the data. Raises `StoreFull` if there is no room, `StoreUnavailable` if it cannot be written."""
    left = memoryview(data)
    with _translated():
        while left:
            left = left[file.write(left) :]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFull(
                f"There is no room for a temporary file in {_folder()}: {error.strerror}."
                " Free some room there and try again."
            ) from error
        raise StoreUnavailable(
            f"The server cannot write a temporary file in {_folder()}: {error.strerror}."
            " Its operator has to make such a folder writable, or name another one in TMPDIR."
        ) from error


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # tempfile found no folder that can be written
        return "any folder"
