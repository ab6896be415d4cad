"""The README's lines, run as shown in an empty folder: what a newcomer pastes works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smsevents.client import Client
from tests.support.documents import ROOT, Page
from tests.support.servers import free_port

README = Page(ROOT / "README.md")
EVENTS = 10_000  # the number of events that `smsevents generate` makes by default


def test_use_it(tmp_path: Path) -> None:
    """The usage section creates a shop, records its events, and exports, pulls and syncs them.

    What `make install` brings is there already; `make check-bare` runs these lines with it on a bare system.
    """
    if shutil.which("curl") is None:
        assert "CI" not in os.environ, "CI must have curl"
        pytest.skip("curl is not installed; `make test` installs it where it may")
    port = free_port()
    shell = "\n".join(README.blocks_under("Use it", "sh"))
    python = "\n".join(README.blocks_under("Use it", "python"))
    assert shell.count("make install") == 2
    assert ":8080" in shell
    shell = re.sub(r"^make install.*\n", "", shell, flags=re.MULTILINE).replace(":8080", f":{port}")
    (tmp_path / "read.py").write_text(python.replace(":8080", f":{port}"))
    script = f"trap 'kill $!' EXIT\n{shell}\n{sys.executable} read.py > read.txt\n"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}

    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=tmp_path,
        env=environment | {"SMSEVENTS_PORT": str(port)},
        capture_output=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    answer, shown = done.stdout.split(b"}", 1)  # the first ends without a line feed
    exported = (tmp_path / "exported.jsonl").read_bytes().splitlines()
    assert answer == f'{{"received":{EVENTS},"expired":0'.encode()
    assert sorted(exported) == sorted(lines)
    assert len(lines) == EVENTS
    assert [line for line in shown.splitlines() if line.startswith(b'{"smsEvent"')] == exported[-2:]
    assert f"http://127.0.0.1:{port}" in (tmp_path / "serve.log").read_text().splitlines()[0]
    assert len(list((tmp_path / "events").glob("*.parquet"))) >= 90
    assert (tmp_path / "events.duckdb").stat().st_size > 0
    assert len((tmp_path / "read.txt").read_text().splitlines()) == EVENTS


def test_example_in_python_is_the_library() -> None:
    """The Python example uses the client as it is exported."""
    [block] = README.blocks_under("Use it", "python")

    assert Client.__name__ in block
    compile(block, "README.md", "exec")


def test_root_line_comes_first() -> None:
    """The first line shown is the one for root, and it names everything that the other lines need."""
    first = README.blocks_under("Try it", "sh")[0]

    assert first.startswith("apt-get update && apt-get install")
    assert set(first.split()) >= {"python3", "python3-pip", "make", "curl"}
