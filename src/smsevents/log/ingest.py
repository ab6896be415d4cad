"""The ingest: the body of an import → segments, while it still arrives.

    body → (inflate) → lines → events.decode → entries → sorted, each once → segments.pack → spool

What comes in is worked off in chunks of INGEST_CHUNK_BYTES of lines; finished segments wait in a spool,
which is memory at first and a temporary file from INGEST_SPOOL_MAX_BYTES on. So what is held does not grow
with the body, and still nothing is stored before the last line was read and found good.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from smsevents.errors import BadLine, TimeInDoubt
from smsevents.log import refusals
from smsevents.log.plausible import decode_possible, why_impossible
from smsevents.log.refusals import BODY, Origin
from smsevents.segments.segment import SEGMENT_LINES_BYTES, pack
from smsevents.segments.spool import Spool
from smsevents.wire.blank_lines import place_of, without_blank_lines
from smsevents.wire.events import NotAnEvent, NotJson, decode, digest_of
from smsevents.wire.file_formats import START_MAX_BYTES
from smsevents.wire.gzip_stream import DamagedGzip, Inflater, NotGzip
from smsevents.wire.limits import FUTURE_MAX_MS, LINE_MAX_BYTES
from smsevents.wire.lines import split_days, unique
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from smsevents.clock.trusted import Judgement
    from smsevents.errors import InvalidLines
    from smsevents.segments.segment import Segment
    from smsevents.wire.events import Event
    from smsevents.wire.lines import Entry

BAD_LINES_MAX = 20
INGEST_CHUNK_BYTES = 4 * 1024 * 1024
INGEST_SPOOL_MAX_BYTES = 4 * 1024 * 1024

MIB = 1024 * 1024
# What a body of gzip may inflate to for each byte that came, once it is more than INFLATED_FREE_BYTES. Events of a
# shop are 10 to 30 times as large as their gzip, the same line again and again 1,000 times.
INFLATION_MAX_RATIO = 200
INFLATED_FREE_BYTES = 64 * MIB
# Instead of INGEST_CHUNK_BYTES and INGEST_SPOOL_MAX_BYTES where many imports run at a time. Such a chunk is packed to
# its end: into segments that are smaller than usual, which the upkeep merges, but then nothing is sorted twice.
INGEST_CHUNK_SHORT_BYTES = SEGMENT_LINES_BYTES // 2
INGEST_SPOOL_SHORT_MAX_BYTES = MIB // 4


@dataclass(frozen=True)
class ImportResult:
    """What an import held: lines received, and those of them that were dropped.

    `expired` were older than the history, `blocked` were of users who must not be recorded, `impossible` could not
    be true.
    """

    received: int
    expired: int
    blocked: int = 0
    impossible: int = 0


class Ingest:
    """Takes one import for a shop. Use it as a context manager: `feed` … `feed`, `finish`, then `segments`.

    Nothing in it is thread-safe, but each call may come from another thread.
    """

    def __init__(  # noqa: PLR0913 -- what lines are held to
        self,
        trackpoint: int,
        now: int,
        *,
        gzip: bool,
        lines_max_mib: int,
        blocked: frozenset[bytes] = frozenset(),
        origin: Origin = BODY,
        skip_impossible: bool = False,
        old_by_ms: int | None = None,
        in_doubt: bool = False,
        inflation_max_ratio: int | None = None,
        is_short_of_memory: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take lines of the shop `trackpoint` at the time `now` (Unix milliseconds).

        Lines of users whose digest is `blocked` are counted and dropped. So are lines that cannot be true, if
        `skip_impossible` says so; else they are refused. `origin` tells where the lines come from.

        `old_by_ms` is the time by which lines are dropped as expired, if it is not `now`. If the clock is `in_doubt`,
        a date far ahead of it is not an invalid line but raises `TimeInDoubt` at the end.

        A body of gzip may inflate to `inflation_max_ratio` times what was sent, or as far as it likes. Less is held
        where `is_short_of_memory`.
        """
        self._origin = origin
        self._skip_impossible = skip_impossible
        self._start = b""  # of the lines: what they are if they are not lines
        self._sent_start = b""  # the same of what is to be inflated
        self._is_short_of_memory = is_short_of_memory
        self._inflation_max_ratio = inflation_max_ratio
        self._sent_bytes = 0
        self._blocked = blocked
        self._trackpoint = trackpoint
        self._oldest = history_start(now if old_by_ms is None else old_by_ms)
        self._in_doubt = in_doubt
        self._doubted: BadLine | None = None
        self.newest_ms: int | None = None  # the newest date of a good line, also of one that is far ahead
        self._newest = now + FUTURE_MAX_MS
        self._lines_max_mib = lines_max_mib
        self._inflater = Inflater() if gzip else None
        self._inflated = 0
        self._rest = b""  # the start of a line whose end has not come yet
        self._line = 0  # how many lines, also blank ones, came before the block that is looked at
        self._received = self._expired = self._refused = self._impossible = 0
        self._bad: list[BadLine] = []
        self._malformed = self._any_impossible = False
        self._entries: list[Entry] = []
        self._held = 0
        self._spool = Spool(INGEST_SPOOL_SHORT_MAX_BYTES if is_short_of_memory() else INGEST_SPOOL_MAX_BYTES)

    @classmethod
    def judged(  # noqa: PLR0913 -- what lines are held to
        cls,
        trackpoint: int,
        judgement: Judgement,
        *,
        gzip: bool,
        lines_max_mib: int,
        blocked: frozenset[bytes],
        origin: Origin = BODY,
        skip_impossible: bool = False,
        inflation_max_ratio: int | None = None,
        is_short_of_memory: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Take lines at the time that is judged: nothing is dropped, nor refused for good, by a clock in doubt."""
        return cls(
            trackpoint,
            judgement.clock_ms,
            gzip=gzip,
            lines_max_mib=lines_max_mib,
            blocked=blocked,
            origin=origin,
            skip_impossible=skip_impossible,
            old_by_ms=judgement.old_by_ms,
            in_doubt=not judgement.is_certain,
            inflation_max_ratio=inflation_max_ratio,
            is_short_of_memory=is_short_of_memory,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is held; the segments are gone then."""
        self._spool.close()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body: `steps` to their end."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes) -> Iterator[int]:
        """Take the next bytes of the body, a step at a time; give the bytes of lines that were taken in each step.

        A step is bounded work, however far the bytes inflate. Raises `BodyTooLarge` at the byte that goes over a
        limit, `InvalidRequest` for a broken gzip stream, `InvalidLines` once there are BAD_LINES_MAX bad lines.
        """
        self._sent_bytes += len(data)
        for run in self._runs(data):
            size = len(run)
            self._inflated += size
            self._check_size()
            if len(self._start) < START_MAX_BYTES:
                self._start += run[: START_MAX_BYTES - len(self._start)]
            self._take(run)
            del run  # nothing of it is held while others have their turn
            yield size

    def _check_size(self) -> None:
        if self._inflated > self._lines_max_mib * MIB:
            raise refusals.too_many_lines(self._origin, self._lines_max_mib)
        ratio = self._inflation_max_ratio
        if self._inflater and ratio and self._inflated > max(INFLATED_FREE_BYTES, self._sent_bytes * ratio):
            raise refusals.inflates_too_far(ratio)

    def finish(self) -> ImportResult:
        """Take the end of the body.

        Raises `InvalidLines`, `TimeInDoubt`, or `InvalidRequest` if the gzip stream is truncated.
        """
        if self._inflater is not None:
            with self._gzip_checked():
                self._inflater.finish()
        if self._rest and not self._rest.isspace():
            self._take_line(self._rest, self._rest, 0)
        if self._bad:
            raise self._invalid(more=False)
        if self._doubted:
            raise TimeInDoubt(
                f"Nothing was stored. Line {self._doubted.line}: {self._doubted.reason}. But that clock may be wrong"
                f" itself. {self._origin.for_doubt}"
            )
        self._pack(to_the_end=True)
        return ImportResult(self._received, self._expired, self._refused, self._impossible)

    def segments(self) -> Iterator[Segment]:
        """Give the segments, after `finish`, one at a time."""
        return iter(self._spool)

    @property
    def stored_bytes(self) -> int:
        """How many bytes the segments have, after `finish`."""
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
        """Turn what is wrong with a gzip stream into what a person is told of it."""
        try:
            yield
        except DamagedGzip as error:
            raise refusals.damaged_gzip(self._origin, error) from error
        except NotGzip as error:
            raise refusals.not_gzip(self._origin, self._sent_start) from error

    def _take(self, run: bytes) -> None:
        run = self._rest + run
        end = run.rfind(b"\n") + 1
        self._rest = run[end:]
        if end:
            self._take_block(run[:end])
        if len(self._rest) > LINE_MAX_BYTES:
            if not self._rest.isspace():
                self._take_line(self._rest, self._rest, 0)
                raise self._invalid(more=True)
            self._rest = self._rest[: LINE_MAX_BYTES + 1]  # a blank line without end; too long for anything else
        is_short = self._is_short_of_memory()
        if self._held >= (INGEST_CHUNK_SHORT_BYTES if is_short else INGEST_CHUNK_BYTES):
            self._pack(to_the_end=is_short)

    def _take_block(self, block: bytes) -> None:
        """Take whole lines, each with its end: all at once if all are good, else one by one, to name the bad ones.

        Blank lines are looked for only where the lines are not all good, and then all at once too.
        """
        lines = block
        decoded = None if block.isspace() else decode_possible(block)
        if decoded is None:
            lines = without_blank_lines(block)
            if lines and len(lines) < len(block):
                decoded = decode_possible(lines)
        if decoded is not None and self._take_events(*decoded):
            # to count the ends of lines is slow: it looks at each byte by itself
            self._line += len(decoded[1]) if lines is block else block.count(b"\n")
            return
        if lines:
            for which, line in enumerate(lines[:-1].split(b"\n")):
                self._take_line(line, block, which)
        self._line += block.count(b"\n")

    def _take_events(self, events: list[Event], lines: list[bytes]) -> bool:
        """Take events and their canonical lines, if all of them may be stored; tell whether they were taken."""
        dates = [event.smsEvent.date for event in events]
        newest = max(dates)
        if {event.smsEvent.trackpoint for event in events} != {self._trackpoint} or newest > self._newest:
            return False
        self._received += len(lines)
        self._see(newest)
        if self._blocked or min(dates) < self._oldest:
            for event, line in zip(events, lines, strict=True):
                self._keep(event, line)
        else:
            self._entries += zip(dates, lines, strict=True)
            self._held += sum(map(len, lines))
        return True

    def _take_line(self, line: bytes, block: bytes, which: int) -> None:
        """Take the line that is the `which`-th of a block's lines that are not blank, counted from 0."""
        self._received += 1
        try:
            event, canonical = decode(line)
            if event.smsEvent.trackpoint != self._trackpoint:
                raise NotAnEvent(
                    f"`trackpoint` is {event.smsEvent.trackpoint}, but the import is for {self._trackpoint}"
                )
            impossible = why_impossible(event)
            if impossible and self._skip_impossible:
                self._impossible += 1
                return
            if impossible:
                self._any_impossible = True
                raise NotAnEvent(impossible)
            date = event.smsEvent.date
            self._see(date)
            if date > self._newest:
                ahead = f"`date` {date} is more than 24 hours ahead of {self._origin.clock}"
                if self._in_doubt:
                    if self._doubted is None:
                        self._doubted = BadLine(self._line + 1 + place_of(block, which), ahead)
                    return
                raise NotAnEvent(f"{ahead}; send Unix milliseconds, UTC")
        except (NotJson, NotAnEvent) as error:
            number = self._line + 1 + place_of(block, which)
            self._refuse(number, str(error), malformed=isinstance(error, NotJson))
            return
        self._keep(event, canonical)

    def _see(self, date: int) -> None:
        if self.newest_ms is None or date > self.newest_ms:
            self.newest_ms = date

    def _keep(self, event: Event, canonical: bytes) -> None:
        """Hold a good event, unless it is one to drop."""
        date = event.smsEvent.date
        if date < self._oldest:
            self._expired += 1
        elif self._blocked and digest_of(self._trackpoint, event.smsEvent.userId) in self._blocked:
            self._refused += 1
        else:
            self._entries.append((date, canonical))
            self._held += len(canonical)

    def _refuse(self, number: int, reason: str, *, malformed: bool) -> None:
        if self._received == 1:
            foreign = refusals.foreign(self._origin, self._start, inflated=self._inflater is not None)
            if foreign:
                raise foreign
        self._bad.append(BadLine(number, reason))
        self._malformed = self._malformed or malformed
        if len(self._bad) == BAD_LINES_MAX:
            raise self._invalid(more=True)

    def _invalid(self, *, more: bool) -> InvalidLines:
        return refusals.bad_lines(
            self._origin, self._bad, malformed=self._malformed, impossible=self._any_impossible, more=more
        )

    def _pack(self, *, to_the_end: bool) -> None:
        """Sort what is held and pack it; keep what does not fill a segment, unless all of it is to be packed."""
        entries = unique(self._entries)
        self._entries, self._held = [], 0
        packed = [segment for day in split_days(entries) for segment in pack(day)]
        if packed and not to_the_end and packed[-1].header.line_bytes < SEGMENT_LINES_BYTES:
            rest = packed.pop()
            self._entries, self._held = entries[-rest.header.events :], rest.header.line_bytes
        for segment in packed:
            self._spool.put(segment)
