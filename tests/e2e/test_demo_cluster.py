"""`make demo-cluster`: the story to its end, what it counts, and that nothing of it remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.cluster.counts import Counts, counts
from hypothesis import given
from hypothesis import strategies as st

from tests.support.postgres import programs
from tests.support.seaweed import weed
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ENDS_MAX_SECONDS = 600
LINES = st.binary(min_size=1, max_size=2).filter(lambda line: b"\n" not in line and b"\r" not in line)


@given(acknowledged=st.sets(LINES), exported=st.lists(LINES))
def test_the_counts(acknowledged: set[bytes], exported: list[bytes]) -> None:
    """What is lost, twice and unknown are as a plain count of each line says."""
    body = b"".join(one + b"\n" for one in exported)
    found = counts(acknowledged, body)
    assert found == Counts(
        len(exported),
        sum(exported.count(one) == 0 for one in acknowledged),
        sum(exported.count(one) - 1 for one in set(exported)),
        sum(one not in acknowledged for one in set(exported)),
    )
    assert found.is_right is (sorted(acknowledged) == sorted(exported))


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    """Start the demonstration with few events, in a temporary folder of its own; end it after the test."""
    programs()  # skips the test if PostgreSQL is not installed
    if weed() is None:
        pytest.skip("SeaweedFS is not installed; `make test-all` installs it")
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-u", "-m", "bench.cluster", "--events", "20000"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            ending = threading.Timer(ENDS_MAX_SECONDS, process.kill)
            ending.start()
            try:
                yield process
            finally:
                ending.cancel()
                process.kill()
        assert list(Path(folder).iterdir()) == []
        assert eventually(lambda: not running_in(folder))


def running_in(folder: str) -> list[str]:
    """Return the command lines that name a folder, of all processes."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_bytes().decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if folder in words:
            found.append(words)
    return found


@pytest.mark.campaign
@pytest.mark.timeout(ENDS_MAX_SECONDS + 60)
def test_nothing_is_lost_and_nothing_remains(demo: subprocess.Popen[str]) -> None:
    """All parts are killed in turn, the counts are right, and no process and no file is left."""
    told, _ = demo.communicate()
    assert demo.returncode == 0, told
    for part in ("kill -9 node 1", "kill -9 volume server", "kill -9 the upkeep worker", "kill -9 the primary"):
        assert part in told
    assert told.endswith("lost: 0\ntwice: 0\n")


@pytest.mark.campaign
@pytest.mark.timeout(ENDS_MAX_SECONDS + 60)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped(demo: subprocess.Popen[str], how: signal.Signals) -> None:
    """If it is stopped in the middle, everything that it started is ended and removed, too."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if "importers" in line:
            demo.send_signal(how)
    assert demo.wait() == 130
