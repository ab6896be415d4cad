"""The chunks of an export: pages of the log, as one gzip member or as plain lines, read in threads."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from smsevents.log.filtered import NOTHING_YET
from smsevents.segments.splice import GzipMember, count, gzipped, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.log.filtered import AnyReader
    from smsevents.web.connection.direct import DirectBody
    from smsevents.web.event_tables import EventTable
    from smsevents.web.fair import FairThreads
    from smsevents.web.state import ExportLane

EXPORT_CHUNK_MIN_BYTES = 256 * 1024
EXPORT_TURN_MAX_SECONDS = 0.02  # how long a thread sends one export before it looks for other work
EXPORT_SILENT_MAX_SECONDS = 5  # while a filter finds nothing: clients and proxies take a long silence for a failure


class Chunk(NamedTuple):
    """Bytes of an export that are sent together, and whether they are the last."""

    data: bytes
    is_last: bool


NOTHING = Chunk(b"", is_last=False)


class Chunks(Protocol):
    """The chunks of an export, one after the other."""

    def next(self, page_max_bytes: int, direct: DirectBody | None = None) -> asyncio.Future[Chunk]:
        """Begin to read the next chunk, in pages of limited size. The future raises what `Reader.next_page` raises.

        With `direct`, chunk after chunk is sent there as soon as it is read, for a turn. The result is then what is
        left to send after these: the last chunk, or nothing yet. The future may also raise `ConnectionError`.
        """


class KnownLines:
    """The only chunk of an export whose lines are few and known."""

    def __init__(self, lines: bytes, *, gzip: bool, counted: Callable[[int], None]) -> None:
        """Send these lines. `counted` receives their number."""
        self._lines = lines
        self._gzip = gzip
        self._counted = counted

    def next(self, page_max_bytes: int, direct: DirectBody | None = None) -> asyncio.Future[Chunk]:  # noqa: ARG002 -- nothing is read
        """Return all lines."""
        self._counted(self._lines.count(b"\n"))
        chunk: asyncio.Future[Chunk] = asyncio.get_running_loop().create_future()
        chunk.set_result(Chunk(gzipped(self._lines) if self._gzip else self._lines, is_last=True))
        return chunk


class ExportChunks:
    """Reads chunk after chunk, and keeps nothing of a chunk once it was returned."""

    def __init__(  # noqa: PLR0913 -- what is read, and what becomes of it
        self,
        reader: AnyReader,
        lane: ExportLane,
        trackpoint: int,
        *,
        gzip: bool,
        counted: Callable[[int], None],
        table: EventTable | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read in the threads of a lane, in turns of a shop. `counted` receives the event count of each page.

        With a table, its head and rows are sent instead of the lines; the reader should take bounded steps then.
        """
        self._reader = reader
        self._lane = lane
        self._trackpoint = trackpoint
        self._member = GzipMember() if gzip else None
        self._lines: Iterator[bytes] = iter(())  # pieces of the current page that are not taken yet, for plain lines
        self._counted = counted
        self._table = table
        self._clock = clock
        self._heard_at = clock()  # when there last was something for the client
        self._head = b"" if table is None else table.head()

    def next(self, page_max_bytes: int, direct: DirectBody | None = None) -> asyncio.Future[Chunk]:
        """Begin to read the next chunk, or to send chunks, see `Chunks.next`."""
        threads = self._lane.mergers if self._reader.next_is_slow else self._lane.threads
        work = partial(self._take, page_max_bytes)
        return threads.start(
            self._trackpoint, work if direct is None else partial(self._send, direct, page_max_bytes, threads)
        )

    def _send(self, direct: DirectBody, page_max_bytes: int, threads: FairThreads) -> Chunk:
        """Send chunks until the client or other work has to be waited for. Return what is left to send after them."""
        ends = self._clock() + EXPORT_TURN_MAX_SECONDS
        while True:
            parts, is_last = self._collect(page_max_bytes)
            if is_last or not parts:
                return Chunk(b"".join(parts), is_last=is_last)
            is_sent = direct.send(parts)
            del parts  # the memory of the next page
            if not is_sent or self._reader.next_is_slow or threads.is_wanted or self._clock() >= ends:
                return NOTHING

    def _take(self, page_max_bytes: int) -> Chunk:
        """Return the next chunk. A small export comes as one."""
        parts, is_last = self._collect(page_max_bytes)
        return Chunk(b"".join(parts), is_last=is_last)

    def _collect(self, page_max_bytes: int) -> tuple[list[bytes], bool]:
        """Collect enough to be worth a thread switch and a network call. Return it, and whether it is the last."""
        taken = self._started()
        held = 0
        while held < EXPORT_CHUNK_MIN_BYTES:
            data = self._next_run(page_max_bytes)
            if data is None:
                if self._member is not None:
                    taken.append(self._member.end())
                return taken, True
            if not any(data):  # a step through a filter that kept nothing yet: the thread is for others now
                taken += self._sign_of_life(taken)
                break
            taken += data
            held += sum(map(len, data))
        if taken:
            self._heard_at = self._clock()
        return taken, False

    def _sign_of_life(self, taken: list[bytes]) -> list[bytes]:
        """Return something that stands for no lines, if the client has heard nothing for long. Gzip alone has that."""
        if self._member is None or taken or self._clock() - self._heard_at < EXPORT_SILENT_MAX_SECONDS:
            return []
        return [self._member.nothing()]

    def _started(self) -> list[bytes]:
        """Return the head of the table, if there is one that was not taken yet."""
        head, self._head = self._head, b""
        if not head:
            return []
        return [head if self._member is None else self._member.take([head])]

    def _next_run(self, page_max_bytes: int) -> list[bytes] | None:
        """Return the next page (gzip) or the next piece of a page (plain) in parts, or None after the last.

        There are no bytes if a reader with a filter has nothing yet.
        """
        if lines := next(self._lines, b""):
            return [lines]
        pieces = self._reader.next_page(page_max_bytes)
        if not pieces:
            return None
        if pieces == NOTHING_YET:
            return []
        self._counted(count(pieces))
        if self._table is not None:
            pieces = [self._table.rows(b"".join(lines_of(pieces)))]
        if self._member is not None:
            return self._member.take_parts(pieces)
        self._lines = lines_of(pieces)
        return [next(self._lines)]
