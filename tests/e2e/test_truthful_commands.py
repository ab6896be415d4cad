"""Commands: doing nothing is never reported as success, and each failure is one line that says what to do."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.forbidden import full_disk, make_read_only, not_writable
from tests.support.lines import body_of, line, model
from tests.support.logs import store_segments
from tests.support.servers import eventually, free_port, run_command

TRACKPOINT = 4541245641234564
SHOP = str(TRACKPOINT)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a command that works on a new database."""
    return os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path / 'log.db'}"}


@pytest.fixture
def shop(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command that works on a database with one shop."""
    assert run_command("shop", "add", SHOP, "--name", "Obchod", environment=environment).returncode == 0
    return environment


def url_of(environment: dict[str, str]) -> str:
    """Return the URL of the database."""
    return environment["SMSEVENTS_DATABASE"]


def told(done: subprocess.CompletedProcess[bytes], lines: int = 1) -> str:
    """Return the error message of a failed command, which has this many lines and no traceback."""
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert len(text.splitlines()) == lines, text
    assert text.startswith("smsevents: ")
    return text


NEEDING = [
    ["shop", "list"],
    ["key", "list", SHOP],
    ["key", "create", SHOP, "--scope", "export"],
    ["key", "revoke", "0123456789ab"],
    ["import", SHOP, "-"],
    ["export", SHOP],
    ["compact"],
    ["expire"],
    ["forget", SHOP, "u"],
    ["verify"],
    ["backup", "copy.db"],
    ["stats"],
]


@pytest.mark.parametrize("words", NEEDING, ids=" ".join)
def test_a_command_in_a_wrong_folder_creates_nothing(words: list[str], tmp_path: Path) -> None:
    """Without a database a command fails, says where it looked and why there, and leaves the folder empty."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMSEVENTS_")}
    command = [sys.executable, "-m", "smsevents", *words]

    done = subprocess.run(command, cwd=tmp_path, env=environment, input=b"", capture_output=True, check=False)

    text = told(done)
    assert f"no database at {tmp_path}/smsevents.db" in text
    assert "SMSEVENTS_DATABASE is not set" in text
    assert done.stdout == b""
    assert list(tmp_path.iterdir()) == []


def test_the_setting_is_named_where_it_led_astray(environment: dict[str, str], tmp_path: Path) -> None:
    """If a setting points to a place without a database, both the setting and the place are named."""
    text = told(run_command("stats", environment=environment))

    assert f"no database at {tmp_path}/log.db" in text
    assert f"SMSEVENTS_DATABASE is '{url_of(environment)}'" in text


def test_what_creates_a_database_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    """`shop add` creates the database and says where, once."""
    first = run_command("shop", "add", "1", environment=environment)
    second = run_command("shop", "add", "2", environment=environment)

    assert f"Created the database {tmp_path}/log.db.".encode() in first.stderr
    assert b"Created" not in second.stderr


@pytest.mark.parametrize(
    "words", [["shop", "list"], ["shop", "list", "--json"], ["stats"], ["--help"], ["export", SHOP]]
)
def test_a_full_disk_behind_the_output_is_one_line(shop: dict[str, str], words: list[str]) -> None:
    """Output that cannot be written because the disk is full is one line and exit code 1, for every command."""
    run_command("import", SHOP, "-", environment=shop, stdin=line(TRACKPOINT, now_ms()))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "smsevents", *words], env=shop, stdout=full, stderr=subprocess.PIPE, check=False
        )

    assert "Standard output cannot be written: No space left on device" in told(done)


@pytest.mark.parametrize("words", [["generate", SHOP, "--events", "100000"], ["shop", "list"]])
def test_a_closed_output_is_one_line(shop: dict[str, str], words: list[str]) -> None:
    """A standard output that was closed before the command began is one line and exit code 1."""
    script = f"{sys.executable} -m smsevents {' '.join(words)} >&-"

    done = subprocess.run(script, shell=True, env=shop, capture_output=True, check=False)  # noqa: S602 -- as from a shell

    assert "Standard output is closed" in told(done)


