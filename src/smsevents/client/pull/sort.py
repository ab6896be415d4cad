"""External merge sort: sort a stream of any length in bounded memory, and remove duplicates.

Entries are buffered up to a limit, then sorted and written to a run. Input that is already in order, as smsevents
sends it, makes a single run of any length.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from contextlib import contextmanager
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Self

from smsevents.client.pull.lines import batches_of
from smsevents.wire.deflate import igzip
from smsevents.wire.lines import Entry, join_lines, parse_entries, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PULL_SORT_HELD_MAX_BYTES = 24 * 1024 * 1024
PULL_RUNS_MAX = 16  # all jobs together must stay below the open-file limit of a process
PULL_RUN_READ_BYTES = 256 * 1024

BATCH_ENTRIES = 4096
_COMPRESSION_LEVEL = 1  # fast: the files are read once
# Memory for an entry besides the bytes of its line: a tuple, an integer, the header of a bytes object.
_ENTRY_OVERHEAD_BYTES = 150
_line_of = itemgetter(1)


class _Run:
    """Sorted lines in an unnamed temporary file, which never outlives the process."""

    def __init__(self, folder: Path, *, is_compressed: bool) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- closed by `close`
        self._is_compressed = is_compressed
        self.last: Entry = (0, b"")

    def append(self, entries: list[Entry]) -> None:
        """Add entries at the end, when nothing was read yet or all was read."""
        with self._writer() as file:
            for batch in batches_of(entries, BATCH_ENTRIES):
                file.write(join_lines(batch))
        self.last = entries[-1]

    @contextmanager
    def _writer(self) -> Iterator[IO[bytes]]:
        if not self._is_compressed:
            yield self._file
            return
        # a member of its own; those of a file are read as one
        with igzip.open(self._file, "wb", _COMPRESSION_LEVEL) as file:  # type: ignore[no-untyped-call]
            yield file

    def batches(self) -> Iterator[list[Entry]]:
        self._file.seek(0)
        file = igzip.open(self._file, "rb") if self._is_compressed else self._file  # type: ignore[no-untyped-call]
        return batches_of_lines(file, PULL_RUN_READ_BYTES)

    def close(self) -> None:
        self._file.close()


class Sorter:
    """Sorts entries and removes duplicates. Use it in a `with` block.

    Raises `OSError` if its temporary files cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        held_max_bytes: int = PULL_SORT_HELD_MAX_BYTES,
        runs_max: int = PULL_RUNS_MAX,
        is_compressed: bool = False,
    ) -> None:
        """Put temporary files into `folder`, compressed if that is true.

        The limits apply to the buffer and the number of runs merged at once.
        """
        self._folder = folder
        self._held_max_bytes = held_max_bytes
        self._runs_max = runs_max
        self._is_compressed = is_compressed
        self._held: list[Entry] = []
        self._held_bytes = 0
        # Runs by level: `runs_max` runs of a level are merged into one run of the next level. So each entry
        # is written once per level, and the number of open files stays small for any length.
        self._levels: list[list[_Run]] = [[]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs():
            run.close()

    def add(self, entries: list[Entry]) -> None:
        """Add entries."""
        self._held += entries
        self._held_bytes += sum(map(len, map(_line_of, entries))) + _ENTRY_OVERHEAD_BYTES * len(entries)
        if self._held_bytes >= self._held_max_bytes:
            self._spill()

    @property
    def has_entries(self) -> bool:
        """Whether any entry was added."""
        return bool(self._held) or any(self._levels)

    def batches(self) -> Iterator[list[Entry]]:
        """Return all entries in batches, sorted and without duplicates. Can be called repeatedly."""
        self._held = unique(self._held)
        return merged([*(run.batches() for run in self._runs()), batches_of(self._held, BATCH_ENTRIES)])

    def _runs(self) -> list[_Run]:
        return [run for level in self._levels for run in level]

    def _spill(self) -> None:
        held = unique(self._held)
        self._held, self._held_bytes = [], 0
        runs = self._levels[0]
        if not runs or runs[-1].last >= held[0]:
            self._make_room(0)
            runs.append(_Run(self._folder, is_compressed=self._is_compressed))
        runs[-1].append(held)

    def _make_room(self, level: int) -> None:
        runs = self._levels[level]
        if len(runs) < self._runs_max:
            return
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._make_room(level + 1)
        whole = _Run(self._folder, is_compressed=self._is_compressed)
        self._levels[level + 1].append(whole)
        for batch in merged([run.batches() for run in runs]):
            whole.append(batch)
        for run in runs:
            run.close()
        runs.clear()


def batches_of_lines(file: IO[bytes], size_bytes: int) -> Iterator[list[Entry]]:
    """Read a file of canonical lines from where it stands, in batches of about a size."""
    while block := file.read(size_bytes):
        yield parse_entries(block + file.readline())


def merged(sources: Iterable[Iterator[list[Entry]]]) -> Iterator[list[Entry]]:
    """Merge sources of sorted batches into one without duplicates. Holds one batch of each source in memory.

    Each round takes the entries up to the smallest last entry of all batches. No source can still yield an entry
    before that, so equal entries meet in the same round.
    """
    heads = [(batch, source) for source in sources if (batch := next(source, []))]
    while len(heads) > 1:
        bound = min(batch[-1] for batch, _ in heads)
        taken: list[Entry] = []
        kept = []
        for batch, source in heads:
            cut = bisect_right(batch, bound)
            taken += batch[:cut]
            rest = batch[cut:] or next(source, [])
            if rest:
                kept.append((rest, source))
        heads = kept
        yield unique(taken)
    for batch, source in heads:
        yield batch
        yield from source
