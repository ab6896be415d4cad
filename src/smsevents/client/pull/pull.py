"""A pull: plan the days, fetch them concurrently, merge them into files, and return a summary.

A day is fetched completely before anything else happens with it. If its file holds only that day, the day is merged
with the contents of the file, and the result replaces the file. If the file holds several days, the day is staged, and
merged with the others when the last of them was fetched or has failed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, RateLimited
from smsevents.client.pull.clocks import FetchClocks, is_ahead
from smsevents.client.pull.days import Plan, part_of, plan, window_of
from smsevents.client.pull.directory import NEW, STAGED_FORMAT
from smsevents.client.pull.errors import Stopped
from smsevents.client.pull.fetch import DayFetcher
from smsevents.client.pull.fold import Folder
from smsevents.client.pull.gaps import lost_days, was_fetched
from smsevents.client.pull.helper import HELPED_DAYS_MIN, Helper, Task
from smsevents.client.pull.ledger import Ledger
from smsevents.client.pull.receive import HereReceiver, Wanted
from smsevents.client.pull.schedule import Part, Schedule, Work
from smsevents.wire.limits import HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from smsevents.client.account import Account
    from smsevents.client.pull.directory import Directory, Staged
    from smsevents.client.pull.receive import Heard, Receiver
    from smsevents.client.pull.terms import PullObserver, PullOptions, Source, Stopping, Summary
    from smsevents.client.retry import Timeouts

# Windows does not end a wait for a thread on Ctrl-C; between two waits, the handler of the signal runs.
_INTERRUPTIBLE_SECONDS = 0.5


class Pull:
    """One pull into an opened directory. `clock` returns Unix milliseconds."""

    def __init__(  # noqa: PLR0913 -- its dependencies are passed in
        self,
        source: Source,
        directory: Directory,
        options: PullOptions,
        *,
        clock: Callable[[], int],
        report: PullObserver,
        stopping: Stopping,
        helped: tuple[Account, Timeouts] | None = None,
    ) -> None:
        """Take what to pull from where; with `helped`, a second process asks the same server for some of many days."""
        self._directory = directory
        self._options = options
        self._report = report
        self._stopping = stopping
        self._ledger = Ledger()
        self._clocks = FetchClocks(clock, options.lookback_days, self._warn)
        layout = directory.layout
        self._wanted = Wanted(layout.trackpoint, layout.filter, directory.format.has_columns)
        self._receiver = HereReceiver(source, self._wanted, directory.drafts, self._heard)
        self._helped = helped
        self._fetcher = DayFetcher(directory, self._clocks, report=report, stopping=stopping)
        self._folder = Folder(directory, self._clocks, self._ledger, report=report, replace=options.replace)
        self._staged: dict[date, Staged] = {}

    def run(self) -> Summary:
        """Fetch the days that are missing or may have changed, the oldest first.

        Failed days are listed in the summary; the other days are still fetched. An error that makes every day fail
        ends the pull: a refused key, a disk that cannot be written, a server that is down.
        """
        began_ms = self._clocks.began_ms
        known = self._directory.known()
        found = self._plan(began_ms)
        self._report.planned(found)
        self._round(found.fetch)
        now_ms = self._clocks.now_ms()
        if now_ms is not None and began_ms - HISTORY_MS < now_ms < began_ms and not self._stopping.is_set:
            found = self._fetch_earlier_days(found, now_ms)
        self._fetch_later_days(found)
        try:
            self._conclude(found, known, now_ms)
        except OSError as error:
            raise self._directory.unusable(error) from error
        return self._ledger.summary

    def _fetch_earlier_days(self, later: Plan, now_ms: int) -> Plan:
        """Fetch days that look too old by this machine's clock, which is ahead, but that the server may still have."""
        found, fetched = self._plan(now_ms), self._ledger.summary.fetched
        self._round(sorted(set(found.fetch) - set(later.fetch) - set(fetched)))
        tried = (day for day in later.fetch if not is_ahead(day, now_ms) or day in fetched)
        found.fetch[:] = sorted({*found.fetch, *tried})
        found.final[:] = sorted(set(found.final) - set(found.fetch))
        return found

    def _fetch_later_days(self, found: Plan) -> None:
        """Fetch the days after this machine's today that have begun by the server's clock. None becomes final."""
        later_ms = self._clocks.later_ms()
        if later_ms is None or self._stopping.is_set:
            return
        _, last = window_of(self._options.first, self._options.last, self._clocks.began_ms)
        later = [day for day in self._plan(later_ms).fetch if day > last]
        self._round(later)
        found.fetch.extend(later)

    def _plan(self, now_ms: int) -> Plan:
        options, directory = self._options, self._directory
        first, last = window_of(options.first, options.last, now_ms)
        self._staged = {one.day: one for one in directory.staged()}
        fetched = directory.fetched() | {day: one.fetched_ms for day, one in self._staged.items()}
        return plan(
            first, last, now_ms=now_ms, fetched=fetched, lookback_days=options.lookback_days, again=options.replace
        )

    def _round(self, days: list[date]) -> None:
        """Fetch days concurrently."""
        try:
            parts = self._parts(days)
        except OSError as error:
            raise self._directory.unusable(error) from error
        schedule = Schedule(parts, self._options.jobs, self._stopping)
        threads = schedule.threads
        receivers: list[Receiver] = [self._receiver] * threads
        with ExitStack() as stack:
            if self._helped and threads > 1 and len(days) >= HELPED_DAYS_MIN and (os.cpu_count() or 1) > 1:
                receivers[-1] = stack.enter_context(self._helper(*self._helped))
            pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="smsevents-pull"))
            try:
                working = [pool.submit(self._work, schedule, receiver) for receiver in receivers]
                while wait(working, _INTERRUPTIBLE_SECONDS).not_done:
                    if self._stopping.is_set:
                        _interrupt(receivers)
                for worker in working:
                    worker.result()
            except BaseException:
                self._stopping.stop()
                _interrupt(receivers)
                raise

    def _helper(self, account: Account, timeouts: Timeouts) -> Helper:
        directory = self._directory
        prefix = f"{NEW}helper-{os.getpid()}-"
        task = Task(account, timeouts, self._wanted, directory.state, prefix, directory.format)
        return Helper(task, self._heard, otherwise=self._receiver)

    def _heard(self, heard: Heard) -> None:
        """Note what has arrived. Raises `Stopped`."""
        self._stopping.check()
        self._clocks.newest(heard.newest_ms)
        self._report.received(heard.events, heard.size_bytes)

    def _parts(self, days: list[date]) -> list[Part]:
        """Return the files that need work, the oldest first."""
        parts: dict[str, Part] = {}
        for day in sorted({*days, *self._staged}):
            name = part_of(day, self._directory.layout.split)
            part = parts.setdefault(name, Part(name))
            staged = self._staged.get(day)
            if staged and day not in days:
                part.stage(staged)
                continue
            if staged:
                staged.path.unlink()
            part.add(day)
        return list(parts.values())

    def _work(self, schedule: Schedule, receiver: Receiver) -> None:
        """Do work in a thread until none is left for it."""
        try:
            if isinstance(receiver, Helper):
                receiver.start()
            while work := schedule.next():
                if not self._do(work, schedule, receiver):
                    return  # this thread has left the schedule
        except Stopped:
            schedule.leave()
        except BaseException:
            self._stopping.stop()  # a bug; the other threads stop too
            raise

    def _do(self, work: Work, schedule: Schedule, receiver: Receiver) -> bool:
        """Fetch a day into its file, or record that it failed. Return False if the day was left to other threads."""
        part, day = work
        if day is not None:
            try:
                format_ = self._directory.format if part.is_one_day else STAGED_FORMAT
                self._fetcher.fetch(day, format_, receiver, partial(self._folder.take, part))
            except Stopped:
                raise  # the day did not fail
            except RateLimited as error:
                # the client has waited as requested; the remaining remedy is fewer concurrent requests
                if schedule.leave_to_others(work):
                    return False
                self._fail(day, error, schedule)
            except ClientError as error:
                self._fail(day, error, schedule)
            else:
                schedule.succeeded()
        if day is None or part.arrived(day):
            self._fold(part, schedule)
        return True

    def _fold(self, part: Part, schedule: Schedule) -> None:
        try:
            self._folder.fold(part)
        except OSError as error:
            self._fail(part.staged[0].day, self._directory.unusable(error), schedule)
        except ClientError as error:
            self._fail(part.staged[0].day, error, schedule)

    def _fail(self, day: date, error: ClientError, schedule: Schedule) -> None:
        self._ledger.failed(day, error)
        self._report.failed(day, error)
        schedule.failed(error)

    def _warn(self, text: str) -> None:
        self._ledger.summary.warnings.append(text)
        self._report.warned(text)

    def _conclude(self, found: Plan, known: dict[date, int], now_ms: int | None) -> None:
        """Record what is known only at the end: the fetch times of days, and which days are lost."""
        ledger, summary, directory = self._ledger, self._ledger.summary, self._directory
        gone = ledger.forgotten | ledger.ahead
        summary.plan = Plan(
            [day for day in found.fetch if day not in gone],
            found.final,
            sorted({*found.expired, *ledger.forgotten}),
        )
        settled = {day: ms for day, ms in self._clocks.settled().items() if day in ledger.recorded}
        if settled:
            directory.keep(settled)
        directory.record()
        _, last = window_of(self._options.first, self._options.last, self._clocks.began_ms)
        if now_ms is not None:
            summary.lost = lost_days(
                known,
                first=self._options.first,
                last=last,
                now_ms=now_ms,
                forgotten=ledger.forgotten,
                told=directory.lost(),
            )
        if summary.lost:
            directory.note_lost(summary.lost)
        summary.absent = [
            day for day in summary.plan.expired if not was_fetched(day, known) and day not in summary.lost
        ]
        summary.kept.sort()
        nothing_done = not summary.plan.fetch and not summary.plan.final
        summary.has_nothing = nothing_done and bool(summary.absent or ledger.ahead)


def _interrupt(receivers: list[Receiver]) -> None:
    for receiver in receivers:
        if isinstance(receiver, Helper):
            receiver.interrupt()
