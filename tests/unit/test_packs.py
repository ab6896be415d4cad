"""Packs: many segments in one object, made, read and replaced as a model says."""

from __future__ import annotations

import os
import random
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.catalog import Database
from smsevents.catalog.attachment import attach
from smsevents.catalog.stores import set_packing
from smsevents.errors import DamagedSegment, ObjectGone, SettingError, StoreUnavailable
from smsevents.segments.header import Place, SegmentHeader
from smsevents.segments.pack import PackedSegment, headers_in, loaded, make_pack, read_pack
from smsevents.segments.segment import Run, Segment, inflate
from smsevents.segments.segment import pack as segments_of
from smsevents.segments.splice import GzipMember, count, unpack
from smsevents.storage.files import FileStore
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.backup import backup
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.erasure import erase, forget
from smsevents.upkeep.groups import DEFAULT_SIZES, PackSizes
from smsevents.upkeep.pack_copies import pinned
from smsevents.upkeep.packing import new_key, runs_to_pack, unpack_shop
from smsevents.upkeep.retention import expire
from smsevents.upkeep.statistics import statistics
from smsevents.upkeep.tidying import Tidy
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.entries import entry_values, some_entries
from tests.support.erasures import is_marked
from tests.support.lines import DAY_MS, body_of, line, model, random_lines
from tests.support.logs import FEW_LINES, Held, filled, keys_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from smsevents.wire.lines import Entry

KEY = "7/20260101/a.pack"


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


# The object.


@settings(max_examples=100, deadline=None)
@given(entries=some_entries, segment_bytes=st.integers(100, 3000))
def test_an_object_describes_itself(entries: list[Entry], segment_bytes: int) -> None:
    """What is read from the object alone is the pack that was made, and its segments are those that went in."""
    segments = list(segments_of(sorted(set(entries)), segment_bytes))
    pack, parts = make_pack(7, KEY, segments)
    store = MemoryStore()
    store.put(KEY, parts)
    assert pack.object_bytes == len(b"".join(parts))
    assert read_pack(KEY, pack.object_bytes, store.read) == (7, pack)
    headers = headers_in(pack.header, pack.index)
    (run,) = loaded([PackedSegment(header, store) for header in headers])
    assert isinstance(run, Run)
    assert [one.data for one in run.segments()] == [one.data for one in segments]
    assert b"".join(unpack([[run]])) == body_of(one for _, one in sorted(set(entries)))
    assert count([run]) == len(set(entries))


@settings(max_examples=50, deadline=None)
@given(entries=some_entries, data=st.data())
def test_damage_of_an_object_is_noticed(entries: list[Entry], data: st.DataObject) -> None:
    """A changed byte anywhere is noticed by the code that reads it: in the description, or in a segment."""
    pack, parts = make_pack(7, KEY, list(segments_of(sorted(set(entries)), 500)))
    whole = b"".join(parts)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    store = MemoryStore()
    store.put(KEY, [changed])

    def read_all() -> None:
        read_pack(KEY, len(changed), store.read)
        loaded(PackedSegment(header, store) for header in headers_in(pack.header, pack.index))

    with pytest.raises(DamagedSegment, match=KEY):
        read_all()


@given(entries=some_entries, lost=st.integers(1, 400))
def test_a_truncated_object_is_not_a_pack(entries: list[Entry], lost: int) -> None:
    """An object without its end is refused, however little is missing."""
    _, parts = make_pack(7, KEY, list(segments_of(sorted(set(entries)))))
    whole = b"".join(parts)
    store = MemoryStore()
    store.put(KEY, [whole[:-lost]])
    with pytest.raises(DamagedSegment, match=KEY):
        read_pack(KEY, len(whole[:-lost]), store.read)


def test_an_index_of_another_pack_is_refused() -> None:
    """An index in the catalog that does not add up to the header of its pack is damage."""
    one, _ = make_pack(7, KEY, list(segments_of([(1, line(7, 1))])))
    other, _ = make_pack(7, KEY, list(segments_of([(2, line(7, 2))])))
    with pytest.raises(DamagedSegment, match="another pack"):
        headers_in(one.header, other.index)


def test_keys_are_in_the_order_of_their_time_and_never_the_same() -> None:
    """A key names the shop, the day and a UUIDv7, which sorts by the time when it was made."""
    keys = [new_key(7, 1_790_000_000_000, 1_790_000_000_000 + number) for number in range(50)]
    assert keys == sorted(keys)
    assert len(set(keys)) == 50
    assert len({new_key(7, 0, 5) for _ in range(50)}) == 50
    assert all(key.startswith("7/20260921/") and key[11 + 14] == "7" for key in keys)


