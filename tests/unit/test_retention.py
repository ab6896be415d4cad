"""Retention: what is older than the history leaves the disk, and no export changes."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.dialects.sqlite.files import empty_wal
from smsevents.clock.system import now_ms
from smsevents.upkeep import retention
from smsevents.upkeep.retention import Expired, expire
from smsevents.wire.limits import HISTORY_MS
from tests.support.databases import query
from tests.support.erasures import is_marked
from tests.support.lines import DAY_MS, date_of, line, random_lines
from tests.support.logs import Held
from tests.support.servers import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

CYCLES = 12
LATE_MS = 20 * DAY_MS  # the lines are that old when they come, so that some leave well before the last cycles


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield an empty shop."""
    made = Held(url)
    yield made
    made.database.close()


def put_day(held: Held, days_ago: int, count: int = 30) -> None:
    """Import lines of one day of UTC, so that they make one segment."""
    chance = random.Random(days_ago)  # noqa: S311 -- invented data
    start = (held.now // DAY_MS - days_ago) * DAY_MS
    held.put(random_lines(chance, held.trackpoint, count, start, min(start + DAY_MS - 1, held.now)))


def kept(held: Held) -> set[bytes]:
    """Return the lines that are part of the history."""
    return {one for one in held.lines if date_of(one) >= held.now - HISTORY_MS}


def test_whole_old_segments_are_deleted(held: Held) -> None:
    """Segments that end before the history are deleted, and the others stay; exports do not change."""
    for days_ago, count in ((85, 10), (80, 20), (60, 30), (0, 40)):
        put_day(held, days_ago, count)
    held.now += 15 * DAY_MS
    before = held.exported()

    gone = expire(held.database, held.now)

    assert gone == Expired(2, 30)
    assert [one.events for one in held.headers()] == [30, 40]
    assert held.exported() == before == held.expected()
    assert expire(held.database, held.now) == Expired(0, 0)


def test_the_bound_is_exact(held: Held) -> None:
    """A segment that ends at the very start of the history stays; a millisecond later it goes."""
    held.put([line(held.trackpoint, held.now)])
    held.now += HISTORY_MS

    assert expire(held.database, held.now) == Expired(0, 0)
    assert held.exported() == held.expected() != b""
    held.now += 1
    assert expire(held.database, held.now) == Expired(1, 1)
    assert held.headers() == []


def test_many_segments_are_deleted_in_steps(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """More segments than one transaction deletes are deleted and counted all the same."""
    monkeypatch.setattr(retention, "EXPIRED_SEGMENTS_IN_STATEMENT_MAX", 2)
    for days_ago in (84, 82, 80, 78, 0):
        put_day(held, days_ago)
    held.now += 20 * DAY_MS

    assert expire(held.database, held.now) == Expired(4, 120)
    assert held.exported() == held.expected()


def test_a_straddling_segment_stays_until_it_is_rewritten(held: Held) -> None:
    """A segment partly in the history stays as it is; compaction drops its old events; exports are the same."""
    chance = random.Random(2)  # noqa: S311 -- invented data
    held.put(random_lines(chance, held.trackpoint, 300, held.now - 89 * DAY_MS, held.now - 60 * DAY_MS))
    held.compact()
    held.now += 15 * DAY_MS
    held.put(random_lines(chance, held.trackpoint, 50, held.now - 80 * DAY_MS, held.now))
    before = held.exported()

    assert expire(held.database, held.now) == Expired(0, 0)
    assert max(one.events for one in held.headers()) == 300
    assert held.exported() == before
    assert not is_marked(held.database)
    held.compact()

    assert is_marked(held.database)
    assert 50 < len(kept(held)) < 350
    assert [one.events for one in held.headers()] == [len(kept(held))]
    assert held.exported() == before == held.expected()


def test_compaction_of_old_segments_leaves_none(held: Held) -> None:
    """Segments that are all old are gone when compaction has merged them, also if nothing expired them before."""
    for _ in range(3):
        put_day(held, 80)
        put_day(held, 79)
    held.now += 30 * DAY_MS

    held.compact()

    assert held.headers() == []
    assert held.exported() == b""


def test_the_file_levels_off(held: Held) -> None:
    """With as much leaving as coming in, the file stops growing: freed pages are used again."""
    chance = random.Random(3)  # noqa: S311 -- invented data
    sizes = []
    for _ in range(CYCLES):
        start = held.now - LATE_MS
        held.put(
            line(held.trackpoint, start + chance.randrange(DAY_MS), campaign=f"{chance.getrandbits(3600):x}")
            for _ in range(1500)
        )
        held.now += 9 * DAY_MS
        expire(held.database, held.now)
        assert empty_wal(held.path)
        sizes.append(held.path.stat().st_size)

    settled = CYCLES * 2 // 3
    assert sizes[0] * 4 < sizes[settled - 1]
    assert max(sizes[settled:]) <= max(sizes[:settled]) * 1.01
    assert held.exported() == held.expected()


@pytest.mark.slow
def test_the_command_tells_what_it_deleted(held: Held) -> None:
    """`smsevents expire` deletes what is old by the clock and prints how much that was."""
    held.now = now_ms() - 95 * DAY_MS
    put_day(held, 0, 7)
    put_day(held, 2, 5)
    held.now = now_ms()
    put_day(held, 0, 3)
    environment = os.environ | {"SMSEVENTS_DATABASE": held.url}

    assert run_command("expire", environment=environment).stderr == b"deleted 2 segments with 12 events\n"
    assert run_command("expire", environment=environment).stderr == b"deleted 0 segments with 0 events\n"
    assert query(held.path, "SELECT events FROM segments") == [(3,)]
