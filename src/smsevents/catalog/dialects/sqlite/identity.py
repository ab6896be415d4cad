"""Whether the file under a path is still the one that a server was started with.

A process that comes later, such as a worker that replaces another, must not open a file that was put there meanwhile:
the write-ahead log beside it is that of the first file, and SQLite would copy its pages into the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def identity_of(path: Path) -> str:
    """Return what tells a file from every other one on this machine; empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def require_same(path: Path, identity: str) -> None:
    """Raise `StoreUnavailable` if another file, or none, lies under the path by now."""
    if identity_of(path) != identity:
        raise StoreUnavailable(
            f"The database {path} was moved or replaced while the server ran. Put it back, or restart the server.",
            "The database of the server was moved or replaced. Try again later, and tell its operator.",
        )
