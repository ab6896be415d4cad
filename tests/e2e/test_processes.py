"""The processes of a server: they end together, whichever is killed, and a full temporary folder kills none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line
from tests.support.servers import PLAIN, STILL, Server, Shop, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_MAX_SECONDS = 60
MARK = "SMSEVENTS_TEST_PROCESSES"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAIT_MAX_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def processes_of(database: Path) -> dict[int, str]:
    """Return the processes started for a database, with their command lines."""
    found: dict[int, str] = {}
    mark = f"SMSEVENTS_DATABASE=sqlite:///{database}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def spawned(database: Path) -> list[int]:
    """Return the processes that a server started itself: its workers and its upkeep worker."""
    return sorted(pid for pid, command in processes_of(database).items() if "spawn_main" in command)


def started(folder: Path, *words: str, **settings: str) -> subprocess.Popen[bytes]:
    """Start a server without waiting for it."""
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "smsevents", "serve", "--port", str(free_port()), *words],
            env=os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{folder / 'log.db'}"} | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for a server, and leave no process of it running."""
    yield tmp_path
    for pid in processes_of(tmp_path / "log.db"):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("after_seconds", [0, 0.1, 0.4, 1, 2])
def test_a_worker_ends_with_a_server_that_is_killed_as_it_starts(folder: Path, after_seconds: float) -> None:
    """However soon after starting its upkeep worker a server is killed, the upkeep worker exits."""
    server = started(folder)
    until(lambda: spawned(folder / "log.db"), "no upkeep worker was started")
    time.sleep(after_seconds)
    server.kill()
    server.wait(WAIT_MAX_SECONDS)
    until(lambda: not processes_of(folder / "log.db"), "a process is left")


def test_workers_end_with_their_master_and_the_port_is_free(folder: Path) -> None:
    """When the parent process of the workers is killed, they and the upkeep worker exit, and the port is free again."""
    running = Server(folder, workers=2)
    assert len(spawned(running.path)) == 3
    running.process.kill()
    running.process.wait(WAIT_MAX_SECONDS)
    until(lambda: not processes_of(running.path), "a process is left")

    running.start()
    running.stop()
    until(lambda: not processes_of(running.path), "a process is left")


def workers_of(running: Server) -> list[int]:
    """Return the upkeep workers of a server with one worker, which is the server itself."""
    return spawned(running.path)


def test_a_worker_that_hears_no_signal_does_not_hold_up_a_stop(folder: Path) -> None:
    """An upkeep worker that does not react, for instance while in SQLite, is killed when the server stops."""
    running = Server(folder)
    until(lambda: workers_of(running), "no upkeep worker was started")
    (worker,) = workers_of(running)
    os.kill(worker, signal.SIGSTOP)
    running.stop()
    until(lambda: not processes_of(running.path), "a process is left")
    assert b"Traceback" not in running.log_path.read_bytes()


def test_a_worker_that_is_killed_comes_back(folder: Path) -> None:
    """An upkeep worker that exited is reported in the log with the cause; the server keeps running meanwhile."""
    running = Server(folder)
    until(lambda: workers_of(running), "no upkeep worker was started")
    os.kill(workers_of(running)[0], signal.SIGKILL)
    until(lambda: '"upkeep worker ended"' in running.log_path.read_text(), "nothing was told")
    assert '"exit_code":-9' in running.log_path.read_text()
    assert httpx.get(f"{running.base}/health/ready", verify=PLAIN, timeout=30).status_code == 200
    running.stop()


def test_a_stop_of_all_processes_at_once_is_no_error(folder: Path) -> None:
    """An upkeep worker that is stopped before its server, as when a supervisor stops the group, is not an error."""
    running = Server(folder)
    until(lambda: workers_of(running), "no upkeep worker was started")
    os.kill(workers_of(running)[0], signal.SIGTERM)
    until(lambda: '"upkeep worker ended"' in running.log_path.read_text(), "nothing was told")
    running.stop()
    assert '"level":"error"' not in running.log_path.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("after_seconds", [0, 0.5, 1.5])
