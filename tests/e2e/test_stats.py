"""Statistics: the numbers of `smsevents stats` equal a plain count."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from tests.support.databases import query
from tests.support.lines import DAY_MS, HOUR_MS, body_of, date_of, random_lines
from tests.support.logs import Held, store
from tests.support.servers import run_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EMPTY, OTHER = 5, 6
COLUMNS = [
    "trackpoint",
    "events",
    "segments",
    "packs",
    "line_bytes",
    "stored_bytes",
    "stored_bytes_per_event",
    "oldest_ms",
    "newest_ms",
    "overlapping",
    "quarantined",
]


class Counted(Held):
    """Three shops, one of them empty, and the imports that they hold."""

    def __init__(self, url: str) -> None:
        """Store imports that overlap in one shop but not in the other."""
        super().__init__(url)
        chance = random.Random(4)  # noqa: S311 -- invented data
        spans = [(80, 60), (70, 69), (65, 50), (40, 30), (30, 20), (10, 9)]
        bodies = [random_lines(chance, self.trackpoint, 40, *self.times(*span)) for span in spans]
        chance.shuffle(bodies)
        self.imports = {
            EMPTY: [],
            OTHER: [random_lines(chance, OTHER, 9, *self.times(day, day - 1)) for day in (8, 6)],
            self.trackpoint: [*bodies, bodies[0][:5]],
        }
        for trackpoint, imports in self.imports.items():
            if trackpoint != self.trackpoint:
                Access(self.database).add_shop(trackpoint, "")
            for lines in imports:
                store(self.log, trackpoint, lines)

    def times(self, first: int, last: int) -> tuple[int, int]:
        """Return an interval, given in days ago, in Unix milliseconds."""
        return self.now - first * DAY_MS, self.now - last * DAY_MS - HOUR_MS

    def run(self, *words: str) -> str:
        """Run `stats` and return what it printed."""
        done = run_command("stats", *words, environment=os.environ | {"SMSEVENTS_DATABASE": self.url})
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def expected(self, trackpoint: int) -> dict[str, Any]:  # type: ignore[override]  # of a shop, not an export
        """Count what is in a shop."""
        # a byte-identical copy of an existing segment is not stored again
        parts = {tuple(sorted(day)) for lines in self.imports[trackpoint] for day in by_day(lines)}
        dates = [date_of(one) for lines in parts for one in lines]
        stored = query(self.path, "SELECT length(data) FROM segments WHERE trackpoint = ?", trackpoint)
        stored_bytes = sum(size for (size,) in stored)
        return {
            "trackpoint": trackpoint,
            "events": len(dates),
            "segments": len(parts),
            "packs": 0,
            "line_bytes": sum(len(body_of(lines)) for lines in parts),
            "stored_bytes": stored_bytes,
            "stored_bytes_per_event": round(stored_bytes / len(dates), 2) if dates else None,
            "oldest_ms": min(dates, default=None),
            "newest_ms": max(dates, default=None),
            "overlapping": overlapping(parts),
            "quarantined": 0,
        }


def by_day(lines: list[bytes]) -> list[list[bytes]]:
    """Split an import by UTC day; each part is a segment."""
    days: dict[int, list[bytes]] = {}
    for one in lines:
        days.setdefault(date_of(one) // DAY_MS, []).append(one)
    return list(days.values())


def overlapping(parts: Iterable[Iterable[bytes]]) -> int:
    """Count the parts that begin before the end of an earlier part."""
    entries = sorted(sorted((date_of(one), one) for one in lines) for lines in parts)
    return sum(any(one[0] <= earlier[-1] for earlier in entries[:index]) for index, one in enumerate(entries))


@pytest.fixture
def counted(url: str) -> Iterator[Counted]:
    """Yield a database with three shops."""
    made = Counted(url)
    yield made
    made.database.close()


def shown(column: str, value: float | None) -> str:
    """Return a value as the table shows it."""
    if value is None:
        return "-"
    return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}" if column.endswith("_ms") else str(value)


def test_all_shops_as_json(counted: Counted) -> None:
    """`stats --json` prints a line for each shop that agrees with a plain count, the empty shop included."""
    found = [json.loads(one) for one in counted.run("--json").splitlines()]

    assert found == [counted.expected(trackpoint) for trackpoint in sorted(counted.imports)]
    assert [one["overlapping"] > 0 for one in found] == [False, False, True]


def test_all_shops_as_a_table(counted: Counted) -> None:
    """`stats` in a pipe prints tab-separated rows with a header that agree with a plain count."""
    header, *rows = [row.split("\t") for row in counted.run().splitlines()]
    expected = [counted.expected(trackpoint) for trackpoint in sorted(counted.imports)]

    assert (header[0], header[-1], len(header)) == ("TRACKPOINT", "SET ASIDE", len(COLUMNS))
    assert rows == [[shown(column, one[column]) for column in COLUMNS] for one in expected]


@pytest.mark.parametrize("trackpoint", [EMPTY, OTHER, Held.trackpoint])
def test_one_shop(counted: Counted, trackpoint: int) -> None:
    """`stats TRACKPOINT` reports only that shop, as JSON and as a table."""
    expected = counted.expected(trackpoint)

    assert json.loads(counted.run(str(trackpoint), "--json")) == expected
    assert counted.run(str(trackpoint)).splitlines()[1:] == [
        "\t".join(shown(column, expected[column]) for column in COLUMNS)
    ]


def test_no_shop(url: str) -> None:
    """Without shops, `stats` prints the header of the table, and nothing as JSON."""
    environment = os.environ | {"SMSEVENTS_DATABASE": url}
    open_catalog(url).close()

    assert run_command("stats", environment=environment).stdout.count(b"\n") == 1
    assert run_command("stats", "--json", environment=environment).stdout == b""


@pytest.mark.parametrize("command", ["stats", "compact", "verify"])
def test_an_unknown_shop_is_told(counted: Counted, command: str) -> None:
    """A command on a shop that does not exist says so in one line and fails, rather than reporting no problem."""
    done = run_command(command, "987654321", environment=os.environ | {"SMSEVENTS_DATABASE": counted.url})

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"smsevents: There is no shop 987654321.")
    assert done.stderr.count(b"\n") == 1
