"""The client commands under a wrong clock, with `faketime` and a running server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line
from tests.support.servers import run_command
from tests.support.warehouses import duckdb_at, expected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Server, Shop

FAKETIME = shutil.which("faketime")
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="needs `faketime`, a package of Debian")


def faked(offset: str, *words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command with a shifted clock."""
    return subprocess.run(
        [str(FAKETIME), "-f", offset, sys.executable, "-m", "smsevents", *words],
        env=environment | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=240,
    )


def surroundings(shop: Shop, home: Path) -> dict[str, str]:
    """Return the environment of a shop's client."""
    return os.environ | {"SMSEVENTS_API_KEY": shop.key, "SMSEVENTS_URL": shop.base, "HOME": str(home)}


@pytest.mark.parametrize(
    "offset", ["+10d", *(pytest.param(one, marks=pytest.mark.campaign) for one in ("-10d", "+200d"))]
)
def test_pull_once_with_a_wrong_clock(server: Server, tmp_path: Path, offset: str) -> None:
    """After one pull with a wrong clock, even with `--replace`, the next one has every event."""
    shop = server.shop()
    lines = [line(shop.trackpoint, now_ms() - HOUR_MS - day * DAY_MS, f"user {day}") for day in range(12)]
    shop.send(body_of(lines))
    environment = surroundings(shop, tmp_path)
    words = ("pull", str(shop.trackpoint), str(tmp_path / "events"), "--format", "parquet")
    assert run_command(*words, environment=environment, stdin=b"").returncode == 0

    for more in ((), ("--replace",)):
        wrong = faked(offset, *words, *more, environment=environment)
        assert b"This machine's clock is" in wrong.stderr
    late = [line(shop.trackpoint, now_ms() - day * DAY_MS, "late") for day in range(3)]
    shop.send(body_of(late))
    right = run_command(*words, "--quiet", environment=environment, stdin=b"")

    assert (right.returncode, right.stderr) == (0, b"")
    query = f"SELECT count(*), count(DISTINCT user_id || date) FROM '{tmp_path}/events/*.parquet'"  # noqa: S608 -- our own path
    assert duckdb_at(tmp_path / "look.duckdb").query(query) == [(15, 15)]


def test_sync_once_with_a_wrong_clock(server: Server, tmp_path: Path) -> None:
    """After one sync with a clock ten days ahead, the next one has what was recorded in between."""
    shop = server.shop()
    lines = [line(shop.trackpoint, now_ms() - HOUR_MS - day * DAY_MS) for day in range(5)]
    shop.send(body_of(lines))
    environment = surroundings(shop, tmp_path)
    words = ("sync", str(shop.trackpoint), "--destination", f"duckdb:///{tmp_path}/w.duckdb", "--lookback", "0")

    wrong = faked("+10d", *words, environment=environment)
    new = [line(shop.trackpoint, now_ms(), "new")]
    shop.send(body_of(new))
    right = run_command(*words, environment=environment, stdin=b"")

    assert wrong.returncode == 0, wrong.stderr
    assert b"10 days ahead of the server's" in wrong.stderr or b"9 days ahead" in wrong.stderr
    assert right.returncode == 0, right.stderr
    assert duckdb_at(tmp_path / "w.duckdb").rows() == expected(lines + new)
