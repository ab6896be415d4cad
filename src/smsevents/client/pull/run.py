"""Pull: fetch days, several at a time, retry what was cut, merge, put in place.

A day is fetched whole into a `Sorter`; only when its stream was whole is anything done with it. If its file
holds that one day, it is merged with what the file holds and put in its place. If the file holds more, the
day is staged and merged with the others when the last of them has come or failed.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING

from smsevents.client.errors import (
    ClientError,
    ConfigurationError,
    NotWhole,
    RateLimited,
    Refused,
    ServerFault,
    ServerUnavailable,
    TooSlow,
    UnexpectedAnswer,
    Unreachable,
)
from smsevents.client.pull.clocks import Clocks, Fetch, is_ahead
from smsevents.client.pull.days import (
    Plan,
    bounds_of,
    day_of,
    end_of,
    lies_within_history,
    part_of,
    plan,
    start_of,
    window_of,
)
from smsevents.client.pull.directory import STAGED_FORMAT, Counted
from smsevents.client.pull.errors import BadEvent, DirectoryUnusable, Stopped
from smsevents.client.pull.gaps import lost_days, was_fetched
from smsevents.client.pull.lines import Checker
from smsevents.client.pull.sort import Sorter, merged
from smsevents.client.pull.terms import Choice, Report, Source, Stopping, Summary
from smsevents.wire.limits import HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

    from smsevents.client.head import ExportHead
    from smsevents.client.pull.directory import Directory, Staged
    from smsevents.wire.lines import Entry

PULL_DAY_TRIES_MAX = 4
PULL_BACKOFF_FIRST_SECONDS = 1
# So many days that fail one after the other mean that the server is down, not that days are bad.
PULL_FAILED_DAYS_MAX = 8

__all__ = ["Choice", "Pull", "Report", "Source", "Stopping", "Summary"]

# A slow day takes minutes to be given up, so fewer of them than of other failures end the pull.
SLOW_DAYS_MAX = 2


@dataclass
class _Part:
    """The file that days are kept in: the days that have not come yet, and those that wait to be merged."""

    name: str
    days: list[date]
    waiting: set[date]
    staged: list[Staged] = field(default_factory=list)


class Pull:
    """One pull into an opened directory. `clock` tells Unix milliseconds."""

    def __init__(  # noqa: PLR0913 -- what it depends on is passed in
        self,
        source: Source,
        directory: Directory,
        choice: Choice,
        *,
        clock: Callable[[], int],
        report: Report,
        stopping: Stopping,
    ) -> None:
        self._source = source
        self._directory = directory
        self._choice = choice
        self._report = report
        self._stopping = stopping
        self._clocks = Clocks(clock, choice.lookback_days, self._warn)
        self._changing = threading.Lock()
        self._works: deque[tuple[_Part, date | None]] = deque()
        self._workers = 0
        self._failed_in_a_row = 0
        self._staged: dict[date, Staged] = {}
        self._forgotten: set[date] = set()
        self._ahead: set[date] = set()
        self._replaced: set[date] = set()
        self._recorded: set[date] = set()  # in the manifest, by this pull
        self._summary = Summary(Plan([], [], []))

    def run(self) -> Summary:
        """Fetch what is missing or may have changed, the oldest day first.

        Days that fail are in the summary; the others are done all the same. What makes every day fail ends
        the pull: a refused key, a disk that cannot be written, a server that is down.
        """
        began_ms = self._clocks.began_ms
        known = self._directory.known()
        found = self._plan(began_ms)
        self._report.planned(found)
        self._round(found.fetch)
        now_ms = self._clocks.now_ms()
        if now_ms is not None and began_ms - HISTORY_MS < now_ms < began_ms and not self._stopping.is_set:
            # this machine's clock is ahead: what it calls forgotten the server may still have
            later, found = found, self._plan(now_ms)
            self._round(sorted(set(found.fetch) - set(later.fetch) - set(self._summary.fetched)))
            tried = (day for day in later.fetch if not is_ahead(day, now_ms) or day in self._summary.fetched)
            found.fetch[:] = sorted({*found.fetch, *tried})
            found.final[:] = sorted(set(found.final) - set(found.fetch))
        self._fetch_later_days(found)
        try:
            self._conclude(found, known, now_ms)
        except OSError as error:
            raise self._unusable(error) from error
        return self._summary

    def _fetch_later_days(self, found: Plan) -> None:
        """Fetch the days after this machine's today that have begun by the server's clock; none of them gets final."""
        later_ms = self._clocks.later_ms()
        if later_ms is None or self._stopping.is_set:
            return
        _, last = window_of(self._choice.first, self._choice.last, self._clocks.began_ms)
        later = [day for day in self._plan(later_ms).fetch if day > last]
        self._round(later)
        found.fetch.extend(later)

    def _plan(self, now_ms: int) -> Plan:
        choice, directory = self._choice, self._directory
        first, last = window_of(choice.first, choice.last, now_ms)
        self._staged = {one.day: one for one in directory.staged()}
        fetched = directory.fetched() | {day: one.fetched_ms for day, one in self._staged.items()}
        return plan(
            first, last, now_ms=now_ms, fetched=fetched, lookback_days=choice.lookback_days, again=choice.replace
        )

    def _round(self, days: list[date]) -> None:
        """Fetch days, several at a time."""
        try:
            parts = self._parts(days)
        except OSError as error:
            raise self._unusable(error) from error
        for part in parts:
            self._works += [(part, day) for day in part.days] or [(part, None)]
        self._workers = max(1, min(self._choice.jobs, len(self._works)))
        with ThreadPoolExecutor(self._workers, thread_name_prefix="smsevents-pull") as pool:
            try:
                for worker in [pool.submit(self._work) for _ in range(self._workers)]:
                    worker.result()
            except BaseException:
                self._stopping.stop()
                raise

    def _conclude(self, found: Plan, known: dict[date, int], now_ms: int | None) -> None:
        """Settle what is known only now: the times of days, and which days are lost."""
        summary, directory = self._summary, self._directory
        gone = self._forgotten | self._ahead
        summary.plan = Plan(
            [day for day in found.fetch if day not in gone],
            found.final,
            sorted({*found.expired, *self._forgotten}),
        )
        settled = {day: ms for day, ms in self._clocks.settled().items() if day in self._recorded}
        if settled:
            directory.keep(settled)
        _, last = window_of(self._choice.first, self._choice.last, self._clocks.began_ms)
        if now_ms is not None:
            summary.lost = lost_days(
                known,
                first=self._choice.first,
                last=last,
                now_ms=now_ms,
                forgotten=self._forgotten,
                told=directory.lost(),
            )
        if summary.lost:
            directory.note_lost(summary.lost)
        summary.absent = [
            day for day in summary.plan.expired if not was_fetched(day, known) and day not in summary.lost
        ]
        summary.kept.sort()
        nothing_done = not summary.plan.fetch and not summary.plan.final
        summary.has_nothing = nothing_done and bool(summary.absent or self._ahead)

    def _parts(self, days: list[date]) -> list[_Part]:
        """Give the files that something is to be done about, the oldest first."""
        parts: dict[str, _Part] = {}
        for day in sorted({*days, *self._staged}):
            name = part_of(day, self._directory.layout.split)
            part = parts.setdefault(name, _Part(name, [], set()))
            staged = self._staged.get(day)
            if staged and day not in days:
                part.staged.append(staged)
                continue
            if staged:
                staged.path.unlink()
            part.days.append(day)
            part.waiting.add(day)
        return list(parts.values())

    def _warn(self, text: str) -> None:
        self._summary.warnings.append(text)
        self._report.warned(text)

    def _work(self) -> None:
        """Do one work after the other, until none is left, or the pull is to end, or this worker is one too many."""
        try:
            while work := self._next():
                part, day = work
                if day is None:
                    self._fold_or_fail(part)
                elif not self._day(day, part):
                    return
        except Stopped:
            pass
        except BaseException:
            self._stopping.stop()  # a defect; the others end too
            raise
        with self._changing:
            self._workers -= 1

    def _next(self) -> tuple[_Part, date | None] | None:
        with self._changing:
            return self._works.popleft() if self._works and not self._stopping.is_set else None

    def _day(self, day: date, part: _Part) -> bool:
        """Fetch a day and hand it on, or note that it failed. Tell whether this worker is still needed."""
        try:
            self._fetch(day, part)
        except Stopped:
            raise  # the day did not fail
        except RateLimited as error:
            # the client has waited as it was told to; fewer at a time is what is left to do
            with self._changing:
                if self._workers > 1:
                    self._workers -= 1
                    self._works.appendleft((part, day))
                    return False
            self._fail(day, error)
        except ClientError as error:
            self._fail(day, error)
        else:
            self._failed_in_a_row = 0
        self._arrived(day, part)
        return True

    def _fetch(self, day: date, part: _Part) -> None:
        """Fetch a day, again if it was cut, and hand it on. Raises `ClientError` if it does not come."""
        for tries in count(1):
            try:
                with Sorter(self._directory.state) as sorter:
                    self._hand_on(self._receive(day, sorter), part, sorter)
            except OSError as error:
                raise self._unusable(error) from error
            except (NotWhole, BadEvent, ServerFault, UnexpectedAnswer) as error:
                if tries == PULL_DAY_TRIES_MAX or isinstance(error, TooSlow) or getattr(error, "permanent", False):
                    raise
                wait_seconds = PULL_BACKOFF_FIRST_SECONDS * 2 ** (tries - 1)
                self._report.retried(day, error, wait_seconds)
                self._stopping.sleep(wait_seconds)
            else:
                return

    def _receive(self, day: date, sorter: Sorter) -> Fetch:
        start_ms, end_ms = start_of(day), end_of(day)
        directory = self._directory
        checker = Checker(directory.layout.trackpoint, start_ms, end_ms, has_columns=directory.format.has_columns)
        sent_ms = self._clocks.own_ms()
        heads: list[ExportHead] = []
        with closing(self._source(start_ms, end_ms, on_head=heads.append)) as batches:
            for batch in batches:
                self._stopping.check()
                sorter.add(checker.received(batch))
                self._clocks.newest(checker.newest_ms)
                self._report.received(len(batch.events), len(batch.block))
        return Fetch(day, sent_ms, heads[-1] if heads else None)

    def _hand_on(self, fetch: Fetch, part: _Part, sorter: Sorter) -> None:
        """Do what is to be done with a day that came complete."""
        day, counted = fetch.day, Counted(sorter.batches())
        fetched_ms = self._clocks.past_ms(fetch)
        ahead = is_ahead(day, fetch.confirmed_ms)
        if (fetch.is_forgotten or ahead) and not sorter.has_entries:
            # the server had nothing to give, so nothing was learned of the day
            with self._changing:
                (self._ahead if ahead else self._forgotten).add(day)
            return
        self._choose_what_to_replace(fetch)
        if part.days == [day] and not part.staged:
            self._merge(part.name, counted, {day: fetched_ms})
        else:
            staged = self._directory.stage(day, fetched_ms, counted)
            with self._changing:
                part.staged.append(staged)
        with self._changing:
            self._summary.fetched.append(day)
            self._summary.events_received += counted.events
        self._report.fetched(day, counted.events)

    def _choose_what_to_replace(self, fetch: Fetch) -> None:
        if not self._choice.replace:
            return
        with self._changing:
            if fetch.replaces(self._clocks.began_ms):
                self._replaced.add(fetch.day)
            elif lies_within_history(fetch.day, self._clocks.began_ms):
                self._summary.kept.append(fetch.day)

    def _arrived(self, day: date, part: _Part) -> None:
        """Merge the days of a part when the last of them has come or failed."""
        with self._changing:
            part.waiting.remove(day)
            whole = not part.waiting and part.staged
        if whole:
            self._fold_or_fail(part)

    def _fold_or_fail(self, part: _Part) -> None:
        part.staged.sort(key=lambda one: one.day)
        layout = self._directory.layout
        try:
            batches = (
                STAGED_FORMAT.read(one.path, Checker(layout.trackpoint, start_of(one.day), end_of(one.day)))
                for one in part.staged
            )
            self._merge(part.name, chain.from_iterable(batches), {one.day: one.fetched_ms for one in part.staged})
            for one in part.staged:
                one.path.unlink()
        except OSError as error:
            self._fail(part.staged[0].day, self._unusable(error))
        except ClientError as error:
            self._fail(part.staged[0].day, error)

    def _merge(self, name: str, fetched: Iterable[list[Entry]], days: dict[date, int]) -> None:
        """Merge days with what their file holds, and put the file in its place unless nothing is new."""
        directory = self._directory
        path = directory.file(name)
        checker = Checker(directory.layout.trackpoint, *bounds_of(name, directory.layout.split))
        held = directory.format.read(path, checker) if path.exists() else iter(())
        with self._changing:
            replaced = self._replaced & set(days)
        before = Counted(held)
        new = directory.write(directory.format, merged([_without(before, replaced), iter(fetched)]))
        added = new.record.events - before.events
        record = directory.record_of(name)
        if not new.record.events and (record is None or record.events):
            new.path.unlink()
            if directory.drop(name, days):
                self._report.removed(path.name)
            with self._changing:
                self._summary.events_new += added
                self._recorded |= set(days)
            return
        changed = bool(added or replaced or checker.has_unsettled) or record is None
        if record is None or changed:
            record = new.record
            directory.put(name, new, days)
        else:
            new.path.unlink()
            directory.keep(days)
        with self._changing:
            self._recorded |= set(days)
            self._summary.events_new += added
            self._summary.files_written += changed
            self._summary.bytes_written += new.record.bytes if changed else 0
        self._report.written(path.name, record, added, changed=changed)

    def _unusable(self, error: OSError) -> DirectoryUnusable:
        # what comes through Arrow has its text alone
        return DirectoryUnusable(f"{self._directory.path} cannot be written: {error.strerror or error}.")

    def _fail(self, day: date, error: ClientError) -> None:
        """Note that a day failed, and end the pull if all others would fail too."""
        with self._changing:
            self._summary.failed[day] = error
            self._failed_in_a_row += 1
            most = SLOW_DAYS_MAX if isinstance(error, TooSlow) else PULL_FAILED_DAYS_MAX
            hopeless = self._failed_in_a_row >= most or _is_about_all_days(error)
        self._report.failed(day, error)
        if hopeless:
            self._stopping.stop()


def _is_about_all_days(error: ClientError) -> bool:
    if isinstance(error, (Unreachable, UnexpectedAnswer)):
        return error.permanent
    passing = isinstance(error, (ServerUnavailable, ServerFault))
    return isinstance(error, (DirectoryUnusable, ConfigurationError, Refused)) and not passing


def _without(batches: Iterable[list[Entry]], days: set[date]) -> Iterator[list[Entry]]:
    """Leave out the events of some days."""
    for batch in batches:
        kept = [entry for entry in batch if day_of(entry[0]) not in days] if days else batch
        if kept:
            yield kept
