"""The commands of docs/drills.md, run as shown, beside a server that stays as it is, for several kinds of stores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from smsevents.storage import open_store
from tests.support.documents import ROOT, Page
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line
from tests.support.postgres import OWNER, create_database, drop_database, programs, url_of
from tests.support.restored import lines_of_users
from tests.support.seaweed import environment, seaweedfs
from tests.support.servers import STILL, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.slow

PAGE = Page(ROOT / "docs" / "drills.md")
ERASED = "user 8"
LATER_EVENTS = 25
DRILL_MAX_SECONDS = 300


@dataclass
class Place:
    """A server, and what the page's examples are there."""

    server: Server
    kinds: tuple[str, str]  # of the database and of the packs, as indexes of the blocks
    examples: Mapping[str, str]
    store: dict[str, str] = field(default_factory=dict)

    def adapted(self, block: str) -> str:
        """Return a block with what is here in place of the examples."""
        for example, here in self.examples.items():
            block = block.replace(example, here)
        return block


@pytest.fixture(
    params=[
        pytest.param("sqlite", marks=pytest.mark.campaign),
        "sqlite and a folder",
        pytest.param("sqlite and a bucket", marks=pytest.mark.campaign),
        "postgres and a bucket",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Yield a running server with each kind of database, with packs or without."""
    database, _, packs = request.param.partition(" and a ")
    examples = {"/var/tmp/smsevents-drill": str(tmp_path / "drill")}  # noqa: S108 -- it is the example of the page
    store: dict[str, str] = {}
    if packs == "bucket":
        bucket = seaweedfs()
        store = {**bucket.environment(), "SMSEVENTS_SEGMENTS": bucket.place()}
        examples["s3://my-bucket/smsevents-drill"] = bucket.place()
    elif packs == "folder":
        (tmp_path / "packs").mkdir()
        store = {"SMSEVENTS_SEGMENTS": f"file://{tmp_path}/packs"}
    url = f"sqlite:///{tmp_path / 'log.db'}"
    backup = "/var/backups/smsevents/2026-11-24"
    examples[f"{backup}.db"] = examples[f"{backup}.dump"] = str(tmp_path / "backup")
    examples["sqlite:////var/lib/smsevents/smsevents.db"] = url
    server_url = name = None
    if database == "postgres":
        server_url = str(request.getfixturevalue("postgres_url"))
        name = create_database(server_url)
        url = url_of(server_url, name)
        host = "@db1.example.com/"
        examples |= {
            f"postgresql://postgres{host}postgres": server_url,
            f"postgresql://smsevents{host}smsevents_drill": url_of(server_url, f"{name}_drill"),
            f"postgresql://smsevents{host}smsevents": url,
            "DATABASE smsevents_drill": f"DATABASE {name}_drill",
            "OWNER smsevents": f"OWNER {OWNER}",
        }
    server = Server(tmp_path, settings=STILL | store, url=url)
    try:
        yield Place(server, (database, packs), examples, store)
    finally:
        server.stop()
        if server_url is not None and name is not None:
            drop_database(server_url, f"{name}_drill")
            drop_database(server_url, name)


def run(place: Place, script: str) -> str:
    """Run a script as the server's user would, with the settings of the server. Return all that it prints."""
    paths = [Path(sys.executable).parent, *([programs()] if place.kinds[0] == "postgres" else [])]
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=place.server.path.parent,
        env=place.store
        | {
            "SMSEVENTS_DATABASE": place.server.url,
            "PATH": ":".join([*map(str, paths), "/usr/bin", "/bin"]),
            "HOME": str(place.server.path.parent),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DRILL_MAX_SECONDS,
        check=False,
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, f"{script}\n{shown}"
    return shown


def script_of(place: Place) -> str:
    """Return the blocks that the page shows for a place, up to the checks."""
    sqlite, postgres, record = PAGE.blocks_under("Prepare", "sh")
    copied, restored = PAGE.blocks_under("Restore the database", "sh")
    folder, bucket = PAGE.blocks_under("Restore the packs", "sh")
    [check] = PAGE.blocks_under("Check", "sh")
    database, packs = place.kinds
    return place.adapted(
        (sqlite if database == "sqlite" else postgres)
        + record
        + (copied if database == "sqlite" else restored)
        + {"folder": folder, "bucket": bucket, "": "unset SMSEVENTS_SEGMENTS\n"}[packs]
        + check
    )


def clean_up(place: Place) -> None:
    """Remove what the drill made, as the page says. A bucket is emptied without a tool for it."""
    remove, drop, empty = PAGE.blocks_under("Clean up", "sh")
    database, packs = place.kinds
    script = place.adapted(f"{PAGE.blocks_under('Prepare', 'sh')[database == 'postgres']}{remove}")
    run(place, script + (place.adapted(drop) if database == "postgres" else ""))
    if packs == "bucket":
        words = place.adapted(empty).split()
        assert words[:4] == ["aws", "s3", "rm", "--recursive"]
        with environment(place.store):
            store = open_store(words[4])
            store.delete([one.key for one in store.objects()])
            assert not list(store.objects())


def shape_of(place: Place, shown: str) -> list[str]:
    """Return the lines that a drill printed, in the words of the page: with the examples, and without numbers."""
    for example, here in place.examples.items():
        shown = shown.replace(here, example)
    shown = shown.replace(str(place.server.path), "/var/lib/smsevents/smsevents.db")
    shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "<time>", shown)
    return [re.sub(r"\d+", "<number>", " ".join(one.split())) for one in shown.splitlines()]


def test_the_documented_drill(place: Place) -> None:
    """A drill finds the backup complete without the erased user, and tells what is lost; production stays as it is."""
    server = place.server
    shop = server.shop()
    old = lines_of_users(shop.trackpoint, now_ms())
    assert shop.send(body_of(old)).status_code == 200
    if place.kinds[1]:
        assert server.command("move", "packs").returncode == 0
    assert server.command("backup", place.adapted("/var/backups/smsevents/2026-11-24.db")).returncode == 0
    assert server.command("forget", str(shop.trackpoint), ERASED).returncode == 0
    later = [line(shop.trackpoint, now_ms() - HOUR_MS + number, "later") for number in range(LATER_EVENTS)]
    assert shop.send(body_of(later)).status_code == 200
    before = shop.export().content
    both = len(before.splitlines()) - LATER_EVENTS

    shown = run(place, script_of(place))

    lines = shown.splitlines()
    assert f"Repeated 1 erasure, which removed {len(old) - both} events." in shown
    assert lines[-2].split()[:4] == [str(shop.trackpoint), str(both), "0", str(LATER_EVENTS)]
    assert lines[-1].startswith(f"{both} events in both, 0 only in ")
    assert re.search(r"^restored in \d+ seconds; the backup is \d+ seconds old$", shown, re.MULTILINE)
    if place.kinds == ("sqlite", "folder"):
        [example] = PAGE.blocks_under("Check", "text")
        assert shape_of(place, "\n".join(lines[1:])) == shape_of(place, example)
    clean_up(place)
    assert not (server.path.parent / "drill").exists()
    assert shop.export().content == before
    assert server.command("verify").returncode == 0


def test_a_drill_finds_what_should_not_be_there(tmp_path: Path) -> None:
    """If the restored database has events that production lacks, or lacks a shop, `compare` says so in numbers."""
    server = Server(tmp_path, settings=STILL)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    try:
        shop, second = server.shop(), server.shop()
        lines = [line(shop.trackpoint, now_ms() - DAY_MS + number, f"user {number}") for number in range(10)]
        assert shop.send(body_of(lines)).status_code == 200
        assert server.command("backup", str(tmp_path / "other.db")).returncode == 0
        assert server.command("forget", str(shop.trackpoint), "user 3", "user 4").returncode == 0
        assert second.send(line(second.trackpoint, now_ms(), "new")).status_code == 200

        found = server.command("compare", server.url, "--database", other, "--json")
        assert (found.returncode, found.stdout.count(b"\n")) == (1, 2)
        assert b'"both":8,"only_here":2,"only_there":0,' in found.stdout
        assert b'"both":0,"only_here":0,"only_there":1,' in found.stdout
        back = server.command("compare", other)
        assert back.returncode == 1
        assert b"8 events in both, 1 only in" in back.stderr
        assert server.command("compare", server.url).returncode == 0
        refused = server.command("compare", os.fspath(tmp_path))
        assert refused.returncode == 2
    finally:
        server.stop()
