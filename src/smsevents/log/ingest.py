"""Ingest: the body of an import → segments, while it still arrives.

    body → (inflate) → lines → checked → held in order, each once → segments → spool

Lines are processed in chunks of INGEST_CHUNK_BYTES. Finished segments wait in a spool, which is in memory at first and
in a temporary file from INGEST_SPOOL_MAX_BYTES on. So the memory in use does not grow with the body, and still nothing
is stored before the last line is read and found good.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.log import refusals
from smsevents.log.checked_lines import CheckedLines
from smsevents.segments.segment import SEGMENT_LINES_BYTES, cut_days, pack_run
from smsevents.segments.spool import Spool
from smsevents.wire.file_formats import START_MAX_BYTES
from smsevents.wire.gzip_stream import DamagedGzip, Inflater, NotGzip
from smsevents.wire.limits import LINE_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smsevents.log.checked_lines import Rules
    from smsevents.segments.segment import Segment
    from smsevents.wire.lines import Entry
    from smsevents.wire.results import ImportResult

MIB = 1024 * 1024
INGEST_CHUNK_BYTES = 4 * MIB
INGEST_SPOOL_MAX_BYTES = 4 * MIB
# How many bytes a gzip body may inflate to for each byte sent, once it has more than INFLATED_FREE_BYTES. The events of
# a shop are 10 to 30 times as large as their gzip. One line that is repeated all the time is 1,000 times as large.
INFLATION_MAX_RATIO = 200
INFLATED_FREE_BYTES = 64 * MIB
# These replace INGEST_CHUNK_BYTES and INGEST_SPOOL_MAX_BYTES while many imports run at the same time. Such a chunk is
# packed to its end. Its segments are smaller than usual, and the upkeep merges them, but no line is sorted twice.
INGEST_CHUNK_SHORT_BYTES = SEGMENT_LINES_BYTES // 2
INGEST_SPOOL_SHORT_MAX_BYTES = MIB // 4


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of an import's size and memory. By default there are none.

    Its lines together have at most `lines_max_mib` MiB. A gzip body inflates to at most `inflation_max_ratio` times the
    bytes that were sent. Less is held in memory while `is_short_of_memory` returns true.
    """

    lines_max_mib: int | None = None
    inflation_max_ratio: int | None = None
    is_short_of_memory: Callable[[], bool] = _never


NO_LIMITS = Limits()


