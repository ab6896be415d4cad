"""`smsevents export` takes the same times as `pull`, and an interval that cannot hold events is a failure."""

from __future__ import annotations

import os

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, body_of, line
from tests.support.servers import add_shop, run_command

TRACKPOINT = 7
NOW = now_ms()
TODAY = NOW // DAY_MS * DAY_MS
LINES = [line(TRACKPOINT, date) for date in (TODAY - 3 * DAY_MS, TODAY - DAY_MS, TODAY - 1, TODAY)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a shop with events of several days."""
    url = f"sqlite:///{tmp_path_factory.mktemp('times') / 'log.db'}"
    add_shop(url, TRACKPOINT)
    environment = os.environ | {"SMSEVENTS_DATABASE": url}
    done = run_command("import", str(TRACKPOINT), "-", environment=environment, stdin=body_of(LINES))
    assert done.returncode == 0, done.stderr
    return environment


def test_days_and_spans(shop: dict[str, str]) -> None:
    """A date is exported from its first to its last millisecond, a duration from that long ago, 0 from the start."""
    for words, lines in (
        (["--from", "yesterday", "--to", "yesterday"], LINES[1:3]),
        (["--from", "2d"], LINES[1:]),
        (["--from", "0", "--to", "now"], LINES),
        (["--to", str(TODAY - 1)], LINES[:3]),
    ):
        done = run_command("export", str(TRACKPOINT), *words, environment=shop)
        assert (done.returncode, done.stdout) == (0, body_of(lines)), words


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--from", str(NOW // 1000)], 2, b"looks like Unix seconds"),
        (["--to", str(NOW // 1000)], 2, b"looks like Unix seconds"),
        (["--to", "2024-02-29"], 1, b"before the last 90 days"),
        (["--from", "0"], 1, b"ends 90 days after --from"),
        (["--from", "2098-01-01"], 1, b"in the future"),
        (["--from", "soon"], 2, b"2027-01-31"),
    ],
)
def test_nothing_is_no_success(shop: dict[str, str], words: list[str], code: int, text: bytes) -> None:
    """Seconds, a forgotten time and a future one are reported, write nothing, and do not exit with 0."""
    done = run_command("export", str(TRACKPOINT), *words, environment=shop)

    assert (done.returncode, done.stdout) == (code, b"")
    assert text in done.stderr
