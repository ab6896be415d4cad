"""Filters: which events of an export the caller wants.

The client applies a filter to every event itself, after the line was checked, so it holds with any server. A server
that takes filters gets it, too, and sends less. A stream that is truncated, or a line that is not an event, is an error
with a filter as without one.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from datetime import datetime
from itertools import compress
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from smsevents.client import interval
from smsevents.client.errors import ConfigurationError
from smsevents.client.lines import Batch, printable
from smsevents.clock import system as clock
from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.event_filter import TEXT_MEMBERS, TIME_MEMBERS, EventFilter
from smsevents.wire.events import STATUSES, Event
from smsevents.wire.times import EPOCH, MILLISECOND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, MutableMapping, Sequence
    from typing import Any

    from smsevents.client.interval import Time
    from smsevents.wire.canonical import EventColumns

TYPES = (FLOW, ONE_OFF)

Item = TypeVar("Item")


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The events that are wanted: those that match each member that is given. Without members, all events.

    `status`, `campaign`, `node`, `type` and `userId` are texts, or several of them, one of which must match. A
    campaign or node matches by its id or its name, exactly; an event of a one-off campaign has no node. `sentFrom` and
    `sentTo` are a closed interval for `sendDate`: datetimes with a time zone, or Unix milliseconds. The names of the
    members are those of the API.

    Raises `ConfigurationError` for an unknown status or type, an empty list, and a time that is not valid.
    """

    status: Collection[str] = ()
    campaign: Collection[str] = ()
    node: Collection[str] = ()
    type: Collection[str] = ()
    userId: Collection[str] = ()  # noqa: N815 -- the name on the wire
    sentFrom: datetime | int | None = None  # noqa: N815 -- the name on the wire
    sentTo: datetime | int | None = None  # noqa: N815 -- the name on the wire

    def __post_init__(self) -> None:
        """Check the members, and bring them into one form, so that equal filters are equal."""
        for name in TEXT_MEMBERS:
            force_setattr(self, name, _texts(name, getattr(self, name)))
        force_setattr(self, "status", tuple(_known("status", one.upper(), STATUSES) for one in self.status))
        force_setattr(self, "type", tuple(_known("type", one.lower(), TYPES) for one in self.type))
        start, end = _sent(self.sentFrom, self.sentTo)
        force_setattr(self, "sentFrom", start)
        force_setattr(self, "sentTo", end)

    def __bool__(self) -> bool:
        """Return whether the filter leaves out any event."""
        return self != NO_FILTER

    def __str__(self) -> str:
        """Describe the filter: `status DELIVERED or EXPIRED, campaign Black Friday`."""
        words = [
            f"{name} {' or '.join(printable(one) if one else repr(one) for one in values)}"
            for name in TEXT_MEMBERS
            if (values := getattr(self, name))
        ]
        words += [f"{name} {_time_text(time)}" for name in TIME_MEMBERS if (time := getattr(self, name)) is not None]
        return ", ".join(words) or "all events"

    def on_the_wire(self) -> EventFilter:
        """Return the filter as a server applies it."""
        start, end = _sent(self.sentFrom, self.sentTo)
        texts = {name: frozenset(getattr(self, name)) for name in TEXT_MEMBERS}
        return EventFilter(**texts, sentFrom=start, sentTo=end)

    def predicate(self) -> Callable[[Event], bool]:
        """Return a function that tells whether an event matches."""
        return self.on_the_wire().matches

    def chooser(self) -> Callable[[list[Item], Sequence[Event]], list[Item]]:
        """Return a function that keeps the items whose events match; an item is what was made of an event."""
        if not self:
            return lambda items, _events: items
        matches = self.predicate()
        return lambda items, events: list(compress(items, map(matches, events)))

    def batches(self, batches: Generator[Batch]) -> Generator[Batch]:
        """Yield the matching events of batches. Batches without any are left out."""
        matches = self.predicate()
        try:
            for batch in batches:
                if (kept := _kept(batch, matches)).events:
                    yield kept
        finally:
            batches.close()

    async def batches_async(self, batches: AsyncGenerator[Batch]) -> AsyncGenerator[Batch]:
        """Do the same as `batches` on an event loop."""
        matches = self.predicate()
        try:
            async for batch in batches:
                if (kept := _kept(batch, matches)).events:
                    yield kept
        finally:
            await batches.aclose()


def remembered(state: MutableMapping[str, Any], place: str, where: Filter | None, *, is_begun: bool) -> Filter | None:
    """Return the filter for the next load of `place`, and store it in the state. None means the one of earlier loads.

    Raises `ConfigurationError` if earlier loads used another one: what they left out would be missing unnoticed.
    """
    key = f"{place} filter"
    known = msgspec.convert(state[key], Filter) if key in state else None
    if is_begun and where is not None and where != (known or NO_FILTER):
        raise ConfigurationError(
            f"The table was loaded with another filter: {known or NO_FILTER}, not {where}. Omit the filter, or load"
            " into another dataset."
        )
    chosen = where or known
    if chosen:
        state[key] = msgspec.to_builtins(chosen)
    return chosen


def _kept(batch: Batch, matches: Callable[[Event], bool]) -> Batch:
    """Return a batch with the matching events only. Columns stay columns."""
    chosen = list(map(matches, batch.events))
    if all(chosen):
        return batch
    lines = list(compress(batch.lines, chosen))
    return Batch(
        b"".join([line + b"\n" for line in lines]),
        lines,
        list(compress(batch.events, chosen)),
        columns=_chosen_columns(batch.columns, chosen) if batch.is_canonical else None,
    )


def _chosen_columns(columns: EventColumns, chosen: list[bool]) -> EventColumns:
    return columns._replace(
        users=list(compress(columns.users, chosen)),
        statuses=list(compress(columns.statuses, chosen)),
        dates=list(compress(columns.dates, chosen)),
        sources=list(compress(columns.sources, chosen)),
        sent=list(compress(columns.sent, chosen)),
    )


def _time_text(time_ms: int) -> str:
    """Format a time, or return the number if no calendar has it."""
    try:
        return (EPOCH + time_ms * MILLISECOND).isoformat(timespec="milliseconds")
    except OverflowError:
        return str(time_ms)


def _texts(name: str, values: Collection[str]) -> tuple[str, ...]:
    """Return texts sorted and without duplicates. A single text counts as a list of one."""
    some = (values,) if isinstance(values, str) else tuple(values)
    if not all(isinstance(one, str) for one in some):
        raise ConfigurationError(f"`{name}` of the filter must be a text, or a list of texts.")
    if not some and values != ():
        raise ConfigurationError(f"`{name}` of the filter is an empty list, which no event matches. Leave it out.")
    return tuple(sorted(set(some)))


def _known(name: str, value: str, known: tuple[str, ...]) -> str:
    """Return a value that is known. Raises `ConfigurationError` with the nearest known one."""
    if value in known:
        return value
    near = difflib.get_close_matches(value, known, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise ConfigurationError(f"{printable(value)!r} is not a {name}.{guess} Use one of {', '.join(known)}.")


def _sent(start: Time | None, end: Time | None) -> tuple[int | None, int | None]:
    """Return the interval for `sendDate` in Unix milliseconds."""
    try:
        members = msgspec.json.decode(interval.body(start, end, clock.now_ms()))
    except ConfigurationError as error:
        raise ConfigurationError(f"`sentFrom` and `sentTo` of the filter, here `from_` and `to`: {error}") from error
    return members.get("from"), members.get("to")


NO_FILTER = Filter()
