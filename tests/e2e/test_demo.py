"""`smsevents demo` on other machines: it ends completely, whatever is configured there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.servers import eventually, run_command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def curl() -> None:
    """Skip if curl, which the demo uses for the export, is not installed."""
    if shutil.which("curl") is None:
        assert "CI" not in os.environ, "CI must have curl"
        pytest.skip("curl is not installed; `make test` installs it where it may")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_ends_with_its_server(ending: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, `kill` and closing the terminal end the demo, its server and its files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", "demo", "--events", "500"],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as shown:
        text = "".join(iter(shown.readline, "Press Ctrl-C to stop.\n"))
        port = int(re.findall(r"listens on http://127\.0\.0\.1:(\d+)", text)[0])
        assert _listens(port)

        process.send_signal(ending)

        assert process.wait(60) == 0
    assert not _listens(port)
    assert eventually(lambda: list(tmp_path.iterdir()) == [])


def test_prints_an_address_that_signs_in_once() -> None:
    """The demo prints the key, and an address of the page with a ticket that opens a session without it, once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smsevents", "demo", "--events", "500"],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as shown:
        text = "".join(iter(shown.readline, "Press Ctrl-C to stop.\n"))
        [key] = re.findall(r"^Key: (sms_\S+)$", text, re.MULTILINE)
        assert text.index(f"Key: {key}") < text.index("#ticket=")
        [(base, ticket)] = re.findall(r"(http://127\.0\.0\.1:\d+)/#ticket=([\w-]{43})\n", text)

        answers = [httpx.post(f"{base}/session", json={"ticket": ticket}) for _ in range(2)]
        by_key = httpx.post(f"{base}/session", json={"key": key})

        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [answer.status_code for answer in answers] == [200, 401]
    assert by_key.status_code == 200
    assert answers[0].json()["scopes"] == ["export", "stats"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_settings_of_the_machine_do_not_matter() -> None:
    """A proxy, and settings meant for the real server, do not keep the demo from showing the export."""
    settings = {"SMSEVENTS_HOST": "192.0.2.1", "SMSEVENTS_EXPORTS_AT_ONCE_MAX": "none", "SMSEVENTS_DATABASE": "x"}
    proxy = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}

    done = run_command("demo", "--once", "--events", "500", environment=os.environ | settings | proxy)

    assert done.returncode == 0, done.stderr.decode()
    assert b"500 events" in done.stdout
