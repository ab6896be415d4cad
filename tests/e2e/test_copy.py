"""`smsevents copy`: a database moves from SQLite to PostgreSQL, with everything in it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import BigInteger, Integer, LargeBinary, insert, select

from smsevents.catalog import open_catalog
from smsevents.catalog.copying import COPIED, LEFT_OUT
from smsevents.catalog.tables import metadata, readers, segments
from smsevents.clock.system import now_ms
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.relocation import copy_database
from tests.support.databases import query
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.postgres import administered, create_database, drop_database, url_of
from tests.support.servers import STILL, Server, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Table

TRACKPOINT = 4541245641234564
EVENTS = 6_000

pytestmark = pytest.mark.slow


@pytest.fixture
def target(postgres_url: str) -> Iterator[str]:
    """Yield the URL of an empty database of PostgreSQL."""
    name = create_database(postgres_url)
    yield url_of(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a SQLite database with a row of invented values in each table, and the ids of more that are gone."""
    monkeypatch.setattr("smsevents.upkeep.relocation._require_packs", lambda _: None)  # they are invented, too
    path = tmp_path / "log.db"
    database = open_catalog(f"sqlite:///{path}")
    with database.exclusive() as connection:
        connection.execute(metadata.tables["erasure_keys"].delete())
        for table in metadata.sorted_tables:
            if table is readers:
                continue
            connection.execute(insert(table).values(_invented(table)))
        connection.execute(insert(segments).values(_invented(segments) | {"id": 4711}))
        connection.execute(segments.delete().where(segments.c.id == 4711))
    database.close()
    return path


def _invented(table: Table) -> dict[str, Any]:
    """Return a row: the same number wherever a row of another table is named."""
    values: dict[str, Any] = {}
    for column in table.c:
        if isinstance(column.type, LargeBinary):
            values[column.name] = bytes(range(256))
        elif isinstance(column.type, (Integer, BigInteger)):
            values[column.name] = 7 if column.primary_key or column.foreign_keys else 2**31 - 1
        else:
            values[column.name] = "Žluťoučký kůň"
    return values | ({"name": "vacuum"} if table.name == "chores" else {})


def rows_of(connection: Connection, table: Table) -> list[tuple[Any, ...]]:
    """Return all rows of a table."""
    return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def test_every_table_is_copied(source: Path, target: str) -> None:
    """Each table arrives with all of its columns, but for those that say what runs now. Ids go on where they were."""
    old, new = open_catalog(f"sqlite:///{source}"), open_catalog(target)
    try:
        done = copy_database(old, new)
        assert {table.name for table in LEFT_OUT} == {"leases", "pins", "readers"}
        assert done.rows == {table.name: int(table.name != "chores") for table in COPIED}
        with old.read() as read, new.read() as arrived:
            for table in set(metadata.sorted_tables) - LEFT_OUT:
                expected = [] if table.name == "chores" else rows_of(read, table)
                assert rows_of(arrived, table) == expected, table.name
            assert rows_of(arrived, metadata.tables["leases"]) == []
        with new.exclusive() as connection:
            values = _invented(segments)
            del values["id"]
            connection.execute(insert(segments).values(values))
            assert sorted(connection.execute(select(segments.c.id)).scalars()) == [7, 4712]
        with pytest.raises(InvalidRequest, match="in use already"):
            copy_database(old, new)
        with pytest.raises(InvalidRequest, match="others may write"):
            copy_database(new, old)
    finally:
        old.close()
        new.close()


