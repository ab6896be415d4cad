"""`smsevents receiver`: what operators see and type."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from typer.testing import CliRunner

from smsevents.catalog import open_catalog
from smsevents.cli import app
from smsevents.client import encode_reference
from smsevents.errors import SmsEventsError
from smsevents.receipts.receivers import Receivers
from smsevents.wire.reference import decode_reference
from tests.support.documents import ROOT, Page
from tests.support.receipts import line_of, one_off, sent_line
from tests.support.servers import add_shop

pytestmark = pytest.mark.slow

PAGE = Page(ROOT / "docs" / "receipts.md")


class Done(NamedTuple):
    """A command that has ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Desk:
    """An operator's shell with a database that has one shop."""

    def __init__(self, url: str) -> None:
        """Add the shop."""
        self.environment = {
            "SMSEVENTS_DATABASE": url,
            "PATH": "/usr/bin:/bin",
            "SMSEVENTS_PUBLIC_URL": "https://x.cz/a/",
        }
        add_shop(url, 7)

    def run(self, *words: str, stdin: bytes | None = None) -> Done:
        """Run a command in this process."""
        return self.call("receiver", *words, stdin=stdin)

    def call(self, *words: str, stdin: bytes | None = None) -> Done:
        """Run any command in this process."""
        done = CliRunner().invoke(app, [*words], env=self.environment, input=stdin)
        error = f"{done.exception}\n" if isinstance(done.exception, SmsEventsError) else ""
        return Done(done.exit_code, done.stdout_bytes, done.stderr_bytes + error.encode())


@pytest.fixture
def desk(url: str) -> Desk:
    """Return a shell."""
    return Desk(url)


def test_the_life_of_a_receiver(desk: Desk) -> None:
    """A receiver is created with its complete address, listed without its token, explained, and revoked for good."""
    created = desk.run("create", "7", "--gateway", "jasmin", "--time-zone", "Europe/Prague")
    address = created.stdout.decode().strip()
    assert re.fullmatch(r"https://x\.cz/a/receipts/[0-9a-f]{12}_[A-Za-z0-9_-]{43}", address)
    token = address.rsplit("/", 1)[1]
    receiver_id = token[:12]

    listed = desk.run("list", "7").stdout.decode()
    assert receiver_id in listed
    assert "Europe/Prague" in listed
    assert token[13:] not in listed + desk.run("list", "7", "--json").stdout.decode()

    now = int(time.time()) * 1000 - 3_600_000
    reference = encode_reference("u1", one_off(now))
    call = f"{address}/{reference}?message_status=DELIVRD&id=1&donedate=x"
    explained = desk.run("test", receiver_id, call)
    assert explained.returncode == 0
    event = msgspec.json.decode(explained.stdout)
    assert (event["smsEvent"]["userId"], event["smsEvent"]["status"]) == ("u1", "DELIVERED")
    assert b"would become DELIVERED, with the time of its first arrival" in explained.stderr
    posted = desk.run("test", receiver_id, f"/receipts/{token}", "--body", "-", stdin=b"message_status=EXPIRED&id=2")
    assert b"would wait up to 72 hours" in posted.stderr
    assert desk.call("export", "7").stdout == b""

    assert desk.run("revoke", receiver_id).stderr == f"Revoked receiver {receiver_id}.\n".encode()
    assert b"already revoked" in desk.run("revoke", receiver_id).stderr
    assert b"a real call gets 404" in desk.run("test", receiver_id, "message_status=UNKNOWN").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "8", "--gateway", "kannel"], "no shop 8"),
        (["create", "7", "--gateway", "kannel", "--time-zone", "Prague"], "Europe/Prague"),
        (["create", "7", "--gateway", "other"], "kannel"),
        (["create", "7", "--gateway", "generic"], "needs a mapping"),
        (["create", "7", "--gateway", "twilio"], "give the secret"),
        (["create", "7", "--gateway", "kannel", "--secret", __file__], "does not sign"),
        (["create", "7", "--gateway", "generic", "--mapping", "/does/not/exist"], "cannot be read"),
        (["revoke", "0123456789ab"], "no receiver 0123456789ab"),
        (["test", "0123456789ab", "d=1"], "no receiver 0123456789ab"),
        (["list", "8"], "no shop 8"),
    ],
)
def test_mistakes_are_explained(desk: Desk, words: list[str], message: str) -> None:
    """A mistake ends with an error that says what to do, and nothing is created."""
    done = desk.run(*words)

    assert done.returncode in {1, 2}
    assert message in done.stderr.decode()
    with closing(open_catalog(desk.environment["SMSEVENTS_DATABASE"])) as database:
        assert Receivers(database).all_of(7) == []


