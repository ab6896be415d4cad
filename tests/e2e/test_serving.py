"""`serve` as a process: the address it listens on, its stop, and signals, with one worker and with several."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.servers import STILL, Server, eventually, free_port
from tests.support.wire import Wire, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = pytest.mark.parametrize("workers", [1, 2])
WINDOW_BYTES = 64 * 1024


@contextmanager
def serving(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `serve` and yield its process and the line that says where it listens."""
    environment = os.environ | STILL | {"SMSEVENTS_DATABASE": f"sqlite:///{folder / 'log.db'}"}
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "smsevents", "serve", *arguments], env=environment, stderr=log, text=True
        )
    try:
        assert eventually(lambda: "docs:" in (folder / "serve.log").read_text() or process.poll() is not None)
        yield process, next(one for one in (folder / "serve.log").read_text().splitlines() if "docs:" in one)
    finally:
        process.terminate()
        process.wait(60)


def status_at(host: str, port: int) -> int:
    """Request the health status at one of the server's addresses."""
    with Wire(port, host) as wire:
        wire.send(ask("GET", "/health/live"))
        return wire.reply().status


@WORKERS
@pytest.mark.parametrize(
    ("host", "shown", "reached"),
    [
        ("127.0.0.1", "127.0.0.1", {"127.0.0.1": True, "::1": False}),
        ("0.0.0.0", "0.0.0.0", {"127.0.0.1": True, "::1": False}),  # noqa: S104 -- on the machine of a test
        ("::1", "[::1]", {"127.0.0.1": False, "::1": True}),
        ("::", "[::]", {"127.0.0.1": True, "::1": True}),
    ],
)
def test_the_address(tmp_path: Path, workers: int, host: str, shown: str, reached: dict[str, bool]) -> None:
    """With any number of workers, `serve` accepts connections at the URL it prints, from the moment it prints it."""
    port = free_port()

    with serving(tmp_path, "--host", host, "--port", str(port), "--workers", str(workers)) as (_, first):
        url = f"http://{shown}:{port}"
        assert first.endswith(f" on {url}; page: {url}/  docs: {url}/docs")
        for address, is_there in reached.items():
            if is_there:
                assert status_at(address, port) == 200
            else:
                with pytest.raises(ConnectionRefusedError):
                    Wire(port, address)


@WORKERS
def test_a_taken_port_is_one_message(server: Server, tmp_path: Path, workers: int) -> None:
    """If the port is taken, `serve` says so in one line, does not claim to serve, and creates no database."""
    database = tmp_path / "log.db"
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{database}"}

    done = subprocess.run(
        [sys.executable, "-m", "smsevents", "serve", "--port", str(server.port), "--workers", str(workers)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"smsevents: Port {server.port} is taken")
    assert done.stderr.count("\n") == 1
    assert not database.exists()


@pytest.mark.parametrize(
    ("host", "code"), [("192.0.2.1", 3), ("no-such-host.invalid", 3), ("1.2.3.4.5", 3), ("a b", 1), ("http://x", 1)]
)
def test_an_address_that_is_not_ours_is_one_message(tmp_path: Path, host: str, code: int) -> None:
    """An invalid address, or one that cannot be listened on, is named in one line."""
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path / 'log.db'}"}

    done = subprocess.run(
        [sys.executable, "-m", "smsevents", "serve", "--host", host, "--port", str(free_port())],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == code
    assert host in done.stderr
    assert done.stderr.count("\n") == 1


def slow_export(server: Server) -> Wire:
    """Begin an export on a connection that then stops reading."""
    shop = server.shop()
    now = now_ms()
    lines = (line(shop.trackpoint, now - number, user=f"u{number}") + b"\n" for number in range(40_000))
    assert shop.send(b"".join(lines)).status_code == 200
    wire = Wire(server.port, window_bytes=WINDOW_BYTES)
    wire.send(
        ask(
            "POST",
            f"/shop/{shop.trackpoint}/export-sms-events",
            f"X-Api-Key: {shop.key}",
            body=b"{}",
            version="HTTP/1.1",
        )
    )
    wire.more()
    return wire


@WORKERS
def test_a_stop_refuses_new_connections_and_finishes_what_runs(tmp_path: Path, workers: int) -> None:
    """During a drain new connections are refused at once, idle ones are closed, and a running export is completed."""
    server = Server(tmp_path, workers=workers, settings=STILL)
    idle = [Wire(server.port) for _ in range(4)]
    begun = Wire(server.port)
    begun.send(b"GET /health/live HTTP/1.1\r\n")
    with slow_export(server) as export:
        server.process.send_signal(signal.SIGTERM)

        assert eventually(lambda: is_refused(server.port))
        for one in [*idle, begun]:
            assert one.rest() == b""
            one.socket.close()
        assert server.process.poll() is None
        assert export.reply().is_complete
        assert export.rest() == b""
    assert server.process.wait(60) == 0


def is_refused(port: int) -> bool:
    """Return whether a new connection is refused, which must happen at once; one that is accepted must be served."""
    try:
        with Wire(port) as wire:
            wire.socket.settimeout(10)
            wire.send(ask("GET", "/health/live", "Connection: close"))
            wire.rest()
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        return False
    return False


@WORKERS
def test_sighup_stops_as_sigterm_does(tmp_path: Path, workers: int) -> None:
    """SIGHUP, even if a closed terminal sends it to every process, completes what runs and stops with exit code 0."""
    server = Server(tmp_path, workers=workers, settings=STILL)
    with slow_export(server) as export:
        os.killpg(server.process.pid, signal.SIGHUP)

        assert eventually(lambda: is_refused(server.port))
        assert export.reply().is_complete
    assert server.process.wait(60) == 0


@WORKERS
def test_nohup_is_respected(tmp_path: Path, workers: int) -> None:
    """A server started with SIGHUP ignored keeps running when it arrives."""
    port = free_port()

    with serving(tmp_path, "--port", str(port), "--workers", str(workers), before=("nohup",)) as (process, _):
        assert status_at("127.0.0.1", port) == 200
        process.send_signal(signal.SIGHUP)
        time.sleep(1.5)  # the supervisor checks for signals twice a second

        assert process.poll() is None
        assert status_at("127.0.0.1", port) == 200


def workers_of(server: Server) -> set[int]:
    """Return the processes that listen on a server's port, from /proc, except the one that started them."""
    inodes = {
        fields[9]
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := row.split())[3] == "0A" and int(fields[1].split(":")[1], 16) == server.port
    }
    found = set()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if path.readlink().name.removeprefix("socket:[").removesuffix("]") in inodes:
                found.add(int(path.parts[2]))
    return found - {server.process.pid}


