"""The program as it was at an earlier commit of this repository."""

from __future__ import annotations

import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def source_at(commit: str, folder: Path) -> Path:
    """Return a folder for PYTHONPATH with the program at a commit. Skip the test if this clone does not have it."""
    if _git("merge-base", "--is-ancestor", commit, "HEAD").returncode:
        pytest.skip(f"this is not a complete clone: {commit[:8]} is not in the history of HEAD")
    archive = folder / "earlier.tar"
    assert _git("archive", f"--output={archive}", commit, "src").returncode == 0
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "src"


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