# What is packed.


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.lists(entry_values, min_size=1, max_size=15), st.booleans()), max_size=12),
    segment_bytes=st.integers(200, 3000),
)
def test_tidying_keeps_every_line(pieces: list[tuple[list[Entry], bool]], segment_bytes: int) -> None:
    """Whatever pieces go in, the segments that come out have their lines in order, and few are small."""
    everything = sorted({one for batch, _ in pieces for one in batch})
    tidy = Tidy(segment_bytes)
    made: list[Segment] = []
    start = 0
    for batch, is_segment in pieces:
        some = everything[start : start + len(batch)]
        start += len(batch)
        if some:
            for one in segments_of(some, 10**6):
                made += tidy.add(one if is_segment else inflate(one))
    made += tidy.end()
    assert b"".join(map(inflate, made)) == body_of(one for _, one in everything[:start])
    assert all(one.header.last < following.header.first for one, following in pairwise(made))
    longest = max((len(one) + 1 for _, one in everything), default=0)
    small = [one for one in made if one.header.line_bytes + longest < segment_bytes // 2]
    assert len(small) <= max(1, len(made) // 2)


@settings(max_examples=300, deadline=None)
@given(
    bounds=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6), st.booleans(), st.integers(1, 30)), max_size=20),
    before=st.integers(0, 70),
    minimum=st.integers(1, 60),
)
def test_only_what_is_past_and_overlaps_nothing_is_packed(
    bounds: list[tuple[int, int, bool, int]], before: int, minimum: int
) -> None:
    """Runs hold consecutive segments that end in time, overlap nothing, and are enough together; none is left out."""
    headers = sorted(
        (
            SegmentHeader(
                number,
                (first, b"a%03d" % number),
                (first + length, b"b"),
                1,
                1,
                0,
                size,
                0,
                Place("pack" if is_pack else "row"),
            )
            for number, (first, length, is_pack, size) in enumerate(bounds)
        ),
        key=lambda one: one.first,
    )
    sizes = PackSizes(target_bytes=100, min_bytes=minimum, max_bytes=200)
    runs = list(runs_to_pack(headers, before, sizes))

    def is_free(one: SegmentHeader) -> bool:
        alone = all(other is one or other.last < one.first or one.last < other.first for other in headers)
        is_small = one.place.kind == "row" or one.stored_bytes < minimum
        return alone and is_small and one.last[0] < before

    for run in runs:
        assert all(map(is_free, run))
        assert sum(one.stored_bytes for one in run) >= minimum
        start = headers.index(run[0])
        assert headers[start : start + len(run)] == run
    packed = {one.id for run in runs for one in run}
    left = [is_free(one) and one.id not in packed for one in headers]
    held = 0
    rows = 0
    for one, is_left in zip(headers, left, strict=True):
        held = held + one.stored_bytes if is_left else 0
        rows = rows + 1 if is_left else 0
        assert held < minimum or rows == 1  # alone, a small pack stays


# The log.


def test_exports_are_the_same_wherever_the_events_are(held: Held, store: MemoryStore) -> None:
    """The gzip and the plain bytes of an export are the same from the database, from packs, and moved back."""

    def exported() -> tuple[bytes, bytes]:
        window = resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now)
        member = GzipMember()
        pages = b"".join(member.take(pieces) for pieces in held.log.read(held.trackpoint, window))
        return pages + member.end(), held.exported()

    held.put(random_lines(random.Random(3), held.trackpoint, 500, held.now - 20 * DAY_MS, held.now))  # noqa: S311
    held.compact(FEW_LINES)
    before = exported()
    assert before[1] == held.expected()
    done = held.pack(FEW_LINES)
    assert done.before
    assert len(held.packs()) > 2
    assert not held.headers()
    assert exported()[1] == before[1]
    assert unpack_shop(held.database, held.trackpoint, held.packs())
    assert not held.packs()
    assert exported()[1] == before[1]
    held.collect(0)
    assert not keys_in(store)


def test_whole_segments_pass_from_packs_as_runs(held: Held) -> None:
    """Segments that follow one another in a pack are one piece, so an export does few reads."""
    filled(held)
    window = resolve(held.now - HISTORY_MS, held.now, held.now)
    pieces = [piece for page in held.log.read(held.trackpoint, window) for piece in page]
    assert all(isinstance(piece, Run) for piece in pieces)
    assert len(pieces) == len(held.packs())


@pytest.mark.parametrize("seed", range(4))
def test_late_events_are_merged_into_packs(held: Held, store: MemoryStore, seed: int) -> None:
    """Late events of packed days are exported in order at once, and compaction merges them into the packs."""
    filled(held, seed=seed)
    chance = random.Random(seed)  # noqa: S311 -- invented data
    late = random_lines(chance, held.trackpoint, 60, held.now - 22 * DAY_MS, held.now - 3 * DAY_MS)
    held.put(late)
    assert held.exported() == held.expected()
    assert held.compact(FEW_LINES).whole
    assert held.exported() == held.expected()
    assert statistics(held.database, held.trackpoint).overlapping == 0
    assert not held.damages()
    assert held.collect() is None
    assert keys_in(store) == held.keys_named()


