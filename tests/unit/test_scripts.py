"""The scripts that install what tests and benchmark use: root gets it, others are shown what root has to run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BARE = ["sh", "ls", "dirname"]
LINE = "apt-get update && apt-get install -y --no-install-recommends chromium curl "
ORDINARY, SUPER = 1000, 0


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder for PATH that has almost nothing, and an apt-get that only writes down how it was called."""
    for name in BARE:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    _program(tmp_path / "apt-get", f'echo "$*" >> {tmp_path}/calls')
    return tmp_path


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(bare: Path, script: str, *words: str, user: int) -> subprocess.CompletedProcess[str]:
    """Run a script with that PATH alone, as if by a user."""
    _program(bare / "id", f"echo {user}")
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts" / script, *words],
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ordinary_user_is_told_the_line(bare: Path) -> None:
    """An ordinary user is shown the line for root, nothing is installed, and `make test` continues."""
    done = run(bare, "install-test-tools", user=ORDINARY)

    assert done.returncode == 0
    assert LINE in done.stderr
    assert not (bare / "calls").exists()


def test_root_installs_what_is_missing(bare: Path) -> None:
    """Root gets exactly the packages that others are shown, except those already installed."""
    told = run(bare, "install-test-tools", user=ORDINARY).stderr.split("--no-install-recommends ")[1].split()
    _program(bare / "chromium", "echo Chromium 140")

    done = run(bare, "install-test-tools", user=SUPER)

    update, install = (bare / "calls").read_text().splitlines()
    assert done.returncode == 0
    assert update.split()[0] == "update"
    assert [word for word in install.split()[1:] if not word.startswith("-")] == [
        package for package in told if package != "chromium"
    ]


def test_program_that_does_not_start_is_missing(bare: Path) -> None:
    """A program that is there and does not start, as one without its libraries, counts as missing."""
    _program(bare / "node", "echo cannot open shared object file >&2; exit 127")

    done = run(bare, "install-test-tools", "--probe", user=ORDINARY)

    assert done.returncode == 1
    assert "nodejs" in done.stderr


def test_failed_installation_is_a_failure(bare: Path) -> None:
    """Where apt-get fails the script fails, and with it `make test`."""
    _program(bare / "apt-get", "exit 100")

    assert run(bare, "install-test-tools", user=SUPER).returncode == 100


def test_benchmark_does_not_start_without_its_peers(bare: Path) -> None:
    """The benchmark's script tells an ordinary user the line for root, and fails, as nothing can be measured."""
    done = run(bare, "install-bench-tools", user=ORDINARY)

    assert done.returncode == 1
    assert "apt-get update && apt-get install -y --no-install-recommends curl" in done.stderr
    assert not (bare / "calls").exists()


def test_without_python_tools_uv_names_the_line(bare: Path, tmp_path: Path) -> None:
    """Without pip and venv there is no uv; the script says which package brings pip, and fails."""
    _program(bare / "python3", "exit 1")
    found = shutil.which("rm")
    assert found is not None
    (bare / "rm").symlink_to(found)
    (tmp_path / "folder").mkdir()

    done = subprocess.run(
        ["/bin/sh", ROOT / "scripts" / "install-uv"],
        cwd=tmp_path / "folder",
        env={"PATH": str(bare)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "apt-get install python3-pip" in done.stderr
    assert list((tmp_path / "folder").iterdir()) == []
