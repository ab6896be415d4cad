"""The story: start a cluster, load it, export, kill its parts one after the other while clients work, and count."""

import argparse
import gzip
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx2

from bench.cluster.clients import Clients, Shop
from bench.cluster.counts import Counts, counts
from bench.cluster.postgres import Pair
from bench.cluster.programs import Failed
from bench.cluster.web import NODES, Nodes, Proxy
from bench.cluster.weed import VOLUME_SERVERS, Weed

SHOPS = {4541245641234564: 0.9, 4541245641234565: 0.1}  # their shares of the events
DAYS = 16  # few enough that they fill packs
MOVES_MAX = 5
LOADED_LINES = 20_000  # in a body
IMPORTERS, EXPORTERS = 4, 2
BODIES_BETWEEN, EXPORTS_BETWEEN = 20, 3  # after each fault, before the next one


class Cluster:
    """All parts, each in a folder that is removed at the end."""

    def __init__(self, folder: Path) -> None:
        """Choose ports and write configurations. Nothing is started yet."""
        self.postgres = Pair(folder)
        self.weed = Weed(folder)
        self.nodes = Nodes(folder, {"SMSEVENTS_DATABASE": self.postgres.url, **self.weed.variables})
        self.proxy = Proxy(folder, self.nodes.ports)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all parts for the block."""
        with ExitStack() as ends:
            ends.callback(self.postgres.stop)
            self.postgres.start()
            say("PostgreSQL with a synchronous standby")
            ends.callback(self.weed.stop)
            self.weed.start()
            say(f"SeaweedFS with {VOLUME_SERVERS} volume servers, two copies of each object")
            for trackpoint in SHOPS:
                self.nodes.command("shop", "add", str(trackpoint))
            ends.callback(self.nodes.stop)
            for number in range(NODES):
                self.nodes.start(number)
            say(f"{NODES} nodes of smsevents, each with an upkeep worker")
            ends.callback(self.proxy.stop)
            self.proxy.start()
            say(f"nginx at {self.proxy.url}")
            yield

    def key(self, trackpoint: int) -> str:
        """Create a key for imports and exports."""
        return self.nodes.command("key", "create", str(trackpoint), "--scope", "export", "--scope", "import").strip()


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def load(cluster: Cluster, clients: Clients, shops: list[Shop], events: int) -> None:
    """Import invented events of the last days through nginx, and move the settled ones into the bucket."""
    for shop in shops:
        wanted = round(events * SHOPS[shop.trackpoint])
        words = ("generate", str(shop.trackpoint), "--events", str(wanted), "--days", str(DAYS))
        lines = cluster.nodes.command(*words).encode().splitlines()
        with clients.client() as client:
            for some in _batched(lines):
                headers = {"X-Api-Key": shop.key, "Content-Encoding": "gzip"}
                body = gzip.compress(b"".join(one + b"\n" for one in some), 1)
                response = client.post(shop.path("import"), content=body, headers=headers)
                if response.status_code != HTTPStatus.OK:
                    raise Failed(f"The import of the first events got {response.status_code}: {response.text[:500]}")
                shop.acknowledged.update(some)
    say(f"imported {events:,} events through nginx")


def _batched(lines: list[bytes]) -> Iterator[list[bytes]]:
    return (lines[at : at + LOADED_LINES] for at in range(0, len(lines), LOADED_LINES))


def pack(cluster: Cluster) -> None:
    """Move what has settled into the bucket. An upkeep worker may be moving it already."""
    for _ in range(MOVES_MAX - 1):
        try:
            cluster.nodes.command("move", "packs")
            break
        except Failed:
            continue
    else:
        cluster.nodes.command("move", "packs")
    stats = [json.loads(one) for one in cluster.nodes.command("stats", "--json").splitlines()]
    found = sum(one["packs"] for one in stats)
    say(f"packs in the bucket: {found}")


def exported(cluster: Cluster, shops: list[Shop]) -> Counts:
    """Export all shops from each node, past nginx. Return the sums."""
    total = Counts(0, 0, 0, 0)
    for number in range(NODES):
        of_node = Counts(0, 0, 0, 0)
        for shop in shops:
            url = f"{cluster.nodes.url(number)}{shop.path('export')}"
            response = httpx2.post(url, content=b"{}", headers={"X-Api-Key": shop.key}, timeout=120)
            if response.status_code != HTTPStatus.OK:
                raise Failed(f"The export through node {number + 1} got {response.status_code}: {response.text[:500]}")
            of_node += counts(shop.acknowledged, response.content)
        say(
            f"exported {of_node.lines:,} events through node {number + 1}: {of_node.lost} lost, {of_node.twice} twice,"
            f" {of_node.unknown} unknown"
        )
        total += of_node
    return total


def kill_parts(cluster: Cluster, clients: Clients) -> None:
    """Kill one part after the other, while clients work."""

    def goes_on(what: str) -> None:
        clients.wait_for(BODIES_BETWEEN, EXPORTS_BETWEEN)
        say(f"  {what}")

    say(f"{IMPORTERS} importers and {EXPORTERS} exporters begin")
    goes_on("they work")
    say("kill -9 node 1, with its upkeep worker")
    cluster.nodes.kill(0)
    goes_on("imports and exports go on through node 2")
    cluster.nodes.start(0)
    say("  node 1 is back")
    killed = cluster.weed.kill_fullest_volume_server()
    say(f"kill -9 volume server {killed + 1}, which has most of the packs")
    goes_on("exports read the other copies")
    say("kill -9 the upkeep worker of node 2")
    cluster.nodes.kill_upkeep_worker(1)
    goes_on("imports and exports do not need it, and node 2 starts another")
    say("kill -9 the primary of PostgreSQL, and promote the standby")
    cluster.postgres.fail_over()
    goes_on("the nodes found the new primary; nothing was restarted")
    cluster.postgres.add_standby()
    say("  the new primary has a synchronous standby")
    cluster.weed.start_volume_server(killed)
    goes_on("the volume server is back")


def story(folder: Path, events: int) -> bool:
    """Run all of it in a folder. Return whether nothing was lost and nothing is there twice."""
    cluster = Cluster(folder)
    with cluster.running():
        shops = [Shop(trackpoint, cluster.key(trackpoint)) for trackpoint in SHOPS]
        clients = Clients(cluster.proxy.url, cluster.proxy.certificate, shops)
        load(cluster, clients, shops, events)
        pack(cluster)
        before = exported(cluster, shops)
        clients.start(IMPORTERS, EXPORTERS)
        kill_parts(cluster, clients)
        clients.stop()
        numbers = clients.numbers()
        for name in sorted(numbers):
            say(f"  {numbers[name]:5} {name}")
        pack(cluster)
        after = exported(cluster, shops)
        say(cluster.nodes.command("verify").strip() or "verified: nothing is damaged")
        acknowledged = sum(len(shop.acknowledged) for shop in shops)
    print(f"\nacknowledged: {acknowledged:,} events\nlost: {after.lost}\ntwice: {after.twice}", flush=True)
    return before.is_right and after.is_right


def main() -> int:
    """Run the demonstration. Return 0 if the counts are right."""
    parser = argparse.ArgumentParser(prog="make demo-cluster", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="loaded before anything is killed")
    arguments = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)  # so that everything is ended and removed
    folder = Path(tempfile.mkdtemp(prefix="smsevents-cluster-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user if this is root
    try:
        return 0 if story(folder, arguments.events) else 1
    except Failed as error:
        print(f"demo-cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo-cluster: stopped", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(*_: object) -> None:
    raise KeyboardInterrupt


STARTED = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
