"""The one way into a log: a caller feeds lines, and `finish` stores them, all or none.

A recorder knows the blocked users, the time, and the limits of a body. Its caller, such as a request or a command, only
calls `feed` and `finish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.segments import insert_segments
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.errors import BlockedMeanwhile
from smsevents.log.blocked import BlockedUsers
from smsevents.log.checked_lines import Rules
from smsevents.log.ingest import NO_LIMITS, Ingest
from smsevents.log.joining import SMALL_IMPORT_MAX_BYTES
from smsevents.log.refusals import BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.clock.trusted import Judgement
    from smsevents.log.ingest import Limits
    from smsevents.log.joining import Joining
    from smsevents.log.refusals import Origin
    from smsevents.segments.segment import Segment
    from smsevents.wire.results import ImportResult


class TimeJudge(Protocol):
    """Judges the clock, as `Timekeeper` does."""

    def judge(self) -> Judgement:
        """Return the judgement of the present time."""

    def witness(self, newest_ms: int | None) -> None:
        """Take the date of an import's newest event (Unix ms) as evidence; None if there was no event."""


class Recorder:
    """Records one import into the log of a shop. Call `feed` … `feed`, `finish`, and `close` in the end.

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
        blocked: BlockedUsers | None = None,
        joining: Joining | None = None,
    ) -> None:
        """Record lines of a shop, which are sent plain or as gzip.

        `origin` is the place that they come from, for error messages. With `skip_impossible`, events that cannot be
        true are dropped and counted. Otherwise they are refused. `blocked` remembers who is blocked, for
        others. With `joining`, a small import shares segments with others.
        """
        self._database = database
        self._time = time
        self._trackpoint = trackpoint
        self._gzip = gzip
        self._limits = limits
        self._origin = origin
        self._skip_impossible = skip_impossible
        self._joining = joining
        self._blocked_users = blocked or BlockedUsers(database)
        self._blocked: frozenset[bytes] = frozenset()
        self._ingest: Ingest | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body, by running all of their `steps`."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes) -> Iterator[int]:
        """Take the next bytes of the body in bounded steps. Yield for each step how many bytes of lines it took.

        Raises what `Ingest.steps` does, and `StoreUnavailable`.
        """
        yield from self._opened().steps(data)

    def finish(self) -> tuple[ImportResult, Future[None]]:
        """Take the end of the body. Return its counts, and a future that is done once its events are durable.

        Raises `InvalidLines`, `InvalidRequest` or `TimeInDoubt`. The future raises `UnknownShop` if the shop is gone,
        and `StoreUnavailable` if the database cannot be written, or if a user was blocked or unblocked meanwhile.
        Nothing is stored then.
        """
        ingest = self._opened()
        if self._joining is not None:
            result, entries = ingest.finish_small(SMALL_IMPORT_MAX_BYTES)
            if entries is not None:
                return result, self._joining.append(self._trackpoint, entries, self._blocked)
        else:
            result = ingest.finish()
        stored = append_segments(
            self._database, self._trackpoint, ingest.segments(), self._blocked, ingest.stored_bytes
        )
        return result, stored

    def close(self) -> None:
        """Drop all data that is held. The newest event is evidence of the time, even if nothing was stored."""
        if self._ingest is not None:
            self._time.witness(self._ingest.newest_ms)
            self._ingest.close()

    def _opened(self) -> Ingest:
        if self._ingest is None:
            self._blocked = self._blocked_users.read(self._trackpoint)
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
    """Store segments of `size_bytes` stored bytes, all or none. The future is done when they are durable.

    They may be gone through more than once, because a write may have to be repeated.

    It raises `UnknownShop` if there is no such shop, and `StoreUnavailable` if the database cannot be written, or if
    the digests of the blocked users are no longer those in `blocked`.
    """

    def store(connection: Connection) -> None:
        dialect_of(connection).begin_append(connection, trackpoint)
        require_shop(connection, trackpoint)
        if blocked_digests(connection, trackpoint) != blocked:
            raise BlockedMeanwhile
        insert_segments(connection, trackpoint, segments)

    return database.submit(store, size_bytes, beside=True)