def test_a_key_that_was_not_shown_is_not_in_use(shop: dict[str, str]) -> None:
    """A key that cannot be printed is revoked at once, and that is reported."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "smsevents", "key", "create", SHOP, "--scope", "export"],
            env=shop,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert "it was revoked immediately" in told(done)
    [key] = run_command("key", "list", SHOP, "--json", environment=shop).stdout.splitlines()
    assert json.loads(key)["revoked_ms"] > 0


def test_revoking_again_is_told(shop: dict[str, str]) -> None:
    """Revoking a revoked key says so and keeps the time of its revocation."""
    key = run_command("key", "create", SHOP, "--scope", "export", environment=shop).stdout.decode().split("_")[1]
    first = run_command("key", "revoke", key, environment=shop).stderr
    before = run_command("key", "list", SHOP, "--json", environment=shop).stdout

    second = run_command("key", "revoke", key, environment=shop).stderr

    assert first == f"Revoked key {key}.\n".encode()
    assert second == f"Key {key} was already revoked.\n".encode()
    assert run_command("key", "list", SHOP, "--json", environment=shop).stdout == before


def test_lists_as_json(shop: dict[str, str]) -> None:
    """`--json` prints one object per line, with times in Unix milliseconds."""
    run_command("key", "create", SHOP, "--scope", "import", "--scope", "export", "--label", "a\tb", environment=shop)

    [listed] = map(json.loads, run_command("shop", "list", "--json", environment=shop).stdout.splitlines())
    [key] = map(json.loads, run_command("key", "list", SHOP, "--json", environment=shop).stdout.splitlines())

    assert (listed["trackpoint"], listed["name"]) == (TRACKPOINT, "Obchod")
    assert abs(listed["created_ms"] - now_ms()) < 600_000
    assert key["scopes"] == ["export", "import"]
    assert (key["label"], key["expires_ms"], key["revoked_ms"]) == ("a\tb", None, None)


def test_names_cannot_break_rows_or_command_a_terminal(environment: dict[str, str]) -> None:
    """Tabs, line ends and escapes in a name are shown as escapes, so that each shop is one row."""
    run_command("shop", "add", "7", "--name", "a\tb\n\x1b[2J[red]", environment=environment)

    rows = run_command("shop", "list", environment=environment).stdout.decode().splitlines()

    assert len(rows) == 2
    assert rows[1].split("\t")[1] == "a\\u0009b\\u000a\\u001b[2J[red]"


def test_columns_say_what_they_hold(shop: dict[str, str]) -> None:
    """The names of the `stats` columns that hold bytes say so."""
    run_command("import", SHOP, "-", environment=shop, stdin=line(TRACKPOINT, now_ms()))

    names, values = run_command("stats", environment=shop).stdout.decode().splitlines()

    row = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    assert row["EVENTS"] == "1"
    assert int(row["LINE BYTES"]) == len(line(TRACKPOINT, now_ms())) + 1
    assert int(row["STORED BYTES"]) > 0
    assert "LINES" not in row


def test_an_error_is_one_line_without_a_terminal(shop: dict[str, str]) -> None:
    """A long message is not wrapped without a terminal."""
    long = "a text that is not a day and is far longer than a line of a terminal, as a whole sentence can be"
    done = run_command("key", "create", SHOP, "--scope", "export", "--expires", long, environment=shop)

    assert done.returncode == 2
    assert re.search(rb"^Error: .*" + long.encode() + rb".*30d or 12h$", done.stderr, re.MULTILINE)


def test_a_misspelt_variable_is_told_once(environment: dict[str, str]) -> None:
    """A variable that is probably misspelt is reported once, by the command, and not again by its child processes."""
    wrong = environment | {
        "SMSEVENTS_DATABSE": "x",
        "SMSEVENTS_PORT": "tcp://10.0.0.1:80",
        "SMSEVENTS_SERVICE_HOST": "x",
    }

    done = run_command("shop", "add", "7", environment=wrong)
    inner = run_command("shop", "list", environment=wrong | {"SMSEVENTS_WARNED": "1"})

    assert done.returncode == 0
    warnings = [row for row in done.stderr.decode().splitlines() if "not a setting" in row]
    assert warnings == [
        "smsevents: SMSEVENTS_DATABSE is not a setting and is ignored. Did you mean SMSEVENTS_DATABASE?"
    ]
    assert inner.stderr == b""


def test_unblocking_says_whom(shop: dict[str, str]) -> None:
    """`--unblock` reports for each user whether anything was done."""
    run_command("forget", SHOP, "a", "--block", environment=shop)

    done = run_command("forget", SHOP, "a", "b", "--unblock", environment=shop)

    assert done.stderr == b"a: unblocked\nb: was not blocked\n"


def test_compaction_says_when_there_is_nothing_to_do(shop: dict[str, str]) -> None:
    """`compact` reports for each shop what it merged, even if that is nothing."""
    assert run_command("compact", environment=shop).stderr == f"{SHOP}: nothing to merge\n".encode()


def test_compaction_can_rewrite_the_database(shop: dict[str, str]) -> None:
    """`compact --rewrite` also rewrites the file, reports that, and keeps every event."""
    path = Path(shop["SMSEVENTS_DATABASE"].removeprefix("sqlite:///"))
    query(path, "CREATE TABLE freed (data)")
    query(path, "INSERT INTO freed VALUES (randomblob(5000000))")
    query(path, "DROP TABLE freed")
    lines = run_command("export", str(SHOP), environment=shop).stdout
    done = run_command("compact", "--rewrite", environment=shop)

    assert done.stderr.endswith(b": nothing to merge\nrewrote the database\n")
    assert path.stat().st_size < 2_000_000
    assert run_command("export", str(SHOP), environment=shop).stdout == lines


def impossible_lines() -> list[bytes]:
    """Return lines as earlier versions recorded them: a send date in nanoseconds, and a blank user id."""
    now = now_ms()
    nanoseconds = line(TRACKPOINT, now).replace(b'"sendDate":', b'"sendDate":1')
    return [nanoseconds.replace(str(now - 300).encode(), b"795477520731000000"), line(TRACKPOINT, now, user=" ")]


def test_impossible_lines_are_refused_or_skipped(shop: dict[str, str], tmp_path: Path) -> None:
    """`import` refuses a file with impossible lines and names the option that skips and counts them."""
    good = line(TRACKPOINT, now_ms())
    file = tmp_path / "events.jsonl"
    file.write_bytes(body_of([*impossible_lines(), good]))

    refused = run_command("import", SHOP, str(file), environment=shop)
    assert "nanoseconds?" in told(refused, lines=3)
    assert "--skip-impossible" in told(refused, lines=3)
    assert run_command("export", SHOP, environment=shop).stdout == b""

    done = run_command("import", SHOP, str(file), "--skip-impossible", environment=shop)
    assert (done.returncode, done.stderr) == (0, b"received 3, expired 0, impossible 2\n")
    assert run_command("export", SHOP, environment=shop).stdout == good + b"\n"


def test_an_old_database_with_impossible_events_goes_on(shop: dict[str, str], tmp_path: Path) -> None:
    """Impossible events that are stored are exported, compacted, verified, backed up and erased."""
    now = now_ms()
    lines = [*impossible_lines(), line(TRACKPOINT, now - 5)]
    store_segments(url_of(shop), TRACKPOINT, [[(json.loads(one)["smsEvent"]["date"], one)] for one in lines])

    for words in (["compact"], ["verify"], ["backup", str(tmp_path / "copy.db")], ["stats"]):
        assert run_command(*words, environment=shop).returncode == 0
    exported = run_command("export", SHOP, environment=shop).stdout
    copied = run_command(
        "export", SHOP, environment=shop | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path / 'copy.db'}"}
    ).stdout
    erased = run_command("forget", SHOP, " ", environment=shop)

    assert exported == copied == model(lines, 0, now + 1000)
    assert json.loads(erased.stdout)["events"] == 1
    assert b'"userId":" "' not in run_command("export", SHOP, environment=shop).stdout


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (body_of([line(1, 2)]).decode().encode("utf-16"), "UTF-16"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip twice"),
        (gzip.compress(b"{}\n" * 9, mtime=0)[:-5], "truncated"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
    ],
)
def test_a_file_of_another_format_is_named(shop: dict[str, str], content: bytes, name: str) -> None:
    """Input that is not lines of events is reported in one line that does not mention headers."""
    text = told(run_command("import", SHOP, "-", environment=shop, stdin=content))

    assert name in text
    assert "Content-Encoding" not in text
    assert run_command("export", SHOP, environment=shop).stdout == b""


def test_the_export_of_an_unknown_shop_is_a_failure(shop: dict[str, str]) -> None:
    """`export` of a shop that does not exist fails, rather than writing nothing and reporting success."""
    assert "There is no shop 8" in told(run_command("export", "8", environment=shop))


def test_an_empty_file_is_told(shop: dict[str, str]) -> None:
    """An import without events says that there were none."""
    done = run_command("import", SHOP, "-", environment=shop, stdin=b"\n \n")

    assert done.stderr == b"received 0, expired 0\nThe file contains no events.\n"


def test_generated_events_can_be_recorded(shop: dict[str, str]) -> None:
    """`generate` refuses an end in seconds, whose events no import would accept."""
    text = told(run_command("generate", SHOP, "--end", str(now_ms() // 1000), environment=shop))

    assert "is it in seconds?" in text


def test_a_folder_as_input_is_told(shop: dict[str, str], tmp_path: Path) -> None:
    """A folder in the place of a file is reported in one line."""
    assert "Is a directory" in told(run_command("import", SHOP, str(tmp_path), environment=shop))


WRITING = [["shop", "add", "8"], ["key", "create", SHOP, "--scope", "export"], ["import", SHOP, "-"]]


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
@pytest.mark.parametrize("name", ["log.db", "."])
def test_what_cannot_be_written_is_named(shop: dict[str, str], tmp_path: Path, words: list[str], name: str) -> None:
    """A file or folder that cannot be written is named with what to do, and never with `try again in a moment`."""
    stdin = line(TRACKPOINT, now_ms())
    with not_writable(tmp_path / name):
        text = told(run_command(*words, environment=shop, stdin=stdin))

    assert "cannot be" in text
    assert str(tmp_path) in text
    assert "Make it writable" in text
    assert "in a moment" not in text
    assert [row[0] for row in query(tmp_path / "log.db", "SELECT trackpoint FROM shops")] == [TRACKPOINT]


# It becomes another user only after all imports: that user may not be able to read this Python.
AS_NOBODY = """
import os, sys
from smsevents.catalog import open_existing
from smsevents.errors import StoreUnavailable
open_existing(sys.argv[1]).close()  # loads modules, which the other user may not be able to read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_existing(sys.argv[1]).check_writable()
except StoreUnavailable as error:
    print(error)
