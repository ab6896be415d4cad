"""Events as Arrow columns and numpy arrays, before it is decided in which types they are written.

Arrow's own conversions of Python objects and of numpy arrays (`pa.array`, `pa.scalar`, `to_numpy`) load pandas where it
is installed, which takes longer than a thousand lines. So they are not used here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from smsevents.client.arrow import SCHEMA, TIME, source_columns, times
from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import STATUSES, Flow

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from smsevents.client.line_parts import Numbers
    from smsevents.wire.canonical import EventColumns, Source

SourceTexts = tuple[str, str, str, str | None, str | None]
"""The type, the id and the name of the campaign, and those of the node."""

_CODES = {status.encode(): code for code, status in enumerate(STATUSES)}


class Sources:
    """Known sources, each once, in the order in which they became known."""

    def __init__(self, by_key: Mapping[bytes, Source]) -> None:
        """Take sources by their canonical JSON (see `EventColumns`). The mapping must not change."""
        self.by_key = by_key

    @cached_property
    def texts(self) -> list[SourceTexts]:
        """The sources as rows."""
        return list(map(_texts_of, self.by_key.values()))

    @cached_property
    def columns(self) -> list[pa.Array]:
        """The sources as columns."""
        return source_columns(list(self.by_key.values()))


@dataclass(frozen=True)
class EventParts:
    """Events of one shop, one element of each array for each event.

    `users` is an Arrow array of strings, `statuses` are indices of `STATUSES`, `which` are places in `sources`. `dates`
    and `sent` are Unix milliseconds, and may be impossible times.
    """

    trackpoint: int
    users: pa.Array
    statuses: npt.NDArray[np.int8]
    dates: Numbers
    which: npt.NDArray[np.int32]
    sources: Sources
    sent: Numbers

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.dates)

    def slice(self, start: int, end: int) -> EventParts:
        """Return the events from a place up to another, without copying them."""
        return replace(
            self,
            users=self.users.slice(start, end - start),
            statuses=self.statuses[start:end],
            dates=self.dates[start:end],
            which=self.which[start:end],
            sent=self.sent[start:end],
        )

    def rows(self) -> pa.RecordBatch:
        """Return the events in `arrow.SCHEMA`. An impossible send date becomes NULL."""
        which = numbers_array(self.which)
        statuses = pa.array(STATUSES, pa.string()).take(numbers_array(self.statuses))
        shop = numbers_array(np.full(len(self), self.trackpoint))
        dates, sent = numbers_array(self.dates).cast(TIME), times(numbers_array(self.sent))
        sources = [column.take(which) for column in self.sources.columns]
        return pa.RecordBatch.from_arrays([shop, self.users, statuses, dates, *sources, sent], schema=SCHEMA)


def parts_of(columns: EventColumns) -> EventParts:
    """Return events that were read in another way."""
    places = {key: place for place, key in enumerate(columns.known)}
    users = np.zeros(len(columns.users) + 1, np.int32)
    np.cumsum(list(map(len, columns.users)), out=users[1:])
    texts = [None, pa.py_buffer(users), pa.py_buffer(b"".join(columns.users))]
    return EventParts(
        columns.trackpoint,
        pa.Array.from_buffers(pa.string(), len(columns.users), texts),
        np.array([_CODES[status] for status in columns.statuses], np.int8),
        np.array(list(map(int, columns.dates)), np.int64),
        np.array([places[key] for key in columns.sources], np.int32),
        Sources(columns.known),
        np.array(list(map(int, columns.sent)), np.int64),
    )


def _texts_of(source: Source) -> SourceTexts:
    campaign = source.campaign
    if isinstance(source, Flow):
        return FLOW, campaign.id, campaign.name, source.node.id, source.node.name
    return ONE_OFF, campaign.id, campaign.name, None, None


_TYPES = {np.dtype(np.int8): pa.int8(), np.dtype(np.int32): pa.int32(), np.dtype(np.int64): pa.int64()}


def numbers_array(numbers: npt.NDArray[np.signedinteger], is_valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers as an Arrow array, without copying them if possible; where `is_valid` is false, as NULL."""
    valid = None if is_valid is None else pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.Array.from_buffers(_TYPES[numbers.dtype], len(numbers), [valid, data])


def texts_array(texts: list[str]) -> pa.Array:
    """Return texts as an Arrow array."""
    encoded = [text.encode() for text in texts]
    places = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum(list(map(len, encoded)), out=places[1:])
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(places), pa.py_buffer(b"".join(encoded))])
