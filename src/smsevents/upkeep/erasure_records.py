"""The record of erasures, which is outside of the database: a restored backup finds there what was erased since.

Each erasure leaves one small object for each user, durably, before it is reported as done. Blocking and unblocking do,
too. The database remembers the names of the records that it knows. So a database that finds a record that it does not
know is older than that erasure, and repeats it (`erasure_repeats.py`).

**Where.** In the folder beside a SQLite file (`Dialect.erasures_folder`), and in the store of packs. A database that
has both writes both, and reads both.

**What.** The name of an object says it all: when, which shop, what was done, and the digest of the user, which is
sealed. Digests of a few million possible user ids can be tried one after the other, so a plain digest would hide
nothing. It is sealed with a random key that only the database and its backups have. Someone who has only the records
learns how many users of which shop were erased, and when, but not even whether two records are about the same user.
Someone who also has the database can try user ids, as with blocked users.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from smsevents.catalog.attachment import is_store_needed, store_to_change
from smsevents.catalog.erasures import (
    add_known,
    forget_known,
    forgotten_before_ms,
    known_among,
    known_names,
    newest_known_ms,
    sealing_key,
)
from smsevents.catalog.markers import ERASURES_PREFIX
from smsevents.catalog.shops import all_blocked
from smsevents.errors import InvalidRequest, StoreFull, StoreUnavailable
from smsevents.storage.files import FOLDERS_MODE, FileStore
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.storage.base import ByteStore

ERASURES_KEPT_DAYS = 35
_CHECK_BYTES = 16
_DIGEST_BYTES = 32

_name = re.compile(
    rf"(?P<at>\d{{1,15}})-(?P<shop>\d{{1,19}})-(?P<act>erase|block|allow)-(?P<key>[0-9a-f]{{8}})"
    rf"-(?P<check>[0-9a-f]{{{2 * _CHECK_BYTES}}})(?P<sealed>[0-9a-f]{{{2 * _DIGEST_BYTES}}})"
)


class Act(StrEnum):
    """What was done: the user's events were erased; also blocked; or the user was only unblocked."""

    ERASE = "erase"
    BLOCK = "block"
    ALLOW = "allow"


@dataclass(frozen=True)
class ErasureRecord:
    """What was done about a user of a shop, and when (Unix ms). `digest` is that of `wire.events.digest_of`."""

    at_ms: int
    trackpoint: int
    act: Act
    digest: bytes

    def name(self, key: bytes) -> str:
        """Return the name of the record, which says all of it, sealed with a key."""
        told = f"{self.at_ms}-{self.trackpoint}-{self.act}"
        check = self._check(key, told)
        sealed = bytes(a ^ b for a, b in zip(self.digest, _pad(key, check), strict=True))
        return f"{told}-{_mark_of(key)}-{check.hex()}{sealed.hex()}"

    def _check(self, key: bytes, told: str) -> bytes:
        return hmac.digest(key, b"check\0%b\0%b" % (told.encode(), self.digest), hashlib.sha256)[:_CHECK_BYTES]

    @classmethod
    def opened(cls, key: bytes, name: str) -> ErasureRecord | None:
        """Return the record that a name tells of, or None if it was sealed with another key, or was changed."""
        parts = _name.fullmatch(name)
        if parts is None or parts["key"] != _mark_of(key):
            return None
        check = bytes.fromhex(parts["check"])
        digest = bytes(a ^ b for a, b in zip(bytes.fromhex(parts["sealed"]), _pad(key, check), strict=True))
        found = cls(int(parts["at"]), int(parts["shop"]), Act(parts["act"]), digest)
        return found if found.name(key) == name else None


def _pad(key: bytes, check: bytes) -> bytes:
    return hmac.digest(key, b"pad\0" + check, hashlib.sha256)


def _mark_of(key: bytes) -> str:
    """Return what tells keys apart, and says nothing else of them."""
    return hmac.digest(key, b"mark", hashlib.sha256)[:4].hex()


class RecordsFolder(FileStore):
    """A folder of records. It must exist."""

    def __init__(self, folder: Path) -> None:
        """Use a folder. Raises `StoreUnavailable`."""
        super().__init__(folder.absolute(), "the record of erasures")


def copy_in(folder: Path) -> RecordsFolder:
    """Return a folder that has a copy of the record. Raises `StoreUnavailable`.

    Raises `InvalidRequest` if records are elsewhere in it, as when the wrong folder was copied: they would be missed.
    """
    found = RecordsFolder(folder)
    for one in found.objects():
        path, _, name = one.key.rpartition("/")
        if _name.fullmatch(name) and one.key != ERASURES_PREFIX + name:
            raise InvalidRequest(
                f"Records of erasures are in {folder / path}, where this command does not look. Move them into"
                f" {folder / ERASURES_PREFIX.rstrip('/')}, then run the same command again."
            )
    return found


@dataclass(frozen=True)
class Unknown:
    """Records that a database does not know: by their names, and how many of them it cannot open."""

    records: dict[str, ErasureRecord]
    unreadable: int


def note(database: Database, trackpoint: int, digests: Collection[bytes], act: Act, now: int) -> None:
    """Record what was done about users at `now` (Unix ms), durably. Raises `StoreUnavailable`: do it again then.

    The database knows the records first. So one that nobody was told of, because the process was killed in between, is
    not repeated later, when the user may have new events.
    """

    def add(connection: Connection) -> list[str]:
        at_ms = max(now, newest_known_ms(connection) + 1)  # later than all others, whatever the clock says
        key = sealing_key(connection)
        names = [ErasureRecord(at_ms, trackpoint, act, digest).name(key) for digest in sorted(digests)]
        add_known(connection, ((name, at_ms) for name in names))
        return names

    names = database.write(add)
    try:
        for place in _places(database, writing=True, create=True):
            for name in names:
                _put(place, name)
    except StoreUnavailable as error:
        raise (StoreFull if isinstance(error, StoreFull) else StoreUnavailable)(
            f"This was done, but it could not be recorded for the time after a restore. {error} Then do it again.",
            "This was done, but the server could not record it. Try again later, and tell its operator.",
        ) from error


