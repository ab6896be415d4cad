"""A log without a server."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from smsevents.accounts.access import Access
from smsevents.catalog import Database, open_catalog
from smsevents.catalog.attachment import attach
from smsevents.catalog.markers import is_pack
from smsevents.catalog.packs import packs_of
from smsevents.catalog.schema import migrate
from smsevents.catalog.segments import headers_of
from smsevents.clock.system import now_ms
from smsevents.log.log import Log
from smsevents.log.recorder import append_segments
from smsevents.segments.segment import pack
from smsevents.segments.splice import unpack
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.groups import DEFAULT_SIZES, PackSizes, Sizes, worth_merging
from smsevents.upkeep.packing import pack_settled
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.databases import file_of
from tests.support.ingests import CertainTime
from tests.support.lines import DAY_MS, body_of, model, random_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from smsevents.segments.header import SegmentHeader
    from smsevents.storage.base import ByteStore
    from smsevents.upkeep.groups import Compacted
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


TINY = Sizes(packs=PackSizes(target_bytes=600, min_bytes=1, max_bytes=1200))


def open_with(url: str, store: ByteStore) -> Database:
    """Open a database, created if necessary, that uses a store for its packs."""
    database = Database(url, open_store=lambda _: store)
    migrate(database)
    attach(database, store.url)
    return database


def keys_in(store: ByteStore) -> set[str]:
    """Return the keys of all objects in a store but its marker and the records of erasures."""
    return {one.key for one in store.objects() if is_pack(one.key)}


class Held:
    """A database with one shop, used without a server, beside the set of lines that it must hold."""

    trackpoint = 4541245641234564

    def __init__(self, url: str, store: ByteStore | None = None) -> None:
        """Create the database; the clock stands at `now` until a test sets it. With a store, it is used for packs."""
        self.url = url
        self.now = 1_790_000_000_000
        self.lines: set[bytes] = set()
        self.database = open_catalog(url) if store is None else open_with(url, store)
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

    def packs(self) -> list[SegmentHeader]:
        """Return the headers of the packs, in order of their first entry."""
        with self.database.read() as connection:
            return list(packs_of(connection, self.trackpoint))

    def pack(self, sizes: Sizes = TINY) -> Compacted:
        """Pack everything that overlaps nothing."""
        return pack_settled(self.database, self.trackpoint, self.now, self.now + DAY_MS, sizes)

    def collect(self, after_ms: int = 2 * DAY_MS) -> str | None:
        """Collect objects, some time after now."""
        return collect(self.database, self.database.dialect.now_ms() + after_ms)

    def keys_named(self) -> set[str]:
        """Return the keys of the packs that the catalog names."""
        return {pack.place.key for pack in self.packs()}

    def compact(self, sizes: Sizes = DEFAULT_SIZES, *, everything: bool = True) -> Compacted:
        """Compact the shop."""
        choose = None if everything else partial(worth_merging, sizes=sizes)
        return compact_shop(self.database, self.trackpoint, self.now, choose, sizes)

    def damages(self) -> list[str]:
        """Return the damages that `verify` finds."""
        return [one.damage for one in verify(self.database, None) if one.damage]


FEW_LINES = replace(TINY, segment_bytes=900)


def filled(held: Held, count: int = 400, days: int = 20, seed: int = 1) -> list[bytes]:
    """Import events of many days in order, so that no segments overlap, and pack them. Return the lines."""
    lines = random_lines(
        random.Random(seed),  # noqa: S311 -- invented data
        held.trackpoint,
        count,
        held.now - (days + 3) * DAY_MS,
        held.now - 3 * DAY_MS,
    )
    held.put(lines)
    held.compact(FEW_LINES)
    held.pack(FEW_LINES)
    assert len(held.packs()) > 2
    return lines
