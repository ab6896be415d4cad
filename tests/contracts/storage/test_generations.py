"""A copy of the database under the same location: the packs of the original stay, whichever of the two comes first."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from smsevents.catalog.attachment import RENEWED_EVERY_MS, adopt
from smsevents.catalog.markers import MARKER_KEY, Marker, read_marker, write_marker
from smsevents.errors import SettingError, StoreUnavailable
from smsevents.upkeep.collecting import collect, reconcile
from smsevents.upkeep.erasure import erase
from smsevents.wire.limits import DAY_MS
from tests.contracts.storage.harness import HARNESSES, made
from tests.support.hooked import Hooked
from tests.support.lines import line, random_lines
from tests.support.logs import FEW_LINES, Held, filled, keys_in, log_at, open_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.catalog import Database
    from smsevents.storage.base import ByteStore

pytestmark = pytest.mark.slow

USER = "erase me"


class Machines:
    """Two machines that know a database by the same path: the original and a copy. One of them is at the path."""

    def __init__(self, folder: Path, store: ByteStore) -> None:
        """Fill the original, pack it, and copy the file as it is then."""
        self._path = folder / "log.db"
        self.store = store
        self.held = Held(f"sqlite:///{self._path}", store)
        self.held.put([line(self.held.trackpoint, self.held.now - 12 * DAY_MS, USER)])
        filled(self.held)
        self.clock_ms = self.held.database.dialect.now_ms()
        self._files = {"original": folder / "original", "copy": folder / "copy"}
        self._here = "original"
        self.held.database.close()
        shutil.copy(self._path, self._files["copy"])
        self.database = self._opened()

    def _opened(self) -> Database:
        found = open_with(f"sqlite:///{self._path}", self.store)
        self.held.database = found
        self.held.log = log_at(found, lambda: self.held.now)
        return found

    def go_to(self, machine: str) -> None:
        """Put the database of a machine at the path, and open it."""
        if machine != self._here:
            self.database.close()
            self._path.rename(self._files[self._here])
            self._files[machine].rename(self._path)
            self._here = machine
        else:
            self.database.close()
        self.database = self._opened()

    def collect(self, after_ms: int) -> str | None:
        """Collect, some time after the beginning."""
        return collect(self.database, self.clock_ms + after_ms)

    def pack_more(self) -> None:
        """Import more events of past days, and pack them with those that are there."""
        held = self.held
        chance = random.Random(3)  # noqa: S311 -- invented data
        held.put(random_lines(chance, held.trackpoint, 100, held.now - 40 * DAY_MS, held.now - 30 * DAY_MS))
        held.compact(FEW_LINES)
        held.pack(FEW_LINES)


@pytest.fixture(params=[name for name in HARNESSES if name != "memory"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    """Yield the two machines, whose packs are in one store."""
    folder, packs = tmp_path / "databases", tmp_path / "store"
    folder.mkdir()
    packs.mkdir()
    with made(request.param, packs) as harness:
        both = Machines(folder, harness.opened())
        yield both
        both.database.close()


def test_a_copy_deletes_nothing_that_only_the_original_knows(machines: Machines) -> None:
    """After the original has renewed the marker, the copy changes nothing in the store, and says what to do."""
    assert machines.collect(2 * RENEWED_EVERY_MS) is None
    machines.pack_more()
    there, expected = keys_in(machines.store), machines.held.expected()

    machines.go_to("copy")
    refused: list[Callable[[], object]] = [
        lambda: machines.collect(30 * DAY_MS),
        lambda: reconcile(machines.database, machines.clock_ms + 30 * DAY_MS),
        lambda: erase(machines.database, machines.held.trackpoint, [USER], machines.held.now, block=False),
    ]
    for act in refused:
        with pytest.raises(StoreUnavailable, match=r"another copy of the database .* run `smsevents adopt`"):
            act()
    assert keys_in(machines.store) == there

    machines.go_to("original")
    assert machines.collect(30 * DAY_MS) is None
    assert machines.held.exported() == expected
    assert machines.held.damages() == []


def test_the_original_stops_if_the_copy_was_first(machines: Machines) -> None:
    """If the copy renewed the marker, the original deletes nothing before it adopts the store. Then the copy stops."""
    machines.go_to("copy")
    assert machines.collect(2 * RENEWED_EVERY_MS) is None
    machines.go_to("original")
    there = keys_in(machines.store)
    with pytest.raises(StoreUnavailable, match="another copy"):
        machines.collect(30 * DAY_MS)
    assert keys_in(machines.store) == there
    assert machines.held.exported() == machines.held.expected()

    adopt(machines.database, machines.store.url)
    assert machines.collect(30 * DAY_MS) is None
    machines.pack_more()
    with pytest.raises(SettingError, match="does not hold the packs of this database"):
        machines.go_to("copy")


def test_a_restored_backup_deletes_nothing_until_it_adopts(machines: Machines) -> None:
    """An older state of the database does not delete the packs that were made since, though nobody ran `adopt`."""
    machines.collect(2 * RENEWED_EVERY_MS)
    machines.pack_more()
    made_since = keys_in(machines.store)
    machines.go_to("copy")  # the backup, at the place of the original
    with pytest.raises(StoreUnavailable, match="restored from a backup"):
        machines.collect(30 * DAY_MS)
    assert keys_in(machines.store) == made_since


def test_the_marker_is_renewed_every_hour(machines: Machines) -> None:
    """Collecting writes a new generation after an hour, or if the clock was set back, and not before."""
    seen = []
    for after_ms in (0, 1, RENEWED_EVERY_MS - 1, RENEWED_EVERY_MS, RENEWED_EVERY_MS + 1, 5, 6):
        machines.collect(2 * RENEWED_EVERY_MS + after_ms)
        seen.append(read_marker(machines.store))
    assert [one == following for one, following in pairwise(seen)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_renewal_that_was_broken_off_stops_nothing(machines: Machines) -> None:
    """Whether the store has taken the marker or not when the renewal fails, the next one goes on."""
    hooked = Hooked(machines.store)
    machines.store = hooked

    def fail() -> None:
        raise StoreUnavailable("away")

    for number, when in enumerate(("put", "after put"), 1):
        machines.go_to("original")
        hooked.on(when, 0, fail)
        with pytest.raises(StoreUnavailable, match="away"):
            machines.collect(number * 3 * RENEWED_EVERY_MS)
        assert machines.collect((number * 3 + 2) * RENEWED_EVERY_MS) is None
    assert machines.held.exported() == machines.held.expected()


def test_a_marker_of_an_earlier_version_is_renewed(machines: Machines) -> None:
    """A marker without a generation is that of this database if its identity is."""
    marker = read_marker(machines.store)
    assert marker is not None
    write_marker(machines.store, Marker(marker.identity, marker.database))
    assert machines.collect(2 * RENEWED_EVERY_MS) is None
    found = msgspec.json.decode(machines.store.read(MARKER_KEY, 0, 1000))
    assert found["identity"] == marker.identity
    assert found["generation"]