def test_an_address_that_cannot_be_shown_is_revoked(desk: Desk) -> None:
    """If standard output is full, the receiver is revoked: nobody would ever know its address."""
    with Path("/dev/full").open("wb") as full:
        failed = subprocess.run(
            [sys.executable, "-m", "smsevents", "receiver", "create", "7", "--gateway", "kannel"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=desk.environment,
        )

    assert failed.returncode == 1
    assert b"it was revoked immediately" in failed.stderr
    assert msgspec.json.decode(desk.run("list", "7", "--json").stdout)["revoked_ms"] is not None


def test_a_secret_is_never_shown(desk: Desk, tmp_path: Path) -> None:
    """The secret of signatures comes from a file or standard input, and no command prints it."""
    (tmp_path / "secret").write_text("the-secret\n")
    told = [
        desk.run("create", "7", "--gateway", "twilio", "--secret", str(tmp_path / "secret")),
        desk.run("create", "7", "--gateway", "vonage", "--secret", "-", stdin=b"the-secret\n"),
        desk.run("list", "7", "--json"),
        desk.run("list", "7"),
    ]

    assert [one.returncode for one in told] == [0] * 4
    assert not any(b"the-secret" in one.stdout + one.stderr for one in told)
    with closing(open_catalog(desk.environment["SMSEVENTS_DATABASE"])) as database:
        assert [one.secret for one in Receivers(database).all_of(7)] == [b"the-secret"] * 2
        assert "the-secret" not in repr(Receivers(database).all_of(7))


VALUES = ("123456", "b2c8", "Black Friday", 1673753160010)


@pytest.mark.parametrize("language", ["js", "bash", "python"])
def test_recipes_for_references(language: str, tmp_path: Path) -> None:
    """The recipes of docs/receipts.md make the reference that the client makes."""
    [recipe] = [text for shown, text in PAGE.blocks if shown == language and VALUES[2] in text and "TOKEN" not in text][
        :1
    ]
    if language == "js":
        script = recipe + "\nconsole.log(reference)"
        words = ["node", "-e", script]
    elif language == "python":
        words = [sys.executable, "-c", recipe + "\nprint(reference)"]
    else:
        words = ["bash", "-c", recipe]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")

    text = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()

    assert text == encode_reference("123456", one_off(1673753160010))
    assert decode_reference(text).source.campaign.name == "Black Friday"


def test_the_worked_example(tmp_path: Path) -> None:
    """`receiver test` explains the example of docs/receipts.md, and a line of the register is one of the page."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    desk = Desk(url)
    address = desk.run("create", "7", "--gateway", "kannel").stdout.decode().strip()
    receiver_id = address.rsplit("/", 1)[1][:12]
    now = int(time.time()) * 1000

    done = desk.run(
        "test",
        receiver_id,
        f"{address}/{encode_reference('123456', one_off(now))}?d=1&A=stat:DELIVRD&F=1a2b3c00&T={now // 1000}",
    )

    assert done.stdout.strip() == line_of(7, "123456", "DELIVERED", max(now // 1000 * 1000, now), one_off(now))
    [shown] = set(re.findall(r"--data-binary '(\{.*\})'", PAGE.text))
    assert shown.encode() + b"\n" == sent_line(
        {"gateway": "jasmin"}, "807ef9e4-02e8-4f9a", "123456", one_off(1795478000000)
    )
