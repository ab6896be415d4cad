"""Copies of the packs for a backup: a folder beside the copy of the database, which names them."""

from __future__ import annotations

import secrets
import shutil
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smsevents.catalog.attachment import is_store_needed
from smsevents.catalog.objects import pin, renew_pin, unpin
from smsevents.catalog.pack_store import check_replaced
from smsevents.errors import DamagedSegment, ObjectGone, StoreUnavailable
from smsevents.storage.files import FileStore
from smsevents.upkeep.collecting import PINNED_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from smsevents.catalog import Database

PACKS_ENDING = ".packs"
RENEWAL_CHECK_SECONDS = 60


def packs_beside(target: Path) -> Path:
    """Return the folder for the packs of a backup that is written to `target`."""
    return target.with_name(target.name + PACKS_ENDING)


class Pin:
    """Keeps all objects of the store, as long as it is renewed often enough."""

    def __init__(self, database: Database) -> None:
        """Pin the objects."""
        self._database = database
        self._name = f"backup {secrets.token_hex(8)}"
        self._renewed_ms = database.dialect.now_ms()
        expires = self._renewed_ms + PINNED_MAX_MS
        database.write(lambda connection: pin(connection, self._name, expires))

    def renew(self) -> None:
        """Let the pin last, if it is time. Raises `StoreUnavailable` if it has expired: objects may be gone."""
        now = self._database.dialect.now_ms()
        if 0 <= now - self._renewed_ms < PINNED_MAX_MS // 6:
            return
        self._renewed_ms = now
        if not self._database.write(lambda connection: renew_pin(connection, self._name, now, now + PINNED_MAX_MS)):
            raise StoreUnavailable("Copying took so long that packs may have been deleted meanwhile. Try again.")

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Let the pin last as long as the block, which may take hours. If that fails, the next `renew` raises."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEWAL_CHECK_SECONDS):
                with suppress(StoreUnavailable):
                    self.renew()

        thread = threading.Thread(target=renew, name="smsevents-pin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def remove(self) -> None:
        """Let objects be deleted again."""
        with suppress(StoreUnavailable):  # it expires by itself
            self._database.write(lambda connection: unpin(connection, self._name))


@contextmanager
def pinned(database: Database) -> Iterator[Pin | None]:
    """Keep all objects of the store for the block. Yield the pin, or None if there is no store that is needed."""
    with database.read() as connection:
        is_needed = is_store_needed(connection)
    if not is_needed:
        yield None
        return
    found = Pin(database)
    try:
        yield found
    finally:
        found.remove()


def copy_packs(database: Database, kept: Pin, named: Sequence[tuple[str, int]], folder: Path) -> int:
    """Copy the packs that a copy of the database names into a new folder, durably. Return their size in bytes.

    `named` has the key and the size of each in bytes.

    The objects must be pinned since before the database was copied, so packs that were replaced since are kept. Packs
    that it does not name are not copied: they may hold erased events. Raises `DamagedSegment` if a pack is missing or
    has another size than it should, `OSError` if the folder cannot be written, and `StoreUnavailable`.
    """
    shutil.rmtree(folder, ignore_errors=True)  # remains of a killed backup
    folder.mkdir(mode=0o700)
    copies = FileStore(folder)
    kept.renew()
    with database.read() as connection:
        store = database.packs(connection).store
    copied = 0
    for key, size in named:
        try:
            data = store.read(key, 0, size + 1)
        except ObjectGone as error:
            check_replaced(database, error)
            raise StoreUnavailable("A pack was deleted before it was copied. Make the backup again.") from error
        if len(data) != size:
            raise DamagedSegment(f"Pack {key} is damaged: it does not have {size} bytes.")
        copies.put(key, [data])
        copied += size
        kept.renew()
    return copied
