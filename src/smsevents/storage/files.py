"""Objects as files in a folder: each is written under another name, synced, renamed, and its folder is synced, too.

So a file that has the name of its key is complete, also after a power loss. Folders are created as needed. The folder
of the store itself never is: if it is missing, its disk is probably not mounted, and what would be written there would
be lost to the server once it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from smsevents.errors import DamagedSegment, ObjectGone, SettingError, StoreFull, StoreUnavailable
from smsevents.storage.base import OUTSIDE, Parts, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PART = ".part"  # the ending of an object's name until it is complete
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some network file systems have none
FILES_MODE = 0o600
FOLDERS_MODE = 0o700
PUT_TRIES_MAX = 5  # another process may remove an empty folder just after this one created it

_FULL = {errno.ENOSPC, errno.EDQUOT}
_name = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*")
_key = re.compile(rf"{_name.pattern}(/{_name.pattern})*")


def folder_of(url: str) -> Path:
    """Return the folder that a `file:` URL names. Raises `SettingError`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingError(f"SMSEVENTS_SEGMENTS is {url!r}, which is not a URL: {error}.") from error
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.startswith("/") or not path.strip("/") or "\0" in path:
        raise SettingError(
            f"SMSEVENTS_SEGMENTS is {url!r}. Use `file://` and the absolute path of a folder, with three slashes in"
            " all: file:///srv/smsevents/packs. Write `%23` for `#` and `%3F` for `?`."
        )
    return Path(path)


