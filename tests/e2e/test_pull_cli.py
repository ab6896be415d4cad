"""`smsevents pull`: the command, its files, its JSON lines, its exit codes, and its state after `kill -9`."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smsevents.client.pull.days import day_of, end_of, start_of
from smsevents.clock.system import now_ms
from smsevents.wire.columns import event_of
from smsevents.wire.events import encode
from tests.support.campaigns import few_or_many
from tests.support.lines import DAY_MS, body_of, date_of, line
from tests.support.servers import Server, eventually, run_command
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 7
KEY = "sms_0123456789ab_secret"


@pytest.fixture
def environment(standin: StandIn) -> dict[str, str]:
    """Return an environment that names the stand-in."""
    return os.environ | {"SMSEVENTS_API_KEY": KEY, "SMSEVENTS_URL": standin.url}


def recent_lines(count: int, trackpoint: int = TRACKPOINT, days: int = 6) -> list[bytes]:
    """Return lines of the last days, sorted."""
    now = now_ms()
    chance = random.Random(count)  # noqa: S311 -- invented data
    some = {
        line(
            trackpoint, now - chance.randrange(60_000, days * DAY_MS), f"ž {number}", node="VIP" if number % 2 else None
        )
        for number in range(count)
    }
    return [one for _, one in sorted((date_of(one), one) for one in some)]


def files_of(directory: Path) -> list[Path]:
    """Return the event files in a directory, in order."""
    return sorted(path for path in directory.iterdir() if path.is_file())


def held(directory: Path) -> list[bytes]:
    """Return the lines of all files of JSON lines or Parquet, file by file."""
    files = files_of(directory)
    if any(path.suffix == ".parquet" for path in files):
        return [encode(event_of(row)) for path in files for row in parquet_rows(path)]
    return b"".join(gzip.decompress(path.read_bytes()) for path in files).split(b"\n")[:-1]


def parquet_rows(path: Path) -> list[tuple[Any, ...]]:
    """Return the rows of a file, with times in Unix milliseconds."""
    columns = pq.read_table(path).columns
    times = [pa.types.is_timestamp(column.type) for column in columns]
    numbers = [column.cast(pa.int64()) if is_time else column for column, is_time in zip(columns, times, strict=True)]
    return list(zip(*(column.to_pylist() for column in numbers), strict=True))


def pull(directory: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return run_command("pull", str(TRACKPOINT), str(directory), *words, environment=environment)


def told(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """Return the JSON lines of a run."""
    return [json.loads(row) for row in done.stdout.splitlines()]


def test_pull_from_a_real_server(server: Server, tmp_path: Path) -> None:
    """`pull --quiet` writes a file with the exported lines for each day that has events, and prints nothing."""
    shop = server.shop()
    lines = recent_lines(500, shop.trackpoint)
    shop.send(body_of(lines))
    environment = os.environ | {"SMSEVENTS_API_KEY": shop.key}
    words = ("pull", str(shop.trackpoint), str(tmp_path / "events"), "--url", server.base, "--quiet")

    done = run_command(*words, environment=environment)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert held(tmp_path / "events") == lines
    assert {day_of(date_of(one)).isoformat() + ".jsonl.gz" for one in lines} == {
        path.name for path in files_of(tmp_path / "events")
    }


def test_parquet_and_csv_hold_the_same_events(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """DuckDB reads the same rows from Parquet and from CSV, and they equal the server's."""
    lines = recent_lines(500)
    standin.answers(Account(lines=lines, copies=3))
    for format_ in ("parquet", "csv"):
        done = pull(tmp_path / format_, environment, "--format", format_, "--from", str(now_ms() - 7 * DAY_MS))
        assert done.returncode == 0, done.stderr

    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT user_id, epoch_ms(date), node_name FROM '{tmp_path}/parquet/*.parquet' ORDER BY date, user_id"  # noqa: S608
        ).fetchall()
    cells = [
        row
        for path in files_of(tmp_path / "csv")
        for row in csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode(), newline=""))
    ]

    expected = [json.loads(one) for one in lines]
    model = sorted(
        (one["smsEvent"]["date"], one["smsEvent"]["userId"], one["source"].get("node", {}).get("name"))
        for one in expected
    )
    assert [(date, user, node) for user, date, node in rows] == model
    assert [row["user_id"] for row in cells] == [one["smsEvent"]["userId"] for one in expected]
    assert [row["source_type"] for row in cells] == [one["source"]["type"] for one in expected]