"""


def test_another_owner_is_named() -> None:
    """For a database that belongs to another user, both users and what to do are named."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="smsevents-owner-"))
    try:
        folder.chmod(0o755)
        environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{folder}/log.db"}
        assert run_command("shop", "add", SHOP, environment=environment).returncode == 0
        (folder / "log.db").chmod(0o644)
        command = [sys.executable, "-c", AS_NOBODY, url_of(environment)]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    finally:
        shutil.rmtree(folder)

    assert "belongs to the user root and cannot be written by" in said
    assert "Give the folder and all files of the database to the user that runs smsevents" in said


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    """A database on a read-only file system is reported as such, by reading and by writing commands."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with full_disk(folder):
        environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{folder}/log.db"}
        assert run_command("shop", "add", SHOP, environment=environment).returncode == 0
        make_read_only(folder)
        for words in WRITING:
            text = told(run_command(*words, environment=environment, stdin=line(TRACKPOINT, now_ms())))
            assert f"the file system of {folder} is read-only" in text


WITHOUT_TEMPORARY_FOLDER = """
import sys, tempfile
tempfile._candidate_tempdir_list = lambda: ["/dev/null"]
from smsevents.cli import main
main()
"""


def test_the_server_needs_no_temporary_folder(shop: dict[str, str]) -> None:
    """A server without a folder for temporary files starts, accepts a small import and exports it."""
    key = run_command("key", "create", SHOP, "--scope", "export", "--scope", "import", environment=shop).stdout
    port = free_port()
    headers = {"X-Api-Key": key.decode().strip()}
    event = line(TRACKPOINT, now_ms())
    command = [sys.executable, "-c", WITHOUT_TEMPORARY_FOLDER, "serve", "--port", str(port)]

    process = subprocess.Popen(command, env=shop, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        base = f"http://127.0.0.1:{port}"
        assert eventually(lambda: process.poll() is not None or answers(f"{base}/health/ready"))
        sent = httpx.post(f"{base}/shop/{SHOP}/import-sms-events", content=event, headers=headers)
        got = httpx.post(f"{base}/shop/{SHOP}/export-sms-events", content=b"{}", headers=headers)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)

    assert (sent.status_code, got.content) == (200, event + b"\n")
    assert b"Traceback" not in said


def answers(url: str) -> bool:
    """Return whether a request to an address gets 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
