"""How many cores a server may use, also in a container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from smsevents.cli.cores import usable_cores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("told", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("400000 100000", 4)])
def test_a_container_may_use_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, cores: int) -> None:
    """A limit of processor time counts as so many cores, rounded up, and never as more than there are."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(told)
    assert usable_cores(tmp_path / "cpu.max") == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_cores(tmp_path / "cpu.max") == 1


@pytest.mark.parametrize("told", ["max 100000", "", "nonsense", "1 0"])
def test_without_a_limit_all_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """Where no limit is set, or none can be read, the cores count that the process may run on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    (tmp_path / "cpu.max").write_text(told)
    assert usable_cores(tmp_path / "cpu.max") == 3
    assert usable_cores(tmp_path / "missing") == 3
