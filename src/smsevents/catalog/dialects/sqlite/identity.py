"""Whether the file at a path is still the one that a server was started with.

A process that starts later, such as a replacement worker, must not open a file that was put there meanwhile. The
write-ahead log beside it belongs to the first file, and SQLite would copy its pages into the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def identity_of(path: Path) -> str:
    """Return a text that identifies a file on this machine, or an empty one if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def require_same(path: Path, identity: str) -> None:
    """Raise `StoreUnavailable` if the file at the path was replaced or removed."""
    if identity_of(path) != identity:
        raise StoreUnavailable(
            f"The database {path} was moved or replaced while the server ran. Put it back, or restart the server.",
            "The database of the server was moved or replaced. Try again later, and tell its operator.",
        )
