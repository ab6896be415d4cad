"""Which day is fetched next, by how many threads, and when a pull gives up. It knows nothing of HTTP and files."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from smsevents.client.errors import TooSlow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.directory import Staged
    from smsevents.client.pull.terms import Stopping

# This many days that fail one after the other mean that the server is down, not that days are bad.
PULL_FAILED_DAYS_MAX = 8
# A slow day takes minutes to be given up, so fewer of them than of other failures end the pull.
SLOW_DAYS_MAX = 2


@dataclass
class Part:
    """The file that days are kept in: the days to be fetched, and those that wait to be merged with the others."""

    name: str
    days: list[date] = field(default_factory=list)
    staged: list[Staged] = field(default_factory=list)
    _waiting: set[date] = field(default_factory=set)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def add(self, day: date) -> None:
        """Have a day fetched for this file."""
        self.days.append(day)
        self._waiting.add(day)

    def stage(self, staged: Staged) -> None:
        """Take a day that was fetched."""
        with self._changing:
            self.staged.append(staged)

    def arrived(self, day: date) -> bool:
        """Note that a day has come or failed; return whether it was the last one, so that all are to be merged."""
        with self._changing:
            self._waiting.remove(day)
            return not self._waiting and bool(self.staged)

    @property
    def is_one_day(self) -> bool:
        """Whether the file is complete with the one day that is fetched for it."""
        return len(self.days) == 1 and not self.staged


class Work(NamedTuple):
    """A day to be fetched for a file, or None if what was fetched before is only to be merged."""

    part: Part
    day: date | None


class Schedule:
    """Hands out the works of one round to the threads that ask."""

    def __init__(self, parts: Iterable[Part], jobs: int, stopping: Stopping) -> None:
        """Have the works of parts, the oldest first, for at most `jobs` threads."""
        self._works = deque(
            work for part in parts for work in ([Work(part, day) for day in part.days] or [Work(part, None)])
        )
        self.threads = max(1, min(jobs, len(self._works)))
        self._stopping = stopping
        self._failed_in_a_row = 0
        self._changing = threading.Lock()

    def next(self) -> Work | None:
        """Return the next work; None, if there is none or the pull is to end, means that this thread has left."""
        with self._changing:
            if self._works and not self._stopping.is_set:
                return self._works.popleft()
            # under the same lock: a work that another thread puts back now must not count on this one
            self.threads -= 1
            return None

    def leave(self) -> None:
        """Note that a thread asks for no more, though it was not told that there is none."""
        with self._changing:
            self.threads -= 1

    def leave_to_others(self, work: Work) -> bool:
        """Put a work back and leave, because the server wants fewer at a time; False if this is the last thread."""
        with self._changing:
            if self.threads <= 1:
                return False
            self.threads -= 1
            self._works.appendleft(work)
            return True

    def succeeded(self) -> None:
        """Note that a day came."""
        with self._changing:
            self._failed_in_a_row = 0

    def failed(self, error: ClientError) -> None:
        """Note that a day failed, and end the pull if all others would fail too."""
        with self._changing:
            self._failed_in_a_row += 1
            most = SLOW_DAYS_MAX if isinstance(error, TooSlow) else PULL_FAILED_DAYS_MAX
            is_hopeless = error.fails_all or self._failed_in_a_row >= most
        if is_hopeless:
            self._stopping.stop()
