"""Locks between processes: files that the operating system lets go of however a process ends."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smsevents.client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file; tell whether nobody else has it. The lock ends when the file is closed."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file; tell whether nobody else has it. The lock ends when the file is closed."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def held(name: str) -> Iterator[bool]:
    """Hold a lock of this user by its name for the block, and leave no file; give False if somebody has it."""
    path = lock_folder() / f"{name}.lock"
    descriptor = _opened(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # while it is still locked: see _opened
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    """Open and lock a file that may be removed by its previous holder: then it is created again."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), PRIVATE_FILE)
        if not try_lock(descriptor):
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def lock_folder() -> Path:
    """Give a folder that belongs to this user alone, made if need be: `~/.cache/smsevents`.

    Where there is no home that can be written, it is one in the folder of temporary files; there another user may
    have taken the name, which is told. Raises `ConfigurationError`.
    """
    try:
        home = Path.home()
        if not home.is_dir():
            raise NotADirectoryError(home)  # it is not for us to make
        folder = home / ".cache" / "smsevents"
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and _is_ours(folder):
            return folder
    except (OSError, RuntimeError):
        pass  # no home, or one that cannot be written, as services have
    user = str(os.getuid()) if sys.platform != "win32" else "user"
    folder = Path(tempfile.gettempdir()) / f"smsevents-{user}"
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        ours = _is_ours(folder)
    except OSError as error:
        raise ConfigurationError(f"{folder}, the folder for locks, cannot be made: {error.strerror}.") from error
    if not ours:
        raise ConfigurationError(
            f"{folder}, the folder for locks, belongs to somebody else. Set HOME or TMPDIR to a folder of your own."
        )
    return folder


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is one, and this user's, so that nobody else can take a lock in it first."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return sys.platform == "win32" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