def test_a_repeated_import_of_packed_events_changes_no_export(held: Held) -> None:
    """The same lines again are the same events, though the first ones are in packs."""
    lines = filled(held)
    held.put(lines[::3])
    assert held.exported() == held.expected()
    held.compact(FEW_LINES)
    assert held.exported() == held.expected()


def test_retention_deletes_packs(held: Held, store: MemoryStore) -> None:
    """Packs whose events are all too old leave the catalog at once and the store later; the others stay."""
    filled(held)
    held.now += HISTORY_MS - 10 * DAY_MS
    before = len(held.packs())
    assert not is_marked(held.database)
    gone = expire(held.database, held.now)
    assert is_marked(held.database)
    assert 0 < gone.packs < before
    assert len(held.packs()) == before - gone.packs
    assert held.exported() == held.expected()
    assert len(keys_in(store)) == before
    held.collect()
    assert keys_in(store) == held.keys_named()


def test_packing_leaves_out_what_is_too_old(held: Held) -> None:
    """Events older than the history are not packed, and a later erasure wipes what is left of them in the files."""
    held.put([line(held.trackpoint, held.now - days * DAY_MS, "u") for days in range(3, 20)])
    held.compact(FEW_LINES)
    held.now += HISTORY_MS - 10 * DAY_MS
    assert not is_marked(held.database)
    held.pack(FEW_LINES)
    assert held.exported() == held.expected()
    assert is_marked(held.database)


def test_an_erasure_rewrites_only_the_packs_concerned(held: Held, store: MemoryStore) -> None:
    """The user's events are in no object afterwards, and packs without them keep their objects."""
    lines = filled(held)
    mine = line(held.trackpoint, held.now - 10 * DAY_MS, "erase me")
    held.put([mine])
    held.compact(FEW_LINES)
    before = held.keys_named()
    erased = forget(held.database, held.trackpoint, ["erase me"], held.now, block=False)
    assert (erased.events, erased.segments, erased.wiped) == (1, 1, True)
    held.lines = set(lines)
    assert held.exported() == held.expected()
    assert len(before - held.keys_named()) == 1
    assert keys_in(store) == held.keys_named()
    for key in keys_in(store):
        _, pack = read_pack(key, next(one.size_bytes for one in store.objects(key)), store.read)
        runs = loaded(PackedSegment(header, store) for header in headers_in(pack.header, pack.index))
        assert b"erase me" not in b"".join(unpack([runs])) + b"".join(one.first[1] for one in [pack.header])


def test_an_erasure_deletes_packs_that_were_replaced_before(held: Held, store: MemoryStore) -> None:
    """Objects that wait to be deleted may hold the user's events too, so they go at once, even if nothing is found."""
    mine = line(held.trackpoint, held.now - 10 * DAY_MS, "erase me")
    held.put([mine])
    lines = filled(held)
    assert unpack_shop(held.database, held.trackpoint, held.packs())
    held.pack(FEW_LINES)
    held.put([line(held.trackpoint, held.now - 10 * DAY_MS, "late")])
    held.compact(FEW_LINES)
    assert len(keys_in(store)) > len(held.keys_named())
    assert forget(held.database, held.trackpoint, ["erase me"], held.now, block=False).wiped
    assert keys_in(store) == held.keys_named()
    held.lines = {*lines, line(held.trackpoint, held.now - 10 * DAY_MS, "late")}
    assert held.exported() == held.expected()


class SlowStore(MemoryStore):
    """A store in which something else happens after each write."""

    meanwhile: Callable[[], object] | None = None

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Keep an object."""
        super().put(key, parts)
        if self.meanwhile is not None:
            self.meanwhile()


def test_an_erasure_whose_pack_is_given_up_fails(url: str) -> None:
    """If the collection takes the new pack for abandoned, the erasure fails; made again, it erases the user."""
    store = SlowStore()
    held = Held(url, store)
    mine = line(held.trackpoint, held.now - 10 * DAY_MS, "erase me")
    held.put([mine])
    # large enough to stay a pack, because random names hardly compress
    chance = random.Random(2)  # noqa: S311 -- invented data
    others = [
        line(held.trackpoint, held.now - 10 * DAY_MS + number, chance.randbytes(500).hex()) for number in range(3000)
    ]
    held.put(others)
    held.compact()
    held.pack(DEFAULT_SIZES)
    before = held.exported()
    store.meanwhile = held.collect
    with pytest.raises(StoreUnavailable, match="not completed"):
        forget(held.database, held.trackpoint, ["erase me"], held.now, block=False)
    assert held.exported() == before
    store.meanwhile = None
    assert forget(held.database, held.trackpoint, ["erase me"], held.now, block=False).wiped
    held.lines = set(others)
    assert held.exported() == held.expected()
    assert keys_in(store) == held.keys_named()
    held.database.close()


def test_an_erasure_deletes_what_killed_processes_left(url: str, tmp_path: Path) -> None:
    """A file that was not written completely and an object without a row go, too: they may hold the user's events."""
    folder = tmp_path / "packs"
    folder.mkdir()
    store = FileStore(folder)
    held = Held(url, store)
    filled(held)
    held.put([line(held.trackpoint, held.now, "erase me")])
    of_shop = f"{held.trackpoint}/20260101"
    store.put(f"{of_shop}/late.pack", [b"erase me"])
    (folder / of_shop / "killed.pack.part").write_bytes(b"erase me")
    store.put("7/20260101/other.pack", [b"of another shop"])
    assert forget(held.database, held.trackpoint, ["erase me"], held.now, block=False).wiped
    assert keys_in(store) == {*held.keys_named(), "7/20260101/other.pack"}
    held.database.close()


