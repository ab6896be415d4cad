"""Small imports that wait for nothing but their commit.

An import of a few events costs less than passing it to another thread. So it is checked where it is, with what is known
of the time and of blocked users, and only the write waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from smsevents.log.checked_lines import Rules
from smsevents.log.ingest import Ingest

if TYPE_CHECKING:
    from concurrent.futures import Future

    from smsevents.clock.trusted import Judgement
    from smsevents.log.blocked import BlockedUsers
    from smsevents.log.joining import Joining
    from smsevents.wire.results import ImportResult

SMALL_BODY_MAX_BYTES = 4 * 1024  # about 15 events, which take about 0.1 ms to check


class KnownTime(Protocol):
    """Judges the clock without reading the database, as `Timekeeper` does."""

    def judge_known(self) -> Judgement | None:
        """Return the judgement of the present time, or None if the database must be read for it."""

    def witness(self, newest_ms: int | None) -> None:
        """Take the date of an import's newest event (Unix ms) as evidence; None if there was no event."""


class SmallImports:
    """Records complete bodies of at most SMALL_BODY_MAX_BYTES, sent plain."""

    def __init__(self, time: KnownTime, blocked: BlockedUsers, joining: Joining) -> None:
        """Use what is known of the time and of blocked users, and store what is imported together."""
        self._time = time
        self._blocked = blocked
        self._joining = joining

    def record(self, trackpoint: int, body: bytes) -> tuple[ImportResult, Future[None]] | None:
        """Record an import, as `Recorder` does. Return its counts, and a future that is done once it is durable.

        Return None, and do nothing, if something must be read from the database first. Raises what `Recorder` does.
        The future may raise `BlockedMeanwhile` although no user was blocked during the import itself: try again then.
        """
        blocked = self._blocked.remembered(trackpoint)
        judgement = self._time.judge_known()
        if blocked is None or judgement is None:
            return None
        ingest = Ingest(Rules.judged(trackpoint, judgement, blocked=blocked), gzip=False)
        try:
            ingest.feed(body)
            result, entries = ingest.finish_small(SMALL_BODY_MAX_BYTES * 2)  # a canonical line may be longer than sent
            if entries is None:
                return None
            return result, self._joining.append(trackpoint, entries, blocked)
        finally:
            self._time.witness(ingest.newest_ms)
            ingest.close()
