"""Importers and exporters that run while parts of the cluster die.

An importer sends a body until it is acknowledged, the same one again after any failure. An exporter requires of each
complete export that every event is in it that was acknowledged before it began, and no event twice.
"""

import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx2

from bench.cluster.counts import counts
from bench.cluster.programs import POLL_SECONDS, Failed
from smsevents.clock.system import now_ms
from smsevents.wire.limits import DAY_MS

BODY_LINES = 100
PAUSE_SECONDS = 0.2  # between requests of a client, so that all of them and the servers fit on two cores
EVENT_DAYS = 15  # so that late events fall into packs
PROGRESS_MAX_SECONDS = 120


@dataclass
class Shop:
    """A shop, its key, and the lines that were acknowledged."""

    trackpoint: int
    key: str
    acknowledged: set[bytes] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, what: str) -> str:
        """Return the path of the import or the export."""
        return f"/shop/{self.trackpoint}/{what}-sms-events"


class Clients:
    """Threads that import into and export from shops through one address."""

    def __init__(  # noqa: PLR0913 -- the keyword ones have defaults
        self,
        url: str,
        certificate: Path | None,
        shops: Sequence[Shop],
        *,
        first: int = 0,
        event_days: int = EVENT_DAYS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """Use an address, with a certificate if it is https. Nothing runs yet.

        The importers have numbers from `first` on. Those with different numbers send different events, which are up to
        `event_days` old. Each client pauses between its requests.
        """
        self._url = url
        self._trusted = ssl.create_default_context(cafile=None if certificate is None else str(certificate))
        self._shops = shops
        self._first = first
        self._event_days = event_days
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = Counter[str]()
        self._mutex = threading.Lock()
        self._wrong: list[str] = []

    def client(self) -> httpx2.Client:
        """Return a client of the address."""
        return httpx2.Client(base_url=self._url, verify=self._trusted, timeout=60)

    def start(self, importers: int, exporters: int) -> None:
        """Start threads."""
        works = [*[self._import] * importers, *[self._export] * exporters]
        for number, work in enumerate(works, self._first):
            thread = threading.Thread(target=self._guarded, args=(work, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let each thread finish what it does."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._require_right()

    def numbers(self) -> Counter[str]:
        """Return how often what happened."""
        with self._mutex:
            return self._numbers.copy()

    def wait_for(self, bodies: int, exports: int) -> None:
        """Wait until so many more bodies were acknowledged and exports were complete. Raises `Failed`."""
        self.wait_for_more({"imports acknowledged": bodies, "exports complete": exports})

    def wait_for_more(self, wanted: Mapping[str, int]) -> None:
        """Wait until each of the numbers has grown by so many. Raises `Failed`."""
        before = self.numbers()
        deadline = time.monotonic() + PROGRESS_MAX_SECONDS
        while any(self.numbers()[name] < before[name] + more for name, more in wanted.items()):
            self._require_right()
            if time.monotonic() > deadline:
                raise Failed(f"Imports and exports did not go on within {PROGRESS_MAX_SECONDS} seconds.")
            time.sleep(POLL_SECONDS)

    def _require_right(self) -> None:
        if self._wrong:
            raise Failed(self._wrong[0])

    def _count(self, name: str) -> None:
        with self._mutex:
            self._numbers[name] += 1

    def _guarded(self, work: Callable[[httpx2.Client, int], None], number: int) -> None:
        try:
            with self.client() as client:
                work(client, number)
        except Exception as error:  # noqa: BLE001 -- reported by the main thread, which ends the demonstration
            self._wrong.append(f"A client failed: {error!r}")

    def _import(self, client: httpx2.Client, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 -- invented data
        sent = 0
        while not self._stopping.is_set():
            shop = self._shops[(number + sent) % len(self._shops)]
            users = [f"{number}-{sent}-{one}" for one in range(BODY_LINES)]
            lines = [_line(shop.trackpoint, self._event_days, chance, user) for user in users]
            sent += 1
            body = b"".join(one + b"\n" for one in lines)
            while not self._send(client, shop, body):
                time.sleep(PAUSE_SECONDS)
            with shop.lock:
                shop.acknowledged.update(lines)
            self._count("imports acknowledged")
            self._stopping.wait(self._pause_seconds)

    def _send(self, client: httpx2.Client, shop: Shop, body: bytes) -> bool:
        """Send a body. Return whether it was acknowledged."""
        try:
            response = client.post(shop.path("import"), content=body, headers={"X-Api-Key": shop.key})
        except httpx2.HTTPError:
            self._count("imports without a response")
            return False
        if response.status_code == HTTPStatus.OK:
            return True
        if (
            response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
            and response.status_code != HTTPStatus.TOO_MANY_REQUESTS
        ):
            raise Failed(f"An import got {response.status_code}: {response.text[:500]}")
        self._count(f"imports with {response.status_code}")
        return False

    def _export(self, client: httpx2.Client, number: int) -> None:
        done = number
        while not self._stopping.is_set():
            shop = self._shops[done % len(self._shops)]
            done += 1
            with shop.lock:
                before = shop.acknowledged.copy()
            try:
                response = client.post(shop.path("export"), content=b"{}", headers={"X-Api-Key": shop.key})
            except httpx2.HTTPError:
                self._count("exports truncated, and recognized as such")
            else:
                if response.status_code == HTTPStatus.OK:
                    self._check(shop, before, response.content)
                else:
                    self._count(f"exports with {response.status_code}")
            self._stopping.wait(self._pause_seconds)

    def _check(self, shop: Shop, before: set[bytes], exported: bytes) -> None:
        found = counts(before, exported)
        if found.lost or found.twice:
            self._wrong.append(
                f"A complete export of shop {shop.trackpoint} has {found.lost} acknowledged events too few, and"
                f" {found.twice} twice."
            )
        self._count("exports complete")


def _line(trackpoint: int, days: int, chance: random.Random, user: str) -> bytes:
    """Return the canonical line of an invented event of the last days."""
    date = now_ms() - 60_000 - chance.randrange(days * DAY_MS)
    return (
        f'{{"smsEvent":{{"trackpoint":{trackpoint},"userId":"{user}","status":"DELIVERED","date":{date}}},'
        f'"source":{{"type":"one-off","campaign":{{"id":"cl01","name":"Cluster"}},"sendDate":{date - 1500}}}}}'
    ).encode()
