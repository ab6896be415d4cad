"""A folder of packs, as an operator meets it: the setting, the commands, and what refuses to start."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import DAY_MS, line, model
from tests.support.logs import log_at, store
from tests.support.servers import Server, eventually, free_port, run_command

if TYPE_CHECKING:
    from pathlib import Path

TRACKPOINT = 4541245641234564
EVENTS = 9_000  # of about 170 bytes after compression: more than a pack needs


def events(now: int) -> list[bytes]:
    """Return invented events of five days that hardly compress, the newest three days old."""
    chance = random.Random(5)  # noqa: S311 -- invented data
    return [
        line(TRACKPOINT, now - 3 * DAY_MS - chance.randrange(5 * DAY_MS), campaign=f"{chance.getrandbits(1200):x}")
        for _ in range(EVENTS)
    ]


class Place:
    """A database and a folder for packs."""

    def __init__(self, folder: Path) -> None:
        """Create the shop, and fill it."""
        self.database = folder / "log.db"
        self.packs = folder / "packs"
        self.packs.mkdir()
        self.environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{self.database}"}
        self.now = now_ms()
        self.lines = events(self.now)
        database = open_catalog(f"sqlite:///{self.database}")
        Access(database).add_shop(TRACKPOINT, "")
        store(log_at(database, now_ms), TRACKPOINT, self.lines)
        database.close()

    def run(self, *words: str, stdin: bytes | None = None, segments: Path | None = None) -> tuple[int, str, bytes]:
        """Run a command; return its exit code, what it wrote on standard error, and its output."""
        environment = self.environment | ({"SMSEVENTS_SEGMENTS": segments.as_uri()} if segments else {})
        done = run_command(*words, environment=environment, stdin=stdin)
        return done.returncode, done.stderr.decode(), done.stdout

    def ok(self, *words: str, stdin: bytes | None = None, segments: Path | None = None) -> str:
        """Run a command that must succeed; return what it wrote on standard error."""
        code, told, _ = self.run(*words, stdin=stdin, segments=segments)
        assert code == 0, told
        return told

    def refused(self, *words: str, segments: Path | None = None) -> str:
        """Run a command that must fail with one line; return the line."""
        code, told, _ = self.run(*words, segments=segments)
        assert code == 1
        assert "Traceback" not in told
        return told

    def files(self, folder: Path | None = None) -> set[str]:
        """Return the names of the packs in the folder."""
        return {path.name for path in (folder or self.packs).rglob("*.pack")}

    def check(self) -> None:
        """Export everything, and verify it."""
        code, told, exported = self.run("export", str(TRACKPOINT))
        assert code == 0, told
        assert exported == model(self.lines, 0, self.now + DAY_MS)
        assert " 0 damaged" in self.ok("verify")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a filled database and an empty folder."""
    return Place(tmp_path)


def test_the_log_moves_into_the_folder_and_back(place: Place) -> None:
    """`move packs` and `move database` say what they did, and every export before, between and after is the same."""
    place.check()
    assert "1 pack (" in place.ok("move", "packs", segments=place.packs)
    assert len(place.files()) == 1
    assert next(place.packs.rglob("*.pack")).stat().st_mode & 0o777 == 0o600
    place.check()
    assert "moved 1 pack into" in place.ok("move", "database", segments=place.packs)
    assert not place.files()
    shutil.rmtree(place.packs)
    place.check()
    place.packs.mkdir()
    told = place.ok("compact", segments=place.packs)
    assert "moved into the database" in told
    assert not place.files()


def test_a_server_packs_what_has_settled(place: Place, tmp_path: Path) -> None:
    """With the setting, the upkeep worker packs past days by itself, and the metrics say so."""
    server = Server(tmp_path, settings={"SMSEVENTS_SEGMENTS": place.packs.as_uri()})
    try:
        assert eventually(lambda: server.metric("smsevents_packs") == 1)
        assert server.metric("smsevents_packs_bytes") == sum(p.stat().st_size for p in place.packs.rglob("*.pack"))
        assert eventually(lambda: server.metric("smsevents_packs_to_delete") == 0)
        place.check()
    finally:
        server.stop()


