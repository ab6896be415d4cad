"""A backup is put back in the place of its database: who was erased since is never exported again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from smsevents.storage import open_store
from tests.support.databases import damage_newest_segment
from tests.support.lines import body_of, line, model
from tests.support.postgres import OWNER, administered, create_database, drop_database, url_of
from tests.support.restored import lines_of_users
from tests.support.seaweed import environment, seaweedfs
from tests.support.servers import PLAIN, STILL, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Shop

ERASED, BLOCKED = "user 8", "user 9"

pytestmark = pytest.mark.slow


class Place:
    """A database with its packs, which a backup can take the place of."""

    def __init__(
        self, folder: Path, url: str | None, settings: dict[str, str], put_back: Callable[[Path], None]
    ) -> None:
        """Start a server of it without upkeep."""
        self.folder = folder
        self.put_back = put_back
        self.has_packs = bool(settings)
        self.server = Server(folder, settings=STILL | settings, url=url)


@pytest.fixture(params=["sqlite", "sqlite and a folder", "postgres and a bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Yield each kind of database, with packs or without."""
    name: str | None = None
    url: str | None = None
    settings: dict[str, str] = {}
    path = tmp_path / "log.db"

    def put_back(backup: Path) -> None:
        """Follow docs/operating.md, or docs/scale.md."""
        if name is None:
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            shutil.copy(backup, path)
            return
        drop_database(server_url, name)
        with administered(server_url) as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        command = ["pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(backup)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    if request.param.startswith("postgres"):
        server_url = request.getfixturevalue("postgres_url")
        bucket = seaweedfs()
        settings = {**bucket.environment(), "SMSEVENTS_SEGMENTS": bucket.place()}
        name = create_database(server_url)
        url = url_of(server_url, name)
    elif "folder" in request.param:
        (tmp_path / "packs").mkdir()
        settings = {"SMSEVENTS_SEGMENTS": f"file://{tmp_path}/packs"}
    made = Place(tmp_path, url, settings, put_back)
    try:
        yield made
    finally:
        if made.server.process.poll() is None:
            made.server.stop()
        if name is not None:
            drop_database(server_url, name)


class Watching:
    """Exports again and again, from before the server starts, and remembers whether an erased user was in one."""

    def __init__(self, shop: Shop) -> None:
        """Begin."""
        self.complete = 0
        self.seen: set[str] = set()
        self._shop = shop
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                got = httpx.post(self._shop.export_url, json={}, headers=self._shop.headers, timeout=60, verify=PLAIN)
            except httpx.TransportError:
                time.sleep(0.005)
                continue
            self.complete += got.status_code == 200
            self.seen |= {user for user in (ERASED, BLOCKED) if f'"{user}"' in got.text}

    def end(self) -> None:
        """Stop exporting."""
        self._ended.set()
        self._thread.join(60)


def without(lines: list[bytes], *users: str) -> list[bytes]:
    """Return the events of all other users."""
    return [one for one in lines if json.loads(one)["smsEvent"]["userId"] not in users]


def test_an_erased_user_is_never_exported_after_a_restore(place: Place) -> None:
    """Neither a client that exports from the first moment of the start, nor a command beside it, gets the user."""
    server, now = place.server, now_ms()
    shop = server.shop(("export", "import", "admin"))
    lines = lines_of_users(shop.trackpoint, now)
    assert shop.send(body_of(lines)).status_code == 200
    if place.has_packs:
        assert server.command("move", "packs").returncode == 0
        assert json.loads(server.command("stats", "--json").stdout)["packs"] > 0
    backup = place.folder / "backup"
    done = server.command("backup", str(backup))
    assert done.returncode == 0, done.stderr.decode()
    for user, block in ((ERASED, ""), (BLOCKED, "?block=true")):
        told = httpx.delete(
            f"{server.base}/shop/{shop.trackpoint}/users/{user}{block}", headers=shop.headers, timeout=60, verify=PLAIN
        )
        assert told.status_code == 200, told.text
        assert told.json()["events"] > 0
    server.stop()
    place.put_back(backup)
    if place.has_packs:
        done = server.command("adopt", "--incomplete")  # those of the backup come now; `adopt --from` repeats by itself
        assert done.returncode == 0, done.stderr.decode()
        copy_packs(place, backup)
    doctor = server.command("doctor", "--json")
    assert "older than 2 erasures" in doctor.stdout.decode()

    watching = Watching(shop)
    commands: list[subprocess.CompletedProcess[bytes]] = []
    beside = threading.Thread(target=lambda: commands.append(server.command("export", str(shop.trackpoint))))
    beside.start()
    try:
        server.start()
        beside.join(60)
        assert eventually(lambda: watching.complete > 1)
    finally:
        watching.end()
    rest = model(without(lines, ERASED, BLOCKED), 0, now)
    assert not watching.seen
    assert [one.stdout for one in commands] == [rest], [one.stderr for one in commands]
    assert shop.export().content == rest
    assert "Repeated 2 erasures" in server.log_path.read_text() + commands[0].stderr.decode()
    theirs = [one for one in lines if json.loads(one)["smsEvent"]["userId"] == BLOCKED]
    assert shop.send(body_of(theirs)).json()["blocked"] == len(theirs)
    assert shop.export().content == rest
    assert server.command("verify").returncode == 0
    assert "knows all that were recorded" in server.command("doctor").stdout.decode()


def copy_packs(place: Place, backup: Path) -> None:
    """Bring the packs of the backup that were deleted since, without any command of smsevents."""
    packs = backup.with_name(backup.name + ".packs")
    with environment(place.server.environment):
        store = open_store(place.server.environment["SMSEVENTS_SEGMENTS"])
        for path in packs.rglob("*.pack"):
            store.put(str(path.relative_to(packs)), [path.read_bytes()])


def test_adopting_the_packs_of_a_backup_repeats_erasures(tmp_path: Path) -> None:
    """After `adopt --from`, which follows a restore, nothing is left to be repeated."""
    (tmp_path / "packs").mkdir()
    settings = STILL | {"SMSEVENTS_SEGMENTS": f"file://{tmp_path}/packs"}
    server = Server(tmp_path, settings=settings)
    try:
        shop = server.shop()
        lines = lines_of_users(shop.trackpoint, now_ms())
        assert shop.send(body_of(lines)).status_code == 200
        for words in (["move", "packs"], ["backup", str(tmp_path / "b.db")], ["forget", str(shop.trackpoint), ERASED]):
            assert server.command(*words).returncode == 0
        server.stop()
        for ending in ("-wal", "-shm"):
            server.path.with_name(server.path.name + ending).unlink(missing_ok=True)
        shutil.copy(tmp_path / "b.db", server.path)
        done = server.command("adopt", "--from", str(tmp_path / "b.db.packs"))
        assert done.returncode == 0, done.stderr.decode()
        assert b"Repeated 1 erasure," in done.stderr
        assert os.listdir(tmp_path / "erasures-log.db") == ["erasures"]  # noqa: PTH208 -- names
        assert server.command("export", str(shop.trackpoint)).stdout == model(without(lines, ERASED), 0, now_ms())
    finally:
        if server.process.poll() is None:
            server.stop()


def test_a_damaged_restore_shows_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    """If erasures cannot be repeated, `serve` and `export` refuse, and `import` goes on; then they are repeated."""
    server = Server(tmp_path, settings=STILL)
    try:
        shop = server.shop()
        lines = [line(shop.trackpoint, now_ms() - number, ERASED) for number in range(1, 50)]
        assert shop.send(body_of(lines)).status_code == 200
        for words in (["backup", str(tmp_path / "b.db")], ["forget", str(shop.trackpoint), ERASED]):
            assert server.command(*words).returncode == 0
        server.stop()
        for ending in ("-wal", "-shm"):
            server.path.with_name(server.path.name + ending).unlink(missing_ok=True)
        shutil.copy(tmp_path / "b.db", server.path)
        damage_newest_segment(server.path, shop.trackpoint)
        for words in (["serve", "--port", str(server.port)], ["export", str(shop.trackpoint)]):
            done = server.command(*words)
            assert (done.returncode, done.stdout) == (1, b"")
            assert b"cannot be erased again" in done.stderr
            assert b"verify --quarantine" in done.stderr
        late = line(shop.trackpoint, now_ms(), "late")
        done = server.command("import", str(shop.trackpoint), "-", stdin=late + b"\n")
        assert done.returncode == 0, done.stderr.decode()
        assert server.command("verify", "--quarantine").returncode == 1
        assert server.command("export", str(shop.trackpoint)).stdout == late + b"\n"
    finally:
        if server.process.poll() is None:
            server.stop()
