"""A network that is cut in the middle of something: nothing arrives any more, and no connection is closed.

Requests end in time then, with 503 or recognizably truncated, nothing is lost, and everything goes on without a restart
when the network is back. Each part of the system is a host of its own. How long a request takes is not compared with a
number of seconds, because machines differ; a client that waits for a minute must have its response.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.clock.system import now_ms
from smsevents.storage import open_store
from tests.support.faulty import FaultyProxy
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.logs import keys_in, log_at, store
from tests.support.network import Network, require_networks
from tests.support.postgres import (
    administered,
    create_database,
    open_folder,
    running,
    standing_by,
    url_of,
)
from tests.support.seaweed import SeaweedFS, environment, variables, weed
from tests.support.servers import STILL, Server, Shop, add_shop, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faulty import Fault
    from tests.support.network import Host, Link

TRACKPOINT = 4541245641234564
EVENTS = 9_000  # of about 170 bytes after compression: more than a pack needs
CONNECTIONS_MAX = 30  # of two processes, with those that their commits left
HELD = 4242  # the key of an advisory lock: what stores segments waits for it
ALL_ADDRESSES = "listen_addresses=0.0.0.0"
# a sender and a receiver of the log that hear nothing connect again after these
REPLICATION = ("wal_sender_timeout=5s", "wal_receiver_timeout=5s", "wal_retrieve_retry_interval=500ms")

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(600)]


@pytest.fixture
def network() -> Iterator[Network]:
    """Make networks of this test's own."""
    require_networks()
    with Network() as network:
        yield network


