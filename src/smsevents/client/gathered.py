"""Gathers the small batches of an export into larger ones: with columns, a batch costs more than some thousand rows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Protocol

from smsevents.wire.canonical import EventColumns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence

    from smsevents.client.lines import Batch

# about 4 MiB of lines; of larger batches, rows cost no less
ROWS_MIN = 16 * 1024


class InColumns(Protocol):
    """Events that can be had in columns: a batch of the client, or lines of a pull."""

    @property
    def columns(self) -> EventColumns:
        """The events by their parts."""


class _Held:
    """Batches, until they are large enough together."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._rows = 0

    def add(self, batch: Batch) -> list[Batch]:
        """Hold a batch. Return all that are held if they are large enough, else nothing."""
        self._batches.append(batch)
        self._rows += len(batch)
        return self.taken() if self._rows >= ROWS_MIN else []

    def taken(self) -> list[Batch]:
        """Return all that are held, and hold nothing from then on."""
        batches, self._batches, self._rows = self._batches, [], 0
        return batches


def gathered(batches: Iterable[Batch]) -> Generator[list[Batch]]:
    """Yield lists of batches of at least ROWS_MIN rows together, except for the last one."""
    held = _Held()
    for batch in batches:
        if full := held.add(batch):
            yield full
    if rest := held.taken():
        yield rest


async def gathered_async(batches: AsyncIterable[Batch]) -> AsyncGenerator[list[Batch]]:
    """Yield what `gathered` yields."""
    held = _Held()
    async for batch in batches:
        if full := held.add(batch):
            yield full
    if rest := held.taken():
        yield rest


def columns_of(batches: Sequence[InColumns]) -> EventColumns:
    """Return the columns of batches of one shop, one after the other."""
    parts = [batch.columns for batch in batches]
    if len(parts) == 1:
        return parts[0]
    known = {id(part.known): part.known for part in parts}  # nearly always the same object
    return EventColumns(
        parts[0].trackpoint,
        list(chain.from_iterable(part.users for part in parts)),
        list(chain.from_iterable(part.statuses for part in parts)),
        list(chain.from_iterable(part.dates for part in parts)),
        list(chain.from_iterable(part.sources for part in parts)),
        list(chain.from_iterable(part.sent for part in parts)),
        {key: source for one in known.values() for key, source in one.items()},
    )
