"""The inventory of each package, in the docstring of its `__init__`, compared with its files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import smsevents

ROOT = Path(smsevents.__file__).parent
PACKAGES = sorted(
    {path.parent for path in ROOT.rglob("*.py") if path.parent != ROOT and "migrations" not in path.parts}
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_lists_its_files(package: Path) -> None:
    """A package's docstring lists each of its files and packages, with what it is for, and nothing else."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    listed = re.findall(r"^([a-z0-9_]+(?:\.py|/)) +\S", docstring, flags=re.MULTILINE)
    there = {path.name for path in package.glob("*.py")} - {"__init__.py"} | {
        f"{path.name}/" for path in package.iterdir() if path.is_dir() and any(path.glob("*.py"))
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == there
