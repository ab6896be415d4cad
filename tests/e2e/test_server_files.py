"""The files of a server: without room for temporary ones it goes on, and its own are closed to others."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import HOUR_MS, body_of, line
from tests.support.servers import PLAIN, STILL, Server, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from tests.support.processes import processes_of, spawned, until


def mount(where: Path, size: str) -> None:
    """Mount a small disk, or skip the test with the reason."""
    where.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small disk takes root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        end = pytest.fail if "CI" in os.environ else pytest.skip
        end(f"a small disk cannot be mounted here: {done.stderr}")


@pytest.fixture
def full_temporary(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a disk that is full to the last byte until the file `filler` is deleted."""
    where = tmp_path / "full"
    mount(where, "64m")
    fill(where)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def fill(where: Path) -> None:
    """Fill a small disk."""
    with suppress(OSError), (where / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(65536)):
            pass


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_temporary_folder_kills_no_worker(folder: Path, full_temporary: Path, workers: int) -> None:
    """With a temporary folder without a byte of space, all workers keep serving, and nothing is left in it."""
    settings = STILL | {name: str(full_temporary) for name in ("TMPDIR", "PROMETHEUS_MULTIPROC_DIR")}
    running = Server(folder, workers=workers, settings=settings)
    shop = running.shop()
    before = spawned(running.path)
    for number in range(60):
        assert shop.send(line(shop.trackpoint, now_ms(), f"u{number}")).status_code == 200
        assert httpx.get(f"{running.base}/metrics", timeout=30, verify=PLAIN).status_code == 200
    assert len(shop.export().content.splitlines()) == 60
    assert spawned(running.path) == before
    running.stop()
    assert "died" not in running.log_path.read_text()
    assert [file.name for file in full_temporary.iterdir()] == ["filler"]


def import_deep(shop: Shop) -> None:
    """Import far more overlapping events than a page may hold, with more stored bytes than may be held in memory."""
    start = now_ms() - HOUR_MS
    for part in range(60):
        lines = [
            line(shop.trackpoint, start + n * 1000, user=os.urandom(300).hex()) for n in range(part % 15, 3600, 15)
        ]
        assert shop.send(body_of(lines)).status_code == 200


def test_a_deep_export_without_room_is_cut_and_harms_nobody(folder: Path, full_temporary: Path) -> None:
    """An export that needs a temporary file and gets none is truncated, the log says why, and all others continue."""
    running = Server(folder, settings=STILL | {"TMPDIR": str(full_temporary)})
    deep, other = running.shop(), running.shop()
    import_deep(deep)
    assert other.send(line(other.trackpoint, now_ms())).status_code == 200

    # a process determines its temporary folder once, so the folder must have space at first
    (full_temporary / "filler").unlink()
    assert len(deep.export(None, **{"Accept-Encoding": "identity"}).content.splitlines()) == 60 * 240
    fill(full_temporary)

    with pytest.raises(httpx.RemoteProtocolError):
        deep.export(None, **{"Accept-Encoding": "identity"})
    assert running.metric("smsevents_exports_cut_total") == 1
    assert "no room for a temporary file in" in running.log_path.read_text()
    assert len(other.export().content.splitlines()) == 1

    (full_temporary / "filler").unlink()
    assert len(deep.export(None, **{"Accept-Encoding": "identity"}).content.splitlines()) == 60 * 240
    assert list(full_temporary.iterdir()) == []
    running.stop()


def test_an_erasure_without_room_for_the_wipe_says_where(folder: Path, full_temporary: Path) -> None:
    """When there is no space to rewrite the file, the events are still erased, and the reason names the folders."""
    running = Server(folder, settings=STILL | {"TMPDIR": str(full_temporary)})
    shop = running.shop(("export", "import", "admin"))
    lines = [line(shop.trackpoint, now_ms() - n, user=f"u{n}-" + os.urandom(300).hex()) for n in range(24_000)]
    assert shop.send(body_of([*lines, line(shop.trackpoint, now_ms(), "gone")])).status_code == 200

    got = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/users/gone", headers=shop.headers, timeout=60).json()
    assert (got["events"], got["wiped"]) == (1, False)
    assert "SQLite's temporary folder" in got["not_wiped"]
    assert len(shop.export().content.splitlines()) == 24_000

    (full_temporary / "filler").unlink()
    again = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/users/nobody", headers=shop.headers, timeout=60).json()
    assert (again["events"], again["wiped"]) == (0, True)
    running.stop()


def test_a_missing_temporary_folder_is_no_reason_not_to_serve(folder: Path) -> None:
    """Without the folder that TMPDIR names, and without any other, a server starts, imports and exports."""
    running = Server(folder, workers=2, settings=STILL | {"TMPDIR": str(folder / "missing")})
    shop = running.shop()
    assert shop.send(line(shop.trackpoint, now_ms())).status_code == 200
    assert len(shop.export().content.splitlines()) == 1
    running.stop()


def test_nothing_is_left_in_the_temporary_folder(folder: Path) -> None:
    """Neither stopping nor killing a server and its workers leaves a file in the temporary folder."""
    temporary = folder / "tmp"
    temporary.mkdir()
    running = Server(folder, workers=2, settings={"TMPDIR": str(temporary)})
    shop = running.shop(("export", "import", "admin"))
    assert shop.send(line(shop.trackpoint, now_ms(), "u1")).status_code == 200
    erased = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/users/u1", headers=shop.headers, timeout=60)
    assert erased.json()["wiped"] is True
    running.kill()
    until(lambda: not processes_of(running.path), "a process is left")
    assert list(temporary.iterdir()) == []

    running.start()
    running.stop()
    assert list(temporary.iterdir()) == []


def test_the_files_are_their_owners_alone(folder: Path) -> None:
    """The files of a database that a server created, including the erasure locks, are 0600 under any umask."""
    before = os.umask(0)
    try:
        running = Server(folder, settings=STILL)
    finally:
        os.umask(before)
    shop = running.shop(("import", "admin"))
    assert shop.send(line(shop.trackpoint, now_ms(), "u1")).status_code == 200
    assert running.command("forget", str(shop.trackpoint), "u1").returncode == 0
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.glob("log.db*")}
    running.stop()
    assert modes == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm", "log.db-lock"], 0o600)
