"""Every database with every place of packs: the same imports give the same exports, and an erasure reaches all.

Also those of a backup that is restored elsewhere, by a copy of the record of erasures.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.postgres import create_database, drop_database, restored, url_of
from tests.support.seaweed import seaweedfs
from tests.support.servers import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from _pytest.mark import ParameterSet

TRACKPOINT = 4541245641234564
EVENTS = 9_000  # of about 170 bytes after compression: more than a pack needs
IN_MAKE_TEST = {("pgbouncer", "seaweedfs")}  # other tests have the other seams

pytestmark = pytest.mark.slow


def _pairs() -> list[ParameterSet]:
    return [
        pytest.param(database, place, marks=[] if (database, place) in IN_MAKE_TEST else [pytest.mark.campaign])
        for database in ("sqlite", "postgres", "pgbouncer")
        for place in ("database", "files", "seaweedfs")
    ]


@pytest.mark.parametrize(("database", "place"), _pairs())
def test_a_log_is_the_same_everywhere(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, place: str
) -> None:
    """Imports, packs, an erasure and the way back into the database leave exactly the events of the plain model."""
    environment = dict(os.environ)

    def place_for_packs(name: str) -> dict[str, str]:
        if place == "database":
            return {}
        if place == "seaweedfs":
            server = seaweedfs()
            return {**server.environment(), "SMSEVENTS_SEGMENTS": server.place()}
        (tmp_path / name).mkdir()
        return {"SMSEVENTS_SEGMENTS": f"file://{tmp_path}/{name}"}

    environment |= place_for_packs("packs")
    if database == "sqlite":

        @contextmanager
        def restore_file(backup: Path) -> Iterator[dict[str, str]]:
            shutil.copy(backup, tmp_path / "restored.db")
            url = f"sqlite:///{tmp_path}/restored.db"
            yield {"SMSEVENTS_DATABASE": url, **place_for_packs("restored packs")}

        _live(environment | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path}/log.db"}, tmp_path, place, restore_file)
        return
    url = request.getfixturevalue("postgres_url")
    reached = request.getfixturevalue("pgbouncer_url") if database == "pgbouncer" else url

    @contextmanager
    def restore_dump(backup: Path) -> Iterator[dict[str, str]]:
        with restored(url, backup) as (other, _):
            yield {"SMSEVENTS_DATABASE": url_of(reached, other), **place_for_packs("restored packs")}

    name = create_database(url)
    try:
        _live(
            environment | {"SMSEVENTS_DATABASE": url_of(reached, name)},
            tmp_path,
            place,
            restore_dump,
            url_of(url, name) if database == "pgbouncer" else None,
        )
    finally:
        drop_database(url, name)


def _live(
    environment: dict[str, str],
    folder: Path,
    place: str,
    restore: Callable[[Path], AbstractContextManager[dict[str, str]]],
    direct: str | None = None,
) -> None:
    """Import, pack, erase a user, back up, move back, erase another, restore elsewhere; compare with the model.

    `restore` restores a backup for a block, into another database, with an empty place for packs. It yields the
    variables that name them. `direct` is the URL of the database past a pool of connections.
    """
    now = now_ms()
    chance = random.Random(7)  # noqa: S311 -- invented data
    lines = [
        line(
            TRACKPOINT,
            now - 3 * DAY_MS - chance.randrange(5 * DAY_MS),
            f"user {chance.randrange(50)}",
            campaign=f"{chance.getrandbits(1200):x}",
        )
        for _ in range(EVENTS)
    ]
    body = folder / "events.jsonl"
    body.write_bytes(body_of(lines))

    def run(*words: str) -> bytes:
        done = run_command(*words, environment=environment)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def check(expected: list[bytes]) -> None:
        assert run("export", str(TRACKPOINT), "--days", "30") == model(expected, 0, now)
        run("verify")

    run("shop", "add", str(TRACKPOINT))
    for _ in range(2):  # the second time, every event is there already
        run("import", str(TRACKPOINT), str(body))
    check(lines)
    if place != "database":
        run("move", "packs")
    run("compact", str(TRACKPOINT))
    packs = json.loads(run("stats", str(TRACKPOINT), "--json"))["packs"]
    assert (packs > 0) is (place != "database")
    check(lines)
    run("forget", str(TRACKPOINT), "user 7")
    rest = [one for one in lines if json.loads(one)["smsEvent"]["userId"] != "user 7"]
    assert len(rest) < len(lines)
    check(rest)
    packs_backed_up = json.loads(run("stats", str(TRACKPOINT), "--json"))["packs"]
    backed_up = folder / "backup"
    run("backup", str(backed_up), *([] if direct is None else ["--server", direct]))
    if place != "database":
        run("move", "database")
        check(rest)
    run("forget", str(TRACKPOINT), "user 8")
    run("erasures", str(folder / "record"))
    with restore(backed_up) as elsewhere:
        environment |= elsewhere
        if place != "database":
            run("adopt", "--from", f"{backed_up}.packs")
        assert json.loads(run("stats", str(TRACKPOINT), "--json"))["packs"] == (
            packs_backed_up if place != "database" else 0
        )
        check(rest)
        run("erasures", str(folder / "record"))  # another place, so nothing else has told it
        check([one for one in rest if json.loads(one)["smsEvent"]["userId"] != "user 8"])