class Database:
    """A PostgreSQL server on a host, with one database, and the link by which others reach it."""

    def __init__(self, host: Host, url: str, link: Link) -> None:
        """Create the database. `url` is that of the server for its superuser, on the host itself."""
        self._host = host
        self._server = url
        with host.inside():
            self.name = create_database(url)
        self.url = url_of(url, self.name, host=link.far_address)

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, on the host itself. Return the rows of the last one."""
        with self._host.inside(), administered(url_of(self._server, self.name, "tester")) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def held(self, when: str) -> Iterator[None]:
        """Let transactions that store segments wait for the end of the block: when they `insert` or `commit`."""
        deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "commit" else "NOT DEFERRABLE"
        self.query(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({HELD}); RETURN NULL; END $$",
            f"CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON segments {deferred} FOR EACH ROW EXECUTE FUNCTION hold()",
        )
        with self._host.inside():
            holder = psycopg.connect(url_of(self._server, self.name, "tester"), autocommit=True)
        with holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (HELD,))
            yield

    def is_held(self) -> bool:
        """Return whether a transaction waits."""
        return self.query(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted"
        ) != [(0,)]

    def events(self) -> int:
        """Return how many events all segments have, each as often as it is stored."""
        ((count,),) = self.query("SELECT coalesce(sum(events), 0) FROM segments")
        return int(count)

    def has_noted_use(self) -> bool:
        """Return whether the use of a key was noted, so that no such write is under way."""
        return self.query("SELECT count(*) FROM keys WHERE last_used_ms IS NOT NULL") == [(1,)]

    def connections(self) -> int:
        """Return how many connections smsevents has."""
        ((count,),) = self.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'smsevents'")
        return int(count)


@contextmanager
def stopped_at_the_end(server: Server) -> Iterator[Server]:
    """Yield a server. It must still run at the end of the block, and is stopped then."""
    try:
        yield server
        assert server.process.poll() is None
    finally:
        server.stop()


def status_of(shop: Shop, lines: list[bytes]) -> int:
    """Import lines, and return the status of the response."""
    response = shop.send(body_of(lines))
    if response.status_code == 503:
        assert int(response.headers["Retry-After"]) > 0
    return response.status_code


def is_ready(server: Server) -> int:
    """Return the status of the readiness check. The process responds in any case."""
    assert httpx.get(f"{server.base}/health/live", timeout=60).status_code == 200
    return httpx.get(f"{server.base}/health/ready", timeout=60).status_code


@pytest.mark.parametrize("when", ["insert", "commit"])
def test_a_server_that_is_cut_from_its_database_in_a_transaction(tmp_path: Path, network: Network, when: str) -> None:
    """A transaction whose end is not heard of is a 503, and so is every request until the network is back.

    If it is cut within the commit, the events are stored, and the repeated import changes nothing.
    """
    now = now_ms()
    node, machine = network.host(), network.host()
    link = network.link(node, machine)
    lines = [line(TRACKPOINT, now - DAY_MS + number, f"{number}") for number in range(3)]
    more = line(TRACKPOINT, now - DAY_MS, "more")
    with ExitStack() as ends, open_folder() as folder:
        with machine.inside():
            url = ends.enter_context(contextmanager(running)(folder, ALL_ADDRESSES))
        database = Database(machine, url, link)
        with node.inside():
            server = ends.enter_context(stopped_at_the_end(Server(tmp_path, settings=STILL, url=database.url)))
            shop = add_shop(database.url, TRACKPOINT, ("export", "import"), server.base)
            assert status_of(shop, lines[:1]) == 200
            assert eventually(database.has_noted_use)
            with ThreadPoolExecutor(1) as threads:
                with database.held(when):
                    sending = threads.submit(status_of, shop, lines)
                    assert eventually(database.is_held)
                    link.cut()
                if when == "commit":
                    assert eventually(lambda: database.events() == 3)
                assert sending.result() == 503
            assert status_of(shop, [more]) == 503
            assert shop.export().status_code == 503
            assert is_ready(server) == 503
            assert database.events() == (3 if when == "commit" else 1)
            link.heal()
            assert eventually(lambda: status_of(shop, lines) == 200)
            if when == "commit":
                assert database.events() == 3
            assert status_of(shop, [more]) == 200
            assert is_ready(server) == 200
            assert shop.export().content == model([*lines, more], 0, now)


def test_a_primary_that_is_cut_from_its_standby(tmp_path: Path, network: Network) -> None:
    """While no commit is confirmed by the standby, imports get 503 and exports go on, and then everything does.

    Nothing is acknowledged that the standby does not have, and no connections pile up at the server.
    """
    now = now_ms()
    node, machine, other = network.host(), network.host(), network.host()
    link, replication = network.link(node, machine), network.link(other, machine)
    first, second = (line(TRACKPOINT, now - DAY_MS, user) for user in ("first", "second"))
    with ExitStack() as ends, open_folder() as folder, open_folder() as copy:
        with machine.inside():
            url = ends.enter_context(contextmanager(running)(folder, ALL_ADDRESSES, *REPLICATION))
        with other.inside():
            seen = url.replace("127.0.0.1", replication.far_address)
            ends.enter_context(contextmanager(standing_by)(copy, seen, *REPLICATION))
        database = Database(machine, url, link)
        with node.inside():
            server = ends.enter_context(stopped_at_the_end(Server(tmp_path, url=database.url)))
            shop = add_shop(database.url, TRACKPOINT, ("export", "import"), server.base)
            assert status_of(shop, [first]) == 200
            assert is_ready(server) == 200
            replication.cut()
            assert [status_of(shop, [second]) for _ in range(5)] == [503] * 5
            exported = shop.export()
            assert exported.status_code == 200
            assert first in exported.content.splitlines()
            assert is_ready(server) == 503
            assert database.connections() < CONNECTIONS_MAX
            replication.heal()
            assert eventually(lambda: status_of(shop, [second]) == 200)
            assert eventually(lambda: is_ready(server) == 200)
            assert shop.export().content == model([first, second], 0, now)


class Bucket:
    """A server of S3 on a host, behind a proxy that may hold requests, and a log whose packs are there."""

    def __init__(self, folder: Path, host: Host, link: Link, ends: ExitStack) -> None:
        """Start them, and fill the log."""
        program = weed()
        if program is None:
            pytest.skip("SeaweedFS is not installed; `make test` installs it")
        with host.inside():
            seaweed = SeaweedFS(program)
            ends.callback(seaweed.kill)
            self.proxy = ends.enter_context(FaultyProxy(seaweed.endpoint, link.far_address))
        self._near = variables(self.proxy.endpoint)
        self._there = host, variables(seaweed.endpoint)
        self._url = seaweed.place()
        self.settings = {**self._near, "SMSEVENTS_SEGMENTS": self._url}
        self.now = now_ms()
        self.lines = fill(folder, self.now)

    def keys(self) -> set[str]:
        """Return the keys of the packs in the bucket."""
        host, reached_by = self._there
        with host.inside(), environment(reached_by):
            return keys_in(open_store(self._url))


def fill(folder: Path, now: int) -> list[bytes]:
    """Fill a log in a folder with events that are to be packed. Return their lines."""
    chance = random.Random(5)  # noqa: S311 -- invented data
    lines = [
        line(TRACKPOINT, now - 3 * DAY_MS - chance.randrange(5 * DAY_MS), campaign=f"{chance.getrandbits(1200):x}")
        for _ in range(EVENTS)
    ]
    database = open_catalog(f"sqlite:///{folder / 'log.db'}")
    Access(database).add_shop(TRACKPOINT, "")
    store(log_at(database, lambda: now), TRACKPOINT, lines)
    database.close()
    return lines


@pytest.fixture
def bucket(tmp_path: Path, network: Network) -> Iterator[tuple[Host, Link, Bucket]]:
    """Make a host for smsevents and one for a bucket, and a link between them."""
    node, machine = network.host(), network.host()
    link = network.link(node, machine)
    with ExitStack() as ends:
        yield node, link, Bucket(tmp_path, machine, link, ends)


@pytest.mark.parametrize("how", ["held", "unread"])
def test_a_server_that_is_cut_from_its_bucket_in_a_put(
    tmp_path: Path, bucket: tuple[Host, Link, Bucket], how: Fault
) -> None:
    """Imports do not notice, nothing is lost whether the object was written or not, and packing goes on by itself."""
    node, link, there = bucket
    there.proxy.on("PUT", how, path_end=".pack")
    with node.inside(), stopped_at_the_end(Server(tmp_path, settings=there.settings)) as server:
        key = server.command("key", "create", str(TRACKPOINT), "--scope", "export").stdout.decode().strip()
        full = Shop(TRACKPOINT, key, server.base, {"X-Api-Key": key})
        shop = add_shop(server.url, TRACKPOINT + 1, base=server.base)
        assert eventually(lambda: any(path.endswith(".pack") for _, path, _ in list(there.proxy.requests)))
        link.cut()
        there.proxy.released.set()
        fresh = [line(TRACKPOINT + 1, there.now - 1000 - number, f"{number}") for number in range(20)]
        assert [status_of(shop, [one]) for one in fresh] == [200] * len(fresh)
        assert shop.export().content == model(fresh, 0, there.now)
        assert full.export().content == model(there.lines, 0, there.now)
        assert server.metric("smsevents_packs") == 0
        there.proxy.well()
        link.heal()
        assert eventually(lambda: server.metric("smsevents_packs") == 1)
        assert full.export().content == model(there.lines, 0, there.now)
        assert len(there.keys()) == 1


def test_a_server_that_is_cut_from_its_bucket_in_a_get(tmp_path: Path, bucket: tuple[Host, Link, Bucket]) -> None:
    """An export whose pack stops arriving is truncated, later ones are refused, and imports go on."""
    node, link, there = bucket
    with node.inside(), stopped_at_the_end(Server(tmp_path, settings=there.settings)) as server:
        key = server.command("key", "create", str(TRACKPOINT), "--scope", "export").stdout.decode().strip()
        full = Shop(TRACKPOINT, key, server.base, {"X-Api-Key": key})
        shop = add_shop(server.url, TRACKPOINT + 1, base=server.base)
        assert eventually(lambda: server.metric("smsevents_packs") == 1)
        expected = model(there.lines, 0, there.now)
        there.proxy.on("GET", "stall", path_end=".pack")
        got = b""
        with httpx.stream("POST", full.export_url, json={}, headers=full.headers, timeout=60) as response:
            assert response.status_code == 200
            parts = response.iter_bytes()
            got += next(parts)
            link.cut()
            there.proxy.released.set()
            with pytest.raises(httpx.RemoteProtocolError):
                got += b"".join(parts)
        assert expected.startswith(got)
        assert len(got) < len(expected)
        fresh = [line(TRACKPOINT + 1, there.now - 1000 - number, f"{number}") for number in range(5)]
        assert [status_of(shop, [one]) for one in fresh] == [200] * len(fresh)
        assert full.export().status_code == 503
        assert shop.export().content == model(fresh, 0, there.now)
        there.proxy.well()
        link.heal()
        assert eventually(lambda: full.export().content == expected)
        assert len(there.keys()) == 1