def test_a_worker_that_does_not_reply_to_its_supervisor_is_not_killed(tmp_path: Path) -> None:
    """A worker suspended for longer than uvicorn's ping timeout is not replaced, and serves again afterwards."""
    server = Server(tmp_path, workers=2, settings=STILL)
    try:
        before = workers_of(server)
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(7)
        for pid in before:
            os.kill(pid, signal.SIGCONT)

        assert status_at("127.0.0.1", server.port) == 200
        time.sleep(1)
        assert workers_of(server) == before
    finally:
        server.stop()


def test_a_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    """A worker that exits is replaced."""
    server = Server(tmp_path, workers=2, settings=STILL)
    try:
        before = workers_of(server)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)

        assert eventually(lambda: len(workers_of(server)) == 2 and victim not in workers_of(server))
        assert status_at("127.0.0.1", server.port) == 200
    finally:
        server.stop()


def test_a_client_by_ipv6_that_has_an_ipv4_address_is_known_by_it(tmp_path: Path) -> None:
    """With `--host ::` a client over IPv4 has the same address as with an IPv4 host."""
    port = free_port()
    with serving(tmp_path, "--host", "::", "--port", str(port)):
        with Wire(port) as wire, suppress(ConnectionError):
            wire.send(b"garbage\r\n\r\n")
            wire.rest()

        assert eventually(lambda: '"client":"127.0.0.1"' in (tmp_path / "serve.log").read_text())


def test_sockets_of_other_families_are_not_left_open(tmp_path: Path) -> None:
    """A name with addresses of both families is served on both, or not at all."""
    port = free_port()
    addresses = {found[4][0] for found in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}

    with serving(tmp_path, "--host", "localhost", "--port", str(port)):
        for address in addresses:
            assert status_at(str(address), port) == 200


# A signal whose handler runs within the callback of a weak reference, just before the server exists.
_STOPPED_IN_A_CALLBACK = """
import signal, sys, weakref
import uvicorn
from smsevents.cli import main

make = uvicorn.Config

class Gone: pass

def make_and_stop(*words, **options):
    gone = Gone()
    weak = weakref.ref(gone, lambda _: signal.raise_signal(signal.SIGTERM))
    del gone
    return make(*words, **options)

uvicorn.Config = make_and_stop
sys.argv = ["smsevents", "serve", *sys.argv[1:]]
main()
"""


@WORKERS
def test_a_stop_before_the_server_is_there_is_not_lost(tmp_path: Path, workers: int) -> None:
    """A SIGTERM at a moment at which no exception can be raised still ends `serve`, with exit code 0."""
    environment = os.environ | STILL | {"SMSEVENTS_DATABASE": f"sqlite:///{tmp_path / 'log.db'}"}

    done = subprocess.run(
        [sys.executable, "-c", _STOPPED_IN_A_CALLBACK, "--port", str(free_port()), "--workers", str(workers)],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert b"Exception ignored" not in done.stderr
