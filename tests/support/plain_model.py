"""The plain model of a log that many processes work on: sets of lines, and which exports they allow."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smsevents.wire.window import Window


class Event(NamedTuple):
    """An event as the model knows it; it sorts as the export does."""

    date: int
    line: bytes
    user: str


class Before(NamedTuple):
    """What the model knew when an export began."""

    acknowledged: frozenset[Event]
    erased: frozenset[str]


def event_of(trackpoint: int, date: int, user: str, campaign: str) -> Event:
    """Return an event at a date (Unix ms)."""
    return Event(date, line(trackpoint, date, user, campaign=campaign), user)


class PlainModel:
    """What clients sent, what was acknowledged to them, who is erased, and what has expired. Thread-safe."""

    def __init__(self, oldest_ms: int) -> None:
        """Begin empty. Events before `oldest_ms` (Unix ms) have expired."""
        self._lock = threading.Lock()
        self._sent: dict[bytes, Event] = {}
        self._acknowledged: dict[Event, None] = {}  # in order
        self._erasing: set[str] = set()
        self._erased: set[str] = set()
        self._oldest_ms = oldest_ms

    @property
    def oldest_ms(self) -> int:
        """The first time (Unix ms) that has not expired."""
        return self._oldest_ms

    @property
    def acknowledged(self) -> Sequence[Event]:
        """The events that were acknowledged so far, in the order of that."""
        with self._lock:
            return list(self._acknowledged)

    def send(self, events: Iterable[Event]) -> None:
        """Take note of events before they are sent. Whether they are stored is in doubt from now on."""
        with self._lock:
            self._sent |= {one.line: one for one in events}

    def acknowledge(self, events: Iterable[Event]) -> None:
        """Take note that the import of events was acknowledged."""
        with self._lock:
            self._acknowledged |= dict.fromkeys(events)

    def begin_erasure(self, user: str) -> None:
        """Take note that an erasure of a user begins, who is blocked, too. Their events may be gone from now on."""
        with self._lock:
            self._erasing.add(user)

    def end_erasure(self, user: str) -> None:
        """Take note that an erasure was completed. The user's events never come back."""
        with self._lock:
            self._erased.add(user)

    def expire(self, oldest_ms: int) -> None:
        """Take note that events before a time (Unix ms) may be gone from now on."""
        with self._lock:
            self._oldest_ms = max(self._oldest_ms, oldest_ms)

    def before(self) -> Before:
        """Return what an export that begins now must have, and must not have."""
        with self._lock:
            return Before(frozenset(self._acknowledged), frozenset(self._erased))

    def wrong_with(self, exported: Sequence[bytes], window: Window, before: Before) -> list[str]:
        """Return what is wrong with the lines of an export of a window that began with `before` and has ended."""
        with self._lock:
            oldest_ms, erasing, sent = self._oldest_ms, set(self._erasing), dict(self._sent)
        got = [sent[one] for one in exported if one in sent]
        found = set(got)
        must = {one for one in before.acknowledged if one.user not in erasing and one.date >= oldest_ms}
        missing = sorted(one for one in must - found if window.start <= one.date <= window.end)
        wrong = [f"missing: {one}" for one in missing]
        wrong += [f"never sent: {one!r}" for one in exported if one not in sent]
        wrong += [f"twice or in a wrong order: {one}" for last, one in pairwise(got) if last >= one]
        wrong += [f"outside of the window: {one}" for one in got if not window.start <= one.date <= window.end]
        wrong += [f"of an erased user: {one}" for one in got if one.user in before.erased]
        return wrong

    def final(self) -> bytes:
        """Return the export of everything, when nothing is in doubt and all erasures are completed."""
        with self._lock:
            assert self._erasing == self._erased
            left = {one for one in self._acknowledged if one.user not in self._erased and one.date >= self._oldest_ms}
        return body_of(one.line for one in sorted(left))
