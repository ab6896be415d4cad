"""What a store of files does with its folder and its disk, beyond the contract of every store."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.errors import ObjectGone, SettingError, StoreFull, StoreUnavailable
from smsevents.storage import open_store
from smsevents.storage.files import PART, FileStore, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "7/20260101/0199.pack"
OTHER = "7/20260101/0200.pack"
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder."""
    made = tmp_path / "packs"
    made.mkdir()
    return made


@pytest.fixture
def store(folder: Path) -> FileStore:
    """Return the store in it, with one object."""
    opened = FileStore(folder)
    opened.put(OTHER, [b"other"])
    return opened


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files, by their paths."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/packs", "/srv/packs"),
        ("file:///srv/packs/", "/srv/packs"),
        ("file:/srv/packs", "/srv/packs"),
        ("FILE:///srv/packs", "/srv/packs"),
        ("file:///a%20b/%23%3F", "/a b/#?"),
        ("file:///a b", "/a b"),
        ("file:///%C4%8De%C5%A1", "/češ"),
        ("file:///češ", "/češ"),
        ("file:///%FF", "/\udcff"),
        ("file:///a%2Fb", "/a/b"),
        ("file:///a+b", "/a+b"),
        ("file:///a%2520b", "/a%20b"),
    ],
)
def test_a_url_names_a_folder(url: str, path: str) -> None:
    """A URL with an absolute path names that folder, and the URL of the folder names it again."""
    assert folder_of(url) == Path(path)
    assert folder_of(Path(path).as_uri()) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        *("file:", "file:/", "file://", "file:///", "file:////", "file:///%2F", "file:relative", "file:./relative"),
        *("file://host/x", "file://localhost/x", "file://srv/packs", "file:///a?b", "file:///a#b", "file:///a%00b"),
        *("file://[/x", "FILE:relative"),
    ],
)
def test_a_url_that_names_no_folder_is_refused(url: str) -> None:
    """No part of a URL is ignored or guessed: the text names the setting and a form that works."""
    with pytest.raises(SettingError, match="SMSEVENTS_SEGMENTS"):
        open_store(url)


