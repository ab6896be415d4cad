"""What arrives of one day. What is in order is written to a new file as it comes; anything else is sorted first.

smsevents sends events in order, each once, so there is nothing to sort. The lines are kept until the day is complete,
because later ones may be out of order, or the day may have a file already that they must be merged with.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from smsevents.client.pull.sort import PULL_RUN_READ_BYTES, Sorter, batches_of_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.client.pull.drafts import Draft, Drafts, NewFile
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.lines import Lines
    from smsevents.wire.lines import Entry

PULL_KEPT_MAX_BYTES = 2 * 1024 * 1024  # in memory; more is kept in a temporary file without a name


class Arrivals:
    """The lines of a day as they arrive. Use it in a `with` block, which removes what was not taken.

    Raises `OSError` if its files cannot be written.
    """

    def __init__(self, drafts: Drafts, format_: Format) -> None:
        """Write what is in order in a format, as a draft."""
        self._drafts = drafts
        self._format = format_
        self._stack = ExitStack()
        kept = tempfile.SpooledTemporaryFile(PULL_KEPT_MAX_BYTES, dir=str(drafts.folder))  # noqa: SIM115 -- the next line
        self._kept = self._stack.enter_context(kept)
        self._draft: Draft[Lines] | None = None
        self._last: Entry | None = None
        self._sorter: Sorter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, lines: Lines) -> None:
        """Add lines."""
        if not lines:
            return
        if self._sorter is None and lines.is_ascending and (self._last is None or self._last < lines.first):
            if self._draft is None:
                self._draft = self._stack.enter_context(self._drafts.begin(self._format.writer))
            self._last = lines.last
            self._kept.write(lines.text)
            self._draft.add(lines)
            return
        if self._sorter is None:
            self._sorter = self._started_sorter()
        self._sorter.add(lines.entries)

    def _started_sorter(self) -> Sorter:
        """Return a sorter of the lines that have come so far. The file that was begun is useless."""
        if self._draft:
            self._draft.discard()
        sorter = self._stack.enter_context(Sorter(self._drafts.folder))
        for batch in self._kept_batches():
            sorter.add(batch)
        return sorter

    @property
    def has_events(self) -> bool:
        """Whether any event has come."""
        return self._sorter is not None or self._draft is not None

    def file(self) -> NewFile | None:
        """Complete the new file. Return None if the events did not come in order, or if there are none."""
        return self._draft.complete() if self._draft and self._sorter is None else None

    def batches(self) -> Iterator[list[Entry]]:
        """Return all entries in batches, sorted and without duplicates."""
        return self._kept_batches() if self._sorter is None else self._sorter.batches()

    def _kept_batches(self) -> Iterator[list[Entry]]:
        self._kept.seek(0)
        return batches_of_lines(self._kept, PULL_RUN_READ_BYTES)
