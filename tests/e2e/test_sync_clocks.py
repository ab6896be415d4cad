"""`smsevents sync` with wrong clocks and long breaks: nothing is skipped, and losses are reported once."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from smsevents.client import ConfigurationError, locks
from smsevents.client.sync import SyncReport, sync
from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, HOUR_MS, line
from tests.support.servers import PLAIN, run_command
from tests.support.standin import Account, StandIn
from tests.support.warehouses import NOW_MS, TRACKPOINT, duckdb_at, expected, some_lines

if TYPE_CHECKING:
    from pathlib import Path


def run(standin: StandIn, path: Path, own: int, server: int | None) -> SyncReport:
    """Sync into a DuckDB file, with given local and server clocks."""
    standin.now_ms = None if server is None else lambda: server
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "sleep": lambda _: None, "now_ms": lambda: own}
    return sync(TRACKPOINT, "key", url=standin.url, destination=f"duckdb:///{path}", **fixed)


def test_a_clock_that_is_ahead_skips_nothing(standin: StandIn, tmp_path: Path) -> None:
    """After a sync with a clock ten days ahead, the next one continues from where the server was."""
    path = tmp_path / "w.duckdb"
    account = Account(lines=some_lines(20))
    standin.answers(account)
    ahead = run(standin, path, NOW_MS + 10 * DAY_MS, NOW_MS)
    account.lines += [line(TRACKPOINT, NOW_MS + hours * HOUR_MS, "new") for hours in range(1, 150, 6)]

    right = run(standin, path, NOW_MS + 8 * DAY_MS, NOW_MS + 8 * DAY_MS)

    assert "10 days ahead" in str(ahead.warning)
    assert ahead.synced_to == NOW_MS
    assert right.warning is UNSET
    assert duckdb_at(path).rows() == expected(account.lines)


def test_a_clock_that_is_behind_leaves_nothing_out(standin: StandIn, tmp_path: Path) -> None:
    """Events that are past only by the server's clock are loaded, but the cursor stays at the local time."""
    path = tmp_path / "w.duckdb"
    account = Account(lines=[*some_lines(20), line(TRACKPOINT, NOW_MS - HOUR_MS, "new")])
    standin.answers(account)

    after = run(standin, path, NOW_MS - 10 * DAY_MS, NOW_MS)

    assert "10 days behind" in str(after.warning)
    assert after.synced_to == NOW_MS - 10 * DAY_MS
    assert duckdb_at(path).rows() == expected(account.lines)
    run(standin, path, NOW_MS, NOW_MS)
    assert duckdb_at(path).rows() == expected(account.lines)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_of_a_dataset_is_refused(tmp_path: Path, name: str) -> None:
    """An empty dataset name, such as from an unset variable, is refused before anything is loaded elsewhere."""
    path = tmp_path / "w.duckdb"
    with pytest.raises(ConfigurationError, match="dataset is empty"):
        sync(TRACKPOINT, "key", url="http://127.0.0.1:1", destination=f"duckdb:///{path}", dataset=name)
    assert not path.exists()


def test_a_long_break_is_told_once(standin: StandIn, tmp_path: Path) -> None:
    """Events that expired between two syncs are reported by the first sync after the break, and not again."""
    path = tmp_path / "w.duckdb"
    standin.answers(Account(lines=some_lines(5)))
    run(standin, path, NOW_MS, NOW_MS)
    back = NOW_MS + 100 * DAY_MS

    after = run(standin, path, back, back)

    assert (after.lost_from, after.lost_to) == (NOW_MS + 1, back - 90 * DAY_MS - 1)
    assert run(standin, path, back, back).lost_from is UNSET


def test_the_command_tells_what_is_lost(standin: StandIn, tmp_path: Path) -> None:
    """The command exits with 1 once, after loading what there is, and names the lost time; the next one succeeds."""
    path = tmp_path / "w.duckdb"
    lines = [line(7, now_ms() - HOUR_MS)]
    account = Account(lines=lines)
    standin.answers(account)
    long_ago = now_ms() - 100 * DAY_MS
    standin.now_ms = lambda: long_ago
    fixed: dict[str, Any] = {"ssl_context": PLAIN, "now_ms": lambda: long_ago}
    sync(7, "key", url=standin.url, destination=f"duckdb:///{path}", **fixed)
    standin.now_ms = now_ms
    environment = os.environ | {"SMSEVENTS_API_KEY": "key", "HOME": str(tmp_path)}
    words = ("sync", "7", "--url", standin.url, "--destination", f"duckdb:///{path}", "--json")

    lost, fine = (run_command(*words, environment=environment, stdin=b"") for _ in range(2))

    assert (lost.returncode, fine.returncode) == (1, 0), lost.stderr + fine.stderr
    assert b"are lost" in lost.stderr
    assert json.loads(lost.stdout)["lost_from"] <= long_ago
    assert "lost_from" not in json.loads(fine.stdout)
    assert duckdb_at(path).rows() == expected(lines)
    assert [one.name for one in (tmp_path / ".cache" / "smsevents").iterdir()] == []


def test_the_lock_is_where_nobody_else_can_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are in a private folder in the home directory, else in a temporary folder of this user, else an error."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with locks.held("x") as first, locks.held("x") as second, locks.held("y") as other:
        assert (first, second, other) == (True, False, True)
    assert stat.S_IMODE((tmp_path / ".cache" / "smsevents").stat().st_mode) == 0o700
    assert list((tmp_path / ".cache" / "smsevents").iterdir()) == []

    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert locks.lock_folder() == tmp_path / f"smsevents-{os.getuid()}"
    locks.lock_folder().chmod(0o777)
    with pytest.raises(ConfigurationError, match="does not belong to this user alone"):
        locks.lock_folder()
    (tmp_path / f"smsevents-{os.getuid()}").rmdir()
    (tmp_path / f"smsevents-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="does not belong to this user alone"):
        locks.lock_folder()
