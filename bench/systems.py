"""The systems that are measured: what each offers, and how they start and stop, on free ports of loopback."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from bench.measure import CommandFailed, Figures
from bench.plan import Encoding

_START_MAX_SECONDS = _STOP_MAX_SECONDS = 60
_POLL_SECONDS = 0.05

Export = Callable[[Path], Figures]  # writes the whole shop into a file, measured


@dataclass(frozen=True)
class Peer:
    """A system that holds the events; `imports` load them into an empty store, `sizes` are those on the disk."""

    system: str
    exports: Mapping[tuple[str, Encoding], Export]  # by variant and encoding
    imports: Mapping[tuple[str, Encoding], Callable[[], Figures]] = field(default_factory=dict)
    sizes: Callable[[], dict[str, int]] = dict  # by variant


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
