"""A log whose packs are in a bucket behind a network that fails: nothing is lost, and nothing is reported too early."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database
from smsevents.catalog.attachment import adopt, attach
from smsevents.errors import DamagedSegment, SettingError, StoreUnavailable
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.segments.splice import unpack
from smsevents.storage import open_store, s3_address, s3_incoming
from smsevents.storage.files import FileStore
from smsevents.upkeep import erasure
from smsevents.upkeep.backup import backup
from smsevents.upkeep.collecting import ANNOUNCED_MAX_MS, STRANGE_KEPT_MS, collect, reconcile
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.upkeep.pack_copies import packs_beside
from smsevents.upkeep.packing import write_stored
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.databases import query
from tests.support.erasures import USER
from tests.support.faulty import FAULTS, FaultyProxy
from tests.support.lines import DAY_MS, line
from tests.support.logs import Held, keys_in, log_at
from tests.support.seaweed import environment, seaweedfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.storage.base import ByteStore
    from tests.support.faulty import Fault

pytestmark = pytest.mark.slow

SIZES = Sizes(segment_bytes=60_000, packs=PackSizes(target_bytes=100_000, min_bytes=1, max_bytes=200_000))
EVENTS = 2_400
PASSING: list[Fault] = ["500", "503", "reset", "stall", "truncated"]
PAGES = {"slow": 20_000, "fast": PAGE_HELD_MAX_BYTES + 1}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Put a proxy between the log and the server. What does not go on is given up soon."""
    monkeypatch.setattr(s3_address, "READ_PAUSE_MAX_SECONDS", 0.3)
    monkeypatch.setattr(s3_address, "RETRY_MAX_SECONDS", 1)
    monkeypatch.setattr(s3_address, "PAUSE_MAX_MS", 50)
    monkeypatch.setattr(s3_incoming, "CHUNK_BYTES", 8 * 1024)
    server = seaweedfs()
    with FaultyProxy(server.endpoint) as proxy, environment(server.environment(endpoint=proxy.endpoint)):
        yield proxy


@pytest.fixture
def store(proxy: FaultyProxy) -> ByteStore:  # noqa: ARG001 -- for its effect
    """Return an empty place in the bucket."""
    return open_store(seaweedfs().place())


