"""Where a database is looked for: what lies there is checked before it is touched, and nothing is created unasked."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database, open_catalog, open_existing
from smsevents.catalog.dialects import open_dialect
from smsevents.catalog.dialects.sqlite import free_space
from smsevents.catalog.dialects.sqlite.free_space import FREED_MIN_BYTES, FreeSpace
from smsevents.catalog.shops import Shop, all_shops, insert_shop
from smsevents.errors import NoDatabase, SettingError, StoreFull, StoreUnavailable
from tests.support.databases import file_of

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = "CREATE TABLE bookmarks (name TEXT)"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///log.db?mode=ro", "parameters after `?` are not supported"),
        ("sqlite:///log.db?timeout=5&cache=shared", "parameters after `?` are not supported"),
        ("sqlite+aiosqlite:///log.db", "write `sqlite` and not `sqlite+aiosqlite`"),
        ("sqlite+pysqlite:///log.db", "write `sqlite` and not `sqlite+pysqlite`"),
        ("sqlite://log.db", "begins after three slashes"),
        ("sqlite://user:secret@/log.db", "no host and no user"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://", "names no file"),
        ("oracle://user:secret@host/name", "begins with 'oracle', which is not a known kind"),
    ],
)
def test_no_part_of_a_url_is_ignored(url: str, told: str) -> None:
    """A driver, a host, a user or parameters in the URL are refused, each by its name."""
    with pytest.raises(SettingError, match="SMSEVENTS_DATABASE") as refused:
        open_dialect(url, create=True)
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "sqlite:////absolute/path.db" in str(refused.value)


def test_what_is_there_is_opened_and_what_is_not_is_not_created(tmp_path: Path) -> None:
    """`open_existing` opens what `open_catalog` created, and creates nothing itself."""
    url = f"sqlite:///{tmp_path}/log.db"
    with pytest.raises(NoDatabase, match=f"There is no database at {tmp_path}/log.db"):
        open_existing(url)
    assert list(tmp_path.iterdir()) == []

    created = open_catalog(url)
    created.write(lambda connection: insert_shop(connection, Shop(7, "", 1)))
    created.close()
    opened = open_existing(url)
    with opened.read() as connection:
        assert [shop.trackpoint for shop in all_shops(connection)] == [7]
    assert (created.dialect.is_new, opened.dialect.is_new) == (True, False)
    opened.close()


def test_a_relative_place_is_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is reported with the absolute path where it was looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoDatabase, match=f"{tmp_path}/log.db"):
        open_existing("sqlite:///log.db")


@pytest.mark.parametrize("missing", ["nowhere/log.db", "nowhere/at/all/log.db"])
def test_a_missing_folder_has_no_database(tmp_path: Path, missing: str) -> None:
    """A missing folder holds no database and is not created."""
    with pytest.raises(NoDatabase, match="There is no database at"):
        open_existing(f"sqlite:///{tmp_path}/{missing}")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_database_but_a_place_for_one(tmp_path: Path) -> None:
    """An empty file is reported as such by commands that need a database, and used by those that create one."""
    path = tmp_path / "log.db"
    path.touch()
    with pytest.raises(NoDatabase, match="the file is empty"):
        open_existing(f"sqlite:///{path}")
    assert path.stat().st_size == 0
    open_catalog(f"sqlite:///{path}").close()
    open_existing(f"sqlite:///{path}").close()


def test_a_database_without_tables_is_no_database_but_a_place_for_one(tmp_path: Path) -> None:
    """A file without tables, as a killed first command leaves it, is completed by commands that create a database."""
    path = tmp_path / "log.db"
    Database(f"sqlite:///{path}").close()
    assert path.stat().st_size > 0
    with pytest.raises(NoDatabase, match="no tables yet"):
        open_existing(f"sqlite:///{path}")
    open_catalog(f"sqlite:///{path}").close()
    open_existing(f"sqlite:///{path}").close()


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_another_program_is_left_alone(tmp_path: Path, create: bool) -> None:
    """A SQLite database with other tables is refused by what it holds, and no byte of it changes."""
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(FOREIGN)
        connection.commit()
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable, match="belongs to another program, with tables like `bookmarks`"):
        (open_catalog if create else open_existing)(f"sqlite:///{path}")

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("kind", "told"), [("folder", "it is a folder"), ("text", "it is not a SQLite database"), ("pipe", "not a file")]
)
def test_what_is_not_a_database_is_told_and_left_alone(tmp_path: Path, kind: str, told: str, create: bool) -> None:
    """A folder, a text and a pipe are each reported as what they are, at once, and stay unchanged."""
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("Milk, bread and butter. " * 100)
    else:
        os.mkfifo(path)

    with pytest.raises(StoreUnavailable, match=told) as refused:
        (open_catalog if create else open_existing)(f"sqlite:///{path}")

    assert "cannot be opened" in str(refused.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_writable_database_is_found_writable(tmp_path: Path) -> None:
    """The check says nothing of a database that can be written, also while somebody else writes, and writes nothing."""
    database = open_catalog(f"sqlite:///{tmp_path}/log.db")
    database.check_writable()
    with closing(sqlite3.connect(file_of(database))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        database.check_writable()
    before = file_of(database).read_bytes()
    database.check_writable()
    assert file_of(database).read_bytes() == before
    database.close()


class Disk:
    """A disk whose free space a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have room."""
        self.free_bytes = 1 << 30
        monkeypatch.setattr(free_space, "free_bytes", lambda _folder: self.free_bytes)


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not writable while almost nothing is free, and is writable again once there is space."""
    disk = Disk(monkeypatch)
    database = open_catalog(f"sqlite:///{tmp_path}/log.db")
    disk.free_bytes = 10_000
    with pytest.raises(StoreUnavailable, match="no room left"):
        database.check_writable()
    disk.free_bytes = 1 << 20
    database.check_writable()
    database.close()


def test_a_write_that_found_no_room_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that found no room there is none until some was freed, a write found room, or a minute passed."""
    disk = Disk(monkeypatch)
    now = [1000.0]
    room = FreeSpace(tmp_path / "log.db", lambda: now[0])
    disk.free_bytes = 100_000
    room.check()
    room.missed()
    with pytest.raises(StoreUnavailable, match="no room left"):
        room.check()
    disk.free_bytes += FREED_MIN_BYTES
    room.check()
    disk.free_bytes = 100_000
    room.found()
    room.check()
    room.missed()
    now[0] += 59
    with pytest.raises(StoreUnavailable, match="no room left"):
        room.check()
    now[0] += 1
    room.check()


def test_a_full_database_is_told_to_both_sides(tmp_path: Path) -> None:
    """A write that finds no room says so to who runs smsevents and, without a command, to a client of the server."""
    database = open_catalog(f"sqlite:///{tmp_path}/log.db")

    def fill(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
        connection.exec_driver_sql("CREATE TABLE filler AS SELECT randomblob(1000000)")  # type: ignore[attr-defined]

    with pytest.raises(StoreFull, match="free some room") as refused:
        database.write(fill)
    assert "tell the operator" in refused.value.outside
    with pytest.raises(StoreUnavailable, match="no room left"):
        database.check_writable()
    database.close()
