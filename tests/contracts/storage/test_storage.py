"""What the catalog may rely on (`storage/base.py`), tested against every store; `HARNESSES` names them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsevents.clock.system import now_ms
from smsevents.errors import ObjectGone, StoreUnavailable
from tests.contracts.storage.harness import HARNESSES, Harness, made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.storage.base import ByteStore

WAIT_MAX_SECONDS = 30
KEY = "7/20260101/0199.pack"
MARGIN_MS = 60_000  # the clock of a store may be another one


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow if kind == "s3" else ()) for kind in HARNESSES])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """Make a store of each kind."""
    with made(request.param, tmp_path) as harness:
        yield harness


@pytest.fixture
def store(harness: Harness) -> ByteStore:
    """Open it."""
    return harness.opened()


def keys_in(store: ByteStore, prefix: str = "") -> list[str]:
    """Return the keys that a store lists, sorted."""
    return sorted(one.key for one in store.objects(prefix))


def everything(store: ByteStore, key: str) -> bytes:
    """Return a complete object that is not large."""
    return store.read(key, 0, 1_000_000)


def test_what_was_put_is_read_by_everyone(harness: Harness, store: ByteStore) -> None:
    """An object is its parts one after the other, for this store and for one that another process opens."""
    store.put(KEY, [b"ab", b"", b"cde", b"f"])
    for one in (store, harness.opened()):
        assert everything(one, KEY) == b"abcdef"
        assert one.read(KEY, 2, 3) == b"cde"


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
def test_an_object_may_be_empty(store: ByteStore, parts: list[bytes]) -> None:
    """An object without bytes is there, too."""
    store.put(KEY, parts)
    assert store.read(KEY, 0, 10) == b""
    assert keys_in(store) == [KEY]


@pytest.mark.parametrize(
    ("start", "size", "found"),
    [(0, 6, b"abcdef"), (0, 7, b"abcdef"), (5, 1, b"f"), (4, 100, b"ef"), (6, 1, b""), (1000, 5, b""), (2, 0, b"")],
)
def test_a_read_ends_with_the_object(store: ByteStore, start: int, size: int, found: bytes) -> None:
    """A read past the end returns fewer bytes, or none, and raises nothing."""
    store.put(KEY, [b"abcdef"])
    assert store.read(KEY, start, size) == found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(parts=st.lists(st.binary(max_size=50), max_size=5), start=st.integers(0, 300), size=st.integers(0, 300))
def test_any_part_of_any_object_is_read(store: ByteStore, parts: list[bytes], start: int, size: int) -> None:
    """A read returns the bytes that a slice of the object has."""
    key = f"7/{os.urandom(8).hex()}.pack"
    store.put(key, parts)
    assert store.read(key, start, size) == b"".join(parts)[start : start + size]


def test_a_large_object_is_complete(store: ByteStore) -> None:
    """An object of 40 MiB in uneven parts is read as it was written."""
    data = os.urandom(40 * 1024 * 1024 + 17)
    store.put(KEY, [data[: 1024 * 1024 + 3], data[1024 * 1024 + 3 :]])
    assert store.read(KEY, 0, len(data)) == data
    assert store.read(KEY, len(data) - 5, 100) == data[-5:]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_long_part_is_taken_in_order(store: ByteStore, *, ahead: bool) -> None:
    """What is taken of a part, in steps of any size, is the part."""
    data = os.urandom(3 * 1024 * 1024)
    store.put(KEY, [data])
    part = store.incoming(KEY, 17, len(data) - 34, ahead=ahead)
    sizes = [1, 300_000, 0, 1_000_000, 5]
    taken = [part.take(size) for size in [*sizes, len(data) - 34 - sum(sizes)]]
    assert [len(one) for one in taken[:-1]] == sizes
    assert b"".join(taken) == data[17:-17]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_long_part_that_is_not_there_says_so(store: ByteStore, *, ahead: bool) -> None:
    """Taking from an object that is gone, or that ends earlier, is an error, and never a part of it."""
    store.put(KEY, [b"abcdef"])
    for start, size in [(0, 7), (5, 2), (6, 1), (100, 1)]:
        with pytest.raises(StoreUnavailable):
            store.incoming(KEY, start, size, ahead=ahead).take(size)
    store.delete([KEY])
    with pytest.raises(ObjectGone) as gone:
        store.incoming(KEY, 0, 6, ahead=ahead).take(6)
    assert gone.value.key == KEY


@pytest.mark.parametrize("key", [KEY, "7/none.pack", "8/20260101/none.pack", "none.pack"])
def test_what_is_not_there_is_gone(store: ByteStore, key: str) -> None:
    """Reading what was never put, names the key that is gone."""
    store.put("7/20260101/other.pack", [b"x"])
    with pytest.raises(ObjectGone) as gone:
        store.read(key, 0, 1)
    assert gone.value.key == key


def test_what_was_deleted_is_gone_for_everyone(harness: Harness, store: ByteStore) -> None:
    """A deleted object cannot be read or listed any more, and the others stay."""
    store.put(KEY, [b"abc"])
    store.put("7/20260101/kept.pack", [b"kept"])
    assert list(store.delete([KEY])) == [KEY]
    for one in (store, harness.opened()):
        with pytest.raises(ObjectGone):
            one.read(KEY, 0, 1)
        assert keys_in(one) == ["7/20260101/kept.pack"]
        assert everything(one, "7/20260101/kept.pack") == b"kept"


def test_deleting_what_is_gone_confirms_it(store: ByteStore) -> None:
    """An object that was deleted before, or was never there, counts as gone. So a delete can be repeated."""
    store.put(KEY, [b"abc"])
    never = ["7/20260101/never.pack", "8/20260101/never.pack", "never.pack"]
    assert sorted(store.delete([KEY, *never])) == sorted([KEY, *never])
    assert sorted(store.delete([KEY, *never])) == sorted([KEY, *never])
    assert list(store.delete([])) == []


def test_objects_are_listed_with_size_and_time(store: ByteStore) -> None:
    """A listing has every object once, with its size and about the time when it was written."""
    before = now_ms()
    for number in range(30):
        store.put(f"{number % 3}/2026010{number % 7}/{number}.pack", [b"x" * number])
    after = now_ms()
    found = {one.key: one for one in store.objects()}
    assert len(found) == 30 == len(list(store.objects()))
    for number in range(30):
        one = found[f"{number % 3}/2026010{number % 7}/{number}.pack"]
        assert one.size_bytes == number
        assert before - MARGIN_MS <= one.written_ms <= after + MARGIN_MS


def test_a_prefix_chooses_what_is_listed(store: ByteStore) -> None:
    """A prefix chooses the keys that begin with it, wherever it ends in a key."""
    keys = ["7/20260101/a.pack", "7/20260102/a.pack", "77/20260101/b.pack", "8/20260101/a.pack", "marker.json"]
    for key in keys:
        store.put(key, [b"x"])
    for prefix in ["", "7", "7/", "7/20260102", "7/20260101/a.pack", "77", "m", "9", "a.pack"]:
        assert keys_in(store, prefix) == sorted(key for key in keys if key.startswith(prefix))


def test_an_object_that_was_not_completed_is_not_there(harness: Harness, store: ByteStore) -> None:
    """What a killed process left of an object cannot be read as the object, and does not prevent a later one."""
    harness.leave_incomplete(KEY, b"much more than the object has")
    with pytest.raises(ObjectGone):
        store.read(KEY, 0, 1)
    assert KEY not in keys_in(store)
    store.put(KEY, [b"abc"])
    assert everything(store, KEY) == b"abc"
    assert keys_in(store) == [KEY]


def test_what_was_left_of_an_object_is_deleted_with_it(harness: Harness, store: ByteStore) -> None:
    """Once a delete is confirmed, nothing is left of what a killed process wrote: it may hold erased events."""
    harness.leave_incomplete(KEY, b"abc")
    assert list(store.delete([KEY])) == [KEY]
    assert list(store.objects()) == []


def test_what_was_left_of_an_object_is_listed_until_then(harness: Harness, store: ByteStore) -> None:
    """What a killed process left can be found by a listing, and be deleted by the key that is listed."""
    harness.leave_incomplete(KEY, b"abc")
    left = keys_in(store)
    assert sorted(store.delete(left)) == left
    assert list(store.objects()) == []


def test_writers_and_deletions_share_folders(harness: Harness) -> None:
    """While others put and delete objects of the same new shop and day, every put object is there in the end.

    The deletion of the last object of a day must not make a put beside it fail.
    """
    numbers = count()
    kept: list[str] = []
    start = threading.Barrier(4)

    def put_and_delete(_: int) -> None:
        store = harness.opened()
        start.wait(WAIT_MAX_SECONDS)
        for _ in range(100):
            key = f"7/20260101/{next(numbers)}.pack"
            store.put(key, [key.encode()])
            assert everything(store, key) == key.encode()
            assert list(store.delete([key])) == [key]
        kept.append(f"7/20260101/{next(numbers)}.pack")
        store.put(kept[-1], [b"kept"])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, range(4)))
    assert keys_in(harness.opened()) == sorted(kept)


def test_an_object_is_complete_or_gone_while_it_is_deleted(harness: Harness, store: ByteStore) -> None:
    """A reader beside writers and deletions sees complete objects or none, and so does a listing."""
    data = os.urandom(200_000)
    keys = [f"7/20260101/{number}.pack" for number in range(20)]
    done = threading.Event()

    def read_all() -> int:
        reader = harness.opened()
        seen = 0
        while not done.is_set():
            for key in keys:
                with suppress(ObjectGone):
                    assert reader.read(key, 0, len(data) + 1) == data
                    seen += 1
            assert all(one.size_bytes == len(data) for one in reader.objects() if one.key in keys)
        return seen

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read_all) for _ in range(2)]
        try:
            for key in keys:
                store.put(key, [data[:100_000], data[100_000:]])
            for key in keys:
                store.delete([key])
        finally:
            done.set()
        for reader in readers:
            reader.result(WAIT_MAX_SECONDS)
    assert list(store.objects()) == []


def test_a_sound_store_can_be_used(store: ByteStore) -> None:
    """A store that is in order can be written, deletes for good, and has room or does not know."""
    store.check_writable()
    assert store.unsafe() is None
    free = store.free_bytes()
    assert free is None or free > 0


def test_the_stores_that_are_held_to_the_contract() -> None:
    """Every module of a store runs through this suite."""
    from pathlib import Path  # noqa: PLC0415 -- of a type elsewhere

    from smsevents import storage  # noqa: PLC0415

    files = [path for path in Path(storage.__file__).parent.glob("*.py") if path.stem != "base"]
    assert {path.stem for path in files if "    def put(" in path.read_text()} == set(HARNESSES)
