"""Locks between processes: locked files, which the operating system unlocks however a process ends."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smsevents.client.errors import ConfigurationError
from smsevents.client.platforms import is_private, remove_locked, try_lock, user_name

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@contextmanager
def held(name: str) -> Iterator[bool]:
    """Hold a named lock of this user for the block, and leave no file. Yield False if another process holds it."""
    path = lock_folder() / f"{name}.lock"
    descriptor = _opened(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        remove_locked(path, descriptor)


def _opened(path: Path) -> int | None:
    """Open and lock a file. If its previous holder removes the file meanwhile, create it again."""
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
    """Return a folder that belongs to this user alone, `~/.cache/smsevents`. It is created if missing.

    If there is no writable home, the folder is in the temporary folder. Raises `ConfigurationError` if another user
    has already taken its name there.
    """
    try:
        home = Path.home()
        if not home.is_dir():
            raise NotADirectoryError(home)  # do not create it
        folder = home / ".cache" / "smsevents"
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and _is_ours(folder):
            return folder
    except (OSError, RuntimeError):
        pass  # no home, or one that is not writable, as for services
    folder = Path(tempfile.gettempdir()) / f"smsevents-{user_name()}"
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        ours = _is_ours(folder)
    except OSError as error:
        raise ConfigurationError(
            f"The lock folder {folder} cannot be created: {error.strerror}. Set HOME or TMPDIR to a folder of your own."
        ) from error
    if not ours:
        raise ConfigurationError(
            f"The lock folder {folder} does not belong to this user alone. Set HOME or TMPDIR to a folder of your own."
        )
    return folder


def _is_ours(folder: Path) -> bool:
    """Return whether the path is a folder that only this user can write to, so that no one else can take its locks."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and is_private(found)
