"""Backup: a complete, consistent copy of the database while it is in use."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager, nullcontext, suppress
from stat import S_ISDIR
from typing import TYPE_CHECKING

from smsevents.catalog.milestones import BACKUP, reach
from smsevents.catalog.packs import objects_named
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.upkeep.pack_copies import copy_packs, packs_beside, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.upkeep.pack_copies import Pin

UNFINISHED = ".smsevents-unfinished"  # in the folder of packs until they may be used; no key begins with a dot

_NO_LINKS = {
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EMLINK,
}  # file systems without hard links, such as FAT, report these


def backup(database: Database, target: Path, now: int, past_pool: str | None = None) -> int:
    """Write a copy of the log as it is at one moment: the database, and beside it the folder of its packs, if any.

    Return the size of both in bytes. The packs are complete before the database has its name. The copy is written under
    a temporary name beside the target and synced. It gets the target's name only when it is complete, so a file with
    that name is always a complete backup. An existing file is never touched. Only the owner may read the copy (0600).
    It holds no free pages, and so no erased data. Readers and writers continue meanwhile. The database records that a
    backup was made at `now` (Unix ms).

    Of PostgreSQL, the copy is a dump for `pg_restore`. If the database is reached through a pool of connections,
    `past_pool` is the URL of the server itself.

    Raises `InvalidRequest` if the target exists, cannot be written, or is being written by another backup, or a program
    is missing, and
    `StoreUnavailable` if the database or a pack cannot be copied, and `DamagedSegment` if a pack is missing.
    """
    try:
        _check_free(target)
        with _part_of(target) as part, pinned(database) as pin:
            _check_free(target)  # another backup may have created it before this one got the part
            _remove_unfinished(packs_beside(target), packs_beside(part))
            with nullcontext() if pin is None else pin.renewed():
                named = database.dialect.copy_to(part, _nothing if pin is None else objects_named, past_pool)
            _sync(part)
            size = part.stat().st_size
            if pin is None:
                _name(part, target)
            else:
                size += _copy_packs(database, pin, part, target, named)
                with _finished(packs_beside(target)):
                    _name(part, target)
        _sync(target.parent)
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}. Choose another place.") from error
    except StoreUnavailable as error:
        raise StoreUnavailable(f"The backup failed. {error} Is there room for a copy at {target.parent}?") from error
    with suppress(StoreUnavailable):  # the backup is good even if the database cannot be written
        database.write(lambda connection: reach(connection, BACKUP, now))
    return size


def _nothing(_: Connection) -> Sequence[tuple[str, int]]:
    return ()


def _copy_packs(database: Database, pin: Pin, part: Path, target: Path, named: Sequence[tuple[str, int]]) -> int:
    """Copy the packs under a temporary name, which becomes that of the folder beside the target, as unfinished."""
    folder = packs_beside(target)
    _check_free(folder)
    temporary = packs_beside(part)
    try:
        size = copy_packs(database, pin, named, temporary)
        (temporary / UNFINISHED).touch()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(target.parent)
    return size


@contextmanager
def _finished(folder: Path) -> Iterator[None]:
    """Name the database in the block: from here on, the packs may belong to a complete backup.

    If it does not get its name, they are removed.
    """
    (folder / UNFINISHED).unlink()
    _sync(folder)
    try:
        yield
    except (InvalidRequest, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_unfinished(folder: Path, temporary: Path) -> None:
    """Remove the packs of a backup to the same target that was killed before the database got its name."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # then there can be no such folder, and without packs none is needed
            return
        raise
    if not S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or not (folder / UNFINISHED).is_file():
        return
    shutil.rmtree(temporary, ignore_errors=True)
    folder.rename(temporary)  # a kill while it is removed must not leave a part of it under the other name
    shutil.rmtree(temporary, ignore_errors=True)


def _check_free(target: Path) -> None:
    if os.path.lexists(target):  # true also for a link that leads nowhere
        raise _there_already(target)


def _there_already(target: Path) -> InvalidRequest:
    return InvalidRequest(f"{target} is there already. Give another name, or remove it first.")


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """Yield an empty file beside the target, for this backup alone. It is removed at the end.

    Remains of a killed backup under the same name are removed too. The lock is on a file that another backup may
    remove when it is done. So the lock counts only if the name still leads to the locked file. As long as it does, no
    other backup touches that name.
    """
    # the name has a fixed length for any target, because a name has at most 255 bytes
    part = target.with_name(f".{hashlib.sha256(target.name.encode(errors='surrogateescape')).hexdigest()[:16]}.part")
    with _locked(part, target) as handle:
        os.ftruncate(handle, 0)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _locked(part: Path, target: Path) -> Iterator[int]:
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InvalidRequest(f"Another backup writes {target} already. Wait for it to end.") from error
            ours = os.fstat(handle)
            if not _leads_to(part, ours):
                continue
            if ours.st_uid != os.geteuid():
                raise InvalidRequest(f"{part} belongs to another user. Remove it, or choose another place.")
            if ours.st_nlink > 1:  # of a backup killed after it got its name: that backup is complete, and stays
                part.unlink()
                continue
            yield handle
            return
        finally:
            os.close(handle)


def _leads_to(path: Path, file: os.stat_result) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino)


def _name(part: Path, target: Path) -> None:
    """Put the part under the name of the target. A file that has this name already is never replaced."""
    try:
        os.link(part, target)
    except FileExistsError as error:
        raise _there_already(target) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _check_free(target)
        part.rename(target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
