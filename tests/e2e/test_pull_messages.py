"""What `smsevents pull` says on errors: each cause once, truthfully, on unwrapped lines, and never with exit code 0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from smsevents.client.pull.days import day_of, start_of
from smsevents.clock.system import now_ms
from tests.support.hostile import Hostile
from tests.support.lines import DAY_MS, date_of, line
from tests.support.servers import eventually, free_port, run_command
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 7
TODAY = day_of(now_ms())


@pytest.fixture
def environment(standin: StandIn) -> dict[str, str]:
    """Return an environment that names the stand-in."""
    return os.environ | {"SMSEVENTS_API_KEY": "sms_key", "SMSEVENTS_URL": standin.url}


def pull(directory: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command without a terminal."""
    return run_command("pull", str(TRACKPOINT), str(directory), *words, environment=environment, stdin=b"")


def said(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Return the lines of standard error."""
    return done.stderr.decode().splitlines()


def recent(count: int = 40) -> list[bytes]:
    """Return lines of the last days."""
    return [line(TRACKPOINT, now_ms() - 1000 - number * DAY_MS // 8) for number in range(count)]


def test_a_wrong_key_is_one_message(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """A refused key is reported on two unwrapped lines, however many days were requested at the same time."""
    standin.answers(Answer(status=401, tail=b'{"detail":"No such key."}', content_type="application/problem+json"))

    done = pull(tmp_path, environment, "--jobs", "8")

    assert done.returncode == 1
    summary, cause = said(done)
    assert "once this is fixed" in summary
    assert "Check the API key" in cause
    assert len(standin.requests) <= 8


def test_https_to_an_http_port_is_one_message(environment: dict[str, str], tmp_path: Path) -> None:
    """An https address for a server without TLS ends the pull at once, with one cause that says so."""
    with Hostile(lambda: [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]) as plain:
        environment["SMSEVENTS_URL"] = plain.url.replace("http://", "https://")
        done = pull(tmp_path, environment)

    assert done.returncode == 1
    summary, cause = said(done)
    assert "once this is fixed" in summary
    assert "http://" in cause


def test_a_server_that_is_not_there_is_one_message(environment: dict[str, str], tmp_path: Path) -> None:
    """Days that fail for the same cause are reported together."""
    environment["SMSEVENTS_URL"] = f"http://127.0.0.1:{free_port()}"
    script = "from smsevents.client import retry, clients; clients._RETRY = None\n"
    script += "from smsevents.client.clients import Client; from smsevents.client import NEVER\n"
    script += "Client.__init__.__kwdefaults__['retry'] = NEVER; from smsevents.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "pull", str(TRACKPOINT), str(tmp_path / "x")],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 1
    summary, cause = said(done)
    assert "The next pull fetches the missing days." in summary
    assert cause.count("No response from") == 1


def test_a_file_that_was_edited(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """The message for a file that cannot be read back does not promise that the next pull repairs it."""
    standin.answers(Account(lines=recent()))
    assert pull(tmp_path, environment, "--uncompressed").returncode == 0
    path = tmp_path / f"{TODAY - timedelta(days=1)}.jsonl"
    path.write_bytes(b"edited by hand\n" + path.read_bytes())
    edited = path.read_bytes()

    done = pull(tmp_path, environment)

    assert done.returncode == 1
    summary, cause = said(done)
    assert "The next pull fetches the missing days once this is fixed:" in summary
    assert "Move it away" in cause
    assert path.read_bytes() == edited
    assert pull(tmp_path, environment).returncode == 1
    path.rename(tmp_path / "away")
    assert pull(tmp_path, environment).returncode == 0


SECONDS = str(now_ms() // 1000)
NOTHING = {
    "seconds": (["--from", SECONDS, "--to", SECONDS], 2, b"looks like Unix seconds"),
    "seconds alone": (["--from", SECONDS], 2, str(now_ms() // 1000).encode()),
    "nanoseconds": (["--to", f"{SECONDS}000000000"], 2, b"looks like Unix nanoseconds"),
    "next year": (["--from", str(TODAY + timedelta(days=365))], 2, b"is in the future"),
    "forgotten month": (["--from", "2024-02-01", "--to", "2024-02-29"], 1, b"2024-02-01 to 2024-02-29"),
    "the beginning": (["--from", "0", "--to", "1"], 1, b"1970-01-01"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_done_is_no_success(environment: dict[str, str], standin: StandIn, tmp_path: Path, name: str) -> None:
    """An interval of which nothing can be had is reported and does not exit with 0; nothing is requested."""
    words, code, text = NOTHING[name]

    done = pull(tmp_path, environment, *words)

    assert done.returncode == code
    assert text in done.stderr
    assert standin.requests == []


def test_a_part_that_is_forgotten_is_told(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Days of the interval that have expired are named; what the server has is fetched, and that is a success."""
    standin.answers(Account(lines=recent()))

    done = pull(tmp_path, environment, "--from", "95d")

    assert done.returncode == 0
    first, last = TODAY - timedelta(days=95), TODAY - timedelta(days=91)
    [text] = said(done)
    assert "days fetched" in text
    assert ". 5 days are older than the 90 days that the server keeps, and not in the directory" in text
    assert text.endswith(f": {first} to {last}.")


@pytest.mark.parametrize(("words", "days"), [(["--from", "2d"], 3), (["--from", "yesterday", "--to", "yesterday"], 1)])
def test_words_for_days(
    standin: StandIn, environment: dict[str, str], tmp_path: Path, words: list[str], days: int
) -> None:
    """Days can be given to `pull` as durations and words."""
    standin.answers(Account(lines=[]))

    assert pull(tmp_path, environment, *words).returncode == 0
    assert len(standin.requests) == days


def test_the_clock_is_told_and_it_goes_on(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Clocks that differ by minutes are reported without a terminal and as JSON too; the pull itself succeeds."""
    standin.now_ms = lambda: now_ms() + 7 * 60_000
    standin.answers(Account(lines=recent()))

    done = pull(tmp_path, environment, "--json")

    assert done.returncode == 0
    [text] = said(done)
    assert "behind the server's" in text
    [warning] = [row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "warning"]
    assert text == f"smsevents: {warning['text']}"


def test_messages_name_options_that_exist(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Every option that a message names exists in the command, and no argument of the library is named."""
    standin.answers(Account(lines=recent()))
    known = run_command("pull", "--help", environment=environment | {"COLUMNS": "300"}).stdout.decode()
    assert pull(tmp_path, environment).returncode == 0
    without_key = {name: value for name, value in environment.items() if name != "SMSEVENTS_API_KEY"}
    without_url = {name: value for name, value in environment.items() if name != "SMSEVENTS_URL"}
    done = [
        pull(tmp_path, environment, "--format", "csv"),
        pull(tmp_path, environment, "--split", "month"),
        pull(tmp_path, environment, "--uncompressed"),
        pull(tmp_path, environment, "--url", "http://127.0.0.1:9"),
        run_command("pull", "8", str(tmp_path), environment=environment, stdin=b""),
        pull(tmp_path, without_key),
        pull(tmp_path / "new", without_url),
    ]

    for one in done:
        assert one.returncode == 1
        [text] = said(one)
        assert "`" not in text
        for word in text.replace(",", " ").replace(".", " ").split():
            assert not word.startswith("--") or word in known


def test_options_are_kept_from_the_start(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """A pull killed before its first file keeps its options; before the first event, others may be given."""
    lines = recent()
    standin.answers(Answer(lines=lines, silent_at=10))
    words = [sys.executable, "-m", "smsevents", "pull", str(TRACKPOINT), str(tmp_path / "events")]
    process = subprocess.Popen([*words, "--format", "csv", "--split", "month", "--uncompressed"], env=environment)
    assert eventually(lambda: bool(standin.requests))
    process.kill()
    process.wait(30)

    standin.answers(Account(lines=lines))
    assert pull(tmp_path / "events", environment).returncode == 0
    assert {path.suffix for path in (tmp_path / "events").iterdir() if path.is_file()} == {".csv"}
    assert {len(path.stem) for path in (tmp_path / "events").iterdir() if path.is_file()} == {len("2026-11")}

    standin.answers(Answer(status=401))
    assert pull(tmp_path / "other", environment, "--format", "parquet").returncode == 1
    standin.answers(Account(lines=lines))
    assert pull(tmp_path / "other", environment, "--format", "jsonl").returncode == 0


def test_files_are_private(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Event files are private to the user; existing group permissions are kept, and new files inherit them."""
    lines = [line(TRACKPOINT, start_of(TODAY) - DAY_MS), line(TRACKPOINT, start_of(TODAY))]
    account = Account(lines=lines[:1])
    standin.answers(account)
    directory = tmp_path / "events"
    old = os.umask(0o022)
    try:
        assert pull(directory, environment).returncode == 0
        made = [directory, *directory.rglob("*")]
        assert [path for path in made if path.stat().st_mode & 0o077 and path.name != "staged"] == []
        (directory / f"{TODAY - timedelta(days=1)}.jsonl.gz").chmod(0o640)
        account.lines = [*lines, line(TRACKPOINT, start_of(TODAY) - 1)]
        assert pull(directory, environment).returncode == 0
    finally:
        os.umask(old)

    files = [path for path in directory.iterdir() if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o640, 0o640]


def test_a_server_that_drips_ends_the_pull(tmp_path: Path) -> None:
    """A server that sends line feeds without end makes every day fail for one cause, and the pull ends."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    feeds = b"%x\r\n%b\r\n" % (65536, b"\n" * 65536)
    with Hostile(lambda: chain([head], repeat(feeds))) as hostile:
        environment = os.environ | {"SMSEVENTS_API_KEY": "key", "SMSEVENTS_URL": hostile.url}
        done = pull(tmp_path, environment)

    assert done.returncode == 1
    summary, cause = said(done)
    assert "blank lines" in cause
    assert " 0 new events" in summary
    assert [path.name for path in tmp_path.iterdir()] == [".smsevents"]


def test_empty_days_have_no_files(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """A day without events has no file but is recorded: it is not fetched again once it is final."""
    lines = recent(3)
    standin.answers(Account(lines=lines))

    assert pull(tmp_path, environment).returncode == 0
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        f"{day_of(date_of(one))}.jsonl.gz" for one in lines
    }
    asked = len(standin.requests)
    assert pull(tmp_path, environment).returncode == 0
    assert len(standin.requests) - asked == 4


def test_a_directory_with_empty_files_goes_on(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Empty files of earlier versions stay as they are, are not fetched again, and may be removed."""
    standin.answers(Account(lines=recent(3)))
    assert pull(tmp_path, environment, "--uncompressed").returncode == 0
    empty = TODAY - timedelta(days=30)
    manifest = tmp_path / ".smsevents" / "manifest.json"
    known = json.loads(manifest.read_bytes())
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    known["files"][f"{empty}.jsonl"] = {"events": 0, "bytes": 0, "sha256": digest}
    del known["lost"]
    manifest.write_text(json.dumps(known))
    (tmp_path / f"{empty}.jsonl").touch()

    standin.requests.clear()
    assert pull(tmp_path, environment).returncode == 0
    assert len(standin.requests) == 4
    (tmp_path / f"{empty}.jsonl").unlink()
    assert pull(tmp_path, environment).returncode == 0
    assert len(standin.requests) == 9
    assert pull(tmp_path, environment).returncode == 0
    assert len(standin.requests) == 13
    assert not (tmp_path / f"{empty}.jsonl").exists()


@pytest.mark.parametrize("output", ["/dev/full", "pipe"])
def test_an_output_that_takes_no_more(
    standin: StandIn, environment: dict[str, str], tmp_path: Path, output: str
) -> None:
    """If the reader of the JSON lines has gone, only that is reported, and no day is said to have failed."""
    standin.answers(Account(lines=recent()))
    words = [sys.executable, "-m", "smsevents", "pull", str(TRACKPOINT), str(tmp_path / "events"), "--json"]
    shell = 'exec "$@" | true' if output == "pipe" else 'exec "$@" > /dev/full'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell, "bash", *words],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert done.returncode in ({1, 141} if output == "pipe" else {1})
    text = done.stderr.decode()
    assert "Traceback" not in text
    if output != "pipe":
        assert "cannot be written: No space left on device." in text
        assert "The pull stopped there; the files that it wrote are complete." in text
    assert str(TODAY) not in text


def test_a_wrong_call_is_told_on_whole_lines(environment: dict[str, str], tmp_path: Path) -> None:
    """Without a terminal, the message of a wrong call is on one line, however long it is."""
    done = pull(tmp_path, environment, "--from", "soon")

    assert done.returncode == 2
    [text] = [one for one in said(done) if "soon" in one]
    assert text.endswith("30d or 12h")
