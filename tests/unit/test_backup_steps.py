"""Backup, step by step: a finished one is never touched, whatever other backups to the same name do."""

from __future__ import annotations

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.catalog.dialects.sqlite import files
from smsevents.catalog.dialects.sqlite.files import copy_to
from smsevents.errors import InvalidRequest
from smsevents.upkeep import backup as backups
from smsevents.upkeep.backup import backup
from tests.support.databases import is_intact, query
from tests.support.lines import line
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield a shop with some events."""
    made = Held(url)
    made.put(line(made.trackpoint, made.now - number) for number in range(100))
    yield made
    made.database.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a place for a backup, in a folder of its own."""
    return tmp_path / "copy.db"


def segments_of(path: Path) -> int:
    """Count the segments of a database, which is checked as a whole."""
    assert is_intact(path)
    ((count,),) = query(path, "SELECT count(*) FROM segments")
    return int(count)


def mode_of(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def at_its_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen between the opening of a temporary name and its lock, once."""
    flock = backups.fcntl.flock  # type: ignore[attr-defined]  # the module as the code sees it
    left = [happens]

    def late(handle: int, how: int) -> None:
        if left:
            left.pop()()
        flock(handle, how)

    monkeypatch.setattr(backups.fcntl, "flock", late)  # type: ignore[attr-defined]


def test_a_backup_that_is_late_does_not_truncate_a_finished_one(
    held: Held, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that opened the temporary name before another one was done leaves that one as it is, and says so."""
    at_its_lock(monkeypatch, lambda: backup(held.database, target, held.now))

    with pytest.raises(InvalidRequest, match="is there already"):
        backup(held.database, target, held.now)

    assert segments_of(target) == len(held.headers())
    assert list(target.parent.iterdir()) == [target]


def test_a_late_backup_starts_anew_where_the_finished_one_was_moved_away(
    held: Held, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a finished backup was moved away meanwhile, a late backup starts again, and both are complete."""
    moved = target.with_name("moved.db")

    def finish_and_move() -> None:
        backup(held.database, target, held.now)
        target.rename(moved)

    at_its_lock(monkeypatch, finish_and_move)
    backup(held.database, target, held.now)

    assert segments_of(target) == segments_of(moved) == len(held.headers())
    assert sorted(target.parent.iterdir()) == [target, moved]


def test_of_two_backups_at_once_one_wins(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one backup writes, another to the same name is refused at once, and the first one is complete."""
    copying, go_on = threading.Event(), threading.Event()

    def slow(path: Path, part: Path) -> None:
        copying.set()
        assert go_on.wait(60)
        copy_to(path, part)

    monkeypatch.setattr(files, "copy_to", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(backup, held.database, target, held.now)
        assert copying.wait(60)
        with pytest.raises(InvalidRequest, match="Another backup writes"):
            backup(held.database, target, held.now)
        go_on.set()
        assert first.result() == target.stat().st_size
    assert segments_of(target) == len(held.headers())
    assert list(target.parent.iterdir()) == [target]


def test_many_backups_at_once_leave_one(held: Held, target: Path) -> None:
    """Of many backups that start together one is made; the others tell why not, and nothing else is left."""
    barrier = threading.Barrier(8)

    def one(_: int) -> str:
        barrier.wait(60)
        try:
            backup(held.database, target, held.now)
        except InvalidRequest as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(one, range(8)))

    told.remove("")
    assert all("Another backup writes" in text or "is there already" in text for text in told)
    assert segments_of(target) == len(held.headers())
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_appears_meanwhile_stays(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else puts under the name while the copy is made is not replaced."""

    def beside(path: Path, part: Path) -> None:
        copy_to(path, part)
        target.write_bytes(b"precious")

    monkeypatch.setattr(files, "copy_to", beside)
    with pytest.raises(InvalidRequest, match="is there already"):
        backup(held.database, target, held.now)
    assert target.read_bytes() == b"precious"
    assert list(target.parent.iterdir()) == [target]


def test_a_link_that_leads_nowhere_is_not_replaced(held: Held, target: Path) -> None:
    """A name that is taken by a dangling link is taken."""
    target.symlink_to("nowhere")
    with pytest.raises(InvalidRequest, match="is there already"):
        backup(held.database, target, held.now)
    assert target.readlink() == Path("nowhere")


def part_of(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the temporary name of backups to a target."""
    seen: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(files, "copy_to", lambda _, part: seen.append(part))
        backup(held.database, target, held.now)
    target.unlink()
    return seen[0]


def test_what_a_killed_backup_left_is_used_again(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes under the temporary name, from a backup that was killed, end up in no backup."""
    part = part_of(held, target, monkeypatch)
    part.write_bytes(b"rubbish" * 1000)
    part.chmod(0o600)
    backup(held.database, target, held.now)
    assert segments_of(target) == len(held.headers())
    assert list(target.parent.iterdir()) == [target]


def test_a_backup_killed_once_it_had_its_name_is_kept(
    held: Held, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two names of a finished backup harms neither it, moved away, nor the next one."""
    part = part_of(held, target, monkeypatch)
    backup(held.database, target, held.now)
    os.link(target, part)
    moved = target.rename(target.with_name("moved.db"))

    backup(held.database, target, held.now)

    assert segments_of(target) == segments_of(moved) == len(held.headers())
    assert sorted(target.parent.iterdir()) == [target, moved]


def test_a_link_under_the_temporary_name_is_not_followed(
    held: Held, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup does not follow a link that someone put under the temporary name."""
    part = part_of(held, target, monkeypatch)
    precious = target.with_name("precious")
    precious.write_bytes(b"precious")
    part.symlink_to(precious)
    with pytest.raises(InvalidRequest, match="cannot be written"):
        backup(held.database, target, held.now)
    assert precious.read_bytes() == b"precious"
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_another_users_file_is_not_written(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user under the temporary name, who could read what is written to it, is refused."""
    part = part_of(held, target, monkeypatch)
    part.write_bytes(b"theirs")
    os.chown(part, 65534, 65534)
    with pytest.raises(InvalidRequest, match="belongs to another user"):
        backup(held.database, target, held.now)
    assert part.read_bytes() == b"theirs"
    assert not target.exists()


def test_without_hard_links_it_is_renamed(held: Held, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links the backup gets its name too, and nothing else is left."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(backups.os, "link", refuse)  # type: ignore[attr-defined]
    backup(held.database, target, held.now)
    assert segments_of(target) == len(held.headers())
    assert list(target.parent.iterdir()) == [target]


def test_files_are_their_owners_alone(url: str, tmp_path: Path) -> None:
    """The database, its other files and a backup are made 0600, whatever the umask says."""
    before = os.umask(0)
    try:
        held = Held(url)
        held.put([line(held.trackpoint, held.now)])
        held.compact()
        backup(held.database, tmp_path / "copy.db", held.now)
        files = [*held.path.parent.iterdir(), tmp_path / "copy.db"]
        assert {file.name for file in files} >= {"log.db", "log.db-wal", "log.db-shm", "copy.db"}
        assert {file.name: mode_of(file) for file in files} == {file.name: 0o600 for file in files}
        held.database.close()
    finally:
        os.umask(before)


def test_a_database_behind_a_link_is_its_owners_alone(url: str, tmp_path: Path) -> None:
    """Where the path of the database is a link to a file that is not there yet, that is made 0600 too."""
    link = Path(url.removeprefix("sqlite:///"))
    link.symlink_to(tmp_path / "elsewhere.db")
    before = os.umask(0)
    try:
        Held(url).database.close()
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert mode_of(tmp_path / "elsewhere.db") == 0o600


def test_a_database_that_is_there_keeps_its_mode(url: str) -> None:
    """Opening an existing database that a group can read does not change its permissions."""
    first = Held(url)
    first.database.close()
    first.path.chmod(0o640)
    again = Held.__new__(Held)
    again.database = type(first.database)(url)
    again.database.write(lambda _: None)
    assert mode_of(first.path) == 0o640
    assert {mode_of(file) for file in first.path.parent.glob("*-[ws]*")} == {0o640}
    again.database.close()
