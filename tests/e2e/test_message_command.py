"""`smsevents pull --messages` as a command: its files, its output, its refusals, and its state after `kill -9`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, HOUR_MS, date_of
from tests.support.messages import message_line, message_rows, messages_of, ordered_rows
from tests.support.servers import run_command
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 7
KILLED = """
import os, signal, sys
from smsevents.cli import main
from smsevents.client.pull.directory import Directory

place, left = Directory.place, [int(sys.argv.pop(1))]

def place_or_die(directory, new, path):
    if "_messages" in path.parts:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    place(directory, new, path)

Directory.place = place_or_die
main()
"""


@pytest.fixture
def environment(standin: StandIn) -> dict[str, str]:
    """Return an environment that names the stand-in."""
    return os.environ | {"SMSEVENTS_API_KEY": "key", "SMSEVENTS_URL": standin.url}


def pull(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return run_command("pull", str(TRACKPOINT), *words, environment=environment)


def some_events(count: int = 30, days: int = 4) -> list[bytes]:
    """Return the events of messages of the last days: accepted, then delivered or expired hours later."""
    start = now_ms() - 5 * DAY_MS
    found = []
    for number in range(count):
        sent = start + number * days * DAY_MS // count
        final = ["DELIVERED", "EXPIRED"][number % 2]
        found += [
            message_line(TRACKPOINT, f"user {number}", "ACCEPTED", sent + 300, sent),
            message_line(TRACKPOINT, f"user {number}", final, sent + number % 5 * 4 * HOUR_MS + 600, sent),
        ]
    return sorted(found, key=date_of)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all files of messages in a folder."""
    return ordered_rows(row for path in folder.rglob("*.*") for row in message_rows(path))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a directory, except for its lock."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith("lock")}


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_a_directory_with_messages(standin: StandIn, environment: dict[str, str], tmp_path: Path, format_: str) -> None:
    """Two pulls with late events in between leave the messages of all events, and say what they wrote."""
    lines = some_events()
    account = Account(lines=lines[::2], copies=2)
    standin.answers(account)

    done = pull(environment, str(tmp_path), "--messages", "--format", format_)

    as_table = format_ != "jsonl"
    assert done.returncode == 0
    assert rows_in(tmp_path / "_messages") == messages_of(lines[::2], as_table=as_table)
    assert f"{len(messages_of(lines[::2], as_table=False))} messages written." in done.stderr.decode()
    account.lines = lines
    done = pull(environment, str(tmp_path), "--json", "--lookback", "30")
    assert rows_in(tmp_path / "_messages") == messages_of(lines, as_table=as_table)
    told = [json.loads(one) for one in done.stdout.splitlines()]
    files = {row["file"]: row for row in told if row["kind"] == "messages"}
    assert {(tmp_path / name).stat().st_size for name in files} == {row["bytes"] for row in files.values()}
    assert sum(row["messages"] for row in files.values()) == 30
    assert told[-1]["messages_written"] == sum(row["messages"] for row in files.values() if row["changed"])
    assert told[-1]["messages_error"] is None


def test_one_file_of_events_and_one_of_messages(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """With `--output`, the messages are in a file beside it; if the pull fails, both stay as they were."""
    lines = some_events()
    account = Account(lines=lines)
    standin.answers(account)
    words = ("-o", str(tmp_path / "week.csv.gz"), "--messages", "--days", "7")

    done = pull(environment, *words)

    assert done.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["week.csv.gz", "week.messages.csv.gz"]
    rows = message_rows(tmp_path / "week.messages.csv.gz")
    assert ordered_rows(rows) == messages_of(lines, as_table=True)
    assert rows == sorted(rows, key=lambda row: row["send_date"])
    assert b"week.messages.csv.gz: 30 messages" in done.stderr
    before = contents(tmp_path)
    standin.answers(Answer(status=403))
    assert pull(environment, *words).returncode == 1
    assert contents(tmp_path) == before


def test_one_file_without_events(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Without events, both files are there, and have only a header."""
    standin.answers(Account(lines=[]))

    assert pull(environment, "-o", str(tmp_path / "week.csv"), "--messages", "--days", "2").returncode == 0

    assert message_rows(tmp_path / "week.messages.csv") == []
    assert (tmp_path / "week.messages.csv").read_bytes().count(b"\r\n") == 1


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_filter_by_status_is_refused(
    standin: StandIn, environment: dict[str, str], tmp_path: Path, place: str
) -> None:
    """The message says why the states would be wrong and what to do; nothing is sent or written."""
    where = (str(tmp_path / "events"),) if place == "folder" else ("-o", str(tmp_path / "events.csv"))

    done = pull(environment, *where, "--messages", "--status", "DELIVERED")

    assert done.returncode == 1
    assert b"a filter by status leaves some of them out" in done.stderr
    assert b"Omit --messages; or omit --status" in done.stderr
    assert (standin.requests, list(tmp_path.iterdir())) == ([], [])


def test_kills_between_writing_and_renaming(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Wherever a pull is killed among the files of messages, each is complete, and the next pull makes all right."""
    lines = some_events(days=3)  # sent on several days, whatever the hour
    account = Account(lines=lines[::2])
    standin.answers(account)
    assert pull(environment, str(tmp_path), "--messages").returncode == 0
    old = contents(tmp_path / "_messages")
    account.lines = lines
    for renamed in range(len(old) + 1):
        words = [sys.executable, "-c", KILLED, str(renamed), "pull", str(TRACKPOINT), str(tmp_path), "--lookback", "30"]
        killed = subprocess.run(words, env=environment, check=False, capture_output=True, timeout=60)
        if killed.returncode == 0:
            break
        assert killed.returncode == -9
        for path in (tmp_path / "_messages").iterdir():
            assert message_rows(path)
    else:
        raise AssertionError("the command was never allowed to end")
    assert renamed >= 2
    assert pull(environment, str(tmp_path)).returncode == 0

    assert rows_in(tmp_path / "_messages") == messages_of(lines, as_table=False)
    assert [path.name for path in (tmp_path / ".smsevents").glob("new-*")] == []