class Ingest:
    """Takes the body of one import: `feed` … `feed`, `finish`, then `segments`. `close` it at the end.

    It is not thread-safe, but each call may come from another thread.
    """

    def __init__(self, rules: Rules, *, gzip: bool, limits: Limits = NO_LIMITS) -> None:
        """Take lines that are sent plain or as gzip, and check them against rules."""
        self._origin = rules.origin
        self._limits = limits
        self._lines = CheckedLines(rules, inflated=gzip)
        self._inflater = Inflater() if gzip else None
        self._sent_start = b""  # of a body to be inflated: shows what was sent if it is not gzip
        self._sent_bytes = 0
        self._inflated = 0
        self._rest = b""  # the start of a line whose end has not come yet
        is_short = limits.is_short_of_memory()
        self._spool = Spool(INGEST_SPOOL_SHORT_MAX_BYTES if is_short else INGEST_SPOOL_MAX_BYTES)

    @property
    def newest_ms(self) -> int | None:
        """The newest date of a good line (Unix ms), even if it is far ahead; None before the first good line."""
        return self._lines.newest_ms

    def close(self) -> None:
        """Drop all data that is held, including the segments."""
        self._spool.close()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body, by running all of their `steps`."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes) -> Iterator[int]:
        """Take the next bytes of the body, step by step. Yield for each step how many bytes of lines it took.

        A step is bounded work, however far the bytes inflate. Raises `BodyTooLarge` at the byte that exceeds a limit,
        `InvalidRequest` for a broken gzip stream, and `InvalidLines` once there are BAD_LINES_MAX bad lines.
        """
        self._sent_bytes += len(data)
        for run in self._runs(data):
            size = len(run)
            self._inflated += size
            self._check_size()
            if len(self._lines.start) < START_MAX_BYTES:
                self._lines.start += run[: START_MAX_BYTES - len(self._lines.start)]
            self._take(run)
            del run  # holds no reference to it while other imports have their turn
            yield size

    def _check_size(self) -> None:
        lines_max_mib, ratio = self._limits.lines_max_mib, self._limits.inflation_max_ratio
        if lines_max_mib is not None and self._inflated > lines_max_mib * MIB:
            raise refusals.too_many_lines(self._origin, lines_max_mib)
        if self._inflater and ratio and self._inflated > max(INFLATED_FREE_BYTES, self._sent_bytes * ratio):
            raise refusals.inflates_too_far(ratio)

    def finish(self) -> ImportResult:
        """Take the end of the body. Return how many lines were received and dropped.

        Raises `InvalidLines`, `TimeInDoubt`, or `InvalidRequest` if the gzip stream is truncated.
        """
        result = self._end()
        self._pack(to_the_end=True)
        return result

    def finish_small(self, max_bytes: int) -> tuple[ImportResult, list[Entry] | None]:
        """Do what `finish` does, but if there are at most `max_bytes` of lines, return their entries unpacked.

        They are in any order, and there are no segments then. Otherwise return None for them.
        """
        result = self._end()
        if not self._spool.size_bytes and self._lines.held.size_bytes <= max_bytes:
            return result, self._lines.held.take_entries()
        self._pack(to_the_end=True)
        return result, None

    def _end(self) -> ImportResult:
        if self._inflater is not None:
            with self._gzip_checked():
                self._inflater.finish()
        if self._rest and not self._rest.isspace():
            self._lines.take_last(self._rest)
        return self._lines.finish()

    def segments(self) -> Iterable[Segment]:
        """Return the segments, to go through them any number of times. Call this after `finish`."""
        return self._spool

    @property
    def stored_bytes(self) -> int:
        """The stored bytes of all segments, known after `finish`."""
        return self._spool.size_bytes

    def _runs(self, data: bytes) -> Iterator[bytes]:
        if self._inflater is None:
            yield data
            return
        self._sent_start = (self._sent_start + data[:START_MAX_BYTES])[:START_MAX_BYTES]
        with self._gzip_checked():
            yield from self._inflater.feed(data)

    @contextmanager
    def _gzip_checked(self) -> Iterator[None]:
        """Translate the errors of a gzip stream into refusals of the import."""
        try:
            yield
        except DamagedGzip as error:
            raise refusals.damaged_gzip(self._origin, error) from error
        except NotGzip as error:
            raise refusals.not_gzip(self._origin, self._sent_start) from error

    def _take(self, run: bytes) -> None:
        end = run.rfind(b"\n") + 1
        if end:
            with memoryview(run) as view:
                block = b"".join((self._rest, view[:end]))
            self._rest = run[end:]
            self._lines.take_block(block)
        else:
            self._rest += run
        if len(self._rest) > LINE_MAX_BYTES:
            if not self._rest.isspace():
                raise self._lines.refuse_endless(self._rest)
            self._rest = self._rest[: LINE_MAX_BYTES + 1]  # only a blank line without end may be this long
        is_short = self._limits.is_short_of_memory()
        if self._lines.held.size_bytes >= (INGEST_CHUNK_SHORT_BYTES if is_short else INGEST_CHUNK_BYTES):
            self._pack(to_the_end=is_short)

    def _pack(self, *, to_the_end: bool) -> None:
        """Sort and pack the held lines. Keep the rest that does not fill a segment, unless `to_the_end`."""
        last = b""
        for lines in cut_days(self._lines.held.take()):  # one copy at a time, in memory that the next one uses again
            if last:
                self._spool.put(pack_run(last))
            last = lines
        if last and not to_the_end and len(last) < SEGMENT_LINES_BYTES:
            self._lines.held.add_run(last)
        elif last:
            self._spool.put(pack_run(last))