def unknown(connection: Connection, places: Sequence[ByteStore]) -> Unknown:
    """Return the records in places that the database does not know, in the order of their times.

    Those that it has forgotten are not among them: a place that was away, or a copy, may have them longer. Raises
    `StoreUnavailable`.
    """
    key, since_ms = sealing_key(connection), forgotten_before_ms(connection)
    names = {name for place in places for name in _names_in(place) if _time_of(name) >= since_ms}
    strange = names - known_among(connection, names)
    found = {name: record for name in strange if (record := ErasureRecord.opened(key, name))}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].at_ms, item[0])))
    return Unknown(ordered, len(strange) - len(found))


def known_of(connection: Connection, trackpoint: int) -> Iterator[ErasureRecord]:
    """Go through the records of a shop that the database knows."""
    key = sealing_key(connection)
    for name in known_names(connection):
        record = ErasureRecord.opened(key, name)
        if record is not None and record.trackpoint == trackpoint:
            yield record


def complete(database: Database, now: int) -> int:
    """Record at `now` (Unix ms) who is blocked, or not any more, where the record says otherwise. Return how many.

    A server of a version without the record may have decided it, as during an upgrade. What was blocked before the
    time that the record covers is left out. Erasures must have been repeated before. `keep` then writes the records to
    their places.
    """

    def add(connection: Connection) -> int:
        key, since_ms = sealing_key(connection), forgotten_before_ms(connection)
        opened = (ErasureRecord.opened(key, name) for name in known_names(connection))
        decided = sorted((one for one in opened if one and one.act is not Act.ERASE), key=lambda one: one.at_ms)
        last = {(one.trackpoint, one.digest): one for one in decided}
        blocked = {(trackpoint, digest): at_ms for trackpoint, digest, at_ms in all_blocked(connection)}
        lacking = [
            (user, Act.BLOCK)
            for user, blocked_ms in blocked.items()
            if blocked_ms >= since_ms
            and ((one := last.get(user)) is None or one.act is Act.ALLOW or one.at_ms < blocked_ms)
        ] + [(user, Act.ALLOW) for user, one in last.items() if one.act is Act.BLOCK and user not in blocked]
        at_ms = max(now, newest_known_ms(connection) + 1)
        names = [ErasureRecord(at_ms, trackpoint, act, digest).name(key) for (trackpoint, digest), act in lacking]
        add_known(connection, ((name, at_ms) for name in names))
        return len(names)

    return database.write(add)


def places_to_read(database: Database) -> list[ByteStore]:
    """Return the places that records may be in. Raises `StoreUnavailable`."""
    return list(_places(database, writing=False))


def keep(database: Database, old_by_ms: int, kept_days: int = ERASURES_KEPT_DAYS) -> None:
    """Delete records from more than `kept_days` before `old_by_ms` (Unix ms), and write those that a place lacks.

    A place lacks records if it was not in use yet, or was away. Nothing is deleted if `old_by_ms` is 0, as in doubt.
    Raises `StoreUnavailable`.
    """
    before_ms = old_by_ms - kept_days * DAY_MS
    with database.read() as connection:
        known = set(known_names(connection))
    for place in _places(database, writing=True, create=bool(known)):
        there = set(_names_in(place))
        old = [name for name in there if _time_of(name) < before_ms]
        place.delete([ERASURES_PREFIX + name for name in old])
        for name in sorted(known - there):
            if _time_of(name) >= before_ms:
                _put(place, name)
    database.write(lambda connection: forget_known(connection, before_ms))


def copy_to_folder(database: Database, folder: Path) -> int:
    """Write the records that the database knows into a folder, which is created, and delete those that it forgot.

    Return how many the folder has now. Raises `StoreUnavailable`.
    """
    with database.read() as connection:
        known, since_ms = set(known_names(connection)), forgotten_before_ms(connection)
    place = _made(folder)
    there = set(_names_in(place))
    old = {name for name in there if _time_of(name) < since_ms}
    for name in sorted(known - there):
        _put(place, name)
    gone = set(place.delete([ERASURES_PREFIX + name for name in sorted(old)]))
    return sum(ERASURES_PREFIX + name not in gone for name in known | there)


def _places(database: Database, *, writing: bool, create: bool = False) -> Iterator[ByteStore]:
    """Go through the places of a database. With `create`, the folder beside it is created if it is missing."""
    folder = database.dialect.erasures_folder
    if folder is not None and (create or folder.is_dir()):
        yield _made(folder) if create else RecordsFolder(folder)
    with database.read() as connection:
        if not is_store_needed(connection):
            return
        store = store_to_change(database, connection) if writing else database.packs(connection).store
    yield store


def _made(folder: Path) -> RecordsFolder:
    try:
        folder.mkdir(mode=FOLDERS_MODE, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"The folder {folder} cannot be created: {error.strerror}.") from error
    return RecordsFolder(folder)


def _put(place: ByteStore, name: str) -> None:
    place.put(ERASURES_PREFIX + name, [name.encode() + b"\n"])  # not empty: some tools leave out empty objects


def _names_in(place: ByteStore) -> Iterator[str]:
    for one in place.objects(ERASURES_PREFIX):
        name = one.key.removeprefix(ERASURES_PREFIX)
        if _name.fullmatch(name):  # not what a killed process left
            yield name


def _time_of(name: str) -> int:
    return int(name.partition("-")[0])
