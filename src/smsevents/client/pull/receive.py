"""Receives one day from the server: each line checked, and in a file as far as it comes in order."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from smsevents.client.pull.arrivals import Arrivals
from smsevents.client.pull.clocks import Fetch
from smsevents.client.pull.days import end_of, start_of
from smsevents.client.pull.lines import EntryChecker, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date

    from smsevents.client.filters import Filter
    from smsevents.client.head import ExportHead
    from smsevents.client.pull.drafts import Drafts, NewFile
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.terms import Source
    from smsevents.wire.lines import Entry


class Wanted(NamedTuple):
    """Which events are accepted. `has_columns` is true if they become rows (see `lines.settled`)."""

    trackpoint: int
    where: Filter
    has_columns: bool


class Heard(NamedTuple):
    """What has just arrived: how many events, how many bytes, and the newest date so far, in Unix milliseconds."""

    events: int
    size_bytes: int
    newest_ms: int


class Arrived(Protocol):
    """What has arrived of a day; see `Arrivals`."""

    @property
    def has_events(self) -> bool:
        """Whether any event has come."""

    def file(self) -> NewFile | None:
        """Complete the new file. Return None if the events did not come in order, or if there are none."""

    def batches(self) -> Iterator[list[Entry]]:
        """Return all entries in batches, sorted and without duplicates."""


class Receiver(Protocol):
    """A way to receive a day."""

    def receive(self, day: date, format_: Format, sent_ms: int) -> AbstractContextManager[tuple[Fetch, Arrived]]:
        """Receive a day completely, to be written in a format. At the end of the block, nothing is left of it.

        `sent_ms` is the time by this machine's clock. Raises `ClientError` and `OSError`.
        """


class HereReceiver:
    """Receives in the thread that calls. Thread-safe."""

    def __init__(self, source: Source, wanted: Wanted, drafts: Drafts, heard: Callable[[Heard], None]) -> None:
        """Ask a source; `heard` is called for all that arrives, also for what a filter leaves out."""
        self._source = source
        self._wanted = wanted
        self._drafts = drafts
        self._heard = heard

    @contextmanager
    def receive(self, day: date, format_: Format, sent_ms: int) -> Iterator[tuple[Fetch, Arrived]]:
        """Receive a day."""
        start_ms, end_ms = start_of(day), end_of(day)
        trackpoint, where, has_columns = self._wanted
        checker = EntryChecker(trackpoint, start_ms, end_ms, has_columns=has_columns)
        heads: list[ExportHead] = []
        choose = where.chooser()
        with Arrivals(self._drafts, format_) as arrivals:
            source = self._source(start_ms, end_ms, on_head=heads.append, in_arrow=format_.is_arrow and not where)
            with closing(source) as batches:
                for batch in batches:
                    lines = checker.received(batch)
                    arrivals.add(Lines.of(choose(lines.entries, batch.events)) if where else lines)
                    self._heard(Heard(len(batch), len(batch.block), checker.newest_ms))
            yield Fetch(day, sent_ms, heads[-1] if heads else None), arrivals
