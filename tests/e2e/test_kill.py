"""After `kill -9`, everything that was acknowledged is there exactly once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.campaigns import few_or_many
from tests.support.importers import Client, assert_acknowledged_are_there
from tests.support.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 6


@pytest.mark.parametrize("kills", few_or_many(2, 100))
@pytest.mark.parametrize("workers", [1, 2])
def test_acknowledged_events_survive_kills(tmp_path: Path, workers: int, kills: int) -> None:
    """After each of several kills at random moments, every acknowledged event is exported exactly once."""
    running = Server(tmp_path, workers=workers)
    shop = running.shop()
    chance = random.Random(workers)  # noqa: S311 -- moments of the kills
    clients = [Client(shop, f"client{index}", now_ms() - 200_000) for index in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.2))
            running.kill()
            running.start()
            assert_acknowledged_are_there(shop, clients)
    finally:
        for client in clients:
            client.stop()
    assert_acknowledged_are_there(shop, clients)
    running.stop()

    assert sum(len(client.acknowledged) for client in clients) > 100
    assert not [failure for client in clients for failure in client.failures]
