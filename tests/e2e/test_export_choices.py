"""What people choose for the command `export`: a file, a number of days, and what it says at the end."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, body_of, date_of
from tests.support.pulling import ordered
from tests.support.servers import add_shop, run_command
from tests.support.warehouses import some_lines

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

TRACKPOINT = 7


@pytest.fixture
def environment(url: str) -> dict[str, str]:
    """Return an environment that names the database of a shop."""
    environment = os.environ | {"SMSEVENTS_DATABASE": url}
    add_shop(url, TRACKPOINT)
    return environment


@pytest.fixture
def lines(environment: dict[str, str]) -> list[bytes]:
    """Return the lines that the shop has, in order."""
    found = ordered(some_lines(100, now_ms() - 60_000, trackpoint=TRACKPOINT))
    assert run_command("import", str(TRACKPOINT), "-", environment=environment, stdin=body_of(found)).returncode == 0
    return found


def export(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return run_command("export", str(TRACKPOINT), *words, environment=environment)


@pytest.mark.parametrize("words", [["--days", "7"], ["--days", "7", "--to", "today"]])
def test_days(environment: dict[str, str], lines: list[bytes], words: list[str]) -> None:
    """`--days 7` exports today and the six days before it, UTC, and the last line says how much that was."""
    start = now_ms() // DAY_MS * DAY_MS - 6 * DAY_MS
    wanted = body_of(one for one in lines if date_of(one) >= start)

    done = export(environment, *words)

    assert (done.returncode, done.stdout) == (0, wanted)
    count = wanted.count(b"\n")
    assert done.stderr.endswith(f": exported {count:,} events, {len(wanted):,} bytes\n".encode())
    assert export(environment, *words, "--quiet").stderr == b""


def test_a_file(environment: dict[str, str], lines: list[bytes], tmp_path: Path) -> None:
    """`-o` writes a private file, as gzip if its name says so; a replaced file keeps its permissions."""
    plain, packed = tmp_path / "e.jsonl", tmp_path / "e.jsonl.gz"
    packed.write_bytes(b"before")
    packed.chmod(0o640)

    for file in (plain, packed):
        done = export(environment, "-o", str(file))
        assert (done.returncode, done.stdout) == (0, b"")
        assert done.stderr.endswith(f"exported 100 events, {file.stat().st_size:,} bytes\n".encode())

    assert plain.read_bytes() == gzip.decompress(packed.read_bytes()) == body_of(lines)
    assert [file.stat().st_mode & 0o777 for file in (plain, packed)] == [0o600, 0o640]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl", "e.jsonl.gz"]
    assert export(environment, "-o", "-").stdout == body_of(lines)


def test_a_file_is_complete_or_unchanged(environment: dict[str, str], lines: list[bytes], tmp_path: Path) -> None:
    """An export that fails leaves the file as it was, and no part of a new one."""
    file = tmp_path / "e.jsonl"
    file.write_bytes(b"before")
    assert lines

    missing = run_command("export", "8", "-o", str(file), environment=environment)
    nowhere = export(environment, "-o", str(tmp_path / "nowhere" / "e.jsonl"))
    folder = export(environment, "-o", str(tmp_path))

    assert [done.returncode for done in (missing, nowhere, folder)] == [1, 1, 1]
    assert b"cannot be written" in nowhere.stderr
    assert b"cannot be written" in folder.stderr
    assert (file.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (b"before", ["e.jsonl"])
