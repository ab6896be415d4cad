"""The log as a whole, held to a plain set over thousands of random steps."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smsevents.accounts.access import Access
from smsevents.catalog import Database, open_catalog
from smsevents.catalog.packs import keys_named, packs_of
from smsevents.segments.splice import unpack
from smsevents.storage.files import FileStore
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.upkeep.packing import pack_settled, unpack_shop
from smsevents.upkeep.retention import expire
from smsevents.upkeep.settling import Settling, compact_background
from smsevents.upkeep.statistics import statistics
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.examples import examples
from tests.support.lines import DAY_MS, line, model
from tests.support.logs import keys_in, log_at, open_with, store

pytestmark = pytest.mark.slow

TRACKPOINT = 4541245641234564
START = 1_790_000_000_000
USERS = ["1", "12", 'quo"te', "ž\u2028", "a/b"]

# few different times, so that equal ones, edges and overlaps are common
OFFSETS = st.integers(-92, 0).map(lambda days: days * DAY_MS) | st.integers(-30, 30) | st.integers(-HISTORY_MS - 3, 0)
BATCHES = st.lists(st.tuples(OFFSETS, st.sampled_from(USERS), st.booleans()), min_size=1, max_size=40)
PACKS = st.builds(
    PackSizes, target_bytes=st.integers(1, 4000), min_bytes=st.integers(1, 2000), max_bytes=st.integers(500, 5000)
)
SIZES = st.builds(Sizes, segment_bytes=st.integers(300, 3000), held_max_bytes=st.integers(600, 20_000), packs=PACKS)


class Machine(RuleBasedStateMachine):
    """Whatever is done to the log, in whatever order, an export gives the lines of the set."""

    @initialize(place=st.sampled_from(["database", "memory", "files"]))
    def open(self, place: str) -> None:
        """Begin with an empty shop, which keeps what has settled in the database, in memory or in files."""
        self.folder = Path(tempfile.mkdtemp(prefix="smsevents-machine-"))
        self.now = START
        self.lines: set[bytes] = set()
        self.store = None if place == "database" else MemoryStore() if place == "memory" else self._files()
        self.database = self._open()
        self.log = log_at(self.database, lambda: self.now)
        Access(self.database).add_shop(TRACKPOINT, "")

    def _files(self) -> FileStore:
        (self.folder / "packs").mkdir()
        return FileStore(self.folder / "packs")

    def _open(self) -> Database:
        return open_catalog(self.url) if self.store is None else open_with(self.url, self.store)

    @property
    def url(self) -> str:
        """The URL of the database."""
        return f"sqlite:///{self.folder / 'log.db'}"

    @rule(batch=BATCHES)
    def import_lines(self, batch: list[tuple[int, str, bool]]) -> None:
        """Import lines, some of them older than the history, some sent before."""
        lines = [
            line(TRACKPOINT, self.now + offset, user, node="VIP" if flow else None) for offset, user, flow in batch
        ]
        store(self.log, TRACKPOINT, lines)
        oldest = self.now - HISTORY_MS
        self.lines |= {one for (offset, _, _), one in zip(batch, lines, strict=True) if self.now + offset >= oldest}

    @rule(sizes=SIZES)
    def compact(self, sizes: Sizes) -> None:
        """Compact everything, as by hand."""
        compact_shop(self.database, TRACKPOINT, self.now, sizes=sizes)
        assert statistics(self.database, TRACKPOINT).overlapping == 0

    @rule(sizes=SIZES, days_later=st.integers(0, 5))
    def settle(self, sizes: Sizes, days_later: int) -> None:
        """Compact what settles or is worth it, as in the background, by a clock that may be days ahead."""
        later = self.now + days_later * DAY_MS
        compact_background(self.database, TRACKPOINT, self.now, Settling(sizes), now=later, old_id=2**62)

    @precondition(lambda self: self.store)
    @rule(sizes=SIZES, days=st.integers(-80, 1))
    def pack(self, sizes: Sizes, days: int) -> None:
        """Move what has settled into packs, up to some day."""
        pack_settled(self.database, TRACKPOINT, self.now, self.now + days * DAY_MS, sizes)

    @precondition(lambda self: self.store)
    @rule()
    def unpack(self) -> None:
        """Move all packs back into the database."""
        with self.database.read() as connection:
            packs = list(packs_of(connection, TRACKPOINT))
        assert unpack_shop(self.database, TRACKPOINT, packs)

    @precondition(lambda self: self.store)
    @rule(days_later=st.sampled_from([0, 1, 8]))
    def collect(self, days_later: int) -> None:
        """Delete what no pack names. After an hour nothing else is left."""
        assert collect(self.database, self.database.dialect.now_ms() + days_later * DAY_MS) is None
        if days_later:
            with self.database.read() as connection:
                assert self.store is not None
                assert keys_in(self.store) == set(keys_named(connection))

    @rule()
    def expire(self) -> None:
        """Delete what is older than the history."""
        expire(self.database, self.now)

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: str) -> None:
        """Erase a user; the answer counts at least the user's events that can still be exported."""
        theirs = {one for one in self.lines if one in set(self._lines_of(user))}
        erased = forget(self.database, TRACKPOINT, [user], self.now, block=False)
        assert erased.events >= len([one for one in theirs if self._is_exported(one)])
        assert erased.wiped
        self.lines -= theirs

    @rule(milliseconds=st.sampled_from([1, 20, DAY_MS, 40 * DAY_MS]))
    def restart_later(self, milliseconds: int) -> None:
        """Close the database and open it with a clock that went on."""
        self.database.close()
        self.now += milliseconds
        self.database = self._open()
        self.log = log_at(self.database, lambda: self.now)

    @rule(start=OFFSETS, length=st.integers(0, 5) | st.integers(0, HISTORY_MS))
    def export_window(self, start: int, length: int) -> None:
        """Export a window."""
        self._check_export(self.now + start, self.now + start + length)

    @invariant()
    def everything_is_there(self) -> None:
        """Export everything, and verify every segment."""
        if hasattr(self, "log"):
            self._check_export(self.now - HISTORY_MS, self.now + DAY_MS)
            assert not [one for one in verify(self.database, None) if one.damage]

    def _check_export(self, start: int, end: int) -> None:
        window = resolve(start, end, self.now)
        exported = b"".join(unpack(self.log.read(TRACKPOINT, window)))
        assert exported == model(self.lines, max(start, self.now - HISTORY_MS), end)

    def _lines_of(self, user: str) -> list[bytes]:
        mark = line(TRACKPOINT, 0, user).split(b",")[1]
        return [one for one in self.lines if mark + b"," in one]

    def _is_exported(self, one: bytes) -> bool:
        return one in model(self.lines, self.now - HISTORY_MS, self.now + DAY_MS)

    def teardown(self) -> None:
        """Remove the database."""
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)


Machine.TestCase.settings = settings(max_examples=examples(25), stateful_step_count=50, deadline=None)
TestLog = Machine.TestCase
