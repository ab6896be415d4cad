"""What people choose for a pull: one file, Hive partitions, and filters."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from smsevents.client import Filter
from smsevents.client.pull.days import Split, day_of
from smsevents.client.pull.errors import OtherOptions
from smsevents.client.pull.formats import FormatName
from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, body_of, date_of, line
from tests.support.pulling import TRACKPOINT, Site, ordered, some_lines
from tests.support.servers import eventually, run_command
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sms_0123456789ab_secret"
DAYS = 6


@pytest.fixture
def environment(standin: StandIn, tmp_path: Path) -> dict[str, str]:
    """Return an environment that names the stand-in."""
    return os.environ | {"SMSEVENTS_API_KEY": KEY, "SMSEVENTS_URL": standin.url, "HOME": str(tmp_path)}


def recent(count: int = 60) -> list[bytes]:
    """Return lines of the last days, in order, with several statuses."""
    now = now_ms()
    return ordered(
        [
            line(
                TRACKPOINT,
                now - 1000 - number * DAY_MS * DAYS // count,
                f"user {number}",
                ["DELIVERED", "REJECTED", "EXPIRED"][number % 3],
                node="VIP" if number % 2 else None,
            )
            for number in range(count)
        ]
    )


def pull(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return run_command("pull", str(TRACKPOINT), *words, environment=environment, stdin=b"")


def names(folder: Path) -> list[str]:
    """Return what is in a folder, except the folder of locks."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".cache")


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.csv", "e.csv.gz", "e.parquet"])
def test_one_file(environment: dict[str, str], standin: StandIn, tmp_path: Path, name: str) -> None:
    """`-o` writes all events into one private file of the format that its ending names, and leaves nothing else."""
    lines = recent()
    standin.answers(Account(lines=lines, copies=3))

    done = pull(environment, "-o", str(tmp_path / name), "--days", "7")

    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == [name]
    file = tmp_path / name
    assert file.stat().st_mode & 0o777 == 0o600
    data = gzip.decompress(file.read_bytes()) if name.endswith(".gz") else file.read_bytes()
    if "jsonl" in name:
        assert data == body_of(lines)
    else:
        reader = "read_csv" if "csv" in name else "read_parquet"
        rows = duckdb.execute(f"SELECT user_id FROM {reader}('{file}')").fetchall()  # noqa: S608 -- our own path
        assert [user for (user,) in rows] == [json.loads(one)["smsEvent"]["userId"] for one in lines]
    said = done.stderr.decode().splitlines()
    assert said[-1] == f"{file}: {len(lines)} events, {file.stat().st_size:,} bytes."


def test_one_file_is_complete_or_absent(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """If a day stays truncated, there is no file; an existing file, its content and permissions stay."""
    file = tmp_path / "e.jsonl"
    lines = recent()
    account = Account(lines=lines)
    broken = day_of(date_of(lines[-1]))

    def answer(request: Any) -> Answer:
        good = account(request)
        is_broken = day_of(request.interval["from"]) == broken
        return Answer(lines=good.lines, cut_at=-5) if is_broken else good

    standin.answers(answer)
    absent = pull(environment, "-o", str(file), "--days", "7", "--jobs", "1")
    assert absent.returncode == 1
    assert b"was not written, because it would not be complete" in absent.stderr
    assert names(tmp_path) == []

    file.write_bytes(b"of yesterday")
    file.chmod(0o640)
    kept = pull(environment, "-o", str(file), "--days", "7", "--jobs", "1")
    assert kept.returncode == 1
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"of yesterday", 0o640)

    standin.answers(account)
    assert pull(environment, "-o", str(file), "--days", "7").returncode == 0
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (body_of(lines), 0o640)
    assert names(tmp_path) == ["e.jsonl"]