class FileStore:
    """Objects in the files of one folder."""

    prefers_long_reads = False

    def __init__(self, folder: Path, named_by: str = "SMSEVENTS_SEGMENTS") -> None:
        """Use a folder, which must exist. Raises `StoreUnavailable`. `named_by` is what it belongs to, for messages."""
        self.folder = folder
        self._folder_text = str(folder)
        self._named_by = named_by
        self._identity = self._identity_now()

    @property
    def url(self) -> str:
        """The URL that opens this store."""
        return self.folder.as_uri()

    def is_current(self) -> bool:
        """Return whether the name leads to the folder that was opened."""
        try:
            return self._identity_now() == self._identity
        except StoreUnavailable:
            return False

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Write a file durably: its bytes, its name, and the names of the folders above it."""
        path = self._path(key)
        self._check_same()
        with self._translated("written"):
            for tries_left in reversed(range(PUT_TRIES_MAX)):
                try:
                    self._make_folders(path)
                    with _alone_in(path.parent):
                        self._write(path, parts)
                except FileNotFoundError:  # a folder was empty for a moment, and another process removed it
                    if not tries_left:
                        raise
                else:
                    return

    def _write(self, path: Path, parts: Sequence[bytes]) -> None:
        part = _part_of(path)
        # a process that was killed may have left a part
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILES_MODE)
        try:
            try:
                for data in parts:
                    left = memoryview(data)
                    while left:
                        left = left[os.write(handle, left) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            part.rename(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        # all of them: another process may have created one just now, and not have synced it yet
        for folder in self._folders_of(path):
            _sync_folder(folder)
        self._check_same()  # else it was written below the place where a disk is mounted

    def _make_folders(self, path: Path) -> None:
        for folder in reversed(self._folders_of(path)[:-1]):
            with suppress(FileExistsError):
                folder.mkdir(mode=FOLDERS_MODE)
            self._check_no_link(folder)

    def _check_inside(self, path: Path) -> None:
        """Raise `StoreUnavailable` if a folder between a file and the folder of the store is a link."""
        for folder in self._folders_of(path)[:-1]:
            self._check_no_link(folder)

    def _check_no_link(self, folder: Path) -> None:
        """Raise `StoreUnavailable` if a folder within the store is a link.

        It may lead anywhere, and no list of the objects would have what is in it.
        """
        if folder.is_symlink():
            raise StoreUnavailable(
                f"{folder} in the folder of {self._named_by} is a link. Put the folder that it leads to in its"
                f" place, or link to the folder of {self._named_by} as a whole.",
                OUTSIDE,
            )

    def _folders_of(self, path: Path) -> list[Path]:
        """Return the folders that a file is in, from its own up to the one of the store."""
        depth = len(path.relative_to(self.folder).parts)
        return list(path.parents[:depth])

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return a part of a file."""
        name = f"{self._folder_text}/{_checked(key)}"  # a `Path` takes as long to build as the file to open
        try:
            handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            self._check_same()  # a folder that is not mounted does not mean that a pack is missing
            raise ObjectGone(key) from error
        except OSError as error:
            raise self._unavailable("read", error) from error
        try:
            return _read_from(handle, start, size)
        except OSError as error:
            if error.errno == errno.EIO:
                raise DamagedSegment(f"Pack {key} is damaged: the disk cannot read all of it.") from error
            raise self._unavailable("read", error) from error
        finally:
            os.close(handle)

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Parts:  # noqa: ARG002 -- of others
        """Return a part of an object, each piece of which is read when it is taken."""
        return Parts(self, key, start)

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Unlink files, and folders that are empty then. Return the keys of the files that are gone, durably.

        What a process that was killed left of a file goes, too.
        """
        self._check_same()
        gone: dict[Path, list[str]] = {}
        for key in keys:
            path = self._path(key)
            try:
                self._check_inside(path)
                for one in (path, _part_of(path)):
                    with suppress(NotADirectoryError):  # then it cannot be there
                        one.unlink(missing_ok=True)
            except (OSError, StoreUnavailable):
                continue
            gone.setdefault(path.parent, []).append(key)
        confirmed: list[str] = []
        for folder, theirs in gone.items():
            try:
                self._sync_unlinked(folder)
            except OSError:
                continue
            confirmed += theirs
            self._remove_empty(folder)
        self._check_same()  # what was not found is not gone if its disk was unmounted meanwhile
        return confirmed

    def _sync_unlinked(self, folder: Path) -> None:
        """Sync a folder. If another process removed it, because it was empty, sync the one above it instead."""
        while True:
            try:
                _sync_folder(folder)
            except (FileNotFoundError, NotADirectoryError):
                if folder == self.folder:
                    raise
                folder = folder.parent
            else:
                return

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # it is not empty
            while folder != self.folder:
                with suppress(FileNotFoundError):  # by another process, which may have been killed then
                    folder.rmdir()
                folder = folder.parent

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the files, including those that were not written completely."""
        self._check_same()
        with self._translated("read"):
            top = self.folder / prefix.rpartition("/")[0]
            for folder, folders, names in os.walk(top, onerror=_raise_unless_gone):
                # others, such as `lost+found`, belong to the file system, and may not be readable
                folders[:] = filter(_name.fullmatch, folders)
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self.folder).as_posix()
                    if not key.startswith(prefix) or not _key.fullmatch(key):
                        continue
                    try:
                        found = path.lstat()
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(found.st_mode):
                        yield StoredObject(key, found.st_size, found.st_mtime_ns // 1_000_000)

    def unsafe(self) -> str | None:
        """Return None: an unlinked file is gone for everyone who uses the file system."""
        return None

    def check_writable(self) -> None:
        """Check that the folder is the one that was opened, that it can be written, and that its disk is not full."""
        self._check_same()
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise StoreUnavailable(
                f"The folder {self.folder} of {self._named_by} cannot be written. Its files must belong to the user"
                " that runs smsevents, and its disk must not be mounted read-only.",
                OUTSIDE,
            )
        if self.free_bytes() == 0:
            raise self._full()

    def free_bytes(self) -> int | None:
        """Return the free space of the folder's disk."""
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def _path(self, key: str) -> Path:
        return self.folder / _checked(key)

    def _identity_now(self) -> tuple[int, int]:
        try:
            found = self.folder.stat()
        except OSError as error:
            raise StoreUnavailable(
                f"The folder {self.folder} of {self._named_by} cannot be used: {error.strerror}."
                " If it is on a disk of its own, mount that. Otherwise create the folder, for the user that runs"
                " smsevents.",
                OUTSIDE,
            ) from error
        if not stat.S_ISDIR(found.st_mode):
            raise StoreUnavailable(
                f"{self.folder} of {self._named_by} is not a folder. Name a folder for the packs.", OUTSIDE
            )
        return found.st_dev, found.st_ino

    def _check_same(self) -> None:
        """Raise `StoreUnavailable` if the name leads to another folder than when the store was opened."""
        if self._identity_now() != self._identity:
            raise StoreUnavailable(
                f"The folder {self.folder} of {self._named_by} was replaced, or its disk was mounted or unmounted."
                " What is there now is used if it holds the packs of the database. Otherwise put it back.",
                OUTSIDE,
            )

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unavailable(done, error) from error

    def _unavailable(self, done: str, error: OSError) -> StoreUnavailable:
        if error.errno in _FULL:
            return self._full()
        return StoreUnavailable(
            f"The folder {self.folder} of {self._named_by} cannot be {done}: {error.strerror}.", OUTSIDE
        )

    def _full(self) -> StoreFull:
        return StoreFull(
            f"The disk of the folder {self.folder} of {self._named_by} is full. Free some room there.",
            "The disk of the server is full. Try again later, and tell its operator.",
        )


def _checked(key: str) -> str:
    if not _key.fullmatch(key):
        raise ValueError(key)  # keys are made here or read from the catalog: this is a defect
    return key


def _part_of(path: Path) -> Path:
    """Return the path of a file until it is complete."""
    return path.with_name(path.name + PART)


def _read_from(handle: int, start: int, size: int) -> bytes:
    data = os.pread(handle, size, start)
    if len(data) == size or not data:
        return data
    runs = [data]  # the kernel may return less than is there, at most 2 GiB at once
    held = len(data)
    while held < size and (data := os.pread(handle, size - held, start + held)):
        runs.append(data)
        held += len(data)
    return b"".join(runs)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let no other process write objects into a folder during the block. The lock ends with its process.

    Keys of packs are random, but the marker has one name, and two processes may renew it at the same time. One of them
    would otherwise rename the file that the other has just begun to write.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise_unless_gone(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error
