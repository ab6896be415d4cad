"""Starting and stopping the programs that are measured, on free ports of the loopback interface."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path

from bench.measure import CommandFailed, Figures

_START_MAX_SECONDS = 60
_STOP_MAX_SECONDS = 60
_POLL_SECONDS = 0.05


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], log: Path, url: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server while the block runs, from when `url` (`port/path`) responds; yield its process id."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + _START_MAX_SECONDS
        while not _responds(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _responds(url: str) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{url}", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code < HTTPStatus.INTERNAL_SERVER_ERROR  # a service need not have the page
    except OSError:
        return False
    return True


Engine = Callable[[str], tuple[str, Figures]]  # runs a query; returns its result as text, and what it took


@contextmanager
def engine(start: Callable[[str], Callable[[str], object]], place: str) -> Iterator[Engine]:
    """Open a database engine without a server, in a process of its own, so that its processor time is its alone.

    `start` runs in that process and returns what runs a query.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _open, (start, place)) as process:
        yield lambda query: process.submit(_timed, query).result()


_query: Callable[[str], object] | None = None


def _open(start: Callable[[str], Callable[[str], object]], place: str) -> None:
    global _query  # noqa: PLW0603 -- one engine for all that this process is asked
    _query = start(place)


def _timed(query: str) -> tuple[str, Figures]:
    if _query is None:
        raise RuntimeError("the engine is not open")
    used, started = time.process_time(), time.perf_counter()
    said = str(_query(query))
    return said, {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - used}
