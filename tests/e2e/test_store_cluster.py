"""A bucket on several machines, parts of which die: imports do not notice, packing catches up, no export is short.

Nothing of smsevents is restarted meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from bench.cluster.clients import Clients
from bench.cluster.clients import Shop as ClientsShop
from bench.cluster.counts import counts
from bench.cluster.weed import Weed

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, body_of, line
from tests.support.seaweed import weed
from tests.support.servers import Server, add_shop
from tests.support.settled import Settled, send

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Shop

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

MASTERS = 3
TRACKPOINT = 4541245641234564
EVENTS = 3_000  # of about STORED_LINE_BYTES: enough for packs
LARGE_EVENTS = 36_000  # more than sockets hold on the way from the store to a client that does not read
IMPORTERS, EXPORTERS = 2, 1
BODIES, EXPORTS = 10, 3  # after each fault, before the next step
CLIENTS_PAUSE_SECONDS = 1.0  # else `move packs` has always more to merge on a slow machine
RECOGNIZABLE = {
    "imports acknowledged",
    "exports complete",
    "exports with 503",
    "exports truncated, and recognized as such",
}


class Site:
    """A server whose packs are in the bucket."""

    def __init__(self, folder: Path) -> None:
        """Start the store and the server."""
        folder.joinpath("weed").mkdir()
        self.weed = Weed(folder / "weed", MASTERS)
        try:
            self.weed.start()
            self.server = Server(folder, settings=dict(self.weed.variables))
        except BaseException:
            self.weed.stop()
            raise
        self._settled = Settled()
        self._shops: list[tuple[Shop, ClientsShop]] = []

    def close(self) -> None:
        """Stop both."""
        self.server.stop()
        self.weed.stop()

    def shop(self, events: int = EVENTS) -> tuple[Shop, ClientsShop]:
        """Add a shop, and import settled events of some days, which hardly compress. Each import must succeed."""
        trackpoint = TRACKPOINT + len(self._shops)
        shop = add_shop(self.server.url, trackpoint, base=self.server.base)
        known = ClientsShop(trackpoint, shop.key)
        lines = self._settled.lines(trackpoint, events, now_ms() - 12 * DAY_MS, 9)
        send(shop, lines)
        known.acknowledged.update(lines)
        self._shops.append((shop, known))
        return shop, known

    def pack(self) -> list[str]:
        """Move what has settled into the bucket, as often as it takes. Return what was said when it failed."""
        told = []
        while (done := self.server.command("move", "packs")).returncode:
            assert b"Traceback" not in done.stderr
            told.append(done.stderr.decode())
        return told

    def packs(self) -> float:
        """Return how many packs the catalog names."""
        return self.server.metric("smsevents_packs")

    def clients(self) -> Clients:
        """Start clients of the shops that there are. They work until they are stopped."""
        clients = Clients(
            self.server.base, None, [known for _, known in self._shops], pause_seconds=CLIENTS_PAUSE_SECONDS
        )
        clients.start(IMPORTERS, EXPORTERS)
        clients.wait_for(BODIES, EXPORTS)
        return clients

    def check(self) -> None:
        """Check that each acknowledged event is there once, that nothing is damaged, and that nothing was restarted."""
        for shop, known in self._shops:
            exported = shop.export()
            assert exported.status_code == 200
            assert counts(known.acknowledged, exported.content).is_right
        assert b" 0 damaged" in self.server.command("verify").stderr
        assert self.server.process.poll() is None
        log = self.server.log_path.read_text()
        assert "worker ended" not in log
        assert "unforeseen" not in log


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start a server and its store."""
    if weed() is None:
        pytest.skip("SeaweedFS is not installed; `make test-all` installs it")
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("machine", ["the master that leads", "the volume server with most objects"])
def test_a_machine_of_the_store_dies(site: Site, machine: str) -> None:
    """Imports and exports go on. Packing waits until another master leads, and writes to the servers that are left."""
    site.shop()
    site.pack()
    before = site.packs()
    assert before > 0
    clients = site.clients()
    leads = machine == "the master that leads"
    killed = site.weed.kill_leader() if leads else site.weed.kill_fullest_volume_server()
    site.shop()
    clients.wait_for(BODIES, EXPORTS)
    site.pack()
    assert site.packs() > before
    assert site.weed.leader() not in ({killed, None} if leads else {None})
    clients.wait_for(BODIES, EXPORTS)
    clients.stop()
    assert set(clients.numbers()) <= RECOGNIZABLE
    site.check()


def test_the_gateway_dies(site: Site) -> None:
    """A running export is truncated and the next one refused, until the gateway is back. What is fresh is exported."""
    shop, known = site.shop(LARGE_EVENTS)
    site.pack()
    assert site.packs() > 3
    with httpx.stream("POST", shop.export_url, json={}, headers=shop.headers, timeout=120) as response:
        assert response.status_code == 200
        pieces = response.iter_raw()
        next(pieces)
        site.weed.kill_gateway()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)

    refused = shop.export()
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    now = now_ms()
    fresh = line(shop.trackpoint, now - 1000, "fresh")
    assert shop.send(body_of([fresh])).status_code == 200
    known.acknowledged.add(fresh)
    assert shop.export({"from": now - DAY_MS}).content == body_of([fresh])
    assert httpx.get(f"{site.server.base}/health/ready", timeout=30).status_code == 200
    told = site.server.command("move", "packs").stderr
    assert b"Traceback" not in told

    site.weed.start_gateway()
    while (exported := shop.export()).status_code == 503:
        pass  # the gateway is still looking for its filer
    assert counts(known.acknowledged, exported.content).is_right
    site.check()


def test_the_whole_store_is_away_for_a_while(site: Site) -> None:
    """While nothing of the store runs, imports go on, exports are refused, and packing says why. Then all goes on."""
    site.shop()
    site.pack()
    before = site.packs()
    clients = site.clients()
    site.weed.stop()
    site.shop()
    clients.wait_for_more({"imports acknowledged": BODIES, "exports with 503": EXPORTS})
    failed = site.server.command("move", "packs")
    assert failed.returncode == 1
    assert b"SMSEVENTS_SEGMENTS" in failed.stderr
    assert b"Traceback" not in failed.stderr
    site.weed.start_again()
    clients.wait_for(BODIES, EXPORTS)
    site.pack()
    assert site.packs() > before
    clients.stop()
    assert set(clients.numbers()) <= RECOGNIZABLE
    site.check()
