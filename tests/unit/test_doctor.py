"""`smsevents doctor` and `--database`: which settings are in force, and what is wrong with what they name."""

from __future__ import annotations

import os
import resource
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.testing import CliRunner

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.checks import Check, State
from smsevents.catalog.dialects.sqlite.dialect import VACUUM
from smsevents.catalog.pending_scrubs import add_pending, mark_rows_left
from smsevents.cli import app
from smsevents.cli.checks import CLOCK_BEHIND_MAX_MS, examine
from smsevents.clock.system import now_ms
from smsevents.settings import Settings
from smsevents.upkeep.wiping import PAUSE
from smsevents.worker.worker import UpkeepWorker
from tests.support.databases import query, write_lock

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 24 * 60 * 60 * 1000
SHOP = 4541245641234564
WITH_DATABASE = [
    ["shop", "list"],
    ["key", "list", str(SHOP)],
    ["export", str(SHOP)],
    ["compact"],
    ["expire"],
    ["verify"],
    ["stats"],
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database with one shop, in a folder that is closed to others."""
    tmp_path.chmod(0o700)
    database = open_catalog(f"sqlite:///{tmp_path / 'log.db'}")
    Access(database).add_shop(SHOP, "")
    database.close()
    return tmp_path / "log.db"


def run(*words: str, **environment: str) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(app, words, env=environment)


def report(*words: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report of the doctor."""
    done = run("doctor", "--json", *words, **environment)
    return done.exit_code, msgspec.json.decode(done.stdout)


def checked(path: Path, *, after_ms: int = 0, **settings: Any) -> dict[str, Check]:
    """Return the checks of a database by name, as they are `after_ms` after now."""
    found = examine(Settings(database=f"sqlite:///{path}", **settings), now_ms() + after_ms)
    return {one.name: one for one in found}


def test_settings_with_their_sources(path: Path) -> None:
    """Each setting is shown with its value and whether that is the option's, the variable's or the default."""
    code, found = report(
        "--database", f"sqlite:///{path}", SMSEVENTS_PORT="9090", SMSEVENTS_DATABASE="sqlite:///other.db"
    )

    shown = {one["variable"]: (one["value"], one["source"]) for one in found["settings"]}
    assert code == 0
    assert shown["SMSEVENTS_DATABASE"] == (f"sqlite:///{path}", "--database")
    assert shown["SMSEVENTS_PORT"] == (9090, "SMSEVENTS_PORT")
    assert shown["SMSEVENTS_UPKEEP"] == ("on", "default")


def test_good_database_is_good(path: Path) -> None:
    """A database that a server keeps is ok in every respect, and the exit code is 0."""
    path.chmod(0o600)
    database = open_catalog(f"sqlite:///{path}")
    assert UpkeepWorker(database).take_lease()
    database.close()

    assert {one.name: one.state for one in checked(path).values()} == dict.fromkeys(
        [
            "database",
            "version",
            "writable",
            "modes",
            "disk",
            "temporary folder",
            "clock",
            "upkeep",
            "erasures",
            "open files",
        ],
        State.OK,
    )


def test_text_shows_all(path: Path) -> None:
    """Without `--json` the same comes as two tables, readable by programs where it is not on a terminal."""
    done = run("doctor", SMSEVENTS_DATABASE=f"sqlite:///{path}")

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["SMSEVENTS_DATABASE", f"sqlite:///{path}", "SMSEVENTS_DATABASE"] in rows
    assert ["version", "ok", "tables of revision"] in [[*row[:2], row[2].rsplit(" ", 1)[0]] for row in rows if row[2:]]


@pytest.mark.parametrize(
    "url",
    ["log.db", "mysql://host/log", "sqlite://", "sqlite:///:memory:", "sqlite:////nowhere/log.db", "sqlite:////dev"]
    + [f"sqlite:////etc/passwd/{name}" for name in ("log.db", "x" * 300)],
)
def test_unusable_database_is_wrong(url: str) -> None:
    """A URL that does not name a usable database is wrong, and the exit code is 1."""
    code, found = report(SMSEVENTS_DATABASE=url)

    assert code == 1
    assert not found["ok"]
    assert [one["state"] for one in found["checks"] if one["name"] == "database"] == ["wrong"]


def test_bad_setting_is_wrong() -> None:
    """A variable whose value cannot be used is reported as wrong, with its name."""
    code, found = report(SMSEVENTS_PORT="many")

    assert code == 1
    assert "SMSEVENTS_PORT is 'many'" in found["checks"][0]["detail"]


def test_bad_settings_do_not_hide_the_others(path: Path) -> None:
    """Each variable that cannot be used is a check of its own; all settings are shown, and the database is checked."""
    code, found = report(
        SMSEVENTS_DATABASE=f"sqlite:///{path}", SMSEVENTS_PORT="many", SMSEVENTS_UPKEEP="perhaps", SMSEVENTS_HOST="::"
    )

    shown = {one["variable"]: (one["value"], one["source"]) for one in found["settings"]}
    states = [(one["name"], one["state"]) for one in found["checks"]]
    assert code == 1
    assert len(shown) == len(fields(Settings))
    assert shown["SMSEVENTS_PORT"] == ("many", "SMSEVENTS_PORT")
    assert shown["SMSEVENTS_HOST"] == ("::", "SMSEVENTS_HOST")
    assert states[:3] == [("settings", "wrong"), ("settings", "wrong"), ("database", "ok")]


def test_nothing_is_left_beside_the_database(path: Path) -> None:
    """Without a running server no `-wal` and no `-shm` is left after the check: they would suggest a server."""
    before = path.read_bytes()

    checked(path)

    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_folder_and_empty_file_are_told(tmp_path: Path) -> None:
    """A folder is reported as such, and an empty file as no database yet, with the command that creates one."""
    empty = tmp_path / "empty.db"
    empty.touch()

    assert "it is a folder" in checked(tmp_path)["database"].detail
    assert checked(empty)["database"].state is State.WARNING
    assert "`smsevents shop add`" in checked(empty)["database"].detail
    assert empty.stat().st_size == 0


def test_no_database_is_not_made(tmp_path: Path) -> None:
    """A missing database is reported as a warning and is not created."""
    code, found = report("--database", f"sqlite:///{tmp_path / 'log.db'}")

    assert code == 0
    assert found["checks"][0]["state"] == "warning"
    assert list(tmp_path.iterdir()) == []


def test_old_database_is_not_upgraded(path: Path) -> None:
    """A database of an older version is a warning, one that only a newer one may use is wrong; all stay as they are."""
    for revision, lowest, state in [("0000", 1, State.WARNING), ("9999", 99, State.WRONG), ("9999", 1, State.OK)]:
        query(path, "UPDATE alembic_version SET version_num = ?", revision)
        query(path, "UPDATE readers SET lowest = ?", lowest)

        assert checked(path)["version"].state is state

        assert query(path, "SELECT version_num FROM alembic_version") == [(revision,)]


def test_other_files_are_wrong(tmp_path: Path) -> None:
    """A file that is not a database, and the database of another program, are wrong and stay as they are."""
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_bytes(b"not a database, and long enough to be looked at" * 100)
    query(other, "CREATE TABLE notes (text)")
    before = [text.read_bytes(), other.read_bytes()]

    assert checked(text)["database"].state is State.WRONG
    assert checked(other)["database"].state is State.WRONG
    assert [text.read_bytes(), other.read_bytes()] == before


def test_held_write_lock_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holding the write lock is a warning, and the doctor does not wait long."""
    monkeypatch.setattr("smsevents.catalog.dialects.sqlite.diagnosis.LOCK_WAIT_MAX_SECONDS", 0.1)
    with write_lock(path):
        found = checked(path)["writable"]

    assert found.state is State.WARNING
    assert "write lock" in found.detail
    assert checked(path)["writable"].state is State.OK


def test_open_modes_are_told(path: Path) -> None:
    """A database that other users can read is a warning, and one in a closed folder is not."""
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert checked(path)["modes"].state is State.WARNING

    path.parent.chmod(0o700)
    assert checked(path)["modes"].state is State.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_another_user_are_told(path: Path) -> None:
    """A database of another user is a warning: what a command writes there, the server may not be able to."""
    os.chown(path, 12345, -1)

    assert checked(path)["modes"].state is State.WARNING


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_closed_folder_is_told(path: Path) -> None:
    """A database in a folder that this user may not enter is wrong, and not said to be missing."""
    path.parent.chmod(0)
    try:
        found = checked(path)["database"]
    finally:
        path.parent.chmod(0o700)

    assert found.state is State.WRONG
    assert "Permission denied" in found.detail


def test_clock_that_is_behind_is_wrong(path: Path) -> None:
    """A clock that is behind what was written is wrong; by a minute it may be, as machines differ."""
    assert checked(path, after_ms=-DAY_MS)["clock"].state is State.WRONG
    assert checked(path, after_ms=-CLOCK_BEHIND_MAX_MS // 2)["clock"].state is State.OK


def test_time_in_doubt_is_told(path: Path) -> None:
    """A clock that a server would doubt is a warning, with what to do, also where no server runs; nothing is noted."""
    before = path.read_bytes()

    assert checked(path)["clock"].state is State.OK
    found = checked(path, after_ms=100 * DAY_MS)["clock"]

    assert found.state is State.WARNING
    assert "100 days past" in found.detail
    assert "`smsevents expire --force`" in found.detail
    assert path.read_bytes() == before


def test_a_lease_of_a_clock_that_was_ahead_is_no_upkeep(path: Path) -> None:
    """A lease that an upkeep worker with a wrong clock took for a time far ahead does not mean that upkeep is done."""
    database = open_catalog(f"sqlite:///{path}")
    assert UpkeepWorker(database, lambda: now_ms() + 100 * DAY_MS).take_lease()
    database.close()

    assert "No server is running upkeep" in checked(path)["upkeep"].detail


def test_missing_upkeep_is_told(path: Path) -> None:
    """No server, a killed server, upkeep that is off, and a pending wipe are warnings."""
    assert "Run `serve`" in checked(path)["upkeep"].detail
    assert "cron" in checked(path, upkeep="off")["upkeep"].detail
    database = open_catalog(f"sqlite:///{path}")
    assert UpkeepWorker(database).take_lease()
    assert checked(path)["upkeep"].state is State.OK
    assert checked(path, after_ms=DAY_MS)["upkeep"].state is State.WARNING
    database.write(lambda connection: add_pending(connection, PAUSE, "5000", now_ms()))
    database.write(lambda connection: mark_rows_left(connection, now_ms()))
    assert checked(path)["upkeep"].state is State.OK  # the duration of a wipe, and a mark, are not pending wipes
    database.write(lambda connection: add_pending(connection, VACUUM, "token", now_ms()))
    database.close()

    found = checked(path)["upkeep"]

    assert found.state is State.WARNING
    assert "wipe" in found.detail


def test_low_limit_of_open_files_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of open files that the settings can reach is wrong, and the text names both numbers."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 300))

    found = checked(path)["open files"]

    assert found.state is State.WRONG
    assert "At most 300 files" in found.detail


def test_limit_that_the_server_raises_is_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that `serve` can raise itself, as far as it needs, is not a fault, and the doctor does not change it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 4096))

    assert checked(path)["open files"].state is State.OK


def test_full_disk_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room for an import is wrong, and too little for a copy of the database is a warning."""
    monkeypatch.setattr("smsevents.catalog.dialects.sqlite.diagnosis.FREE_WARNING_BYTES", 2**62)
    assert checked(path)["disk"].state is State.WARNING

    monkeypatch.setattr("smsevents.catalog.dialects.sqlite.diagnosis.FREE_WRONG_BYTES", 2**62)
    assert checked(path)["disk"].state is State.WRONG


def test_temporary_folder_that_is_missing_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing temporary folder is wrong."""
    monkeypatch.setattr("tempfile.tempdir", str(path.parent / "missing"))

    assert checked(path)["temporary folder"].state is State.WRONG


def test_temporary_folder_that_is_not_taken_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `TMPDIR` that cannot be used is a warning, as files go elsewhere then."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(path.parent / "missing"))

    found = checked(path)["temporary folder"]

    assert found.state is State.WARNING
    assert str(path.parent / "missing") in found.detail


@pytest.mark.parametrize("words", WITH_DATABASE, ids=" ".join)
def test_option_wins_over_variable(words: list[str], path: Path, tmp_path: Path) -> None:
    """Every command that opens the database takes it from `--database`, and not from the variable then."""
    other = tmp_path / "other.db"

    done = run(*words, "--database", f"sqlite:///{path}", SMSEVENTS_DATABASE=f"sqlite:///{other}")

    assert (done.exit_code, done.exception) == (0, None)
    assert not other.exists()


def test_option_ends_with_its_command(path: Path, tmp_path: Path) -> None:
    """The option of one command is not in force for the next one."""
    other = tmp_path / "other.db"
    environment = {"SMSEVENTS_DATABASE": f"sqlite:///{other}"}
    run("shop", "list", "--database", f"sqlite:///{path}", **environment)

    done = run("shop", "add", str(SHOP + 1), **environment)

    assert done.exit_code == 0
    assert other.exists()


def test_next_command_has_the_same_database(tmp_path: Path) -> None:
    """The command that `shop add` shows for what comes next runs as it stands, also where `--database` was given."""
    url = f"sqlite:///{tmp_path / 'my shops.db'}"

    shown = run("shop", "add", str(SHOP), "--database", url).stderr.split("Next: smsevents ")[1]
    done = run(*shlex.split(shown))

    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("sms_")


def test_plain_path_is_refused(path: Path) -> None:
    """A path where a URL is wanted is refused, with the form of the URL, and nothing is made."""
    done = run("shop", "list", "--database", str(path.parent / "new.db"))

    assert done.exit_code == 2
    assert "sqlite:////absolute" in done.stderr
    assert not (path.parent / "new.db").exists()