def test_an_erasure_needs_no_store_after_the_log_was_moved(url: str, tmp_path: Path) -> None:
    """Once everything is in the database, the folder may be removed: nothing looks for it any more."""
    folder = tmp_path / "packs"
    folder.mkdir()
    held = Held(url, FileStore(folder))
    filled(held)
    held.put([line(held.trackpoint, held.now, "erase me")])
    assert unpack_shop(held.database, held.trackpoint, held.packs())
    held.database.write(lambda connection: set_packing(connection, packing=False))
    assert held.collect() is None
    shutil.rmtree(folder)
    assert forget(held.database, held.trackpoint, ["erase me"], held.now, block=False).wiped
    assert held.collect(30 * DAY_MS) is None
    held.database.close()


# Several databases, and backups.


def test_two_databases_at_the_same_location_do_not_share_a_store(tmp_path: Path) -> None:
    """Of two machines whose databases have the same path, the later one gets an empty store, and the other refuses."""
    store = MemoryStore()
    path = tmp_path / "db.sqlite"
    first = Held(f"sqlite:///{path}", store)
    other = tmp_path / "elsewhere.sqlite"
    first.database.close()
    path.rename(other)
    second = Held(f"sqlite:///{path}", store)
    filled(second)
    named = keys_in(store)
    second.database.close()
    other.rename(path)  # as the first one sees it
    again = Database(f"sqlite:///{path}", open_store=lambda _: store)
    with pytest.raises(StoreUnavailable, match="belongs to"):
        collect(again, again.dialect.now_ms() + 30 * DAY_MS)
    with pytest.raises(SettingError, match="earlier database"):
        attach(again, store.url)
    assert keys_in(store) == named
    again.close()


def test_a_backup_has_the_packs_of_its_database_and_no_others(held: Held, tmp_path: Path) -> None:
    """Packs that were replaced before the backup may hold erased events, and are not copied."""
    held.put([line(held.trackpoint, held.now - 10 * DAY_MS, "erase me")])
    filled(held)
    erase(held.database, held.trackpoint, ["erase me"], held.now, block=False)
    backup(held.database, tmp_path / "copy.sqlite", held.now)
    assert keys_in(FileStore(tmp_path / "copy.sqlite.packs")) == held.keys_named()


def test_nothing_is_deleted_during_a_backup_though_the_clock_is_set_back(held: Held, store: MemoryStore) -> None:
    """A pin keeps old packs even if it seems to last a little longer than one may."""
    filled(held)
    with pinned(held.database):
        unpack_shop(held.database, held.trackpoint, held.packs())
        assert "backup" in str(held.collect(-1000))
        assert keys_in(store)
    assert held.collect() is None
    assert not keys_in(store)


def test_folders_of_others_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root of a file system has a folder that only root may read, and is a good place for packs all the same."""
    (tmp_path / "lost+found").mkdir()
    store = FileStore(tmp_path)
    store.put("7/20260101/a.pack", [b"1"])
    scandir = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert keys_in(store) == {"7/20260101/a.pack"}


def test_a_key_that_is_not_there_is_told(store: MemoryStore) -> None:
    """Reading an object that does not exist says which."""
    with pytest.raises(ObjectGone, match="nothing"):
        store.read("nothing", 0, 1)


def test_a_folder_is_used_like_memory(url: str, tmp_path: Path) -> None:
    """The end of the window is kept apart from what is packed in files, too."""
    folder = tmp_path / "packs"
    folder.mkdir()
    held = Held(url, FileStore(folder))
    filled(held)
    window = resolve(held.now - 15 * DAY_MS, held.now - 8 * DAY_MS, held.now)
    got = b"".join(unpack(held.log.read(held.trackpoint, window)))
    assert got == model(held.lines, window.start, window.end)
    held.database.close()
