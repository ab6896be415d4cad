"""Merges complete days with the contents of their file, and replaces the file."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from smsevents.client.pull.clocks import is_ahead
from smsevents.client.pull.days import bounds_of, day_of, end_of, lies_within_history, start_of
from smsevents.client.pull.directory import STAGED_FORMAT, Counted
from smsevents.client.pull.lines import EntryChecker
from smsevents.client.pull.sort import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from smsevents.client.pull.clocks import Fetch, FetchClocks
    from smsevents.client.pull.directory import Directory
    from smsevents.client.pull.drafts import NewFile
    from smsevents.client.pull.ledger import Ledger
    from smsevents.client.pull.receive import Arrived
    from smsevents.client.pull.schedule import Part
    from smsevents.client.pull.terms import PullObserver
    from smsevents.wire.lines import Entry


class Folder:
    """Puts days into the files of a directory. With `replace`, fetched events replace the existing ones."""

    def __init__(
        self, directory: Directory, clocks: FetchClocks, ledger: Ledger, *, report: PullObserver, replace: bool
    ) -> None:
        self._directory = directory
        self._clocks = clocks
        self._ledger = ledger
        self._report = report
        self._replace = replace

    def take(self, part: Part, fetch: Fetch, arrivals: Arrived) -> None:
        """Put a complete day into its file, or stage it if the file also holds other days."""
        day, counted = fetch.day, Counted(arrivals.batches())
        fetched_ms = self._clocks.past_ms(fetch)
        ahead = is_ahead(day, fetch.confirmed_ms)
        if (fetch.is_forgotten or ahead) and not arrivals.has_events:
            self._ledger.nothing_learned(day, is_ahead=ahead)
            return
        self._choose_what_to_replace(fetch)
        new = arrivals.file()
        if not part.is_one_day:
            new = new or self._directory.write(STAGED_FORMAT, counted)
            part.stage(self._directory.stage(day, fetched_ms, new))
        elif not arrivals.has_events and not self._directory.file(part.name).exists():
            self._directory.drop(part.name, {day: fetched_ms})
            self._ledger.merged([day], new=0, written_bytes=None)
        elif new is None or not self._put_as_it_came(part.name, new, {day: fetched_ms}):
            self._merge(part.name, counted, {day: fetched_ms})
        events = new.record.events if new else counted.events
        self._ledger.fetched(day, events)
        self._report.fetched(day, events)

    def _choose_what_to_replace(self, fetch: Fetch) -> None:
        if not self._replace:
            return
        if fetch.replaces(self._clocks.began_ms):
            self._ledger.replaces(fetch.day)
        elif lies_within_history(fetch.day, self._clocks.began_ms):
            self._ledger.keeps(fetch.day)

    def fold(self, part: Part) -> None:
        """Merge the staged days of a part. Raises `ClientError` or `OSError`."""
        part.staged.sort(key=lambda one: one.day)
        trackpoint = self._directory.layout.trackpoint
        batches = (
            STAGED_FORMAT.read(one.path, EntryChecker(trackpoint, start_of(one.day), end_of(one.day)))
            for one in part.staged
        )
        self._merge(part.name, chain.from_iterable(batches), {one.day: one.fetched_ms for one in part.staged})
        self._directory.record()  # before the staged days are removed
        for one in part.staged:
            one.path.unlink()

    def _merge(self, name: str, fetched: Iterable[list[Entry]], days: dict[date, int]) -> None:
        """Merge days with the contents of their file, and replace the file unless nothing is new."""
        directory = self._directory
        path = directory.file(name)
        checker = EntryChecker(directory.layout.trackpoint, *bounds_of(name, directory.layout.split))
        held = directory.format.read(path, checker) if path.exists() else iter(())
        before = Counted(held)
        new = directory.write(
            directory.format, merged([_without(before, self._ledger.replaced_of(days)), iter(fetched)])
        )
        self._put(name, new, days, new.record.events - before.events, is_rewritten=checker.has_unsettled)

    def _put_as_it_came(self, name: str, new: NewFile, days: dict[date, int]) -> bool:
        """Use the file of a day that came in order if there is nothing to merge with. Return False otherwise.

        There is nothing to merge with if the day has no file, or if its file has the same contents.
        """
        directory = self._directory
        record = directory.record_of(name)
        if directory.file(name).exists():
            if record is None or record.sha256 != new.record.sha256 or not directory.is_intact(name, record):
                new.path.unlink()
                return False
            self._put(name, new, days, 0)
        else:
            self._put(name, new, days, new.record.events)
        return True

    def _put(self, name: str, new: NewFile, days: dict[date, int], added: int, *, is_rewritten: bool = False) -> None:
        """Replace a file, or remove it if it has no events, or leave it as it is if nothing is new."""
        directory = self._directory
        record = directory.record_of(name)
        if not new.record.events and (record is None or record.events):
            new.path.unlink()
            if directory.drop(name, days):
                self._report.removed(directory.name_of(name))
            self._ledger.merged(days, new=added, written_bytes=None)
            return
        changed = bool(added or is_rewritten or self._ledger.replaced_of(days)) or record is None
        if record is None or changed:
            record = new.record
            directory.put(name, new, days)
        else:
            new.path.unlink()
            directory.keep(days)
        self._ledger.merged(days, new=added, written_bytes=new.record.bytes if changed else None)
        self._report.written(directory.name_of(name), record, added, changed=changed)


def _without(batches: Iterable[list[Entry]], days: set[date]) -> Iterator[list[Entry]]:
    """Leave out the events of some days."""
    for batch in batches:
        kept = [entry for entry in batch if day_of(entry[0]) not in days] if days else batch
        if kept:
            yield kept