def described(directory: Path) -> dict[str, tuple[int, str]]:
    """Return the size and the hash of each event file."""
    contents = {path.name: path.read_bytes() for path in files_of(directory)}
    return {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()}


def files_told(rows: list[dict[str, Any]]) -> dict[str, tuple[int, str]]:
    """Return the size and the hash of each file that the JSON lines report."""
    return {row["file"]: (row["bytes"], row["sha256"]) for row in rows if row["kind"] == "file"}


def test_json_lines(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """`--json` reports the plan, each day, each file and a summary, which agrees with the files."""
    lines = recent_lines(200)
    standin.answers(Account(lines=lines))
    first = day_of(now_ms() - 6 * DAY_MS)

    done = pull(tmp_path, environment, "--json", "--from", first.isoformat())
    plan, *between, summary = told(done)

    assert done.stderr == b""
    assert plan["kind"] == "plan"
    assert (plan["days_to_fetch"], plan["format"], plan["split"]) == (7, "jsonl", "day")
    assert files_told(between) == described(tmp_path)
    assert sum(row["events"] for row in between if row["kind"] == "day") == 200
    assert summary["kind"] == "summary"
    assert summary["complete"] is True
    assert (summary["days_fetched"], summary["events_new"], summary["files_written"]) == (7, 200, 7)

    _, *between, again = told(pull(tmp_path, environment, "--json", "--from", first.isoformat()))
    assert files_told(between).items() <= described(tmp_path).items()
    assert (again["events_new"], again["files_written"], again["days_final"]) == (0, 0, 3)


def test_a_failed_day_ends_with_one(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """A day that fails is reported with its reason, the exit code is 1, and the next pull fetches only that day."""
    lines = recent_lines(300)
    account = Account(lines=lines)
    bad = day_of(now_ms() - 5 * DAY_MS)
    standin.answers(
        lambda request: (
            Answer(status=503, headers={"Retry-After": "9999"})
            if request.interval["from"] == start_of(bad)
            else account(request)
        )
    )
    words = ("--from", day_of(now_ms() - 6 * DAY_MS).isoformat(), "--json", "--lookback", "0")

    done = pull(tmp_path, environment, *words)

    assert done.returncode == 1
    assert bad.isoformat().encode() in done.stderr
    assert b"The next pull fetches the missing days" in done.stderr
    assert list(told(done)[-1]["days_failed"]) == [bad.isoformat()]
    assert held(tmp_path) == [one for one in lines if day_of(date_of(one)) != bad]

    standin.answers(account)
    done = pull(tmp_path, environment, *words)
    assert done.returncode == 0
    fetched = {row["day"] for row in told(done) if row["kind"] == "day"}
    assert fetched == {bad.isoformat(), day_of(now_ms()).isoformat()}
    assert held(tmp_path) == lines


@pytest.mark.parametrize("split", ["month", "none"])
def test_a_killed_pull_goes_on(standin: StandIn, environment: dict[str, str], tmp_path: Path, split: str) -> None:
    """With a month or everything in one file, days that were complete before a kill are not fetched again."""
    lines = recent_lines(400)
    account = Account(lines=lines)
    yesterday = start_of(day_of(now_ms() - DAY_MS))

    def slow_at_the_end(request: Any) -> Answer:
        if request.interval["from"] >= yesterday:
            return Answer(lines=account(request).lines, silent_at=10)
        return account(request)

    standin.answers(slow_at_the_end)
    words = ["pull", str(TRACKPOINT), str(tmp_path), "--split", split, "--jobs", "1", "--lookback", "0"]
    words += ["--from", day_of(now_ms() - 6 * DAY_MS).isoformat()]
    process = subprocess.Popen([sys.executable, "-m", "smsevents", *words], env=environment)
    assert eventually(lambda: len(standin.requests) == 6)
    process.kill()
    process.wait(30)
    assert files_of(tmp_path) == []

    standin.answers(account)
    asked = len(standin.requests)
    done = run_command(*words, environment=environment)

    assert done.returncode == 0, done.stderr
    assert len(standin.requests) - asked == 2
    assert held(tmp_path) == lines


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize("kills", few_or_many(5, 50))
def test_kills(server: Server, tmp_path: Path, kills: int, format_: str) -> None:
    """However often `pull` is killed, the files finally hold the server's events, and nothing else is left."""
    shop = server.shop()
    days = 40 if format_ == "jsonl" else 8  # so many events a day that they are read as columns of Arrow
    lines = recent_lines(20_000, shop.trackpoint, days=days)
    shop.send(body_of(lines))
    environment = os.environ | {"SMSEVENTS_API_KEY": shop.key, "SMSEVENTS_URL": server.base}
    chance = random.Random(3)  # noqa: S311 -- test data, not a secret
    started = time.monotonic()
    words = ["pull", str(shop.trackpoint), str(tmp_path / "whole"), "--format", format_]
    assert run_command(*words, environment=environment).returncode == 0
    whole_seconds = time.monotonic() - started
    killed = 0
    for number in range(kills):
        # every kill interrupts work: every fifth one has its own directory
        directory = tmp_path / str(number // 5)
        words = ["pull", str(shop.trackpoint), str(directory), "--split", ["day", "month", "none"][number // 5 % 3]]
        words += ["--lookback", "60", "--format", format_]
        process = subprocess.Popen([sys.executable, "-m", "smsevents", *words], env=environment)
        eventually((directory / ".smsevents" / "lock").exists)
        time.sleep(chance.random() * whole_seconds)
        process.send_signal(signal.SIGKILL)
        killed += process.wait(30) == -signal.SIGKILL
        if directory.exists():
            assert set(held(directory)) <= set(lines)
        if number % 5 == 4:
            done = run_command(*words, environment=environment)
            assert done.returncode == 0, done.stderr
            assert held(directory) == lines
            state = {str(path.relative_to(directory)) for path in directory.glob(".smsevents/**/*")}
            assert state == {f".smsevents/{name}" for name in ("lock", "manifest.json", "staged")}
    print(f"{killed} of {kills} pulls were killed before their end")  # noqa: T201 -- shown with -s
    assert killed


def test_interrupt_ends_in_order(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C ends the pull with 130 and a summary; completed days are kept, and the next pull does the rest."""
    lines = recent_lines(400)
    account = Account(lines=lines)
    slow = Account(lines=lines, options={"pause_seconds": 0.05, "chunk_bytes": 200})
    today = start_of(day_of(now_ms()))
    standin.answers(lambda request: slow(request) if request.interval["from"] >= today - DAY_MS else account(request))
    words = ["pull", str(TRACKPOINT), str(tmp_path), "--jobs", "1", "--from", day_of(now_ms() - 6 * DAY_MS).isoformat()]
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", *words, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert eventually(lambda: len(standin.requests) == 6)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in err
    summary = json.loads(out.splitlines()[-1])
    assert (summary["complete"], summary["days_fetched"], summary["days_failed"]) == (False, 5, {})
    assert len(summary["days_untried"]) == 2
    standin.answers(account)
    assert run_command(*words, environment=environment).returncode == 0
    assert held(tmp_path) == lines


def test_the_key_is_asked_for_on_a_terminal(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Without the variable the terminal is asked for the key, which is not shown; a progress bar and a summary are."""
    standin.answers(Account(lines=recent_lines(20)))
    del environment["SMSEVENTS_API_KEY"]
    words = ["pull", str(TRACKPOINT), str(tmp_path), "--from", day_of(now_ms()).isoformat()]
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", *words],
        env=environment,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    assert eventually(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO), "what is typed would be shown"
    os.write(terminal, KEY.encode() + b"\n")
    shown = b""
    try:
        while data := os.read(terminal, 4096):
            shown += data
    except OSError:
        pass  # Linux reports the closed other side in this way
    os.close(terminal)

    assert process.wait(60) == 0
    assert b"API key" in shown
    assert KEY.encode() not in shown
    assert b"1 of 1 days fetched" in shown
    assert standin.requests[0].headers["x-api-key"] == KEY


def test_the_key_goes_nowhere_else(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """The key is in no output and no file, and there is no option for it."""
    standin.answers(Answer(status=401))

    done = pull(tmp_path, environment, "--json")

    assert done.returncode == 1
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in done.stdout + done.stderr + written
    assert b"--key" not in pull(tmp_path, environment, "--help").stdout


def test_accounts_have_their_addresses(environment: dict[str, str], tmp_path: Path) -> None:
    """`--account` stands for the documented address, which the directory keeps; without days nothing is requested."""
    for account, address in (("samba", "https://api.samba.ai"), ("enterprise", "https://api.yottly.com")):
        words = ("--account", account, "--to", "2020-01-01", "--from", "2020-01-01", "--json")
        done = pull(tmp_path / account, environment, *words)

        assert done.returncode == 1, "nothing was done"
        assert b"2020-01-01" in done.stderr
        assert told(done)[0]["url"] == address
        assert told(done)[-1]["days_expired"] == 1


def test_a_second_pull_takes_the_options_of_the_first(
    standin: StandIn, environment: dict[str, str], tmp_path: Path
) -> None:
    """Format, split, compression and address are kept by the directory and need not be repeated."""
    standin.answers(Account(lines=[line(TRACKPOINT, now_ms())]))
    words = ("--format", "csv", "--split", "none", "--uncompressed", "--from", day_of(now_ms()).isoformat())
    assert pull(tmp_path, environment, *words).returncode == 0
    del environment["SMSEVENTS_URL"]

    done = pull(tmp_path, environment, "--json", "--from", day_of(now_ms()).isoformat())

    assert done.returncode == 0, done.stderr
    assert [path.name for path in files_of(tmp_path)] == ["events.csv"]
    assert (told(done)[0]["format"], told(done)[0]["url"]) == ("csv", standin.url)


def test_help_says_what_the_defaults_are(environment: dict[str, str], tmp_path: Path) -> None:
    """The help states the defaults that depend on the directory and on the date."""
    shown = " ".join(pull(tmp_path, environment | {"COLUMNS": "200"}, "--help").stdout.decode().split())

    for text in ("Default: 90 days ago.", "Default: today.", "or jsonl.", "or day.", "or compressed."):
        assert text in shown


MISTAKES = {
    "from after to": (["--from", "2026-02-02", "--to", "2026-02-01"], 2, b"is after"),
    "no day": (["--from", "soon"], 2, b"2027-01-31"),
    "account and url": (["--account", "samba", "--url", "http://x"], 2, b"either"),
    "no jobs": (["--jobs", "0"], 2, b"--jobs"),
    "url": (["--url", "ftp://x"], 1, b"is not a server address"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(environment: dict[str, str], tmp_path: Path, mistake: str) -> None:
    """A mistake is reported in words, with exit code 2 for a wrong call, and nothing is sent to the server."""
    words, code, text = MISTAKES[mistake]

    done = pull(tmp_path, environment, *words)

    assert done.returncode == code
    assert text in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "text"), [("SMSEVENTS_API_KEY", b"No API key is set"), ("SMSEVENTS_URL", b"No server address is set")]
)
def test_what_is_missing_is_told(environment: dict[str, str], tmp_path: Path, variable: str, text: bytes) -> None:
    """Without a key or an address the message names the missing setting."""
    del environment[variable]

    done = run_command("pull", str(TRACKPOINT), str(tmp_path / "events"), environment=environment, stdin=b"")

    assert done.returncode == 1
    assert text in done.stderr


def test_a_directory_that_cannot_be_made_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    """A directory below a file cannot be created, and the message says so."""
    (tmp_path / "file").write_bytes(b"")

    done = pull(tmp_path / "file" / "events", environment)

    assert done.returncode == 1
    assert b"cannot be used: Not a directory" in done.stderr


def test_parquet_without_pyarrow(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Without pyarrow `--format parquet` says what to install, and the other formats work."""
    standin.answers(Account(lines=[]))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "pyarrow.py").write_text("raise ModuleNotFoundError('no pyarrow')\n")
    environment["PYTHONPATH"] = str(tmp_path / "hidden")

    done = pull(tmp_path / "parquet", environment, "--format", "parquet")

    assert done.returncode == 1
    assert b"pip install '.[parquet]' (or: make install WITH=parquet)" in done.stderr
    assert files_of(tmp_path / "parquet") == []
    assert pull(tmp_path / "csv", environment, "--format", "csv", "--from", str(now_ms())).returncode == 0


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("split", ["day", "none"])
def test_a_disk_that_takes_no_more(
    standin: StandIn, environment: dict[str, str], tmp_path: Path, format_: str, split: str
) -> None:
    """When a file cannot be written completely, the pull says so and leaves no part of it."""
    today = start_of(day_of(now_ms()))
    dates = [*range(today - 2000, today), *[today] * 2000]  # more of each day than allowed, at any time of day
    lines = [line(TRACKPOINT, date, f"ž {number}") for number, date in enumerate(dates)]
    standin.answers(Account(lines=lines))
    words = ["pull", str(TRACKPOINT), str(tmp_path), "--format", format_, "--split", split, "--uncompressed"]
    words += ["--from", day_of(now_ms() - DAY_MS).isoformat()]
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", sys.executable, "-m", "smsevents", *words]

    done = subprocess.run(limited, env=environment, capture_output=True, check=False, timeout=60)

    assert done.returncode == 1
    assert b"cannot be written: " in done.stderr
    assert b"File too large" in done.stderr
    assert files_of(tmp_path) == []
    assert not list((tmp_path / ".smsevents").glob("new-*"))

    assert run_command(*words, environment=environment).returncode == 0
    assert len(files_of(tmp_path)) == (2 if split == "day" else 1)


def test_days_that_the_server_forgot_are_told(standin: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    """Days older than the history are not requested; the summary counts them, and the pull succeeds."""
    standin.answers(Account(lines=[]))
    first = day_of(now_ms() - 100 * DAY_MS)

    done = pull(tmp_path, environment, "--json", "--from", first.isoformat(), "--jobs", "8")

    assert done.returncode == 0
    assert told(done)[-1]["days_expired"] == 10
    assert min(request.interval["from"] for request in standin.requests) > end_of(first)


@pytest.mark.parametrize("command", ["pull", "sync"])
def test_the_clients_commands_load_nothing_of_the_server(command: str) -> None:
    """`pull` and `sync` start without the packages of the server, which take longer to load than a short pull."""
    script = """if True:
    import sys
    from smsevents.cli import main
    sys.argv[1:] = [sys.argv[1], "--help"]
    try:
        main()
    except SystemExit:
        print(*sorted({name.split(".")[0] for name in sys.modules} & {"litestar", "sqlalchemy", "alembic", "uvicorn"}))
    """
    done = subprocess.run(
        [sys.executable, "-c", script, command], check=True, capture_output=True, text=True, timeout=60
    )

    assert f"smsevents {command}" in done.stdout or "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == ""
