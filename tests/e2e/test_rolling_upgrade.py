"""A real upgrade, one server after the other, and back again, while clients import, export, erase and send receipts.

Both versions run on one database of PostgreSQL and one bucket.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
from bench.cluster.clients import Clients
from bench.cluster.clients import Shop as ClientsShop
from bench.cluster.counts import counts

from smsevents.catalog.schema import HEAD, READER
from smsevents.clock.system import now_ms
from tests.support.documents import ROOT
from tests.support.earlier import source_at
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line
from tests.support.postgres import administered, create_database, drop_database, url_of
from tests.support.receipts import line_of, one_off, sent_line
from tests.support.seaweed import seaweedfs
from tests.support.servers import PLAIN, Server, Shop
from tests.support.settled import Settled, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

# The last commit before the tables of revision 0010 that knows the table `readers`. When READER is raised, versions
# before that cannot run beside this one: then a later commit takes its place.
EARLIER = "7562c58f568d82b9a648030d5d01d4cf0dd51b91"
EARLIER_HEAD = "0009"
TRACKPOINT = 4541245641234564
SETTLED_EVENTS = 1_200  # through each server in each phase: enough for packs
ERASED_EVENTS = 6  # of each user, half of them in packs
RECEIPTS = 20  # through each server in each phase
IMPORTERS, EXPORTERS = 1, 1  # of each server
BODIES, EXPORTS = 5, 2
COMMAND_MAX_SECONDS = 600
CLIENTS_PAUSE_SECONDS = 2.0  # else `move packs` has always more to merge


class Node(Server):
    """A server that may run another version when it is started again."""

    def run(self, source: Path) -> None:
        """Stop, and start with the program in a folder."""
        self.stop()
        self.environment["PYTHONPATH"] = str(source)
        self.start()


class Cluster:
    """Two servers, a shop, and all lines that it must have."""

    def __init__(self, folder: Path, url: str, source: Path) -> None:
        """Start both servers with the program in a folder."""
        store = seaweedfs()
        settings = {**store.environment(), "SMSEVENTS_SEGMENTS": store.place(), "PYTHONPATH": str(source)}
        folders = [folder / "one", folder / "two"]
        for one in folders:
            one.mkdir()
        self.nodes: list[Node] = []
        try:
            for one in folders:
                self.nodes.append(Node(one, settings=dict(settings), url=url))
            self._add_shop()
        except BaseException:
            self.close()
            raise
        self._settled = Settled()
        self._phases = 0

    def close(self) -> None:
        """Stop both."""
        for node in self.nodes:
            node.stop()

    def _add_shop(self) -> None:
        self._command(0, "shop", "add", str(TRACKPOINT))
        scopes = [word for scope in ("export", "import", "admin", "stats") for word in ("--scope", scope)]
        key = self._command(0, "key", "create", str(TRACKPOINT), *scopes)
        self.known = ClientsShop(TRACKPOINT, key)
        self.shops = [Shop(TRACKPOINT, key, node.base, {"X-Api-Key": key}) for node in self.nodes]
        self.receiver = self._command(0, "receiver", "create", str(TRACKPOINT), "--gateway", "kannel").split("/")[-1]

    def _command(self, node: int, *words: str) -> str:
        done = self._run(self.nodes[node], *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def pack(self) -> None:
        """Move what has settled into the bucket, by both versions, as often as it takes: workers are moving it, too."""
        for node in self.nodes:
            while (done := self._run(node, "move", "packs")).returncode:
                assert "Traceback" not in done.stderr

    @staticmethod
    def _run(node: Node, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "smsevents", *words]
        return subprocess.run(
            command, env=node.environment, capture_output=True, text=True, timeout=COMMAND_MAX_SECONDS, check=False
        )

    def packs(self) -> float:
        """Return how many packs the catalog names."""
        return self.nodes[0].metric("smsevents_packs")

    def import_settled(self, node: int) -> None:
        """Import events of some past days."""
        self._phases += 1
        lines = self._settled.lines(
            TRACKPOINT, SETTLED_EVENTS, now_ms() - 12 * DAY_MS, 5, f"settled in phase {self._phases}"
        )
        send(self.shops[node], lines)
        with self.known.lock:
            self.known.acknowledged.update(lines)

    def plant(self, node: int) -> str:
        """Import events of a user of many days, and return the user's id."""
        user = f"user-{self._phases}-{node}"
        past, fresh = now_ms() - 10 * DAY_MS, now_ms() - HOUR_MS
        lines = [line(TRACKPOINT, (past, fresh)[number % 2] + number, user) for number in range(ERASED_EVENTS)]
        assert self.shops[node].send(body_of(lines)).status_code == 200
        return user

    def erase(self, node: int, user: str) -> None:
        """Erase a user whose events are all there."""
        url = f"{self.nodes[node].base}/shop/{TRACKPOINT}/users/{user}"
        headers = self.shops[node].headers
        while (done := httpx.delete(url, headers=headers, timeout=600, verify=PLAIN)).status_code == 503:
            pass  # the other server erases from the shop
        assert done.status_code == 200
        assert done.json()["events"] == ERASED_EVENTS

    def send_receipts(self, registers: int, receives: int) -> None:
        """Register messages at a server, and send their receipts to another one."""
        second = now_ms() // 1000 - 60
        source = one_off(second * 1000 - 5000)
        names = [f"message-{self._phases}-{registers}-{number}" for number in range(RECEIPTS)]
        scope = {"receiver": self.receiver.split("_")[0]}
        body = b"".join(sent_line(scope, name, f"user of {name}", source) for name in names)
        url = f"{self.nodes[registers].base}/shop/{TRACKPOINT}/sent-sms"
        done = httpx.post(url, content=body, headers=self.shops[registers].headers, timeout=60, verify=PLAIN)
        assert done.status_code == 200
        for name in names:
            fields = {"d": "1", "A": "", "F": name, "T": str(second)}
            url = f"{self.nodes[receives].base}/receipts/{self.receiver}"
            assert httpx.get(url, params=fields, timeout=60, verify=PLAIN).status_code == 200
        lines = [line_of(TRACKPOINT, f"user of {name}", "DELIVERED", second * 1000, source) for name in names]
        with self.known.lock:
            self.known.acknowledged.update(lines)

    def clients(self) -> list[Clients]:
        """Start clients of each server. They work until they are stopped, also while their server is restarted."""
        found = []
        for number, node in enumerate(self.nodes):
            one = Clients(
                node.base, None, [self.known], first=10 * number, event_days=1, pause_seconds=CLIENTS_PAUSE_SECONDS
            )
            one.start(IMPORTERS, EXPORTERS)
            found.append(one)
        return found

    def check(self) -> None:
        """Check that each server exports and counts each acknowledged event once, and that nothing is damaged."""
        for node, shop in zip(self.nodes, self.shops, strict=True):
            exported = shop.export()
            assert exported.status_code == 200
            assert counts(self.known.acknowledged, exported.content).is_right
            url = f"{node.base}/shop/{TRACKPOINT}/sms-stats?from=89d"
            counted = httpx.get(url, headers=shop.headers, timeout=60, verify=PLAIN).json()
            assert counted["events"] == len(self.known.acknowledged)
            assert " 0 damaged" in self._run(node, "verify").stderr


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Return the folder of the earlier program."""
    return source_at(EARLIER, tmp_path)


@contextmanager
def database(server: str) -> Iterator[tuple[str, str]]:
    """Make a database. Yield its URL for the servers, and for the superuser."""
    name = create_database(server)
    try:
        yield url_of(server, name), url_of(server, name, "tester")
    finally:
        drop_database(server, name)


def revision(url: str) -> str:
    """Return the revision of the tables."""
    with administered(url) as connection:
        ((found,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(found)


def work_together(cluster: Cluster, clients: list[Clients]) -> None:
    """Let both servers import, export, pack, erase, and take registrations and receipts at the same time."""
    for node in range(2):
        cluster.import_settled(node)
    users = [cluster.plant(node) for node in range(2)]
    with ThreadPoolExecutor() as threads:
        work: list[Callable[[], None]] = [
            cluster.pack,
            *(partial(cluster.erase, 1 - node, user) for node, user in enumerate(users)),
            *(partial(cluster.send_receipts, node, 1 - node) for node in range(2)),
        ]
        for done in [threads.submit(one) for one in work]:
            done.result()
    for one in clients:
        one.wait_for(BODIES, EXPORTS)
    cluster.pack()  # an erasure may have been in the way of the first time
    assert cluster.packs() > 0


def test_servers_are_upgraded_one_after_the_other_and_back(postgres_url: str, tmp_path: Path, earlier: Path) -> None:
    """Nothing is lost and nothing is there twice, whichever versions run side by side.

    The first server of the new version upgrades the tables while the other one works.
    """
    assert READER == 1
    with database(postgres_url) as (url, administered_url):
        cluster = Cluster(tmp_path, url, earlier)
        try:
            clients = cluster.clients()
            work_together(cluster, clients)
            assert revision(administered_url) == EARLIER_HEAD
            for node, source in ((0, ROOT / "src"), (1, ROOT / "src"), (0, earlier), (1, earlier)):
                cluster.nodes[node].run(source)
                assert revision(administered_url) == HEAD
                work_together(cluster, clients)
            for client in clients:
                client.stop()
            cluster.check()
            for one in cluster.nodes:
                one.run(ROOT / "src")
            cluster.check()
        finally:
            cluster.close()
