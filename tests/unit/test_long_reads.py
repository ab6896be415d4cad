"""Long reads from a store on the network: what is requested, and when."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from smsevents.log import reader
from smsevents.segments import pack
from smsevents.segments.splice import unpack
from smsevents.storage.base import Parts
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.lines import DAY_MS, line
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = Sizes(segment_bytes=10_000, packs=PackSizes(target_bytes=60_000, min_bytes=1, max_bytes=120_000))
IMPORTS, LINES = 60, 40  # each import is a segment of about 7 kB
PAGE_BYTES = 20_000
PAGES_BYTES = [3_000, PAGE_BYTES, 70_000, 1_000_000]  # from one segment to all packs


class Watched(MemoryStore):
    """A store that is read in long parts, and notes them: the key, the first byte, and whether they are ahead."""

    prefers_long_reads = True

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.requested: list[tuple[str, int, bool]] = []

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Parts:
        """Note a long part of an object."""
        self.requested.append((key, start, ahead))
        return _Bounded(self, key, start, size)


class _Bounded(Parts):
    """A long part, of which no more is taken than was requested."""

    def __init__(self, store: Watched, key: str, start: int, size: int) -> None:
        super().__init__(store, key, start)
        self._left_bytes = size

    def take(self, size: int) -> bytes:
        """Take the next bytes."""
        self._left_bytes -= size
        assert self._left_bytes >= 0
        return super().take(size)


@pytest.fixture
def store() -> Watched:
    """Return an empty store."""
    return Watched()


@pytest.fixture
def held(url: str, store: Watched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Yield a log in several packs. A page describes only twice what it holds, and all clients count as fast."""
    monkeypatch.setattr(reader, "PAGE_HELD_MAX_BYTES", 0)
    monkeypatch.setattr(pack, "UNLOADED_RATIO", 2)
    held = Held(url, store)
    chance = random.Random(7)  # noqa: S311 -- invented data
    for first in range(0, IMPORTS * LINES, LINES):
        held.put(
            line(held.trackpoint, held.now - 3 * DAY_MS - number * 200_000, campaign=f"{chance.getrandbits(1200):x}")
            for number in range(first, first + LINES)
        )
    held.compact(SIZES)
    held.pack(SIZES)
    assert len(held.packs()) >= 5
    yield held
    held.database.close()


def exported(held: Held, page_bytes: int) -> bytes:
    """Export everything in pages of a size."""
    pages = held.log.read(held.trackpoint, resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now))
    parts: list[bytes] = []
    while pieces := pages.next_page(page_bytes):
        parts += unpack([pieces])
    return b"".join(parts)


@pytest.mark.parametrize("page_bytes", PAGES_BYTES)
def test_each_part_of_a_pack_is_requested_once(held: Held, store: Watched, page_bytes: int) -> None:
    """Whatever the size of the pages, an export is complete, and no byte of a pack is requested twice."""
    store.requested.clear()
    assert exported(held, page_bytes) == held.expected()
    places = [(key, start) for key, start, _ in store.requested]
    assert len(set(places)) == len(places)


def test_the_next_pack_is_requested_before_the_current_one_ends(held: Held, store: Watched) -> None:
    """For a client that keeps up, only the first pack is waited for, though a page describes less than a pack."""
    store.requested.clear()
    assert exported(held, PAGE_BYTES) == held.expected()
    assert len(store.requested) >= len(held.packs())
    assert [ahead for _, _, ahead in store.requested].count(False) == 1


def test_what_was_found_early_is_not_held_for_a_slow_client(
    held: Held, store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that becomes slow or fast at any time gets everything once; what was found early is found again."""
    monkeypatch.setattr(reader, "PAGE_HELD_MAX_BYTES", PAGE_BYTES)
    assert exported(held, PAGE_BYTES + 1) == held.expected()
    of_a_fast_client = len(store.requested)
    for pages_of_a_pace in range(1, 6):
        store.requested.clear()
        pages = held.log.read(held.trackpoint, resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now))
        parts: list[bytes] = []
        for page in itertools.count():
            pieces = pages.next_page(PAGE_BYTES + 1 - page // pages_of_a_pace % 2)
            if not pieces:
                break
            parts += unpack([pieces])
        assert b"".join(parts) == held.expected()
        assert len(store.requested) > of_a_fast_client
