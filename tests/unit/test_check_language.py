"""The check of words: what it finds, where it looks, and what it lets pass."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check-language"


def check(root: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """Run the check in a project that has these texts and nothing else."""
    places = {"readme": "README.md", "makefile": "Makefile", "page": "docs/page.md", "czech": "docs/page.cs.md"}
    places |= {
        "changelog": "CHANGELOG.md",
        "test": "tests/a.py",
        "source": "src/a.py",
        "script": "scripts/check-language",
    }
    for name, place in places.items():
        path = root / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(files.get(name, ""), "utf-8")
    shutil.copy(SCRIPT, root / places["script"])
    return subprocess.run([sys.executable, root / places["script"]], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("readme", "The file is\nwritten anew.", "README.md:2: 'anew'"),
        ("page", "A list:\n\n- that is no\n  event", "docs/page.md:3: 'is no'"),
        ("makefile", "all: ## mends it", "Makefile:1: 'mends'"),
        ("source", 'A = 1\nB = f"{A} is doubled"\n', "src/a.py:2: 'doubled'"),
        ("source", 'def a():\n    """Do it.\n\n    Whoever calls\n    """\n', "src/a.py:4: 'Whoever'"),
        ("source", 'def a():\n    """Give the sum."""\n', "src/a.py:2: 'Give '"),
        ("changelog", "A cut export is refused.", "CHANGELOG.md:1: 'cut export'"),
        ("test", 'def a():\n    """The export is whole."""\n', "tests/a.py:2: 'export is whole'"),
    ],
)
def test_a_word_that_is_gone_is_found(tmp_path: Path, name: str, text: str, where: str) -> None:
    """A removed word in a page, a text or a docstring fails the check, which names the file and the line."""
    done = check(tmp_path, **{name: text})

    assert done.returncode == 1
    assert done.stderr.startswith(where)
    assert done.stderr.count("\n") == 1


def test_other_texts_pass(tmp_path: Path) -> None:
    """Words that only contain one of them, right uses, Czech pages and names in code pass without a word."""
    done = check(
        tmp_path,
        readme="There is no shop. It is no longer there. Listen on every network, for everyone; it redoubled.",
        czech="anew",
        source="doubled = 1  # anew\n",
        test='def a():\n    """A clear cut."""\n    return "anew"\n',
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