def test_commands_find_the_packs_without_the_setting(place: Place) -> None:
    """The database knows where its packs are; a command that would make packs says that it does not."""
    place.ok("move", "packs", segments=place.packs)
    place.check()
    assert "SMSEVENTS_SEGMENTS is not set" in place.ok("compact")
    place.ok("forget", str(TRACKPOINT), "123456")
    assert place.run("export", str(TRACKPOINT))[2] == b""


def test_a_backup_has_the_packs_and_can_be_restored(place: Place, tmp_path: Path) -> None:
    """A backup is the database and its packs; restored elsewhere and adopted, it exports the same."""
    place.ok("move", "packs", segments=place.packs)
    target = tmp_path / "backup.db"
    told = place.ok("backup", str(target))
    copies = tmp_path / "backup.db.packs"
    assert str(copies) in told
    assert place.files(copies) == place.files()
    assert copies.stat().st_mode & 0o777 == 0o700

    shutil.rmtree(place.packs)
    place.database.unlink()
    place.database = tmp_path / "restored" / "log.db"
    place.packs = tmp_path / "restored" / "packs"
    place.packs.mkdir(parents=True)
    place.environment["SMSEVENTS_DATABASE"] = f"sqlite:///{place.database}"
    shutil.copy(target, place.database)
    assert "packs of the database are not in" in place.refused("adopt", segments=place.packs)
    shutil.copytree(copies, place.packs, dirs_exist_ok=True)
    assert "names 1 pack. All of them are there" in place.ok("adopt", segments=place.packs)
    place.check()


def test_a_backup_without_a_pack_fails(place: Place, tmp_path: Path) -> None:
    """A backup that would miss a pack is not made, and leaves nothing."""
    place.ok("move", "packs", segments=place.packs)
    next(place.packs.rglob("*.pack")).unlink()
    before = {path.name for path in tmp_path.iterdir()}
    assert "is missing" in place.refused("backup", str(tmp_path / "backup.db"))
    assert {path.name for path in tmp_path.iterdir()} - before <= {"log.db-wal", "log.db-shm"}


def test_a_copy_of_the_database_cannot_use_the_packs_of_the_first(place: Place, tmp_path: Path) -> None:
    """Two databases would delete each other's packs, so the copy is refused and says what to do."""
    place.ok("move", "packs", segments=place.packs)
    shutil.copy(place.database, tmp_path / "copy.db")
    place.environment["SMSEVENTS_DATABASE"] = f"sqlite:///{tmp_path / 'copy.db'}"
    for words in (["export", str(TRACKPOINT)], ["compact"]):
        told = place.refused(*words, segments=place.packs)
        assert f"belongs to the database {place.database}" in told
        assert "smsevents adopt" in told


def test_a_copy_under_the_same_name_deletes_nothing_until_it_adopts(place: Place, tmp_path: Path) -> None:
    """A copy that took the place of its original stops deleting and says why; `doctor` too; `adopt` ends that."""
    place.ok("move", "packs", segments=place.packs)
    copy, files = tmp_path / "copy.db", place.files()
    query(place.database, "UPDATE generations SET written_ms = 0")  # so that the next collection renews it
    shutil.copy(place.database, copy)
    place.ok("compact", segments=place.packs)
    for one in tmp_path.glob("log.db*"):
        one.unlink()
    copy.rename(place.database)
    told = place.refused("compact", segments=place.packs)
    assert "another copy of the database" in told
    assert "run `smsevents adopt`" in told
    code, _, examined = place.run("doctor", segments=place.packs)
    assert code == 1
    assert "another copy of the database" in examined.decode()
    assert place.files() == files
    place.check()
    place.ok("adopt", segments=place.packs)
    place.ok("compact", segments=place.packs)
    place.check()


