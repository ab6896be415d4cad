"""Folders of `pull` and a table of `sync` that were made by commit 7562c58 are continued.

`tests/data/old_client/make` shows what they hold and how they were made.
"""

from __future__ import annotations

import gzip
import tarfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client.pull.days import Split, day_of, start_of
from smsevents.client.pull.formats import FormatName
from smsevents.client.sync import sync
from tests.support.lines import DAY_MS, date_of, line
from tests.support.pulling import DAYS, NOW, TRACKPOINT, Site, ordered
from tests.support.servers import PLAIN
from tests.support.standin import Account
from tests.support.warehouses import duckdb_at, expected

if TYPE_CHECKING:
    from tests.support.standin import StandIn

FOLDER = Path(__file__).parents[1] / "data" / "old_client"
URL = "http://server"  # of the table's state
LATER = NOW + 2 * DAY_MS
LAST = date(2026, 11, 27)
OPEN_DAYS = [date(2026, 11, number) for number in range(22, 28)]  # not final when the folders were made, or later
FINAL_DAYS = [day for day in DAYS if day not in OPEN_DAYS]
OLD = gzip.decompress((FOLDER / "lines.gz").read_bytes()).splitlines()
# late ones of the days that were not final, repeated ones of users that were there, and those of two more days
NEW = [
    *(line(TRACKPOINT, start_of(day) + 5, f"late {day}") for day in OPEN_DAYS[:3]),
    *(line(TRACKPOINT, date_of(one) + 1, "user 7", "EXPIRED") for one in OLD if day_of(date_of(one)) in OPEN_DAYS),
    *(line(TRACKPOINT, start_of(day) + 5000, f"new {day}", node="ž 😀") for day in OPEN_DAYS[4:]),
]
FOLDERS: dict[str, dict[str, Any]] = {
    "days.parquet": {"format": FormatName.PARQUET},
    "days.jsonl": {"format": FormatName.JSONL},
    "months.csv": {"format": FormatName.CSV, "split": Split.MONTH},
}


def old_site(standin: StandIn, folder: Path, name: str) -> Site:
    """Return a folder as the earlier version left it, before a server that now has more events."""
    with tarfile.open(FOLDER / "pulled.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    standin.answers(Account(lines=OLD + NEW, options={"gzip": True}))
    return Site(folder / name, standin, FOLDERS[name])


def files_of(site: Site) -> dict[str, bytes]:
    """Return the files of a folder with what they hold."""
    return {name: (site.path / name).read_bytes() for name in site.names()}


@pytest.mark.parametrize("name", ["days.parquet", "days.jsonl"])
def test_a_folder_of_days_is_continued(standin: StandIn, tmp_path: Path, name: str) -> None:
    """Only days that were not final are asked for again; late events are merged, and other files stay as they were."""
    site = old_site(standin, tmp_path, name)
    before = files_of(site)

    summary = site.pull(now=LATER, last=LAST)

    assert summary.is_complete
    assert sorted({day_of(request.interval["from"]) for request in standin.requests}) == OPEN_DAYS
    assert site.lines() == ordered(OLD + NEW)
    after = files_of(site)
    assert [one for one in before if before[one] == after[one]] == [
        one for one in before if one.startswith(tuple(map(str, FINAL_DAYS)))
    ]
    assert site.state() == []
    assert (summary.plan.final, summary.events_new) == (FINAL_DAYS, len(NEW))


def test_a_folder_that_was_stopped_is_completed(standin: StandIn, tmp_path: Path) -> None:
    """Days that wait to be merged into a month are merged, and only those that had changed are asked for again."""
    site = old_site(standin, tmp_path, "months.csv")
    assert site.names() == []

    assert site.pull(now=LATER, last=LAST).is_complete

    assert sorted({day_of(request.interval["from"]) for request in standin.requests}) == OPEN_DAYS
    assert site.lines() == ordered(OLD + NEW)
    assert site.state() == []


def test_messages_of_a_folder_are_continued(standin: StandIn, tmp_path: Path) -> None:
    """The files of messages become those of a new folder with the same events."""
    site = old_site(standin, tmp_path, "days.parquet")
    fresh = Site(tmp_path / "fresh", standin, FOLDERS["days.parquet"])

    assert site.pull(now=LATER, last=LAST).is_complete
    assert fresh.pull(now=LATER, last=LAST, messages=True).is_complete

    assert site.messages() == fresh.messages() != {}


def test_a_table_is_continued(standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync begins at the position of the earlier version, loads each event once, and keeps the messages right."""
    position = NOW - 3 * DAY_MS
    everything = OLD + [one for one in NEW if date_of(one) >= position]
    standin.answers(Account(lines=everything))
    standin.now_ms = lambda: LATER
    monkeypatch.setenv("HTTP_PROXY", standin.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    old, fresh = tmp_path / "old.duckdb", tmp_path / "fresh.duckdb"
    old.write_bytes(gzip.decompress((FOLDER / "synced.duckdb.gz").read_bytes()))
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: LATER}
    warehouses = duckdb_at(old), duckdb_at(fresh)
    assert warehouses[0].rows() == expected(OLD)

    report = sync(TRACKPOINT, "key", url=URL, destination=warehouses[0].destination, **fixed)
    sync(TRACKPOINT, "key", url=URL, destination=warehouses[1].destination, messages=True, **fixed)

    assert (report.synced_from, report.loads) == (position, 1)
    assert warehouses[0].rows() == expected(everything)
    query = "SELECT * EXCLUDE (_dlt_load_id) FROM sms.sms_messages ORDER BY ALL"
    states = [one.query(query) for one in warehouses]
    assert len(states[0]) == report.messages
    assert states[0] == states[1]
