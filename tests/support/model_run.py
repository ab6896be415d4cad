"""A run of the model: processes of every kind work on one log at the same time, and may be killed at every step."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from smsevents.accounts.access import Access
from smsevents.catalog import Database
from smsevents.catalog.attachment import attach
from smsevents.catalog.objects import State, count_objects
from smsevents.catalog.packs import keys_named
from smsevents.catalog.schema import migrate
from smsevents.errors import StoreUnavailable
from smsevents.segments.splice import unpack
from smsevents.upkeep.collecting import collect, reconcile
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.packing import pack_settled
from smsevents.upkeep.retention import expire
from smsevents.upkeep.verification import verify
from smsevents.wire.window import Window
from tests.support.actors import (
    DAYS,
    ERASED,
    SHOP,
    SIZES,
    Auditor,
    Collector,
    Compactor,
    Eraser,
    Expirer,
    Exporter,
    Importer,
    Packer,
    Stage,
)
from tests.support.lines import DAY_MS
from tests.support.logs import keys_in, store
from tests.support.perils import Journal, Killed, LatePuts, Life, PerilousDatabase
from tests.support.plain_model import PlainModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.storage.base import ByteStore
    from tests.support.actors import Actor

ENDS_MAX_SECONDS = 120
EVENTS_AT_FIRST = 1_200
LATER_MS = 10 * DAY_MS  # than everything that the collection waits for


class Place(NamedTuple):
    """Where the log is: the URL of an empty database, that of an empty store, and what opens the store."""

    database_url: str
    store_url: str
    open_store: Callable[[str], ByteStore]


class Run:
    """One run by a seed: which actions come when, which steps are slow, and where processes are killed.

    How threads take turns is not repeated by the seed, so a fault may need several runs to come again.
    """

    def __init__(self, place: Place, seed: int) -> None:
        """Create the tables and the shop, and attach the store."""
        self.seed = seed
        self.journal = Journal()
        self._place = place
        self._stopping = threading.Event()
        self._late = LatePuts()
        self._faults: list[str] = []
        with closing(self._opened()) as database:
            migrate(database)
            attach(database, place.store_url)
            Access(database).add_shop(SHOP, "")
            self.model = PlainModel(oldest_ms=0)
            self._stage = Stage(self.model, self.journal, database.dialect.now_ms())
            self._fill(database)
        self._importers = [Importer(self._stage), Importer(self._stage)]
        users = [f"user-{number}." for number in range(ERASED)]
        self._eraser = Eraser(self._stage, users)
        self._users = users

    def _opened(self) -> Database:
        return Database(self._place.database_url, open_store=self._place.open_store)

    def _fill(self, database: Database) -> None:
        """Begin with packs of all days."""
        chance = random.Random(self.seed)  # noqa: S311 -- invented data
        events = [self._stage.event(chance, chance.randrange(DAYS)) for _ in range(EVENTS_AT_FIRST)]
        self.model.send(events)
        store(self._stage.log(database), SHOP, [one.line for one in events])
        self.model.acknowledge(events)
        compact_shop(database, SHOP, self._stage.old_by_ms, None, SIZES)
        pack_settled(database, SHOP, self._stage.old_by_ms, self._stage.now + DAY_MS, SIZES)

    def play(self, seconds: float) -> None:
        """Let all processes work for some seconds. Raises `AssertionError` for the first fault."""
        actors: dict[str, Actor] = {
            "importer 1": self._importers[0],
            "importer 2": self._importers[1],
            "packer 1": Packer(self._stage),
            "packer 2": Packer(self._stage),
            "compactor 1": Compactor(self._stage),
            "compactor 2": Compactor(self._stage),
            "eraser": self._eraser,
            "retention": Expirer(self._stage),
            "collector 1": Collector(self._stage),
            "collector 2": Collector(self._stage),
            "exporter 1": Exporter(self._stage),
            "exporter 2": Exporter(self._stage),
            "auditor": Auditor(self._stage),
        }
        threads = [
            threading.Thread(target=self._work, args=(name, actor), name=name, daemon=True)
            for name, actor in actors.items()
        ]
        for thread in threads:
            thread.start()
        self._stopping.wait(seconds)
        self._stopping.set()
        ends = time.monotonic() + ENDS_MAX_SECONDS
        for thread in threads:
            thread.join(max(0, ends - time.monotonic()))
            if thread.is_alive():
                self._faults.append(f"{thread.name} hangs")
        self._check_no_faults()

    def _work(self, name: str, actor: Actor) -> None:
        chance = random.Random(f"{self.seed} {name}")  # noqa: S311 -- a run can be repeated
        while not self._stopping.is_set():
            try:
                self._live(name, actor, chance)
            except Killed:
                continue
            except BaseException as error:  # noqa: BLE001 -- `play` raises it
                self._faults.append(f"{name}: {type(error).__name__}: {error}")
                self._stopping.set()

    def _live(self, name: str, actor: Actor, chance: random.Random) -> None:
        """Act in one process until it is killed or everything stops."""
        life = Life(name, chance, self.journal, actor.kill_ratio)
        with closing(PerilousDatabase(self._place.database_url, life, self._place.open_store, self._late)) as database:
            while not self._stopping.is_set():
                if chance.random() < 0.1:
                    self.journal.count("late objects", self._late.take_effect())
                try:
                    actor.act(database, chance)
                except StoreUnavailable as error:
                    self.journal.note(name, f"refused: {error}")
                    self.journal.count(f"refused: {type(error).__name__}")
                self._stopping.wait(chance.uniform(0, actor.pause_max_seconds))

    def _check_no_faults(self) -> None:
        if self._faults:
            raise AssertionError(self._told("; ".join(self._faults)))

    def settle(self) -> None:
        """Do what is left to do in a process that nothing happens to, and compare the log with the model."""
        with closing(self._opened()) as database:
            for importer in self._importers:
                for body in importer.doubtful:
                    store(self._stage.log(database), SHOP, [one.line for one in body])
                    self.model.acknowledge(body)
            for user in self._users:
                self.model.begin_erasure(user)
                forget(database, SHOP, [user], database.dialect.now_ms(), block=True)
                self.model.end_erasure(user)
            assert self._exported(database) == self.model.final(), self._told("before the last upkeep")
            now = database.dialect.now_ms()
            self._late.take_effect()
            compact_shop(database, SHOP, self._stage.old_by_ms, None, SIZES)
            pack_settled(database, SHOP, self._stage.old_by_ms, self._stage.now + DAY_MS, SIZES)
            expire(database, self._stage.old_by_ms)
            collect(database, now + LATER_MS)
            reconcile(database, now + LATER_MS)
            collect(database, now + LATER_MS)
            assert self._exported(database) == self.model.final(), self._told("after the last upkeep")
            assert [one.damage for one in verify(database, None) if one.damage] == [], self._told("damage")
            self._check_objects(database)

    def _check_objects(self, database: Database) -> None:
        """Check that the objects are those of the packs, that each has a row, and that no row is left."""
        with database.read() as connection:
            objects = keys_in(database.packs(connection).store)
            named = set(keys_named(connection))
            counts = [count_objects(connection, state)[0] for state in State]
        assert objects == named, self._told("objects that are not packs, or packs without an object")
        assert counts == [0, len(named), 0], self._told("rows of objects")

    def _exported(self, database: Database) -> bytes:
        window = Window(self.model.oldest_ms, self._stage.now)  # what has expired may still be there
        return b"".join(unpack(self._stage.log(database).read(SHOP, window)))

    def _told(self, where: str) -> str:
        return f"The model failed with seed {self.seed}: {where}.\nThe last steps:\n{self.journal}"

    def __str__(self) -> str:
        return self._told("too little happened")
