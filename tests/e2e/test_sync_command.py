"""The command `smsevents sync`: into DuckDB from a real server, and what it says if something is missing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from smsevents.cli import app
from smsevents.clock.system import now_ms
from tests.support.lines import HOUR_MS, body_of
from tests.support.servers import Server, eventually
from tests.support.standin import Answer, StandIn
from tests.support.warehouses import duckdb_at, expected, some_lines

if TYPE_CHECKING:
    from pathlib import Path

# ends the process at the first attempt to reach anything but this machine
GUARD = """
import os, sys
def guard(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] != "127.0.0.1":
        os._exit(77)
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", None):
        os._exit(77)
sys.addaudithook(guard)
"""
COMMAND = GUARD + "from smsevents.cli import main; main()"


def command(*words: str, environment: dict[str, str], script: str = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run a command under the guard, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`smsevents sync` run twice loads from a real server into DuckDB, contacts no other host and leaves no files."""
    shop = server.shop()
    now = now_ms()
    lines = some_lines(200, now - HOUR_MS, trackpoint=shop.trackpoint)
    assert shop.send(body_of(lines)).status_code == 200
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"SMSEVENTS_API_KEY": shop.key, "HOME": str(tmp_path / "home")}

    words = ("sync", str(shop.trackpoint), "--url", shop.base)
    first = command(*words, environment=environment)
    late = some_lines(7, now - 40 * HOUR_MS - 7, trackpoint=shop.trackpoint)
    assert shop.send(body_of(late)).status_code == 200
    second = command(*words, "--json", environment=environment)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == ""
    assert first.stderr.splitlines()[-2].startswith("received 200 events, synced to 20")
    assert first.stderr.splitlines()[-1].endswith(": 200 events received in 3 loads, now in sms.sms_events of duckdb.")
    report = json.loads(second.stdout)
    assert report | {"received": 0, "synced_from": 0, "synced_to": 0} == {
        "trackpoint": shop.trackpoint,
        "url": shop.base,
        "destination": "duckdb",
        "dataset": "sms",
        "table": "sms_events",
        "synced_from": 0,
        "synced_to": 0,
        "loads": 1,
        "received": 0,
    }
    assert second.stderr == ""
    assert duckdb_at(tmp_path / "smsevents.duckdb").rows() == expected(lines + late)
    assert {path.name for path in tmp_path.iterdir()} == {"smsevents.duckdb"}
    assert (tmp_path / "smsevents.duckdb").stat().st_mode & 0o777 == 0o600  # it holds personal data


def test_the_guard_sees_what_it_must() -> None:
    """The guard of the test above ends a process that contacts another machine."""
    script = GUARD + "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')"
    assert command(environment=dict(os.environ), script=script).returncode == 77


def test_the_command_without_what_it_needs() -> None:
    """Without a key or without dlt the command says what to do and exits with an error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMSEVENTS_")}
    words = ("sync", "7", "--account", "samba")

    no_key = command(*words, environment=environment)
    assert (no_key.returncode, no_key.stdout) == (1, "")
    assert (
        no_key.stderr
        == "smsevents: No API key is set. Set SMSEVENTS_API_KEY; on a terminal, the command prompts for it.\n"
    )
    without = "import sys; sys.modules['dlt'] = None; from smsevents.cli import main; main()"
    no_dlt = command(*words, environment=environment, script=without)
    assert (no_dlt.returncode, no_dlt.stdout) == (1, "")
    assert no_dlt.stderr == (
        "smsevents: Loading into a warehouse needs dlt, which is not installed. In the checkout of smsevents, run:"
        " pip install '.[sync]' (or: make install WITH=sync)\n"
    )


def test_the_key_is_asked_for_unseen(standin: StandIn, tmp_path: Path) -> None:
    """On a terminal the command asks for the key, does not show it, and sends it."""
    standin.answers(Answer(status=401))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SMSEVENTS_")}
    ours, its = pty.openpty()
    words = ["sync", "7", "--url", standin.url, "--destination", f"duckdb:///{tmp_path}/w.duckdb"]
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", *words],
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        assert eventually(lambda: not termios.tcgetattr(ours)[3] & termios.ECHO)
        os.write(ours, b"sms_typed\n")
        shown = b""
        # Linux signals the end of a terminal that nobody holds any more with an error
        with suppress(OSError):
            while data := os.read(ours, 1024):
                shown += data
    finally:
        process.kill()
        process.wait()
        os.close(ours)

    assert b"API key" in shown
    assert b"sms_typed" not in shown
    assert {request.headers["x-api-key"] for request in standin.requests} == {"sms_typed"}


@pytest.mark.parametrize(
    "words", [["--account", "samba", "--url", "http://x"], ["--account", "other"], ["--lookback", "-1"], ["--key", "k"]]
)
def test_calls_that_cannot_be_meant(words: list[str]) -> None:
    """Two servers, an unknown account, a negative number of days, and a key on the command line are refused."""
    assert CliRunner().invoke(app, ["sync", "7", *words]).exit_code == 2