@pytest.mark.parametrize("url", ["gs://bucket", "/srv/packs", "packs", "http://x/y", "memory:", ":", "sqlite:///x"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    """A URL of another kind is refused with one that works."""
    with pytest.raises(SettingError, match="file:///srv"):
        open_store(url)


def test_a_folder_with_a_strange_name_can_be_used(tmp_path: Path) -> None:
    """A folder whose name has spaces, percent signs and bytes that are not UTF-8 is opened again by its URL."""
    folder = tmp_path / os.fsdecode(b"a b%20#?\xff")
    folder.mkdir()
    FileStore(folder).put(KEY, [b"abc"])
    again = open_store(FileStore(folder).url)
    assert again.read(KEY, 0, 10) == b"abc"
    assert again.url == FileStore(folder).url


@pytest.mark.parametrize("kind", ["missing", "a file", "a link to nowhere", "below a file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    """A store opens only a folder that is there. It never creates one: its disk may not be mounted."""
    path = tmp_path / "packs"
    if kind == "a file":
        path.write_bytes(b"")
    elif kind == "a link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "below a file":
        path.write_bytes(b"")
        path /= "packs"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreUnavailable, match="SMSEVENTS_SEGMENTS"):
        open_store(path.as_uri())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path, store: FileStore) -> None:
    """A link may lead to the folder."""
    link = tmp_path / "link"
    link.symlink_to(store.folder)
    assert FileStore(link).read(OTHER, 0, 10) == b"other"


USES: dict[str, Callable[[FileStore], object]] = {
    "put": lambda store: store.put(KEY, [b"abc"]),
    "read": lambda store: store.read(OTHER, 0, 1),
    "delete": lambda store: store.delete([OTHER]),
    "objects": lambda store: list(store.objects()),
    "check": lambda store: store.check_writable(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("another", ["nothing", "a folder", "a copy", "a file"])
def test_a_folder_that_was_replaced_is_not_used(tmp_path: Path, store: FileStore, use: str, another: str) -> None:
    """Whatever is in the place of the folder, nothing is done there, and no object is reported as gone."""
    away = tmp_path / "away"
    store.folder.rename(away)
    if another == "a folder":
        store.folder.mkdir()
    elif another == "a copy":
        store.folder.mkdir()
        (store.folder / OTHER).parent.mkdir(parents=True)
        (store.folder / OTHER).write_bytes(b"other")
    elif another == "a file":
        store.folder.write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    if (use, another) == ("read", "a copy"):
        assert store.read(OTHER, 0, 10) == b"other"  # a key is never used twice, so it is the same object
    else:
        with pytest.raises(StoreUnavailable):
            USES[use](store)
    assert sorted(tmp_path.rglob("*")) == before
    if store.folder.is_dir():
        for made in sorted(store.folder.rglob("*"), reverse=True):
            made.rmdir() if made.is_dir() else made.unlink()
        store.folder.rmdir()
    store.folder.unlink(missing_ok=True)
    away.rename(store.folder)
    store.put(KEY, [b"abc"])
    assert store.read(OTHER, 0, 10) == b"other"
    assert store.read(KEY, 0, 10) == b"abc"


def test_a_folder_that_goes_while_it_deletes_confirms_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the disk is unmounted in the middle of a delete, what was not found there does not count as gone."""
    unlink = Path.unlink

    def unmounted(path: Path, *, missing_ok: bool = False) -> None:
        if store.folder.exists():
            store.folder.rename(tmp_path / "away")
            store.folder.mkdir()
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unmounted)
    with pytest.raises(StoreUnavailable):
        store.delete([OTHER])
    assert files_in(tmp_path / "away") == {OTHER: b"other"}


def test_only_the_owner_may_read(folder: Path) -> None:
    """Files have the mode 0600 and folders 0700, whatever the mask of the process allows."""
    before = os.umask(0)
    try:
        FileStore(folder).put(KEY, [b"abc"])
    finally:
        os.umask(before)
    assert (folder / KEY).stat().st_mode & 0o7777 == 0o600
    for made in (folder / "7", folder / "7/20260101"):
        assert made.stat().st_mode & 0o7777 == 0o700


def test_folders_are_removed_with_their_last_object(store: FileStore) -> None:
    """The folders of a day and of a shop go with their last objects. The folder of the store stays."""
    store.put("7/20260102/a.pack", [b"a"])
    store.delete([OTHER])
    assert sorted(path.name for path in store.folder.rglob("*")) == ["20260102", "7", "a.pack"]
    store.delete(["7/20260102/a.pack"])
    assert list(store.folder.iterdir()) == []
    assert store.folder.is_dir()


def test_a_folder_that_goes_at_any_step_of_a_put_is_made_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another process removes an empty folder between any two steps of a put, the put succeeds all the same."""
    made: list[str] = []
    mkdir, opened = Path.mkdir, os.open

    def removing(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        made.append(path.name)
        if made.count(path.name) == 1:  # the first time it is removed at once
            path.rmdir()

    def removing_before(path: Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(PART) and made.count("20260102") == 2:
            made.append("removed")
            Path(path).parent.rmdir()
        return opened(path, flags, mode)

    monkeypatch.setattr(Path, "mkdir", removing)
    monkeypatch.setattr(os, "open", removing_before)
    store.put("8/20260102/a.pack", [b"abc"])
    assert "removed" in made
    assert store.read("8/20260102/a.pack", 0, 10) == b"abc"


def test_a_folder_that_always_goes_is_told(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a folder disappears each time, the put ends with an error."""
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        store.put("8/20260102/a.pack", [b"abc"])


def test_strange_names_in_the_folder_are_left_alone(store: FileStore) -> None:
    """What cannot be an object is not listed, read or deleted, whatever its name."""
    for name in ("lost+found/#1234", ".hidden", "7/with space.pack", "7/20260101/.x", "ž/x", "7/a\nb"):
        path = store.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"strange")
    os.mkfifo(store.folder / "fifo")
    (store.folder / "link").symlink_to("/etc/passwd")
    (store.folder / "linked").symlink_to("/etc")
    before = sorted(store.folder.rglob("*"))
    assert [one.key for one in store.objects()] == [OTHER]
    store.put(KEY, [b"abc"])
    assert list(store.delete([KEY])) == [KEY]
    assert sorted(store.folder.rglob("*")) == before


@pytest.mark.skipif(not IS_ROOT, reason="only root can be another user")
def test_a_folder_of_the_file_system_that_cannot_be_read_is_skipped(store: FileStore) -> None:
    """The `lost+found` of a disk belongs to root. A server of another user lists the objects all the same."""
    (store.folder / "lost+found").mkdir(mode=0o700)
    nobody = 65534
    for path in (store.folder, *store.folder.rglob("*")):
        if path.name != "lost+found":
            os.chown(path, nobody, nobody)
    for above in store.folder.parents[:3]:
        above.chmod(0o711)
    handle = os.open(store.folder, os.O_RDONLY)
    try:
        process = os.fork()
        if process == 0:
            try:
                os.setuid(nobody)
                os.chdir(handle)
                found = [one.key for one in FileStore(Path()).objects()]
                os._exit(0 if found == [OTHER] else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    finally:
        os.close(handle)


@pytest.mark.parametrize("key", ["../x", "/x", "a/../b", "", "a//b", "a/", ".x", "a/.b", "a b", "ž", "a\n"])
def test_a_key_never_leaves_the_folder(store: FileStore, key: str) -> None:
    """A key that is not a plain path below the folder is a defect of the caller, and touches nothing."""
    before = sorted(store.folder.parent.rglob("*"))
    for use in (lambda: store.put(key, [b""]), lambda: store.read(key, 0, 1), lambda: store.delete([key])):
        with pytest.raises(ValueError, match=r".*"):
            use()
    assert sorted(store.folder.parent.rglob("*")) == before


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder read-only over itself, in this mount namespace."""
    try:
        subprocess.run(["mount", "--bind", folder, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a folder can be mounted by root only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_read_only_folder_is_read_only(store: FileStore) -> None:
    """On a disk that is mounted read-only, objects are read and listed, nothing is confirmed as deleted, and puts fail.

    The check says so before a put does.
    """
    with read_only(store.folder):
        mounted = FileStore(store.folder)  # the device is the same, and the store that was open can go on, too
        for one in (mounted, store):
            with pytest.raises(StoreUnavailable, match="cannot be written"):
                one.check_writable()
            with pytest.raises(StoreUnavailable, match="cannot be written"):
                one.put(KEY, [b"abc"])
            assert list(one.delete([OTHER])) == []
            assert one.read(OTHER, 0, 10) == b"other"
            assert [found.key for found in one.objects()] == [OTHER]
    store.check_writable()
    assert files_in(store.folder) == {OTHER: b"other"}


def test_a_folder_without_permission_is_told(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check names the folder that this user cannot write."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(StoreUnavailable, match=f"{store.folder}.*cannot be written"):
        store.check_writable()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EMFILE])
def test_a_failed_read_is_no_missing_object(store: FileStore, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """An object that cannot be read is not gone."""

    def failing(*_: object) -> bytes:
        raise OSError(code, os.strerror(code))

    for name in ("open", "pread"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            with pytest.raises(StoreUnavailable, match=os.strerror(code)):
                store.read(OTHER, 0, 1)
    assert store.read(OTHER, 0, 10) == b"other"


@pytest.mark.parametrize("name", ["unlink", "fsync"])
def test_what_cannot_be_deleted_is_not_confirmed(store: FileStore, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of several objects, exactly those are confirmed whose files are gone for good."""
    store.put(KEY, [b"abc"])
    store.put("8/20260101/a.pack", [b"abc"])
    real = getattr(os, name)

    def failing(what: object, *rest: object, **options: object) -> object:
        path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else str(what)
        if "/7/" in path and not path.endswith(PART):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(what, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        assert list(store.delete([KEY, "8/20260101/a.pack", OTHER])) == ["8/20260101/a.pack"]
    assert sorted(store.delete([KEY, OTHER])) == [KEY, OTHER]
    assert files_in(store.folder) == {}


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 256 KiB on a folder."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(folder: Path) -> None:
    """An object that does not fit leaves no file, what was there stays, and a smaller object can be put after that."""
    with small_disk(folder):
        store = FileStore(folder)
        store.put(OTHER, [b"other"])
        free = store.free_bytes()
        assert free is not None
        for parts in ([bytes(300_000)], [b"x", bytes(100_000), bytes(200_000)]):
            with pytest.raises(StoreFull):
                store.put(KEY, parts)
            assert files_in(folder) == {OTHER: b"other"}
            assert store.free_bytes() == free
        store.put(KEY, [bytes(free)])
        assert store.free_bytes() == 0
        with pytest.raises(StoreFull):
            store.check_writable()
        with pytest.raises(StoreFull):
            store.put("8/20260101/a.pack", [b"a"])
        assert list(store.delete([KEY])) == [KEY]
        store.check_writable()
        assert store.read(OTHER, 0, 10) == b"other"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("name", ["mkdir", "open", "write", "fsync", "rename"])
def test_a_put_that_fails_at_a_step_leaves_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """Whatever step fails, and as often as it does, the put says why, and no part of a file is left."""
    real = getattr(os, name)

    def failing(*arguments: object, **options: object) -> object:
        if name != "open" or str(arguments[0]).endswith(PART):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    expected = StoreFull if code in {errno.ENOSPC, errno.EDQUOT} else StoreUnavailable
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        with pytest.raises(StoreUnavailable) as raised:
            store.put("8/20260101/a.pack", [b"abc"])
    assert type(raised.value) is expected
    assert files_in(store.folder) == {OTHER: b"other"}
    store.put("8/20260101/a.pack", [b"abc"])
    assert store.read("8/20260101/a.pack", 0, 10) == b"abc"


def test_short_writes_and_reads_are_continued(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may write or read less than it was asked to. Nothing is lost then."""
    write, pread = os.write, os.pread
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:7])))
    monkeypatch.setattr(os, "pread", lambda handle, size, start: pread(handle, min(size, 5), start))
    data = os.urandom(1000)
    store.put(KEY, [data[:503], data[503:]])
    assert (store.folder / KEY).read_bytes() == data
    assert store.read(KEY, 10, 900) == data[10:910]
    assert store.read(KEY, 990, 900) == data[990:]


def test_an_open_reader_survives_a_deletion(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is deleted after a reader opened it is read completely."""
    data = os.urandom(1000)
    store.put(KEY, [data])
    pread = os.pread
    deleted = threading.Event()

    def deleting(handle: int, size: int, start: int) -> bytes:
        if not deleted.is_set():
            deleted.set()
            assert list(store.delete([KEY])) == [KEY]
        return pread(handle, min(size, 100), start)

    monkeypatch.setattr(os, "pread", deleting)
    assert store.read(KEY, 0, 1000) == data
    with pytest.raises(ObjectGone):
        store.read(KEY, 0, 1)
