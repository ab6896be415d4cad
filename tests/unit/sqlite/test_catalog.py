"""The catalog on real SQLite files: its tables, its transactions, and what it says when it cannot be used."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from smsevents.catalog import Database, open_catalog
from smsevents.catalog.schema import HEAD, MIGRATIONS, migrate, version
from smsevents.catalog.segments import insert_segments
from smsevents.catalog.shops import Key, Shop, all_shops, insert_key, insert_shop
from smsevents.catalog.tables import metadata
from smsevents.errors import SettingError, ShopExists, StoreUnavailable, StoreVersionError
from smsevents.segments.segment import pack
from smsevents.segments.splice import unpack
from smsevents.upkeep.verification import verify
from smsevents.wire.window import Window
from tests.support.databases import file_of
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line, model
from tests.support.logs import opened_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

    from sqlalchemy import Connection

NOW = 1_676_380_261_000
PROCESSES = 8
ROUNDS = 40


@pytest.fixture
def path(url: str) -> Path:
    """Return the path of a database that does not exist yet."""
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Yield an open database."""
    database = open_catalog(url)
    yield database
    database.close()


def sql(path: Path, statement: str) -> list[Any]:
    """Run a statement on a connection of its own."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def dump(path: Path) -> list[str]:
    """Return all that a database holds, as statements."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def shops(database: Database) -> list[int]:
    """Return the trackpoints of all shops."""
    with database.read() as connection:
        return [shop.trackpoint for shop in all_shops(connection)]


def adding(trackpoint: int) -> Callable[[Connection], None]:
    """Return a write that adds a shop."""
    return lambda connection: insert_shop(connection, Shop(trackpoint, "", NOW))


def test_the_head_is_the_last_migration() -> None:
    """The revision that the code asks for is the one that the migrations lead to, in one line."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    """Alembic finds no difference between what the migrations made and what the statements are written for."""
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert version(connection) == HEAD


def structure(path: Path) -> dict[str, list[Any]]:
    """Return all that SQLite knows of the columns, indexes, foreign keys and ids of the tables."""
    found: dict[str, list[Any]] = {}
    for table in metadata.tables:
        found[table] = sql(path, f"PRAGMA table_xinfo({table})")
        found[f"{table} foreign keys"] = sql(path, f"PRAGMA foreign_key_list({table})")
        for _, index, *rest in sql(path, f"PRAGMA index_list({table})"):
            found[index] = [rest, sql(path, f"PRAGMA index_xinfo({index})")]
    found["ids"] = sql(path, "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
    return found


def test_the_migrated_tables_are_those_that_sqlalchemy_would_make(database: Database, tmp_path: Path) -> None:
    """Columns, indexes and ids are the same whether the migrations or the table definitions make them."""
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(made)
    made.dispose()
    assert structure(file_of(database)) == structure(tmp_path / "made.db")


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A database at the newest revision is left unchanged, whether it is migrated or opened again."""
    database.write(adding(1))
    before = dump(file_of(database))
    migrate(database)
    open_catalog(f"sqlite:///{file_of(database)}").close()
    assert dump(file_of(database)) == before


def open_each(urls: list[str], together: Barrier, failures: SimpleQueue[str]) -> None:
    """Open one database after the other, each at the same moment as other processes do."""
    for url in urls:
        together.wait(60)
        try:
            open_catalog(url).close()
        except StoreUnavailable as failure:
            failures.put(str(failure))