def test_a_stop_while_starting_leaves_nothing(folder: Path, after_seconds: float, workers: str) -> None:
    """A server stopped while it starts exits soon, with its processes, and reports no error."""
    server = started(folder, "--workers", workers)
    until(lambda: spawned(folder / "log.db"), "nothing was started")
    time.sleep(after_seconds)
    server.terminate()
    server.wait(WAIT_MAX_SECONDS)
    until(lambda: not processes_of(folder / "log.db"), "a process is left")
    assert b"Error" not in (folder / "server.log").read_bytes()


@pytest.mark.parametrize("presses", [1, 2, 3])
def test_control_c_stops_all(folder: Path, presses: int) -> None:
    """Ctrl-C, even pressed repeatedly, reaches all processes of the terminal: all exit, the upkeep worker silently."""
    running = Server(folder)
    until(lambda: workers_of(running), "no upkeep worker was started")
    for _ in range(presses):
        os.killpg(running.process.pid, signal.SIGINT)
        time.sleep(0.05)
    running.process.wait(WAIT_MAX_SECONDS)
    until(lambda: not processes_of(running.path), "a process is left")
    assert "upkeep worker.py" not in running.log_path.read_text()


def test_control_c_while_the_worker_starts_is_not_for_it(folder: Path) -> None:
    """An upkeep worker that is just starting does not exit with a traceback on Ctrl-C but when the server stops it."""
    server = started(folder)
    until(lambda: spawned(folder / "log.db"), "no upkeep worker was started")
    worker = spawned(folder / "log.db")[0]
    os.kill(worker, signal.SIGINT)
    os.kill(worker, signal.SIGHUP)
    time.sleep(0.5)
    assert worker in spawned(folder / "log.db")
    server.terminate()
    server.wait(WAIT_MAX_SECONDS)
    assert b"KeyboardInterrupt" not in (folder / "server.log").read_bytes()


MIGRATION = """
import sys, time
from smsevents.catalog import schema
from smsevents.cli import app
import alembic.command as command
upgrade = command.upgrade
def slow(*arguments, **options):
    upgrade(*arguments, **options)
    print("upgraded, not committed", flush=True)
    time.sleep(600)
command.upgrade = slow
sys.argv = ["smsevents", "serve", "--port", sys.argv[1]]
app()
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stop_during_a_migration_changes_nothing(folder: Path, stop: signal.Signals) -> None:
    """A server stopped before its migration is committed leaves the tables unchanged; the next one works."""
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{folder / 'log.db'}"}
    server = subprocess.Popen(
        [sys.executable, "-c", MIGRATION, str(free_port())],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"upgraded, not committed\n"
    server.send_signal(stop)
    _, told = server.communicate(timeout=WAIT_MAX_SECONDS)
    assert server.returncode != 0
    assert b"Traceback" not in told

    assert query(folder / "log.db", "SELECT count(*) FROM sqlite_master") == [(0,)]
    again = Server(folder, settings=STILL)
    again.stop()


def test_a_worker_that_cannot_drain_ends_all_the_same(folder: Path) -> None:
    """A worker whose parent was killed, and whose client never reads on, exits when the stop timeout is over."""
    running = Server(folder, workers=2, settings={"SMSEVENTS_SHUTDOWN_MAX_SECONDS": "1"})
    shop = running.shop()
    start = now_ms() - HOUR_MS
    lines = [line(shop.trackpoint, start + n, user=os.urandom(300).hex()) for n in range(12_000)]
    assert shop.send(body_of(lines)).status_code == 200
    with unread_export(running, shop):
        until(lambda: running_exports(running) == 1, "the export does not run")
        running.process.kill()
        running.process.wait(WAIT_MAX_SECONDS)
        until(lambda: not processes_of(running.path), "a process is left")


def running_exports(running: Server) -> float:
    """Return the number of running exports according to the metrics."""
    return running.metric("smsevents_exports_running")


def unread_export(running: Server, shop: Shop) -> socket.socket:
    """Request an export and read nothing of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", running.port))
    head = f"POST /shop/{shop.trackpoint}/export-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
    client.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
    return client


