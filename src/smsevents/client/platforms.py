"""What operating systems do differently: locks, folders on disk, and the owner of a file.

Windows has no way to flush a folder to disk: NTFS writes its changes to a journal, so after a crash a rename has
happened or has not. It has no numbers of users either: the folders of a user are protected by their access lists.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_WRITABLE_BY_OTHERS = 0o022

if sys.platform == "win32":
    import msvcrt

    # Windows denies other processes access to locked bytes. This one is after the end of any lock file, so that the
    # content can be read while the lock is held.
    _LOCKED_AT_BYTE = 1024 * 1024 * 1024

    def try_lock(descriptor: int) -> bool:
        """Lock an open file. Return False if another process holds the lock. Closing the file releases it."""
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _LOCKED_AT_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
        return True

    def remove_locked(path: Path, descriptor: int) -> None:
        """Remove and close a locked file. If another process has opened it meanwhile, the file stays for that one."""
        os.close(descriptor)  # Windows does not remove an open file
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def flush_folder(_path: Path) -> None:
        """Do nothing: see the text of this module."""

    def user_name() -> str:
        """Return a name for the user, for files in a folder that users share; on Windows, each has a folder of it."""
        return "user"

    def is_private(_status: os.stat_result) -> bool:
        """Return whether only this user may write to a file: on Windows, the folder of temporary files is private."""
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file. Return False if another process holds the lock. Closing the file releases it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def remove_locked(path: Path, descriptor: int) -> None:
        """Remove and close a locked file. It is removed while it is locked, so another process cannot lose its lock."""
        path.unlink(missing_ok=True)
        os.close(descriptor)

    def flush_folder(path: Path) -> None:
        """Flush a folder to disk, so that a rename in it survives a crash."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def user_name() -> str:
        """Return a name for the user, for files in a folder that users share."""
        return str(os.getuid())

    def is_private(status: os.stat_result) -> bool:
        """Return whether a file belongs to this user, and no other user may write to it."""
        return status.st_uid == os.getuid() and not status.st_mode & _WRITABLE_BY_OTHERS
