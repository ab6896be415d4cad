"""Verification: every kind of damage is found and reported, and the rest of the log stays usable."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.accounts.access import Access
from smsevents.catalog.in_order import span_of
from smsevents.clock.system import now_ms
from smsevents.errors import DamagedSegment
from smsevents.segments.segment import RAW_DEFLATE, deflate
from smsevents.segments.splice import FINAL_BLOCK
from smsevents.upkeep.groups import COMPACTION_SMALL_SEGMENTS_MIN
from smsevents.worker.worker import UpkeepWorker
from tests.support.counting import filled
from tests.support.databases import query
from tests.support.lines import DAY_MS, HOUR_MS, body_of, date_of, line, model
from tests.support.logs import Held, store
from tests.support.servers import run_command

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

OTHER = 7
DATA = "UPDATE segments SET data = ? WHERE id = ?"
STORED = "UPDATE segments SET data = ?, stored_crc = ? WHERE id = ?"
REPACKED = (
    "UPDATE segments SET data = ?, stored_crc = ?, line_crc = ?, line_bytes = ?, events = ?, first_date = ?,"
    " first_line = ?, last_date = ?, last_line = ?, span_ms = ? WHERE id = ?"
)
COLUMNS = {
    "stored_crc": "stored_crc + 1",
    "line_crc": "line_crc + 1",
    "line_bytes": "line_bytes - 1",
    "events": "events + 1",
    "first_date": "first_date - 1",
    "last_line": "last_line || 'x'",
    "empty": "0, line_bytes = 0, line_crc = 0, stored_crc = 0, data = x''",
    "no line bytes": "0",
    "absurd line bytes": "9223372036854775807",
}
ABSURD = ["empty", "no line bytes", "absurd line bytes", "final block", "no flush"]
BY_SUMS = ["flipped", "cut", "stored_crc", "line_crc", "line_bytes"]
DEEPER = ["not canonical", "other shop", "unsorted", "doubled", "no event"]
KINDS = [*BY_SUMS, *ABSURD, "events", "first_date", "last_line", *DEEPER]


class Days(Held):
    """A shop with three segments, a day apart, and another shop with one."""

    def __init__(self, url: str) -> None:
        """Store the segments; the second one is there to be damaged."""
        super().__init__(url)
        self.now = now_ms()
        self.hour_of_today = self.now // DAY_MS * DAY_MS + HOUR_MS  # far from midnight, where a segment would end
        self.days = [[self.line_at(day, index) for index in range(20)] for day in (3, 2, 1)]
        for lines in self.days:
            self.put(lines)
        Access(self.database).add_shop(OTHER, "")
        store(self.log, OTHER, [line(OTHER, self.now - HOUR_MS)])
        self.ids = [one.id for one in self.headers()]
        self.bad = self.ids[1]

    def line_at(self, day: int, index: int, trackpoint: int = Held.trackpoint) -> bytes:
        """Return a line this many days ago; a higher index means a later date."""
        return line(trackpoint, self.hour_of_today - day * DAY_MS + index, user=f"{day}-{index}")

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command on the database."""
        return run_command(*words, environment=os.environ | {"SMSEVENTS_DATABASE": self.url})

    def rows(self) -> list[tuple[Any, ...]]:
        """Return everything that is stored of the shop."""
        return query(self.path, "SELECT * FROM segments WHERE trackpoint = ? ORDER BY id", self.trackpoint)

    def damage(self, kind: str) -> None:
        """Damage the second segment."""
        if kind in COLUMNS:
            column = {"empty": "events", "no line bytes": "line_bytes", "absurd line bytes": "line_bytes"}.get(
                kind, kind
            )
            value = f"CAST({COLUMNS[kind]} AS BLOB)" if kind == "last_line" else COLUMNS[kind]
            query(self.path, f"UPDATE segments SET {column} = {value} WHERE id = ?", self.bad)  # noqa: S608 -- constants of this file
            return
        data: bytes = query(self.path, "SELECT data FROM segments WHERE id = ?", self.bad)[0][0]
        middle = len(data) // 2
        if kind == "flipped":
            query(self.path, DATA, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :], self.bad)
        elif kind == "cut":
            query(self.path, DATA, data[:middle], self.bad)
        elif kind in {"final block", "no flush"}:
            ended = (
                data + FINAL_BLOCK if kind == "final block" else data + zlib.compressobj(wbits=RAW_DEFLATE).flush()[:1]
            )
            query(self.path, STORED, ended, zlib.crc32(ended), self.bad)
        else:
            self.repack(wrong_lines(kind, self.days[1], self.line_at(2, 9, OTHER)))

    def repack(self, lines: list[bytes]) -> None:
        """Put lines into the second segment, with correct sums and bounds."""
        body, (first, last) = body_of(lines), (lines[0], lines[-1])
        data = deflate(body)
        sums = (zlib.crc32(data), zlib.crc32(body), len(body), len(lines))
        bounds = (date_of(first), first, date_of(last), last, span_of(date_of(first), date_of(last)))
        query(self.path, REPACKED, data, *sums, *bounds, self.bad)


