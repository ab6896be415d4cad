"""Whether anything was committed to a SQLite file, by whichever process, without reading its pages."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Commits:
    """Watches the commits to a file through a connection of its own. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Watch the file at a path. Nothing is opened yet."""
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def mark(self) -> int | None:
        """Return a number that differs after each commit of any other connection, or None if it is unknown.

        This takes some microseconds and waits for no lock: SQLite compares its index of the write-ahead log, which is
        shared memory (https://www.sqlite.org/pragma.html#pragma_data_version).
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                ((mark,),) = self._connection.execute("PRAGMA data_version").fetchall()
            except sqlite3.Error:
                # perhaps busy, which does not last; whoever reads the file itself meets any other error
                return None
        return int(mark)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
