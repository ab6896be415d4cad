"""An interval → buckets of the local calendar of a time zone.

Buckets are made by stepping local time: a day has 23 or 25 hours where the clocks change, weeks begin on Monday, and
months are those of the calendar. A bucket of at most an hour also ends where the clocks change, so the hour that is
repeated in autumn is two buckets.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from smsevents.errors import InvalidRequest
from smsevents.segments.tally import QUARTER_MS
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import HOUR_MS
from smsevents.wire.times import EPOCH, MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from smsevents.wire.window import Window

BUCKETS_MAX = 2000
DAYS_KEPT_MAX = 4096  # days and zones whose start is remembered: finding it takes longer than the rest of a bucket
INTERVALS_KEPT_MAX = 64  # of days, whose buckets are remembered: up to BUCKETS_MAX numbers each
_LAST_QUARTER = INT64_MAX // QUARTER_MS

Step = Literal["15m", "1h", "1d", "1w", "1M", "all"]
STEPS: tuple[Step, ...] = get_args(Step)
_MONDAY = date(1970, 1, 5)
_DAYS_OF_WEEK = 7
_MONTHS = 12
_SHORT_MS = {"15m": QUARTER_MS, "1h": HOUR_MS}


class Bucket(msgspec.Struct, frozen=True, gc=False, rename={"start": "from", "end": "to"}):
    """A closed interval in Unix milliseconds. It is not complete if the interval asked for or the present cuts it."""

    start: int
    end: int
    complete: bool


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database. Raises `InvalidRequest`."""
    if name not in _zones():
        raise InvalidRequest(
            f"`tz` {shown(name)} is not a time zone. Send a name of the IANA database, such as Europe/Prague or UTC."
        )
    return ZoneInfo(name)


def shown(text: str) -> str:
    """Return a text of a request as it is shown in a message."""
    return repr(text if len(text) <= 60 else f"{text[:60]}\u2026")  # noqa: PLR2004 -- enough to recognize it


def local_of(time_ms: int, zone: ZoneInfo) -> datetime:
    """Return a time (Unix ms) as local time."""
    return (EPOCH + time_ms * MILLISECOND).astimezone(zone)


def ms_of(local: datetime) -> int:
    """Return an aware local time in Unix milliseconds."""
    return (local - EPOCH) // MILLISECOND


