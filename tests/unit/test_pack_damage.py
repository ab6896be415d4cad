"""Packs that are missing or damaged, and packs that go while they are read."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from smsevents.catalog.tables import segments
from smsevents.errors import DamagedSegment
from smsevents.segments.splice import unpack
from smsevents.storage.files import FileStore
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.packing import unpack_shop
from smsevents.upkeep.quarantining import quarantine
from smsevents.upkeep.statistics import statistics
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.lines import DAY_MS, date_of, line
from tests.support.logs import Held, filled, keys_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.segments.header import SegmentHeader


@pytest.fixture
def store() -> MemoryStore:
    """Return an empty store."""
    return MemoryStore()


@pytest.fixture
def held(url: str, store: MemoryStore) -> Iterator[Held]:
    """Yield a log whose packs are in the store."""
    made = Held(url, store)
    yield made
    made.database.close()


def change(store: MemoryStore, key: str, at: int) -> None:
    """Change one byte of an object."""
    (found,) = store.objects(key)
    data = bytearray(store.read(key, 0, found.size_bytes))
    data[at] ^= 1
    store.put(key, [bytes(data)])


def test_a_missing_pack_is_told_and_quarantined(held: Held, store: MemoryStore) -> None:
    """An export of a pack that is missing fails and names it; once it is quarantined, the rest can be exported."""
    filled(held)
    lost = held.packs()[1]
    store.delete([lost.place.key])
    with pytest.raises(DamagedSegment, match=f"{lost.place.key} is missing"):
        held.exported()
    (found,) = [one for one in verify(held.database, None) if one.damage]
    assert lost.place.key in str(found.damage)
    assert found.events == lost.events
    quarantine(held.database, found, held.now)
    held.lines = {one for one in held.lines if not _is_within(one, lost)}
    assert held.exported() == held.expected()
    assert not held.damages()
    assert statistics(held.database, held.trackpoint).quarantined > 0


def test_what_comes_before_a_damaged_segment_is_exported(held: Held) -> None:
    """A damaged row ends an export where the row begins, and not at the first pack."""
    filled(held)
    before = held.expected()
    held.put([line(held.trackpoint, held.now, "later")])
    held.database.write(lambda connection: connection.execute(update(segments).values(stored_crc=1)))
    reading = held.log.read(held.trackpoint, resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now))
    read: list[bytes] = []
    with pytest.raises(DamagedSegment):
        read += (b"".join(unpack([pieces])) for pieces in iter(lambda: reading.next_page(1), []))
    assert read
    assert before.startswith(b"".join(read))


def _is_within(one: bytes, pack: SegmentHeader) -> bool:
    return pack.first <= (date_of(one), one) <= pack.last


@pytest.mark.parametrize("place", ["first segment", "last segment", "index", "trailer"])
def test_damage_in_a_pack_is_found_and_only_that_is_quarantined(held: Held, store: MemoryStore, place: str) -> None:
    """A changed byte is named by `verify`; quarantining sets aside the segment, and all others stay."""
    filled(held)
    pack = held.packs()[0]
    key = pack.place.key
    (stored,) = store.objects(key)
    with held.database.read() as connection:
        inner = [one.header for one in held.database.packs(connection).segments(connection, pack)]
    at = {
        "first segment": 3,
        "last segment": pack.stored_bytes - 3,
        "index": pack.stored_bytes + 3,
        "trailer": stored.size_bytes - 3,
    }[place]
    change(store, key, at)
    for one in list(verify(held.database, None)):
        if one.damage:
            assert key in one.name
            quarantine(held.database, one, held.now)
    if "segment" in place:
        bad = inner[0] if place == "first segment" else inner[-1]
        held.lines = {one for one in held.lines if not _is_within(one, bad)}
    assert held.exported() == held.expected()
    assert not held.damages()
    assert statistics(held.database, held.trackpoint).quarantined == ("segment" in place)


def test_a_reader_that_finds_a_pack_gone_goes_on_with_what_replaced_it(held: Held, store: MemoryStore) -> None:
    """Packs that are moved and deleted after a reader planned to read them change nothing in what it returns."""
    filled(held)
    window = resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now)
    reading = held.log.read(held.trackpoint, window)
    read = [b"".join(unpack([reading.next_page(1)]))]
    assert unpack_shop(held.database, held.trackpoint, held.packs())
    held.collect(0)
    assert not keys_in(store)
    while pieces := reading.next_page(500):
        read.append(b"".join(unpack([pieces])))
    assert b"".join(read) == held.expected()


def test_a_pack_that_the_disk_cannot_read_is_damage(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack on a bad sector ends exports as damage, is named by `verify`, and can be quarantined; the rest stays."""
    folder = tmp_path / "packs"
    folder.mkdir()
    held = Held(url, FileStore(folder))
    filled(held)
    bad = held.packs()[1]
    number = (folder / bad.place.key).stat().st_ino
    pread = os.pread

    def failing(handle: int, size: int, start: int) -> bytes:
        if os.fstat(handle).st_ino == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(handle, size, start)

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(DamagedSegment, match=f"{bad.place.key} is damaged: the disk cannot read"):
        held.exported()
    for one in list(verify(held.database, None)):
        if one.damage:
            assert bad.place.key in one.name
            quarantine(held.database, one, held.now)
    held.lines = {one for one in held.lines if not _is_within(one, bad)}
    assert held.exported() == held.expected()
    assert not held.damages()
    held.database.close()
