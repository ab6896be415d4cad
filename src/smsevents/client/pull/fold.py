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
    from smsevents.client.pull.ledger import Ledger
    from smsevents.client.pull.schedule import Part
    from smsevents.client.pull.sort import Sorter
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

    def take(self, fetch: Fetch, part: Part, sorter: Sorter) -> None:
        """Put a complete day into its file, or stage it if the file also holds other days."""
        day, counted = fetch.day, Counted(sorter.batches())
        fetched_ms = self._clocks.past_ms(fetch)
        ahead = is_ahead(day, fetch.confirmed_ms)
        if (fetch.is_forgotten or ahead) and not sorter.has_entries:
            self._ledger.nothing_learned(day, is_ahead=ahead)
            return
        self._choose_what_to_replace(fetch)
        if part.is_one_day:
            self._merge(part.name, counted, {day: fetched_ms})
        else:
            part.stage(self._directory.stage(day, fetched_ms, counted))
        self._ledger.fetched(day, counted.events)
        self._report.fetched(day, counted.events)

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
        for one in part.staged:
            one.path.unlink()

    def _merge(self, name: str, fetched: Iterable[list[Entry]], days: dict[date, int]) -> None:
        """Merge days with the contents of their file, and replace the file unless nothing is new."""
        directory = self._directory
        path = directory.file(name)
        checker = EntryChecker(directory.layout.trackpoint, *bounds_of(name, directory.layout.split))
        held = directory.format.read(path, checker) if path.exists() else iter(())
        replaced = self._ledger.replaced_of(days)
        before = Counted(held)
        new = directory.write(directory.format, merged([_without(before, replaced), iter(fetched)]))
        added = new.record.events - before.events
        record = directory.record_of(name)
        if not new.record.events and (record is None or record.events):
            new.path.unlink()
            if directory.drop(name, days):
                self._report.removed(directory.name_of(name))
            self._ledger.merged(days, new=added, written_bytes=None)
            return
        changed = bool(added or replaced or checker.has_unsettled) or record is None
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
