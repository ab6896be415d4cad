"""Decides which day is fetched next, by how many threads, and when a pull gives up. Independent of HTTP and files."""

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

# If this many consecutive days fail, the server is considered down.
PULL_FAILED_DAYS_MAX = 8
# The client takes minutes to give up on a slow day, so fewer of these failures end the pull.
SLOW_DAYS_MAX = 2


@dataclass
class Part:
    """A file that holds one or more days: the days to fetch, and the staged days that wait to be merged."""

    name: str
    days: list[date] = field(default_factory=list)
    staged: list[Staged] = field(default_factory=list)
    _waiting: set[date] = field(default_factory=set)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def add(self, day: date) -> None:
        """Add a day to fetch for this file."""
        self.days.append(day)
        self._waiting.add(day)

    def stage(self, staged: Staged) -> None:
        """Add a fetched day."""
        with self._changing:
            self.staged.append(staged)

    def arrived(self, day: date) -> bool:
        """Record that a day was fetched or failed. Return whether it was the last, so staged days can be merged."""
        with self._changing:
            self._waiting.remove(day)
            return not self._waiting and bool(self.staged)

    @property
    def is_one_day(self) -> bool:
        """Whether only one day is fetched for this file and none is staged."""
        return len(self.days) == 1 and not self.staged


class Work(NamedTuple):
    """A day to fetch for a file, or None if staged days only have to be merged."""

    part: Part
    day: date | None


class Schedule:
    """Distributes the work of one round to the threads."""

    def __init__(self, parts: Iterable[Part], jobs: int, stopping: Stopping) -> None:
        """Queue the work of all parts, oldest first, for at most `jobs` threads."""
        self._works = deque(
            work for part in parts for work in ([Work(part, day) for day in part.days] or [Work(part, None)])
        )
        self.threads = max(1, min(jobs, len(self._works)))
        self._stopping = stopping
        self._failed_in_a_row = 0
        self._changing = threading.Lock()

    def next(self) -> Work | None:
        """Return the next work, or None if there is none or the pull is stopping. After None, the thread must end."""
        with self._changing:
            if self._works and not self._stopping.is_set:
                return self._works.popleft()
            # under the same lock, so that a thread that puts work back does not rely on this thread
            self.threads -= 1
            return None

    def leave(self) -> None:
        """Record that a thread ends although `next` did not return None."""
        with self._changing:
            self.threads -= 1

    def leave_to_others(self, work: Work) -> bool:
        """Put work back and end the thread, because of a rate limit. Return False if this is the last thread."""
        with self._changing:
            if self.threads <= 1:
                return False
            self.threads -= 1
            self._works.appendleft(work)
            return True

    def succeeded(self) -> None:
        """Record that a day was fetched."""
        with self._changing:
            self._failed_in_a_row = 0

    def failed(self, error: ClientError) -> None:
        """Record that a day failed. Stop the pull if all other days would fail too."""
        with self._changing:
            self._failed_in_a_row += 1
            most = SLOW_DAYS_MAX if isinstance(error, TooSlow) else PULL_FAILED_DAYS_MAX
            is_hopeless = error.fails_all or self._failed_in_a_row >= most
        if is_hopeless:
            self._stopping.stop()
