"""The one way into a log: lines are fed, and once they are finished they are stored, all or none.

A recorder knows who is blocked, what time it is, and what a body may hold. Its caller, such as a request or a command,
only says `feed` and `finish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from smsevents.catalog.segments import insert_segments
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.errors import StoreUnavailable
from smsevents.log.checked_lines import Rules
from smsevents.log.ingest import NO_LIMITS, Ingest
from smsevents.log.refusals import BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.clock.trusted import Judgement
    from smsevents.log.ingest import Limits
    from smsevents.log.refusals import Origin
    from smsevents.segments.segment import Segment
    from smsevents.wire.results import ImportResult


class TimeJudge(Protocol):
    """Who says what to think of the time: a `Timekeeper`."""

    def judge(self) -> Judgement:
        """Say what to think of the time now."""

    def witness(self, newest_ms: int | None) -> None:
        """Hear of an import whose newest event has this date (Unix ms); None if it had no event."""


class Recorder:
    """Records one import into the log of a shop. Use it as a context manager: `feed` … `feed`, `finish`.

    Nothing is read from the database before the first call, and nothing is stored before `finish`. It is not
    thread-safe, but each call may come from another thread.
    """

    def __init__(  # noqa: PLR0913 -- the keyword ones are what an import may choose
        self,
        database: Database,
        time: TimeJudge,
        trackpoint: int,
        *,
        gzip: bool,
        limits: Limits = NO_LIMITS,
        origin: Origin = BODY,
        skip_impossible: bool = False,
    ) -> None:
        """Record lines of a shop, sent as they are or as gzip.

        `origin` tells where they come from, for what a person is told. Events that cannot be true are dropped and
        counted with `skip_impossible`, else refused.
        """
        self._database = database
        self._time = time
        self._trackpoint = trackpoint
        self._gzip = gzip
        self._limits = limits
        self._origin = origin
        self._skip_impossible = skip_impossible
        self._blocked: frozenset[bytes] = frozenset()
        self._ingest: Ingest | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body: `steps` to their end."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes) -> Iterator[int]:
        """Take the next bytes of the body, a bounded step at a time; yield the bytes of lines taken in each step.

        Raises what `Ingest.steps` does, and `StoreUnavailable`.
        """
        yield from self._opened().steps(data)

    def finish(self) -> tuple[ImportResult, Future[None]]:
        """Take the end of the body; return what it held, and a future that is done once that is durable.

        Raises `InvalidLines`, `InvalidRequest` or `TimeInDoubt`. The future raises `UnknownShop` if the shop is gone,
        and `StoreUnavailable` if the database cannot be written, or if a user was blocked or unblocked meanwhile.
        Nothing is stored then.
        """
        ingest = self._opened()
        result = ingest.finish()
        stored = append_segments(
            self._database, self._trackpoint, ingest.segments(), self._blocked, ingest.stored_bytes
        )
        return result, stored

    def close(self) -> None:
        """Drop what is held. Its newest event is a witness of the time, also where nothing was stored."""
        if self._ingest is not None:
            self._time.witness(self._ingest.newest_ms)
            self._ingest.close()

    def _opened(self) -> Ingest:
        if self._ingest is None:
            with self._database.read() as connection:
                self._blocked = blocked_digests(connection, self._trackpoint)
            rules = Rules.judged(
                self._trackpoint,
                self._time.judge(),
                blocked=self._blocked,
                skip_impossible=self._skip_impossible,
                origin=self._origin,
            )
            self._ingest = Ingest(rules, gzip=self._gzip, limits=self._limits)
        return self._ingest


def append_segments(
    database: Database,
    trackpoint: int,
    segments: Iterable[Segment],
    blocked: frozenset[bytes] = frozenset(),
    size_bytes: int = 0,
) -> Future[None]:
    """Store segments of so many stored bytes, all or none. The future is done when they are durable.

    It raises `UnknownShop` if there is no such shop, and `StoreUnavailable` if the database cannot be written, or if
    other users than those in `blocked`, by digest, must not be recorded.
    """

    def store(connection: Connection) -> None:
        require_shop(connection, trackpoint)
        if blocked_digests(connection, trackpoint) != blocked:
            raise StoreUnavailable("A user of the shop was blocked or unblocked meanwhile. Send the import again.")
        insert_segments(connection, trackpoint, segments)

    return database.submit(store, size_bytes)
