"""The processes of a server: they end together, whichever is killed, and tell the same numbers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import HOUR_MS, body_of, line
from tests.support.servers import PLAIN, STILL, Server, Shop, free_port

if TYPE_CHECKING:
    from pathlib import Path

from tests.support.processes import WAIT_MAX_SECONDS, processes_of, spawned, until


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