@pytest.fixture
def held(url: str, store: ByteStore, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Yield a log of events that hardly compress, most of them in packs."""
    monkeypatch.setattr(erasure, "write_stored", partial(write_stored, sizes=SIZES.packs))
    held = Held(url, store)
    chance = random.Random(7)  # noqa: S311 -- invented data
    held.put(
        line(held.trackpoint, held.now - 3 * DAY_MS - number * 200_000, campaign=f"{chance.getrandbits(1200):x}")
        for number in range(EVENTS)
    )
    held.put([line(held.trackpoint, held.now - day * DAY_MS, USER) for day in (4, 6, 8)])
    held.compact(SIZES)
    held.pack(SIZES)
    assert len(held.packs()) >= 3
    proxy.well()
    yield held
    held.database.close()


def exported(held: Held, page_bytes: int) -> Iterator[bytes]:
    """Export everything in pages of a size, page by page."""
    reader = held.log.read(held.trackpoint, resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now))
    while pieces := reader.next_page(page_bytes):
        yield b"".join(unpack([pieces]))


@pytest.mark.parametrize("pace", PAGES)
def test_an_export_takes_few_requests(held: Held, proxy: FaultyProxy, pace: str) -> None:
    """An export is complete, with about one request for each pack, however small its pages are."""
    assert b"".join(exported(held, PAGES[pace])) == held.expected()
    asked = [path for method, path, _ in proxy.requests if method == "GET" and path.endswith(".pack")]
    assert len(set(asked)) == len(held.packs())
    assert len(asked) <= 2 * len(held.packs())


@pytest.mark.parametrize("pace", PAGES)
def test_an_export_survives_a_request_that_fails(held: Held, proxy: FaultyProxy, pace: str) -> None:
    """In whatever way and wherever a request fails once, the export is complete."""
    for fault in PASSING:
        for number in range(2):
            proxy.on("GET", fault, number=number)
            assert b"".join(exported(held, PAGES[pace])) == held.expected()


def test_an_export_that_cannot_be_read_ends_with_an_error(held: Held, proxy: FaultyProxy) -> None:
    """An export never ends early without an error. Imports go on meanwhile, and afterwards all is as it should be."""
    for fault in FAULTS:
        pages = exported(held, PAGES["slow"])
        got = [next(pages)]
        proxy.on("GET", fault)
        with pytest.raises((StoreUnavailable, DamagedSegment)) as told:
            got.extend(pages)
        assert isinstance(told.value, DamagedSegment) == (fault == "flipped")
        assert held.expected().startswith(b"".join(got))
        assert len(b"".join(got)) < len(held.expected())
        held.put([line(held.trackpoint, held.now - 60_000, fault)])
        proxy.well()
        assert held.exported() == held.expected()
    assert held.damages() == []


def test_a_pack_that_is_missing_is_damage(held: Held, proxy: FaultyProxy) -> None:
    """If the store says that a pack is not there, and the catalog names it, the export does not leave it out."""
    proxy.on("GET", "404")
    with pytest.raises(DamagedSegment, match="is missing"):
        held.exported()
    proxy.well()
    assert held.exported() == held.expected()


def test_packing_that_fails_loses_nothing(held: Held, proxy: FaultyProxy) -> None:
    """If a pack cannot be written, its events stay where they are, and packing works once the store does."""
    held.put(line(held.trackpoint, held.now - 20 * DAY_MS - number, f"{number}") for number in range(800))
    before = held.keys_named()
    faults: list[Fault] = ["500", "503", "reset", "lost response"]
    for fault in faults:
        proxy.on("PUT", fault)
        with pytest.raises(StoreUnavailable):
            held.pack(SIZES)
        assert held.keys_named() == before
        proxy.well()
        assert held.exported() == held.expected()
    held.pack(SIZES)
    assert len(held.keys_named()) > len(before)
    assert held.exported() == held.expected()
    assert held.collect() is None
    assert keys_in(held.database.open_store("")) == held.keys_named()


def test_erased_events_are_wiped_only_when_each_deletion_is_confirmed(held: Held, proxy: FaultyProxy) -> None:
    """While the store does not delete, an erasure is not reported as wiped. Afterwards no object has the user."""
    proxy.on("POST", "503")
    erased = forget(held.database, held.trackpoint, [USER], held.now, block=False)
    assert erased.events == 3
    assert not erased.wiped
    held.lines = {one for one in held.lines if USER.encode() not in one}
    assert held.exported() == held.expected()
    proxy.well()
    assert forget(held.database, held.trackpoint, [USER], held.now, block=False).wiped
    assert keys_in(held.database.open_store("")) == held.keys_named()
    assert held.exported() == held.expected()


def test_a_bucket_that_keeps_versions_is_refused(url: str, proxy: FaultyProxy, tmp_path: Path) -> None:  # noqa: ARG001
    """A bucket with versions is used neither for a new log nor for a restored one."""
    versioned = f"s3://{seaweedfs().bucket(versioned=True)}/packs"
    held = Held(url)
    try:
        with pytest.raises(SettingError, match="keeps old versions"):
            attach(held.database, versioned)
        with pytest.raises(SettingError, match="keeps old versions"):
            adopt(held.database, versioned)
        assert list(open_store(versioned).objects()) == []
    finally:
        held.database.close()


def test_an_erasure_is_not_wiped_if_the_bucket_keeps_versions_by_now(url: str, proxy: FaultyProxy) -> None:  # noqa: ARG001
    """If versioning was turned on after the start, erased events are in old versions, and the erasure says so."""
    server = seaweedfs()
    bucket = server.bucket()
    held = Held(url, open_store(f"s3://{bucket}/packs"))
    try:
        held.put([line(held.trackpoint, held.now - day * DAY_MS, USER) for day in range(3, 30)])
        held.compact(SIZES)
        held.pack(SIZES)
        server.keep_versions(bucket)
        erased = forget(held.database, held.trackpoint, [USER], held.now, block=False)
        assert erased.events == 27
        assert not erased.wiped
        assert "keeps old versions" in (erased.not_wiped or "")
    finally:
        held.database.close()


def test_a_put_that_ends_hours_later_names_no_object(held: Held, proxy: FaultyProxy) -> None:
    """If a put takes so long that the collection gives it up, it does not become a pack, and its object goes.

    The swap needs the row that announced the object, and that is gone. So the events stay where they are.
    """
    held.put(line(held.trackpoint, held.now - 20 * DAY_MS - number, f"{number}") for number in range(800))
    before = held.keys_named()
    proxy.on("PUT", "held", number=0)
    with ThreadPoolExecutor(1) as threads:
        packing = threads.submit(held.pack, SIZES)
        while not any(method == "PUT" for method, _, _ in proxy.requests):
            assert not packing.done()
        later = held.database.dialect.now_ms() + ANNOUNCED_MAX_MS + 1
        assert collect(held.database, later) is None
        assert query(held.path, "SELECT count(*) FROM objects WHERE state <> 'live'") == [(0,)]
        proxy.released.set()
        assert not packing.result(30).whole
    assert held.keys_named() == before
    assert held.exported() == held.expected()
    assert held.collect() is None
    assert keys_in(held.database.open_store("")) == held.keys_named()


def test_an_object_that_arrives_after_its_row_is_gone_is_found(held: Held, store: ByteStore) -> None:
    """What a store writes after everyone has given it up is found by the weekly comparison, once it is old enough."""
    stray = f"{held.trackpoint}/20260101/stray.pack"
    store.put(stray, [b"stray"])
    now = held.database.dialect.now_ms()
    assert reconcile(held.database, now) == 0
    assert reconcile(held.database, now + STRANGE_KEPT_MS + 60_000) == 1
    assert held.collect() is None
    assert stray not in keys_in(store)
    assert keys_in(store) == held.keys_named()


def test_verification_takes_a_request_for_each_pack(held: Held, proxy: FaultyProxy) -> None:
    """A pack is read at once to be verified. Damage is found as in a folder, and a failing store is not damage."""
    assert held.damages() == []
    packs = len(held.packs())
    assert len([path for _, path, _ in proxy.requests if path.endswith(".pack")]) == packs
    proxy.on("GET", "flipped", number=0)
    (damage, *_) = held.damages()
    assert "checksum" in damage
    proxy.on("GET", "404", number=0)
    (damage,) = held.damages()
    assert "is missing" in damage
    proxy.on("GET", "500")
    with pytest.raises(StoreUnavailable):
        held.damages()
    proxy.well()
    assert held.exported() == held.expected()


def test_expired_packs_leave_the_bucket(held: Held, store: ByteStore) -> None:
    """Retention deletes the objects of packs that are too old."""
    before = len(held.keys_named())
    held.now += HISTORY_MS - 6 * DAY_MS
    expire(held.database, held.now)
    assert held.collect() is None
    assert 0 < len(held.keys_named()) < before
    assert keys_in(store) == held.keys_named()
    assert held.exported() == held.expected()


def test_a_backup_is_restored_into_another_bucket(held: Held, proxy: FaultyProxy, tmp_path: Path) -> None:
    """A backup downloads the packs that it names, and `adopt` takes them from there into a place that lacks them."""
    target = tmp_path / "backup.db"
    proxy.on("GET", "503")
    with pytest.raises(StoreUnavailable, match="The backup failed"):
        backup(held.database, target, held.now)
    assert not target.exists()
    assert not packs_beside(target).exists()
    proxy.well()
    backup(held.database, target, held.now)
    copies = FileStore(packs_beside(target))
    assert {one.key for one in copies.objects()} == held.keys_named()

    elsewhere = open_store(seaweedfs().place())
    some = min(held.keys_named())
    elsewhere.put(some, [b"not complete"])
    restored = Database(f"sqlite:///{target}", create=False)
    try:
        with pytest.raises(StoreUnavailable, match="are not in"):
            adopt(restored, elsewhere.url)
        assert adopt(restored, elsewhere.url, copies=copies) == len(held.keys_named())
        window = resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now)
        lines = b"".join(unpack(log_at(restored, lambda: held.now).read(held.trackpoint, window)))
        assert lines == held.expected()
    finally:
        restored.close()
