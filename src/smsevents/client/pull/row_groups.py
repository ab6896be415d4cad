"""Row groups of events for Parquet: texts that are often repeated are dictionaries, as in the file.

The writer would make the same dictionaries of texts: each text once, in the order in which the rows have them. Making
them here takes less time, because there are few sources and seven statuses, and rows that wait for their group hold no
copies of the texts. A group depends on its events only, and not on the pieces in which they came.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from smsevents.client.arrow import SCHEMA, TIME
from smsevents.client.event_parts import numbers_array, texts_array
from smsevents.wire.events import STATUSES
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from smsevents.client.event_parts import EventParts, Sources, SourceTexts

_PLAIN_TEXT = "user_id"  # hardly repeated, so the writer makes its dictionary
_SOURCE_COLUMNS = slice(SCHEMA.names.index("source_type"), SCHEMA.names.index("send_date"))

GROUP_SCHEMA = pa.schema(
    [
        field.with_type(pa.dictionary(pa.int32(), pa.string()))
        if field.type == pa.string() and field.name != _PLAIN_TEXT
        else field
        for field in SCHEMA
    ]
)
"""The columns of a group."""

SCHEMA_METADATA = {"ARROW:schema": base64.b64encode(SCHEMA.serialize().to_pybytes())}
"""What Arrow writes into a file so that a reader gets the types of SCHEMA. Write it instead of that of a group."""


def group_of(pieces: Sequence[EventParts]) -> pa.Table:
    """Return events as one group in GROUP_SCHEMA. An impossible send date becomes NULL."""
    which, rows = _distinct(pieces)
    dates, sent = (np.concatenate(numbers) for numbers in zip(*((one.dates, one.sent) for one in pieces), strict=True))
    is_possible = (sent >= TIME_MIN_MS) & (sent <= TIME_MAX_MS)
    sent_times = numbers_array(sent, None if bool(is_possible.all()) else is_possible)
    order = _by_first_place(which, len(rows))
    columns = [
        numbers_array(np.full(len(which), pieces[0].trackpoint)),
        pa.concat_arrays([one.users for one in pieces]),
        _statuses(np.concatenate([one.statuses for one in pieces])),
        numbers_array(dates).cast(TIME),
        *(_dictionary(which, order, [row[at] for row in rows]) for at in range(len(SCHEMA.names[_SOURCE_COLUMNS]))),
        sent_times.cast(TIME),
    ]
    return pa.Table.from_arrays(columns, schema=GROUP_SCHEMA)


def _distinct(pieces: Sequence[EventParts]) -> tuple[npt.NDArray[np.int32], list[SourceTexts]]:
    """Return the distinct sources of pieces, and for each event the place of its source among them."""
    places: dict[SourceTexts, int] = {}
    known: dict[int, tuple[Sources, npt.NDArray[np.int32]]] = {}
    for one in pieces:
        if id(one.sources) not in known:
            found = np.array([places.setdefault(texts, len(places)) for texts in one.sources.texts], np.int32)
            known[id(one.sources)] = one.sources, found
    return np.concatenate([known[id(one.sources)][1][one.which] for one in pieces]), list(places)


def _by_first_place(values: npt.NDArray[np.signedinteger], count: int) -> list[int]:
    """Return which of `count` values occur, in the order of their first places."""
    places = np.full(count, len(values))
    places[values[::-1]] = np.arange(len(values) - 1, -1, -1)  # of equal values, the last assignment remains
    order: list[int] = np.argsort(places, kind="stable").tolist()
    return order[: int(np.count_nonzero(places < len(values)))]


def _statuses(codes: npt.NDArray[np.int8]) -> pa.Array:
    return _dictionary(codes, _by_first_place(codes, len(STATUSES)), STATUSES)


def _dictionary(
    which: npt.NDArray[np.signedinteger], order: Sequence[int], texts: Sequence[str | None]
) -> pa.DictionaryArray:
    """Return the texts of rows, each once; `order` has the places of those that occur, by their first rows."""
    codes: dict[str, int] = {}
    code_of = np.full(len(texts), -1, np.int32)
    for place in order:
        text = texts[place]
        if text is not None:
            code_of[place] = codes.setdefault(text, len(codes))
    found = code_of[which]
    is_valid = found >= 0
    indices = numbers_array(found, None if bool(is_valid.all()) else is_valid)
    return pa.DictionaryArray.from_arrays(indices, texts_array(list(codes)))
