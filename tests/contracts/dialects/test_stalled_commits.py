"""Commits that PostgreSQL does not confirm, as while the network to its synchronous standby is cut."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from smsevents.catalog.dialects.postgres import commits
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.errors import StoreUnavailable
from smsevents.segments.splice import unpack
from smsevents.wire.window import Window
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.support.lines import line
from tests.support.logs import log_at, store
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database

pytestmark = pytest.mark.slow

SHOP = 7
NOW_MS = 1_790_000_000_000
STALL = 4242  # the key of an advisory lock: commits that store segments wait for it
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' AND datname = current_database()"
)


@pytest.fixture(params=["postgres", pytest.param("pgbouncer", marks=pytest.mark.campaign)])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostgresHarness]:
    """Make a database, which is reached directly or through pgbouncer."""
    made = harness_of(request.param, request, tmp_path)
    assert isinstance(made, PostgresHarness)
    yield made
    made.close()


@contextmanager
def stalled(harness: PostgresHarness) -> Iterator[None]:
    """Let no commit that stores a segment end during the block."""
    harness.query(
        "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({STALL}); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON segments DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION stall()",
    )
    with psycopg.connect(harness.server_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (STALL,))
        yield


def put(database: Database, user: str) -> None:
    """Import an event of a user."""
    store(log_at(database, lambda: NOW_MS), SHOP, [line(SHOP, NOW_MS, user)])


def goes_on(database: Database, user: str) -> bool:
    """Import an event of a user, unless the database refuses it."""
    try:
        put(database, user)
    except StoreUnavailable:
        return False
    return True


def lines_in(database: Database) -> list[bytes]:
    """Export everything."""
    window = Window(0, NOW_MS + 1_000_000)
    return b"".join(unpack(log_at(database, lambda: NOW_MS).read(SHOP, window))).splitlines()


def test_a_commit_that_is_not_confirmed_is_not_awaited_for_ever(
    harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its write is refused as in doubt, later writes at once, reads go on, and so do writes when it has ended.

    Meanwhile there is one such commit in the server, however often clients try. Repeated events are there once.
    """
    monkeypatch.setattr(commits, "COMMIT_WAIT_MAX_SECONDS", 0.3)
    database = harness.opened()
    database.write(lambda connection: insert_shop(connection, Shop(SHOP, "", 1)))
    with stalled(harness):
        with pytest.raises(StoreUnavailable, match="a commit was not confirmed"):
            put(database, "a")
        monkeypatch.setattr(commits, "COMMIT_WAIT_MAX_SECONDS", 1_000)
        for user in ("a", "b", "b"):
            with pytest.raises(StoreUnavailable, match="a commit was not confirmed"):
                put(database, user)
        with pytest.raises(StoreUnavailable, match="a commit was not confirmed"):
            database.check_writable()
        assert lines_in(database) == []
        assert harness.query(WAITING) == [(1,)]
    assert eventually(lambda: goes_on(database, "a"))
    put(database, "b")
    assert lines_in(database) == [line(SHOP, NOW_MS, "a"), line(SHOP, NOW_MS, "b")]
    assert harness.query("SELECT count(*) FROM segments") == [(2,)]
    assert harness.query(WAITING) == [(0,)]


def test_a_stalled_commit_whose_server_is_gone_has_ended(
    harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection of a stalled commit is lost, as in a failover, writes go on with another one."""
    monkeypatch.setattr(commits, "COMMIT_WAIT_MAX_SECONDS", 0.3)
    database = harness.opened()
    database.write(lambda connection: insert_shop(connection, Shop(SHOP, "", 1)))
    with stalled(harness):
        assert not goes_on(database, "a")
        harness.query(WAITING.replace("count(*)", "pg_terminate_backend(pid)"))
    assert eventually(lambda: goes_on(database, "a"))
    assert lines_in(database) == [line(SHOP, NOW_MS, "a")]


def test_a_database_closes_beside_a_stalled_commit(harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process can stop while its commit stalls. What it wrote is there or not, and never in part."""
    monkeypatch.setattr(commits, "COMMIT_WAIT_MAX_SECONDS", 0.3)
    database = harness.opened()
    database.write(lambda connection: insert_shop(connection, Shop(SHOP, "", 1)))
    with stalled(harness):
        assert not goes_on(database, "a")
        database.close()
    other = harness.opened()
    assert eventually(lambda: harness.query(WAITING) == [(0,)])
    assert lines_in(other) in ([], [line(SHOP, NOW_MS, "a")])
    put(other, "a")
    assert lines_in(other) == [line(SHOP, NOW_MS, "a")]
