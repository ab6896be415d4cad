"""Clients that import until they are stopped, beside whatever a test does to the server."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx

from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from tests.support.servers import Shop

PAUSE_SECONDS = 0.02  # after a batch: events span 100 seconds; exporting such overlap is expensive


class Client(threading.Thread):
    """Imports batch after batch until it is stopped, and remembers which lines were acknowledged."""

    def __init__(self, shop: Shop, name: str, start: int) -> None:
        """Choose lines that no other client sends."""
        super().__init__(name=name)
        self._shop = shop
        self._chance = random.Random(name)  # noqa: S311 -- invented data
        self._start = start
        self._stopping = threading.Event()
        self.sent: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """Import until stopped; a missing response is not an acknowledgement."""
        number = 0
        while not self._stopping.is_set():
            count = self._chance.choice([1, 1, 3, 50])
            dates = [self._start + self._chance.randrange(100_000) for _ in range(count)]
            batch = [
                line(self._shop.trackpoint, date, user=f"{self.name}-{number + index}")
                for index, date in enumerate(dates)
            ]
            number += count
            self.sent += batch
            try:
                got = self._shop.send(body_of(batch))
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if got.status_code == 200:
                self.acknowledged += batch
            else:
                self.failures.append(got.text)
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """Stop after the current batch."""
        self._stopping.set()
        self.join()


def assert_acknowledged_are_there(shop: Shop, clients: list[Client]) -> None:
    """Assert that an export holds every line that was acknowledged to a client."""
    acknowledged = [one for client in clients for one in list(client.acknowledged)]
    exported = Counter(shop.export().content.splitlines())
    sent = {one for client in clients for one in list(client.sent)}

    assert not [one for one in acknowledged if exported[one] != 1]
    assert max(exported.values(), default=1) == 1
    assert set(exported) <= sent
