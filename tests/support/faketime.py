"""A wall clock that is wrong, for real processes: faketime stands between them and the system's clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class WrongClock:
    """The wall clock of the processes that run with its environment; the clock that cannot be set stays right."""

    def __init__(self, folder: Path, offset: str = "+0") -> None:
        """Create a clock with an offset such as `+100d`, or skip the test if faketime is not installed."""
        if shutil.which("faketime") is None:
            assert "CI" not in os.environ, "CI must have faketime"
            pytest.skip("faketime is not installed; `make test` installs it where it may")
        made = subprocess.run(["faketime", "-m", "-f", "+0", "env"], capture_output=True, text=True, check=True)
        preload = next(row for row in made.stdout.splitlines() if row.startswith("LD_PRELOAD="))
        self._file = folder / "faketime"
        self.set(offset)
        self.environment = {
            "LD_PRELOAD": preload.removeprefix("LD_PRELOAD="),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """Set the clock, also of processes that run."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._file)  # atomic, so that no process reads half of it
