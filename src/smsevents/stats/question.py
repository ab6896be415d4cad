"""What is asked of a shop's log: an interval on an axis, its buckets, groups, and which events are wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from smsevents.segments.selection import EVERYTHING, Selection
from smsevents.stats.calendar import Buckets, buckets_of
from smsevents.wire.events import INT64_MAX
from smsevents.wire.window import Window, history_start

if TYPE_CHECKING:
    from collections.abc import Hashable
    from zoneinfo import ZoneInfo

    from smsevents.segments.header import SegmentHeader
    from smsevents.stats.calendar import Step

Axis = Literal["event", "send"]
AXES: tuple[Axis, ...] = get_args(Axis)
Part = Literal["status", "type", "campaign", "node"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Question:
    """A question at `now`, in Unix milliseconds.

    The window is on the axis: the events are those whose `date` or `sendDate` lies in it. `by` has what the events are
    grouped by. Of the groups by campaign and node only the `top` largest are named.
    """

    window: Window
    zone: ZoneInfo
    at: Axis
    step: Step
    now: int
    by: tuple[Part, ...] = ()
    top: int | None = None
    wanted: Selection = EVERYTHING

    @cached_property
    def buckets(self) -> Buckets:
        """The buckets of the interval. Raises `InvalidRequest` if there are too many."""
        found = buckets_of(self.window, self.zone, self.step, self.now)
        return Buckets(found, is_within=self.at == "event")

    @property
    def log_window(self) -> Window:
        """The dates of the events in question: those of the window, or the complete history if it is of `sendDate`."""
        if self.at == "event" or self.window.is_empty:
            return self.window
        return Window(history_start(self.now), INT64_MAX)

    @property
    def selection(self) -> Selection:
        """The events that are wanted, with the interval of `sendDate`."""
        if self.at == "event":
            return self.wanted
        return replace(self.wanted, sent_from=self.window.start, sent_to=self.window.end)

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return on what the counts of a segment depend, besides what is wanted; None if they will hardly recur.

        A segment that the interval cuts has other counts for each interval. So has every segment if the interval is one
        of `sendDate` that ends now.
        """
        start, end = self.window
        if self.at == "event":
            first, last = header.first[0], header.last[0]
            return self.buckets.starts_within(first, last) if start <= first and last <= end else None
        return None if end == self.now else (self.window, self.zone.key, self.step)
