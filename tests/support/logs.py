"""A log without a server."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.segments import headers_of
from smsevents.clock.system import now_ms
from smsevents.log.log import Log
from smsevents.log.recorder import append_segments
from smsevents.segments.segment import pack
from smsevents.segments.splice import unpack
from smsevents.upkeep.compaction import DEFAULT_SIZES, compact_shop, worth_merging
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.databases import file_of
from tests.support.ingests import CertainTime
from tests.support.lines import DAY_MS, body_of, model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.upkeep.compaction import Compacted, Sizes
    from smsevents.wire.lines import Entry


@contextmanager
def opened_log(url: str, now: int | None = None) -> Iterator[Log]:
    """Open the log of a database, with a clock that stands still if `now` is given."""
    database = open_catalog(url)
    try:
        yield log_at(database, now_ms if now is None else lambda: now)
    finally:
        database.close()


def log_at(database: Database, clock: Callable[[], int]) -> Log:
    """Return the log of a database by a clock that is believed, whatever it says (Unix ms)."""
    return Log(database, clock, CertainTime(clock))


def store_segments(url: str, trackpoint: int, batches: Iterable[Iterable[Entry]]) -> None:
    """Store each batch of sorted entries as segments of its own, unchecked, as earlier versions might have."""
    database = open_catalog(url)
    try:
        for batch in batches:
            append_segments(database, trackpoint, pack(batch)).result()
    finally:
        database.close()


def store(log: Log, trackpoint: int, lines: Iterable[bytes]) -> None:
    """Store lines as one import, without a server."""
    with log.recording(trackpoint, gzip=False) as recorder:
        recorder.feed(body_of(lines))
        _, stored = recorder.finish()
        stored.result()


class Held:
    """A database with one shop, used without a server, beside the set of lines that it must hold."""

    trackpoint = 4541245641234564

    def __init__(self, url: str) -> None:
        """Create the database; the clock stands at `now` until a test sets it."""
        self.url = url
        self.now = 1_790_000_000_000
        self.lines: set[bytes] = set()
        self.database = open_catalog(url)
        self.log = log_at(self.database, lambda: self.now)
        Access(self.database).add_shop(self.trackpoint, "")

    @property
    def path(self) -> Path:
        """The path of the database file."""
        return file_of(self.database)

    def put(self, lines: Iterable[bytes]) -> None:
        """Store lines, all of them within the history, as one import."""
        lines = list(lines)
        store(self.log, self.trackpoint, lines)
        self.lines.update(lines)

    def exported(self) -> bytes:
        """Export everything."""
        window = resolve(self.now - HISTORY_MS, self.now + DAY_MS, self.now)
        return b"".join(unpack(self.log.read(self.trackpoint, window)))

    def expected(self) -> bytes:
        """Return the expected export of everything."""
        return model(self.lines, self.now - HISTORY_MS, self.now + DAY_MS)

    def headers(self) -> list[SegmentHeader]:
        """Return the headers of the segments, in order of their first entry."""
        with self.database.read() as connection:
            return list(headers_of(connection, self.trackpoint))

    def compact(self, sizes: Sizes = DEFAULT_SIZES, *, everything: bool = True) -> Compacted:
        """Compact the shop."""
        choose = None if everything else partial(worth_merging, sizes=sizes)
        return compact_shop(self.database, self.trackpoint, self.now, choose, sizes)

    def damages(self) -> list[str]:
        """Return the damages that `verify` finds."""
        return [one.damage for one in verify(self.database, None) if one.damage]
