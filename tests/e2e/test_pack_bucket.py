"""Packs in a bucket, as an operator meets them: the commands, a store that is away, and what is refused."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.clock.system import now_ms
from smsevents.storage import open_store
from tests.support.faulty import FaultyProxy
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.logs import keys_in, log_at, store
from tests.support.seaweed import READER, SeaweedFS, environment, seaweedfs
from tests.support.servers import Server, add_shop, eventually, free_port, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faulty import Fault

TRACKPOINT = 4541245641234564
EVENTS = 9_000  # of about 170 bytes after compression: more than a pack needs


class Place:
    """A database with events that are to be packed, and an empty place in a bucket."""

    def __init__(self, folder: Path, server: SeaweedFS, endpoint: str) -> None:
        """Create the shop, and fill it."""
        self.database = folder / "log.db"
        self.url = server.place()
        self.variables = dict(server.environment(endpoint=endpoint))
        self.settings = {**self.variables, "SMSEVENTS_SEGMENTS": self.url}
        self.now = now_ms()
        chance = random.Random(5)  # noqa: S311 -- invented data
        self.lines = [
            line(
                TRACKPOINT,
                self.now - 3 * DAY_MS - chance.randrange(5 * DAY_MS),
                campaign=f"{chance.getrandbits(1200):x}",
            )
            for _ in range(EVENTS)
        ]
        self._fill(folder)

    def _fill(self, folder: Path) -> None:
        self.name(folder / "log.db")
        database = open_catalog(f"sqlite:///{self.database}")
        Access(database).add_shop(TRACKPOINT, "")
        store(log_at(database, now_ms), TRACKPOINT, self.lines)
        database.close()

    def name(self, database: Path) -> None:
        """Use another database from now on."""
        self.database = database
        self.environment = os.environ | self.settings | {"SMSEVENTS_DATABASE": f"sqlite:///{database}"}

    def run(self, *words: str, **settings: str) -> tuple[int, str, bytes]:
        """Run a command; return its exit code, what it wrote on standard error, and its output."""
        done = run_command(*words, environment=self.environment | settings)
        return done.returncode, done.stderr.decode(), done.stdout

    def ok(self, *words: str, **settings: str) -> str:
        """Run a command that must succeed; return what it wrote on standard error."""
        code, told, _ = self.run(*words, **settings)
        assert code == 0, told
        return told

    def refused(self, *words: str, **settings: str) -> str:
        """Run a command that must fail with one line; return the line."""
        code, told, _ = self.run(*words, **settings)
        assert code == 1, told
        assert "Traceback" not in told
        assert "-secret" not in told
        return told

    def keys(self) -> set[str]:
        """Return the keys of the packs in the bucket."""
        with environment(self.variables):
            return keys_in(open_store(self.settings["SMSEVENTS_SEGMENTS"]))

    def check(self) -> None:
        """Export everything, and verify it."""
        code, told, exported = self.run("export", str(TRACKPOINT))
        assert code == 0, told
        assert exported == model(self.lines, 0, self.now + DAY_MS)
        assert " 0 damaged" in self.ok("verify")


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    """Put a proxy in front of the server."""
    with FaultyProxy(seaweedfs().endpoint) as proxy:
        yield proxy


@pytest.fixture
def place(tmp_path: Path, proxy: FaultyProxy) -> Place:
    """Return a filled database and an empty place."""
    return Place(tmp_path, seaweedfs(), proxy.endpoint)


def test_the_log_moves_into_a_bucket_and_back(place: Place, tmp_path: Path) -> None:
    """Commands do with a bucket what they do with a folder, and a backup is complete without the bucket."""
    assert "1 pack (" in place.ok("move", "packs")
    assert len(place.keys()) == 1
    code, _, printed = place.run("doctor", "--json")
    checks = {one["name"]: one for one in json.loads(printed)["checks"]}
    assert checks["packs"] == {"name": "packs", "state": "ok", "detail": f"{place.url} has 1 pack"}
    assert code == 0
    assert b"-secret" not in printed

    target = tmp_path / "backup.db"
    assert "backup.db.packs" in place.ok("backup", str(target))
    assert "moved 1 pack into" in place.ok("move", "database")
    assert place.keys() == set()

    place.settings["SMSEVENTS_SEGMENTS"] = seaweedfs().place()
    place.name(target)
    assert "packs of the database are not in" in place.refused("adopt")
    told = place.ok("adopt", "--from", f"{target}.packs")
    assert "names 1 pack. All of them are there" in told
    assert len(place.keys()) == 1
    place.check()
    assert json.loads(place.run("forget", str(TRACKPOINT), "123456")[2])["wiped"] is True
    assert place.keys() == set()


def test_a_server_works_while_the_bucket_is_away(place: Place, proxy: FaultyProxy, tmp_path: Path) -> None:
    """Without the store, exports are refused or truncated, and never short; imports go on; nothing is restarted."""
    server = Server(tmp_path, settings=place.settings)
    try:
        assert eventually(lambda: server.metric("smsevents_packs") == 1)
        shop = add_shop(server.url, TRACKPOINT + 1, base=server.base)
        headers = {"X-Api-Key": place.run("key", "create", str(TRACKPOINT), "--scope", "export")[2].decode().strip()}
        url = f"{server.base}/shop/{TRACKPOINT}/export-sms-events"
        expected = model(place.lines, 0, place.now + DAY_MS)
        assert httpx.post(url, json={}, headers=headers, timeout=60).content == expected

        away: list[Fault] = ["503", "reset"]
        for fault in away:
            proxy.on("GET", fault)
            refused = httpx.post(url, json={}, headers=headers, timeout=60)
            assert refused.status_code == 503
            assert "s3:" not in refused.text
            assert server.process.poll() is None
            assert shop.send(body_of([line(TRACKPOINT + 1, place.now - 1000, fault)])).status_code == 200
            assert httpx.get(f"{server.base}/health/ready", timeout=30).status_code == 200
        spoilt: list[Fault] = ["truncated", "flipped"]
        for fault in spoilt:
            proxy.on("GET", fault)
            with httpx.stream("POST", url, json={}, headers=headers) as response:
                assert response.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError):
                    response.read()
        proxy.well()
        assert httpx.post(url, json={}, headers=headers, timeout=60).content == expected
        assert len(shop.export().content.splitlines()) == 2
        assert "owner-secret" not in server.log_path.read_text()
    finally:
        server.stop()


def test_a_server_does_not_start_with_a_bucket_that_cannot_be_used(place: Place) -> None:
    """What is wrong with the bucket, or with the right to it, is one line, and the database stays as it is."""
    server = seaweedfs()
    versioned = f"s3://{server.bucket(versioned=True)}/packs"
    for told, settings in {
        "keeps old versions": {"SMSEVENTS_SEGMENTS": versioned},
        "there is no bucket": {"SMSEVENTS_SEGMENTS": "s3://there-is-no-such-bucket/packs"},
        "s3:PutObject": dict(server.environment(READER)),
        "the credentials in AWS_ACCESS_KEY_ID": {"SMSEVENTS_SEGMENTS": "s3://key:hidden-secret@bucket/packs"},
    }.items():
        assert told in place.refused("serve", "--port", str(free_port()), **settings)
    assert place.keys() == set()
    place.check()
