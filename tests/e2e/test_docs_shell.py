"""The shell commands on the API pages, run exactly as shown against real servers, from top to bottom."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from tests.support.documents import ROOT, Page
from tests.support.servers import Server, add_shop

SHOP = 4541245641234564
SHELLS = {"sh", "bash"}
PAGES = [ROOT / "docs" / "api.md", ROOT / "docs" / "api.cs.md"]


class Shell:
    """Runs blocks in a folder, each in its own bash, and keeps what they export."""

    def __init__(self, folder: Path) -> None:
        """Put only the command `smsevents` on the path and use nothing else of the current environment."""
        self.folder = folder
        self.variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)}

    def run(self, block: str, **variables: str) -> str:
        """Run a block and return its standard output; the block stops at the first command that fails."""
        done = subprocess.run(
            ["bash", "-euc", block],
            cwd=self.folder,
            env=self.variables | variables,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()


@pytest.mark.parametrize(
    "path", [PAGES[0], pytest.param(PAGES[1], marks=pytest.mark.campaign)], ids=lambda path: path.name
)
def test_lines_of_the_api(path: Path, tmp_path: Path) -> None:
    """Each call on the page does what it should: none is refused, and every event comes back."""
    if shutil.which("curl") is None:
        assert "CI" not in os.environ, "CI must have curl"
        pytest.skip("curl is not installed; `make test` installs it where it may")
    blocks = [text for language, text in Page(path).blocks if language in SHELLS]
    assert len(blocks) > 7
    (tmp_path / "copy").mkdir()
    here, there = Server(tmp_path), Server(tmp_path / "copy")
    try:
        shell = Shell(tmp_path)
        shell.variables |= {"SMSEVENTS_DATABASE": here.url}
        key = shell.run(blocks.pop(0) + 'echo "$KEY"').strip()
        lines = shell.run(
            f"smsevents generate {SHOP} --events 500 | tee all.jsonl | smsevents import {SHOP} - ; cat all.jsonl"
        )
        other = add_shop(there.url, SHOP).key
        database = open_catalog(here.url)
        admin = Access(database).create_key(SHOP, ["admin"])
        database.close()
        shell.run(f"smsevents receiver create {SHOP} --gateway jasmin")  # the text tells to do so

        for block in blocks:
            text = block.replace(":8080", f":{here.port}").replace(":8081", f":{there.port}")
            shown = shell.run(text.replace("sms_…", admin), KEY=other if ":8081" in block else key, KEY_OF_SOURCE=key)
            assert "about:blank" not in shown, shown  # a problem

        assert sorted((tmp_path / "events.jsonl").read_text().splitlines()) == sorted(lines.splitlines())
        for database_url in (there.url, f"sqlite:///{tmp_path / 'copy.db'}"):
            copied = shell.run(f"smsevents export {SHOP} --database {database_url}")
            assert sorted(copied.splitlines()) == sorted(lines.splitlines())
    finally:
        here.stop()
        there.stop()


def test_both_languages_show_the_same_lines() -> None:
    """The English and the Czech page of the API show the same shell commands."""
    english, czech = ([text for language, text in Page(path).blocks if language in SHELLS] for path in PAGES)

    assert english == czech
