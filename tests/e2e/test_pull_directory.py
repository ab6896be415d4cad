"""The directory of a pull: each fault in it is reported once, and files of other programs do no harm."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from smsevents.client.pull.days import Split
from smsevents.client.pull.directory import Directory
from smsevents.client.pull.errors import DirectoryUnusable
from smsevents.client.pull.formats import FormatName
from tests.support.pulling import DAYS, Site, some_lines
from tests.support.standin import Account

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


@pytest.mark.parametrize("text", [b"", b"\xff\xfe{", b"[" * 100_000, b'{"layout":"\xff"}', b"{}", b"null"])
def test_a_manifest_that_cannot_be_read_is_told(site: Site, text: bytes) -> None:
    """Whatever is in the place of the manifest, the message says what to do, and no file is touched."""
    site.standin.answers(Account(lines=some_lines(20)))
    site.pull()
    before = site.lines()
    manifest = site.path / ".smsevents" / "manifest.json"
    manifest.write_bytes(text)

    with pytest.raises(DirectoryUnusable, match="Move it away"):
        site.pull()

    assert site.lines() == before
    manifest.unlink()
    assert site.pull().is_complete
    assert site.lines() == before


@pytest.mark.parametrize("name", ["manifest.json", "new-1", "staged"])
def test_a_folder_or_file_in_the_way_is_named(site: Site, name: str) -> None:
    """A folder in the place of a file, or a file in the place of a folder, is named in one message."""
    state = site.path / ".smsevents"
    state.mkdir(parents=True)
    (state / name).write_bytes(b"") if name == "staged" else (state / name / "inner").mkdir(parents=True)

    with pytest.raises(DirectoryUnusable, match=rf"cannot be used: .*{name}"):
        site.pull()


def test_files_of_other_programs_are_left_alone(site: Site) -> None:
    """Files that file managers and backup programs leave among the staged days are not taken for days."""
    site.wish = {"split": Split.MONTH}
    lines = some_lines(50)
    site.standin.answers(Account(lines=lines))
    staged = site.path / ".smsevents" / "staged"
    staged.mkdir(parents=True)
    for name in (".DS_Store", "2026-11-20.1 (copy)", "2026-11-20", "x.1"):
        (staged / name).write_bytes(b"")

    assert site.pull().is_complete
    assert site.lines() == lines


def test_a_disk_that_is_full_at_the_end_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the final record of the days cannot be written, there is one message, and the files are kept."""
    lines = some_lines(50)
    site.standin.answers(Account(lines=lines))
    site.server_ahead_ms = None  # so that something is left to be written at the end

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Directory, "keep", full)
    with pytest.raises(DirectoryUnusable, match="No space left"):
        site.pull()

    assert site.lines() == lines


def test_days_that_cannot_be_noted_are_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If lost days cannot be recorded as reported, that is an error, and the next pull reports them."""
    site.standin.answers(Account(lines=some_lines(50)))
    site.pull()
    later = site.now + 200 * 86_400_000
    note = Directory.note_lost

    def full(_directory: Directory, _days: Iterable[date]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Directory, "note_lost", full)
    with pytest.raises(DirectoryUnusable, match="No space left"):
        site.pull(now=later, first=None, last=None)
    monkeypatch.setattr(Directory, "note_lost", note)
    assert DAYS[-1] in site.pull(now=later, first=None, last=None).lost


def test_a_file_with_impossible_times_is_written_anew(site: Site) -> None:
    """A file of an earlier version with a send date in nanoseconds becomes readable when its day is read again."""
    nanoseconds = b"1795477520731000000"
    lines = [re.sub(rb'"sendDate":[0-9]+', b'"sendDate":' + nanoseconds, one) for one in some_lines(5)]
    site.wish = {"format": FormatName.CSV, "compressed": False}
    site.standin.answers(Account(lines=lines))
    site.pull()
    name = site.names()[-1]
    path, manifest = site.path / name, site.path / ".smsevents" / "manifest.json"
    right = path.read_bytes()
    path.write_bytes(right.replace(b",\r\n", b"," + nanoseconds + b"\r\n"))
    known = json.loads(manifest.read_text())
    known["files"][name]["bytes"] = path.stat().st_size
    manifest.write_text(json.dumps(known))
    assert path.read_bytes() != right

    summary = site.pull()

    assert path.read_bytes() == right
    assert summary.is_complete
    assert (summary.events_new, site.heard.files[name]) == (0, True)
    site.pull()
    assert not any(site.heard.files.values())