def test_a_killed_worker_leaves_the_numbers_right(folder: Path) -> None:
    """After workers are killed, only exports that run are counted as running, and no counter has decreased."""
    running = Server(folder, workers=2, settings=STILL)
    shop = running.shop()
    start = now_ms() - HOUR_MS
    for part in range(6):
        lines = [line(shop.trackpoint, start + n, user=os.urandom(60).hex()) for n in range(part, 24_000, 6)]
        assert shop.send(body_of(lines)).status_code == 200
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(unread_export(running, shop))
        until(lambda: running_exports(running) == 6, "not all exports run")
        before = running.metric("smsevents_events_in_total")
        assert before == 24_000
        victims = spawned(running.path)
        for pid in victims:
            if "spawn_main" in processes_of(running.path).get(pid, ""):
                os.kill(pid, signal.SIGKILL)
        until(lambda: set(spawned(running.path)) - set(victims), "no worker came back")
    until(lambda: reachable(running), "the server does not answer")
    until(lambda: running_exports(running) == 0, "exports of killed workers count")
    until(lambda: running.metric("smsevents_events_in_total") == before, "counters went down")
    running.stop()
    until(lambda: not processes_of(running.path), "a process is left")


def events_in(running: Server) -> float:
    """Return the number of events imported by all workers according to the metrics."""
    return running.metric("smsevents_events_in_total")


def until_events_in(running: Server, count: int) -> None:
    """Wait until the metrics report this many events."""
    until(lambda: events_in(running) == count, "the sum is wrong")


def reachable(running: Server) -> bool:
    """Return whether the server responds."""
    try:
        return httpx.get(f"{running.base}/metrics", timeout=5, verify=PLAIN).status_code == 200
    except httpx.TransportError:
        return False


def test_the_metrics_add_up_over_workers(folder: Path) -> None:
    """Every worker reports the sums over all workers."""
    running = Server(folder, workers=2, settings=STILL)
    shop = running.shop()
    for number in range(10):
        assert shop.send(line(shop.trackpoint, now_ms(), f"u{number}")).status_code == 200
        # a worker too busy to report in time is counted with its previous numbers
        until_events_in(running, number + 1)
    running.stop()


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


ERASER = """
import sys, time
from smsevents.upkeep import erasure
from smsevents.cli import app
def slow(*_):
    print("alone", flush=True)
    time.sleep(600)
erasure._segments_of = slow
app(["forget", *sys.argv[1:]])
"""


def test_an_erasure_that_is_killed_leaves_its_shop_free(folder: Path) -> None:
    """A killed erasure blocks nobody: the next compaction and the next erasure of its shop proceed at once."""
    running = Server(folder, settings=STILL)
    shop = running.shop(("import", "admin"))
    for number in range(10):  # of several days, which share no segment
        event = line(shop.trackpoint, now_ms() - number * DAY_MS, f"u{number}")
        assert shop.send(event).status_code == 200
    eraser = subprocess.Popen(
        [sys.executable, "-c", ERASER, str(shop.trackpoint), "u1"], env=running.environment, stdout=subprocess.PIPE
    )
    assert eraser.stdout is not None
    assert eraser.stdout.readline() == b"alone\n"
    refused = running.command("compact")
    assert (refused.returncode, refused.stderr.count(b"\n")) == (1, 1)
    assert b"are being erased, and compaction yields to erasure" in refused.stderr

    eraser.kill()
    eraser.wait(WAIT_MAX_SECONDS)
    eraser.stdout.close()
    assert running.command("compact").returncode == 0
    assert b'"events":1,' in running.command("forget", str(shop.trackpoint), "u1").stdout
    running.stop()


YIELDING = """
import sys
from smsevents.cli import app, packs
from smsevents.upkeep.groups import Compacted
packs.compact_shop = lambda *_: Compacted(whole=False, gave_way=True)
app(["move", "packs"])
"""


def test_a_move_that_could_not_merge_is_not_reported_as_complete(folder: Path) -> None:
    """If merging yields to an erasure that ends before packing begins, `move packs` fails; repeated, it succeeds."""
    packs = folder / "packs"
    packs.mkdir()
    running = Server(folder, settings=STILL | {"SMSEVENTS_SEGMENTS": packs.as_uri()})
    shop = running.shop(("import",))
    assert shop.send(line(shop.trackpoint, now_ms() - 5 * DAY_MS, "u1")).status_code == 200
    refused = subprocess.run(
        [sys.executable, "-c", YIELDING], env=running.environment, capture_output=True, check=False
    )
    assert refused.returncode == 1
    assert b"Run the same command again to move the rest." in refused.stderr

    assert running.command("move", "packs").returncode == 0
    running.stop()
