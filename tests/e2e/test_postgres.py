"""A server on PostgreSQL: it does what one on SQLite does, and survives what only PostgreSQL can do to it."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog, open_existing
from smsevents.catalog.dialects.postgres import rights
from smsevents.catalog.dialects.postgres.scrub import REWRITE
from smsevents.clock.system import now_ms
from smsevents.errors import NoDatabase, StoreUnavailable
from tests.support.cutting import CuttingProxy
from tests.support.faketime import WrongClock
from tests.support.lines import DAY_MS, body_of, line, model, random_lines
from tests.support.logs import log_at, store
from tests.support.postgres import OWNER, administered, create_database, drop_database, url_of
from tests.support.servers import STILL, Server, Shop, add_shop, eventually, free_port, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACKPOINT = 4541245641234564

pytestmark = pytest.mark.slow


@pytest.fixture
def name(postgres_url: str) -> Iterator[str]:
    """Create an empty database, and yield its name."""
    made = create_database(postgres_url)
    yield made
    drop_database(postgres_url, made)


def some_lines(count: int, now: int) -> list[bytes]:
    """Return lines of the last 20 days, and some that are longer than a row of an index may be."""
    chance = random.Random(count)  # noqa: S311 -- invented data
    lines = random_lines(chance, TRACKPOINT, count, now - 20 * DAY_MS, now - DAY_MS)
    return lines + [line(TRACKPOINT, now - DAY_MS + at, "\U0001f600" * 1000 + str(at)) for at in range(5)]


def test_the_same_imports_give_the_same_exports(tmp_path: Path, postgres_url: str, name: str) -> None:
    """What a server on PostgreSQL exports is, byte for byte, what one on SQLite exports, before and after upkeep."""
    now = now_ms()
    lines = some_lines(3000, now)
    servers = []
    for kind, url in (("sqlite", None), ("postgres", url_of(postgres_url, name))):
        folder = tmp_path / kind
        folder.mkdir()
        servers.append(Server(folder, settings=STILL, url=url))
    try:
        shops = [add_shop(one.url, TRACKPOINT, ("export", "import"), one.base) for one in servers]
        for shop in shops:
            for start in range(0, 2500, 500):
                some = lines[start : start + 600]  # these overlap
                assert shop.send(gzip.compress(body_of(some), 1), **{"Content-Encoding": "gzip"}).status_code == 200
            for start in range(2500, len(lines), 35):
                assert shop.send(body_of(lines[start : start + 40])).status_code == 200
        expected = model(lines, 0, now)
        assert _exports(shops, now) == [expected] * 2
        for words in (["compact", str(TRACKPOINT)], ["stats", str(TRACKPOINT), "--json"]):
            outcomes = [one.command(*words) for one in servers]
            assert [one.returncode for one in outcomes] == [0, 0], outcomes
            if words[0] == "stats":
                sqlite, postgres = (json.loads(one.stdout) for one in outcomes)
                assert sqlite == postgres
                assert sqlite["overlapping"] == 0
        assert _exports(shops, now) == [expected] * 2
        user = json.loads(lines[0])["smsEvent"]["userId"]
        erased = [one.command("forget", str(TRACKPOINT), user) for one in servers]
        assert [one.returncode for one in erased] == [0, 0], erased
        assert erased[0].stdout == erased[1].stdout
        rest = [one for one in lines if json.loads(one)["smsEvent"]["userId"] != user]
        assert _exports(shops, now) == [model(rest, 0, now)] * 2
    finally:
        for one in servers:
            one.stop()


def _exports(shops: list[Shop], now: int) -> list[bytes]:
    """Export everything from each shop, plain. Check that the gzip exports are equal, and those of a part."""
    everything = {"from": now - 80 * DAY_MS, "to": now}
    part = {"from": now - 9 * DAY_MS, "to": now - 8 * DAY_MS}
    for interval in (everything, part):
        packed = [shop.export(interval, **{"Accept-Encoding": "gzip"}) for shop in shops]
        assert [one.status_code for one in packed] == [200, 200]
        assert packed[0].content == packed[1].content
    plain = [shop.export(everything, **{"Accept-Encoding": "identity"}) for shop in shops]
    assert packed[0].headers.keys() == packed[1].headers.keys()
    return [one.content for one in plain]


@pytest.mark.parametrize("count", [3, pytest.param(5000, marks=pytest.mark.campaign)])
def test_a_commit_in_doubt_is_a_503_and_is_repeated_safely(
    tmp_path: Path, postgres_url: str, name: str, count: int
) -> None:
    """If the response to a commit is lost, the client gets 503. It sends the body again, and each event is there once.

    That holds for small imports, which share segments, and for large ones.
    """
    now = now_ms()
    lines = some_lines(count, now)
    port = urlsplit(postgres_url).port
    assert port
    proxy = CuttingProxy(port)
    server = Server(tmp_path, settings=STILL, url=f"postgresql://{OWNER}@127.0.0.1:{proxy.port}/{name}")
    try:
        shop = add_shop(url_of(postgres_url, name), TRACKPOINT, ("export", "import"), server.base)
        assert shop.send(body_of([line(TRACKPOINT, now - 1000)])).status_code == 200  # notes the use of the key
        assert eventually(lambda: _rows(postgres_url, name, "keys WHERE last_used_ms IS NOT NULL") == 1)
        stored = _rows(postgres_url, name, "segments")
        proxy.armed.set()
        response = shop.send(body_of(lines))
        assert proxy.cut.is_set()
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        after_doubt = _rows(postgres_url, name, "segments")
        assert after_doubt >= stored
        assert shop.send(body_of(lines)).status_code == 200
        assert _rows(postgres_url, name, "segments") == after_doubt
        expected = model([*lines, line(TRACKPOINT, now - 1000)], 0, now)
        assert shop.export({"from": now - 80 * DAY_MS, "to": now}).content == expected
    finally:
        server.stop()
        proxy.close()


def _rows(postgres_url: str, name: str, table: str) -> int:
    """Return the number of rows of a table."""
    with administered(url_of(postgres_url, name, "tester")) as connection:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 -- our own names
    return int(count)


@pytest.mark.campaign
def test_a_server_survives_a_database_that_goes_away(tmp_path: Path, postgres_url: str, name: str) -> None:
    """While the database refuses connections, requests get 503 and it is not ready; it goes on without a restart."""
    now = now_ms()
    server = Server(tmp_path, workers=2, url=url_of(postgres_url, name))
    try:
        shop = add_shop(server.url, TRACKPOINT, ("export", "import"), server.base)
        lines = some_lines(100, now)
        assert shop.send(body_of(lines[:50])).status_code == 200
        with administered(postgres_url) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            assert shop.send(body_of(lines[50:])).status_code == 503
            assert shop.export().status_code == 503
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert eventually(lambda: shop.send(body_of(lines[50:])).status_code == 200)
        everything = {"from": now - 80 * DAY_MS, "to": now}
        assert eventually(lambda: shop.export(everything).status_code == 200)
        assert shop.export(everything).content == model(lines, 0, now)
    finally:
        server.stop()


def test_no_password_is_shown(tmp_path: Path, postgres_url: str, name: str) -> None:
    """Neither the start of a server, nor `doctor`, nor an error shows the password of the database.

    Nor does a `backup` that fails, which leaves no file, or one that succeeds.
    """
    secret = "correct-horse"  # noqa: S105 -- of no account
    url = url_of(postgres_url, name).replace(f"{OWNER}@", f"{OWNER}:{secret}@")
    server = Server(tmp_path, url=url)
    try:
        outcome = server.command("doctor")
        told = outcome.stdout + outcome.stderr + server.log_path.read_bytes()
        assert b"PostgreSQL 1" in told
        assert b"fsync is off" in told  # as the server of the tests runs
        for elsewhere in (url.replace(name, "nowhere"), url.replace(f":{secret}@", f":{secret}/x@")):
            failed = server.command("stats", str(TRACKPOINT), "--database", elsewhere)
            assert failed.returncode == 1
            assert failed.stderr.startswith(b"smsevents: ")
            told += failed.stdout + failed.stderr
        failed = run_command("backup", str(tmp_path / "copy"), environment=server.environment | {"PATH": "/nowhere"})
        assert failed.returncode == 1
        assert b"needs pg_dump" in failed.stderr
        assert not list(tmp_path.glob("*copy*"))
        done = server.command("backup", str(tmp_path / "copy"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
        told += failed.stderr + done.stderr + (tmp_path / "copy").read_bytes()
        assert secret.encode() not in told
    finally:
        server.stop()


def test_a_wrong_clock_of_a_machine_changes_nothing(tmp_path: Path, postgres_url: str, name: str) -> None:
    """A server whose clock goes an hour ahead judges imports and ends exports by the clock of the database."""
    clock = WrongClock(tmp_path)
    server = Server(tmp_path, settings=STILL | clock.environment, url=url_of(postgres_url, name))
    try:
        shop = add_shop(url_of(postgres_url, name), TRACKPOINT, ("export", "import"), server.base)
        now = now_ms()
        clock.set("+3600")
        assert shop.send(body_of([line(TRACKPOINT, now - 1000)])).status_code == 200
        end = int(shop.export().headers["X-Export-To"])
        assert abs(end - now) < 5 * 60 * 1000
        assert b"3600 s away" in b"".join(server.command("doctor").stdout.split(b"+"))
    finally:
        server.stop()


def test_a_server_whose_clock_is_far_off_is_not_ready(tmp_path: Path, postgres_url: str, name: str) -> None:
    """Readiness warns of a clock that is a little off, and fails for one far off; then the server does not start."""
    clock = WrongClock(tmp_path)
    server = Server(tmp_path, settings=STILL | clock.environment, url=url_of(postgres_url, name))

    def ready(offset: str) -> tuple[int, str]:
        clock.set(offset)
        got = httpx.get(f"{server.base}/health/ready", timeout=30)
        assert httpx.get(f"{server.base}/health/live", timeout=30).status_code == 200
        return got.status_code, got.text

    try:
        for offset in ("+3600", "-3600"):
            code, told = ready(offset)
            assert code == 503
            assert "s away from that of the database" in told
            assert "this machine serves nothing" in told
        for offset in ("+120", "-120"):
            code, told = ready(offset)
            assert code == 200
            assert "clock of the database" in told
        code, told = ready("+0")
        assert code == 200
        assert "clock of the database" not in told
        assert "synchronous standby" in told  # there is none here
        clock.set("+3600")
        refused = server.command("serve", "--port", str(free_port()))
        assert refused.returncode == 1
        assert b"this machine serves nothing" in refused.stderr
    finally:
        server.stop()


def test_a_server_is_ready_while_later_tables_allow_it(tmp_path: Path, postgres_url: str, name: str) -> None:
    """A server goes on when a later version has upgraded the tables, and is not ready once it may not use them."""
    server = Server(tmp_path, settings=STILL, url=url_of(postgres_url, name))

    def ready_after(*statements: str) -> tuple[int, str]:
        with administered(url_of(postgres_url, name, "tester")) as connection:
            for statement in statements:
                connection.execute(statement)
        got = httpx.get(f"{server.base}/health/ready", timeout=30)
        return got.status_code, got.text

    try:
        shop = add_shop(server.url, TRACKPOINT, ("export", "import"), server.base)
        assert ready_after("UPDATE alembic_version SET version_num = '9999'")[0] == 200
        one = line(TRACKPOINT, now_ms() - 1000)
        assert shop.send(one + b"\n").status_code == 200
        assert shop.export().content == one + b"\n"
        assert server.command("stats").returncode == 0
        code, told = ready_after("UPDATE readers SET lowest = 99")
        assert code == 503
        assert "tables of another version" in told
        refused = server.command("stats")
        assert refused.returncode == 1
        assert b"'9999'" in refused.stderr
    finally:
        server.stop()


def test_a_database_without_the_rights_is_refused(
    postgres_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is too old, not durable, of another program or of another user is refused, with what to do."""
    url = url_of(postgres_url, name)
    with administered(url_of(postgres_url, name, "tester")) as connection:
        connection.execute(f"ALTER DATABASE {name} OWNER TO tester")
        assert "may not create tables" in _refused(url)
        connection.execute("CREATE TABLE theirs ()")
        assert "belongs to another program, with tables like `theirs`" in _refused(url)
        connection.execute("DROP TABLE theirs")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {OWNER}")
        connection.execute(f"ALTER ROLE {OWNER} IN DATABASE {name} SET synchronous_commit = off")
        assert "synchronous_commit is off" in _refused(url)
        connection.execute(f"ALTER ROLE {OWNER} IN DATABASE {name} RESET ALL")
        with pytest.raises(NoDatabase, match="no tables yet"):
            open_existing(url)
        add_shop(url, TRACKPOINT)
        connection.execute("ALTER TABLE segments OWNER TO tester")
        assert "does not own the table `segments`" in _refused(url)
        connection.execute(f"ALTER TABLE segments OWNER TO {OWNER}")
        connection.execute(f"ALTER ROLE {OWNER} IN DATABASE {name} SET default_transaction_read_only = on")
        assert "read-only" in _refused(url)  # as a standby is, when no host is the primary
        connection.execute(f"ALTER ROLE {OWNER} IN DATABASE {name} RESET ALL")
        open_existing(url).close()
        monkeypatch.setattr(rights, "_OLDEST_VERSION", 99)
        assert "smsevents needs 99 or later" in _refused(url)
        connection.execute(f"CREATE DATABASE {name}_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        monkeypatch.undo()
        assert "its encoding is LATIN1" in _refused(url + "_latin")
    finally:
        drop_database(postgres_url, f"{name}_latin")
    assert "does not exist" in _refused(url_of(postgres_url, "nowhere"))


def _refused(url: str) -> str:
    """Open a database that cannot be used, and return what the operator is told."""
    with pytest.raises(StoreUnavailable) as refused:
        open_catalog(url)
    return str(refused.value)


def test_statistics_hold_no_events(postgres_url: str, name: str) -> None:
    """After an analysis, the statistics of PostgreSQL, which no erasure reaches, have no line of events."""
    database = open_catalog(url_of(postgres_url, name))
    try:
        Access(database).add_shop(TRACKPOINT, "")
        for at in range(20):
            store(log_at(database, now_ms), TRACKPOINT, [line(TRACKPOINT, now_ms() - at * DAY_MS, f"user {at}")])
    finally:
        database.close()
    with psycopg.connect(url_of(postgres_url, name), autocommit=True) as connection:
        connection.execute("ANALYZE")
        found = connection.execute(
            "SELECT tablename || '.' || attname, histogram_bounds::text || coalesce(most_common_vals::text, '')"
            " FROM pg_stats WHERE schemaname = 'public'"
        ).fetchall()
    columns = {column for column, _ in found}
    assert "segments.first_date" in columns
    assert not columns & {"segments.first_line", "segments.last_line", "segments.data"}
    assert not [column for column, values in found if values and b"user 7".hex() in values]


def test_a_transaction_of_another_database_delays_the_wipe(postgres_url: str, name: str) -> None:
    """While any transaction of the server runs that began before a deletion, the deleted rows do not count as wiped."""
    other = create_database(postgres_url)
    database = open_catalog(url_of(postgres_url, name))
    try:
        with administered(url_of(postgres_url, other, "tester")) as connection:
            connection.execute("CREATE TABLE notes (note text)")
            connection.execute("BEGIN")
            connection.execute("INSERT INTO notes VALUES ('not committed yet')")
            with database.dialect.scrub_alone(1):
                assert not database.dialect.scrub(REWRITE).done
                connection.execute("COMMIT")
                assert database.dialect.scrub(REWRITE).done
    finally:
        database.close()
        drop_database(postgres_url, other)


def test_writes_are_durable_and_end_with_their_machine(postgres_url: str, name: str) -> None:
    """A write waits for synchronous standbys whatever its user's default is, and the server notices a lost client."""
    with administered(postgres_url) as connection:
        connection.execute(f'ALTER ROLE {OWNER} IN DATABASE "{name}" SET synchronous_commit = local')
    database = open_catalog(url_of(postgres_url, name))
    try:
        with database.exclusive() as connection:
            durability = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
            noticed = [
                connection.exec_driver_sql(f"SHOW tcp_{what}").scalar()
                for what in ("keepalives_idle", "keepalives_interval", "keepalives_count", "user_timeout")
            ]
    finally:
        database.close()
    assert durability == "on"
    assert noticed == ["30", "10", "3", "30000"]
