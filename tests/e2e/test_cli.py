"""The command line interface: what scripts and people rely on."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smsevents import __version__
from smsevents.accounts.access import SCOPES
from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.servers import run_command

TRACKPOINT = 4541245641234564


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a command that works on a new database."""
    return os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path / 'log.db'}"}


@pytest.fixture
def shop(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command that works on a database with one shop."""
    assert run_command("shop", "add", str(TRACKPOINT), "--name", "Obchod", environment=environment).returncode == 0
    return environment


def test_version(environment: dict[str, str]) -> None:
    """`--version` prints the version of the package."""
    done = run_command("--version", environment=environment)

    assert done.stdout == f"smsevents {__version__}\n".encode()


def test_shops_are_listed(shop: dict[str, str]) -> None:
    """`shop list` prints each shop as a tab-separated row when the output is not a terminal."""
    run_command("shop", "add", "7", environment=shop)

    rows = run_command("shop", "list", environment=shop).stdout.decode().splitlines()

    assert [row.split("\t")[:2] for row in rows] == [["TRACKPOINT", "NAME"], ["7", ""], [str(TRACKPOINT), "Obchod"]]


def test_a_shop_is_added_once(shop: dict[str, str]) -> None:
    """Adding a shop that already exists fails with one line, without a traceback, and leaves the shop unchanged."""
    done = run_command("shop", "add", str(TRACKPOINT), "--name", "Other", environment=shop)

    assert done.returncode == 1
    assert done.stderr == f"smsevents: Shop {TRACKPOINT} already exists.\n".encode()
    assert b"Obchod" in run_command("shop", "list", environment=shop).stdout


def test_a_key_is_printed_alone(shop: dict[str, str]) -> None:
    """`key create` prints only the key on standard output; `key list` shows its id and never the key."""
    done = run_command(
        "key", "create", str(TRACKPOINT), "--scope", "export", "--scope", "import", "--label", "cron", environment=shop
    )
    key = done.stdout.decode().strip()
    listed = run_command("key", "list", str(TRACKPOINT), environment=shop).stdout.decode()

    assert done.stdout.count(b"\n") == 1
    assert re.fullmatch(r"sms_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)
    assert key.split("_")[1] in listed
    assert key not in listed
    assert "export import\tcron" in listed


def test_a_key_is_revoked(shop: dict[str, str]) -> None:
    """`key revoke` marks the key, and an unknown id is refused."""
    key = run_command("key", "create", str(TRACKPOINT), "--scope", "export", environment=shop).stdout.decode()

    assert run_command("key", "revoke", key.split("_")[1], environment=shop).returncode == 0

    last_cell = run_command("key", "list", str(TRACKPOINT), environment=shop).stdout.decode().strip().split("\t")[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", last_cell)
    assert b"There is no key nothing" in run_command("key", "revoke", "nothing", environment=shop).stderr


@pytest.mark.parametrize("expires", ["2031-01-31", "2031-01-31T12:00Z", "30d", "12h"])
def test_a_key_may_expire(shop: dict[str, str], expires: str) -> None:
    """`--expires` takes a date, a time or a duration."""
    done = run_command("key", "create", str(TRACKPOINT), "--scope", "export", "--expires", expires, environment=shop)

    assert done.returncode == 0
    path = Path(shop["SMSEVENTS_DATABASE"].removeprefix("sqlite:///"))
    ((expires_ms,),) = query(path, "SELECT expires_ms FROM keys")
    assert expires_ms > now_ms()


def test_an_expiry_that_cannot_be_read_is_refused(shop: dict[str, str]) -> None:
    """An invalid `--expires` creates no key and reports which values are valid."""
    done = run_command("key", "create", str(TRACKPOINT), "--scope", "export", "--expires", "soon", environment=shop)

    assert done.returncode == 2
    assert done.stdout == b""
    assert b"30d" in done.stderr
    assert run_command("key", "list", str(TRACKPOINT), environment=shop).stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["key", "create", "7", "--scope", "read"], b"Invalid value for '--scope': 'read' is not one of 'export',"),
        (
            ["receiver", "create", "7", "--gateway", "mine"],
            b"for '--gateway': 'mine' is not one of 'kannel',",
        ),
    ],
)
def test_an_unknown_choice_is_one_plain_message(shop: dict[str, str], words: list[str], said: bytes) -> None:
    """An unknown scope or gateway is named with those that exist, without words of a library."""
    done = run_command(*words, environment=shop)

    assert done.returncode == 2
    assert said in done.stderr
    assert b"Value error" not in done.stderr


def test_the_help_says_what_each_scope_permits(shop: dict[str, str]) -> None:
    """`key create --help` explains every scope."""
    said = run_command("key", "create", "--help", environment=shop).stdout.decode()

    for scope in SCOPES:
        assert f"`{scope}`" in said


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("from_stdin", [False, True])
def test_import_and_export(shop: dict[str, str], tmp_path: Path, compress: bool, from_stdin: bool) -> None:
    """What `import` reads from a file or standard input, plain or gzip, `export` writes sorted."""
    now = now_ms()
    lines = [line(TRACKPOINT, now - offset, user=f"ž{offset}") for offset in (5, 9, 1, 7, 7)]
    body = gzip.compress(body_of(lines)) if compress else body_of(lines)
    file = tmp_path / "events"
    file.write_bytes(body)

    done = run_command(
        "import",
        str(TRACKPOINT),
        "-" if from_stdin else str(file),
        environment=shop,
        stdin=body if from_stdin else None,
    )

    assert done.stderr == b"received 5, expired 0\n"
    assert run_command("export", str(TRACKPOINT), environment=shop).stdout == model(lines, 0, now)


def test_export_of_a_window_as_gzip(shop: dict[str, str]) -> None:
    """`export --from --to --gzip` writes the lines of the closed interval as gzip."""
    now = now_ms()
    lines = [line(TRACKPOINT, now - offset) for offset in range(10)]
    run_command("import", str(TRACKPOINT), "-", environment=shop, stdin=body_of(lines))

    done = run_command(
        "export", str(TRACKPOINT), "--from", str(now - 7), "--to", str(now - 2), "--gzip", environment=shop
    )

    assert gzip.decompress(done.stdout) == model(lines, now - 7, now - 2)


def test_a_bad_line_stores_nothing(shop: dict[str, str]) -> None:
    """An import with an invalid line names the line, exits with 1 and stores nothing."""
    good = line(TRACKPOINT, now_ms())

    done = run_command(
        "import", str(TRACKPOINT), "-", environment=shop, stdin=good + b"\n" + good.replace(b"DELIVERED", b"SENT")
    )

    assert done.returncode == 1
    assert b"line 2: invalid enum value 'SENT'" in done.stderr
    assert b"Traceback" not in done.stderr
    assert run_command("export", str(TRACKPOINT), environment=shop).stdout == b""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["import", "8", "-"], b"There is no shop 8. Add it with `smsevents shop add 8`."),
        (["import", str(TRACKPOINT), "/nowhere/events"], b"/nowhere/events cannot be read"),
        (["key", "create", "8", "--scope", "export"], b"There is no shop 8."),
        (["export", str(TRACKPOINT), "--from", "2", "--to", "1"], b"`from` (2) is after `to` (1)."),
    ],
)
def test_mistakes_are_told(shop: dict[str, str], words: list[str], told: bytes) -> None:
    """A mistake ends with exit code 1 and a line that says what to do, never with a traceback."""
    done = run_command(*words, environment=shop, stdin=b"")

    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.startswith(b"smsevents: ")


@pytest.mark.parametrize("trackpoint", ["0", "-1", "abc", str(2**63)])
def test_a_trackpoint_is_a_positive_integer(environment: dict[str, str], trackpoint: str) -> None:
    """Anything but a positive 64-bit integer is refused before anything is done."""
    done = run_command("shop", "add", "--", trackpoint, environment=environment)

    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error(shop: dict[str, str]) -> None:
    """`export | head` exits quietly."""
    now = now_ms()
    lines = [line(TRACKPOINT, now - offset, user="u" * 900) for offset in range(3000)]
    run_command("import", str(TRACKPOINT), "-", environment=shop, stdin=body_of(lines))

    shell = f"{sys.executable} -m smsevents export {TRACKPOINT} | head -n 1"
    done = subprocess.run(shell, shell=True, env=shop, capture_output=True, check=False, timeout=60)  # noqa: S602 -- a pipe is what is tested

    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_generated_lines_can_be_imported(shop: dict[str, str]) -> None:
    """`generate | import` records every line, and the same seed and end produce the same lines."""
    words = ["generate", str(TRACKPOINT), "--events", "2000", "--days", "30", "--seed", "5", "--end", str(now_ms())]
    lines = run_command(*words, environment=shop).stdout

    assert run_command(*words, environment=shop).stdout == lines
    done = run_command("import", str(TRACKPOINT), "-", environment=shop, stdin=lines)
    assert done.stderr == b"received 2000, expired 0\n"
    assert run_command("export", str(TRACKPOINT), environment=shop).stdout == lines


def test_old_lines_are_counted_as_expired(shop: dict[str, str]) -> None:
    """Lines older than the history are counted and dropped."""
    old = line(TRACKPOINT, now_ms() - 91 * DAY_MS)

    done = run_command("import", str(TRACKPOINT), "-", environment=shop, stdin=old)

    assert done.stderr == b"received 1, expired 1\n"


def test_demo_shows_the_main_job(environment: dict[str, str]) -> None:
    """`demo --once` exports a temporary shop with the documented call and leaves no files."""
    done = run_command("demo", "--once", "--events", "5000", environment=environment)
    shown = done.stdout.decode()

    assert done.returncode == 0, done.stderr
    assert "5,000 lines" in shown
    assert re.search(r"curl -d '\{\"from\": \d+, \"to\": \d+\}' -H 'X-Api-Key: sms_", shown)
    assert shown.count('{"smsEvent":') == 5  # four of the export, and that of the receipt
    assert "Without --once the server keeps running" in shown
    assert not Path(environment["SMSEVENTS_DATABASE"].removeprefix("sqlite:///")).exists()


def test_an_expiry_in_the_past_is_refused(shop: dict[str, str]) -> None:
    """A key that would have expired already is not created."""
    done = run_command(
        "key", "create", str(TRACKPOINT), "--scope", "export", "--expires", "2020-01-01", environment=shop
    )

    assert done.returncode == 2
    assert done.stdout == b""
    assert run_command("key", "list", str(TRACKPOINT), environment=shop).stdout.count(b"\n") == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SMSEVENTS_PORT", "70000"), ("SMSEVENTS_LOG_FORMAT", "xml"), ("SMSEVENTS_DATABASE", "/tmp/x.db")],  # noqa: S108 -- never made
)
def test_a_setting_that_cannot_be_used_is_told(environment: dict[str, str], variable: str, value: str) -> None:
    """`serve` does not start with an invalid setting, and names the variable."""
    done = run_command("serve", environment=environment | {variable: value})

    assert done.returncode == 1
    assert variable.encode() in done.stderr
    assert b"serves" not in done.stderr
