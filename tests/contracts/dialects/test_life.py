"""The life of a log on every dialect: imports, upkeep and packs, and after each step every event is there once."""

from __future__ import annotations

import json
import random
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from smsevents.catalog import tallies
from smsevents.catalog.objects import State, count_objects
from smsevents.catalog.stores import set_packing
from smsevents.log import selected
from smsevents.segments import tally
from smsevents.segments.splice import unpack
from smsevents.stats.events import count_events
from smsevents.stats.question import AXES, PARTS, Question
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.packing import unpack_shop
from smsevents.upkeep.quarantining import quarantine
from smsevents.upkeep.retention import expire
from smsevents.upkeep.statistics import statistics
from smsevents.upkeep.tallying import Backfill
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import Window
from smsevents.worker.worker import UpkeepWorker
from tests.contracts.dialects.harness import SLOW, harness_of
from tests.support.filters import filter_of, some_filters, varied_lines, wanted_of
from tests.support.lines import DAY_MS, body_of, line, random_lines
from tests.support.logs import FEW_LINES, Held, filled
from tests.support.statistics import plain_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CAMPAIGN = pytest.mark.campaign


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=SLOW), pytest.param("pgbouncer", marks=CAMPAIGN)])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Held]:
    """Make a database of each dialect, with one shop, and with a store of packs."""
    harness = harness_of(request.param, request, tmp_path)
    made = Held(harness.url, MemoryStore())
    yield made
    made.database.close()
    harness.close()


@pytest.fixture(autouse=True)
def _small_tallies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small segments have tallies."""
    monkeypatch.setattr(tally, "TALLY_LINES_MIN_BYTES", 400)
    monkeypatch.setattr(tallies, "TALLY_LINES_MIN_BYTES", 400)


@contextmanager
def intact(held: Held) -> Iterator[None]:
    """Check after the block that the log is exported and counted as expected, and that nothing is damaged."""
    yield
    assert held.exported() == held.expected()
    assert held.damages() == []
    window = Window(held.now - HISTORY_MS, held.now + DAY_MS)
    for axis in AXES:
        question = Question(window, ZoneInfo("Europe/Prague"), axis, "1d", held.now, PARTS)
        total, rows = plain_rows(held.expected().split(b"\n")[:-1], question)
        counts = count_events(held.database, held.trackpoint, question)
        assert counts.events == total
        assert sorted(map(repr, msgspec.to_builtins(counts.rows()))) == sorted(map(repr, in_order(rows)))


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with their members in the order of a response."""
    names = ("bucket", "status", "type", "campaign", "node", "events")
    return [{name: row[name] for name in names if name in row} for row in rows]


def user_of(line: bytes) -> str:
    """Return the user of a line."""
    user: str = json.loads(line)["smsEvent"]["userId"]
    return user


def test_the_life_of_a_log(held: Held) -> None:
    """Import, compact, pack, import late events, repack, erase, expire, unpack: no step loses or repeats an event."""
    with intact(held):
        lines = filled(held)
    with intact(held):
        late = random_lines(
            random.Random(2),  # noqa: S311 -- invented data
            held.trackpoint,
            60,
            held.now - 20 * DAY_MS,
            held.now - DAY_MS,
        )
        held.put(late)
    with intact(held):
        assert compact_shop(held.database, held.trackpoint, held.now, None, FEW_LINES).before
        held.pack(FEW_LINES)
        assert statistics(held.database, held.trackpoint).overlapping == 0
    with intact(held):
        gone = {user_of(lines[0]), user_of(late[0])}
        now = held.database.dialect.now_ms()
        erased = forget(held.database, held.trackpoint, sorted(gone), now, block=True)
        assert (erased.events, erased.wiped) == (2, True)
        held.lines -= {one for one in held.lines if user_of(one) in gone}
    with intact(held):
        held.now += 80 * DAY_MS
        assert expire(held.database, held.now).packs
        held.collect()
        with held.database.read() as connection:
            assert count_objects(connection, State.DEAD) == (0, 0)
    with intact(held):
        held.database.write(partial(set_packing, packing=False))
        assert unpack_shop(held.database, held.trackpoint, held.packs())
        assert held.packs() == []
        assert held.headers()


def test_filters_of_every_dialect(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through rows and packs, with and without tallies, a filtered export has the matching lines of the full one."""
    for module in (tally, tallies):
        monkeypatch.setattr(module, "TALLY_LINES_MIN_BYTES", 1)
    monkeypatch.setattr(selected, "LEFT_OUT_SEGMENTS_MAX", 2)
    chance = random.Random(4)  # noqa: S311 -- invented data
    for _ in range(3):
        held.put(varied_lines(chance, held.trackpoint, 150, held.now - 12 * DAY_MS, held.now - DAY_MS))
        held.compact(FEW_LINES)
        held.pack(FEW_LINES)
        held.put(varied_lines(chance, held.trackpoint, 20, held.now - 12 * DAY_MS, held.now))
        for _ in range(2):
            exported = held.exported().splitlines()
            for chosen in some_filters(chance, exported, 5):
                found = unpack(held.log.read(held.trackpoint, Window(0, held.now), filter_of(chosen)))
                assert b"".join(found) == body_of(wanted_of(exported, chosen))
            list(Backfill().steps(held.database, 2**62))  # from now on, every segment has a tally


def test_a_worker_keeps_the_log(held: Held) -> None:
    """Rounds of an upkeep worker settle and pack what imports bring in any order, and find nothing more to do."""
    lines = random_lines(
        random.Random(3),  # noqa: S311 -- invented data
        held.trackpoint,
        600,
        held.now - 9 * DAY_MS,
        held.now - 2 * DAY_MS,
    )
    for start in range(0, 600, 100):
        held.put(lines[start : start + 100])
    worker = UpkeepWorker(held.database, lambda: held.now, packs=True)
    with intact(held):
        for _ in range(3):
            assert worker.round()
            held.now += 11 * 60 * 1000
        found = statistics(held.database, held.trackpoint)
        assert (found.overlapping, found.events) == (0, 600)
    worker.release_lease()


def test_a_damaged_segment_is_set_aside(held: Held) -> None:
    """A segment that is not what its row says is found, and set aside; all other events are exported."""
    held.put([line(held.trackpoint, held.now - 2 * DAY_MS)])
    (header,) = held.headers()
    wrong = f"UPDATE segments SET events = events + 1 WHERE id = {header.id}"  # noqa: S608 -- a number
    held.database.write(lambda c: c.exec_driver_sql(wrong).close())
    held.lines.clear()
    held.put([line(held.trackpoint, held.now)])
    (found,) = [one for one in verify(held.database, None) if one.damage]
    quarantine(held.database, found, held.now)
    assert held.exported() == held.expected()
    assert held.damages() == []
    assert statistics(held.database, held.trackpoint).quarantined == 1