def wrong_lines(kind: str, lines: list[bytes], foreign: bytes) -> list[bytes]:
    """Make the tenth of twenty lines wrong."""
    before, one, following, after = lines[:9], lines[9], lines[10], lines[11:]
    wrong = {
        "not canonical": [one.replace(b'"source":', b'"source": '), following],
        "other shop": [foreign, following],
        "unsorted": [following, one],
        "doubled": [one, one, following],
        "no event": [b"{}", following],
    }
    return [*before, *wrong[kind], *after]


@pytest.fixture
def days(url: str) -> Iterator[Days]:
    """Yield a shop with three segments."""
    made = Days(url)
    yield made
    made.database.close()


def test_a_sound_log_is_sound(days: Days) -> None:
    """`verify` exits with 0 on a sound log, of all shops or of one, and says how much it checked."""
    everything = days.run("verify")
    one = days.run("verify", str(OTHER))

    assert (everything.returncode, everything.stdout) == (0, b"")
    assert everything.stderr == b"checked 4 segments with 61 events: 0 damaged\n"
    assert (one.returncode, one.stderr) == (0, b"checked 1 segments with 1 events: 0 damaged\n")


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found(days: Days, kind: str) -> None:
    """Each kind of damage makes `verify` exit with 1 and name only that segment, and changes nothing."""
    days.damage(kind)
    before = days.rows()

    done = days.run("verify")

    assert done.returncode == 1
    assert done.stdout.startswith(f"segment {days.bad} of shop {days.trackpoint}, ".encode())
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.startswith(b"checked 4 segments")
    assert days.rows() == before


def test_a_wrong_span_is_found(days: Days) -> None:
    """A range that is too short, which hides events from exports that begin within the segment, is damage."""
    query(days.path, "UPDATE segments SET span_ms = 0")

    assert len(days.damages()) == 3


@pytest.mark.parametrize("kind", ["stored_crc", "unsorted"])
def test_quarantine_frees_the_rest(days: Days, kind: str) -> None:
    """`--quarantine` removes a damaged segment from the log: the rest is exported and sound, and `stats` counts it."""
    days.damage(kind)

    done = days.run("verify", "--quarantine")

    assert done.returncode == 1
    assert done.stderr.endswith(b"1 damaged, quarantined\n")
    assert days.run("export", str(days.trackpoint)).stdout == model(days.days[0] + days.days[2], 0, days.now)
    assert days.run("verify").returncode == 0
    assert counted(days) == (1, 40)


def test_discard_empties_the_quarantine(days: Days) -> None:
    """`--discard` deletes the quarantined segments of the given shop, and nothing else."""
    days.damage("flipped")
    days.run("verify", "--quarantine")

    assert days.run("verify", str(OTHER), "--discard").stderr.startswith(b"deleted 0 segments from quarantine\n")
    assert counted(days) == (1, 40)
    assert days.run("verify", "--discard").stderr.startswith(b"deleted 1 segments from quarantine\n")
    assert counted(days) == (0, 40)
    assert query(days.path, "SELECT count(*) FROM quarantine") == [(0,)]


def counted(days: Days) -> tuple[int, int]:
    """Return how many segments `stats` counts in quarantine, and how many events in the log."""
    found = json.loads(days.run("stats", str(days.trackpoint), "--json").stdout)
    return found["quarantined"], found["events"]


@pytest.mark.parametrize("kind", BY_SUMS)
def test_compaction_leaves_damage_alone(days: Days, kind: str) -> None:
    """Compaction that meets a damaged segment reports it and leaves the log as it was."""
    days.damage(kind)
    before = days.rows()

    with pytest.raises(DamagedSegment):
        days.compact()

    assert days.rows() == before


@pytest.mark.parametrize("kind", [*BY_SUMS, "empty", "final block", "no event"])
def test_the_worker_goes_on(days: Days, kind: str) -> None:
    """A round of the upkeep worker skips a shop with a damaged segment and compacts the shops after it."""
    days.damage(kind)
    last = 2**62
    Access(days.database).add_shop(last, "")
    for offset in range(COMPACTION_SMALL_SEGMENTS_MIN):
        days.put([days.line_at(0, -offset)])
        store(days.log, last, [line(last, days.now - offset)])
    before = days.rows()

    assert UpkeepWorker(days.database, days.log.now).round()

    assert days.rows() == before
    assert query(days.path, "SELECT events FROM segments WHERE trackpoint = ?", last) == [
        (COMPACTION_SMALL_SEGMENTS_MIN,)
    ]


def test_wrong_tallies_are_named_and_made_again(held: Held) -> None:
    """`verify` fails if a tally is wrong and names its segment; with --quarantine it is made again."""
    held.now = now_ms()
    filled(held, 2000, days=2)
    held.compact()
    (tally,) = query(held.path, "SELECT stored_id, data FROM tallies ORDER BY stored_id LIMIT 1")
    query(held.path, "UPDATE tallies SET data = x'00' WHERE stored_id = ?", tally[0])
    environment = os.environ | {"SMSEVENTS_DATABASE": held.url}

    for words, code in ((["verify"], 1), (["verify", "--quarantine"], 1), (["verify"], 0)):
        done = run_command(*words, environment=environment)
        assert done.returncode == code
        assert (b"segment %d of shop" % tally[0] in done.stdout) is bool(code)
        assert (b"0 damaged, 1 with a wrong tally or sum" in done.stderr) is bool(code)
    assert query(held.path, "SELECT data FROM tallies WHERE stored_id = ?", tally[0]) == [(tally[1],)]
    assert held.exported() == held.expected()
