"""Small imports that wait for nothing but their commit.

An import of a few events costs less than passing it to another thread. So it is checked where it is, with what is known
of the time and of blocked users, and only the write waits.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from smsevents.log.checked_lines import CheckedLines, Rules
from smsevents.wire.file_formats import START_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog.database import Promise
    from smsevents.clock.trusted import Judgement
    from smsevents.log.blocked import BlockedUsers
    from smsevents.log.joining import Joining
    from smsevents.wire.results import ImportResult

JUDGED_KNOWN_SECONDS = 0.01  # judging the time takes as long as checking an event
SMALL_BODY_MAX_BYTES = 4 * 1024  # about 15 events, which take about 0.1 ms to check


class KnownTime(Protocol):
    """Judges the clock without reading the database, as `Timekeeper` does."""

    def judge_known(self) -> Judgement | None:
        """Return the judgement of the present time, or None if the database must be read for it."""

    def witness(self, newest_ms: int | None) -> None:
        """Take the date of an import's newest event (Unix ms) as evidence; None if there was no event."""


class SmallImports:
    """Records complete bodies of at most SMALL_BODY_MAX_BYTES, sent plain."""

    def __init__(
        self,
        time: KnownTime,
        blocked: BlockedUsers,
        joining: Joining,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        """Use what is known of the time and of blocked users, and store what is imported together.

        `monotonic` is a clock in seconds.
        """
        self._time = time
        self._monotonic = monotonic
        self._judgement: tuple[float, Judgement | None] = (0.0, None)
        self._blocked = blocked
        self._joining = joining

    def record(self, trackpoint: int, body: bytes, outcome: Promise[None]) -> ImportResult | None:
        """Record an import, as `Recorder` does. Return its counts; the outcome is told once it is durable.

        Return None, and do nothing, if something must be read from the database first. Raises what `Recorder` does.
        The outcome may be `BlockedMeanwhile` although no user was blocked during the import itself: try again then.
        """
        blocked = self._blocked.remembered(trackpoint)
        judgement = self.judged()
        if blocked is None or judgement is None:
            return None
        lines = CheckedLines(Rules.judged(trackpoint, judgement, blocked=blocked), inflated=False)
        try:
            lines.start = body[:START_MAX_BYTES]
            end = body.rfind(b"\n") + 1
            if end:
                lines.take_block(body[:end])
            if (rest := body[end:]) and not rest.isspace():
                lines.take_last(rest)
            result = lines.finish()
        finally:
            self._time.witness(lines.newest_ms)
        self._joining.submit(trackpoint, lines.held.take_entries(), blocked, outcome)
        return result

    def judged(self) -> Judgement | None:
        """Return a judgement of the time that is at most JUDGED_KNOWN_SECONDS old, or None if it must be read."""
        now = self._monotonic()
        until, judgement = self._judgement
        if judgement is None or now >= until:
            judgement = self._time.judge_known()
            self._judgement = now + JUDGED_KNOWN_SECONDS, judgement
        return judgement
