"""The logs of all shops in one database. Each import gets a recorder, and each export a reader."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from smsevents.clock.system import Clocks
from smsevents.log.blocked import BlockedUsers
from smsevents.log.filtered import FilteredReader, selection_of
from smsevents.log.ingest import NO_LIMITS
from smsevents.log.reader import Reader
from smsevents.log.recorder import Recorder
from smsevents.log.refusals import BODY
from smsevents.timekeeper import Timekeeper
from smsevents.wire.event_filter import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog import Database
    from smsevents.log.filtered import AnyReader
    from smsevents.log.ingest import Limits
    from smsevents.log.joining import Joining
    from smsevents.log.recorder import TimeJudge
    from smsevents.log.refusals import Origin
    from smsevents.wire.event_filter import EventFilter
    from smsevents.wire.window import Window


class Log:
    """The logs of all shops in one database."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] | None = None,
        timekeeper: TimeJudge | None = None,
        joining: Joining | None = None,
    ) -> None:
        """Use a database, a clock in Unix milliseconds, and a timekeeper that judges this clock.

        The default clock is that of the database. With `joining`, small imports share segments.
        """
        self._database = database
        self.now = clock or database.dialect.now_ms
        self._time = timekeeper or Timekeeper(database, Clocks(wall_ms=self.now))
        self._joining = joining
        self.blocked = BlockedUsers(database)

    def recording(
        self,
        trackpoint: int,
        *,
        gzip: bool,
        limits: Limits = NO_LIMITS,
        origin: Origin = BODY,
        skip_impossible: bool = False,
    ) -> closing[Recorder]:
        """Open a recorder of one import for a shop, for a `with` statement. `Recorder` explains the parameters."""
        recorder = Recorder(
            self._database,
            self._time,
            trackpoint,
            gzip=gzip,
            limits=limits,
            origin=origin,
            skip_impossible=skip_impossible,
            blocked=self.blocked,
            joining=self._joining,
        )
        return closing(recorder)

    def read(self, trackpoint: int, window: Window, wanted: EventFilter = EVERYTHING) -> AnyReader:
        """Return a reader of a shop's events in the window that match the filter."""
        if not wanted:
            return Reader(self._database, trackpoint, window)
        return FilteredReader(Reader(self._database, trackpoint, window, selection_of(wanted)), wanted)
