"""A failover of PostgreSQL while imports run: what was acknowledged is there, each event once, without a restart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, line, model
from tests.support.postgres import (
    OWNER,
    administered,
    create_database,
    kill,
    pair,
    url_of,
)
from tests.support.servers import STILL, Server, add_shop, eventually

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 4541245641234564
IMPORTERS = 4
BEFORE_LINES = 40
AFTER_LINES = 20


@pytest.mark.campaign
def test_a_failover_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """The primary is killed and the standby promoted, while clients import and repeat what was not acknowledged."""
    now = now_ms()
    with pair() as (primary, standby):
        name = create_database(primary)
        hosts = ",".join(f"127.0.0.1:{urlsplit(one).port}" for one in (primary, standby))
        server = Server(tmp_path, workers=2, url=f"postgresql://{OWNER}@{hosts}/{name}?connect_timeout=2")
        try:
            shop = add_shop(url_of(primary, name), TRACKPOINT, ("export", "import"), server.base)
            acknowledged: list[bytes] = []
            refusals: list[int] = []
            failed_over = threading.Event()

            def import_some(importer: int) -> None:
                after = 0
                number = 0
                while after < AFTER_LINES:
                    one = line(TRACKPOINT, now - DAY_MS + number, f"{importer}-{number}")
                    try:
                        status = shop.send(one + b"\n").status_code
                    except httpx.TransportError:
                        status = 0
                    if status == 200:
                        acknowledged.append(one)
                        after += failed_over.is_set()
                        number += 1
                    else:
                        refusals.append(status)

            importers = [threading.Thread(target=import_some, args=(one,)) for one in range(IMPORTERS)]
            for one in importers:
                one.start()
            assert eventually(lambda: len(acknowledged) >= BEFORE_LINES)
            kill(primary)
            with administered(standby) as connection:
                connection.execute("SELECT pg_promote()")
            failed_over.set()
            for one in importers:
                one.join(60)
                assert not one.is_alive()
            assert set(refusals) <= {503}
            exported = shop.export({"from": now - 80 * DAY_MS, "to": now}).content
            assert exported == model(acknowledged, 0, now)
            assert len(acknowledged) == len(set(acknowledged))
            ready = httpx.get(f"{server.base}/health/ready", timeout=30)
            assert ready.status_code == 200
            assert "synchronous standby" in ready.text  # the new primary has none
        finally:
            server.stop()


@pytest.mark.campaign
def test_imports_wait_for_a_synchronous_standby(tmp_path: Path) -> None:
    """Without the standby, nothing is acknowledged, and exports go on. What waited is stored once it is not awaited."""
    now = now_ms()
    with pair() as (primary, standby):
        name = create_database(primary)
        server = Server(tmp_path, settings=STILL, url=url_of(primary, name))
        try:
            shop = add_shop(url_of(primary, name), TRACKPOINT, ("export", "import"), server.base)
            before, during = (line(TRACKPOINT, now - DAY_MS + number) for number in range(2))
            assert shop.send(before + b"\n").status_code == 200
            kill(standby)
            with ThreadPoolExecutor(1) as threads, administered(primary) as connection:
                sending = threads.submit(shop.send, during + b"\n")
                waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = %s"
                assert eventually(lambda: connection.execute(waits, [name]).fetchone() is not None)
                assert shop.export().content == before + b"\n"
                assert not sending.done()
                ready = httpx.get(f"{server.base}/health/ready", timeout=60)
                assert ready.status_code == 200
                assert "synchronous standby" in ready.text
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                connection.execute("SELECT pg_reload_conf()")
                assert sending.result().status_code in {200, 503}  # 503: it took longer than a commit is awaited
            assert eventually(lambda: shop.export().content == model([before, during], 0, now))
        finally:
            server.stop()
