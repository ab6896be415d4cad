"""Starting and stopping the programs that are measured, on loopback ports that are free."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

from bench.measure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_MAX_SECONDS = 60
STOP_MAX_SECONDS = 60
POLL_SECONDS = 0.05


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], log: Path, url: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server while the block runs, from when `url` (`port/path`) answers; give its process id."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_MAX_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    port, _, path = url.partition("/")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("HEAD", f"/{path}")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def own_process(start: Callable[..., None], *arguments: object) -> Iterator[ProcessPoolExecutor]:
    """Give an executor of one process of its own, in which `start` was called: for engines without a server."""
    with ProcessPoolExecutor(1, get_context("spawn"), start, arguments) as executor:
        yield executor