@pytest.mark.slow
def test_many_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Eight processes that open the same new database at the same moment all succeed, with one set of tables."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    together, failures = context.Barrier(PROCESSES), context.SimpleQueue()
    paths = [tmp_path / f"{one}.db" for one in range(ROUNDS)]
    arguments = ([f"sqlite:///{path}" for path in paths], together, failures)
    processes = [context.Process(target=open_each, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    for path in paths:
        assert sql(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_a_newer_database_is_refused_and_left_alone(database: Database) -> None:
    """A database whose tables only a later smsevents may use is refused by its revision, and not touched."""
    database.write(adding(1))
    sql(file_of(database), "UPDATE alembic_version SET version_num = '9999'")
    sql(file_of(database), "UPDATE readers SET lowest = 99")
    before = dump(file_of(database))
    with pytest.raises(StoreVersionError, match=r"'9999'.*newer"):
        open_catalog(f"sqlite:///{file_of(database)}")
    assert dump(file_of(database)) == before


BAD_URLS = [
    "",
    "x",
    "log.db",
    "/var/lib/log.db",
    "sqlite:",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite://data/log.db",
    "mysql://user@host/name",
    "https://example.com/log.db",
]


@pytest.mark.parametrize("bad", BAD_URLS)
def test_a_bad_url_is_refused_with_help(bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that does not name a database file is refused with the setting's name and the valid forms."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match="SMSEVENTS_DATABASE") as refused:
        Database(bad).close()
    assert "sqlite:////absolute/path.db" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_not_shown() -> None:
    """The text of a refused URL does not hold the password that stands in it."""
    with pytest.raises(SettingError) as refused:
        Database("mysql://user:geheim@host/name")
    assert "geheim" not in str(refused.value)


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes name a path from the working directory."""
    monkeypatch.chdir(tmp_path)
    open_catalog("sqlite:///here.db").close()
    assert (tmp_path / "here.db").is_file()


@pytest.mark.parametrize("name", ["a b.db", "žluť.db", "100%25.db", "50%2541.db", "what%3F.db", "a%23b.db"])
def test_the_file_has_the_name_that_the_url_says(name: str, tmp_path: Path) -> None:
    """One file is made, with the name of the URL, percent signs decoded once, and in WAL mode."""
    decoded = name.replace("%23", "#").replace("%3F", "?").replace("%25", "%")
    database = open_catalog(f"sqlite:///{tmp_path}/{name}")
    database.write(adding(1))
    assert {file.name.removesuffix("-wal").removesuffix("-shm") for file in tmp_path.iterdir()} == {decoded}
    assert sql(tmp_path / decoded, "PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """The folder of the database must exist; it is not created, and the message says what to do."""
    with pytest.raises(StoreUnavailable, match="folder does not exist"):
        Database(f"sqlite:///{tmp_path}/missing/log.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    """A folder, and a file that is not a SQLite database, cannot be opened and stay as they are."""
    text = tmp_path / "notes.txt"
    text.write_text("Milk, bread and butter. " * 1000)
    for path in (text, tmp_path):
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            Database(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == [text]
    assert text.read_text() == "Milk, bread and butter. " * 1000


@pytest.mark.parametrize("failure", [ShopExists("there is one"), ValueError("odd"), StoreUnavailable("gone")])
def test_a_write_that_fails_rolls_back_all_of_itself(database: Database, failure: Exception) -> None:
    """A write that fails is undone completely, its caller gets the error, and the next write proceeds."""
    database.write(adding(1))

    def fail(connection: Connection) -> None:
        insert_shop(connection, Shop(2, "", NOW))
        raise failure

    with pytest.raises(type(failure), match=str(failure)):
        database.write(fail)
    assert shops(database) == [1]
    database.write(adding(3))
    assert shops(database) == [1, 3]


def test_a_statement_that_fails_rolls_back_its_write(database: Database) -> None:
    """A statement that the database refuses, here for a foreign key, undoes its whole write."""

    def fail(connection: Connection) -> None:
        insert_shop(connection, Shop(1, "", NOW))
        insert_key(connection, Key("id", 2, b"", frozenset(), "", NOW, None, None))

    with pytest.raises(StoreUnavailable, match="FOREIGN KEY"):
        database.write(fail)
    assert shops(database) == []
    assert sql(file_of(database), "SELECT count(*) FROM keys") == [(0,)]


def test_a_write_gives_its_result(database: Database) -> None:
    """A write gives what its function gave, and what an earlier one stored is seen by it and by others."""
    database.write(adding(1))
    assert database.write(all_shops) == [Shop(1, "", NOW)]
    assert sql(file_of(database), "SELECT trackpoint FROM shops") == [(1,)]


def pragma(connection: Connection, text: str) -> Any:
    """Ask or set something of a connection; there is one only, as long as one thing is done at a time."""
    return connection.exec_driver_sql(f"PRAGMA {text}").scalar()


def test_a_full_disk_loses_nothing_that_was_stored(database: Database) -> None:
    """A write that does not fit is refused as such and leaves nothing; with free space writes work again."""

    def fill(connection: Connection) -> None:
        insert_shop(connection, Shop(2, "x" * 1_000_000, NOW))

    database.write(adding(1))
    database.write(lambda connection: pragma(connection, f"max_page_count = {pragma(connection, 'page_count')}"))
    with pytest.raises(StoreUnavailable, match="no room left on the disk"):
        database.write(fill)
    assert shops(database) == [1]
    database.write(lambda connection: pragma(connection, "max_page_count = 1000000"))
    database.write(fill)
    assert shops(database) == [1, 2]


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a database, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_a_locked_database_is_read_and_waited_for(database: Database) -> None:
    """While another process writes, reading continues, and a write waits for its turn."""
    with locked(file_of(database)) as other:
        waiting = database.submit(adding(1))
        assert shops(database) == []
        assert not waiting.done()
        other.execute("INSERT INTO shops VALUES (2, '', 0)")
        other.execute("COMMIT")
        waiting.result()
    assert shops(database) == [1, 2]


def test_a_read_is_one_unchanging_view(database: Database) -> None:
    """A read that has begun does not see what is committed meanwhile; the next one does."""
    with database.read() as connection:
        assert all_shops(connection) == []
        database.write(adding(1))
        assert all_shops(connection) == []
    assert shops(database) == [1]


def test_close_finishes_the_writes_that_wait(url: str, path: Path) -> None:
    """Closing waits until everything that was handed in is stored."""
    database = open_catalog(url)
    with locked(path):
        waiting = [database.submit(adding(trackpoint)) for trackpoint in range(1, 21)]
        closing_thread = threading.Thread(target=database.close)
        closing_thread.start()
        assert not any(future.done() for future in waiting)
    closing_thread.join()
    assert all(future.done() for future in waiting)
    assert [future.result() for future in waiting] == [None] * 20
    assert sql(path, "SELECT count(*) FROM shops") == [(20,)]
    database.close()


def submit_until_refused(database: Database) -> int:
    """Hand in one write after the other until the database takes no more. Return how many it took."""
    for trackpoint in range(1, 1000):
        try:
            database.submit(adding(trackpoint))
        except StoreUnavailable:
            return trackpoint - 1
        time.sleep(0.01)
    raise AssertionError("it never refused")


def test_close_ends_also_when_writes_come_in_meanwhile(url: str, path: Path) -> None:
    """Once a database is closing it takes no more writes, stores those that it took, and comes to its end."""
    database = open_catalog(url)
    with locked(path):
        closing_thread = threading.Timer(0.05, database.close)
        closing_thread.daemon = True
        closing_thread.start()
        taken = submit_until_refused(database)
    closing_thread.join(10)
    assert not closing_thread.is_alive()
    assert sql(path, "SELECT count(*) FROM shops") == [(taken,)]


def test_reading_what_is_gone_is_told(database: Database) -> None:
    """A database whose tables another program dropped is reported as unavailable, for reading and for writing."""
    sql(file_of(database), "DROP TABLE keys")
    sql(file_of(database), "DROP TABLE segments")
    sql(file_of(database), "DROP TABLE shops")
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        shops(database)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        database.write(adding(1))


def test_the_id_of_a_segment_is_never_used_again(database: Database) -> None:
    """The id of the last segment is not reused after it is deleted, because others may still refer to it."""
    database.write(adding(1))
    database.write(lambda connection: insert_segments(connection, 1, pack([(NOW, line(1, NOW))])))
    ((first,),) = sql(file_of(database), "SELECT id FROM segments")
    sql(file_of(database), "DELETE FROM segments")
    database.write(lambda connection: insert_segments(connection, 1, pack([(NOW, line(1, NOW))])))
    ((second,),) = sql(file_of(database), "SELECT id FROM segments")
    assert second > first


def test_a_database_of_the_first_version_is_brought_up(url: str, path: Path) -> None:
    """Segments that were stored before the upkeep came are read as before, and verified, after the migration."""
    lines = [line(7, date) for date in range(NOW - 5 * DAY_MS, NOW, HOUR_MS)]
    first = Database(url)
    with first.exclusive() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO shops VALUES (7, '', 0)")
        for some in (lines[:60], lines[30:90], lines[100:101], lines[90:]):
            insert_segments(connection, 7, pack([(date_of(one), one) for one in some]))
        connection.exec_driver_sql("UPDATE segments SET span_ms = last_date - first_date")
    first.close()

    with opened_log(url, NOW) as log:
        exported = [b"".join(unpack(log.read(7, Window(start, NOW)))) for start in range(NOW - DAY_MS, NOW, HOUR_MS)]
    database = Database(url)
    damages = [one.damage for one in verify(database, None) if one.damage]
    database.close()

    assert exported == [model(lines, start, NOW) for start in range(NOW - DAY_MS, NOW, HOUR_MS)]
    assert damages == []
    assert sql(path, "SELECT max(span_ms) FROM segments") == [(2**28,)]


def test_commits_are_durable(database: Database) -> None:
    """The writing connection commits durably (synchronous FULL in WAL mode) and checks foreign keys."""

    def settings_of(connection: Connection) -> list[object]:
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert database.write(settings_of) == [2, "wal", 1]
