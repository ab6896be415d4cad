"""The sources of a reader's pages: the catalog, or a spill while more segments overlap than a page can hold."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from smsevents.catalog.stored import stored_after
from smsevents.segments.merge import page
from smsevents.segments.spill import Spill
from smsevents.wire.lines import end_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.merge import Page
    from smsevents.segments.segment import StoredSegment
    from smsevents.wire.lines import Entry


class PageSource(Protocol):
    """A source of pages."""

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page after an entry. It is `deep` if the next page is slow."""


class StoredPages(PageSource, Protocol):
    """A source of all pages of a log."""

    is_stepwise: bool  # a page without pieces may be followed by others, and the caller may stop between them

    def spilled(self, after: Entry) -> SpilledPages:
        """Merge the segments that overlap after an entry, up to the first gap between them."""


class CatalogPages:
    """Pages of a shop's segments in the catalog and its packs. Each page is read in its own transaction."""

    is_stepwise = False

    def __init__(self, database: Database, trackpoint: int, end_ms: int) -> None:
        """Read up to and including a time (Unix ms)."""
        self._database = database
        self._trackpoint = trackpoint
        self._end_ms = end_ms
        self._until = end_of(end_ms)

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page that follows an entry."""
        with self._database.read() as connection, closing(self._stored(connection, after)) as stored:
            return page(stored, after, self._until, page_max_bytes=max_bytes)

    def spilled(self, after: Entry) -> SpilledPages:
        """Merge the segments that overlap after an entry, up to the first gap between them."""
        with self._database.read() as connection, closing(self._stored(connection, after)) as stored:
            return SpilledPages(Spill(stored, after, self._until), self._until)

    def _stored(self, connection: Connection, after: Entry) -> Generator[StoredSegment, None, None]:
        return stored_after(self._database, connection, self._trackpoint, after, self._end_ms)


class SpilledPages:
    """Pages of a spill. The last one reaches to the end of the spill, and is no longer `deep`."""

    def __init__(self, spill: Spill, until: Entry) -> None:
        """Read a spill. `until` is the end of the window."""
        self._spill = spill
        self._until = until

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page that follows an entry."""
        found = page(self._spill.after(after), after, self._spill.reach, page_max_bytes=max_bytes)
        if found.after is not None:
            return replace(found, deep=True)
        reach = self._spill.reach
        return replace(found, after=reach if reach < self._until else None, deep=False)
