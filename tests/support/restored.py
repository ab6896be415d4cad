"""A shop whose database can be put back to a backup."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

from smsevents.catalog import Database, open_catalog
from smsevents.catalog.attachment import adopt
from smsevents.catalog.schema import migrate
from smsevents.catalog.shops import blocked_digests
from smsevents.storage.files import FileStore
from smsevents.upkeep.backup import backup
from smsevents.upkeep.erasure_repeats import repeat_erasures
from smsevents.upkeep.pack_copies import packs_beside
from smsevents.wire.events import digest_of
from tests.support.lines import DAY_MS, line
from tests.support.logs import Held, log_at

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.storage.base import ByteStore

EVENTS = 6_000
EVERYBODY = ["u1", "u2", "u3", 'quo"te', "Žluťoučký kůň", "line\u2028end"]


class Shop(Held):
    """A shop with events of several users, whose database can be put back to a backup of it."""

    def __init__(self, folder: Path, store: ByteStore | None = None) -> None:
        """Fill the shop."""
        super().__init__(f"sqlite:///{folder / 'log.db'}", store)
        self.store = store
        self._folder = folder
        self._backups = 0
        for number, user in enumerate(EVERYBODY):
            self.put([line(self.trackpoint, self.now - number - turn * DAY_MS, user) for turn in range(4)])

    def back_up(self) -> Path:
        """Make a backup, and return its path."""
        self._backups += 1
        target = self._folder / f"backup{self._backups}.db"
        backup(self.database, target, self.now)
        return target

    def restore(self, backed_up: Path) -> None:
        """Put a backup in the place of the database, as docs/operating.md says."""
        path = self.path
        self.database.close()
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        shutil.copy(backed_up, path)
        self.database = self.opened()
        if self.store is not None:
            adopt(self.database, self.store.url, copies=FileStore(packs_beside(backed_up)))
        self.log = log_at(self.database, lambda: self.now)

    def opened(self) -> Database:
        """Open the database once more."""
        if self.store is None:
            return open_catalog(self.url)
        store = self.store
        database = Database(self.url, open_store=lambda _: store)
        migrate(database)
        return database

    def repeat(self) -> tuple[int, int]:
        """Repeat erasures. Return how many, and how many events they removed."""
        done = repeat_erasures(self.database, self.now)
        assert done.unreadable == 0
        return done.erasures, done.events

    def users(self) -> set[str]:
        """Return the users in the export."""
        exported = self.exported()
        return {user for user in EVERYBODY if f'"userId":{_encoded(user)}'.encode() in exported}

    def blocked(self) -> set[str]:
        """Return who is blocked."""
        with self.database.read() as connection:
            found = blocked_digests(connection, self.trackpoint)
        return {user for user in EVERYBODY if digest_of(self.trackpoint, user) in found}


def _encoded(user: str) -> str:
    return line(1, 0, user).decode().partition('"userId":')[2].partition(',"status"')[0]


def lines_of_users(trackpoint: int, now: int) -> list[bytes]:
    """Return events of 50 users, `user 0` and so on, of some days before `now` (Unix ms): more than a pack needs."""
    chance = random.Random(7)  # noqa: S311 -- invented data
    return [
        line(
            trackpoint,
            now - 3 * DAY_MS - chance.randrange(5 * DAY_MS),
            f"user {chance.randrange(50)}",
            campaign=f"{chance.getrandbits(1800):x}",
        )
        for _ in range(EVENTS)
    ]