def test_one_file_after_a_kill(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """A killed pull leaves no file under the name; the next one writes it, and removes what was left."""
    lines = recent()
    standin.answers(Answer(silent_at=0))
    words = [sys.executable, "-m", "smsevents", "pull", str(TRACKPOINT), "-o", str(tmp_path / "e.jsonl")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert eventually(lambda: bool(standin.requests))
        second = pull(environment, "-o", str(tmp_path / "e.jsonl"))
        process.send_signal(signal.SIGKILL)
    assert (second.returncode, b"already writing" in second.stderr) == (1, True)
    assert "e.jsonl" not in names(tmp_path)

    standin.answers(Account(lines=lines))
    assert pull(environment, "-o", str(tmp_path / "e.jsonl")).returncode == 0
    assert (tmp_path / "e.jsonl").read_bytes() == body_of(lines)
    assert names(tmp_path) == ["e.jsonl"]


def test_one_file_without_events(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """Without events, the file is there: empty, or with a header only."""
    standin.answers(Account(lines=[]))
    for name in ("e.jsonl", "e.csv", "e.parquet"):
        assert pull(environment, "-o", str(tmp_path / name), "--days", "2", "--json").returncode == 0
    assert (tmp_path / "e.jsonl").read_bytes() == b""
    assert (tmp_path / "e.csv").read_bytes().startswith(b"trackpoint,user_id")
    assert duckdb.execute(f"SELECT count(*) FROM '{tmp_path}/e.parquet'").fetchall() == [(0,)]  # noqa: S608 -- our path


@pytest.mark.parametrize(
    "refused",
    [
        (["-o", "e.txt"], 1, b"does not say which format"),
        (["-o", "nowhere/e.csv"], 1, b"does not exist"),
        (["-o", "."], 1, b"is a directory"),
        (["-o", "e.csv", "folder"], 2, b"either a directory or"),
        ([], 2, b"either a directory or"),
        (["-o", "e.csv", "--split", "day"], 2, b"for directories"),
        (["folder", "--days", "7", "--from", "today"], 2, b"not both"),
        (["folder", "--status", "SENT"], 2, b"DELIVERED, ACCEPTED"),
    ],
)
def test_what_cannot_be_meant(
    environment: dict[str, str],
    standin: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: tuple[list[str], int, bytes],
) -> None:
    """Options that contradict each other, or a bad file name, are refused before anything is sent or written."""
    words, code, reason = refused
    monkeypatch.chdir(tmp_path)

    done = pull(environment, *words)

    assert done.returncode == code
    assert reason in b" ".join(done.stderr.split())
    assert (names(tmp_path), standin.requests) == ([], [])


@pytest.mark.parametrize("format_", [FormatName.JSONL, FormatName.PARQUET])
def test_hive_partitions(site: Site, format_: FormatName) -> None:
    """`--split hive` puts each day into a folder `day=…`; a later event is merged there, and nothing else changes."""
    lines = some_lines(200)
    site.wish = {"format": format_, "split": Split.HIVE}
    site.standin.answers(Account(lines=lines[:-20] + lines[-19:]))
    assert site.pull().is_complete
    suffix = ".parquet" if format_ is FormatName.PARQUET else ".jsonl.gz"
    days = {day_of(date_of(one)).isoformat() for one in lines}
    found = {str(path.relative_to(site.path)) for path in site.path.glob(f"*/*{suffix}")}
    assert found == {f"day={day}/events{suffix}" for day in days}

    site.path.joinpath(f"day={min(days)}").chmod(0o750)
    site.standin.answers(Account(lines=lines))
    assert site.pull().events_new == 1
    assert [name for name, changed in site.heard.files.items() if changed] == [
        f"day={day_of(date_of(lines[-20]))}/events{suffix}"
    ]
    assert site.state() == []


def test_hive_partitions_are_read(site: Site) -> None:
    """DuckDB reads the partitions with the column `day`, and the time of each event stays."""
    lines = some_lines(100)
    site.wish = {"format": FormatName.PARQUET, "split": Split.HIVE}
    site.standin.answers(Account(lines=lines))
    assert site.pull().is_complete

    rows = duckdb.execute(
        f"SELECT epoch_ms(date), day::VARCHAR FROM '{site.path}/*/*.parquet' ORDER BY date"  # noqa: S608 -- our own path
    ).fetchall()

    assert rows == [(date_of(one), day_of(date_of(one)).isoformat()) for one in lines]


def test_a_partition_that_becomes_empty_is_removed(site: Site) -> None:
    """With `replace`, a day whose events are gone loses its file and its folder."""
    lines = some_lines(100)
    last = day_of(date_of(lines[-1]))
    site.wish = {"split": Split.HIVE}
    site.standin.answers(Account(lines=lines))
    site.pull()
    site.standin.answers(Account(lines=[one for one in lines if day_of(date_of(one)) != last]))

    assert site.pull(replace=True).is_complete

    assert site.heard.gone == [f"day={last}/events.jsonl.gz"]
    assert not (site.path / f"day={last}").exists()


FAILED = Filter(status=["REJECTED", "EXPIRED"])


def wanted(lines: list[bytes]) -> list[bytes]:
    """Return the lines that FAILED keeps, by their text."""
    return [one for one in lines if b"REJECTED" in one or b"EXPIRED" in one]


def test_a_folder_remembers_its_filter(site: Site) -> None:
    """A filtered folder holds the matching events, keeps its filter if none is given, and refuses another one."""
    lines = [one.replace(b"DELIVERED", [b"DELIVERED", b"REJECTED"][at % 2]) for at, one in enumerate(some_lines(100))]
    site.standin.answers(Account(lines=lines[:-3]))
    site.wish = {"filter": FAILED}
    assert site.pull().is_complete
    site.wish = {}
    site.standin.answers(Account(lines=lines))
    assert site.pull().is_complete
    assert site.lines() == wanted(lines)
    manifest = site.path / ".smsevents" / "manifest.json"
    before = manifest.read_bytes()
    assert json.loads(before)["version"] == 2

    for other in (Filter(status="DELIVERED"), Filter(type="flow")):
        site.wish = {"filter": other}
        with pytest.raises(OtherOptions, match=r"filter status EXPIRED or REJECTED, not .*another directory, or omit"):
            site.pull()
    assert (manifest.read_bytes(), site.lines()) == (before, wanted(lines))


def test_an_unfiltered_folder_refuses_a_filter(site: Site) -> None:
    """A folder that was begun without a filter refuses one, its files stay, and its manifest is that of before."""
    lines = some_lines(50)
    site.standin.answers(Account(lines=lines))
    assert site.pull().is_complete
    assert "filter" not in json.loads((site.path / ".smsevents" / "manifest.json").read_bytes())["layout"]

    site.wish = {"filter": FAILED}
    with pytest.raises(OtherOptions, match="all events, not status EXPIRED or REJECTED"):
        site.pull()

    assert site.lines() == lines


def test_a_filter_does_not_hide_a_truncated_stream(site: Site) -> None:
    """A truncated response, a bad line and a foreign event fail a day of which the filter keeps nothing."""
    good = some_lines(20)
    for answer in (
        Answer(lines=good, cut_at=-5),
        Answer(lines=good, tail=b"Internal error\n"),
        Answer(lines=[line(TRACKPOINT + 1, date_of(good[0]))]),
        Answer(lines=[line(TRACKPOINT, date_of(good[0]) - 100 * DAY_MS)]),
    ):
        site.standin.answers(answer)
        site.wish = {"filter": FAILED}
        day = day_of(date_of(good[0]))

        summary = site.pull(first=day, last=day)

        assert list(summary.failed) == [day]
        assert site.names() == []


def test_the_command_with_a_filter(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """The options of the filter reach the files and the last line, and nothing of them is sent."""
    lines = recent()
    standin.answers(Account(lines=lines))

    done = pull(environment, str(tmp_path / "f"), "--status", "rejected", "--status", "EXPIRED", "--type", "flow")

    assert done.returncode == 0, done.stderr
    held = b"".join(gzip.decompress(path.read_bytes()) for path in sorted((tmp_path / "f").glob("*.gz")))
    assert held == body_of([one for one in wanted(lines) if b'"flow"' in one])
    assert done.stderr.decode().endswith("Only events with status EXPIRED or REJECTED, type flow.\n")
    assert {tuple(request.interval) for request in standin.requests} == {("from", "to")}


def test_the_last_line(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """The last line has the interval, events, files and bytes, without a terminal too; `--quiet` leaves it out."""
    lines = recent()
    standin.answers(Account(lines=lines))

    done = pull(environment, str(tmp_path / "f"), "--days", "7")
    quiet = pull(environment, str(tmp_path / "f"), "--days", "7", "--quiet")

    size = sum(path.stat().st_size for path in (tmp_path / "f").glob("*.gz"))
    files = len(list((tmp_path / "f").glob("*.gz")))
    first, last = day_of(now_ms() - 6 * DAY_MS), day_of(now_ms())
    assert done.stderr.decode() == (
        f"{first} to {last}: 7 of 7 days fetched, {len(lines)} new events of {len(lines)}, {files} files with {size:,}"
        " bytes written.\n"
    )
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, b"", b"")