def test_a_copy_that_differs_is_not_kept(source: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If what arrived is not what was sent, nothing stays in the target, and the copy can be made again."""
    old, new = open_catalog(f"sqlite:///{source}"), open_catalog(target)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("smsevents.upkeep.relocation.totals", lambda _: object())
            with pytest.raises(StoreUnavailable, match="differs"):
                copy_database(old, new)
        with new.read() as connection:
            assert rows_of(connection, metadata.tables["shops"]) == []
        copy_database(old, new)
    finally:
        old.close()
        new.close()


def test_a_log_moves_to_postgresql(tmp_path: Path, target: str, postgres_url: str) -> None:
    """Exports have the same bytes, keys go on working, and of the two only the new database changes the packs.

    A copy that is killed leaves nothing, and the next one is complete.
    """
    packs = tmp_path / "packs"
    packs.mkdir()
    settings = STILL | {"SMSEVENTS_SEGMENTS": f"file://{packs}"}
    server = Server(tmp_path, settings=settings)
    environment = server.environment
    try:
        shop = server.shop(("export", "import", "admin"))
        lines = _lines(shop.trackpoint)
        assert shop.send(body_of(lines)).status_code == 200
        assert server.command("move", "packs").returncode == 0
        fresh = [line(shop.trackpoint, now_ms() - 1000 - number, "fresh") for number in range(50)]
        assert shop.send(body_of(fresh)).status_code == 200
        assert server.command("forget", str(shop.trackpoint), "user 7", "--block").returncode == 0
        before = shop.export().content
        server.stop()

        _kill_while_copying(environment, target, postgres_url)
        done = run_command("copy", target, environment=environment)
        assert done.returncode == 0, done.stderr.decode()
        assert f"{shop.trackpoint}: {len(before.splitlines()):,} events".replace(
            ",", ""
        ).encode() in done.stderr.replace(b",", b"")

        moved = Server(tmp_path, settings=settings, url=target)
        try:
            assert moved.command("verify").returncode == 0
            theirs = type(shop)(shop.trackpoint, shop.key, moved.base, shop.headers)
            assert theirs.export().content == before == model(_but("user 7", [*lines, *fresh]), 0, now_ms())
            late = [line(shop.trackpoint, now_ms() - 4 * DAY_MS, "user 7"), line(shop.trackpoint, now_ms(), "new")]
            assert theirs.send(body_of(late)).json()["blocked"] == 1
            assert theirs.export().content == before + late[1] + b"\n"
            there = sorted(packs.rglob("*.pack"))
            old = open_catalog(f"sqlite:///{server.path}")
            try:
                with pytest.raises(StoreUnavailable, match="belongs to the database"):
                    collect(old, now_ms() + 30 * DAY_MS)
            finally:
                old.close()
            assert sorted(packs.rglob("*.pack")) == there
            assert moved.command("move", "database").returncode == 0
            assert theirs.export().content == before + late[1] + b"\n"
        finally:
            moved.stop()
    finally:
        if server.process.poll() is None:
            server.stop()


def _lines(trackpoint: int) -> list[bytes]:
    chance = random.Random(7)  # noqa: S311 -- invented data
    return [
        line(
            trackpoint,
            now_ms() - 3 * DAY_MS - chance.randrange(5 * DAY_MS),
            f"user {chance.randrange(50)}",
            campaign=f"{chance.getrandbits(1800):x}",
        )
        for _ in range(EVENTS)
    ]


def _but(user: str, lines: list[bytes]) -> list[bytes]:
    return [one for one in lines if json.loads(one)["smsEvent"]["userId"] != user]


def _kill_while_copying(environment: dict[str, str], target: str, postgres_url: str) -> None:
    """Kill the command while it waits for a table that is locked, so after it has copied others."""
    open_catalog(target).close()
    with administered(postgres_url.rpartition("/")[0] + "/" + target.rpartition("/")[2]) as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE packs IN SHARE MODE")
        process = subprocess.Popen([sys.executable, "-m", "smsevents", "copy", target], env=environment)
        while connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait(60)
        connection.execute("ROLLBACK")
        while connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'keeper'").fetchone() != (0,):
            time.sleep(0.02)
        assert connection.execute("SELECT count(*) FROM shops").fetchone() == (0,)


def test_a_database_in_use_is_not_copied(tmp_path: Path, target: str) -> None:
    """While a server uses the database, the command refuses; so it does for a target that is not a URL."""
    server = Server(tmp_path)
    try:
        assert _until_leased(server.path)
        done = server.command("copy", target)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"A server uses the database" in done.stderr
        assert server.command("copy", "elsewhere").returncode == 2
    finally:
        server.stop()
    done = run_command("copy", server.url, environment=os.environ | {"SMSEVENTS_DATABASE": server.url})
    assert b"into itself" in done.stderr


def _until_leased(path: Path) -> bool:
    for _ in range(1000):
        if query(path, "SELECT 1 FROM leases"):
            return True
        time.sleep(0.02)
    return False
