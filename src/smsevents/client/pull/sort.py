"""Sort a stream of any length, each entry once, in bounded memory: runs in files, then merged.

Entries are held until there are many, then they are sorted and go to a run. What arrives in order already,
as smsevents sends it, needs no sorting and makes one run however long it is.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Self

from smsevents.client.pull.lines import batches_of
from smsevents.wire.lines import Entry, join_lines, parse_entries, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PULL_SORT_HELD_MAX_BYTES = 24 * 1024 * 1024
PULL_RUNS_MAX = 16  # all jobs together have fewer files open than a process may
PULL_RUN_READ_BYTES = 256 * 1024

BATCH_ENTRIES = 4096
# What Python needs for an entry beside the bytes of its line: a tuple, an integer, the head of a bytes object.
_ENTRY_OVERHEAD_BYTES = 150
_line_of = itemgetter(1)


class _Run:
    """Sorted lines in a temporary file that has no name, so that nothing is left of it whatever happens."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- closed by `close`
        self.last: Entry = (0, b"")

    def append(self, entries: list[Entry]) -> None:
        for batch in batches_of(entries, BATCH_ENTRIES):
            self._file.write(join_lines(batch))
        self.last = entries[-1]

    def batches(self) -> Iterator[list[Entry]]:
        self._file.seek(0)
        while block := self._file.read(PULL_RUN_READ_BYTES):
            yield parse_entries(block + self._file.readline())

    def close(self) -> None:
        self._file.close()


class Sorter:
    """Take entries in any order, give them sorted and each once. Use it in a `with` block.

    Raises `OSError` if the folder of its temporary files cannot be written.
    """

    def __init__(
        self, folder: Path, *, held_max_bytes: int = PULL_SORT_HELD_MAX_BYTES, runs_max: int = PULL_RUNS_MAX
    ) -> None:
        """Put temporary files into `folder`; the limits are of what is held and of what is merged at once."""
        self._folder = folder
        self._held_max_bytes = held_max_bytes
        self._runs_max = runs_max
        self._held: list[Entry] = []
        self._held_bytes = 0
        # Runs by level: what `runs_max` runs of a level were merged to is a run of the next one. So each
        # entry is written once a level, and the number of open files stays small for any length.
        self._levels: list[list[_Run]] = [[]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs():
            run.close()

    def add(self, entries: list[Entry]) -> None:
        """Take entries."""
        self._held += entries
        self._held_bytes += sum(map(len, map(_line_of, entries))) + _ENTRY_OVERHEAD_BYTES * len(entries)
        if self._held_bytes >= self._held_max_bytes:
            self._spill()

    @property
    def has_entries(self) -> bool:
        """Whether anything was taken."""
        return bool(self._held) or any(self._levels)

    def batches(self) -> Iterator[list[Entry]]:
        """Give all entries, sorted and each once, in batches. It may be asked for again."""
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
            runs.append(_Run(self._folder))
        runs[-1].append(held)

    def _make_room(self, level: int) -> None:
        runs = self._levels[level]
        if len(runs) < self._runs_max:
            return
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._make_room(level + 1)
        whole = _Run(self._folder)
        self._levels[level + 1].append(whole)
        for batch in merged([run.batches() for run in runs]):
            whole.append(batch)
        for run in runs:
            run.close()
        runs.clear()


def merged(sources: Iterable[Iterator[list[Entry]]]) -> Iterator[list[Entry]]:
    """Merge sources of sorted batches into one, each entry once. Holds one batch of each source.

    Each round takes what lies up to the earliest end of a batch: no source can still bring anything before
    it, so equal entries meet in the same round.
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