def test_a_folder_that_moved_is_found_by_the_setting(place: Place, tmp_path: Path) -> None:
    """After the folder was moved, the next command with its new place records it."""
    place.ok("move", "packs", segments=place.packs)
    moved = tmp_path / "moved"
    place.packs.rename(moved)
    assert "cannot be used" in place.refused("export", str(TRACKPOINT))
    place.ok("compact", segments=moved)
    place.check()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("missing", "cannot be used: No such file or directory"),
        ("a file", "is not a folder"),
        ("other files", "holds other files"),
        ("another database", "belongs to the database"),
        ("not mounted", "smsevents-store.json is missing"),
    ],
)
def test_a_server_refuses_a_folder_that_is_not_the_one(place: Place, tmp_path: Path, wrong: str, told: str) -> None:
    """The server says what is wrong with the folder, and does not start."""
    folder = tmp_path / "other"
    if wrong == "a file":
        folder.write_text("")
    elif wrong != "missing":
        folder.mkdir()
    if wrong == "other files":
        (folder / "letter.txt").write_text("")
    elif wrong == "another database":
        (folder / "smsevents-store.json").write_text('{"identity": "1", "database": "/srv/other.db"}')
    elif wrong == "not mounted":
        place.ok("move", "packs", segments=place.packs)
        shutil.rmtree(place.packs)
        place.packs.mkdir()
        folder = place.packs
    refusal = place.refused("serve", "--port", str(free_port()), segments=folder)
    assert told in refusal
    assert str(folder) in refusal
    if folder.is_dir():
        assert not place.files(folder)


@pytest.mark.parametrize("url", ["/srv/packs", "file:packs", "file://host/packs", "s4://bucket", "file:///"])
def test_a_setting_that_names_no_folder_is_refused(place: Place, url: str) -> None:
    """The message quotes the value and shows how a right one looks."""
    done = run_command("compact", environment=place.environment | {"SMSEVENTS_SEGMENTS": url})
    assert done.returncode == 1
    assert url in done.stderr.decode()
    assert "file:///srv/smsevents/packs" in done.stderr.decode()


def test_a_missing_pack_truncates_or_refuses_the_export(place: Place, tmp_path: Path) -> None:
    """An export that needs a missing pack is a 500 before its first byte; `doctor` and `verify` name the pack."""
    place.ok("move", "packs", segments=place.packs)
    key = next(place.packs.rglob("*.pack"))
    kept = key.read_bytes()
    key.unlink()
    server = Server(tmp_path, settings={"SMSEVENTS_UPKEEP": "off"})
    try:
        made = run_command("key", "create", str(TRACKPOINT), "--scope", "export", environment=place.environment)
        assert made.returncode == 0
        got = httpx.post(
            f"{server.base}/shop/{TRACKPOINT}/export-sms-events",
            json={},
            headers={"X-Api-Key": made.stdout.decode().strip()},
            timeout=60,
        )
        assert got.status_code == 500
        assert key.name in server.log_path.read_text()
        key.write_bytes(kept)
        got = httpx.post(
            f"{server.base}/shop/{TRACKPOINT}/export-sms-events",
            json={},
            headers={"X-Api-Key": made.stdout.decode().strip()},
            timeout=60,
        )
        assert got.content == model(place.lines, 0, place.now + DAY_MS)
    finally:
        server.stop()
    key.unlink()
    assert key.name in place.run("verify")[2].decode()
    assert key.name in place.run("doctor")[2].decode()
    place.run("verify", "--quarantine")
    assert " 0 damaged" in place.ok("verify")


def test_doctor_says_where_the_packs_are(place: Place) -> None:
    """`doctor` checks the folder: fine, not set, missing."""
    assert "packs" not in place.run("doctor")[2].decode().replace("SMSEVENTS_SEGMENTS", "")
    place.ok("move", "packs", segments=place.packs)
    assert f"{place.packs.as_uri()} has 1 pack" in place.run("doctor", segments=place.packs)[2].decode()
    assert "is not set, so no new ones are made" in place.run("doctor")[2].decode()
    place.packs.rename(place.packs.with_name("away"))
    code, _, told = place.run("doctor", segments=place.packs)
    assert code == 1
    assert "cannot be used" in told.decode()
