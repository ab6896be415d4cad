"""An exact count of different lines, in bounded memory."""

from __future__ import annotations

import heapq
import os
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Self

from smsevents.segments.spool import open_temporary, write_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

DIGEST_BYTES = 16  # of a cryptographic hash: in practice no two lines share a digest
DISTINCT_HELD_MAX_BYTES = 4 * 1024 * 1024  # of digests; as Python objects they take several times as much
DISTINCT_READ_BYTES = 64 * 1024  # of each run of DISTINCT_HELD_MAX_BYTES, while they are merged


class Distinct:
    """Counts different lines. Use it as a context manager: `add` … `add`, then `count`.

    Digests of lines are held in memory up to a bound. Then they are sorted and written to a temporary file without a
    name, as one run. Counting merges these runs.
    """

    def __init__(self, held_max_bytes: int = DISTINCT_HELD_MAX_BYTES) -> None:
        """Hold up to `held_max_bytes` of digests in memory."""
        self._held_max = max(1, held_max_bytes // DIGEST_BYTES)
        self._held: set[bytes] = set()
        self._file: IO[bytes] | None = None
        self._ends = [0]  # of the runs in the file; each run begins where the previous one ends

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, lines: Iterable[bytes]) -> None:
        """Take lines. Raises `StoreFull` if there is no room for temporary files."""
        for line in lines:
            self._held.add(blake2b(line, digest_size=DIGEST_BYTES).digest())
            if len(self._held) >= self._held_max:
                self._put_down()

    def count(self) -> int:
        """Return how many different lines were added."""
        if self._file is None:
            return len(self._held)
        count = 0
        before = b""
        for digest in heapq.merge(sorted(self._held), *map(self._run, range(len(self._ends) - 1))):
            count += digest != before
            before = digest
        return count

    def _put_down(self) -> None:
        if self._file is None:
            self._file = open_temporary()
        write_temporary(self._file, b"".join(sorted(self._held)))
        self._ends.append(self._ends[-1] + len(self._held) * DIGEST_BYTES)
        self._held.clear()

    def _run(self, number: int) -> Iterator[bytes]:
        """Yield the digests of a run, in order."""
        if self._file is None:
            return
        start, end = self._ends[number], self._ends[number + 1]
        while start < end:
            part = os.pread(self._file.fileno(), min(DISTINCT_READ_BYTES, end - start), start)
            if not part:
                return
            start += len(part)
            yield from (part[at : at + DIGEST_BYTES] for at in range(0, len(part), DIGEST_BYTES))