@lru_cache(DAYS_KEPT_MAX)
def start_of_day(day: date, zone: ZoneInfo) -> int:
    """Return the first millisecond of a local day. If clocks skip midnight, it is the moment of that change."""
    return ms_of(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def buckets_of(window: Window, zone: ZoneInfo, step: Step, now: int) -> list[Bucket]:
    """Return the buckets of an interval at `now` (Unix ms), in order, without gaps. An empty interval has none.

    Raises `InvalidRequest` if there are more than BUCKETS_MAX.
    """
    if window.is_empty:
        return []
    if step == "all":
        return [Bucket(window.start, window.end, window.end < now)]
    starts = _starts(window, zone, step)
    buckets = bisect_right(starts, window.end)
    if buckets > BUCKETS_MAX:
        raise InvalidRequest(
            f"With `step` {step} the interval has more than {BUCKETS_MAX} buckets. Send a longer step or a shorter"
            " interval."
        )
    found = [Bucket(natural, following - 1, following <= now) for natural, following in pairwise(starts[: buckets + 1])]
    found[0] = _cut(found[0], window)
    found[-1] = _cut(found[-1], window)
    return found


def _cut(bucket: Bucket, window: Window) -> Bucket:
    """Return the part of a bucket that lies in an interval."""
    if window.start <= bucket.start and bucket.end <= window.end:
        return bucket
    return Bucket(max(bucket.start, window.start), min(bucket.end, window.end), complete=False)


def _starts(window: Window, zone: ZoneInfo, step: Step) -> Sequence[int]:
    """Return the natural starts of the buckets of an interval and one that follows, or more than BUCKETS_MAX.

    The first one has the start of the interval.
    """
    if step in _SHORT_MS:
        found = _short_starts(window.start, zone, _SHORT_MS[step])
        return _until(found, window.end)
    return _day_starts_between(local_of(window.start, zone).date(), local_of(window.end, zone).date(), zone, step)


def _until(starts: Iterable[int], last_ms: int) -> tuple[int, ...]:
    """Return starts up to the first one after a time (Unix ms), but at most BUCKETS_MAX + 2."""
    found: list[int] = []
    for start in islice(starts, BUCKETS_MAX + 2):
        found.append(start)
        if start > last_ms:
            break
    return tuple(found)


@lru_cache(INTERVALS_KEPT_MAX)
def _day_starts_between(first: date, last: date, zone: ZoneInfo, step: Step) -> tuple[int, ...]:
    """Return the starts of the buckets from that of a local day up to one after another day, or after that day."""
    # clocks that are set back at midnight repeat a part of the day before, so a time may be after the next midnight
    return _until(_day_starts(first, zone, step), start_of_day(last + timedelta(days=1), zone))


def _day_starts(day: date, zone: ZoneInfo, step: Step) -> Iterator[int]:
    """Go through the starts of buckets, from the one with a local day."""
    if step == "1w":
        day -= timedelta(days=(day - _MONDAY).days % _DAYS_OF_WEEK)
    elif step == "1M":
        day = day.replace(day=1)
    last = None
    while True:
        start = start_of_day(day, zone)
        if last is None or start > last:  # a zone may have skipped a day
            yield start
            last = start
        if step == "1M":
            day = day.replace(year=day.year + day.month // _MONTHS, month=day.month % _MONTHS + 1)
        else:
            day += timedelta(days=_DAYS_OF_WEEK if step == "1w" else 1)


def _short_starts(time_ms: int, zone: ZoneInfo, step_ms: int) -> Iterator[int]:
    start = start_of_day(local_of(time_ms, zone).date(), zone)
    while True:
        following = _short_end(start, zone, step_ms)
        if following > time_ms:
            yield start
        start = following


def _short_end(start: int, zone: ZoneInfo, step_ms: int) -> int:
    """Return the end (exclusive) of the bucket that starts at a time: the next step of the clock, or its change."""
    offset = _offset_ms(start, zone)
    end = ((start + offset) // step_ms + 1) * step_ms - offset
    if _offset_ms(end - 1, zone) == offset:
        return end
    low, high = start, end - 1  # the clocks change after `low`, and not after `high`
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset_ms(time_ms: int, zone: ZoneInfo) -> int:
    offset = local_of(time_ms, zone).utcoffset() or timedelta()
    return offset // MILLISECOND


class Buckets:
    """Finds the bucket of a time."""

    def __init__(self, buckets: list[Bucket], *, is_within: bool) -> None:
        """Look up in buckets. With `is_within`, every time that is looked up lies in their interval."""
        self.all = buckets
        self._starts = [one.start for one in buckets]
        self._first = buckets[0].start if buckets else 0
        self._last = buckets[-1].end if buckets else -1
        self._is_within = is_within
        self._quarters: dict[int, int | None] = {}

    def of(self, time_ms: int) -> int:
        """Return the number of the bucket with a time (Unix ms), or -1 if none has it."""
        if not self._first <= time_ms <= self._last:
            return -1
        return bisect_right(self._starts, time_ms) - 1

    def of_quarter(self, quarter: int) -> int | None:
        """Return the number of the bucket with all of a quarter of an hour, -1 if none has any of it, or else None.

        If all times lie in the interval, only the part of the quarter that does counts.
        """
        try:
            return self._quarters[quarter]
        except KeyError:
            found = self._quarters[quarter] = self._of_quarter(quarter)
            return found

    def of_undivided(self, quarter: int) -> int:
        """Return what `of_quarter` does for a quarter of an hour of which it is known that one bucket has all of it."""
        return bisect_right(self._starts, max(quarter * QUARTER_MS, self._first)) - 1

    def _of_quarter(self, quarter: int) -> int | None:
        start, end = quarter * QUARTER_MS, quarter * QUARTER_MS + QUARTER_MS - 1
        if end < self._first or start > self._last:
            return -1
        if self._is_within:
            start, end = max(start, self._first), min(end, self._last)
        of_start = self.of(start)
        return of_start if of_start >= 0 and of_start == self.of(end) else None

    def starts_within(self, first_ms: int, last_ms: int) -> tuple[int, ...]:
        """Return the starts (Unix ms) of the buckets that divide the quarters of an hour between two times."""
        first, last = first_ms // QUARTER_MS * QUARTER_MS, last_ms // QUARTER_MS * QUARTER_MS + QUARTER_MS - 1
        return tuple(self._starts[bisect_right(self._starts, first) : bisect_right(self._starts, last)])

    def runs(self, first: int, quarters: Sequence[int]) -> Iterator[tuple[int | None, int, int]]:
        """Divide quarters of an hour, which are in order and count from `first`, into those of each bucket.

        Yield what `of_quarter` returns for them, the position of the first one, and that after the last one.
        """
        start = 0
        while start < len(quarters):
            bucket = self.of_quarter(first + quarters[start])
            following = self._end_of_run(bucket, first + quarters[start]) - first
            end = max(start + 1, bisect_left(quarters, following, start))
            yield bucket, start, end
            start = end

    def _end_of_run(self, bucket: int | None, quarter: int) -> int:
        """Return the first quarter after one for which `of_quarter` may return something else than `bucket`."""
        if bucket is None:
            return quarter + 1
        if bucket >= 0:
            return (self.all[bucket].end + 1) // QUARTER_MS
        return self._first // QUARTER_MS if quarter * QUARTER_MS < self._first else _LAST_QUARTER
