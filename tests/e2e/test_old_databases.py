"""A database created by commit 65faa02 opens, exports the same bytes as then, and can be maintained.

`tests/data/old_database/make` shows what the file holds and how it was made. The tests use only commands and HTTP, so
they do not depend on the names of modules.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.databases import query
from tests.support.faketime import WrongClock
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, date_of, line, model
from tests.support.servers import STILL, Server, Shop, eventually, run_command

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "data" / "old_database"
RECORDED: dict[str, Any] = json.loads((FOLDER / "recorded.json").read_text("utf-8"))
NOW_MS: int = RECORDED["now_ms"]
KEYS: dict[str, str] = RECORDED["keys"]
EXPORTS: list[dict[str, Any]] = RECORDED["exports"]
LARGE, SMALL, DAMAGED = 4541245641234564, 7, 2**63 - 1
EVERYTHING: list[str] = EXPORTS[1]["arguments"]  # the history and everything that lies in the future
BLOCKED: list[str] = RECORDED["blocked"]
TABLES = {"shops", "keys", "leases", "chores", "trusted_time", "milestones", "blocked_users", "quarantine", "segments"}


def recorded_lines(trackpoint: int) -> list[bytes]:
    """Return the lines of a shop's longest export as they were recorded."""
    return gzip.decompress((FOLDER / f"lines-{trackpoint}.gz").read_bytes()).splitlines()


def user_of(one: bytes) -> str:
    """Return the user of a line."""
    user: str = json.loads(one)["smsEvent"]["userId"]
    return user


