"""Files and folders that cannot be written, also for root."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WRITE = 0o222


@contextmanager
def not_writable(path: Path) -> Iterator[None]:
    """Make a file or folder read-only in the block: by its mode, or by an attribute for root, who ignores modes."""
    if os.geteuid() != 0:
        mode = path.stat().st_mode
        path.chmod(mode & ~_WRITE)
        try:
            yield
        finally:
            path.chmod(mode)
        return
    _change("+i", path)
    try:
        yield
    finally:
        _change("-i", path)


def _change(attribute: str, path: Path) -> None:
    if shutil.which("chattr") is None:
        _not_here("the command chattr is missing")
    refused = subprocess.run(["chattr", attribute, str(path)], capture_output=True, text=True, check=False).stderr
    if refused:
        _not_here(refused)


def _not_here(reason: str) -> None:
    end = pytest.fail if "CI" in os.environ else pytest.skip
    end(f"files cannot be protected here: {reason}")


@contextmanager
def full_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """Mount a small disk at `folder`, which must exist, and yield its path. The caller fills it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        _not_here("a disk can be mounted by root only")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    if refused:
        _not_here(refused)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """Make the disk that is mounted at `folder` read-only; nothing on it may be open for writing."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