def since(start_ms: int, lines: list[bytes]) -> list[bytes]:
    """Return the lines whose dates are not before a time (Unix ms)."""
    return [one for one in lines if date_of(one) >= start_ms]


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class Old:
    """A copy of the database, with a clock that stands still at the moment of the recording."""

    def __init__(self, folder: Path) -> None:
        """Put the copy where a `Server` expects its database."""
        self.folder = folder
        self.path = folder / "log.db"
        self.path.write_bytes(gzip.decompress((FOLDER / "database.db.gz").read_bytes()))
        self.clock = WrongClock(folder, RECORDED["now"])
        self.settings = self.clock.environment | {"TZ": "UTC"}
        self.environment = os.environ | self.settings | {"SMSEVENTS_DATABASE": f"sqlite:///{self.path}"}

    def run(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a command."""
        return run_command(*words, environment=self.environment, stdin=stdin)

    def succeed(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a command that must exit with 0."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """Run a command that prints JSON lines and parse them."""
        return [json.loads(row) for row in self.succeed(*words, "--json").stdout.splitlines()]

    def export(self, *arguments: str) -> list[bytes]:
        """Return the lines of an export, by default of everything that the large shop can export."""
        return self.succeed("export", *(arguments or EVERYTHING)).stdout.splitlines()

    def passes(self, length_ms: int) -> None:
        """Set the clock to this many milliseconds after the recording, and let it run."""
        self.clock.set(f"{(NOW_MS + length_ms) / 1000 - time.time():+.0f}")

    @contextmanager
    def served(self, settings: dict[str, str]) -> Iterator[Server]:
        """Run a server on the database for as long as the block runs."""
        server = Server(self.folder, settings=self.settings | settings)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def old(tmp_path: Path) -> Old:
    """Return a copy of the database."""
    return Old(tmp_path)


def test_the_file_holds_everything(old: Old) -> None:
    """Each table that the commit had is in the file and holds rows."""
    found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('sqlite_sequence', 'alembic_version')"
    tables = {name for (name,) in query(old.path, found)}
    counts = {name: query(old.path, f"SELECT count(*) FROM {name}")[0][0] for name in tables}  # noqa: S608 -- names of the file

    assert tables == TABLES
    assert [name for name, rows in counts.items() if not rows] == []


@pytest.mark.parametrize("recorded", EXPORTS, ids=lambda one: " ".join(one["arguments"]))
def test_it_exports_the_same_bytes(old: Old, recorded: dict[str, Any]) -> None:
    """An export has the bytes that the commit exported; with `--gzip` it inflates to them."""
    plain = old.succeed("export", *recorded["arguments"]).stdout
    packed = old.succeed("export", *recorded["arguments"], "--gzip").stdout

    assert (plain.count(b"\n"), digest(plain)) == (recorded["events"], recorded["sha256"])
    assert gzip.decompress(packed) == plain


def test_it_exports_the_recorded_lines(old: Old) -> None:
    """The two exports that were recorded in full have the recorded lines."""
    assert old.export() == recorded_lines(LARGE)
    assert old.export(str(SMALL)) == recorded_lines(SMALL)


def test_shops_keys_and_statistics(old: Old) -> None:
    """Commands list the shops, their keys with the last uses, and the log statistics as they did then."""
    assert old.rows("shop", "list") == RECORDED["shops"]
    assert old.rows("stats") == [one | {"packs": 0} for one in RECORDED["stats"]]
    for trackpoint, keys in RECORDED["keys_of"].items():
        assert old.rows("key", "list", trackpoint) == keys


def test_keys_open_what_they_opened(old: Old) -> None:
    """A key exports the recorded bytes over HTTP; one that is revoked or expired or lacks the scope is refused."""
    with old.served(STILL) as server:

        def shop(name: str, trackpoint: int = LARGE) -> Shop:
            return Shop(trackpoint, KEYS[name], server.base, {"X-Api-Key": KEYS[name]})

        whole = {"from": NOW_MS - 90 * DAY_MS, "to": int(EVERYTHING[2].removeprefix("--to="))}
        for encoding in ("identity", "gzip"):
            got = shop("reader").export(whole, **{"Accept-Encoding": encoding})
            assert (got.status_code, got.headers.get("Content-Encoding", "identity")) == (200, encoding)
            assert digest(got.content) == EXPORTS[1]["sha256"]
        assert shop("everything").send(b"").status_code == 200
        assert shop("writer").send(b"").status_code == 200
        assert shop("expires later").export().status_code == 200
        assert shop("small", SMALL).export().status_code == 200
        assert shop("small").export().status_code == 403
        assert shop("reader").send(b"").status_code == 403
        assert shop("unused").export().status_code == 403
        assert shop("revoked").export().status_code == 401
        assert shop("expired").export().status_code == 401


def test_verify_finds_what_it_found(old: Old) -> None:
    """`verify` finds the one damaged segment, and accepts events that an import would refuse today."""
    done = old.run("verify")

    assert done.returncode == 1
    [row] = done.stdout.splitlines()
    [damaged] = RECORDED["damaged"]
    assert row.startswith(f"segment {damaged} of shop {DAMAGED}, 4 events: ".encode())
    assert old.succeed("verify", str(LARGE)).stdout == b""
    assert old.run("export", str(DAMAGED)).returncode == 1


def test_the_quarantine_is_the_same(old: Old) -> None:
    """The quarantined segment is still there, another can join it, both can be deleted, and exports do not change."""
    assert [shop["quarantined"] for shop in old.rows("stats")] == [0, 1, 0]
    assert old.run("verify", "--quarantine").returncode == 1
    assert [shop["quarantined"] for shop in old.rows("stats")] == [0, 1, 1]
    rest = [line(DAMAGED, NOW_MS - 2 * DAY_MS + turn, "2") for turn in range(4)]
    assert old.export(str(DAMAGED)) == rest
    assert old.succeed("verify", "--discard").stderr.startswith(b"deleted 2 segments from quarantine\n")
    assert [shop["quarantined"] for shop in old.rows("stats")] == [0, 0, 0]
    assert old.export() == recorded_lines(LARGE)


def test_compaction_changes_no_byte(old: Old) -> None:
    """After a compaction every export has the recorded bytes, nothing overlaps, and `verify` finds nothing new."""
    for trackpoint in (LARGE, SMALL):
        assert b"merged" in old.succeed("compact", str(trackpoint)).stderr

    for recorded in EXPORTS:
        assert digest(old.succeed("export", *recorded["arguments"]).stdout) == recorded["sha256"]
    assert [shop["overlapping"] for shop in old.rows("stats")] == [0, 0, 0]
    assert old.rows("stats", str(SMALL))[0]["segments"] == 1
    assert len(old.run("verify").stdout.splitlines()) == 1


def unused_pages(old: Old) -> int:
    """Return how many pages of the file hold nothing any more, but perhaps what was erased."""
    ((pages,),) = query(old.path, "PRAGMA freelist_count")
    return int(pages)


@pytest.mark.parametrize(("compacted", "too_old"), [(False, 6), (True, 0)])
def test_users_can_be_erased(old: Old, *, compacted: bool, too_old: int) -> None:
    """Erased users are gone from the export, all others stay, and events too old to be exported are erased too."""
    lines = recorded_lines(LARGE)
    users = ["line\u2028end", "😀", user_of(lines[0]), user_of(lines[2000]), user_of(lines[3000])]
    rest = [one for one in lines if user_of(one) not in users]
    if compacted:
        old.succeed("compact", str(LARGE))
    erased = json.loads(old.succeed("forget", str(LARGE), *users).stdout)

    assert erased["events"] == len(lines) - len(rest) + too_old
    assert (erased["wiped"], erased["quarantined"]) == (True, 1)
    assert unused_pages(old) == 0
    assert old.export() == rest
    assert old.succeed("verify", str(LARGE)).stdout == b""


def test_a_pending_wipe_is_done(old: Old) -> None:
    """A pending wipe is done by the next `forget`, even if that erases nothing itself."""
    assert unused_pages(old) > 0

    erased = json.loads(old.succeed("forget", str(SMALL), "nobody").stdout)

    assert (erased["events"], erased["wiped"]) == (0, True)
    assert unused_pages(old) == 0
    assert old.export() == recorded_lines(LARGE)


def test_blocked_users_stay_blocked(old: Old) -> None:
    """Events of blocked users are dropped on import until the users are unblocked."""
    theirs = [line(LARGE, NOW_MS - DAY_MS - turn, user) for turn, user in enumerate(BLOCKED)]
    other = line(LARGE, NOW_MS - DAY_MS - 9, "not blocked")
    lines = recorded_lines(LARGE)
    end = int(EVERYTHING[2].removeprefix("--to="))

    done = old.succeed("import", str(LARGE), "-", stdin=body_of([*theirs, other]))
    assert done.stderr == b"received 3, expired 0, blocked 2\n"
    assert body_of(old.export()) == model([*lines, other], 0, end)
    assert old.succeed("forget", str(LARGE), "--unblock", BLOCKED[0]).stderr == b"unblocked\n"
    assert old.succeed("forget", str(LARGE), "--unblock", "12").stderr == b"was not blocked\n"
    done = old.succeed("import", str(LARGE), "-", stdin=body_of(theirs))
    assert done.stderr == b"received 2, expired 0, blocked 1\n"
    assert body_of(old.export()) == model([*lines, other, theirs[0]], 0, end)


@pytest.mark.parametrize("trackpoint", [LARGE, SMALL])
def test_events_that_are_sent_again_are_not_duplicated(old: Old, trackpoint: int) -> None:
    """Reimporting an export, without the impossible events, does not change the export."""
    lines = recorded_lines(trackpoint)
    arguments = EVERYTHING if trackpoint == LARGE else [str(trackpoint)]

    done = old.succeed("import", str(trackpoint), "-", "--skip-impossible", stdin=body_of(lines))

    impossible = 3 if trackpoint == LARGE else 0
    assert done.stderr == f"received {len(lines)}, expired 0, impossible {impossible}\n".encode()
    assert old.export(*arguments) == lines


def test_the_trusted_time_is_kept(old: Old) -> None:
    """A clock far past the file's trusted time deletes nothing; one a day past it deletes by the trusted time."""
    lines = recorded_lines(LARGE)
    old.passes(100 * DAY_MS)
    refused = old.run("expire")
    old.clock.set(RECORDED["now"])
    assert refused.returncode == 1
    assert b"2026-11-26 12:00:00 UTC" in refused.stderr
    assert old.export() == lines

    old.passes(DAY_MS)
    old.succeed("expire")
    old.succeed("compact", str(LARGE))
    old.clock.set(RECORDED["now"])
    start = NOW_MS - 90 * DAY_MS + MINUTE_MS  # the trusted time goes on while the commands run
    assert since(start, old.export()) == since(start, lines)
    assert date_of(since(start, lines)[0]) < NOW_MS - 89 * DAY_MS  # by the clock alone it would have been deleted


def test_the_keeper_goes_on(old: Old) -> None:
    """An upkeep worker takes over the lease of a killed one and does the pending wipe, and exports stay the same."""
    recorded = EXPORTS[3]
    assert query(old.path, "SELECT count(*) FROM chores") != [(0,)]
    old.passes(10 * MINUTE_MS)
    with old.served({"SMSEVENTS_UPKEEP": "on"}) as server:
        assert eventually(lambda: query(old.path, "SELECT name FROM chores") == [])
        start, end = (int(one.split("=")[1]) for one in recorded["arguments"][1:])
        shop = Shop(LARGE, KEYS["reader"], server.base, {"X-Api-Key": KEYS["reader"]})
        got = shop.export({"from": start, "to": end})

    assert (got.status_code, digest(got.content)) == (200, recorded["sha256"])
    old.clock.set(RECORDED["now"])
    start = NOW_MS - 89 * DAY_MS  # what has become too old meanwhile may be gone
    assert since(start, old.export()) == since(start, recorded_lines(LARGE))
